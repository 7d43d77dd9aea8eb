// Elements are made from text and properties only, never from HTML, so nothing that a model says can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `properties` are set as properties, `on...` as listeners, names with a dash as attributes. */
export function element(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG, whose properties are all attributes. */
export function drawing(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "for" || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** A fault in what the person entered: its message is shown as it is. */
export class EntryError extends Error {}

/** A probability as a percentage. */
export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/** A number with four significant digits and no superfluous zeros. */
export function short(number) {
  if (typeof number !== "number") return String(number);
  return Math.abs(number) >= 10000 ? number.toFixed(0) : String(Number(number.toPrecision(4)));
}
