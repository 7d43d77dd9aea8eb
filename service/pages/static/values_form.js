// The forms of a model that reads numbers: one field per feature, or one text for the values of a long signal.

import { drawing, element, EntryError } from "./elements.js";

const MOST_FIELDS = 40;

/** See `pictureForm` for what a form is. */
export function valuesForm(model, changed) {
  return model.features.length > MOST_FIELDS ? signalForm(model, changed) : fieldsForm(model, changed);
}

function fieldsForm(model, changed) {
  const example = model.example?.instances[0];
  const fields = model.features.map(({ name, unit }, index) => {
    const input = element("input", { type: "number", step: "any", required: true, value: example?.[index] ?? "" });
    input.addEventListener("input", () => input.removeAttribute("aria-invalid"));
    return { name, input, label: element("label", {}, element("span", {}, ...breakable(name), unit ? ` (${unit})` : ""), input) };
  });
  const reset = () => {
    fields.forEach(({ input }, index) => (input.value = example[index]));
    changed();
  };
  const values = () => fields.map(({ name, input }) => [name, readNumber(name, input)]);
  const node = element(
    "form",
    { noValidate: true, onsubmit: (event) => (event.preventDefault(), changed()) },
    element("div", { className: "fields" }, ...fields.map(({ label }) => label)),
    buttons(example && reset),
  );
  return {
    node,
    start: example ? changed : () => {},
    read() {
      const entered = values();
      const untouched = example && entered.every(([, value], index) => value === example[index]);
      const body = { signature_name: "named_features", instances: [Object.fromEntries(entered)] };
      return { body, truth: untouched ? model.example.expected : undefined };
    },
  };
}

/** A name that may be broken after its underscores. */
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]);
}

function readNumber(name, input) {
  if (input.value !== "" && Number.isFinite(input.valueAsNumber)) return input.valueAsNumber;
  input.setAttribute("aria-invalid", "true");
  input.focus();
  throw new EntryError(`${name} needs a number.`);
}

function signalForm(model, changed) {
  const count = model.features.length;
  const example = model.example?.instances[0];
  const text = element("textarea", { spellcheck: false, value: example?.join(" ") ?? "", "aria-label": `${count} values` });
  const line = drawing("polyline");
  const plot = drawing("svg", { class: "signal", preserveAspectRatio: "none", role: "img", "aria-label": "The values" }, line);
  const parse = () => text.value.split(/[\s,;]+/).filter(Boolean);
  const redraw = () => plotValues(plot, line, parse().map(Number).filter(Number.isFinite));
  text.addEventListener("input", redraw);
  redraw();
  const reset = () => {
    text.value = example.join(" ");
    redraw();
    changed();
  };
  const node = element(
    "form",
    { onsubmit: (event) => (event.preventDefault(), changed()) },
    plot,
    element("label", {}, `${count} values, ${model.features[0].name} to ${model.features.at(-1).name}`, text),
    buttons(example && reset),
  );
  return {
    node,
    start: example ? changed : () => {},
    read() {
      const words = parse();
      const wrong = words.find((word) => !Number.isFinite(Number(word)));
      if (wrong !== undefined) throw new EntryError(`'${wrong}' is not a number.`);
      if (words.length !== count) throw new EntryError(`Expected ${count} values, received ${words.length}.`);
      const instance = words.map(Number);
      const untouched = example && instance.every((value, index) => value === example[index]);
      const signature = model.task === "regression" ? "serving_default" : "classify";
      const body = { signature_name: signature, instances: [instance] };
      return { body, truth: untouched ? model.example.expected : undefined };
    },
  };
}

function plotValues(plot, line, values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || 1) * 0.05;
  plot.setAttribute("viewBox", `0 ${-margin} ${Math.max(values.length - 1, 1)} ${(high - low || 1) + 2 * margin}`);
  line.setAttribute("points", values.map((value, index) => `${index},${high - value}`).join(" "));
}

function buttons(reset) {
  return element(
    "div",
    { className: "buttons" },
    element("button", { type: "submit", className: "main", textContent: "Predict" }),
    reset ? element("button", { type: "button", textContent: "An example of the test set", onclick: reset }) : null,
  );
}
