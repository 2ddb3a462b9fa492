/** The page: finds out who computes, puts the views together, and goes from one to another. */

import { Server } from "./api.js";
import { Choosing } from "./choosing.js";
import { Controls } from "./controls.js";
import { keep, make, recall } from "./dom.js";
import { failureInWords } from "./failing.js";
import { asFailure } from "./failure.js";
import { Jobs } from "./jobs.js";
import { Local } from "./local.js";
import { Paint } from "./paint.js";
import { Training } from "./training.js";
import { Translate } from "./translate.js";
import { LANGUAGES, language, preferred, speak } from "./words.js";

const THEMES = ["auto", "light", "dark"];

/** A page that was exported names the file of its model; any other is a server's. */
async function backend() {
  const model = document.querySelector("meta[name=pixloom-model]")?.content;
  return model ? new Local(await (await fetch(model)).json()) : new Server();
}

function wear(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function switches() {
  const languages = make("select", { label: "switch.language", id: "language" }, ...Object.entries(LANGUAGES).map(([code, name]) => make("option", { value: code, lang: code }, name)));
  languages.value = language();
  languages.addEventListener("change", () => {
    keep("language", languages.value);
    speak(languages.value);
  });
  const themes = make("select", { label: "switch.theme", id: "theme" }, ...THEMES.map((name) => make("option", { value: name, word: `theme.${name}` })));
  themes.value = recall("theme") ?? "auto";
  themes.addEventListener("change", () => {
    keep("theme", themes.value);
    wear(themes.value);
  });
  document.getElementById("switches").append(languages, themes);
}

/** One view at a time, by the address's hash. */
function route(views, side) {
  const nav = document.getElementById("views");
  for (const name of Object.keys(views)) nav.append(make("a", { href: `#${name}`, word: `nav.${name}`, data: { view: name } }));
  const go = () => {
    const wanted = location.hash.slice(1);
    const name = Object.hasOwn(views, wanted) ? wanted : Object.keys(views)[0];
    for (const [other, view] of Object.entries(views)) {
      view.element.hidden = other !== name;
      nav.querySelector(`[data-view=${other}]`).toggleAttribute("data-here", other === name);
      if (other === name) nav.querySelector(`[data-view=${other}]`).setAttribute("aria-current", "page");
      else nav.querySelector(`[data-view=${other}]`).removeAttribute("aria-current");
    }
    side(name);
  };
  addEventListener("hashchange", go);
  go();
}

async function start() {
  wear(recall("theme") ?? "auto");
  const main = document.getElementById("main");
  await speak(recall("language") ?? preferred());
  switches();
  try {
    await furnish(main, await backend());
  } catch (error) {
    document.getElementById("side").hidden = true;
    main.append(failureInWords(asFailure(error)));
  }
  document.body.dataset.ready = "";
}

async function furnish(main, source) {
  const [about, models] = await Promise.all([source.about(), source.models()]);
  document.body.dataset.backend = source.kind;
  const aside = document.getElementById("side");
  const views = {};
  if (models.length) useModels({ main, aside, source, models, views });
  if (source.kind === "server") {
    views.training = new Training(source);
    aside.append(views.training.side);
    main.append(views.training.element);
  }
  const panels = [...aside.children].filter((panel) => panel !== views.training?.side);
  route(views, (name) => {
    if (views.training) {
      views.training.side.hidden = name !== "training";
      views.training.active = name === "training";
    }
    for (const panel of panels) panel.classList.toggle("elsewhere", name === "training");
    if (name === "paint") views.paint.offer(views.paint.wanted());
  });
  const version = about.version ? make("p", {}, `Pixloom ${about.version}`) : make("p", { word: "app.local" });
  document.querySelector(".shell").after(make("footer", { class: "small version" }, version));
}

/** Chooser and controls, and the views that translate. */
function useModels({ main, aside, source, models, views }) {
  const choosing = new Choosing({ backend: source, models });
  const controls = new Controls({ isServer: source.kind === "server" });
  const jobs = new Jobs(source);
  const model = () => choosing.model;
  const onRestore = (job) => {
    choosing.model = job.model;
    controls.restore(job.request);
  };
  views.translate = new Translate({ jobs, controls, model, onRestore });
  views.paint = new Paint({ backend: source, jobs, controls });
  views.paint.wanted = model;
  const isWide = matchMedia("(min-width: 60rem)").matches; // narrow, settings would stand before what they are for
  const settings = make("details", { class: "panel", open: isWide }, make("summary", { word: "controls.title" }), controls.element);
  aside.append(choosing.element, settings);
  main.append(views.translate.element, views.paint.element);
  const offer = () => {
    choosing.show();
    controls.offer(choosing.model);
    settings.hidden = controls.isEmpty;
    views.translate.offer(choosing.model);
    if (!views.paint.element.hidden) views.paint.offer(choosing.model);
  };
  choosing.addEventListener("choose", offer);
  offer();
}

start();
