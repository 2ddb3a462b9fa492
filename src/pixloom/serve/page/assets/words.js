/** The words of the page: one JSON file per language with equal keys. Elements carry their keys, so that a change of language reaches all. */

/** Languages by code, in their own names. */
export const LANGUAGES = { en: "English", zh: "中文" };

const KINDS = { text: "word", label: "wordLabel", placeholder: "wordPlaceholder" };
let words = {};
let current = "en";

/** The code of the language that is spoken. */
export const language = () => current;

/** The language that the browser asks for, of those that there are. */
export function preferred() {
  const wanted = navigator.languages ?? [navigator.language];
  return wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((code) => code in LANGUAGES) ?? "en";
}

/**
 * Speak a language: load its words and say everything on the page in it.
 * @param {string} code of it
 */
export async function speak(code) {
  const answer = await fetch(new URL(`words/${code}.json`, import.meta.url));
  words = await answer.json();
  current = code;
  document.documentElement.lang = code === "zh" ? "zh-CN" : code;
  sayAll(document);
  document.dispatchEvent(new CustomEvent("language"));
}

/**
 * Say everything below an element in the language; for what is not on the page when the language changes.
 * @param {ParentNode} root whose words are said
 */
export function sayAll(root) {
  for (const kind of Object.keys(KINDS)) {
    const name = KINDS[kind].replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const element of root.querySelectorAll(`[data-${name}]`)) renew(element, kind);
  }
}

/**
 * The words of a key.
 * @param {string} key of them
 * @param {object} [values] put in for {names}
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

/** Whether there are words for a key. */
export const known = (key) => key in words;

/**
 * Give an element words that follow the language.
 * @param {Element} element that gets them
 * @param {string} key of them
 * @param {object|string} [values] put into them
 * @param {"text"|"label"|"placeholder"} [kind] what of the element they are
 */
export function say(element, key, values = {}, kind = "text") {
  if (typeof values === "string") [values, kind] = [{}, values];
  element.dataset[KINDS[kind]] = key;
  element.dataset[`${KINDS[kind]}Values`] = JSON.stringify(values);
  renew(element, kind);
}

/**
 * Give an element a text that is nobody's words: a name, a number.
 * @param {Element} element that gets it
 * @param {string} text as it is
 */
export function quote(element, text) {
  delete element.dataset.word;
  element.textContent = text;
}

function renew(element, kind) {
  const values = JSON.parse(element.dataset[`${KINDS[kind]}Values`] ?? "{}");
  const text = t(element.dataset[KINDS[kind]], values);
  if (kind === "text") element.textContent = text;
  else if (kind === "placeholder") element.placeholder = text;
  else if (element.tagName === "IMG") element.alt = text;
  else {
    element.setAttribute("aria-label", text);
    if (element.tagName === "BUTTON") element.title = text;
  }
}

const shown = (value) => (typeof value === "number" ? number(value) : String(value));

/**
 * A number as people of the language write it.
 * @param {number} value of it
 * @param {number} [digits] that count
 */
export function number(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7)) return value.toExponential(2);
  return new Intl.NumberFormat(current, { maximumSignificantDigits: Number.isInteger(value) ? 21 : digits }).format(value);
}

/**
 * A time span such as 1:05 or 2:03:04.
 * @param {number} seconds of it
 */
export function duration(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const kept = parts[0] ? parts : parts.slice(1);
  return kept.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}
