// One process: its life, why it waits, what it was given and what came of it.

import { get } from "../api.js";
import { now } from "../clock.js";
import { h } from "../dom.js";
import { age, count, json, processState, short, span, time } from "../format.js";
import { link } from "../router.js";
import { processLink } from "./processes.js";

const ATTRIBUTE_TYPES = ["in", "out", "err", "env"];
const CONDITIONS = {
  executortype: "Executor type",
  executornames: "Executor names",
  locationname: "Location",
  nodes: "Nodes",
  cpu: "CPU",
  mem: "Memory",
  storage: "Storage",
  processes: "Processes",
  processespernode: "Processes per node",
  walltime: "Walltime in seconds",
  dependencies: "Dependencies",
};

/** A list of terms with their values; those without a value are left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return h(
    "dl",
    { class: "facts" },
    given.map(([name, value]) => h("div", { "data-key": name }, h("dt", {}, name), h("dd", {}, value))),
  );
}

function section(title, ...content) {
  return h("section", { "data-key": title }, h("h2", {}, title), content);
}

function values(title, value) {
  const isEmpty =
    value === null || value === undefined || (typeof value === "object" && Object.keys(value).length === 0);
  return isEmpty ? null : section(title, h("pre", { tabindex: "0" }, json(value)));
}

function table(title, heads, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, title),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((head) => h("th", { scope: "col" }, head)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((cell) => h("td", {}, cell)),
          ),
        ),
      ),
    ),
  );
}

/** The lines of a timeline as a list. */
export function timeline(story) {
  const lines = story.map((line) => line.trim()).filter(Boolean);
  return h(
    "ol",
    { class: "timeline" },
    lines.map((line) => {
      const [at, ...what] = line.split("  ");
      return h("li", {}, h("span", { class: "time" }, at), h("span", {}, what.join("  ")));
    }),
  );
}

function reasons(found) {
  if (found?.state !== "WAITING" || found.reasons.length === 0) return null;
  const gets = found.would_get.length
    ? h("p", { class: "muted" }, `Gets it by asking: ${found.would_get.join(", ")}.`)
    : null;
  return section(
    "Why it waits",
    h(
      "ul",
      { class: "reasons" },
      found.reasons.map(({ text }) => h("li", {}, text)),
    ),
    gets,
  );
}

function relatives(title, nodes) {
  if (nodes.length === 0) return null;
  return section(
    title,
    h(
      "ul",
      { class: "relatives" },
      nodes.map((node) =>
        h(
          "li",
          { "data-key": node.id },
          processState(node),
          " ",
          processLink(node.id, node.name || short(node.id)),
          h("span", { class: "muted" }, ` ${short(node.id)}`),
        ),
      ),
    ),
  );
}

function limit(seconds) {
  return seconds > 0 ? span(seconds * 1e9) : "no limit";
}

function summary(data, at) {
  const { spec } = data.wire;
  const started = data.started_ns !== null && data.state !== "waiting";
  return facts([
    ["Colony", data.colony],
    ["Executor", data.executor],
    ["Submitted by", data.initiator],
    ["Submitted", [time(data.submitted_ns), h("span", { class: "muted" }, " ", age(data.submitted_ns, at), " ago")]],
    ["Started", time(data.started_ns)],
    ["Waited", data.attempt > 1 ? "" : span((started ? data.started_ns : (data.ended_ns ?? at)) - data.submitted_ns)],
    ["Ran", started ? span((data.ended_ns ?? at) - data.started_ns) : ""],
    ["Ended", time(data.ended_ns)],
    [
      "Attempt",
      spec.maxretries >= 0
        ? `${count(data.attempt)} of ${count(spec.maxretries + 1)} at most`
        : `${count(data.attempt)}, any number allowed`,
    ],
    ["Priority", String(data.priority)],
    ["May wait", limit(spec.maxwaittime)],
    ["May run", limit(spec.maxexectime)],
    ["Waits until", time(data.state === "waiting" ? data.wait_deadline_ns : null)],
    ["Runs until", time(data.state === "running" ? data.exec_deadline_ns : null)],
    [
      "Workflow",
      data.workflow &&
        h("a", { href: link(["workflow", data.workflow]), class: "id", title: data.workflow }, short(data.workflow)),
    ],
    ["Label", spec.label],
  ]);
}

