// A workflow drawn in layers from left to right: every process stands to the right of all its parents.

import { h, s } from "./dom.js";
import { STATES } from "./format.js";
import { link } from "./router.js";

const WIDTH = 148;
const HEIGHT = 46;
const GAP_X = 56;
const GAP_Y = 16;
const MARGIN = 12;
const SWEEPS = 4;
const LETTERS = 17;

/** The layer of each node: the length of the longest path that leads to it. Nodes on a cycle stay in the first. */
export function layersOf(nodes) {
  const children = new Map(nodes.map(({ id }) => [id, []]));
  const open = new Map();
  for (const { id, parents } of nodes) {
    const known = parents.filter((parent) => children.has(parent));
    open.set(id, known.length);
    for (const parent of known) children.get(parent).push(id);
  }
  const layer = new Map(nodes.map(({ id }) => [id, 0]));
  const ready = nodes.map(({ id }) => id).filter((id) => open.get(id) === 0);
  while (ready.length > 0) {
    const id = ready.pop();
    for (const child of children.get(id)) {
      layer.set(child, Math.max(layer.get(child), layer.get(id) + 1));
      open.set(child, open.get(child) - 1);
      if (open.get(child) === 0) ready.push(child);
    }
  }
  return layer;
}

/** Arrange the nodes of each layer so that few edges cross: by the mean place of their neighbours, to and fro. */
export function arrange(nodes) {
  const layer = layersOf(nodes);
  const layers = [];
  for (const node of nodes) (layers[layer.get(node.id)] ??= []).push(node);
  const childrenOf = new Map(nodes.map(({ id }) => [id, []]));
  for (const { id, parents } of nodes) for (const parent of parents) childrenOf.get(parent)?.push(id);
  const place = new Map();
  const settle = (row) => row.forEach(({ id }, number) => place.set(id, number - (row.length - 1) / 2));
  layers.forEach(settle);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const neighbours = sweep % 2 === 0 ? ({ parents }) => parents : ({ id }) => childrenOf.get(id);
    for (const row of sweep % 2 === 0 ? layers : layers.toReversed()) {
      const mean = new Map(
        row.map((node) => {
          const places = neighbours(node)
            .map((id) => place.get(id))
            .filter((one) => one !== undefined);
          return [
            node.id,
            places.length ? places.reduce((sum, one) => sum + one, 0) / places.length : place.get(node.id),
          ];
        }),
      );
      row.sort((a, b) => mean.get(a.id) - mean.get(b.id));
      settle(row);
    }
  }
  return { layers, layer, place };
}

/** The drawing. States differ by colour, by outline and by sign. */
export function drawGraph(nodes) {
  const { layers, layer, place } = arrange(nodes);
  const tallest = Math.max(1, ...layers.map((row) => row.length));
  const height = 2 * MARGIN + tallest * (HEIGHT + GAP_Y) - GAP_Y;
  const width = 2 * MARGIN + layers.length * (WIDTH + GAP_X) - GAP_X;
  const x = (id) => MARGIN + layer.get(id) * (WIDTH + GAP_X);
  const y = (id) => height / 2 + place.get(id) * (HEIGHT + GAP_Y) - HEIGHT / 2;
  const known = new Map(nodes.map((node) => [node.id, node]));
  const edges = nodes.flatMap(({ id, parents }) =>
    parents.filter((parent) => known.has(parent)).map((parent) => [parent, id]),
  );
  return s(
    "svg",
    {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "group",
      "aria-label": `${nodes.length} processes in ${layers.length} layers`,
    },
    s(
      "defs",
      {},
      s(
        "marker",
        { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
        s("path", { d: "M0 0 8 4 0 8z", class: "arrow-head" }),
      ),
    ),
    edges.map(([from, to]) => {
      const [x1, y1, x2, y2] = [x(from) + WIDTH, y(from) + HEIGHT / 2, x(to) - 2, y(to) + HEIGHT / 2];
      const bend = (x2 - x1) / 2;
      const done = known.get(from).state === "success";
      return s("path", {
        class: done ? "edge done" : "edge",
        "marker-end": "url(#arrow)",
        d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
        "data-key": `${from}>${to}`,
      });
    }),
    nodes.map((node) => drawNode(node, x(node.id), y(node.id))),
  );
}

function drawNode(node, x, y) {
  const { sign, name: word } = STATES[node.state];
  const name = node.name || node.id.slice(0, 8);
  const shown = name.length > LETTERS ? `${name.slice(0, LETTERS - 1)}…` : name;
  const below =
    node.state === "waiting" && node.waits_for_parents
      ? "Waits for parents"
      : node.executor
        ? `${word} · ${node.executor}`
        : word;
  return s(
    "a",
    {
      href: link(["process", node.id]),
      class: `node ${node.state}`,
      transform: `translate(${x} ${y})`,
      "data-key": node.id,
      "aria-label": `${name}: ${below}`,
    },
    outline(node.state),
    s("text", { class: "sign", x: 18, y: 28, "aria-hidden": "true" }, sign),
    s("text", { class: "name", x: 32, y: 20 }, shown),
    s("text", { class: "below", x: 32, y: 36 }, below.length > 21 ? `${below.slice(0, 20)}…` : below),
  );
}

function outline(state) {
  if (state === "failed")
    return s("path", {
      d: `M10 0H${WIDTH - 10}L${WIDTH} 10V${HEIGHT - 10}L${WIDTH - 10} ${HEIGHT}H10L0 ${HEIGHT - 10}V10Z`,
    });
  const round = state === "success" ? HEIGHT / 2 : state === "cancelled" ? 0 : 8;
  return s("rect", { width: WIDTH, height: HEIGHT, rx: round });
}
