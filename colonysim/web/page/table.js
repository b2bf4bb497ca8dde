// Tables with filters, search, sort orders and pages, which the server works out.

import { get } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { go, link } from "./router.js";

const SIZES = ["25", "50", "100", "250"];
let timer = 0;

/** Load a page of a table as the query of an address says. */
export function loadTable(name, query, filters, signal) {
  const limit = Number(query.limit) || 50;
  const offset = (Math.max(1, Number(query.page) || 1) - 1) * limit;
  const fields = Object.fromEntries(filters.filter((field) => query[field]).map((field) => [field, query[field]]));
  const { search = "", sort = "", descending = "" } = query;
  return get(`tables/${name}`, { offset: offset || "", limit, search, sort, descending, ...fields }, signal);
}

/** A field for a search that is part of the address. */
export function searchField(here, label) {
  const typed = (event) => {
    const search = event.target.value;
    clearTimeout(timer);
    timer = setTimeout(() => go(link(here.name, { ...here.query, search, page: "" }), true), 150);
  };
  return h(
    "form",
    { role: "search", class: "search", onsubmit: (event) => event.preventDefault() },
    h("label", { for: "search", class: "hidden" }, label),
    h("input", {
      id: "search",
      type: "search",
      placeholder: label,
      value: here.query.search ?? "",
      oninput: typed,
      autocomplete: "off",
    }),
  );
}

/** A choice between the values of a filter, as links; `choices` are [value, content]. */
export function choiceBar(here, field, label, choices) {
  const chosen = here.query[field] ?? "";
  return h(
    "nav",
    { class: "choices", "aria-label": label },
    choices.map(([value, content]) =>
      h(
        "a",
        {
          href: link(here.name, { ...here.query, [field]: value, page: "" }),
          "aria-current": value === chosen ? "true" : null,
          "data-key": value || "all",
        },
        content,
      ),
    ),
  );
}

/** The filters that have no control of their own, each with a link that removes it. */
export function chips(here, fields) {
  const set = fields.filter((field) => here.query[field]);
  if (set.length === 0) return null;
  return h(
    "p",
    { class: "chips" },
    set.map((field) =>
      h(
        "a",
        { href: link(here.name, { ...here.query, [field]: "", page: "" }), "data-key": field },
        `${field.replace("_", " ")}: ${here.query[field]} `,
        h("span", { "aria-hidden": "true" }, "✕"),
        h("span", { class: "hidden" }, "remove this filter"),
      ),
    ),
  );
}

/**
 * A table. `columns` are {title, sort, cell, number}: a column with `sort` can be sorted by that name, and the first is
 * the heading of the row. `details(row)` returns what is shown below a row, or null.
 */
export function dataTable(here, { caption, columns, rows, key, details, empty }) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty ?? "Nothing here.");
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => heading(here, column)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => {
          const cells = columns.map(({ cell, number }, place) =>
            h(
              place === 0 ? "th" : "td",
              { class: number ? "number" : null, scope: place === 0 ? "row" : null },
              cell(row),
            ),
          );
          const below = details?.(row);
          return [
            h("tr", { "data-key": key(row) }, cells),
            below &&
              h(
                "tr",
                { "data-key": `${key(row)}/details`, class: "details" },
                h("td", { colspan: columns.length }, below),
              ),
          ];
        }),
      ),
    ),
  );
}

function heading(here, { title, sort, number }) {
  if (!sort) return h("th", { scope: "col", class: number ? "number" : null }, title);
  const isSorted = here.query.sort === sort;
  const descending = isSorted && here.query.descending === "true";
  const next = !isSorted
    ? { sort, descending: "" }
    : descending
      ? { sort: "", descending: "" }
      : { sort, descending: "true" };
  return h(
    "th",
    {
      scope: "col",
      class: number ? "number" : null,
      "aria-sort": isSorted ? (descending ? "descending" : "ascending") : null,
    },
    h(
      "a",
      { href: link(here.name, { ...here.query, ...next, page: "" }) },
      title,
      h("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (descending ? " ↓" : " ↑") : ""),
    ),
  );
}

/** Which rows are shown of how many, and links to the other pages. */
export function pager(here, { total, offset, rows }) {
  const limit = Number(here.query.limit) || 50;
  const page = Math.floor(offset / limit) + 1;
  const last = Math.max(1, Math.ceil(total / limit));
  const to = (number, text, label) =>
    number < 1 || number > last || number === page
      ? h("span", { class: "off", "aria-hidden": "true", "data-key": label }, text)
      : h(
          "a",
          {
            href: link(here.name, { ...here.query, page: number === 1 ? "" : number }),
            "aria-label": label,
            "data-key": label,
          },
          text,
        );
  const shown = rows.length
    ? `${count(offset + 1)}–${count(offset + rows.length)} of ${count(total)}`
    : `0 of ${count(total)}`;
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    h("span", { class: "total", id: "total" }, shown),
    last > 1 && [
      to(1, "«", "First page"),
      to(page - 1, "‹ Previous", "Previous page"),
      to(page + 1, "Next ›", "Next page"),
      to(last, "»", "Last page"),
    ],
    (total > 25 || here.query.limit) && [
      h("label", { for: "limit" }, "Rows "),
      h(
        "select",
        {
          id: "limit",
          value: String(limit),
          onchange: (event) => go(link(here.name, { ...here.query, limit: event.target.value, page: "" })),
        },
        SIZES.map((size) => h("option", { value: size, selected: size === String(limit) }, size)),
      ),
    ],
  );
}
