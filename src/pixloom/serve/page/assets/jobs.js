/** The session's translations: each waits, runs, and stays as history until it is removed. */

import { asFailure, isCancelled } from "./failure.js";

let count = 0;

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {string} name of the picture, without suffix
 * @property {string} sourceUrl of the picture
 * @property {object} model MODEL
 * @property {object} request source, files, parameters
 * @property {"waiting"|"busy"|"queued"|"loading"|"running"|"done"|"failed"|"cancelled"} state
 * @property {{blob: Blob, url: string}[]} results
 * @property {import("./failure.js").Failure|null} failure
 */

/** Events: `change` with a job in `detail`, `list` when some came or went. */
export class Jobs extends EventTarget {
  list = [];
  #running = new Set();

  /** @param {object} backend Server or Local */
  constructor(backend) {
    super();
    this.backend = backend;
  }

  /**
   * A new translation, which starts when it is its turn.
   * @param {{name: string, model: object, request: object}} wish what is to be translated, and how
   * @returns {Job}
   */
  add({ name, model, request }) {
    const job = this.#made({ name, model, request, state: "waiting" });
    this.#pump();
    return job;
  }

  /** A translation that is there already, such as one that was painted. */
  addDone({ name, model, request, blob }) {
    return this.#made({ name, model, request, state: "done", results: [{ blob, url: URL.createObjectURL(blob) }] });
  }

  #made(parts) {
    const sourceUrl = URL.createObjectURL(parts.request.source);
    const job = { id: ++count, progress: 0, position: null, results: [], notes: [], failure: null, milliseconds: null, sourceUrl, ...parts };
    this.list.unshift(job);
    this.dispatchEvent(new CustomEvent("list", { detail: job }));
    return job;
  }

  /** Start what waits, the oldest first. */
  #pump() {
    for (const job of this.list.slice().reverse()) {
      if (this.#running.size >= this.backend.atOnce) return;
      if (job.state === "waiting") this.#start(job);
    }
  }

  async #start(job) {
    job.control = new AbortController();
    this.#running.add(job);
    this.#change(job, { state: "queued", progress: 0, failure: null });
    try {
      const report = (news) => this.#change(job, news);
      const answer = await this.backend.run(job.model, job.request, { signal: job.control.signal, report });
      const results = answer.pictures.map((blob) => ({ blob, url: URL.createObjectURL(blob) }));
      this.#change(job, { ...answer, state: "done", progress: 1, results });
    } catch (error) {
      if (isCancelled(error)) this.#change(job, { state: "cancelled" });
      else this.#change(job, { state: "failed", failure: asFailure(error) });
    } finally {
      this.#running.delete(job);
      this.#pump();
    }
  }

  #change(job, news) {
    if (job.state === "cancelled" && news.state !== "queued") return; // a late word about what was given up
    Object.assign(job, news);
    this.dispatchEvent(new CustomEvent("change", { detail: job }));
  }

  /** End a translation that waits or runs. */
  cancel(job) {
    if (!isOpen(job)) return;
    this.#change(job, { state: "cancelled" });
    job.control?.abort();
  }

  /** Try what failed or was cancelled again. */
  retry(job) {
    this.#change(job, { state: "queued" });
    Object.assign(job, { state: "waiting" });
    this.#pump();
  }

  /** Forget a translation. */
  remove(job) {
    this.cancel(job);
    this.list = this.list.filter((other) => other !== job);
    for (const url of [job.sourceUrl, ...job.results.map((result) => result.url)]) URL.revokeObjectURL(url);
    this.dispatchEvent(new CustomEvent("list", { detail: null }));
  }

  /** The results under names of their own. */
  files(jobs = this.list) {
    return jobs.flatMap((job) => job.results.map((result, place) => ({ name: nameOf(job, place), blob: result.blob })));
  }
}

/** Whether a translation is still to come. */
export const isOpen = (job) => ["waiting", "busy", "queued", "loading", "running"].includes(job.state);

/** The file name of a result. */
export const nameOf = (job, place) => `${job.name}-${job.model.id}${job.results.length > 1 ? `-${place + 1}` : ""}.png`;
