/** CIE Lab under D65 as in pixloom.tasks.colorize, in double precision. */

const XYZ = [[0.412453, 0.35758, 0.180423], [0.212671, 0.71516, 0.072169], [0.019334, 0.119193, 0.950227]];
const RGB = inverse(XYZ);
const WHITE = [0.95047, 1.0, 1.08883];
const DELTA = 6 / 29;
const OUTSIDE = 1e-5;
const HALVINGS = 10;

/** Colour channels a and b are divided by this for the network. */
export const AB_SCALE = 110;

const times = (matrix, vector) => matrix.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]);

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const adjugate = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  return adjugate.map((row) => row.map((value) => value / det));
}

/** sRGB in [0, 1] to Lab. */
export function toLab(rgb) {
  const linear = rgb.map((value) => (value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92));
  const [x, y, z] = times(XYZ, linear).map((value, place) => {
    const ratio = value / WHITE[place];
    return ratio > DELTA ** 3 ? Math.cbrt(ratio) : ratio / (3 * DELTA ** 2) + 4 / 29;
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function linearOf([lightness, a, b]) {
  const fy = (lightness + 16) / 116;
  const xyz = [fy + a / 500, fy, fy - b / 200].map((f, place) => WHITE[place] * (f > DELTA ? f ** 3 : 3 * DELTA ** 2 * (f - 4 / 29)));
  return times(RGB, xyz);
}

const fits = (linear) => linear.every((value) => value >= -OUTSIDE && value <= 1 + OUTSIDE);

/** Lab to sRGB in [0, 1]; what sRGB cannot show keeps lightness and hue, and loses chroma until it can. */
export function fromLab([lightness, a, b]) {
  let linear = linearOf([lightness, a, b]);
  if (!fits(linear)) {
    let [low, high] = [0, 1];
    for (let step = 0; step < HALVINGS; step++) {
      const share = (low + high) / 2;
      if (fits(linearOf([lightness, a * share, b * share]))) low = share;
      else high = share;
    }
    linear = linearOf([lightness, a * low, b * low]);
  }
  return linear.map((value) => {
    const inside = Math.min(1, Math.max(0, value));
    return inside > 0.0031308 ? 1.055 * inside ** (1 / 2.4) - 0.055 : inside * 12.92;
  });
}
