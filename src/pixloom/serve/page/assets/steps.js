/**
 * From pictures to a network's input and from its output to a picture: what pixloom.tasks and Translator do, as data of `model.json` says.
 * A picture is { width, height, planes: Uint8Array[], alpha: Uint8Array|null, grey: boolean }, `grey` where its file has one channel.
 */

import { Failure } from "./failure.js";
import { AB_SCALE, fromLab, toLab } from "./lab.js";
import { drawKept, drawNoise } from "./noise.js";
import { bicubic, nearest, padded, round, workingSize } from "./resample.js";

const NEAR_ENOUGH = 48; // labels.TOLERANCE
const STRAY = 0.05; // labels.STRAY of JPEGs: what a file is a browser does not tell once it is decoded
const MOST_PIXELS = 4e6; // in one go; more takes gigabytes
const WIDE = 16;

/** The picture in the channels that the model's sources have. */
export function accepted(picture, model) {
  const { encode, inputs } = model.onnx;
  if (encode.kind === "planes" || encode.kind === "lightness") return picture.grey ? { ...picture, planes: picture.planes.slice(0, 1) } : picture;
  const channels = inputs.source - (encode.kind === "hole" ? 1 : 0);
  return channels === 1 ? { ...picture, planes: [luma(picture)] } : picture;
}

/** ITU-R BT.601. */
function luma({ planes, grey }) {
  if (grey) return planes[0];
  const [red, green, blue] = planes;
  return red.map((value, place) => round(0.299 * value + 0.587 * green[place] + 0.114 * blue[place]));
}

/**
 * What the network is to see.
 * @param {object} picture in its channels
 * @param {object} model of model.json
 * @param {{size: string|number, mask: object, hints: object}} wishes the size, and pictures beside it
 * @returns {{planes: Float32Array[], size: object, full: object}} planes at the padded size, the size of the content, the padded size
 */
export function prepare(picture, model, { size = "trained", mask, hints }) {
  const rule = model.onnx.size;
  const multiple = Math.max(rule.multiple, rule.least);
  const side = size === "trained" ? rule.short_side : Number(size);
  const content = size === "native" ? sizeOf(picture) : workingSize(picture, { side, multiple, squares: rule.most_squares });
  if (content.width * content.height > MOST_PIXELS) throw new Failure("too-many-pixels");
  const isLabels = model.source.kind === "labels";
  const small = picture.planes.map((plane) => (isLabels ? nearest : bicubic)(plane, picture, content));
  const planes = encoded(small, content, model, { mask, hints });
  const up = (value) => Math.max(rule.least, Math.ceil(value / rule.multiple) * rule.multiple);
  const full = { width: up(content.width), height: up(content.height) };
  return { planes: planes.map((plane) => padded(plane, content, full)), size: content, full };
}

export const sizeOf = ({ width, height }) => ({ width, height });

const half = Math.fround(127.5);
const toModel = (plane) => Float32Array.from(plane, (value) => Math.fround(Math.fround(value / half) - 1));
const toByte = (value) => Math.min(255, Math.max(0, round((value + 1) * 127.5)));

function encoded(planes, size, model, { mask, hints }) {
  const { kind } = model.onnx.encode;
  if (kind === "planes") return classPlanes(planes, model.source.classes);
  if (kind === "lightness") return lightness(planes, size, model.onnx.encode.hints, hints);
  const values = planes.map(toModel);
  if (kind !== "hole") return values;
  const hole = holeOf(mask, size);
  return [...values.map((plane) => plane.map((value, place) => (hole[place] ? 0 : value))), Float32Array.from(hole, (there) => (there ? 1 : -1))];
}

/** Where a mask is white, at a size. */
function holeOf(mask, size) {
  if (!mask) throw new Failure("no-mask");
  return nearest(luma(mask), mask, size).map((value) => (value > 127 ? 1 : 0));
}

/** One plane per class, 1 where it is and else -1, and one for what is of none. */
function classPlanes(planes, classes) {
  const find = planes.length === 1 ? finderByValue(classes) : finderByColor(classes);
  const ids = Int16Array.from(planes[0], (value, place) => find(planes.length === 1 ? value : (value << 16) | (planes[1][place] << 8) | planes[2][place]));
  const stray = ids.reduce((count, id) => count + (id < 0), 0);
  if (stray > STRAY * ids.length) throw new Failure("not-a-label-map", { why: classes.map(({ name }) => name).join(", ") });
  return [...classes.keys(), -1].map((number) => Float32Array.from(ids, (id) => (id === number ? 1 : -1)));
}

