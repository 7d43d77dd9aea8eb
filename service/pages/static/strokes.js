// From pen strokes to the grid of pixels that a model was trained on.
//
// MNIST (LeCun et al., "Gradient-based learning applied to document recognition", 1998): the digit is fitted into a
// 20x20 box, aspect kept, and its centre of mass is put in the middle of 28x28.
// The 8x8 digits (Alpaydin and Kaynak, UCI "Optical recognition of handwritten digits", 1998): the digit fills a 32x32
// bitmap, and each value counts the ink of a 4x4 block, 0-16.

const PER_CELL = 8; // the grid is drawn this many times larger, then averaged
const PEN_CELLS = { small: 1.75, large: 2.5 }; // how thick the strokes of the two data sets are, in cells

/** The pixels of strokes as rows of ink shares 0-1; null where nothing is drawn. Strokes are lists of [x, y]. */
export function toGrid(strokes, rows, columns) {
  const points = strokes.flat();
  if (points.length === 0) return null;
  const fillsGrid = Math.min(rows, columns) <= 16;
  const pen = fillsGrid ? PEN_CELLS.small : PEN_CELLS.large;
  const box = fillsGrid ? Math.min(rows, columns) : (Math.min(rows, columns) * 20) / 28;
  const bounds = boundsOf(points);
  const extent = Math.max(bounds.width, bounds.height);
  const scale = extent > 0.02 ? (box - pen) / extent : 0;
  const middle = { x: bounds.left + bounds.width / 2, y: bounds.top + bounds.height / 2 };
  const place = (shift) => ([x, y]) => [
    ((x - middle.x) * scale + columns / 2 + shift.x) * PER_CELL,
    ((y - middle.y) * scale + rows / 2 + shift.y) * PER_CELL,
  ];
  const centred = ink(strokes, place({ x: 0, y: 0 }), rows, columns, pen);
  if (fillsGrid) return averaged(centred, rows, columns);
  const mass = centreOfMass(centred, columns * PER_CELL);
  const shift = { x: columns / 2 - mass.x / PER_CELL, y: rows / 2 - mass.y / PER_CELL };
  return averaged(ink(strokes, place(shift), rows, columns, pen), rows, columns);
}

/** Draws strokes as lines with round ends. */
export function drawStrokes(context, strokes, place, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...place(stroke[0]));
    for (const point of stroke) context.lineTo(...place(point));
    context.stroke();
  }
}

function boundsOf(points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}

function ink(strokes, place, rows, columns, pen) {
  const canvas = new OffscreenCanvas(columns * PER_CELL, rows * PER_CELL);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  drawStrokes(context, strokes, place, pen * PER_CELL);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return Float32Array.from({ length: data.length / 4 }, (_, index) => data[4 * index + 3] / 255);
}

function centreOfMass(values, width) {
  let [mass, x, y] = [0, 0, 0];
  values.forEach((value, index) => {
    mass += value;
    x += value * ((index % width) + 0.5);
    y += value * (Math.floor(index / width) + 0.5);
  });
  return { x: x / mass, y: y / mass };
}

function averaged(values, rows, columns) {
  const grid = Array.from({ length: rows }, () => new Array(columns).fill(0));
  values.forEach((value, index) => {
    const row = Math.floor(index / (columns * PER_CELL * PER_CELL));
    const column = Math.floor((index % (columns * PER_CELL)) / PER_CELL);
    grid[row][column] += value / PER_CELL ** 2;
  });
  return grid;
}
