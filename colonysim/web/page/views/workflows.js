// All workflows in a table, and one workflow as a graph that follows the run.

import { get } from "../api.js";
import { now } from "../clock.js";
import { h } from "../dom.js";
import { age, count, plural, processState, short, span, state } from "../format.js";
import { drawGraph } from "../graph.js";
import { link } from "../router.js";
import { chips, choiceBar, dataTable, loadTable, pager, searchField } from "../table.js";
import { processLink } from "./processes.js";

const STATES = ["waiting", "running", "success", "failed", "cancelled"];

function progress(counts) {
  return h(
    "span",
    { class: "counts" },
    STATES.filter((name) => counts[name]).map((name) => state(name, count(counts[name]))),
  );
}

function took(row, at) {
  return row.started_ns === null ? "–" : span((row.ended_ns ?? at) - row.started_ns);
}

export const workflows = {
  load: (here, signal) => loadTable("workflows", here.query, ["state", "colony"], signal),
  render(data, here) {
    const at = now(data);
    return [
      h("div", { class: "head" }, h("h1", {}, "Workflows"), searchField(here, "Search id, submitter")),
      choiceBar(here, "state", "State", [["", "All"], ...STATES.map((name) => [name, state(name)])]),
      chips(here, ["colony"]),
      dataTable(here, {
        caption: `Workflows: ${plural(data.total, "match", "matches")}`,
        columns: [
          {
            title: "Workflow",
            cell: (row) => h("a", { href: link(["workflow", row.id]), class: "id", title: row.id }, short(row.id)),
          },
          { title: "State", sort: "state", cell: (row) => state(row.state) },
          { title: "Processes", sort: "processes", number: true, cell: (row) => count(row.processes) },
          { title: "By state", cell: (row) => progress(row.counts) },
          { title: "Colony", sort: "colony", cell: (row) => row.colony },
          { title: "Submitted by", sort: "initiator", cell: (row) => row.initiator },
          { title: "Age", sort: "submitted", number: true, cell: (row) => age(row.submitted_ns, at) },
          { title: "Ran", number: true, cell: (row) => took(row, at) },
        ],
        rows: data.rows,
        key: (row) => row.id,
        empty: "No workflow fits. Workflows are processes that were submitted together, with parents and children.",
      }),
      pager(here, data),
    ];
  },
};

export const workflow = {
  load: (here, signal) => get("workflow", { workflow: here.id }, signal),
  render(data, here) {
    const cut =
      data.processes > data.nodes.length
        ? h(
            "p",
            { class: "muted" },
            `The first ${count(data.nodes.length)} of ${plural(data.processes, "process", "processes")}.`,
          )
        : null;
    return [
      h("p", { class: "crumb" }, h("a", { href: link("workflows") }, "Workflows"), " / ", h("code", {}, data.id)),
      h("div", { class: "head" }, h("h1", {}, `Workflow ${short(data.id)}`), state(data.state), progress(data.counts)),
      cut,
      h(
        "div",
        { class: "scroll graph", tabindex: "0", role: "region", "aria-label": "Graph of the workflow" },
        drawGraph(data.nodes),
      ),
      h("h2", {}, "Processes"),
      dataTable(here, {
        caption: "Processes of the workflow",
        columns: [
          { title: "Node", cell: (node) => processLink(node.id, node.name || short(node.id)) },
          { title: "State", cell: (node) => processState(node) },
          { title: "Function", cell: (node) => node.function },
          { title: "Executor", cell: (node) => node.executor || "–" },
          {
            title: "Parents",
            cell: (node) =>
              node.parents.map((id) => data.nodes.find((one) => one.id === id)?.name ?? short(id)).join(", ") || "–",
          },
        ],
        rows: data.nodes,
        key: (node) => node.id,
      }),
    ];
  },
};
