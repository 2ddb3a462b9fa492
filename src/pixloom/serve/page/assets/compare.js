/** Before and after: a slider between both, side by side, or the source while a button is held; zoom and pan are locked together. */

import { iconButton, make, unique } from "./dom.js";
import { quote, say, sayAll } from "./words.js";

const MODES = ["slider", "side", "peek"];
const MOST = 16;

export class Compare {
  #mode = "slider";
  #view = { scale: 1, x: 0, y: 0 };

  constructor() {
    this.before = make("img", { alt: "", draggable: "false" });
    this.after = make("img", { alt: "", draggable: "false" });
    say(this.before, "compare.before", "label");
    say(this.after, "compare.after", "label");
    this.panes = [
      make("div", { class: "pane before" }, this.before, make("span", { class: "tag", word: "compare.before", "aria-hidden": "true" })),
      make("div", { class: "pane after" }, this.after, make("span", { class: "tag", word: "compare.after", "aria-hidden": "true" })),
    ];
    this.stage = make("div", { class: "stage", tabindex: "0", role: "group", label: "compare.stage" }, ...this.panes);
    this.slider = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50, label: "compare.slider", on: { input: () => this.#place() } });
    this.peek = make("button", { type: "button", class: "button", word: "compare.hold", "aria-pressed": "false" });
    this.scale = make("output", { class: "small" });
    this.element = make("figure", { class: "compare" }, this.#bar(), this.stage, make("div", { class: "compare-below" }, this.slider, this.peek));
    this.#listen();
    document.addEventListener("language", () => sayAll(this.element)); // it leaves the page while there is nothing to compare
    this.mode = "slider";
  }

  /**
   * Show two pictures.
   * @param {string} before address of the source
   * @param {string} after address of the translation
   * @param {{stay?: boolean, exact?: boolean}} [how] `stay` keeps zoom and place, `exact` shows single pixels
   */
  show(before, after, { stay = false, exact = false } = {}) {
    this.before.src = before;
    this.after.src = after;
    this.element.classList.toggle("exact", exact);
    if (!stay) this.fit();
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    this.#mode = mode;
    this.element.dataset.mode = mode;
    for (const input of this.modes.querySelectorAll("input")) input.checked = input.value === mode;
    this.slider.hidden = mode !== "slider";
    this.peek.hidden = mode !== "peek";
    this.#hold(false);
    this.#place();
  }

  /** The whole picture. */
  fit() {
    this.#look({ scale: 1, x: 0, y: 0 });
  }

  #bar() {
    const group = unique("mode");
    this.modes = make("fieldset", { class: "segments" }, make("legend", { class: "visually-hidden", word: "compare.mode" }));
    for (const mode of MODES) {
      const input = make("input", { type: "radio", name: group, value: mode, id: unique("mode"), on: { change: () => (this.mode = mode) } });
      this.modes.append(input, make("label", { for: input.id, word: `compare.${mode}` }));
    }
    const zoom = [
      iconButton("minus", "compare.out", () => this.#zoom(1 / 1.5)),
      this.scale,
      iconButton("plus", "compare.in", () => this.#zoom(1.5)),
      iconButton("fit", "compare.fit", () => this.fit()),
    ];
    return make("div", { class: "compare-bar" }, this.modes, make("div", { class: "row" }, ...zoom));
  }

  #listen() {
    const { stage, peek } = this;
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY / 300), this.#at(event));
    }, { passive: false });
    let from = null;
    stage.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.#pan(event.clientX - from[0], event.clientY - from[1]);
      from = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (from = null));
    stage.addEventListener("keydown", (event) => this.#key(event));
    for (const start of ["pointerdown", "keydown"]) peek.addEventListener(start, (event) => holds(event) && this.#hold(true));
    for (const end of ["pointerup", "pointerleave", "blur", "keyup"]) peek.addEventListener(end, () => this.#hold(false));
  }

  #key(event) {
    const acts = {
      "+": () => this.#zoom(1.5),
      "=": () => this.#zoom(1.5),
      "-": () => this.#zoom(1 / 1.5),
      0: () => this.fit(),
      ArrowLeft: () => this.#pan(40, 0),
      ArrowRight: () => this.#pan(-40, 0),
      ArrowUp: () => this.#pan(0, 40),
      ArrowDown: () => this.#pan(0, -40),
    };
    if (!(event.key in acts) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  #hold(held) {
    this.element.classList.toggle("held", held);
    this.peek.setAttribute("aria-pressed", String(held));
  }

  #place() {
    this.stage.style.setProperty("--cut", this.#mode === "slider" ? `${this.slider.value}%` : "0%");
  }

  /** Where the pointer is, from the middle of its pane. */
  #at(event) {
    const pane = this.panes.map((one) => one.getBoundingClientRect()).find((one) => event.clientX <= one.right) ?? this.stage.getBoundingClientRect();
    return [event.clientX - pane.left - pane.width / 2, event.clientY - pane.top - pane.height / 2];
  }

  #zoom(factor, [x, y] = [0, 0]) {
    const { scale } = this.#view;
    const next = Math.min(MOST, Math.max(1, scale * factor));
    const by = next / scale;
    this.#look({ scale: next, x: x - (x - this.#view.x) * by, y: y - (y - this.#view.y) * by });
  }

  #pan(x, y) {
    this.#look({ ...this.#view, x: this.#view.x + x, y: this.#view.y + y });
  }

  #look({ scale, x, y }) {
    const pane = this.panes[0];
    const [farX, farY] = [(pane.clientWidth * (scale - 1)) / 2, (pane.clientHeight * (scale - 1)) / 2];
    this.#view = { scale, x: Math.min(farX, Math.max(-farX, x)), y: Math.min(farY, Math.max(-farY, y)) };
    this.stage.style.setProperty("--scale", scale);
    this.stage.style.setProperty("--x", `${this.#view.x}px`);
    this.stage.style.setProperty("--y", `${this.#view.y}px`);
    quote(this.scale, `${Math.round(100 * scale)} %`);
  }
}

const holds = (event) => event.type === "pointerdown" || event.key === " " || event.key === "Enter";
