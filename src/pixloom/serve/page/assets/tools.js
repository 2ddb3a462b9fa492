/**
 * Painting tools as pure functions on a grid of pixels: { width, height, pixels: Uint32Array }. A pixel is one number, RGBA as an
 * ImageData has it in memory. Nothing is smoothed: a pixel has the brush's value or the one that it had.
 */

/**
 * The number of a colour.
 * @param {number[]} color red, green, blue
 * @param {number} [alpha] 0 to 255
 */
export function packed([red, green, blue], alpha = 255) {
  return (red | (green << 8) | (blue << 16) | (alpha << 24)) >>> 0; // every machine that runs a browser is little-endian
}

/** A grid of one value. */
export function blank(width, height, value) {
  return { width, height, pixels: new Uint32Array(width * height).fill(value) };
}

/**
 * A disc, or what of it is inside.
 * @param {object} grid changed in place
 * @param {number} x,y its middle
 * @param {number} size its diameter in pixels, at least 1
 * @param {number} value of its pixels
 */
export function dot(grid, x, y, size, value) {
  const radius = size / 2;
  const [cx, cy] = size % 2 ? [Math.floor(x), Math.floor(y)] : [Math.round(x) - 0.5, Math.round(y) - 0.5];
  for (let row = Math.max(0, Math.ceil(cy - radius)); row <= Math.min(grid.height - 1, Math.floor(cy + radius)); row++) {
    const half = Math.sqrt(Math.max(0, radius * radius - (row - cy) ** 2));
    const from = Math.max(0, Math.ceil(cx - half));
    const to = Math.min(grid.width - 1, Math.floor(cx + half));
    if (from <= to) grid.pixels.fill(value, row * grid.width + from, row * grid.width + to + 1);
  }
}

/**
 * A line of discs.
 * @param {object} grid changed in place
 * @param {number[]} from x, y
 * @param {number[]} to x, y
 * @param {number} size diameter
 * @param {number} value of its pixels
 */
export function line(grid, [x0, y0], [x1, y1], size, value) {
  const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0)));
  for (let step = 0; step <= steps; step++) {
    dot(grid, x0 + ((x1 - x0) * step) / steps, y0 + ((y1 - y0) * step) / steps, size, value);
  }
}

/** A filled rectangle between two corners. */
export function box(grid, [x0, y0], [x1, y1], value) {
  const [left, right] = [x0, x1].map(Math.floor).sort((a, b) => a - b);
  const [top, bottom] = [y0, y1].map(Math.floor).sort((a, b) => a - b);
  for (let row = Math.max(0, top); row <= Math.min(grid.height - 1, bottom); row++) {
    const from = row * grid.width + Math.max(0, left);
    grid.pixels.fill(value, from, row * grid.width + Math.min(grid.width - 1, right) + 1);
  }
}

/**
 * Fill the area of one value around a place, run by run; neighbours are above, below, left and right.
 * @returns {boolean} whether anything changed
 */
export function fill(grid, [x, y], value) {
  const { width, height, pixels } = grid;
  const [startX, startY] = [Math.floor(x), Math.floor(y)];
  if (startX < 0 || startY < 0 || startX >= width || startY >= height) return false;
  const old = pixels[startY * width + startX];
  if (old === value) return false;
  const open = [startY * width + startX];
  while (open.length) {
    const place = open.pop();
    if (pixels[place] !== old) continue;
    const row = place - (place % width);
    let from = place;
    let to = place;
    while (from > row && pixels[from - 1] === old) from--;
    while (to < row + width - 1 && pixels[to + 1] === old) to++;
    pixels.fill(value, from, to + 1);
    for (const beside of [-width, width]) {
      if (from + beside < 0 || from + beside >= pixels.length) continue;
      for (let at = from + beside, inside = false; at <= to + beside; at++) {
        if (pixels[at] === old && !inside) open.push(at);
        inside = pixels[at] === old;
      }
    }
  }
  return true;
}

/**
 * Every pixel as the nearest of some colours.
 * @param {object} grid changed in place
 * @param {number[][]} colors red, green, blue
 */
export function snap(grid, colors) {
  const found = new Map();
  grid.pixels.forEach((pixel, place) => {
    if (!found.has(pixel)) found.set(pixel, nearest(pixel, colors));
    grid.pixels[place] = found.get(pixel);
  });
}

function nearest(pixel, colors) {
  const own = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  const far = colors.map((color) => color.reduce((sum, value, channel) => sum + (value - own[channel]) ** 2, 0));
  return packed(colors[far.indexOf(Math.min(...far))]);
}

/**
 * The same grid at another size: the nearest pixels, by the rule of pixloom.images.resize.
 * @returns {object} a new grid
 */
export function resized(grid, width, height) {
  const made = blank(width, height, 0);
  const columns = Uint32Array.from({ length: width }, (_, x) => Math.floor(((2 * x + 1) * grid.width) / (2 * width)));
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((2 * y + 1) * grid.height) / (2 * height)) * grid.width;
    for (let x = 0; x < width; x++) made.pixels[y * width + x] = grid.pixels[row + columns[x]];
  }
  return made;
}

/** States of a grid to go back to and forth, within so many bytes. */
export class Past {
  #states;
  #place = 0;
  #most;

  /** @param {Uint32Array} pixels the first state */
  constructor(pixels, bytes = 64e6) {
    this.#states = [pixels.slice()];
    this.#most = Math.max(2, Math.floor(bytes / (4 * pixels.length)));
  }

  /** Note a state after a change; what was undone is forgotten. */
  note(pixels) {
    this.#states.splice(this.#place + 1, Infinity, pixels.slice());
    if (this.#states.length > this.#most) this.#states.shift();
    this.#place = this.#states.length - 1;
  }

  get canUndo() {
    return this.#place > 0;
  }

  get canRedo() {
    return this.#place < this.#states.length - 1;
  }

  /** The state before (-1) or after (1) this one; undefined where there is none. */
  step(by) {
    const state = this.#states[this.#place + by];
    if (state) this.#place += by;
    return state;
  }
}
