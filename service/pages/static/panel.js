// Everything about one model: what it is, its figures, a form to try it, its answer, the same request for a shell.

import { curlBlock, jsonAnswer, verdict } from "./answer.js";
import { element, EntryError, percent, short } from "./elements.js";
import { jsonForm } from "./json_form.js";
import { pictureForm } from "./picture_form.js";
import { modelPath, predict, signatures } from "./service.js";
import { stateOf } from "./states.js";
import { valuesForm } from "./values_form.js";

const FIGURES = {
  accuracy: { title: "Accuracy", text: percent },
  roc_auc: { title: "ROC AUC", text: (value) => value.toFixed(3) },
  f1: { title: "F1", text: (value) => value.toFixed(3) },
  mae: { title: "Mean absolute error", text: short, inUnit: true },
  rmse: { title: "Root mean square error", text: short, inUnit: true },
  r2: { title: "R²", text: (value) => value.toFixed(3) },
};
const BASELINES = { trivial: "a trivial guess", gradient_boosting: "gradient boosting" };

/** Fills `place` with a model's panel. */
export function showPanel(place, model) {
  const trial = element("section", { className: "card", "aria-label": "Try it" });
  const shell = element("div");
  place.replaceChildren(aboutCard(model));
  if (!stateOf(model).available) return;
  place.append(trial, shell);
  const versions = model.versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => String(version));
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  offerTrial({ model, trial, shell, versions, chosen: newest, newest, asJson: !hasOwnForm(model) });
}

function hasOwnForm({ input, features }) {
  return Boolean((input?.kind === "image" && input.shape.length === 2) || features?.length);
}

/** Builds the form and the place of its answer; choosing another version or form builds them again. */
function offerTrial(offer) {
  const { model, trial, shell, versions, chosen, newest, asJson } = offer;
  const path = modelPath(model.name, chosen === newest ? null : chosen);
  const output = element("div", { "aria-live": "polite" });
  const rebuild = (change) => offerTrial({ ...offer, ...change });
  const other = element("button", {
    type: "button",
    className: "plain",
    textContent: asJson ? "Use the form" : "Write the request as JSON",
    onclick: () => rebuild({ asJson: !asJson }),
  });
  const heading = element("div", { className: "heading" }, element("h2", { textContent: "Try it" }), hasOwnForm(model) ? other : null);
  const choice = versions.length > 1 ? versionChoice(versions, chosen, (version) => rebuild({ chosen: version })) : null;
  const place = element("div");
  trial.replaceChildren(heading, ...(choice ? [choice] : []), element("div", { className: "trial" }, place, output));
  shell.replaceChildren();
  const send = sender(model, path, output, shell);
  if (!asJson) {
    const form = (model.input?.kind === "image" ? pictureForm : valuesForm)(model, () => send(form));
    place.append(form.node);
    form.start();
    return;
  }
  signatures(model.name, chosen).then(
    (described) => {
      const form = jsonForm(model, described, () => send(form));
      place.append(form.node);
    },
    (error) => place.append(element("p", { className: "error", role: "alert", textContent: error.message })),
  );
}

function versionChoice(versions, chosen, changed) {
  const select = element("select", { id: "version", onchange: () => changed(select.value) });
  select.append(...versions.map((value) => element("option", { value, textContent: value, selected: value === chosen })));
  return element("div", { className: "row" }, element("label", { for: "version" }, "Version"), select);
}

/** A function that sends what a form holds and shows the answer of the newest request only. */
function sender(model, path, output, shell) {
  let newest = 0;
  return async (form) => {
    newest += 1;
    const own = newest;
    try {
      const { body, truth } = form.read();
      const text = JSON.stringify(body);
      shell.replaceChildren(curlBlock(path, text));
      const answer = await predict(path, text);
      if (own === newest) output.replaceChildren(verdict(model, answer, truth) ?? jsonAnswer(answer));
    } catch (error) {
      if (own !== newest) return;
      const entry = error instanceof EntryError;
      output.replaceChildren(element("p", { className: entry ? "note" : "error", role: "alert", textContent: error.message }));
    }
  };
}

function aboutCard(model) {
  const state = stateOf(model);
  return element(
    "section",
    { className: "card" },
    element("div", { className: "title" },
      element("h1", { textContent: model.name }),
      element("span", { className: `state ${state.tone}`, textContent: state.text })),
    state.available || model.task ? element("p", { className: "about", textContent: description(model) }) : null,
    state.message ? element("p", { className: "error", textContent: state.message }) : null,
    model.metrics?.partial ? element("p", { className: "note", textContent: `Partial data: ${model.metrics.partial}` }) : null,
    figures(model),
    state.text === "loading" ? element("p", { className: "note", textContent: "It can be tried here once it is loaded." }) : null,
  );
}

function description({ task, labels, input, features, target }) {
  if (!task) return "This model comes without a model.json, so its signatures are all that is known of it.";
  const shape = input?.kind === "image" ? `a picture of ${input.shape.join(" × ")} pixels` : `${features?.length ?? "some"} numbers`;
  const unit = target?.unit ? ` in ${target.unit}` : "";
  const answer = task === "regression" ? `${target?.name ?? "a number"}${unit}` : `one of ${labels.length} classes: ${labels.join(", ")}`;
  return `From ${shape} to ${answer}.`;
}

function figures({ metrics, task, target }) {
  const test = metrics?.test;
  if (!test) return null;
  const unit = target?.unit ? ` ${target.unit}` : "";
  const figure = (name, values, title, className) => {
    const { text, inUnit } = FIGURES[name];
    const value = text(values[name]) + (inUnit ? unit : "");
    return element("div", { className }, element("dt", { textContent: title }), element("dd", { textContent: value }));
  };
  const has = (values, name) => typeof values?.[name] === "number";
  const main = task === "regression" ? "mae" : "accuracy";
  const own = Object.keys(FIGURES).filter((name) => has(test, name));
  const others = Object.entries(metrics.baseline ?? {}).filter(([, values]) => has(values, main));
  return element(
    "dl",
    { className: "figures", "aria-label": "Figures on the test data" },
    ...own.map((name) => figure(name, test, FIGURES[name].title, "")),
    ...others.map(([name, values]) => figure(main, values, `${FIGURES[main].title} of ${BASELINES[name] ?? name}`, "beside")),
  );
}
