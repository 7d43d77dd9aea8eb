// The form of a model that reads pictures: draw one, choose a file, or take a row of the test set.

import { element, EntryError } from "./elements.js";
import { drawStrokes, toGrid } from "./strokes.js";

const PAD_PIXELS = 280;

/**
 * The form's `node`, and `read()`, which gives the request body.
 *
 * @param model an entry of `GET /v1/models` with `input` and perhaps `example`
 * @param changed called when there is something new to predict
 */
export function pictureForm(model, changed) {
  const [rows, columns] = model.input.shape;
  const limits = model.input.range ?? [0, 255];
  const seen = element("canvas", { className: "seen", width: columns, height: rows });
  const size = `as ${columns} × ${rows} pixels`;
  const caption = element("figcaption", { textContent: size });
  const message = element("p", { className: "error", role: "alert", hidden: true });
  const invert = element("input", { type: "checkbox", onchange: () => sendFile() });
  const inversion = element("label", { className: "row", hidden: true }, invert, "Dark on light: invert it first");
  let current = null; // what to send: {body, truth}
  let chosen = null; // the chosen file: {file, picture}

  function show(next, failure) {
    current = next;
    inversion.hidden = chosen === null;
    // The canvas shows a photo turned by its EXIF data; a file that is sent as it is reaches the model unturned.
    caption.textContent = chosen && !invert.checked ? `${size}; the model does not apply EXIF orientation` : size;
    message.hidden = !failure;
    message.textContent = failure ?? "";
    changed();
  }

  const pad = makePad(
    async (strokes) => {
      chosen = null;
      const grid = toGrid(strokes, rows, columns);
      paint(seen, grid ?? [], [0, 1]);
      show(grid ? { body: pictureBody(await base64(await pngOf(seen))) } : null);
    },
    readFile,
  );

  async function readFile(file) {
    pad.clear();
    chosen = null;
    try {
      chosen = { file, picture: await createImageBitmap(file) };
    } catch {
      paint(seen, [], [0, 1]);
      return show(null, `${file.name} is not a picture that this browser can read. Expected a PNG or JPEG file.`);
    }
    invert.checked = hasLightBorder(chosen.picture);
    return sendFile();
  }

  async function sendFile() {
    const filter = invert.checked ? "grayscale(1) invert(1)" : "grayscale(1)";
    stretch(seen, chosen.picture, filter);
    stretch(pad.node, chosen.picture, filter);
    show({ body: pictureBody(await base64(invert.checked ? await pngOf(seen) : chosen.file)) });
  }

  function clear() {
    pad.clear();
    chosen = null;
    paint(seen, [], [0, 1]);
    show(null);
  }

  function takeExample() {
    clear();
    const [instance] = model.example.instances;
    paint(seen, instance, limits);
    pad.enlarge(seen);
    const signature = model.task === "regression" ? "serving_default" : "classify";
    show({ body: { signature_name: signature, instances: [instance] }, truth: model.example.expected });
  }

  const chooser = element("input", {
    type: "file",
    accept: "image/png,image/jpeg",
    onchange: ({ target }) => target.files.length && readFile(target.files[0]),
  });
  const node = element(
    "div",
    {},
    element("div", { className: "easel" },
      element("figure", {}, pad.node, element("figcaption", { textContent: "Draw here, or drop a PNG or JPEG file" })),
      element("figure", {}, seen, caption)),
    element("div", { className: "buttons" },
      element("button", { type: "button", textContent: "Clear", onclick: clear }),
      element("label", { className: "file" }, "Choose a file", chooser),
      model.example ? element("button", { type: "button", textContent: "An example of the test set", onclick: takeExample }) : null),
    inversion,
    message,
  );
  return {
    node,
    start: model.example ? takeExample : () => {},
    read() {
      if (!current) throw new EntryError("Draw something, or choose a file.");
      return current;
    },
  };
}

const pictureBody = (b64) => ({ signature_name: "image_bytes", instances: [{ b64 }] });

const pngOf = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

/** Whether a picture's edge is light, as paper is; the models know light shapes on black. */
function hasLightBorder(picture) {
  const side = 16;
  const canvas = element("canvas", { width: side, height: side });
  stretch(canvas, picture, "grayscale(1)");
  const { data } = canvas.getContext("2d").getImageData(0, 0, side, side);
  const edge = Array.from({ length: side * side }, (_, index) => index).filter((index) => {
    const [row, column] = [Math.floor(index / side), index % side];
    return row % (side - 1) === 0 || column % (side - 1) === 0;
  });
  return edge.reduce((sum, index) => sum + data[4 * index], 0) / edge.length > 127;
}

function stretch(canvas, picture, filter) {
  const context = canvas.getContext("2d");
  context.save();
  context.filter = filter;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.restore();
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Paints rows of values between `low` and `high` as grey levels; black where there are none. */
function paint(canvas, grid, [low, high]) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let index = 0; index < canvas.width * canvas.height; index += 1) {
    const value = grid[Math.floor(index / canvas.width)]?.[index % canvas.width] ?? low;
    const level = Math.round((255 * (value - low)) / (high - low));
    pixels.data.set([level, level, level, 255], 4 * index);
  }
  context.putImageData(pixels, 0, 0);
}

/** A square to draw on. Strokes are kept as points, so they can be drawn again at any size. */
function makePad(drawn, dropped) {
  const node = element("canvas", { className: "pad", width: PAD_PIXELS, height: PAD_PIXELS, role: "img", "aria-label": "Drawing area" });
  const context = node.getContext("2d");
  let strokes = [];
  const redraw = () => {
    context.clearRect(0, 0, PAD_PIXELS, PAD_PIXELS);
    drawStrokes(context, strokes, ([x, y]) => [x * PAD_PIXELS, y * PAD_PIXELS], PAD_PIXELS / 13);
  };
  const extend = (event) => {
    const area = node.getBoundingClientRect();
    strokes.at(-1).push([(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]);
    redraw();
  };
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    strokes.push([]);
    extend(event);
  });
  node.addEventListener("pointermove", (event) => node.hasPointerCapture(event.pointerId) && extend(event));
  node.addEventListener("pointerup", () => drawn(strokes));
  acceptFiles(node, dropped);
  return {
    node,
    clear() {
      strokes = [];
      redraw();
    },
    enlarge(picture) {
      context.imageSmoothingEnabled = false;
      context.drawImage(picture, 0, 0, PAD_PIXELS, PAD_PIXELS);
      context.imageSmoothingEnabled = true;
    },
  };
}

function acceptFiles(node, dropped) {
  const mark = (over) => (event) => {
    event.preventDefault();
    node.classList.toggle("over", over);
  };
  node.addEventListener("dragover", mark(true));
  node.addEventListener("dragleave", mark(false));
  node.addEventListener("drop", (event) => {
    mark(false)(event);
    if (event.dataTransfer.files.length) dropped(event.dataTransfer.files[0]);
  });
}
