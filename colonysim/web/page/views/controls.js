// The server as a whole: its colonies, snapshots, reset and seed, and why nothing happens.

import { ask, call, get } from "../api.js";
import { h } from "../dom.js";
import { count, plural } from "../format.js";
import { link } from "../router.js";
import { dataTable } from "../table.js";

function colonies(here) {
  const pause = (row) => {
    const msgtype = row.paused ? "resumeassignmentsmsg" : "pauseassignmentsmsg";
    const done = row.paused ? `Assignments of ${row.name} go on.` : `Assignments of ${row.name} are paused.`;
    return here.act(() => call(row.id, { msgtype, colonyname: row.name }), done);
  };
  return dataTable(here, {
    caption: plural(here.overview.colonies.length, "colony", "colonies"),
    columns: [
      { title: "Colony", cell: (row) => h("a", { href: link("processes", { colony: row.name }) }, row.name) },
      {
        title: "Executors",
        number: true,
        cell: (row) => h("a", { href: link("executors", { colony: row.name }) }, count(row.executors)),
      },
      { title: "Waiting", number: true, cell: (row) => count(row.processes.waiting) },
      { title: "Running", number: true, cell: (row) => count(row.processes.running) },
      {
        title: "Ended",
        number: true,
        cell: (row) => count(row.processes.success + row.processes.failed + row.processes.cancelled),
      },
      {
        title: "Assignments",
        cell: (row) =>
          h(
            "button",
            {
              type: "button",
              class: "small",
              onclick: () => pause(row),
              "aria-label": `${row.paused ? "Resume" : "Pause"} the assignments of ${row.name}`,
            },
            row.paused ? "Paused: resume" : "Pause",
          ),
      },
    ],
    rows: here.overview.colonies,
    key: (row) => row.name,
    empty: "There is no colony.",
  });
}

function snapshots(here, listed) {
  const take = (event) => {
    event.preventDefault();
    const name = event.target.elements.snapshot.value.trim() || "default";
    here.act(() => ask("POST", "snapshots", { body: { name } }), `The state is kept as ${name}.`);
  };
  const restore = (name) =>
    here.act(() => ask("POST", "snapshots", { body: { name, restore: true } }), `The state is that of ${name}.`);
  return h(
    "section",
    { class: "card", "aria-labelledby": "snapshots" },
    h("h2", { id: "snapshots" }, "Snapshots"),
    h(
      "form",
      { class: "line", onsubmit: take },
      h("label", { for: "snapshot", class: "hidden" }, "Name of the snapshot"),
      h("input", { id: "snapshot", name: "snapshot", placeholder: "default", maxlength: 200, autocomplete: "off" }),
      h("button", { type: "submit" }, "Take a snapshot"),
    ),
    listed.length === 0
      ? h("p", { class: "muted" }, "None yet.")
      : h(
          "ul",
          { class: "list" },
          listed.map(({ name, bytes }) =>
            h(
              "li",
              { "data-key": name },
              h("span", {}, name),
              h("span", { class: "muted" }, `${count(Math.ceil(bytes / 1024))} KiB`),
              h(
                "button",
                { type: "button", class: "small", onclick: () => restore(name), "aria-label": `Restore ${name}` },
                "Restore",
              ),
            ),
          ),
        ),
  );
}

function reset(here) {
  const again = (event) => {
    event.preventDefault();
    const text = event.target.elements.seed.value;
    const body = text === "" ? {} : { seed: Number(text) };
    here.act(
      () => ask("POST", "reset", { body }),
      text === ""
        ? "The server is as it was at the start."
        : `The server is as it was at the start, with seed ${text}.`,
    );
  };
  return h(
    "section",
    { class: "card", "aria-labelledby": "reset" },
    h("h2", { id: "reset" }, "Start again"),
    h(
      "p",
      { class: "muted" },
      `The state goes back to the start; clients lose their connections. The seed is ${here.overview.seed}.`,
    ),
    h(
      "form",
      { class: "line", onsubmit: again },
      h("label", { for: "seed" }, "Seed "),
      h("input", { id: "seed", name: "seed", type: "number", step: "1", placeholder: String(here.overview.seed) }),
      h("button", { type: "submit" }, "Reset"),
    ),
  );
}

export const controls = {
  load: (here, signal) => Promise.all([get("snapshots", {}, signal), get("clock/why", {}, signal)]),
  render([listed, { why }], here) {
    const { problems } = here.overview;
    return [
      h("h1", {}, "Controls"),
      problems.length > 0 &&
        h(
          "section",
          { "aria-labelledby": "problems", "data-key": "problems" },
          h("h2", { id: "problems" }, "Problems"),
          problems.map((text) => h("pre", { class: "bad", tabindex: "0" }, text)),
        ),
      h("h2", {}, "Colonies"),
      colonies(here),
      h("div", { class: "cards" }, snapshots(here, listed), reset(here)),
      h("h2", {}, "Who acts, who waits, what is due"),
      h("pre", { tabindex: "0" }, why),
    ];
  },
};
