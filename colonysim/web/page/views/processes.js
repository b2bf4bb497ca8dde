// All processes, in a table.

import { now } from "../clock.js";
import { h } from "../dom.js";
import { age, count, plural, processState, short, span, state } from "../format.js";
import { link } from "../router.js";
import { chips, choiceBar, dataTable, loadTable, pager, searchField } from "../table.js";

const FILTERS = ["state", "colony", "function", "executor", "executor_type", "workflow"];
const STATES = ["waiting", "running", "success", "failed", "cancelled"];

/** How many processes there are in each state, in one colony or in all. */
export function totals(overview, colony = "") {
  const colonies = overview.colonies.filter(({ name }) => !colony || name === colony);
  return Object.fromEntries(
    STATES.map((name) => [name, colonies.reduce((sum, { processes }) => sum + processes[name], 0)]),
  );
}

/** The link to a process. */
export function processLink(id, text = short(id)) {
  return h("a", { href: link(["process", id]), class: "id", title: id }, text);
}

/** How long a process has run, or ran. */
function took(row, at) {
  if (row.started_ns === null || row.state === "waiting") return "–";
  return span((row.ended_ns ?? at) - row.started_ns);
}

function columns(here, at) {
  const filter = (field, value) =>
    h("a", { class: "plain", href: link(here.name, { ...here.query, [field]: value, page: "" }) }, value);
  const executor = (row) => {
    if (row.executor) return filter("executor", row.executor);
    return row.executor_type ? h("span", { class: "muted" }, "any ", filter("executor_type", row.executor_type)) : "–";
  };
  return [
    { title: "Process", cell: (row) => processLink(row.id) },
    { title: "State", sort: "state", cell: (row) => processState(row) },
    {
      title: "Function",
      sort: "function",
      cell: (row) => [
        filter("function", row.function),
        row.node && row.node !== row.function && h("span", { class: "muted" }, ` ${row.node}`),
      ],
    },
    { title: "Executor", sort: "executor", cell: executor },
    { title: "Colony", sort: "colony", cell: (row) => filter("colony", row.colony) },
    { title: "Age", sort: "submitted", number: true, cell: (row) => age(row.submitted_ns, at) },
    { title: "Ran", number: true, cell: (row) => took(row, at) },
    { title: "Attempt", sort: "attempt", number: true, cell: (row) => count(row.attempt) },
    { title: "Priority", sort: "priority", number: true, cell: (row) => row.priority },
  ];
}

export const processes = {
  load: (here, signal) => loadTable("processes", here.query, FILTERS, signal),
  render(data, here) {
    const counts = totals(here.overview, here.query.colony);
    const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
    const choices = [
      ["", ["All ", h("b", {}, count(all))]],
      ...STATES.map((name) => [name, [state(name), " ", h("b", {}, count(counts[name]))]]),
    ];
    return [
      h("div", { class: "head" }, h("h1", {}, "Processes"), searchField(here, "Search id, function, node, executor")),
      choiceBar(here, "state", "State", choices),
      chips(here, ["colony", "function", "executor", "executor_type", "workflow"]),
      dataTable(here, {
        caption: `Processes: ${plural(data.total, "match", "matches")}`,
        columns: columns(here, now(data)),
        rows: data.rows,
        key: (row) => row.id,
        empty:
          all === 0
            ? "No process has been submitted yet. Submit one, or let an SDK do it."
            : "No process fits these filters.",
      }),
      pager(here, data),
    ];
  },
};
