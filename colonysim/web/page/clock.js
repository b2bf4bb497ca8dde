// The clock bar: what time it is, how it moves, what is due next and for whom time waits.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { count, plural, span, time } from "./format.js";

const MODES = { manual: "Manual", auto: "Auto", scaled: "Scaled", real: "Real time" };
const STEPS = [
  ["+1 s", "Advance by one second", { seconds: 1 }],
  ["+1 min", "Advance by one minute", { seconds: 60 }],
  ["+1 h", "Advance by one hour", { seconds: 3600 }],
  ["Next event", "Advance to the next event", { until: "next" }],
  ["Until idle", "Advance until nothing is due, by one day at most", { until: "idle", limit_seconds: 86400 }],
];
let beforePause = "auto";
let shown = null;

/** Show the time as it passes between two events of the stream, while the clock runs. */
export function tick(overview) {
  const first = shown === null;
  shown = { now_ns: overview.now_ns, rate: overview.rate, runs: overview.runs, at: performance.now() };
  if (first) setInterval(showTime, 100);
}

/** The virtual time now, in nanoseconds; not before that of the `data` that are shown beside it. */
export function now(data) {
  if (shown === null) return data?.now_ns ?? 0;
  const passed = shown.runs ? (performance.now() - shown.at) * 1e6 * shown.rate : 0;
  return Math.max(shown.now_ns + passed, data?.now_ns ?? 0);
}

function showTime() {
  const element = document.getElementById("now");
  if (element && shown.runs) element.textContent = time(Math.floor(now() / 1e8) * 1e8);
}

/** The elements of the bar. */
export function clockBar(overview, act) {
  const { mode, rate } = overview;
  const locked = overview.read_only !== "";
  const follows = locked || mode === "real" || mode === "scaled";
  const set = (body, text) => act(() => ask("PUT", "clock", { body }), text);
  const isPaused = mode === "manual";
  const toggle = () => {
    if (!isPaused) beforePause = mode;
    const wanted = isPaused ? beforePause : "manual";
    set(
      wanted === "scaled" ? { mode: wanted, rate } : { mode: wanted },
      isPaused ? `The clock is ${wanted}.` : "Time stands still.",
    );
  };
  return [
    h(
      "div",
      { class: "now" },
      h("span", { id: "now", class: "time" }, time(overview.now_ns)),
      h("span", { class: "muted" }, " UTC"),
    ),
    h(
      "div",
      { class: "modes" },
      h("label", { for: "mode", class: "hidden" }, "Mode of the clock"),
      h(
        "select",
        {
          id: "mode",
          value: mode,
          disabled: locked,
          onchange: (event) => set({ mode: event.target.value }, `The clock is ${event.target.value}.`),
        },
        Object.entries(MODES).map(([value, text]) =>
          h("option", { value, selected: value === mode, "data-key": value }, text),
        ),
      ),
      mode === "scaled" && [
        h("label", { for: "rate", class: "hidden" }, "Virtual seconds per second"),
        h("input", {
          id: "rate",
          type: "number",
          min: "0.000001",
          max: "1e9",
          step: "any",
          value: String(rate),
          title: "Virtual seconds per second",
          onchange: (event) =>
            set({ mode, rate: Number(event.target.value) }, `Time passes ${event.target.value} times as fast.`),
        }),
      ],
      h("button", { type: "button", id: "pause", disabled: locked, onclick: toggle }, isPaused ? "Resume" : "Pause"),
    ),
    h(
      "div",
      { class: "steps", role: "group", "aria-label": "Advance time" },
      STEPS.map(([text, title, body]) =>
        h(
          "button",
          {
            type: "button",
            title,
            disabled: follows,
            "data-key": text,
            onclick: () => act(() => ask("POST", "clock/advance", { body })),
          },
          text,
        ),
      ),
    ),
    h("div", { class: "due" }, due(overview), whom(overview)),
  ];
}

function due({ due, due_total }) {
  if (due.length === 0) return h("span", {}, "Nothing is due.");
  const [next] = due;
  const what = words(next.event) + (next.about ? ` (${next.about})` : "");
  const more = due_total > 1 ? `, then ${plural(due_total - 1, "event")} more` : "";
  const left = next.due_ns - now();
  const when = left <= 0 ? "now" : `in ${span(left)}`;
  return h("span", { title: `${time(next.due_ns)} UTC` }, h("b", {}, "Next "), `${when}: ${what}${more}`);
}

function whom({ acts, waits, parked, mode, rate, read_only }) {
  if (read_only) return h("span", {}, h("b", {}, "Read only: "), read_only);
  if (mode === "real") return h("span", {}, h("b", {}, "Time "), "passes with real time");
  if (mode === "scaled") return h("span", {}, h("b", {}, "Time "), `passes ${count(rate)} times as fast as real time`);
  if (mode === "manual") return h("span", {}, h("b", {}, "Time "), "moves only by these buttons and by advance()");
  if (acts.length > 0) return h("span", {}, h("b", {}, "Time waits for "), acts.join(", "));
  const waiting = waits.length + parked;
  return h(
    "span",
    {},
    h("b", {}, "Nobody acts"),
    waiting ? `; ${waiting === 1 ? "1 waits" : `${waiting} wait`} for an answer` : "",
  );
}

/** The name of a class of events in words: `ReleaseTick` becomes `release tick`. */
function words(name) {
  return name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
}
