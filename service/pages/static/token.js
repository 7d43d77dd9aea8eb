// The token that a service with a token file asks for. It is kept until the tab is closed, and sent to this service only.

import { element } from "./elements.js";

const KEY = "kiln-token";
let token = stored();

function stored() {
  try {
    return window.sessionStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // the browser keeps nothing for this page; the token lasts until it is loaded anew
  }
}

function keep(text) {
  token = text;
  try {
    window.sessionStorage.setItem(KEY, text);
  } catch {
    // As above.
  }
}

/** Whether a token was entered. */
export const hasToken = () => token !== "";

/** The headers that carry the token, if there is one. */
export const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** A field for the token under a sentence; `entered` is called once the token is kept. */
export function tokenForm(sentence, entered) {
  const field = element("input", { type: "password", id: "token-field", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    // What no header can carry is no token.
    if (!/^[\x21-\x7e]+$/.test(text)) {
      field.setAttribute("aria-invalid", "true");
      return;
    }
    keep(text);
    entered();
  };
  return element(
    "form",
    { className: "card", "aria-label": "Token", noValidate: true, onsubmit: submit },
    element("p", { className: "note", role: "alert", textContent: sentence }),
    element("div", { className: "row" },
      element("label", { for: "token-field" }, "Token"),
      field,
      element("button", { type: "submit", className: "main", textContent: "Continue" })),
  );
}
