/** Painting over a picture before it is translated: the hole to be filled, or hints of colour. */

import { Painter } from "./canvas.js";
import { make } from "./dom.js";

const HINTS = [
  { word: "color.skin", color: [224, 172, 138] },
  { word: "color.red", color: [178, 48, 44] },
  { word: "color.yellow", color: [214, 180, 70] },
  { word: "color.green", color: [70, 120, 60] },
  { word: "color.blue", color: [70, 120, 190] },
  { word: "color.brown", color: [110, 76, 48] },
  { word: "color.grey", color: [128, 128, 128] },
];

/**
 * Ask for a mask or hints in a dialog.
 * @param {Blob} picture to be painted over
 * @param {"mask"|"hints"} kind of what is painted
 * @returns {Promise<Blob|null>} what was painted; null where it was left
 */
export async function mark(picture, kind) {
  const painter = new Painter(kind);
  const brushes = kind === "mask" ? [{ word: "canvas.hole", color: [235, 40, 120] }] : HINTS;
  const upload = make("input", { type: "file", accept: "image/*", class: "visually-hidden", tabindex: "-1", label: `marking.upload-${kind}` });
  const buttons = {
    upload: make("button", { type: "button", class: "button", word: `marking.upload-${kind}`, on: { click: () => upload.click() } }),
    leave: make("button", { type: "button", class: "button", word: "marking.leave" }),
    done: make("button", { type: "button", class: "button primary", word: "marking.done", disabled: true }),
  };
  const title = make("h2", { word: `marking.title-${kind}`, id: "marking-title" });
  const row = make("div", { class: "row end" }, buttons.upload, upload, buttons.leave, buttons.done);
  const dialog = make("dialog", { class: "marking", "aria-labelledby": "marking-title" }, title, make("p", { word: `marking.lead-${kind}` }), painter.element, row);
  document.body.append(dialog);
  try {
    await painter.startOver(picture, brushes);
    painter.addEventListener("stroke", () => (buttons.done.disabled = painter.isEmpty));
    return await asked(dialog, painter, buttons, upload);
  } finally {
    dialog.remove();
  }
}

function asked(dialog, painter, buttons, upload) {
  dialog.showModal();
  painter.stage.focus();
  return new Promise((resolve) => {
    const leave = () => resolve(null);
    dialog.addEventListener("cancel", leave);
    buttons.leave.addEventListener("click", leave);
    upload.addEventListener("change", () => upload.files[0] && resolve(upload.files[0]));
    buttons.done.addEventListener("click", async () => resolve(await painter.picture()));
  });
}
