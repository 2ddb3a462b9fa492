/** Small helpers for elements. Every text comes from the words, so that a change of language reaches what is there already. */

import { say } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element.
 * @param {string} tag its name
 * @param {object} [attributes] attributes; `word`, `label`, `placeholder` are keys of words (or [key, values]), `on` listeners by event
 * @param {...(Node|string|null)} children what it holds
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * An element of SVG.
 * @param {string} tag its name
 * @param {object} [attributes] its attributes
 * @param {...Node} children what it holds
 * @returns {SVGElement}
 */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function dress(element, { word, label, placeholder, on, data, ...attributes }) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  Object.assign(element.dataset, data ?? {});
  if (word) say(element, ...[word].flat());
  if (label) say(element, ...[label].flat(), "label");
  if (placeholder) say(element, ...[placeholder].flat(), "placeholder");
  for (const [event, listener] of Object.entries(on ?? {})) element.addEventListener(event, listener);
}

const ICONS = {
  pen: "M4 20l4-1 11-11-3-3L5 16zM14 7l3 3",
  line: "M5 19L19 5M5 19h.01M19 5h.01",
  bucket: "M5 12l7-7 7 7-7 7zM4 12h15M20.5 16c1 1.6 1.5 2.400 1.5 3a1.5 1.5 0 0 1-3 0c0-.6.5-1.400 1.5-3z",
  box: "M5 6h14v12H5z",
  eraser: "M8 19l-4-4 9-9 6 6-7 7zM8 19h12M9 10l6 6",
  undo: "M9 7L4 12l5 5M4 12h10a5 5 0 0 1 5 5v1",
  redo: "M15 7l5 5-5 5M20 12H10a5 5 0 0 0-5 5v1",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  retry: "M19 12a7 7 0 1 1-2-5M19 4v4h-4",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M19 5l-1.5 1.5M6.5 17.5L5 19",
  moon: "M20 14A8 8 0 1 1 10 4a6.5 6.5 0 0 0 10 10z",
  upload: "M12 16V5M7 9l5-5 5 5M5 20h14",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
  eye: "M3 12s3.5-6 9-6 9 6 9 6-3.5 6-9 6-9-6-9-6zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
};

/**
 * A drawing that means nothing to a screen reader; its button has a label.
 * @param {keyof ICONS} name of it
 * @returns {SVGElement}
 */
export function icon(name) {
  return draw("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" }, draw("path", { d: ICONS[name] }));
}

/**
 * A button that is only an icon, with a label.
 * @param {string} name of the icon
 * @param {string|Array} label key of the words
 * @param {function} act what it does
 * @param {object} [more] further attributes
 */
export function iconButton(name, label, act, more = {}) {
  return make("button", { type: "button", class: "icon-button", label, on: { click: act }, ...more }, icon(name));
}

/** A number that no other element of the page has in its id. */
export const unique = (() => {
  let count = 0;
  return (name) => `${name}-${++count}`;
})();

/**
 * A field: a label and what it labels.
 * @param {string|Array} word of the label
 * @param {HTMLElement} control with or without an id
 * @param {...Node} more put after the control
 */
export function field(word, control, ...more) {
  control.id ||= unique("field");
  return make("div", { class: "field" }, make("label", { for: control.id, word }), make("div", { class: "field-row" }, control, ...more));
}

/**
 * Say something to screen readers.
 * @param {string} key of the words
 * @param {object} [values] put into it
 * @param {boolean} [urgent] whether it interrupts
 */
export function announce(key, values = {}, urgent = false) {
  say(document.getElementById(urgent ? "alert" : "status"), key, values);
}

/**
 * Hand a file to the person.
 * @param {Blob} blob its content
 * @param {string} name of it
 */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** What was kept on this machine under a name, or null where nothing may be kept. */
export function recall(name) {
  try {
    return localStorage.getItem(`pixloom.${name}`);
  } catch {
    return null;
  }
}

/** Keep a text on this machine, where that is allowed. */
export function keep(name, text) {
  try {
    localStorage.setItem(`pixloom.${name}`, text);
  } catch {
    // a private window: the choice lasts as long as the page
  }
}
