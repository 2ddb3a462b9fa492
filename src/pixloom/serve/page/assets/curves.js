/** Curves of numbers over images seen: SVG with values under the pointer or the arrow keys, and the same numbers as a table. */

import { draw, make, unique } from "./dom.js";
import { known, number, quote, say } from "./words.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [52, 26, 12, 26];
const MOST_ROWS = 60; // of the table: what there is more of is thinned out
const DASHES = ["", "6 3", "2 3", "9 3 2 3"]; // colours repeat after eight, dashes tell the rest apart

/**
 * Round marks on an axis.
 * @param {number} low smallest value
 * @param {number} high largest value
 * @param {number} count about how many
 */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

/**
 * Series by name from entries of a history.
 * @param {object[]} entries with `images` and numbers, perhaps in groups
 * @returns {Map<string, [number, number][]>}
 */
export function seriesOf(entries) {
  const found = new Map();
  const put = (name, images, value) => {
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push([images, value]);
  };
  for (const { images, kind, elapsed_seconds, images_per_second, learning_rate, protocol, ...values } of entries) {
    for (const [name, value] of Object.entries(values)) {
      if (value && typeof value === "object") for (const [inner, own] of Object.entries(value)) put(`${name}: ${inner}`, images, own);
      else put(name, images, value);
    }
  }
  return found;
}

export class Curves {
  #series = new Map();
  #hidden = new Set();
  #at = null;

