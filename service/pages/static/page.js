// The front page: the list of models, and the panel of the one that the address names after `#`.

import { element, percent, short } from "./elements.js";
import { showPanel } from "./panel.js";
import { listModels, readiness, TokenNeeded } from "./service.js";
import { stateOf } from "./states.js";
import { tokenForm } from "./token.js";

const WHILE_LOADING_MILLISECONDS = 1000;
const OTHERWISE_MILLISECONDS = 15000;

const list = document.getElementById("models");
const panel = document.getElementById("model");
const question = document.getElementById("token");
const badge = document.getElementById("readiness");

let models = [];
let timer;
const shown = { list: "", panel: "" }; // what each part was made from: it is made anew only when that changes

async function refresh() {
  let ready = false;
  try {
    const [found, health] = await Promise.all([listModels(), readiness()]);
    models = found.sort((a, b) => a.name.localeCompare(b.name));
    ready = health.ready;
    question.replaceChildren();
    badge.textContent = ready ? "ready" : "not ready yet";
    badge.className = `readiness state ${ready ? "good" : ""}`;
    render();
  } catch (error) {
    if (error instanceof TokenNeeded) return; // asking again every second would not bring a token
    badge.textContent = "no answer";
    badge.className = "readiness state bad";
    if (models.length === 0) panel.replaceChildren(element("p", { className: "error", role: "alert", textContent: error.message }));
  }
  window.clearTimeout(timer);
  timer = window.setTimeout(refresh, ready ? OTHERWISE_MILLISECONDS : WHILE_LOADING_MILLISECONDS);
}

/** Asks for a token, and goes on once there is one; what is shown and entered below stays. */
function askForToken({ detail: sentence }) {
  badge.textContent = "needs a token";
  badge.className = "readiness state";
  window.clearTimeout(timer);
  question.replaceChildren(tokenForm(sentence, refresh));
  document.getElementById("token-field").focus();
}

function render() {
  const chosen = models.find(({ name }) => name === chosenName()) ?? models[0];
  document.title = chosen ? `${chosen.name} - Kiln` : "Kiln";
  if (changed("list", [models, chosen?.name])) {
    list.replaceChildren(...models.map((model) => entry(model, model === chosen)));
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  if (!changed("panel", chosen ?? null)) return;
  if (chosen) showPanel(panel, chosen);
  else panel.replaceChildren(emptyNote());
}

function changed(part, content) {
  const text = JSON.stringify(content);
  if (text === shown[part]) return false;
  shown[part] = text;
  return true;
}

function chosenName() {
  try {
    return decodeURIComponent(window.location.hash.slice(1));
  } catch {
    return "";
  }
}

function entry(model, current) {
  const state = stateOf(model);
  return element(
    "a",
    { className: "entry", href: `#${encodeURIComponent(model.name)}`, "aria-current": current ? "true" : undefined },
    element("strong", { textContent: model.name }),
    element("span", { className: `state ${state.tone}`, textContent: state.text }),
    element("span", { textContent: summary(model) }),
  );
}

function summary({ task, metrics, target }) {
  const caveat = metrics?.partial ? " (partial data)" : "";
  if (task === "regression" && metrics?.test) return `mean error ${short(metrics.test.mae)} ${target?.unit ?? ""}${caveat}`;
  if (metrics?.test) return `accuracy ${percent(metrics.test.accuracy)}${caveat}`;
  return task ?? "";
}

function emptyNote() {
  return element("p", { className: "note", textContent:
    "The model repository is empty. Publish a model into it (KILN_MODEL_REPOSITORY/NAME/1/saved_model.pb), then start the service again." });
}

window.addEventListener("tokenneeded", askForToken);
window.addEventListener("hashchange", () => {
  render();
  panel.focus({ preventScroll: true });
});
refresh();
