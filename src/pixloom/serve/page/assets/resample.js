/**
 * Resizing as pixloom.images.resize does it: antialiased bicubic by Pillow's algorithm (a = -0.5, first along rows, then along columns,
 * for bytes in fixed point with rounding between), or the nearest pixel. Equal to the bit for bytes.
 */

const BITS = 22; // of Pillow's fixed point: 32 - 8 - 2

function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
}

/** For every place of a line: where its sources begin, and their weights. */
function weightsOf(inside, outside) {
  const scale = inside / outside;
  const stretch = Math.max(1, scale);
  const support = 2 * stretch;
  return Array.from({ length: outside }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(inside, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: last - first }, (_, k) => cubic((k + first - centre + 0.5) / stretch));
    const sum = raw.reduce((total, value) => total + value, 0);
    return { first, weights: raw.map((value) => value / sum) };
  });
}

/** Along one axis: `lines` lines of `inside` values, each value `step` apart, each line `jump` apart. */
function along(values, made, { lines, inside, outside, step, jump, madeStep, madeJump, bytes }) {
  const table = weightsOf(inside, outside);
  if (bytes) for (const row of table) row.weights = row.weights.map((value) => Math.trunc(value * 2 ** BITS + (value < 0 ? -0.5 : 0.5)));
  for (let place = 0; place < outside; place++) {
    const { first, weights } = table[place];
    for (let number = 0; number < lines; number++) {
      let sum = bytes ? 2 ** (BITS - 1) : 0;
      let at = number * jump + first * step;
      for (const weight of weights) {
        sum += values[at] * weight;
        at += step;
      }
      // Uint8ClampedArray would round: the shift cuts, as Pillow's does.
      made[number * madeJump + place * madeStep] = bytes ? Math.min(255, Math.max(0, sum >> BITS)) : sum;
    }
  }
}

/**
 * One plane at another size.
 * @param {Uint8Array|Float32Array} plane row by row
 * @param {{width: number, height: number}} from its size
 * @param {{width: number, height: number}} to the wanted one
 * @returns {Uint8Array|Float32Array} of the same type
 */
export function bicubic(plane, from, to) {
  const Kind = plane.constructor;
  const bytes = Kind !== Float32Array;
  let values = plane;
  if (from.width !== to.width) {
    const made = new Kind(to.width * from.height);
    const places = { lines: from.height, inside: from.width, outside: to.width, step: 1, jump: from.width, madeStep: 1, madeJump: to.width };
    along(values, made, { ...places, bytes });
    values = made;
  }
  if (from.height !== to.height) {
    const made = new Kind(to.width * to.height);
    const places = { lines: to.width, inside: from.height, outside: to.height, step: to.width, jump: 1, madeStep: to.width, madeJump: 1 };
    along(values, made, { ...places, bytes });
    values = made;
  }
  return values;
}

/** One plane of any type at another size: the nearest values. */
export function nearest(plane, from, to) {
  const made = new plane.constructor(to.width * to.height);
  for (let y = 0; y < to.height; y++) {
    const row = Math.floor(((2 * y + 1) * from.height) / (2 * to.height)) * from.width;
    for (let x = 0; x < to.width; x++) made[y * to.width + x] = plane[row + Math.floor(((2 * x + 1) * from.width) / (2 * to.width))];
  }
  return made;
}

/** Python's round: halves to the even neighbour. */
export function round(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

/** The working size of a picture, by the rule of pixloom.inference.translator.working_size. */
export function workingSize({ width, height }, { side, multiple, squares }) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const budget = squares * Math.max(side, multiple) ** 2;
  const longest = Math.min(Math.sqrt((budget * long) / short), budget / multiple);
  const scale = Math.min(side / short, longest / long);
  return { width: Math.max(1, round(width * scale)), height: Math.max(1, round(height * scale)) };
}

/**
 * A plane continued at the right and bottom by mirroring, or by its edge where it is too small.
 * @returns {Float32Array}
 */
export function padded(plane, from, to) {
  if (from.width === to.width && from.height === to.height) return plane;
  const mirrors = to.height - from.height < from.height && to.width - from.width < from.width;
  const inside = (place, side) => (place < side ? place : mirrors ? 2 * (side - 1) - place : side - 1);
  const made = new plane.constructor(to.width * to.height);
  for (let y = 0; y < to.height; y++) {
    for (let x = 0; x < to.width; x++) made[y * to.width + x] = plane[inside(y, from.height) * from.width + inside(x, from.width)];
  }
  return made;
}
