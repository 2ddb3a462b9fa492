/** What steers a translation: only what the model's description offers. */

import { field, iconButton, make, unique } from "./dom.js";
import { number, quote, say } from "./words.js";

const MOST_SEED = 999999;

/** Events: `change` when any of the settings has changed. */
export class Controls extends EventTarget {
  #rows = {};
  #files = {};

  /** @param {boolean} isServer whether a server computes */
  constructor({ isServer }) {
    super();
    this.isServer = isServer;
    this.element = make("form", { class: "controls", label: "controls.label", on: { submit: (event) => event.preventDefault() } });
    this.element.addEventListener("input", () => this.dispatchEvent(new Event("change")));
  }

  /**
   * Offer what a model takes.
   * @param {object} model MODEL
   */
  offer(model) {
    this.model = model;
    this.#rows = {};
    this.#files = {};
    const parts = [
      model.directions.length > 1 && this.#direction(model),
      model.label && this.#label(model),
      model.attributes.length && this.#attributes(model),
      model.text && this.#text(model),
      model.reference && this.#file("reference", model),
      model.map && this.#file("map", model),
      model.image && this.#file("image", model),
      model.strength && this.#strength(),
      model.answers && this.#seed(),
      model.answers && this.#samples(),
      !model.native && this.#size(model),
      model.source.kind === "picture" && model.magnification === 1 && this.#check("keep_alpha"),
      model.target.kind === "labels" && this.#check("index"),
    ];
    this.element.replaceChildren(...parts.filter(Boolean));
    this.isEmpty = !this.element.children.length;
  }

  /** The settings that differ from what the server takes by default, and pictures beside the source. */
  get values() {
    const parameters = {};
    for (const [name, row] of Object.entries(this.#rows)) {
      const value = row.get();
      if (value !== undefined) parameters[name] = value;
    }
    return { parameters, files: { ...this.#files } };
  }

  /** Set everything as it was for a translation. */
  restore({ parameters, files }) {
    for (const [name, row] of Object.entries(this.#rows)) row.set(parameters[name]);
    this.#files = Object.fromEntries(Object.entries(files ?? {}).filter(([name]) => ["reference", "map", "image"].includes(name)));
    for (const place of this.element.querySelectorAll("[data-file]")) this.#showFile(place.dataset.file, place);
    this.dispatchEvent(new Event("change"));
  }

  /** What is still missing before anything can be translated, or null. */
  get missing() {
    const { parameters, files } = this.values;
    const needed = this.model.needed.map((name) => (name === "style" ? "reference" : name));
    // A label that is chosen already is not among the parameters where it is what the model does anyhow.
    return needed.find((name) => !(name in parameters) && !(name in files) && !(name === "label" && this.model.label.default)) ?? null;
  }

  #row(name, { get, set }) {
    this.#rows[name] = { get, set };
  }

  #direction(model) {
    const select = make("select", {}, ...model.directions.map(({ id, title }) => make("option", { value: id }, title)));
    const plain = model.directions[0].id;
    this.#row("direction", { get: () => (select.value === plain ? undefined : select.value), set: (value) => (select.value = value ?? plain) });
    return field("controls.direction", select);
  }

  #label(model) {
    const needed = model.needed.includes("label");
    const plain = model.label.default ?? (needed ? model.label.names[0] : "");
    const none = needed || model.label.default ? [] : [make("option", { value: "", word: "controls.any" })];
    const select = make("select", {}, ...none, ...model.label.names.map((name) => make("option", { value: name }, name)));
    select.value = plain;
    const get = () => (select.value && select.value !== model.label.default ? select.value : undefined);
    this.#row("label", { get, set: (value) => (select.value = value ?? plain) });
    return field("controls.label_", select);
  }

  #attributes(model) {
    const rows = model.attributes.map((attribute) => this.#attribute(attribute, model));
    const get = () => {
      const stated = Object.fromEntries(rows.filter((row) => row.box.checked).map((row) => [row.name, Number(row.range.value)]));
      return Object.keys(stated).length ? stated : undefined;
    };
    const set = (stated = {}) => rows.forEach((row) => row.set(stated[row.name]));
    this.#row("attributes", { get, set });
    return make("fieldset", { class: "attributes" }, make("legend", { word: "controls.attributes" }), ...rows.map((row) => row.element));
  }

  /** An attribute: a box that states it, and its value. */
  #attribute({ name, low, high, exclusive }, model) {
    const id = unique("attribute");
    const box = make("input", { type: "checkbox", id });
    const range = make("input", { type: "range", min: low, max: high, step: (high - low) / 100, value: high, "aria-label": name });
    const shown = make("output", { class: "small" });
    const show = () => {
      range.disabled = !box.checked;
      quote(shown, box.checked ? number(Number(range.value), 3) : "–");
    };
    // Attributes of one group exclude each other: stating one takes the others back.
    box.addEventListener("input", () => {
      if (!box.checked || exclusive === null) return;
      model.attributes.forEach((other) => other.exclusive === exclusive && other.name !== name && this.element.querySelector(`[data-attribute="${CSS.escape(other.name)}"]`)?.clear());
    });
    for (const input of [box, range]) input.addEventListener("input", show);
    const set = (value) => {
      box.checked = value !== undefined;
      range.value = value ?? high;
      show();
    };
    show();
    const element = make("div", { class: "attribute", data: { attribute: name } }, make("span", { class: "check" }, box, make("label", { for: id }, name)), range, shown);
    element.clear = () => set(undefined);
    return { name, box, range, element, set };
  }

  #text() {
    const input = make("input", { type: "text", placeholder: "controls.text-hint", autocomplete: "off" });
    this.#row("text", { get: () => input.value.trim() || undefined, set: (value) => (input.value = value ?? "") });
    return field("controls.text", input);
  }

