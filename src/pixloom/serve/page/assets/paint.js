/** The view in which the source is painted, with the translation beside it while one paints. */

import { Painter } from "./canvas.js";
import { field, icon, make, save } from "./dom.js";
import { failureInWords } from "./failing.js";
import { asFailure, isCancelled } from "./failure.js";
import { quote, say } from "./words.js";

const DEBOUNCE = 120; // milliseconds from the end of a stroke
const LEAST = 256; // pixels of a canvas's short side: what a model works at may be too coarse to paint
const SHAPES = { square: [1, 1], wide: [3, 2], tall: [2, 3] };
const GREYS = [{ word: "color.black", color: [0, 0, 0] }, { word: "color.white", color: [255, 255, 255] }, { word: "color.grey", color: [128, 128, 128] }];
const COLORS = [
  { word: "color.red", color: [200, 48, 48] },
  { word: "color.yellow", color: [230, 190, 60] },
  { word: "color.green", color: [60, 140, 70] },
  { word: "color.blue", color: [60, 110, 200] },
];

/** Brushes for a model's sources. */
export function brushesOf(model) {
  if (model.source.kind === "labels") return model.source.classes.map(({ name, color }) => ({ name, color }));
  return model.source.kind === "edges" || model.source.channels === 1 ? GREYS : [...GREYS, ...COLORS];
}

export class Paint {
  #timer = 0;
  #control = null;
  #made = null;

