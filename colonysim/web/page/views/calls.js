// The latest calls of all clients. Each opens to what was on the wire, and tells which fault struck it.

import { get } from "../api.js";
import { h } from "../dom.js";
import { plural, pretty, span, time } from "../format.js";
import { link } from "../router.js";
import { chips, choiceBar, dataTable, loadTable, pager, searchField } from "../table.js";

const FILTERS = ["type", "caller", "answer", "fault"];
const ANSWERS = [
  ["", "All"],
  ["answered", "Answered"],
  ["refused", "Refused"],
  ["lost", "Lost"],
  ["waiting", "Waiting"],
];

/** The opened calls, as the address has them. */
const opened = (query) => (query.open ?? "").split(",").filter(Boolean);

function toggle(here, number) {
  const open = opened(here.query);
  const next = open.includes(number) ? open.filter((one) => one !== number) : [...open, number];
  return link(here.name, { ...here.query, open: next.join(",") });
}

function answer(row) {
  if (row.status === null) return h("span", { class: "muted" }, "waiting");
  if (row.answer === "lost")
    return h("span", { class: "state failed" }, h("span", { class: "sign", "aria-hidden": "true" }, "✕"), "lost");
  const refused = row.answer === "refused";
  return h(
    "span",
    { class: refused ? "state failed" : "state success" },
    h("span", { class: "sign", "aria-hidden": "true" }, refused ? "✕" : "✓"),
    String(row.status),
  );
}

function details(wire) {
  if (!wire) return h("p", { class: "muted" }, "This call is no longer kept.");
  const struck =
    wire.fault &&
    h("p", { class: "struck" }, h("b", {}, `Fault ${wire.fault}`), ` (${wire.verdict}) struck this call.`);
  const none =
    wire.status === null
      ? "There is no answer yet."
      : wire.status === 0
        ? "The client got no reply."
        : "The reply has no body.";
  return [
    struck,
    h("p", { class: "muted" }, `Caller ${wire.caller_id || "unknown"}`),
    h(
      "div",
      { class: "wire" },
      h(
        "div",
        {},
        h("h2", {}, wire.exact ? "Request, as it came" : "Request, as a client would send it"),
        h("pre", { tabindex: "0" }, pretty(wire.request)),
      ),
      h(
        "div",
        {},
        h("h2", {}, "Reply"),
        wire.reply === null ? h("p", { class: "muted" }, none) : h("pre", { tabindex: "0" }, pretty(wire.reply)),
      ),
    ),
  ];
}

export const calls = {
  async load(here, signal) {
    const known = (here.local.wires ??= new Map());
    const wanted = opened(here.query);
    const missing = wanted.filter((number) => !known.has(number) || known.get(number)?.status === null);
    const [data, ...found] = await Promise.all([
      loadTable("calls", here.query, FILTERS, signal),
      ...missing.map((call) =>
        get("wire", { call }, signal).catch((error) => (error.status ? null : Promise.reject(error))),
      ),
    ]);
    missing.forEach((number, place) => known.set(number, found[place]));
    return data;
  },
  render(data, here) {
    const open = opened(here.query);
    const filter = (field, value) =>
      h("a", { class: "plain", href: link(here.name, { ...here.query, [field]: value, page: "" }) }, value);
    const opener = (row) => {
      const isOpen = open.includes(String(row.number));
      return h(
        "a",
        {
          class: "opener",
          href: toggle(here, String(row.number)),
          "aria-expanded": String(isOpen),
          "aria-label": `Call ${row.number}`,
        },
        h("span", { "aria-hidden": "true" }, isOpen ? "▾ " : "▸ "),
        row.number,
      );
    };
    return [
      h("div", { class: "head" }, h("h1", {}, "Calls"), searchField(here, "Search type, caller, fault")),
      choiceBar(here, "answer", "Answer", ANSWERS),
      chips(here, ["type", "caller", "fault"]),
      dataTable(here, {
        caption: `Calls: ${plural(data.total, "match", "matches")}`,
        columns: [
          { title: "Call", cell: opener },
          { title: "Time", sort: "number", cell: (row) => h("span", { class: "time" }, time(row.at_ns)) },
          { title: "Caller", sort: "caller", cell: (row) => filter("caller", row.caller) },
          { title: "Type", sort: "type", cell: (row) => (row.type ? filter("type", row.type) : "unreadable") },
          { title: "Answer", sort: "status", cell: answer },
          {
            title: "After",
            number: true,
            cell: (row) => (row.answered_ns === null ? "–" : span(row.answered_ns - row.at_ns)),
          },
          { title: "Fault", sort: "fault", cell: (row) => (row.fault ? filter("fault", row.fault) : "–") },
        ],
        rows: data.rows,
        key: (row) => String(row.number),
        details: (row) =>
          open.includes(String(row.number)) ? details(here.local.wires.get(String(row.number))) : null,
        empty: "No call fits.",
      }),
      pager(here, data),
    ];
  },
};
