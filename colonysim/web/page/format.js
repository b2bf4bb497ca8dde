// Times, spans, numbers and states for people.

import { h } from "./dom.js";

export const STATES = {
  waiting: { sign: "○", name: "Waiting" },
  running: { sign: "◐", name: "Running" },
  success: { sign: "✓", name: "Succeeded" },
  failed: { sign: "✕", name: "Failed" },
  cancelled: { sign: "–", name: "Cancelled" },
  pending: { sign: "○", name: "Pending" },
  approved: { sign: "✓", name: "Approved" },
  rejected: { sign: "✕", name: "Rejected" },
  unregistered: { sign: "–", name: "Unregistered" },
};
const COUNT = new Intl.NumberFormat("en");

/** A number with separators. */
export const count = (number) => COUNT.format(number);

/** A number with its noun: `1 process`, `2,000 processes`. */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A time in nanoseconds since 1970, as date and time in UTC. */
export function time(ns) {
  if (ns === null || ns === undefined) return "–";
  const text = new Date(ns / 1e6).toISOString();
  const short = text.endsWith(".000Z") ? text.slice(0, 19) : text.slice(0, 23);
  return short.replace("T", " ");
}

/** A span in nanoseconds, in the unit that people would use. */
export function span(ns) {
  const seconds = Math.abs(ns) / 1e9;
  const sign = ns < 0 ? "−" : "";
  const shown = (value, unit, digits) => `${sign}${Number(value.toFixed(digits))} ${unit}`;
  if (seconds === 0) return "0 s";
  if (seconds < 1) return shown(seconds * 1000, "ms", seconds < 0.01 ? 1 : 0);
  if (seconds < 120) return shown(seconds, "s", seconds < 10 ? 1 : 0);
  if (seconds < 7200) return shown(seconds / 60, "min", seconds < 600 ? 1 : 0);
  if (seconds < 172800) return shown(seconds / 3600, "h", 1);
  return shown(seconds / 86400, "days", 1);
}

/** How long ago a time was, with the time itself as a tooltip. */
export function age(ns, now) {
  if (ns === null || ns === undefined) return "–";
  return h("time", { title: `${time(ns)} UTC`, datetime: new Date(ns / 1e6).toISOString() }, span(now - ns));
}

/** A state as a sign and a word; its colour says nothing that these do not. */
export function state(name, text) {
  const { sign, name: word } = STATES[name] ?? { sign: "?", name };
  return h("span", { class: `state ${name}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign), text ?? word);
}

/** The state of a process, which says so if it waits for its parents. */
export const processState = (row) =>
  state(row.state, row.state === "waiting" && row.waits_for_parents ? "Waits for parents" : undefined);

/** The beginning of an id; the whole is its tooltip. */
export const short = (id) => id.slice(0, 8);

/** A text in which backticks mark code. */
export const prose = (text = "") => text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));

/** A value as JSON, indented if it is long. */
export function json(value) {
  const line = JSON.stringify(value);
  return line.length <= 80 ? line : JSON.stringify(value, null, 2);
}

/** A JSON text as it is read best; as it is, if it is no JSON. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