  /**
   * @param {{backend: object, jobs: import("./jobs.js").Jobs, controls: import("./controls.js").Controls}} parts that it works with
   */
  constructor({ backend, jobs, controls }) {
    Object.assign(this, { backend, jobs, controls });
    this.place = make("div", { class: "paint-place" });
    this.result = make("img", { class: "result", alt: "", hidden: true });
    say(this.result, "paint.result", "label");
    this.refused = make("p", { class: "hint", hidden: true, word: "paint.refused" });
    this.empty = make("p", { class: "hint", word: "paint.empty" });
    this.state = make("p", { class: "small state", role: "status" });
    this.failure = make("div", {});
    this.live = make("input", { type: "checkbox", id: "live", checked: true });
    this.element = make("section", { class: "paint-view", hidden: true }, make("h2", { word: "paint.title" }), make("p", { class: "lead", word: "paint.lead" }), this.refused, this.#bar(), make("div", { class: "paint-columns" }, this.place, this.#right()));
    controls.addEventListener("change", () => this.#soon());
  }

  /** Make the canvas for a model. */
  offer(model) {
    if (this.model === model) return;
    this.model = model;
    this.element.classList.toggle("refused", model.wants.length > 0); // a hole needs a picture around it
    this.refused.hidden = !model.wants.length;
    const { kind } = model.source;
    this.painter = new Painter(kind === "labels" ? "labels" : "picture");
    this.painter.addEventListener("stroke", () => this.#soon());
    this.ground.closest(".field").hidden = kind === "labels";
    const black = model.source.background.every((value) => value < 128);
    this.ground.value = black ? "black" : "white";
    this.place.replaceChildren(this.painter.element);
    this.#again();
  }

  /** Open a source that was painted before. */
  async restore(blob) {
    await this.painter.open(blob);
  }

  #again() {
    const { model } = this;
    const unit = model.size * Math.ceil(LEAST / model.size);
    const [across, down] = SHAPES[this.shape.value];
    const short = Math.min(across, down);
    const background = model.source.kind === "labels" ? model.source.background : this.#groundColor();
    this.painter.start({ width: Math.round((unit * across) / short), height: Math.round((unit * down) / short), brushes: brushesOf(model), background, free: brushesOf(model).length > GREYS.length });
    this.#clearResult();
  }

  #groundColor = () => (this.ground.value === "black" ? [0, 0, 0] : [255, 255, 255]);

  #clearResult() {
    this.#control?.abort();
    clearTimeout(this.#timer);
    this.#made = null;
    this.result.hidden = true;
    this.empty.hidden = false;
    quote(this.state, "");
    this.failure.replaceChildren();
    this.#allow();
  }

  #bar() {
    this.shape = make("select", { on: { change: () => this.#again() } }, ...Object.keys(SHAPES).map((name) => make("option", { value: name, word: `paint.${name}` })));
    this.ground = make("select", { on: { change: () => this.painter.recolor(this.#groundColor()) } }, ...["white", "black"].map((name) => make("option", { value: name, word: `color.${name}` })));
    return make("div", { class: "paint-bar" }, field("paint.shape", this.shape), field("paint.ground", this.ground), this.#picker("paint.start", (file) => this.painter.open(file)), this.#picker("paint.under", (file) => this.painter.setUnder(file)));
  }

  #picker(word, use) {
    const input = make("input", { type: "file", accept: "image/*", class: "visually-hidden", tabindex: "-1", label: word });
    input.addEventListener("change", async () => {
      try {
        if (input.files[0]) await use(input.files[0]);
      } catch (error) {
        this.failure.replaceChildren(failureInWords(asFailure(error)));
      }
      input.value = "";
    });
    return make("span", {}, make("button", { type: "button", class: "button", on: { click: () => input.click() } }, icon("upload"), make("span", { word })), input);
  }

  #right() {
    this.now = make("button", { type: "button", class: "button primary", word: "paint.translate", on: { click: () => this.#translate() } });
    this.keepIt = make("button", { type: "button", class: "button", word: "paint.keep", disabled: true, on: { click: () => this.#keep() } });
    this.download = make("button", { type: "button", class: "button", disabled: true, on: { click: () => save(this.#made.blob, `painted-${this.model.id}.png`) } }, icon("download"), make("span", { word: "paint.download" }));
    const live = make("span", { class: "check" }, this.live, make("label", { for: "live", word: "paint.live" }));
    return make("div", { class: "paint-result" }, make("div", { class: "result-frame" }, this.empty, this.result), this.state, this.failure, make("div", { class: "row wrap" }, live, this.now, this.keepIt, this.download));
  }

  #allow() {
    this.keepIt.disabled = this.download.disabled = !this.#made;
  }

  #soon() {
    if (!this.live.checked || this.element.hidden || !this.painter || this.painter.isEmpty) return;
    this.#control?.abort(); // a newer stroke makes the older answer worthless
    clearTimeout(this.#timer);
    const since = performance.now();
    this.#timer = setTimeout(() => this.#translate(since), DEBOUNCE);
  }

  async #translate(since = performance.now()) {
    this.#control?.abort();
    const control = (this.#control = new AbortController());
    const { model } = this;
    try {
      const { parameters, files } = this.controls.values;
      delete parameters.samples; // one answer is shown
      const source = await this.painter.picture();
      const request = { source, files, parameters };
      const report = (news) => say(this.state, `state.${news.state}`, { seconds: news.seconds ?? 0, model: model.title });
      say(this.state, "state.running", { model: model.title });
      const blob = await this.backend.once(model, request, { signal: control.signal, report });
      if (control.signal.aborted) return;
      if (this.#made) URL.revokeObjectURL(this.#made.url);
      this.#made = { blob, request, url: URL.createObjectURL(blob) };
      this.result.src = this.#made.url;
      await this.result.decode();
      this.result.hidden = false;
      this.empty.hidden = true;
      const time = Math.round(performance.now() - since);
      say(this.state, "paint.done", { time });
      this.element.dataset.milliseconds = time;
      this.failure.replaceChildren();
      this.#allow();
    } catch (error) {
      if (isCancelled(error)) return;
      quote(this.state, "");
      this.failure.replaceChildren(failureInWords(asFailure(error)));
    }
  }

  #keep() {
    const { blob, request } = this.#made;
    this.jobs.addDone({ name: "painted", model: this.model, request, blob });
    say(this.state, "paint.kept");
  }
}
