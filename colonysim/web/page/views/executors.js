// All executors: who they are, what each holds, when it was last heard of; approve and reject them.

import { call } from "../api.js";
import { now } from "../clock.js";
import { h } from "../dom.js";
import { age, count, plural, short, state } from "../format.js";
import { link } from "../router.js";
import { chips, choiceBar, dataTable, loadTable, pager, searchField } from "../table.js";
import { processLink } from "./processes.js";

const STATES = ["pending", "approved", "rejected", "unregistered"];

function decide(here, row, type, done) {
  const owner = here.overview.colonies.find(({ name }) => name === row.colony);
  return here.act(
    () => call(owner.id, { msgtype: type, colonyname: row.colony, executorname: row.name }),
    `${row.name} is ${done}.`,
  );
}

function decisions(here, row) {
  if (row.state === "unregistered") return "";
  const button = (text, type, done) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: () => decide(here, row, type, done),
        "aria-label": `${text} ${row.name}`,
      },
      text,
    );
  return h(
    "span",
    { class: "buttons" },
    row.state !== "approved" && button("Approve", "approveexecutormsg", "approved"),
    row.state !== "rejected" && button("Reject", "rejectexecutormsg", "rejected"),
  );
}

function holds(row) {
  if (row.held === 0) return h("span", { class: "muted" }, "nothing");
  const shown = row.holds.map(({ id, function: name }, place) => [
    place ? ", " : "",
    processLink(id, name || short(id)),
  ]);
  return [shown, row.held > row.holds.length ? ` and ${count(row.held - row.holds.length)} more` : ""];
}

export const executors = {
  load: (here, signal) => loadTable("executors", here.query, ["state", "colony", "type"], signal),
  render(data, here) {
    const at = now(data);
    return [
      h("div", { class: "head" }, h("h1", {}, "Executors"), searchField(here, "Search name, type, location, id")),
      choiceBar(here, "state", "State", [["", "All"], ...STATES.map((name) => [name, state(name)])]),
      chips(here, ["type", "colony"]),
      dataTable(here, {
        caption: `Executors: ${plural(data.total, "match", "matches")}`,
        columns: [
          {
            title: "Name",
            sort: "name",
            cell: (row) =>
              h(
                "a",
                { href: link("processes", { executor: row.name }), title: `Its processes; id ${row.id}` },
                row.name,
              ),
          },
          { title: "State", sort: "state", cell: (row) => state(row.state) },
          {
            title: "Type",
            sort: "type",
            cell: (row) =>
              h("a", { class: "plain", href: link(here.name, { ...here.query, type: row.type }) }, row.type),
          },
          { title: "Location", sort: "location", cell: (row) => row.location || "–" },
          { title: "Holds", sort: "held", cell: holds },
          {
            title: "Last heard of",
            sort: "heard",
            number: true,
            cell: (row) => (row.heard_ns === null ? "never" : [age(row.heard_ns, at), " ago"]),
          },
          { title: "Functions", number: true, cell: (row) => count(row.functions) },
          { title: "Colony", sort: "colony", cell: (row) => row.colony },
          { title: "Decide", cell: (row) => decisions(here, row) },
        ],
        rows: data.rows,
        key: (row) => `${row.colony}/${row.name}`,
        empty: "No executor fits. An executor is registered by an SDK, or by colonysim dev --executor TYPE.",
      }),
      pager(here, data),
    ];
  },
};