function finderByValue(classes) {
  const values = classes.map(({ id }) => id);
  const sorted = values.slice().sort((a, b) => a - b);
  const gap = Math.min(...sorted.slice(1).map((value, place) => value - sorted[place]));
  const reach = values.length > 1 && gap >= WIDE ? Math.floor(gap / 2) : 0;
  const table = Int16Array.from({ length: 256 }, (_, grey) => {
    const far = values.map((value) => Math.abs(value - grey));
    const least = Math.min(...far);
    return least <= reach ? far.indexOf(least) : -1;
  });
  return (value) => table[value];
}

function finderByColor(classes) {
  const known = new Map();
  return (code) => {
    if (!known.has(code)) {
      const own = [code >> 16, (code >> 8) & 255, code & 255];
      const far = classes.map(({ color }) => color.reduce((sum, value, channel) => sum + (value - own[channel]) ** 2, 0));
      const least = Math.min(...far);
      known.set(code, least <= NEAR_ENOUGH ** 2 ? far.indexOf(least) : -1);
    }
    return known.get(code);
  };
}

const colorAt = (planes, place) => [0, 1, 2].map((channel) => (planes[channel] ?? planes[0])[place] / 255);

function lightness(planes, size, takesHints, hints) {
  const made = [Float32Array.from(planes[0], (_, place) => toLab(colorAt(planes, place))[0] / 50 - 1)];
  if (!takesHints) return made;
  const [a, b] = [new Float32Array(made[0].length), new Float32Array(made[0].length)];
  const there = new Float32Array(made[0].length).fill(-1);
  if (hints) {
    for (const [place, color] of hintsAt(hints, size)) {
      const lab = toLab(color.map((value) => value / 255));
      [a[place], b[place], there[place]] = [lab[1] / AB_SCALE, lab[2] / AB_SCALE, 1];
    }
  }
  return [made[0], a, b, there];
}

/** Colours by place at a size: the mean of the hints that fall into a pixel, so that no dot is lost; larger, the nearest. */
function hintsAt(hints, size) {
  const found = new Map();
  const opaque = (place) => hints.alpha && hints.alpha[place] > 127.5;
  if (size.width * size.height >= hints.width * hints.height) {
    const alpha = nearest(hints.alpha, hints, size);
    const planes = hints.planes.map((plane) => nearest(plane, hints, size));
    alpha.forEach((value, place) => value > 127.5 && found.set(place, planes.map((plane) => plane[place])));
    return found;
  }
  for (let place = 0; place < hints.width * hints.height; place++) {
    if (!opaque(place)) continue;
    const [x, y] = [place % hints.width, Math.floor(place / hints.width)];
    const at = Math.floor((y * size.height) / hints.height) * size.width + Math.floor((x * size.width) / hints.width);
    const sum = found.get(at) ?? [0, 0, 0, 0];
    found.set(at, [...hints.planes.map((plane, channel) => sum[channel] + plane[place]), sum[3] + 1]);
  }
  for (const [at, [red, green, blue, count]] of found) found.set(at, [red, green, blue].map((value) => round(value / count)));
  return found;
}

/** The tensors that a network takes beside the source: { name: { type, data, dims } }. */
export function beside(model, { parameters, full }) {
  const { inputs } = model.onnx;
  const seed = parameters.seed ?? 0;
  const made = {};
  for (const [kind, shape] of Object.entries(inputs.conditions)) {
    const dims = shape.map((side) => (side === -1 ? full.height : side === -2 ? full.width : side));
    const data = kind === "text" ? new BigInt64Array(size(dims)) : new Float32Array(size(dims));
    if (kind === "label") stateLabel(data, model, parameters);
    if (kind === "attributes") stateAttributes(data, model, parameters);
    made[kind] = { type: kind === "text" ? "int64" : "float32", data, dims: [1, ...dims] };
  }
  if (inputs.noise) made.noise = { type: "float32", data: drawNoise(seed, inputs.noise), dims: [1, inputs.noise] };
  for (const [place, layer] of inputs.kept.entries()) {
    const [height, width] = [full.height / layer.stride, full.width / layer.stride];
    const data = drawKept(layer, { seed, number: place + 1, height, width });
    made[`kept_${place + 1}`] = { type: "float32", data, dims: [1, layer.channels, height, width] };
  }
  return made;
}

const size = (dims) => dims.reduce((product, side) => product * side, 1);