function conditions(spec) {
  const given = Object.entries(CONDITIONS).map(([field, name]) => {
    const value = spec.conditions[field];
    const empty = ["", "0m", "0Mi", "0Gi", "0Ki"].includes(value) || value === 0 || value?.length === 0;
    return [name, empty ? "" : Array.isArray(value) ? value.join(", ") : value];
  });
  const { gpu } = spec.conditions;
  return section("Conditions", facts([...given, ["GPU", gpu?.count ? `${gpu.count} × ${gpu.name} ${gpu.mem}` : ""]]));
}

function channels(list) {
  return list.map(({ name, total, messages }) => {
    const title = `Channel ${name}`;
    if (messages.length === 0) return section(title, h("p", { class: "muted" }, "No messages."));
    const rows = messages.map((message) => [
      time(message.at_ns),
      message.sender,
      String(message.sequence),
      message.type,
      h("code", { class: "wrap" }, message.text),
    ]);
    const cut =
      total > messages.length
        ? h("p", { class: "muted" }, `The last ${count(messages.length)} of ${count(total)} messages.`)
        : null;
    return section(title, cut, table(title, ["Time", "Sender", "Number", "Type", "Message"], rows));
  });
}

function logs(data) {
  if (data.logs.length === 0) return null;
  const cut =
    data.logs_total > data.logs.length ? `The last ${count(data.logs.length)} of ${count(data.logs_total)} lines.` : "";
  return section(
    "Logs",
    cut && h("p", { class: "muted" }, cut),
    table(
      "Logs",
      ["Time", "Executor", "Text"],
      data.logs.map((log) => [time(log.at_ns), log.executor, h("code", { class: "wrap" }, log.text)]),
    ),
  );
}

export const process = {
  async load(here, signal) {
    const query = { process: here.id };
    const data = await get("process", query, signal);
    const optional = (name) => get(name, query, signal).catch((error) => (error.status ? null : Promise.reject(error)));
    const [story, why] = await Promise.all([optional("story"), data.state === "waiting" ? optional("why-not") : null]);
    return { data, story, why };
  },
  render({ data, story, why }) {
    const { spec, attributes, in: input, out, errors } = data.wire;
    return [
      h("p", { class: "crumb" }, h("a", { href: link("processes") }, "Processes"), " / ", h("code", {}, data.id)),
      h(
        "div",
        { class: "head" },
        h(
          "h1",
          {},
          data.function || "(no function)",
          data.node && data.node !== data.function && h("span", { class: "muted" }, ` ${data.node}`),
        ),
        processState(data),
      ),
      summary(data, now(data)),
      reasons(why),
      errors?.length ? section("Errors", h("pre", { class: "bad", tabindex: "0" }, errors.join("\n"))) : null,
      values("Output", out),
      story && section("Timeline", timeline(story.story)),
      relatives("Parents", data.parents),
      relatives("Children", data.children),
      values("Arguments", spec.args),
      values("Keyword arguments", spec.kwargs),
      values("Input from parents", input),
      conditions(spec),
      values("Environment", spec.env),
      attributes.length
        ? section(
            `Attributes`,
            table(
              "Attributes",
              ["Type", "Key", "Value"],
              attributes.map((one) => [
                ATTRIBUTE_TYPES[one.attributetype] ?? one.attributetype,
                one.key,
                h("code", { class: "wrap" }, one.value),
              ]),
            ),
          )
        : null,
      logs(data),
      channels(data.channels),
    ];
  },
};
