// The form that every model has: the request's JSON, prefilled from a signature's dtypes and shapes.

import { element, EntryError } from "./elements.js";

const PREFERRED = ["classify", "serving_default"];

/** See `pictureForm` for what a form is. */
export function jsonForm(model, signatures, changed) {
  const names = Object.keys(signatures).sort();
  const first = PREFERRED.find((name) => names.includes(name)) ?? names[0];
  const text = element("textarea", { spellcheck: false, id: "request", rows: 12 });
  const refill = (name) => {
    const body = JSON.stringify(generatedBody(name, signatures[name]), null, 2);
    text.value = body.replaceAll(/\[[^[\]{}]*\]/g, (innermost) => innermost.replaceAll(/\s+/g, " "));
  };
  const choice = element("select", { id: "signature", onchange: () => refill(choice.value) });
  choice.append(...names.map((name) => element("option", { value: name, textContent: name, selected: name === first })));
  refill(first);
  const node = element(
    "form",
    { onsubmit: (event) => (event.preventDefault(), changed()) },
    element("div", { className: "row" }, element("label", { for: "signature" }, "Signature"), choice),
    element("label", { for: "request" }, "Request body"),
    text,
    element("div", { className: "buttons" }, element("button", { type: "submit", className: "main", textContent: "Predict" })),
  );
  return {
    node,
    start: () => {},
    read() {
      try {
        return { body: JSON.parse(text.value) };
      } catch (error) {
        throw new EntryError(`The request body is not JSON: ${error.message}.`);
      }
    },
  };
}

/** A body that a signature accepts: rows where every input has a batch axis, columns otherwise. */
export function generatedBody(name, { inputs }) {
  const entries = Object.entries(inputs);
  const batched = entries.every(([, { shape }]) => shape === null || (shape.length > 0 && shape[0] === -1));
  const parts = entries.map(([key, { dtype, shape }]) => [key, zeros(dtype, shape ?? [-1], batched ? 1 : 0)]);
  const value = parts.length === 1 ? parts[0][1] : Object.fromEntries(parts);
  return { signature_name: name, ...(batched ? { instances: [value] } : { inputs: value }) };
}

function zeros(dtype, shape, axis) {
  if (axis >= shape.length) return zero(dtype);
  return Array.from({ length: shape[axis] < 0 ? 1 : shape[axis] }, () => zeros(dtype, shape, axis + 1));
}

function zero(dtype) {
  if (dtype === "DT_STRING") return "";
  return dtype === "DT_BOOL" ? false : 0;
}
