// The shell of the page: shows the view of the address, and shows it anew when something has changed.

import { ApiError, get, listen } from "./api.js";
import { clockBar, tick } from "./clock.js";
import { h, update } from "./dom.js";
import { count } from "./format.js";
import { current, link } from "./router.js";
import { calls } from "./views/calls.js";
import { controls } from "./views/controls.js";
import { executors } from "./views/executors.js";
import { failures } from "./views/failures.js";
import { faults } from "./views/faults.js";
import { process } from "./views/process.js";
import { processes } from "./views/processes.js";
import { schedules } from "./views/schedules.js";
import { submit } from "./views/submit.js";
import { workflow, workflows } from "./views/workflows.js";

// A view has a title, `load(context)` that returns its data, and `render(data, context)` that returns its elements.
const VIEWS = { processes, process, workflows, workflow, executors, schedules, calls, failures, faults, controls, submit };
const MENU = [
  ["processes", "Processes"],
  ["workflows", "Workflows"],
  ["executors", "Executors"],
  ["schedules", "Crons & generators"],
  ["calls", "Calls"],
  ["failures", "Failures"],
  ["faults", "Faults"],
  ["controls", "Controls"],
  ["submit", "Submit"],
];
const PARENTS = { process: "processes", workflow: "workflows" };
const LEAST_PAUSE_MS = 100;
const AGES_MS = 1000;

const main = document.getElementById("main");
const page = { overview: null, local: {}, shown: "", data: null, loading: null, again: false, timer: 0 };

/** What views get: the address, the overview, state of their own that outlives updates, and ways to act. */
function context() {
  const { parts, query } = current();
  const name = parts[0] in VIEWS ? parts[0] : "processes";
  const place = parts.join("/");
  page.local[place] ??= {};
  return { name, id: parts[1] ?? "", query, overview: page.overview, local: page.local[place], act, refresh, announce };
}

/** Tell screen readers, and everyone else, what has happened. */
function announce(text, isError = false) {
  document.getElementById("status").textContent = text;
  document.getElementById("note")?.remove();
  const close = h(
    "button",
    { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => note.remove() },
    "✕",
  );
  const note = h("div", { id: "note", class: isError ? "note error" : "note" }, h("span", {}, text), close);
  document.body.append(note);
  if (!isError) setTimeout(() => note.remove(), 4000);
}

/** Do something that changes the server, then tell how it went and show the result. Returns whether it succeeded. */
async function act(doing, done) {
  try {
    const result = await doing();
    const text = typeof done === "function" ? done(result) : done;
    if (text) announce(text);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    announce(error.message, true);
    return false;
  } finally {
    refresh();
  }
}

/** Load and show the view; once more afterwards if something has changed meanwhile. */
async function refresh() {
  clearTimeout(page.timer);
  if (page.overview === null) return;
  if (page.loading !== null) {
    page.again = true;
    return;
  }
  const began = performance.now();
  const here = context();
  const place = location.hash;
  const loading = (page.loading = new AbortController());
  try {
    const data = await VIEWS[here.name].load(here, loading.signal);
    if (location.hash === place) {
      page.data = { place, data };
      show(here, VIEWS[here.name].render(data, here));
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    page.data = null;
    if (location.hash === place) show(here, [h("h1", {}, "Not found"), h("p", {}, error.message)]);
  } finally {
    if (page.loading === loading) page.loading = null;
    if (page.again && page.loading === null) {
      page.again = false;
      page.timer = setTimeout(refresh, Math.max(LEAST_PAUSE_MS, 2 * (performance.now() - began)));
    }
  }
}

function show(here, elements) {
  const heading = `${here.name}/${here.id}`;
  const isNew = page.shown !== heading;
  if (isNew) {
    update(main);
    document.querySelector("#nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const hadFocus = main.contains(document.activeElement);
  update(main, elements);
  if (hadFocus && !main.contains(document.activeElement)) main.focus({ preventScroll: true }); // it was on a removed row
  page.shown = heading;
  const title = main.querySelector("h1")?.textContent ?? "";
  document.title = title ? `${title} · colonysim` : "colonysim";
  main.setAttribute("aria-busy", "false");
}

/** While the clock runs, ages grow although nothing happens on the server. */
function showAges() {
  if (!page.overview?.runs || document.hidden) return;
  showFrame();
  const here = context();
  if (page.data?.place === location.hash) show(here, VIEWS[here.name].render(page.data.data, here));
}

function showFrame() {
  const here = context();
  const active = PARENTS[here.name] ?? here.name;
  const badges = { faults: page.overview?.faults, controls: page.overview?.problems.length };
  update(
    document.getElementById("nav"),
    MENU.map(([name, text]) =>
      h(
        "a",
        {
          href: link(name),
          "data-key": name,
          "aria-current": name === active ? "page" : null,
          class: name === "submit" ? "action" : null,
        },
        text,
        badges[name]
          ? h(
              "span",
              { class: "badge" },
              count(badges[name]),
              h("span", { class: "hidden" }, name === "faults" ? " switched on" : " problems"),
            )
          : null,
      ),
    ),
  );
  if (page.overview) update(document.getElementById("clock"), clockBar(page.overview, act));
}

function onOverview(overview) {
  page.overview = overview;
  tick(overview);
  showFrame();
  refresh();
}

function onConnected(connected) {
  const live = document.getElementById("live");
  live.textContent = connected ? "live" : "reconnecting…";
  live.className = connected ? "live on" : "live";
}

addEventListener("hashchange", (event) => {
  const left = page.shown;
  showFrame();
  page.loading?.abort();
  page.loading = null;
  refresh().then(() => {
    if (page.shown !== left && event.oldURL) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true });
    }
  });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(showAges, AGES_MS);
showFrame();
listen(onOverview, onConnected);
get("overview").then(
  (overview) => page.overview ?? onOverview(overview),
  (error) => update(main, h("h1", {}, "No answer"), h("p", {}, error.message)),
);