function stateLabel(data, model, { label }) {
  const wanted = label ?? model.label?.default;
  if (wanted) data[model.label.names.indexOf(wanted)] = 1;
}

/** Numbers scaled to [-1, 1], and after them 1 for each that is stated; what a stated one excludes is at its lowest. */
function stateAttributes(data, model, { attributes = {} }) {
  const rows = model.attributes;
  for (const [place, { name, low, high, exclusive }] of rows.entries()) {
    if (!(name in attributes)) continue;
    data[place] = (2 * (attributes[name] - low)) / (high - low) - 1;
    data[rows.length + place] = 1;
    if (exclusive === null || data[place] <= 0) continue;
    rows.forEach((rival, other) => {
      if (rival.exclusive === exclusive && !(rival.name in attributes)) [data[other], data[rows.length + other]] = [-1, 1];
    });
  }
}

/**
 * The translation of a picture's size.
 * @param {Float32Array[]} output planes of the content's size, in [-1, 1]
 * @param {object} content their size
 * @param {object} picture that was translated
 * @param {object} model of model.json
 * @param {object} given `mask`, and `parameters` with strength
 * @returns {Uint8Array[]} one plane or three
 */
export function compose(output, content, picture, model, { mask, parameters }) {
  const { kind, keep_colour: kept } = model.onnx.compose;
  if (kind === "classes") return ofClasses(output, content, picture, model.target.classes);
  if (kind === "lab") return ofLab(output, content, picture);
  let planes = output.map((plane) => bicubic(Uint8Array.from(plane, toByte), content, picture));
  if (kind === "hole") {
    const hole = holeOf(mask, sizeOf(picture));
    planes = planes.map((plane, channel) => plane.map((value, place) => (hole[place] ? value : picture.planes[channel][place])));
  }
  if (kept) planes = withColour(planes, picture, kept);
  const strength = parameters.strength ?? 1;
  return strength === 1 ? planes : planes.map((plane, channel) => plane.map((value, place) => mixedByte(picture.planes[channel][place], value, strength)));
}

/** x + s (y - x), clamped as values in [-1, 1] are. */
const mixedByte = (source, made, strength) => Math.min(255, Math.max(0, round(source + strength * (made - source))));

/** The colour of the class with the largest share; shares, not labels, are enlarged. */
function ofClasses(output, content, picture, classes) {
  const same = content.width === picture.width && content.height === picture.height;
  const shares = same ? output : output.map((plane) => bicubic(plane.map((value) => value / 2 + 0.5), content, picture).map((value) => Math.min(1, Math.max(0, value))));
  const planes = [0, 1, 2].map(() => new Uint8Array(picture.width * picture.height));
  for (let place = 0; place < planes[0].length; place++) {
    let best = 0;
    for (let number = 1; number < shares.length; number++) if (shares[number][place] > shares[best][place]) best = number;
    for (const channel of [0, 1, 2]) planes[channel][place] = classes[best].color[channel];
  }
  return planes;
}

function ofLab(output, content, picture) {
  const colour = output.map((plane) => bicubic(plane.map((value) => value / 2 + 0.5), content, picture).map((value) => Math.min(1, Math.max(0, value)) * 2 - 1));
  return painted(picture, (place) => {
    const [own] = toLab(colorAt(picture.planes, place));
    return [own, colour[0][place] * AB_SCALE, colour[1][place] * AB_SCALE];
  });
}

/** Of Lab the translation's lightness, and colour between both. */
function withColour(planes, picture, kept) {
  return painted(picture, (place) => {
    const [ours, own] = [toLab(colorAt(planes, place)), toLab(colorAt(picture.planes, place))];
    return [ours[0], ours[1] + kept * (own[1] - ours[1]), ours[2] + kept * (own[2] - ours[2])];
  });
}

function painted(picture, labAt) {
  const planes = [0, 1, 2].map(() => new Uint8Array(picture.width * picture.height));
  for (let place = 0; place < planes[0].length; place++) {
    fromLab(labAt(place)).forEach((value, channel) => (planes[channel][place] = round(value * 255)));
  }
  return planes;
}

/** Ids of classes as one grey plane, from a colour label map of the model's. */
export function indexed(planes, classes) {
  const find = finderByColor(classes);
  const grey = planes[0].map((value, place) => classes[Math.max(0, find((value << 16) | (planes[1][place] << 8) | planes[2][place]))].id);
  return [grey, grey, grey];
}
