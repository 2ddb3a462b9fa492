/** The view in which pictures are dropped, pasted or picked, and compared with their translations. */

import { Compare } from "./compare.js";
import { settingsInWords } from "./controls.js";
import { announce, icon, make, save } from "./dom.js";
import { failureInWords } from "./failing.js";
import { Failure, asFailure } from "./failure.js";
import { Gallery, showTime } from "./gallery.js";
import { isOpen, nameOf } from "./jobs.js";
import { mark } from "./marking.js";
import { say } from "./words.js";
import { zip } from "./zip.js";

const PICTURES = /\.(png|jpe?g|webp|bmp|gif|tiff?|avif)$/i;

export class Translate {
  #job = null;
  #answer = 0;

  /**
   * @param {object} parts backend, jobs, controls, `model()` for the chosen one, and `onRestore(job)` to bring a translation's model back
   */
  constructor({ jobs, controls, model, onRestore }) {
    Object.assign(this, { jobs, controls, model, onRestore });
    this.gallery = new Gallery(jobs);
    this.compare = new Compare();
    this.failure = make("div", {});
    this.viewer = make("section", { class: "viewer", hidden: true });
    this.element = make("section", { class: "translate-view", hidden: true }, make("h2", { class: "visually-hidden", word: "translate.title" }), this.#drop(), this.failure, this.viewer, this.#bar(), this.gallery.element);
    this.gallery.addEventListener("select", (event) => this.#select(event.detail));
    jobs.addEventListener("list", (event) => this.#listed(event.detail));
    jobs.addEventListener("change", (event) => this.#changed(event.detail));
    this.#listen();
  }

  /** Say what the chosen model is to be given. */
  offer(model) {
    say(this.hint, model.wants.includes("mask") ? "drop.mask" : model.source.kind === "labels" ? "drop.labels" : "drop.pictures");
  }

  #drop() {
    const input = make("input", { type: "file", accept: "image/*", multiple: true, class: "visually-hidden", tabindex: "-1", label: "drop.pick", id: "pick-files" });
    const folder = make("input", { type: "file", webkitdirectory: true, multiple: true, class: "visually-hidden", tabindex: "-1", label: "drop.folder", id: "pick-folder" });
    for (const each of [input, folder]) {
      each.addEventListener("change", () => {
        this.take([...each.files]);
        each.value = "";
      });
    }
    this.hint = make("p", { class: "small" });
    const buttons = [make("button", { type: "button", class: "button primary", word: "drop.pick", on: { click: () => input.click() } })];
    if ("webkitdirectory" in folder) buttons.push(make("button", { type: "button", class: "button", word: "drop.folder", on: { click: () => folder.click() } }));
    this.zone = make("div", { class: "drop" }, icon("upload"), make("p", { class: "drop-title", word: "drop.title" }), this.hint, make("div", { class: "row wrap center" }, ...buttons, input, folder));
    return this.zone;
  }

  #bar() {
    const all = (name, word, act) => make("button", { type: "button", class: "button", word, data: { act: name }, on: { click: act } });
    this.counts = make("p", { class: "small", role: "status" });
    this.all = {
      download: all("download-all", "all.download", () => this.#downloadAll()),
      cancel: all("cancel-all", "all.cancel", () => this.jobs.list.filter(isOpen).forEach((job) => this.jobs.cancel(job))),
      clear: all("clear-all", "all.clear", () => this.jobs.list.slice().forEach((job) => this.jobs.remove(job))),
    };
    this.bar = make("div", { class: "all-bar", hidden: true }, this.counts, make("div", { class: "row wrap" }, ...Object.values(this.all)));
    return this.bar;
  }

  #listen() {
    let depth = 0; // dragenter and dragleave come for every element on the way
    const isFiles = (event) => !this.element.hidden && event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", (event) => isFiles(event) && (depth++, this.zone.classList.add("over")));
    addEventListener("dragleave", (event) => isFiles(event) && --depth <= 0 && this.zone.classList.remove("over"));
    addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
    addEventListener("drop", async (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      depth = 0;
      this.zone.classList.remove("over");
      this.take(await dropped(event.dataTransfer));
    });
    addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!this.element.hidden && files.length) this.take(files);
    });
  }

  /**
   * Translate files, those that are pictures.
   * @param {File[]} files from wherever
   */
  async take(files) {
    this.failure.replaceChildren();
    const pictures = files.filter((file) => file.type.startsWith("image/") || PICTURES.test(file.name));
    if (!pictures.length) return this.#fail(new Failure("no-pictures"));
    const others = files.filter((file) => !pictures.includes(file));
    if (others.length) this.failure.replaceChildren(make("p", { class: "hint", word: ["drop.left-out", { names: others.map((file) => file.name).join(", ") }] }));
    for (const file of pictures) await this.#add(file, file.name.replace(/\.[^.]*$/, "") || "picture");
    announce("drop.taken", { count: pictures.length });
  }

  async #add(source, name, more = {}) {
    const model = this.model();
    const { missing } = this.controls;
    if (missing) return this.#fail(new Failure(`needs-${missing}`));
    const { parameters, files } = this.controls.values;
    try {
      if (model.wants.includes("mask") && !more.mask) more.mask = await mark(source, "mask");
      if (model.wants.includes("mask") && !more.mask) return;
      this.jobs.add({ name, model, request: { source, files: { ...files, ...more }, parameters } });
    } catch (error) {
      this.#fail(error instanceof DOMException ? new Failure("not-a-picture", { where: name }) : asFailure(error));
    }
  }

  #fail(failure) {
    this.failure.replaceChildren(failureInWords(failure));
    announce(`error.${failure.code}.what`, {}, true);
  }

  #listed(job) {
    this.zone.classList.toggle("compact", this.jobs.list.length > 0);
    if (job && (!this.#job || !this.jobs.list.some((other) => other !== job && isOpen(other)))) this.#select(job);
    if (!this.jobs.list.length) this.#select(null);
    this.#count();
  }

  #changed(job) {
    this.#count();
    if (job === this.#job) this.#show();
    if (job.state === "done") announce("announce.done", { name: job.name });
    if (job.state === "failed") announce("announce.failed", { name: job.name });
    if (job.state === "busy") announce("state.busy", { seconds: job.seconds });
  }

  #count() {
    const { list } = this.jobs;
    const done = list.filter((job) => job.state === "done").length;
    this.bar.hidden = !list.length;
    say(this.counts, "all.counts", { done, all: list.length });
    this.all.download.disabled = !done;
    this.all.cancel.disabled = !list.some(isOpen);
  }

  async #downloadAll() {
    save(await zip(this.jobs.files(this.jobs.list.slice().reverse())), "pixloom.zip");
  }

  #select(job) {
    if (job !== this.#job) this.#answer = 0;
    this.#job = job;
    this.gallery.choose(job);
    this.shown = null;
    this.#show();
  }

  /** The chosen translation: the comparison where it is done, else its source and its state. */
  #show() {
    const job = this.#job;
    this.viewer.hidden = !job;
    if (!job) return;
    const key = `${job.id} ${job.state} ${job.results.length}`;
    if (this.shown === key && !isOpen(job)) return;
    if (this.shown !== key) this.#build(job);
    this.shown = key;
    if (isOpen(job)) say(this.state, job.position && job.state === "queued" ? "state.position" : `state.${job.state}`, { position: job.position ?? 0, seconds: job.seconds ?? 0, model: job.model.title });
  }

  #build(job) {
    const focused = this.viewer.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    this.state = make("p", { class: "small", "aria-hidden": "true" });
    const head = make("div", { class: "viewer-head" }, make("h3", {}, job.name), this.state);
    const body = job.results.length ? this.#comparison(job) : [make("img", { class: "waiting", src: job.sourceUrl, alt: job.name })];
    if (job.state === "failed") body.push(failureInWords(job.failure));
    if (job.state === "done") showTime(this.state, job.milliseconds);
    else say(this.state, `state.${job.state}`, { seconds: job.seconds ?? 0, model: job.model.title });
    this.viewer.replaceChildren(head, ...body, this.#about(job), this.#acts(job));
    if (focused) this.viewer.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  #comparison(job) {
    const show = (place, stay) => {
      this.#answer = place;
      this.compare.show(job.sourceUrl, job.results[place].url, { stay, exact: job.model.target.kind === "labels" });
    };
    show(Math.min(this.#answer, job.results.length - 1), false);
    if (job.results.length === 1) return [this.compare.element];
    const buttons = job.results.map((result, place) => {
      const button = make("button", { type: "button", class: "answer", "aria-pressed": String(place === this.#answer), label: ["translate.answer", { number: place + 1 }] }, make("img", { src: result.url, alt: "" }));
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        show(place, true);
      });
      return button;
    });
    return [this.compare.element, make("div", { class: "answers", role: "group", label: "translate.answers" }, ...buttons)];
  }

  #about(job) {
    const notes = (job.notes ?? []).filter((note) => note !== "wasm" && note !== "webgpu");
    return make(
      "details",
      { class: "about" },
      make("summary", { word: "translate.settings" }),
      make("p", { class: "small" }, job.model.title, job.width ? ` · ${job.width} × ${job.height}` : ""),
      settingsInWords(job.request.parameters, Object.keys(job.request.files ?? {})),
      ...notes.map((note) => make("p", { class: "small" }, note)),
    );
  }

  #acts(job) {
    const button = (name, word, act, kind = "button") => make("button", { type: "button", class: kind, word, data: { act: name }, on: { click: act } });
    const again = async (kind) => {
      const drawn = kind ? await mark(job.request.source, kind) : null;
      if (kind && !drawn) return;
      const own = Object.fromEntries(Object.entries(job.request.files ?? {}).filter(([name]) => name === "mask" || name === "hints"));
      const kept = this.model() === job.model ? own : {};
      await this.#add(job.request.source, job.name, kind ? { ...kept, [kind]: drawn } : kept);
    };
    return make(
      "div",
      { class: "row wrap" },
      job.results.length > 0 && button("save", "translate.download", () => save(job.results[this.#answer].blob, nameOf(job, this.#answer)), "button primary"),
      isOpen(job) && button("stop", "translate.cancel", () => this.jobs.cancel(job)),
      ["failed", "cancelled"].includes(job.state) && button("retry", "translate.retry", () => this.jobs.retry(job), "button primary"),
      !isOpen(job) && button("again", "translate.again", () => again(null)),
      !isOpen(job) && job.model.takes.includes("hints") && button("hints", "translate.hints", () => again("hints")),
      !isOpen(job) && job.model.wants.includes("mask") && button("mask", "translate.mask", () => again("mask")),
      button("restore", "translate.restore", () => this.onRestore(job)),
    );
  }
}

/** Files that were dropped, those in folders too. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry) {
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([file]), () => resolve([])));
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesIn))).flat());
  }
}
