/** Chance from a seed. What dropout keeps is the same, place by place, as in Python; the noise z has another generator than NumPy's. */

const PRIME = 2 ** 31 - 1;

/** (a b + c) mod PRIME, exactly: in halves of 16 bits no product passes 2^53. */
function mixed(a, b, c) {
  const high = ((a * (b >>> 16)) % PRIME) * 65536;
  return ((high % PRIME) + ((a * (b & 65535)) % PRIME) + c) % PRIME;
}

/**
 * What a layer's dropout multiplies its maps by, 0 or 1 / (1 - p); pixloom.inference.runtimes.draw_kept.
 * @param {{channels: number, probability: number}} layer of the network
 * @param {{seed: number, number: number, height: number, width: number}} place its number counts from 1
 * @returns {Float32Array} channels x height x width
 */
export function drawKept(layer, { seed, number, height, width }) {
  const kept = 1 / (1 - layer.probability);
  const threshold = Math.trunc(layer.probability * PRIME);
  const start = ((seed + number * 1000003) % PRIME) + 1;
  const stepped = (value, place) => {
    for (const step of [40503, 69621]) value = mixed(value, value, place * 16807 + step);
    return value;
  };
  const made = new Float32Array(layer.channels * height * width);
  let at = 0;
  for (let channel = 0; channel < layer.channels; channel++) {
    const ofChannel = stepped(start, channel);
    for (let row = 0; row < height; row++) {
      const ofRow = stepped(ofChannel, row);
      for (let column = 0; column < width; column++) {
        const last = mixed(stepped(ofRow, column), 48271, 11);
        made[at++] = mixed(last, last, 1) >= threshold ? kept : 0;
      }
    }
  }
  return made;
}

/**
 * Numbers from N(0, 1): Box and Muller on SplitMix-like 32-bit steps.
 * @param {number} seed whole, 0 or more
 * @param {number} count of numbers
 */
export function drawNoise(seed, count) {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  const uniform = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let value = state;
    value = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
    return (((value ^ (value >>> 15)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}
