// Crons and generators: what they start, and when they do next.

import { now } from "../clock.js";
import { h } from "../dom.js";
import { age, count, plural, short, span, time } from "../format.js";
import { link } from "../router.js";
import { dataTable, loadTable } from "../table.js";

const MOST = { limit: "250" };

function next(ns, at, stalled) {
  if (stalled) return "stalled: its workflow cannot start";
  if (ns === null) return "–";
  return h("span", { title: `${time(ns)} UTC` }, ns <= at ? "now" : `in ${span(ns - at)}`);
}

const last = (row, at) => (row.last_ns === null ? "never" : [age(row.last_ns, at), " ago"]);

function crons(here, data, at) {
  return dataTable(here, {
    caption: `Crons: ${data.total}`,
    columns: [
      { title: "Cron", cell: (row) => row.name },
      { title: "Schedule", cell: (row) => h("code", {}, row.schedule) },
      { title: "Next run", number: true, cell: (row) => next(row.next_ns, at, row.stalled) },
      { title: "Last run", number: true, cell: (row) => last(row, at) },
      { title: "Starts", cell: (row) => row.functions.join(", ") },
      {
        title: "Last workflow",
        cell: (row) =>
          row.workflow
            ? h("a", { class: "id", href: link(["workflow", row.workflow]), title: row.workflow }, short(row.workflow))
            : "–",
      },
      { title: "Waits for the previous", cell: (row) => (row.waits_for_previous ? "yes" : "no") },
      { title: "Colony", cell: (row) => row.colony },
    ],
    rows: data.rows,
    key: (row) => row.id,
    empty: "There are no crons.",
  });
}

function generators(here, data, at) {
  return dataTable(here, {
    caption: `Generators: ${data.total}`,
    columns: [
      { title: "Generator", cell: (row) => row.name },
      { title: "Packs that wait", number: true, cell: (row) => `${count(row.queued)} of ${count(row.trigger)}` },
      { title: "Starts anyway", number: true, cell: (row) => next(row.next_ns, at, row.stalled) },
      { title: "Timeout", number: true, cell: (row) => (row.timeout_s > 0 ? span(row.timeout_s * 1e9) : "none") },
      { title: "Last run", number: true, cell: (row) => last(row, at) },
      { title: "Starts", cell: (row) => row.functions.join(", ") },
      { title: "Colony", cell: (row) => row.colony },
    ],
    rows: data.rows,
    key: (row) => row.id,
    empty: "There are no generators.",
  });
}

export const schedules = {
  load: (here, signal) =>
    Promise.all([loadTable("crons", MOST, [], signal), loadTable("generators", MOST, [], signal)]),
  render([ofCrons, ofGenerators], here) {
    const at = now(ofCrons);
    const cut = (data, noun) =>
      data.total > data.rows.length &&
      h("p", { class: "muted" }, `The last ${count(data.rows.length)} of ${plural(data.total, noun)}.`);
    return [
      h("h1", {}, "Crons & generators"),
      h("h2", {}, "Crons"),
      cut(ofCrons, "cron"),
      crons(here, ofCrons, at),
      h("h2", {}, "Generators"),
      cut(ofGenerators, "generator"),
      generators(here, ofGenerators, at),
    ];
  },
};
