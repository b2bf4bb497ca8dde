// Why processes ended without success: each cause with its count, its commonest errors, and some timelines.

import { address, get } from "../api.js";
import { h } from "../dom.js";
import { count, plural, short } from "../format.js";
import { link } from "../router.js";
import { processLink } from "./processes.js";
import { timeline } from "./process.js";

function example({ id, function: name, story }) {
  return h(
    "details",
    { "data-key": id },
    h("summary", {}, name || "process", " ", h("code", {}, short(id))),
    h("p", {}, processLink(id, "All about this process")),
    timeline(story),
  );
}

function section({ cause, count: number, texts, processes }) {
  return h(
    "section",
    { class: "card", "data-key": cause, "aria-label": cause },
    h("h2", {}, `${count(number)} ${cause}`),
    texts.length > 0 &&
      h(
        "ul",
        { class: "reasons" },
        texts.map(({ text, count: times }) => h("li", { "data-key": text }, text, " ", h("b", {}, `${count(times)} ×`))),
      ),
    processes.map(example),
  );
}

export const failures = {
  load: (here, signal) => get("causes", {}, signal),
  render({ causes }) {
    const total = causes.reduce((sum, { count: number }) => sum + number, 0);
    return [
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Failures"),
        h(
          "p",
          { class: "buttons" },
          h("a", { class: "button", href: address("report"), target: "_blank", rel: "noopener" }, "Report (HTML)"),
        ),
      ),
      total === 0
        ? h("p", { class: "empty" }, "No process has ended without success.")
        : h(
            "p",
            {},
            `${plural(total, "process", "processes")} ended without success: `,
            h("a", { href: link("processes", { state: "failed" }) }, "the failed ones"),
            ", ",
            h("a", { href: link("processes", { state: "cancelled" }) }, "the cancelled ones"),
            ".",
          ),
      causes.map(section),
    ];
  },
};
