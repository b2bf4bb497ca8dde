// Submit a function.

import { ApiError, call, get } from "../api.js";
import { h } from "../dom.js";
import { short } from "../format.js";
import { go, link } from "../router.js";

const NUMBERS = [
  ["priority", "Priority", 0],
  ["maxwaittime", "May wait, in seconds", -1],
  ["maxexectime", "May run, in seconds", -1],
  ["maxretries", "Retries", -1],
];

function parsed(text, what, isRight) {
  if (text.trim() === "") return undefined;
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ApiError(`${what}: ${error.message}`);
  }
  if (!isRight(value))
    throw new ApiError(
      `${what}: expected ${what === "Arguments" ? 'a list, such as ["a", 1]' : 'an object, such as {"a": 1}'}`,
    );
  return value;
}

function specOf(fields) {
  const names = fields.executornames.value
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  const conditions = { colonyname: fields.colony.value, executortype: fields.executortype.value.trim() };
  if (names.length > 0) conditions.executornames = names;
  if (fields.location.value.trim()) conditions.locationname = fields.location.value.trim();
  const spec = { funcname: fields.funcname.value.trim(), conditions };
  const args = parsed(fields.args.value, "Arguments", Array.isArray);
  const kwargs = parsed(
    fields.kwargs.value,
    "Keyword arguments",
    (value) => value !== null && typeof value === "object" && !Array.isArray(value),
  );
  for (const [name, , unset] of NUMBERS) spec[name] = fields[name].value === "" ? unset : Number(fields[name].value);
  return { ...spec, ...(args && { args }), ...(kwargs && { kwargs }) };
}

function field(id, label, properties = {}, below = null) {
  return h(
    "p",
    { class: "field", "data-key": id },
    h("label", { for: id }, label),
    h("input", { id, name: id, type: "text", autocomplete: "off", ...properties }),
    below,
  );
}

function send(here) {
  return async (event) => {
    event.preventDefault();
    const { elements } = event.target;
    let id = "";
    const submitted = await here.act(
      async () => {
        const process = await call(elements.caller.value, { msgtype: "submitfuncspecmsg", spec: specOf(elements) });
        id = process.processid;
      },
      () => `Process ${short(id)} is submitted.`,
    );
    if (submitted) go(link(["process", id]));
  };
}

export const submit = {
  load: (here, signal) => get("tables/executors", { state: "approved", limit: 50 }, signal),
  render({ rows }, here) {
    const { colonies } = here.overview;
    const colony = colonies.find(({ name }) => name === here.local.colony) ?? colonies[0];
    if (!colony)
      return [h("h1", {}, "Submit a function"), h("p", { class: "empty" }, "There is no colony to submit to.")];
    const executors = rows.filter((row) => row.colony === colony.name);
    const callers = [
      ...colony.users.map((user) => [user.id, `${user.name} (user)`]),
      ...executors.map((row) => [row.id, `${row.name} (executor)`]),
    ];
    const types = [...new Set(executors.map((row) => row.type))];
    const choose = (event) => {
      here.local.colony = event.target.value;
      here.refresh();
    };
    return [
      h("h1", {}, "Submit a function"),
      h(
        "form",
        { class: "card narrow", onsubmit: send(here) },
        h(
          "div",
          { class: "fields" },
          h(
            "p",
            { class: "field" },
            h("label", { for: "colony" }, "Colony"),
            h(
              "select",
              { id: "colony", name: "colony", value: colony.name, onchange: choose },
              colonies.map(({ name }) => h("option", { value: name, selected: name === colony.name }, name)),
            ),
          ),
          h(
            "p",
            { class: "field" },
            h("label", { for: "caller" }, "As"),
            h(
              "select",
              { id: "caller", name: "caller" },
              callers.map(([id, text]) => h("option", { value: id, "data-key": id }, text)),
            ),
          ),
          field("funcname", "Function", { required: true }),
          field("executortype", "Executor type", { required: true, list: "types" }),
          h(
            "datalist",
            { id: "types" },
            types.map((type) => h("option", { value: type })),
          ),
        ),
        field(
          "args",
          "Arguments",
          { placeholder: '["a", 1]', class: "code" },
          h("span", { class: "muted" }, "a JSON list"),
        ),
        field(
          "kwargs",
          "Keyword arguments",
          { placeholder: '{"name": "value"}', class: "code" },
          h("span", { class: "muted" }, "a JSON object"),
        ),
        h(
          "details",
          { class: "group" },
          h("summary", {}, "Limits and conditions"),
          h(
            "div",
            { class: "fields" },
            NUMBERS.map(([name, label, unset]) =>
              field(name, label, { type: "number", step: "1", placeholder: unset === -1 ? "no limit" : String(unset) }),
            ),
            field("executornames", "Executor names"),
            field("location", "Location"),
          ),
        ),
        h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Submit the function")),
      ),
    ];
  },
};
