/** Models that a server computes. `Local` in local.js has the same interface. */

import { Failure, cancelled } from "./failure.js";

const READ = ["image/png", "image/jpeg", "image/webp"]; // by servers
const SOON = 60;
const LATER = 800;
const PATIENCE = 5; // seconds, where a busy server does not say how long

export class Server {
  kind = "server";
  atOnce = 2;

  /** Version, limits, and the ids of models and runs. */
  about = () => json("api/about");

  /** Every MODEL of the contract. */
  models = async () => (await json("api/models")).models;

  /** The card of a model, Markdown. */
  card = async (id) => (await asked(`api/models/${encodeURIComponent(id)}/card`)).text();

  /**
   * Translate a picture as a job that waits for its turn.
   * @param {object} model MODEL
   * @param {{source: Blob, files: Object<string, Blob>, parameters: object}} request what is to be translated, and how
   * @param {{signal: AbortSignal, report: function(object): void}} watching cancels it, and hears of its progress
   * @returns {Promise<{pictures: Blob[], width: number, height: number, milliseconds: number|null, notes: string[]}>}
   */
  async run(model, given, { signal, report }) {
    const request = await sendable(given);
    const answer = await this.#patiently(`api/models/${encodeURIComponent(model.id)}/jobs`, request, { signal, report });
    let job = await answer.json();
    const place = `api/jobs/${encodeURIComponent(job.id)}`;
    try {
      for (let wait = SOON; job.state === "queued" || job.state === "running"; wait = Math.min(LATER, wait * 1.3)) {
        report({ state: job.state, position: job.position, progress: job.progress });
        await pause(wait, signal);
        job = await json(place, { signal });
      }
      if (job.state === "failed") throw new Failure(job.error?.code ?? "unexpected", job.error ?? {});
      if (job.state === "cancelled") throw cancelled();
      const numbers = Array.from({ length: job.results }, (_, number) => number);
      const pictures = await Promise.all(numbers.map(async (number) => (await asked(`${place}/results/${number}`, { signal })).blob()));
      return { pictures, width: job.width, height: job.height, milliseconds: job.milliseconds, notes: job.notes ?? [] };
    } finally {
      // Done, failed or given up: the server need not keep it. `keepalive` lets it through when the page closes.
      fetch(place, { method: "DELETE", keepalive: true }).catch(() => {});
    }
  }

  /** The first answer in one go, for what is redrawn at once; whoever aborts the signal cancels it. */
  async once(model, given, { signal, report }) {
    const request = await sendable(given);
    const answer = await this.#patiently(`api/models/${encodeURIComponent(model.id)}/translate`, request, { signal, report });
    return answer.blob();
  }

  /** Runs of trainings. */
  runs = async () => (await json("api/runs")).runs;
  training = (id) => json(`api/runs/${encodeURIComponent(id)}`);
  samples = async (id) => (await json(`api/runs/${encodeURIComponent(id)}/samples`)).samples;
  picture = (id, name, kind = "samples") => `api/runs/${encodeURIComponent(id)}/${kind}/${encodeURIComponent(name)}`;
  report = (id) => `api/runs/${encodeURIComponent(id)}/report`;

  /** Entries of a run's history from a line on; all that there are. */
  async history(id, after) {
    const entries = [];
    for (let next = after; ; ) {
      const part = await json(`api/runs/${encodeURIComponent(id)}/history?after=${next}`);
      entries.push(...part.entries);
      if (!part.entries.length || part.next === next) return { next: part.next, entries };
      next = part.next;
    }
  }

  /** Ask until the queue has room: a busy server says after how many seconds. */
  async #patiently(place, request, { signal, report }) {
    for (;;) {
      const { url, options } = packed(place, request);
      const answer = await fetch(url, { ...options, signal });
      if (answer.status !== 429) return checked(answer);
      const seconds = Number(answer.headers.get("Retry-After")) || PATIENCE;
      for (let left = Math.ceil(seconds); left > 0; left--) {
        report({ state: "busy", seconds: left });
        await pause(1000, signal);
      }
    }
  }
}

/** A request as the contract has it: the raw picture and a query, or a form where other pictures go with it. */
function packed(place, { source, files, parameters }) {
  const stated = Object.entries(parameters).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  if (!Object.keys(files ?? {}).length && /^image\/(png|jpeg|webp)$/.test(source.type)) {
    return { url: `${place}?${new URLSearchParams(stated)}`, options: { method: "POST", body: source } };
  }
  const form = new FormData();
  form.set("source", source, "source");
  for (const [name, file] of Object.entries(files ?? {})) form.set(name, file, name);
  for (const [name, text] of stated) form.set(name, text);
  return { url: place, options: { method: "POST", body: form } };
}

async function asked(place, options) {
  return checked(await fetch(place, options));
}

async function json(place, options) {
  return (await asked(place, options)).json();
}

/** The answer, or its error as a Failure. */
async function checked(answer) {
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Failure(body.error?.code ?? `http-${answer.status}`, body.error ?? { what: `${answer.status} ${answer.statusText}` });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled());
    const stop = () => {
      clearTimeout(timer);
      reject(cancelled());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A request whose pictures a server reads: of what it does not, what the browser makes of it, as PNG. */
async function sendable(request) {
  const files = Object.entries(request.files ?? {});
  const rest = await Promise.all(files.map(async ([name, blob]) => [name, await readable(blob)]));
  return { ...request, source: await readable(request.source), files: Object.fromEntries(rest) };
}

async function readable(blob) {
  if (READ.includes(blob.type) || !blob.type) return blob;
  const picture = await createImageBitmap(blob).catch(() => null);
  if (!picture) throw new Failure("not-a-picture", { where: blob.name ?? null });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
