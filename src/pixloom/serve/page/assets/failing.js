/** A failure as people read it: what, where, why, what to do. */

import { make } from "./dom.js";
import { known, say } from "./words.js";

/**
 * The parts of a failure, those that are known; in the page's words where it has some for the code.
 * @param {import("./failure.js").Failure} failure of anything
 * @returns {HTMLElement}
 */
export function failureInWords(failure) {
  const parts = ["what", "where", "why", "fix"].map((part) => {
    const key = `error.${failure.code}.${part}`;
    const own = known(key) ? make("span", { word: [key, { [part]: failure[part] ?? "" }] }) : failure[part] ? make("span", {}, String(failure[part])) : null;
    if (!own) return null;
    if (part === "what") return make("p", { class: "what" }, own);
    const title = make("span", { class: "part" });
    say(title, `error.${part}`);
    return make("p", {}, title, " ", own);
  });
  const shown = parts.filter(Boolean);
  if (!shown.some((part) => part.className === "what")) shown.unshift(make("p", { class: "what", word: "error.unexpected.what" }));
  return make("div", { class: "failure" }, ...shown);
}
