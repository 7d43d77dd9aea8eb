// What a model answered, for people, and the request that a program would send.

import { element, percent, short } from "./elements.js";
import { curlCommand } from "./service.js";

const MOST_BARS = 12;

/** The answer of one row, or null where it has a form that only JSON shows well. */
export function verdict(model, answer, truth) {
  const row = answer.predictions?.[0];
  if (row !== null && typeof row === "object" && "label" in row && Array.isArray(row.probabilities)) {
    return classVerdict(model, row, truth);
  }
  const number = [row?.prediction ?? row].flat(Infinity)[0];
  if (model.task === "regression" && typeof number === "number") return numberVerdict(model, number, truth);
  return null;
}

function classVerdict(model, row, truth) {
  const labels = model.labels ?? [];
  const shares = row.probabilities.map((share, index) => ({ share, index, label: labels[index] ?? String(index) }));
  const shown = shares.length > MOST_BARS ? shares.sort((a, b) => b.share - a.share).slice(0, MOST_BARS) : shares;
  const wide = shown.some(({ label }) => label.length > 3);
  const right = String(truth) === row.label;
  return element(
    "div",
    {},
    element("p", { className: "verdict" }, row.label, " ", element("small", { textContent: percent(row.score) })),
    truth === undefined ? null : element("p", { className: "truth", textContent: `${right ? "✓ Right" : "✗ Wrong"}: it is ${truth}` }),
    element("ul", { className: wide ? "bars wide" : "bars" }, ...shown.map((item) => bar(item, item.index === row.class_id))),
    model.operating_point ? element("p", { className: "truth", textContent: threshold(model) }) : null,
  );
}

function bar({ share, label }, chosen) {
  const fill = element("span", { className: "bar" });
  fill.style.width = `${100 * share}%`;
  return element(
    "li",
    { className: chosen ? "chosen" : "" },
    element("span", { textContent: label }),
    element("span", { className: "track" }, fill),
    element("span", { className: "value", textContent: percent(share) }),
  );
}

function threshold({ labels, operating_point: { threshold, chosen_on: where } }) {
  return `Answers ${labels[1]} from ${percent(threshold)} on (chosen on ${where}).`;
}

function numberVerdict(model, number, truth) {
  const unit = model.target?.unit ?? "";
  return element(
    "div",
    {},
    element("p", { className: "verdict" }, short(number), " ", element("small", { textContent: unit })),
    element("p", { className: "truth", textContent: model.target?.name ?? "" }),
    truth === undefined ? null : element("p", { className: "truth", textContent: `Measured: ${short(truth)} ${unit}` }),
  );
}

/** The answer as JSON text. */
export function jsonAnswer(answer) {
  return element("pre", { tabIndex: 0, textContent: JSON.stringify(answer, null, 1) });
}

/** The same request as a shell command, with a button that copies it. */
export function curlBlock(path, body) {
  const command = curlCommand(path, body);
  const copy = element("button", { type: "button", className: "plain", textContent: "Copy", onclick: () => copyText(copy, block) });
  const block = element("pre", { tabIndex: 0, textContent: command });
  return element(
    "section",
    { className: "card" },
    element("div", { className: "heading" }, element("h2", { textContent: "The same from a shell" }), copy),
    block,
  );
}

/** Copies a block's text; where the browser forbids that (no HTTPS, another host), selects it for the person. */
async function copyText(button, block) {
  try {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
  } catch {
    window.getSelection().selectAllChildren(block);
    button.textContent = "Selected: now copy it";
  }
  window.setTimeout(() => (button.textContent = "Copy"), 2500);
}
