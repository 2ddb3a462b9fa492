/** Runs of trainings: how far they are, their curves, what became of the preview, and what the watchman says. Live by asking again. */

import { Curves, Multiples, seriesOf } from "./curves.js";
import { icon, iconButton, make, unique } from "./dom.js";
import { failureInWords } from "./failing.js";
import { asFailure } from "./failure.js";
import { duration, number, say } from "./words.js";

const EVERY = 3000; // milliseconds
const KINDS = ["validation", "losses", "signs"];

export class Training {
  #run = null;
  #wanted = null;
  #entries = [];
  #next = 0;
  #timer = 0;
  #turn = 0;
  #playing = 0;

  /** @param {object} backend a Server */
  constructor(backend) {
    this.backend = backend;
    this.list = make("ul", { class: "runs" });
    this.side = make("section", { class: "panel", hidden: true }, make("h2", { word: "training.runs" }), this.list);
    this.head = make("div", { class: "run-head" });
    this.failure = make("div", {});
    this.none = make("p", { class: "hint", hidden: true, word: "training.none" });
    this.alarms = make("div", { class: "alarms" });
    this.metrics = make("dl", { class: "metrics" });
    this.curves = { validation: new Multiples("training.validation"), losses: new Curves("training.losses"), signs: new Multiples("training.signs") };
    this.element = make("section", { class: "training", hidden: true }, make("h2", { word: "training.title" }), this.failure, this.none, this.head, this.metrics, this.alarms, this.#timeline(), ...KINDS.map((kind) => this.curves[kind].element));
  }

  /** Begin to ask, or stop where the view is left. */
  set active(active) {
    clearTimeout(this.#timer);
    this.isActive = active;
    this.#play(false);
    if (active) this.#refresh();
  }

  async #refresh() {
    try {
      const runs = await this.backend.runs();
      this.#showList(runs);
      const chosen = runs.find((run) => run.id === this.#wanted) ?? runs[0];
      this.none.hidden = runs.length > 0;
      if (chosen) await this.#follow(chosen.id);
      this.failure.replaceChildren();
    } catch (error) {
      this.failure.replaceChildren(failureInWords(asFailure(error)));
    }
    this.#again();
  }

  /** Ask again after a while; there is one clock, however often a run is chosen. */
  #again() {
    clearTimeout(this.#timer);
    if (this.isActive) this.#timer = setTimeout(() => this.#refresh(), EVERY);
  }

  async #follow(id) {
    const turn = ++this.#turn;
    const [run, history, samples] = await Promise.all([this.backend.training(id), this.backend.history(id, this.#run?.id === id ? this.#next : 0), this.backend.samples(id)]);
    if (turn !== this.#turn) return; // another run was chosen, or asked for again, in the meantime
    if (this.#run?.id !== id) this.#entries = [];
    this.#run = run;
    for (const entry of history.entries) {
      // A run that went back has cut its record: what came after is not so any more.
      if (entry.images < this.#entries.at(-1)?.images) this.#entries = this.#entries.filter(({ images }) => images <= entry.images);
      this.#entries.push(entry);
    }
    this.#next = history.next;
    this.#showHead(run);
    this.#showMetrics(run.metrics ?? {});
    this.#showAlarms(run);
    this.#showSamples(samples);
    for (const kind of KINDS) this.curves[kind].show(seriesOf(this.#entries.filter((entry) => entry.kind === kind)));
  }

  #showList(runs) {
    const key = JSON.stringify(runs.map((run) => [run.id, run.state]));
    if (this.list.dataset.key === key) return;
    this.list.dataset.key = key;
    const rows = runs.map((run) => {
      const state = make("span", { class: "small", word: `run.${run.state}` });
      const choose = () => {
        this.#play(false);
        this.list.querySelectorAll("button").forEach((other) => other.setAttribute("aria-current", String(other === button)));
        this.#chosen(run.id);
      };
      const button = make("button", { type: "button", class: "run", "aria-current": "false", data: { run: run.id }, on: { click: choose } }, make("span", {}, run.title), state);
      return make("li", {}, button);
    });
    this.list.replaceChildren(...rows);
    const chosen = this.#wanted ?? runs[0]?.id;
    this.list.querySelector(`[data-run="${CSS.escape(chosen ?? "")}"]`)?.setAttribute("aria-current", "true");
  }

  async #chosen(id) {
    clearTimeout(this.#timer);
    this.#wanted = id;
    try {
      await this.#follow(id);
    } catch (error) {
      this.failure.replaceChildren(failureInWords(asFailure(error)));
    }
    this.#again();
  }

  #showHead(run) {
    const total = run.total_images || 0;
    const left = run.remaining_seconds === null || run.remaining_seconds === undefined ? null : duration(run.remaining_seconds);
    const facts = [
      make("span", { class: `badge ${run.state}`, word: `run.${run.state}` }),
      make("span", { word: ["training.images", { images: run.images, total }] }),
      run.images_per_second ? make("span", { word: ["training.speed", { speed: Number(run.images_per_second.toPrecision(3)) }] }) : null,
      make("span", { word: ["training.elapsed", { time: duration(run.elapsed_seconds ?? 0) }] }),
      left && run.state === "training" ? make("span", { word: ["training.left", { time: left }] }) : null,
      make("span", { class: "small" }, [run.task, run.recipe, run.size && `${run.size} px`].filter(Boolean).join(" · ")),
      run.has_report ? make("a", { href: this.backend.report(run.id), target: "_blank", rel: "noopener", word: "training.report" }) : null,
    ];
    const focused = this.head.contains(document.activeElement);
    const bar = make("progress", { max: total || 1, value: run.images, label: "training.progress" });
    this.head.replaceChildren(make("h3", {}, run.title), bar, make("p", { class: "facts" }, ...facts.filter(Boolean)));
    if (focused) this.head.querySelector("a")?.focus();
  }

  #showMetrics(metrics) {
    const rows = Object.entries(metrics).filter(([, value]) => typeof value === "number");
    this.metrics.hidden = !rows.length;
    this.metrics.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, number(value)))));
  }

  #showAlarms(run) {
    const key = JSON.stringify(run.alarms);
    if (this.alarms.dataset.key === key + run.id) return;
    this.alarms.dataset.key = key + run.id;
    const rows = run.alarms.map((alarm) => {
      const remedies = make("ul", {}, ...alarm.remedies.map((remedy) => make("li", {}, remedy)));
      const picture = alarm.picture ? make("img", { src: this.backend.picture(run.id, alarm.picture, "alarms"), alt: alarm.name, loading: "lazy" }) : null;
      const text = make("div", {}, make("h4", {}, alarm.name), make("p", { class: "small", word: ["training.alarm-at", { images: alarm.images }] }), make("p", {}, alarm.message), make("p", { class: "part", word: "training.remedies" }), remedies);
      return make("li", { class: "alarm" }, icon("warn"), text, picture);
    });
    this.alarms.hidden = !rows.length;
    this.alarms.replaceChildren(make("h3", { word: "training.alarms" }), make("ul", {}, ...rows));
  }

  /** The preview at every time that it was drawn, to be gone through. */
  #timeline() {
    this.preview = make("img", { class: "preview", alt: "" });
    this.at = make("span", { class: "small" });
    this.scrub = make("input", { type: "range", min: 0, max: 0, step: 1, value: 0, label: "training.scrub", on: { input: () => (this.#play(false), this.#showSample()) } });
    this.playButton = iconButton("play", "training.play", () => this.#play(!this.#playing));
    this.timeline = make("section", { class: "timeline", "aria-labelledby": unique("timeline") }, make("h3", { word: "training.preview" }), this.preview, make("div", { class: "row" }, this.playButton, this.scrub, this.at));
    this.timeline.querySelector("h3").id = this.timeline.getAttribute("aria-labelledby");
    return this.timeline;
  }

  #showSamples(samples) {
    const wasLast = Number(this.scrub.value) >= Number(this.scrub.max);
    const isOther = this.samplesOf !== this.#run.id;
    this.samplesOf = this.#run.id;
    this.samples = samples;
    this.timeline.hidden = !samples.length;
    this.scrub.max = Math.max(0, samples.length - 1);
    if (wasLast || isOther) this.scrub.value = this.scrub.max;
    if (samples.length) this.#showSample();
  }

  #showSample() {
    const { name, images } = this.samples[Number(this.scrub.value)];
    const address = this.backend.picture(this.#run.id, name);
    if (this.preview.getAttribute("src") !== address) this.preview.src = address;
    say(this.preview, "training.preview-at", { images }, "label");
    say(this.at, "training.at", { images });
    this.scrub.setAttribute("aria-valuetext", this.at.textContent);
  }

  #play(playing) {
    clearInterval(this.#playing);
    this.#playing = 0;
    if (this.playButton) {
      this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
      say(this.playButton, playing ? "training.pause" : "training.play", "label");
    }
    if (!playing) return;
    if (this.scrub.value === this.scrub.max) this.scrub.value = 0;
    this.#playing = setInterval(() => {
      if (this.scrub.value === this.scrub.max) return this.#play(false);
      this.scrub.value = Number(this.scrub.value) + 1;
      this.#showSample();
    }, 500);
  }
}
