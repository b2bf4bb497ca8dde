// Forms made of a JSON Schema, as the server gives it for faults, and the values that were typed into them.
//
// A field of a simple type gets the control of that type. Any other takes JSON, or a plain text where a text will do:
// a span of seconds can be 2, [1, 3] or {"kind": "exponential", "mean_s": 2}. An object is a group of fields.

import { h } from "./dom.js";
import { prose } from "./format.js";

function resolved(schema, definitions) {
  return schema.$ref ? definitions[schema.$ref.slice("#/$defs/".length)] : schema;
}

/** The part of a schema that is not null, without references. */
function essence(schema, definitions) {
  const own = resolved(schema, definitions);
  const options = own.anyOf?.filter(({ type }) => type !== "null");
  return options?.length === 1 ? resolved(options[0], definitions) : own;
}

function fieldNames(schema) {
  return Object.keys(schema.properties).filter((name) => name !== "kind");
}

/** The controls for all fields of an object, the required ones first; in an `optional` object nothing is required. */
export function formFor(schema, definitions, prefix, optional = false) {
  const required = new Set(optional ? [] : schema.required);
  const names = fieldNames(schema).sort((a, b) => required.has(b) - required.has(a));
  return names.map((name) =>
    control(
      name,
      essence(schema.properties[name], definitions),
      schema.properties[name],
      definitions,
      `${prefix}-${name}`,
      required.has(name),
    ),
  );
}

function control(name, schema, given, definitions, id, required) {
  if (schema.type === "object" && schema.properties) {
    return h(
      "details",
      { class: "group", open: required, "data-key": id },
      h("summary", {}, name, required && h("span", { class: "muted" }, " required")),
      h("p", { class: "muted" }, prose(schema.description)),
      h("div", { class: "fields" }, formFor(schema, definitions, id, !required)),
    );
  }
  const initial = given.default ?? "";
  const shown = typeof initial === "object" ? "" : String(initial);
  const label = h("label", { for: id }, name, required && h("span", { class: "muted" }, " required"));
  if (schema.enum) {
    return h(
      "p",
      { class: "field", "data-key": id },
      label,
      h(
        "select",
        { id },
        schema.enum.map((value) => h("option", { value, selected: value === initial }, value === "" ? "any" : value)),
      ),
    );
  }
  if (schema.type === "boolean") {
    return h(
      "p",
      { class: "field check", "data-key": id },
      h("input", { id, type: "checkbox", checked: initial === true }),
      label,
    );
  }
  const isNumber = schema.type === "number" || schema.type === "integer";
  const type = isNumber
    ? { type: "number", step: schema.type === "integer" ? "1" : "any", min: schema.minimum, max: schema.maximum }
    : { type: "text" };
  return h(
    "p",
    { class: "field", "data-key": id },
    label,
    h("input", { id, ...type, required, placeholder: shown, autocomplete: "off" }),
    hint(schema),
  );
}

function hint(schema) {
  const types = (schema.anyOf ?? [])
    .flatMap((option) => option.anyOf ?? option)
    .map((option) => (option.$ref ? "object" : option.type));
  if (types.includes("object"))
    return h("span", { class: "muted" }, "a number, [least, most], or a distribution as JSON");
  if (types.includes("array"))
    return h(
      "span",
      { class: "muted" },
      types.includes("string") ? "one, or several with commas" : "a number, or several with commas",
    );
  return null;
}

/** The values that were typed into the controls of `formFor`; what was left empty is left out. */
export function fieldsOf(schema, definitions, prefix) {
  const values = {};
  for (const name of fieldNames(schema)) {
    const inner = essence(schema.properties[name], definitions);
    const id = `${prefix}-${name}`;
    if (inner.type === "object" && inner.properties) {
      const fields = fieldsOf(inner, definitions, id);
      if (Object.keys(fields).length > 0 || schema.required.includes(name)) values[name] = fields;
      continue;
    }
    const element = document.getElementById(id);
    const given = schema.properties[name].default;
    if (element.type === "checkbox") {
      if (element.checked !== given) values[name] = element.checked;
    } else if (element.value !== "" && element.value !== given) {
      values[name] = read(element.value, inner);
    }
  }
  return values;
}

function read(text, schema) {
  if (schema.type === "number" || schema.type === "integer") return Number(text);
  if (schema.type === "string" || schema.enum) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text.includes(",") ? text.split(",").map((part) => part.trim()) : text;
  }
}