  /**
   * @param {string|null} word key of the title
   * @param {string} [name] the title itself, of a single curve
   */
  constructor(word, name = "") {
    const id = unique("curves");
    this.single = Boolean(name);
    const about = known(`sign.${name}`) ? make("p", { class: "small", word: `sign.${name}` }) : null;
    [this.width, this.height] = this.single ? [320, 150] : [640, 240];
    this.svg = draw("svg", { viewBox: `0 0 ${this.width} ${this.height}`, class: "curves", "aria-hidden": "true" });
    this.frame = make("div", { class: "curves-frame", tabindex: "0", role: "group", label: "curves.frame" }, this.svg);
    this.values = make("p", { class: "small values", "aria-live": "polite" });
    this.legend = make("fieldset", { class: "legend" });
    this.table = make("div", { class: "table-frame", tabindex: "0", role: "region", label: "curves.table" });
    this.element = make("section", { class: "curves-box", "aria-labelledby": id }, word ? make("h3", { word, id }) : make("h4", { id }, name), about, this.frame, this.values, this.legend, make("details", {}, make("summary", { word: "curves.table" }), this.table));
    this.frame.addEventListener("pointermove", (event) => this.#pointed(event));
    this.frame.addEventListener("pointerleave", () => this.#look(null));
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    this.frame.addEventListener("blur", () => this.#look(null));
  }

  /** Draw series by name. */
  show(series) {
    const isNew = [...series.keys()].join("\n") !== [...this.#series.keys()].join("\n");
    this.#series = series;
    this.element.hidden = !series.size;
    this.legend.hidden = this.single;
    if (isNew) this.#showLegend();
    this.#draw();
    this.#showTable();
  }

  get #shown() {
    return [...this.#series].map(([name, points], place) => ({ name, points, place })).filter(({ name }) => !this.#hidden.has(name));
  }

  #showLegend() {
    const rows = [...this.#series.keys()].map((name, place) => {
      const input = make("input", { type: "checkbox", id: unique("series"), checked: !this.#hidden.has(name) });
      input.addEventListener("change", () => {
        if (input.checked) this.#hidden.delete(name);
        else this.#hidden.add(name);
        this.#draw();
      });
      const key = draw("svg", { viewBox: "0 0 22 6", class: "key", "aria-hidden": "true" }, draw("path", { d: "M0 3H22", ...style(place) }));
      return make("span", { class: "check" }, input, make("label", { for: input.id }, key, name));
    });
    this.legend.replaceChildren(make("legend", { class: "visually-hidden", word: "curves.legend" }), ...rows);
  }

  #scales() {
    const points = this.#shown.flatMap((one) => one.points);
    const range = (place) => points.reduce(([low, high], point) => [Math.min(low, point[place]), Math.max(high, point[place])], [Infinity, -Infinity]);
    let [[x0, x1], [y0, y1]] = [range(0), range(1)];
    if (!points.length) [x0, x1, y0, y1] = [0, 1, 0, 1];
    if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
    const margin = (y1 - y0) * 0.05 || Math.abs(y1) * 0.1 || 1;
    [y0, y1] = [y0 - margin, y1 + margin];
    return { x0, x1, y0, y1, x: (value) => LEFT + ((value - x0) / (x1 - x0)) * (this.width - LEFT - RIGHT), y: (value) => TOP + ((y1 - value) / (y1 - y0)) * (this.height - TOP - BOTTOM) };
  }

  #draw() {
    const scale = (this.scale = this.#scales());
    const text = (x, y, anchor, value) => {
      const label = draw("text", { x, y, "text-anchor": anchor });
      label.textContent = number(value);
      return label;
    };
    const across = ticks(scale.y0, scale.y1, this.single ? 3 : 4).flatMap((value) => [draw("path", { class: "grid", d: `M${LEFT} ${scale.y(value)}H${this.width - RIGHT}` }), text(LEFT - 6, scale.y(value) + 4, "end", value)]);
    const down = ticks(scale.x0, scale.x1, this.single ? 3 : 8).map((value) => text(scale.x(value), this.height - 6, "middle", value));
    const lines = this.#shown.map(({ points, place }) => draw("path", { class: "line", ...style(place), d: points.map(([x, y], at) => `${at ? "L" : "M"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`).join("") }));
    const dots = this.#shown.filter(({ points }) => points.length === 1).map(({ points: [[x, y]], place }) => draw("circle", { class: style(place).class, cx: scale.x(x), cy: scale.y(y), r: 3 }));
    this.cross = draw("path", { class: "cross", d: "" });
    this.svg.replaceChildren(...across, ...down, ...lines, ...dots, this.cross);
    if (this.#at !== null) this.#look(this.#at);
  }

  #pointed(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    const { x0, x1 } = this.scale;
    this.#look(x0 + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (x1 - x0));
  }

  #key(event) {
    const places = [...new Set(this.#shown.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
    if (!places.length || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const now = this.#at === null ? places.length - 1 : Math.max(0, places.findIndex((x) => x >= this.#at));
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: places.length - 1 }[event.key];
    this.#look(places[Math.min(places.length - 1, Math.max(0, this.#at === null ? now : next))]);
  }

  /** The values nearest to a number of images, or none. */
  #look(images) {
    this.#at = images;
    if (images === null) {
      this.cross?.setAttribute("d", "");
      return quote(this.values, "");
    }
    const near = (points) => points.reduce((best, point) => (Math.abs(point[0] - images) < Math.abs(best[0] - images) ? point : best));
    const found = this.#shown.map(({ name, points }) => ({ name, point: near(points) }));
    if (!found.length) return;
    const at = found.map(({ point }) => point[0]).reduce((best, x) => (Math.abs(x - images) < Math.abs(best - images) ? x : best));
    this.#at = at;
    this.cross.setAttribute("d", `M${this.scale.x(at)} ${TOP}V${this.height - BOTTOM}`);
    say(this.values, "curves.at", { images: at, values: found.map(({ name, point }) => `${name} ${number(point[1])}`).join(" · ") });
  }

  #showTable() {
    const names = [...this.#series.keys()];
    const rows = new Map();
    for (const [name, points] of this.#series) for (const [x, y] of points) rows.set(x, { ...rows.get(x), [name]: y });
    const places = [...rows.keys()].sort((a, b) => a - b);
    const thin = Math.ceil(places.length / MOST_ROWS);
    const kept = places.filter((_, place) => (places.length - 1 - place) % thin === 0);
    const head = make("tr", {}, make("th", { scope: "col", word: "curves.images" }), ...names.map((name) => make("th", { scope: "col" }, name)));
    const body = kept.map((x) => make("tr", {}, make("th", { scope: "row" }, number(x)), ...names.map((name) => make("td", {}, name in rows.get(x) ? number(rows.get(x)[name]) : ""))));
    this.table.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  }
}

/** One small diagram for each of several series, whose scales have nothing in common. */
export class Multiples {
  #parts = new Map();

  /** @param {string} word key of the title */
  constructor(word) {
    this.grid = make("div", { class: "multiples" });
    this.element = make("section", { class: "multiples-box", hidden: true }, make("h3", { word }), this.grid);
  }

  /** Draw series by name. */
  show(series) {
    this.element.hidden = !series.size;
    for (const [name, curves] of this.#parts) {
      if (series.has(name)) continue;
      curves.element.remove();
      this.#parts.delete(name);
    }
    for (const [name, points] of series) {
      if (!this.#parts.has(name)) {
        this.#parts.set(name, new Curves(null, name));
        this.grid.append(this.#parts.get(name).element);
      }
      this.#parts.get(name).show(new Map([[name, points]]));
    }
  }
}

const style = (place) => ({ class: `line series-${place % 8}`, "stroke-dasharray": DASHES[Math.floor(place / 8) % DASHES.length] });
