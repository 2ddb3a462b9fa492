/** The panel that chooses a model and says what it is: what it expects, its classes, its card. */

import { make } from "./dom.js";
import { failureInWords } from "./failing.js";
import { asFailure } from "./failure.js";
import { known, quote, say } from "./words.js";

/** Events: `choose` when another model was chosen. */
export class Choosing extends EventTarget {
  /** @param {{backend: object, models: object[]}} parts where models come from */
  constructor({ backend, models }) {
    super();
    Object.assign(this, { backend, models });
    this.select = make("select", { id: "model" }, ...models.map((model) => make("option", { value: model.id }, model.title)));
    this.select.addEventListener("change", () => this.dispatchEvent(new Event("choose")));
    this.summary = make("p", {});
    this.give = make("p", { class: "small" });
    this.facts = make("p", { class: "small" });
    this.classes = make("ul", { class: "classes" });
    this.card = make("div", { class: "card-text" });
    this.details = make("details", {}, make("summary", { word: "model.card" }), this.card);
    this.details.addEventListener("toggle", () => this.details.open && this.#showCard());
    this.element = make("section", { class: "panel model" }, make("label", { for: "model", class: "panel-title", word: "model.choose" }), this.select, this.summary, this.give, this.classes, this.facts, this.details);
  }

  /** The chosen model. */
  get model() {
    return this.models.find((model) => model.id === this.select.value);
  }

  set model(model) {
    this.select.value = model.id;
    this.dispatchEvent(new Event("choose"));
  }

  /** Say what the chosen model is. */
  show() {
    const { model } = this;
    const key = `task.${model.task}`;
    if (known(key)) say(this.summary, key);
    else quote(this.summary, model.summary);
    const give = `give.${model.task}`;
    say(this.give, known(give) ? give : "give.pair");
    say(this.facts, model.native ? "model.facts-native" : "model.facts", { size: model.size, channels: model.source.channels });
    const rows = model.source.classes.length ? model.source.classes : model.target.classes;
    this.classes.hidden = !rows.length;
    this.classes.replaceChildren(...rows.map(({ name, color }) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
      return make("li", {}, swatch, name);
    }));
    this.details.open = false;
  }

  async #showCard() {
    try {
      this.card.replaceChildren(...written(await this.backend.card(this.model.id)));
    } catch (error) {
      this.card.replaceChildren(failureInWords(asFailure(error)));
    }
  }
}

/**
 * The little Markdown that model cards have: headings, lists, code, paragraphs. Text stays text, whatever it holds.
 * @param {string} text of a card
 * @returns {HTMLElement[]}
 */
export function written(text) {
  const made = [];
  let code = null;
  for (const line of text.replace(/^---\n[^]*?\n---\n/, "").split("\n")) {
    if (line.startsWith("```")) code = code ? null : made[made.push(make("pre", { tabindex: "0" })) - 1];
    else if (code) code.textContent += `${line}\n`;
    else if (/^#+ /.test(line)) made.push(make("h4", {}, line.replace(/^#+ /, "")));
    else if (/^\s*- /.test(line)) {
      const last = made.at(-1);
      const list = last?.tagName === "UL" ? last : made[made.push(make("ul", {})) - 1];
      list.append(make("li", { class: line.startsWith(" ") ? "deep" : null }, line.replace(/^\s*- /, "").replaceAll("`", "")));
    } else if (line.trim()) {
      const last = made.at(-1);
      if (last?.tagName === "P") last.append(` ${line.replaceAll("`", "")}`);
      else made.push(make("p", {}, line.replaceAll("`", "")));
    } else if (made.at(-1)?.tagName === "P") made.push(make("p", { hidden: true }));
  }
  return made.filter((element) => !element.hidden);
}
