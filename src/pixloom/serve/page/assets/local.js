/** A model that the browser computes itself, from a static folder. `Server` in api.js has the same interface. */

import { Failure, cancelled } from "./failure.js";

export class Local {
  kind = "local";
  atOnce = 1;
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #count = 0;
  #last = Promise.resolve();
  #opened = null;

  /** @param {object} model of model.json */
  constructor(model) {
    this.model = model;
    this.#worker.onmessage = ({ data: { id, answer, failure } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (failure) reject(new Failure(failure.code, failure));
      else resolve(answer);
    };
    this.#worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new Failure("runtime"));
      this.#waiting.clear();
    };
  }

  about = async () => ({ version: null, limits: {}, models: [this.model.id], runs: [] });
  models = async () => [this.model];

  async card() {
    const answer = await fetch("card.md");
    if (!answer.ok) throw new Failure(`http-${answer.status}`);
    return answer.text();
  }

  /** See `Server.run`. */
  async run(model, request, { signal, report }) {
    report({ state: "queued", position: null, progress: 0 });
    const turn = this.#last;
    let done;
    this.#last = new Promise((resolve) => (done = resolve));
    try {
      await turn;
      if (signal?.aborted) throw cancelled(); // a newer stroke has come in the meantime
      if (!this.#opened) report({ state: "loading" });
      this.#opened ??= this.#ask("open", { model: this.model, place: new URL(".", document.baseURI).href });
      await this.#opened.catch((error) => {
        this.#opened = null;
        throw error;
      });
      report({ state: "running", position: null, progress: 0 });
      const answer = await this.#ask("translate", { request });
      if (signal?.aborted) throw cancelled();
      return answer;
    } finally {
      done();
    }
  }

  /** See `Server.once`. */
  async once(model, request, watching) {
    const parameters = { ...request.parameters, samples: 1 };
    return (await this.run(model, { ...request, parameters }, watching)).pictures[0];
  }

  runs = async () => [];

  #ask(act, message) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, act, ...message });
    });
  }
}
