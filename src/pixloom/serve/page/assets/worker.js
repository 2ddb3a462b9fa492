/** Translates pictures with ONNX Runtime Web, away from the page, so that it stays quick. Messages: see local.js. */

import { Failure, asFailure } from "./failure.js";
import { accepted, beside, compose, indexed, prepare } from "./steps.js";

let model = null;
let runtime = null;
let session = null;
let device = null;
let home = null;

onmessage = async ({ data: { id, act, ...message } }) => {
  try {
    const answer = act === "open" ? await open(message.model, message.place) : await translate(message.request);
    postMessage({ id, answer });
  } catch (error) {
    const { code, what, where, why, fix } = asFailure(error);
    postMessage({ id, failure: { code, what, where, why, fix } });
  }
};

/** Load runtime and network: WebGPU where the browser has it and the folder too, else WebAssembly with one thread. */
async function open(described, place, { gpu = true } = {}) {
  [model, home] = [described, place];
  const { runtimes, file } = model.onnx;
  const onGpu = gpu && "webgpu" in runtimes && (await hasGpu());
  for (const name of onGpu ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      const module = new URL(runtimes[name], place);
      runtime = await import(module.href);
      runtime.env.wasm.numThreads = 1; // more need cross-origin isolation, which few hosts of static files give
      runtime.env.wasm.wasmPaths = new URL(".", module).href;
      session = await runtime.InferenceSession.create(new URL(file, place).href, { executionProviders: [name] });
      device = name;
      return { device };
    } catch (error) {
      if (name === "wasm") throw new Failure("runtime", { why: error?.message ?? String(error) });
    }
  }
}

async function hasGpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

async function translate({ source, files, parameters }) {
  const picture = accepted(await decode(source), model);
  const given = {};
  for (const [name, file] of Object.entries(files ?? {})) given[name] = await decode(file);
  if (given.mask && (given.mask.width !== picture.width || given.mask.height !== picture.height)) throw new Failure("other-size");
  const { planes, size, full } = prepare(picture, model, { size: parameters.size, ...given });
  const input = new Float32Array(planes.length * full.width * full.height);
  planes.forEach((plane, place) => input.set(plane, place * plane.length));
  const pictures = [];
  let milliseconds = 0;
  for (let number = 0; number < (parameters.samples ?? 1); number++) {
    const wishes = { ...parameters, seed: (parameters.seed ?? 0) + number };
    const started = performance.now();
    const output = await through(input, full, size, wishes);
    milliseconds += performance.now() - started;
    let made = compose(output, size, picture, model, { ...given, parameters: wishes });
    if (parameters.index) made = indexed(made, model.target.classes);
    pictures.push(await encode(made, picture, parameters.keep_alpha ? picture.alpha : null));
  }
  return { pictures, width: picture.width, height: picture.height, milliseconds, notes: [device] };
}

/** The network's output, cropped to the content: planes. */
async function through(input, full, size, parameters) {
  const tensor = ({ type, data, dims }) => new runtime.Tensor(type, data, dims);
  const feeds = { source: new runtime.Tensor("float32", input, [1, model.onnx.inputs.source, full.height, full.width]) };
  for (const [name, made] of Object.entries(beside(model, { parameters, full }))) feeds[name] = tensor(made);
  const results = await computed(feeds);
  const { data, dims } = results[model.onnx.output];
  const [, channels, height, width] = dims;
  return Array.from({ length: channels }, (_, channel) => {
    const plane = new Float32Array(size.width * size.height);
    for (let row = 0; row < size.height; row++) {
      const from = (channel * height + row) * width;
      plane.set(data.subarray(from, from + size.width), row * size.width);
    }
    return plane;
  });
}

/** What the network makes of its inputs; where the graphics processor fails on them, WebAssembly goes on. */
async function computed(feeds) {
  try {
    return await session.run(feeds);
  } catch (error) {
    if (device !== "webgpu") throw new Failure("runtime", { why: error?.message ?? String(error) });
    const given = Object.entries(feeds).map(([name, { type, data, dims }]) => [name, { type, data, dims }]);
    await open(model, home, { gpu: false });
    return session.run(Object.fromEntries(given.map(([name, { type, data, dims }]) => [name, new runtime.Tensor(type, data, dims)])));
  }
}

/** A file's pixels, upright. The canvas multiplies by alpha: where a picture is transparent, its colour is lost. */
async function decode(blob) {
  let image;
  try {
    image = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new Failure("not-a-picture");
  }
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const planes = [0, 1, 2, 3].map((channel) => Uint8Array.from({ length: width * height }, (_, place) => data[4 * place + channel]));
  const alpha = planes.pop();
  return { width, height, planes, alpha: alpha.every((value) => value === 255) ? null : alpha, grey: await isGrey(blob) };
}

/** Whether a PNG has one channel: byte 25 is its colour type, 0 grey and 4 grey with alpha. Such a label map holds ids. */
async function isGrey(blob) {
  const head = new Uint8Array(await blob.slice(0, 26).arrayBuffer());
  return head[1] === 0x50 && head[2] === 0x4e && (head[25] === 0 || head[25] === 4);
}

async function encode(planes, { width, height }, alpha) {
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    for (const channel of [0, 1, 2]) image.data[4 * place + channel] = (planes[channel] ?? planes[0])[place];
    image.data[4 * place + 3] = alpha ? alpha[place] : 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
