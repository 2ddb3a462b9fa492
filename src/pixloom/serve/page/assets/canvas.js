/**
 * A canvas to paint label maps, sketches, masks and colour hints, by pointer or keyboard. Pixels are exact: see tools.js.
 */

import { announce, icon, iconButton, make, unique } from "./dom.js";
import { Past, blank, box, dot, fill, line, packed, resized, snap } from "./tools.js";
import { quote, say } from "./words.js";

const TOOLS = {
  labels: ["pen", "line", "box", "bucket", "eraser"],
  picture: ["pen", "line", "box", "bucket", "eraser"],
  mask: ["pen", "line", "box", "bucket", "eraser"],
  hints: ["pen", "eraser"],
};
const KEYS = { b: "pen", l: "line", r: "box", g: "bucket", e: "eraser" };
const HOLE = packed([235, 40, 120]);
const LONGEST = 1024; // of a mask or hints while they are painted; they are given at the picture's own size

/** Events: `stroke` when something was painted. */
export class Painter extends EventTarget {
  #tool = "pen";
  #brush = 0;
  #size = 8;
  #cursor = [0, 0];
  #stroke = null;
  #down = false;

  /** @param {"labels"|"picture"|"mask"|"hints"} kind of what is painted */
  constructor(kind) {
    super();
    this.kind = kind;
    this.canvas = make("canvas", { class: "paint" });
    this.under = make("img", { class: "under", alt: "", hidden: true });
    this.mark = make("div", { class: "mark", hidden: true });
    const about = unique("about");
    this.stage = make("div", { class: "easel", tabindex: "0", role: "application", label: `canvas.stage-${kind}`, "aria-describedby": about }, this.under, this.canvas, this.mark);
    this.where = make("span", { class: "visually-hidden", "aria-live": "polite" });
    this.brushes = make("div", { class: "brushes" });
    const help = make("details", { class: "help" }, make("summary", { word: "canvas.keys" }), make("p", { word: "canvas.help", id: about }));
    document.addEventListener("language", () => (this.where.textContent = "")); // said anew with the next move
    this.element = make("div", { class: "painter", data: { kind } }, this.#toolbar(), this.brushes, this.stage, this.where, help);
    this.#listen();
  }

  /**
   * Begin with an empty canvas.
   * @param {{width: number, height: number, brushes: {name?: string, word?: string, color: number[]}[], background: number[]|null, free?: boolean}} what
   * its size in pixels, the brushes, whether any other colour may be chosen, and what it is filled with; null: transparent
   */
  start({ width, height, brushes, background, free = true }) {
    this.free = free;
    this.colors = brushes;
    this.background = this.kind === "mask" || this.kind === "hints" ? 0 : packed(background);
    this.grid = blank(width, height, this.background);
    this.past = new Past(this.grid.pixels);
    Object.assign(this.canvas, { width, height });
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.setProperty("--ratio", width / height);
    this.context = this.canvas.getContext("2d");
    this.image = new ImageData(new Uint8ClampedArray(this.grid.pixels.buffer), width, height);
    this.#cursor = [width / 2, height / 2];
    this.sizeInput.max = Math.max(16, Math.round(Math.max(width, height) / 4));
    this.size = Math.max(1, Math.round(Math.max(width, height) / (this.kind === "hints" ? 48 : 16)));
    const other = brushes.findIndex(({ color }) => packed(color) !== this.background);
    this.#showBrushes(Math.max(0, other));
    this.#show();
  }

  /** Begin over a picture, of whose size the result is: for masks and hints. */
  async startOver(blob, brushes) {
    const picture = await createImageBitmap(blob);
    const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
    this.full = { width: picture.width, height: picture.height };
    this.start({ width: Math.round(picture.width * scale), height: Math.round(picture.height * scale), brushes, background: null });
    this.setUnder(blob);
  }

  /** Another background, of an empty canvas. */
  recolor(background) {
    const [old, now] = [this.background, packed(background)];
    this.background = now;
    this.grid.pixels.forEach((pixel, place) => pixel === old && (this.grid.pixels[place] = now));
    this.#done();
  }

  /** A picture under what is painted, or none. */
  setUnder(blob) {
    if (this.under.src) URL.revokeObjectURL(this.under.src);
    this.under.hidden = !blob;
    if (blob) this.under.src = URL.createObjectURL(blob);
    this.opacityField.hidden = !blob || this.kind === "mask" || this.kind === "hints";
    this.#opacity();
  }

  /** Whether nothing is painted. */
  get isEmpty() {
    return this.grid.pixels.every((pixel) => pixel === this.background);
  }

  /** What is painted, as a PNG: a map or sketch as it is, a mask in white on black, hints on transparency. */
  async picture() {
    const { width, height } = this.full ?? this.grid;
    const grid = width === this.grid.width && height === this.grid.height ? { ...this.grid, pixels: this.grid.pixels.slice() } : resized(this.grid, width, height);
    if (this.kind === "mask") grid.pixels.forEach((pixel, place) => (grid.pixels[place] = packed(pixel ? [255, 255, 255] : [0, 0, 0])));
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(grid.pixels.buffer), width, height), 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  /** Go on from a picture: brought to the canvas's size, a label map to the nearest classes. */
  async open(blob) {
    const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    const canvas = make("canvas", { width: picture.width, height: picture.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, picture.width, picture.height);
    const grid = resized({ width: picture.width, height: picture.height, pixels: new Uint32Array(data.buffer) }, this.grid.width, this.grid.height);
    if (this.kind === "labels") snap(grid, this.colors.map(({ color }) => color));
    else grid.pixels.forEach((pixel, place) => (grid.pixels[place] = (pixel | 0xff000000) >>> 0));
    this.grid.pixels.set(grid.pixels);
    this.#done();
  }

  clear() {
    this.grid.pixels.fill(this.background);
    this.#done();
    announce("canvas.cleared");
  }

  /** A step back (-1) or forth (1). */
  step(by) {
    const state = this.past.step(by);
    if (!state) return;
    this.grid.pixels.set(state);
    this.#show();
    announce(by < 0 ? "canvas.undone" : "canvas.redone");
    this.dispatchEvent(new Event("stroke"));
  }

  set tool(name) {
    if (!TOOLS[this.kind].includes(name)) return;
    this.#tool = name;
    this.#lift();
    this.tools.querySelector(`input[value=${name}]`).checked = true;
    announce(`canvas.${name}`);
  }

  set brush(place) {
    if (!this.colors[place]) return;
    this.#brush = place;
    const input = this.brushes.querySelectorAll("input[type=radio]")[place];
    if (input) input.checked = true;
    if (this.#tool === "eraser") this.tool = "pen";
    this.#where();
  }

  set size(pixels) {
    this.#size = Math.min(Number(this.sizeInput.max), Math.max(1, Math.round(pixels)));
    this.sizeInput.value = this.#size;
    quote(this.sizeShown, `${this.#size} px`);
    this.#point();
  }

  #toolbar() {
    const group = unique("tool");
    this.tools = make("fieldset", { class: "segments icons" }, make("legend", { class: "visually-hidden", word: "canvas.tools" }));
    for (const name of TOOLS[this.kind]) {
      const key = Object.keys(KEYS).find((letter) => KEYS[letter] === name).toUpperCase();
      const input = make("input", { type: "radio", name: group, value: name, id: unique("tool"), checked: name === "pen", on: { change: () => (this.tool = name) } });
      const text = make("span", { word: `canvas.${name}` });
      this.tools.append(input, make("label", { for: input.id }, icon(name), text, make("kbd", { "aria-hidden": "true" }, key)));
    }
    this.sizeShown = make("output", { class: "small" });
    this.sizeInput = make("input", { type: "range", min: 1, max: 64, step: 1, value: 8, label: "canvas.size", on: { input: () => (this.size = Number(this.sizeInput.value)) } });
    this.opacityInput = make("input", { type: "range", min: 0, max: 100, step: 5, value: 50, label: "canvas.opacity", on: { input: () => this.#opacity() } });
    this.opacityField = make("span", { class: "row", hidden: true }, make("span", { class: "small", word: "canvas.opacity", "aria-hidden": "true" }), this.opacityInput);
    this.undo = iconButton("undo", "canvas.undo", () => this.step(-1));
    this.redo = iconButton("redo", "canvas.redo", () => this.step(1));
    const clear = iconButton("trash", "canvas.clear", () => this.clear());
    const size = make("span", { class: "row" }, make("span", { class: "small", word: "canvas.size", "aria-hidden": "true" }), this.sizeInput, this.sizeShown);
    return make("div", { class: "toolbar" }, this.tools, make("div", { class: "row" }, this.undo, this.redo, clear), size, this.opacityField);
  }

  /** A radio button per brush, with its name; for pictures and hints any colour, too. */
  #showBrushes(chosen) {
    const group = unique("brush");
    const buttons = this.colors.map((brush, place) => {
      const input = make("input", { type: "radio", name: group, id: unique("brush"), on: { change: () => (this.brush = place) } });
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.backgroundColor = `rgb(${brush.color.join(" ")})`;
      const name = brush.word ? make("span", { word: brush.word }) : make("span", {}, brush.name);
      return make("span", { class: "brush" }, input, make("label", { for: input.id }, swatch, name, place < 9 ? make("kbd", { "aria-hidden": "true" }, String(place + 1)) : null));
    });
    const legend = make("legend", { class: "visually-hidden", word: "canvas.brushes" });
    const free = this.free && (this.kind === "picture" || this.kind === "hints") ? [this.#freeColor()] : [];
    this.brushes.hidden = this.kind === "mask";
    this.brushes.replaceChildren(make("fieldset", { class: "brush-list" }, legend, ...buttons), ...free);
    this.brush = chosen;
  }

  #freeColor() {
    const input = make("input", { type: "color", value: "#d9583a", label: "canvas.color" });
    input.addEventListener("input", () => {
      const color = [1, 3, 5].map((at) => parseInt(input.value.slice(at, at + 2), 16));
      const own = this.colors.findIndex((brush) => brush.own);
      if (own >= 0) this.colors = this.colors.toSpliced(own, 1);
      this.colors = [...this.colors, { word: "canvas.own", color, own: true }];
      this.#showBrushes(this.colors.length - 1);
      this.brushes.querySelector("input[type=color]").value = input.value;
      this.brushes.querySelector("input[type=color]").focus();
    });
    return make("span", { class: "row" }, make("span", { class: "small", word: "canvas.color", "aria-hidden": "true" }), input);
  }

  get #value() {
    if (this.#tool === "eraser") return this.background;
    return this.kind === "mask" ? HOLE : packed(this.colors[this.#brush].color);
  }

  #listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      this.#cursor = this.#placeOf(event);
      this.#press();
      event.preventDefault();
      stage.focus({ preventScroll: true });
    });
    stage.addEventListener("pointermove", (event) => {
      for (const each of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        this.#cursor = this.#placeOf(each);
        if (this.#down) this.#drag();
      }
      this.#point();
      this.mark.hidden = false;
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => this.#lift());
    stage.addEventListener("pointerleave", () => (this.mark.hidden = !stage.matches(":focus-visible")));
    stage.addEventListener("focus", () => stage.matches(":focus-visible") && ((this.mark.hidden = false), this.#point(), this.#where()));
    stage.addEventListener("blur", () => ((this.mark.hidden = true), this.#lift()));
    stage.addEventListener("keydown", (event) => this.#key(event));
  }

  #placeOf(event) {
    const place = this.canvas.getBoundingClientRect();
    return [((event.clientX - place.left) / place.width) * this.grid.width, ((event.clientY - place.top) / place.height) * this.grid.height];
  }

  /** Arrows move a cursor, the space bar puts the tool down and lifts it, letters are tools, digits brushes. */
  #key(event) {
    const { key } = event;
    const command = event.ctrlKey || event.metaKey;
    if (command && key.toLowerCase() === "z") this.step(event.shiftKey ? 1 : -1);
    else if (command && key.toLowerCase() === "y") this.step(1);
    else if (command || event.altKey) return;
    else if (key.startsWith("Arrow")) this.#move(key.slice(5), event.shiftKey ? 1 : Math.max(1, Math.round(this.grid.width / 32)));
    else if (key === " " || key === "Enter") this.#toggle();
    else if (key === "Escape" && this.#down) this.#abandon();
    else if (key === "[") this.size = this.#size - Math.max(1, Math.round(this.#size / 6));
    else if (key === "]") this.size = this.#size + Math.max(1, Math.round(this.#size / 6));
    else if (/^[1-9]$/.test(key)) this.brush = Number(key) - 1;
    else if (key.toLowerCase() in KEYS) this.tool = KEYS[key.toLowerCase()];
    else if (key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  #move(way, by) {
    const [dx, dy] = { Left: [-by, 0], Right: [by, 0], Up: [0, -by], Down: [0, by] }[way];
    this.#cursor = [Math.min(this.grid.width - 1, Math.max(0, this.#cursor[0] + dx)), Math.min(this.grid.height - 1, Math.max(0, this.#cursor[1] + dy))];
    this.mark.hidden = false;
    this.#point();
    if (this.#down) this.#drag();
    this.#where();
  }

  #toggle() {
    if (this.#down) this.#lift();
    else this.#press();
    if (this.#tool !== "bucket") announce(this.#down ? "canvas.down" : "canvas.up");
  }

  #press() {
    if (this.#down) this.#lift();
    if (this.#tool === "bucket") {
      if (fill(this.grid, this.#cursor, this.#value)) this.#done();
      return;
    }
    this.#down = true;
    this.#stroke = { from: this.#cursor, last: this.#cursor, base: this.grid.pixels.slice() };
    this.#drag();
  }

  #drag() {
    const { grid } = this;
    const { from, last, base } = this.#stroke;
    if (this.#tool === "line" || this.#tool === "box") {
      grid.pixels.set(base);
      if (this.#tool === "line") line(grid, from, this.#cursor, this.#size, this.#value);
      else box(grid, from, this.#cursor, this.#value);
    } else if (last === this.#cursor) dot(grid, ...this.#cursor, this.#size, this.#value);
    else line(grid, last, this.#cursor, this.#size, this.#value);
    this.#stroke.last = this.#cursor;
    this.#show();
  }

  #lift() {
    if (!this.#down) return;
    this.#down = false;
    this.#done();
  }

  /** Take an unfinished stroke back. */
  #abandon() {
    this.#down = false;
    this.grid.pixels.set(this.#stroke.base);
    this.#show();
  }

  #done() {
    this.past.note(this.grid.pixels);
    this.#show();
    this.dispatchEvent(new Event("stroke"));
  }

  #show() {
    this.context.putImageData(this.image, 0, 0);
    this.undo.disabled = !this.past.canUndo;
    this.redo.disabled = !this.past.canRedo;
  }

  #opacity() {
    const over = this.kind === "mask" ? 0.65 : this.kind === "hints" || this.under.hidden ? 1 : 1 - this.opacityInput.value / 100;
    this.canvas.style.opacity = over;
  }

  /** The ring around the cursor. */
  #point() {
    if (!this.grid) return;
    const share = (100 * this.#size) / this.grid.width;
    Object.assign(this.mark.style, { width: `${share}%`, left: `${(100 * this.#cursor[0]) / this.grid.width}%`, top: `${(100 * this.#cursor[1]) / this.grid.height}%` });
  }

  /** Say where the cursor is and what lies there, for people who do not see it. */
  #where() {
    const [x, y] = this.#cursor.map(Math.floor);
    const there = this.grid.pixels[y * this.grid.width + x];
    const found = this.colors.find(({ color }) => packed(color) === there);
    const brush = this.colors[this.#brush];
    const name = (one) => one?.name ?? this.brushes.querySelectorAll("label span:nth-child(2)")[this.colors.indexOf(one)]?.textContent ?? "";
    say(this.where, "canvas.where", { x, y, there: name(found), brush: name(brush) });
  }
}
