/** The session's translations as cards: what becomes of each, and what can be done about it. Clicking one brings it back. */

import { iconButton, make, save } from "./dom.js";
import { failureInWords } from "./failing.js";
import { isOpen, nameOf } from "./jobs.js";
import { number, quote, say } from "./words.js";

/** Events: `select` with a job in `detail`. */
export class Gallery extends EventTarget {
  #cards = new Map();
  #chosen = null;

  /** @param {import("./jobs.js").Jobs} jobs of the session */
  constructor(jobs) {
    super();
    this.jobs = jobs;
    this.list = make("ul", { class: "gallery", label: "gallery.label" });
    this.element = make("section", { class: "history", hidden: true }, make("h2", { word: "gallery.title" }), this.list);
    jobs.addEventListener("list", () => this.#renew());
    jobs.addEventListener("change", (event) => this.#update(event.detail));
  }

  /** Mark the one that is looked at. */
  choose(job) {
    this.#chosen = job;
    for (const [other, card] of this.#cards) card.open.setAttribute("aria-current", String(other === job));
  }

  #renew() {
    for (const [job, card] of this.#cards) {
      if (this.jobs.list.includes(job)) continue;
      card.element.remove();
      this.#cards.delete(job);
    }
    this.jobs.list.forEach((job, place) => {
      if (this.#cards.has(job)) return;
      const card = this.#card(job);
      this.#cards.set(job, card);
      this.list.insertBefore(card.element, this.list.children[place] ?? null);
      this.#update(job);
    });
    this.element.hidden = !this.jobs.list.length;
  }

  #card(job) {
    const image = make("img", { src: job.sourceUrl, alt: "" });
    const open = make("button", { type: "button", class: "card-open", "aria-current": "false", on: { click: () => this.#select(job) } }, image, make("span", { class: "card-name" }, job.name));
    const state = make("span", { class: "small state" });
    const bar = make("progress", { max: 1, value: 0, label: "gallery.progress" });
    const failure = make("div", { class: "card-failure", hidden: true });
    const acts = make("div", { class: "row acts" });
    const element = make("li", { class: "card" }, open, make("div", { class: "card-below" }, state, bar, failure, acts));
    return { element, open, image, state, bar, failure, acts };
  }

  #select(job) {
    this.dispatchEvent(new CustomEvent("select", { detail: job }));
  }

  #update(job) {
    const card = this.#cards.get(job);
    if (!card) return;
    card.element.dataset.state = job.state;
    const key = job.state === "queued" && job.position ? "state.position" : `state.${job.state}`;
    say(card.state, key, { position: job.position ?? 0, seconds: job.seconds ?? 0, model: job.model.title, time: job.milliseconds ? number(Math.round(job.milliseconds)) : "" });
    if (job.state === "done" && job.milliseconds) say(card.state, "state.done-in", { time: Math.round(job.milliseconds) });
    card.bar.hidden = !isOpen(job);
    if (job.state === "running" && job.progress > 0) card.bar.value = job.progress;
    else card.bar.removeAttribute("value");
    if (job.results.length) card.image.src = job.results[0].url;
    card.failure.hidden = job.state !== "failed";
    card.failure.replaceChildren(...(job.state === "failed" ? [failureInWords(job.failure)] : []));
    this.#offer(job, card);
  }

  /** Buttons only where they do something; the focus stays on one that is still there. */
  #offer(job, { acts }) {
    const wanted = [isOpen(job) && "cancel", ["failed", "cancelled"].includes(job.state) && "retry", job.results.length > 0 && "download", "remove"].filter(Boolean);
    if (acts.dataset.offered === wanted.join()) return;
    acts.dataset.offered = wanted.join();
    const focused = acts.contains(document.activeElement);
    const does = {
      cancel: () => this.jobs.cancel(job),
      retry: () => this.jobs.retry(job),
      download: () => job.results.forEach((result, place) => save(result.blob, nameOf(job, place))),
      remove: () => this.#remove(job),
    };
    const icons = { cancel: "close", retry: "retry", download: "download", remove: "trash" };
    acts.replaceChildren(...wanted.map((name) => iconButton(icons[name], [`gallery.${name}`, { name: job.name }], does[name], { data: { act: name } })));
    if (focused) acts.firstChild.focus();
  }

  #remove(job) {
    const next = this.jobs.list[this.jobs.list.indexOf(job) + 1] ?? this.jobs.list.find((other) => other !== job);
    this.jobs.remove(job);
    if (next) this.#cards.get(next)?.open.focus();
    if (this.#chosen === job) this.dispatchEvent(new CustomEvent("select", { detail: next ?? null }));
  }
}

/** Write a number of milliseconds into an element. */
export function showTime(element, milliseconds) {
  if (milliseconds) say(element, "state.done-in", { time: Math.round(milliseconds) });
  else quote(element, "");
}
