// What a model's versions add up to, in words.

/** `{available, tone, text, message}`; `message` says why a version failed. */
export function stateOf({ versions = [] }) {
  const available = versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => Number(version));
  const message = versions.map(failure).find(Boolean) ?? "";
  if (available.length > 0) {
    return { available: true, tone: "good", text: `version ${Math.max(...available)}, available`, message };
  }
  if (message) return { available: false, tone: "bad", text: "failed to load", message };
  const loading = versions.some(({ state }) => state === "START" || state === "LOADING");
  return { available: false, tone: loading ? "" : "bad", text: loading ? "loading" : "not available", message };
}

function failure({ version, status }) {
  if (!status || status.error_code === "OK" || !status.error_message) return "";
  return `Version ${version}: ${status.error_message}`;
}
