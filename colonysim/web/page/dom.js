// Elements made of data, and updates that keep what the reader is doing: focus, scroll, typed text, opened details.
//
// A view makes its whole tree anew from the data, and `update` changes the tree on the page into it. Data only ever
// become text and attributes, never HTML.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit", "ontoggle", "onkeydown"];

/** Make an HTML element: properties that start with `on` are handlers, `value` and `checked` are wanted states. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name)) element[name] = value;
    else if (name === "value" || name === "checked") element.wanted = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  if (element.wanted !== undefined) show(element, element.wanted);
  return element;
}

function show(element, wanted) {
  if (typeof wanted === "boolean") element.checked = wanted;
  else element.value = wanted;
}

/** Change what an element contains into new children. Elements with the same `data-key` are kept, in any order. */
export function update(parent, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  updateChildren(
    parent,
    wanted.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))),
  );
}

function updateChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  const used = new Set(wanted.map((child) => child.dataset?.key).filter((key) => keyed.has(key)));
  let here = parent.firstChild;
  for (const child of wanted) {
    const key = child.dataset?.key;
    while (here && here.dataset?.key && !used.has(here.dataset.key)) here = removed(here);
    let kept = key ? keyed.get(key) : here && !here.dataset?.key ? here : null;
    if (kept && isAlike(kept, child)) {
      if (kept === here) here = here.nextSibling;
      else parent.insertBefore(kept, here);
      updateNode(kept, child);
    } else {
      parent.insertBefore(child, here);
    }
  }
  while (here) here = removed(here);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function isAlike(old, wanted) {
  return old.nodeType === wanted.nodeType && old.nodeName === wanted.nodeName && old.type === wanted.type;
}

function updateNode(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !(name === "open" && old.localName === "details")) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.localName === "details")) {
      old.setAttribute(name, value);
    }
  }
  for (const name of HANDLERS) old[name] = wanted[name];
  updateChildren(old, [...wanted.childNodes]);
  if (wanted.wanted !== undefined && wanted.wanted !== old.wanted) {
    old.wanted = wanted.wanted;
    if (old !== document.activeElement || typeof old.wanted === "boolean") show(old, old.wanted);
  }
}
