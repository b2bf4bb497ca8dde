// The faults: what each has struck, a switch for each, and a form for new ones that is made of their schema.

import { ask, get } from "../api.js";
import { h } from "../dom.js";
import { count, plural, prose } from "../format.js";
import { fieldsOf, formFor } from "../form.js";
import { link } from "../router.js";
import { dataTable } from "../table.js";

function listed(here, faults) {
  const isOn = (row) => row.enabled !== false; // what has its default is left out
  const flip = (row) =>
    here.act(
      () => ask("PATCH", "faults", { body: { name: row.name, enabled: !isOn(row) } }),
      `${row.name} is ${isOn(row) ? "off" : "on"}.`,
    );
  const remove = (row) =>
    here.act(() => ask("DELETE", "faults", { query: { name: row.name } }), `${row.name} is removed.`);
  return dataTable(here, {
    caption: plural(faults.length, "fault"),
    columns: [
      { title: "Fault", cell: (row) => row.name },
      {
        title: "On",
        cell: (row) =>
          h(
            "button",
            {
              type: "button",
              role: "switch",
              class: "switch",
              "aria-checked": String(isOn(row)),
              "aria-label": `${row.name} on`,
              onclick: () => flip(row),
            },
            h("span", { "aria-hidden": "true" }, isOn(row) ? "On" : "Off"),
          ),
      },
      { title: "Kind", cell: (row) => h("code", {}, row.kind) },
      {
        title: "Strikes",
        number: true,
        cell: (row) =>
          row.strikes
            ? h("a", { href: link("calls", { fault: row.name }) }, count(row.strikes))
            : h("span", { title: row.never_struck }, "0"),
      },
      { title: "Details", cell: (row) => h("code", { class: "wrap" }, summary(row)) },
      {
        title: "Remove",
        cell: (row) =>
          h(
            "button",
            { type: "button", class: "small", "aria-label": `Remove ${row.name}`, onclick: () => remove(row) },
            "Remove",
          ),
      },
    ],
    rows: faults,
    key: (row) => row.name,
    empty: "There are no faults: every message arrives, and nobody crashes.",
  });
}

/** The fields of a fault that say something: not its name, and nothing empty. */
function summary(row) {
  const { name, kind, enabled, strikes, never_struck, ...fields } = row;
  const plain = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== "" && !(typeof value === "object" && Object.keys(value).length === 0),
  );
  return plain.map(([field, value]) => `${field}=${JSON.stringify(value)}`).join(" ") || "–";
}

function form(here, { kinds, $defs }) {
  const chosen = (here.local.kind ??= "lose_reply");
  const schema = kinds[chosen];
  const add = async (event) => {
    event.preventDefault();
    const element = event.target;
    const body = { kind: chosen, ...fieldsOf(schema, $defs, `fault-${chosen}`) };
    if (
      await here.act(
        () => ask("POST", "faults", { body }),
        ([fault]) => (fault ? `${fault.name} is added.` : "Nothing was added."),
      )
    )
      element.reset();
  };
  const choose = (event) => {
    here.local.kind = event.target.value;
    here.refresh();
  };
  return h(
    "form",
    { class: "card", onsubmit: add, "aria-labelledby": "add-fault" },
    h("h2", { id: "add-fault" }, "Add a fault"),
    h(
      "p",
      { class: "field" },
      h("label", { for: "kind" }, "Kind"),
      h(
        "select",
        { id: "kind", value: chosen, onchange: choose },
        Object.keys(kinds).map((name) => h("option", { value: name, selected: name === chosen }, name)),
      ),
    ),
    h("p", { class: "muted" }, prose(schema.description)),
    h("div", { "data-key": chosen, class: "fields" }, formFor(schema, $defs, `fault-${chosen}`)),
    h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Add the fault")),
  );
}

export const faults = {
  async load(here, signal) {
    here.local.schema ??= await get("faults/kinds", {}, signal);
    return get("faults", {}, signal);
  },
  render(data, here) {
    return [
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Faults"),
        data.length > 1 &&
          h(
            "button",
            { type: "button", onclick: () => here.act(() => ask("DELETE", "faults"), "All faults are removed.") },
            "Remove all",
          ),
      ),
      listed(here, data),
      form(here, here.local.schema),
    ];
  },
};
