// Calls to the service. Every failure becomes an Error whose message can be shown.

import { authorization, hasToken } from "./token.js";

/** The service wants a token, or another one. */
export class TokenNeeded extends Error {}

/** The parsed JSON of an answer. Addresses are relative, so the page also works behind a path prefix. */
async function call(address, options) {
  let response;
  try {
    const headers = { ...options?.headers, ...authorization() };
    response = await fetch(address, { cache: "no-store", ...options, headers });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Error(`The service answered ${response.status} with something that is not JSON: ${text.slice(0, 200)}`);
  }
  if (response.status === 401 || response.status === 403) {
    const error = new TokenNeeded(refusal(response.status, body));
    window.dispatchEvent(new CustomEvent("tokenneeded", { detail: error.message }));
    throw error;
  }
  if (!response.ok && !(body && typeof body === "object" && "ready" in body)) {
    throw new Error((body && body.error) || `The service answered ${response.status}.`);
  }
  return body;
}

function refusal(status, body) {
  if (status === 403) return body?.error || "The service does not allow this.";
  return hasToken() ? "The service does not know this token." : "The service asks for a token.";
}

/** All models, with what their `model.json` says. */
export const listModels = async () => (await call("v1/models")).models;

/** `{"live": true, "ready": false, ...}`; not being ready is an answer, not a failure. */
export const readiness = () => call("v2/health/ready");

/** The path of a model, or of one of its versions. */
export function modelPath(name, version) {
  return `v1/models/${encodeURIComponent(name)}${version ? `/versions/${version}` : ""}`;
}

/** The signatures of a model: `{name: {inputs: {name: {dtype, shape}}, outputs: ...}}`, shape null where unknown. */
export async function signatures(name, version) {
  const answer = await call(`${modelPath(name, version)}/metadata`);
  const described = answer.metadata.signature_def.signature_def;
  return Object.fromEntries(
    Object.entries(described)
      .filter(([, signature]) => Object.keys(signature.inputs ?? {}).length > 0)
      .map(([key, signature]) => [key, { inputs: tensors(signature.inputs), outputs: tensors(signature.outputs) }]),
  );
}

function tensors(described = {}) {
  return Object.fromEntries(
    Object.entries(described).map(([name, { dtype, tensor_shape: shape = {} }]) => [
      name,
      { dtype, shape: shape.unknown_rank ? null : (shape.dim ?? []).map(({ size }) => Number(size)) },
    ]),
  );
}

/** Sends a request body (text) to `:predict`. */
export function predict(path, body) {
  return call(`${path}:predict`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
}

/** The same request for a shell, which is to have a token of its own. */
export function curlCommand(path, body) {
  const address = new URL(`${path}:predict`, document.baseURI).href.replaceAll("'", "%27");
  const token = hasToken() ? ' -H "Authorization: Bearer $KILN_TOKEN"' : "";
  return `curl -s '${address}'${token} -d '${body.replaceAll("'", "'\\''")}'`;
}