  /** A picture beside the source: a button that picks it, a small view, and one that takes it back. */
  #file(name) {
    const place = make("span", { class: "row", data: { file: name } });
    const input = make("input", { type: "file", accept: "image/*", class: "visually-hidden", tabindex: "-1", label: `controls.${name}` });
    const pick = make("button", { type: "button", class: "button", word: "controls.pick", on: { click: () => input.click() } });
    pick.setAttribute("aria-describedby", `about-${name}`);
    input.addEventListener("change", () => {
      if (input.files[0]) this.#files[name] = input.files[0];
      this.#showFile(name, place);
      this.dispatchEvent(new Event("change"));
    });
    return make("div", { class: "field" }, make("span", { class: "label", id: `about-${name}`, word: `controls.${name}` }), make("div", { class: "field-row" }, pick, input, place));
  }

  #showFile(name, place) {
    const file = this.#files[name];
    const clear = () => {
      delete this.#files[name];
      this.#showFile(name, place);
      this.dispatchEvent(new Event("change"));
    };
    const image = file && make("img", { class: "thumb", src: URL.createObjectURL(file), alt: file.name ?? name });
    place.replaceChildren(...(file ? [image, iconButton("close", "controls.clear", clear)] : []));
  }

  #range(name, word, { min, max, step, plain }) {
    const range = make("input", { type: "range", min, max, step, value: plain });
    const shown = make("output", { class: "small" });
    const show = () => quote(shown, number(Number(range.value), 3));
    range.addEventListener("input", show);
    const get = () => (Number(range.value) === plain ? undefined : Number(range.value));
    this.#row(name, { get, set: (value) => ((range.value = value ?? plain), show()) });
    show();
    return field(word, range, shown);
  }

  #strength = () => this.#range("strength", "controls.strength", { min: 0, max: 1.5, step: 0.05, plain: 1 });
  #samples = () => this.#range("samples", "controls.samples", { min: 1, max: 16, step: 1, plain: 1 });

  #seed() {
    const input = make("input", { type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: 0, inputmode: "numeric" });
    const get = () => Math.max(0, Math.floor(Number(input.value) || 0)) || undefined;
    this.#row("seed", { get, set: (value) => (input.value = value ?? 0) });
    const roll = () => {
      input.value = Math.floor(Math.random() * (MOST_SEED + 1));
      input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    return field("controls.seed", input, iconButton("dice", "controls.dice", roll));
  }

  #size(model) {
    const choices = ["trained", "native", "own"];
    const select = make("select", {}, ...choices.map((name) => make("option", { value: name, word: [`controls.size-${name}`, { size: model.size }] })));
    const own = make("input", { type: "number", min: 16, max: 4096, step: 1, value: model.size * 2, label: "controls.pixels" });
    const show = () => (own.hidden = select.value !== "own");
    select.addEventListener("input", show);
    const get = () => (select.value === "own" ? Math.min(4096, Math.max(1, Math.round(Number(own.value)) || model.size)) : select.value === "trained" ? undefined : select.value);
    const set = (value) => {
      select.value = typeof value === "number" ? "own" : (value ?? "trained");
      if (typeof value === "number") own.value = value;
      show();
    };
    this.#row("size", { get, set });
    show();
    return field("controls.size", select, own);
  }

  #check(name) {
    const id = unique("check");
    const box = make("input", { type: "checkbox", id });
    this.#row(name, { get: () => box.checked || undefined, set: (value) => (box.checked = Boolean(value)) });
    return make("div", { class: "check" }, box, make("label", { for: id, word: `controls.${name}` }));
  }
}

/**
 * Settings in words, for the history.
 * @param {object} parameters of a translation
 * @param {string[]} [files] names of pictures beside it
 * @returns {HTMLElement}
 */
export function settingsInWords(parameters, files = []) {
  const list = make("ul", { class: "settings" });
  const known = { direction: "controls.direction", label: "controls.label_", attributes: "controls.attributes", text: "controls.text", strength: "controls.strength" };
  const more = { seed: "controls.seed", samples: "controls.samples", size: "controls.size", keep_alpha: "controls.keep_alpha", index: "controls.index" };
  for (const [name, value] of Object.entries(parameters)) {
    const text = typeof value === "object" ? Object.entries(value).map(([key, strength]) => `${key} ${number(strength, 3)}`).join(", ") : value === true ? "✓" : String(value);
    const title = make("span", {});
    say(title, { ...known, ...more }[name]);
    list.append(make("li", {}, title, ` ${text}`));
  }
  for (const name of files) list.append(make("li", { word: `controls.${name}` }));
  if (!list.children.length) list.append(make("li", { word: "controls.none" }));
  return list;
}
