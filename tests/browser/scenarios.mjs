/** What people do with the page, by name. Each gets the page's address and a folder for pictures, and returns numbers. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { axe, done, download, ensure, file, give, open, picture } from "./browser.mjs";

const state = (page, name) => page.waitForSelector(`.card[data-state="${name}"]`);
const count = (page, what) => page.locator(what).count();
const api = async (url, path) => fetch(new URL(path, url));

/** End a scenario: nothing may have complained, and nothing may have gone elsewhere. */
async function end({ browser, problems }, result = {}) {
  await browser.close();
  ensure(!problems.length, problems.join("\n"));
  return result;
}

/** A change of language reaches what is shown later; what is no picture is named; what the server does not read is converted. */
export async function strangers({ url }) {
  const at = await open(url);
  const { page } = at;
  await page.selectOption("#language", "zh");
  await page.waitForFunction(() => document.documentElement.lang === "zh-CN");
  const bmp = Buffer.alloc(58); // 1 x 1, 24 bits
  bmp.write("BM");
  [[2, 58], [10, 54], [14, 40], [18, 1], [22, 1], [34, 4]].forEach(([place, value]) => bmp.writeUInt32LE(value, place));
  bmp.writeUInt16LE(1, 26);
  bmp.writeUInt16LE(24, 28);
  await give(page, { name: "text.txt", mimeType: "text/plain", buffer: Buffer.from("hello") }, { name: "dot.bmp", mimeType: "image/bmp", buffer: bmp });
  await done(page, 1);
  const left = await page.locator(".translate-view .hint", { hasText: "text.txt" }).count();
  ensure(left === 1, "what is left out is named");
  const bar = await page.locator(".compare .segments").innerText();
  ensure(/并排/.test(bar), `the bar is ${bar}`);
  return end(at);
}

/** Many at once, comparing, downloads, history, errors. */
export async function translate({ url, shots }) {
  const at = await open(url);
  const { page } = at;
  await page.selectOption("#model", "photos");
  await give(page, file("one.png"), file("two.png", picture(60, 60)), file("bad.png", picture(13, 13)));
  await done(page, 2);
  await state(page, "failed");
  const failure = await page.locator(".card .failure").innerText();
  ensure(/cannot be translated/.test(failure) && /13 rows/.test(failure) && /give another/.test(failure), `the failure is ${failure}`);
  const posts = async () => (await (await api(url, "test/posts")).json()).count;
  const before = await posts();
  await page.locator('.card[data-state="failed"] [data-act="retry"]').click();
  while ((await posts()) === before) await page.waitForTimeout(50);
  await state(page, "failed");
  await page.locator(".card-open", { hasText: "one" }).click();
  const compare = page.locator(".compare");
  await compare.locator('input[type="range"]').fill("20");
  ensure((await page.evaluate(() => document.querySelector(".stage").style.getPropertyValue("--cut"))) === "20%", "the slider cuts");
  for (const name of ["Side by side", "Peek", "Slider"]) await compare.getByText(name, { exact: true }).click();
  await compare.getByText("Peek", { exact: true }).click();
  const hold = page.getByRole("button", { name: "Hold to see the source" });
  await hold.dispatchEvent("pointerdown");
  ensure(await page.locator(".compare.held").isVisible(), "peek shows the source");
  await hold.dispatchEvent("pointerup");
  ensure(!(await page.locator(".compare.held").count()), "peek ends");
  await page.getByRole("button", { name: "Zoom in" }).click();
  const scales = await page.evaluate(() => [...document.querySelectorAll(".pane img")].map((image) => getComputedStyle(image).transform));
  ensure(scales[0] === scales[1] && scales[0] !== "matrix(1, 0, 0, 1, 0, 0)", `zoom is locked: ${scales}`);
  const stage = await page.locator(".stage").boundingBox();
  await page.mouse.move(stage.x + 100, stage.y + 100);
  await page.mouse.wheel(0, -200);
  await page.mouse.down();
  await page.mouse.move(stage.x + 140, stage.y + 130, { steps: 3 });
  await page.mouse.up();
  const moved = await page.evaluate(() => [...document.querySelectorAll(".pane img")].map((image) => getComputedStyle(image).transform));
  ensure(moved[0] === moved[1] && moved[0] !== scales[0], "pan is locked");
  await page.getByRole("button", { name: "Show the whole picture" }).click();
  const one = await download(page, () => page.locator('.viewer [data-act="save"]').click());
  ensure(one.name === "one-photos.png" && one.bytes[1] === 0x50, `downloaded ${one.name}`);
  const all = await download(page, () => page.locator('[data-act="download-all"]').click());
  ensure(all.name === "pixloom.zip" && all.bytes.readUInt32LE(0) === 0x04034b50, "a zip");
  await page.screenshot({ path: join(shots, "translate.png"), fullPage: true });
  await page.locator('[data-act="clear-all"]').click();
  ensure((await count(page, ".card")) === 0, "cleared");
  return end(at, { zip: all.bytes.toString("base64") });
}

/** Settings: those that the model offers, sent as they are, and brought back from the history. */
export async function settings({ url }) {
  const at = await open(url);
  const { page } = at;
  await page.selectOption("#model", "photos");
  for (const name of ["Direction", "Strength", "Seed", "Answers", "Working size"]) ensure(await page.getByLabel(name, { exact: true }).isVisible(), `${name} is offered`);
  await page.getByLabel("Strength").fill("0.5");
  await page.getByLabel("Seed", { exact: true }).fill("7");
  await page.getByLabel("Answers", { exact: true }).fill("3");
  await page.getByLabel("Direction").selectOption("back");
  await page.getByLabel("Working size").selectOption("own");
  await page.getByLabel("Short side in pixels").fill("96");
  await give(page, file("set.png"));
  await done(page, 1);
  ensure((await count(page, ".answer")) === 3, "three answers");
  await page.locator(".answer").nth(2).click();
  await page.getByRole("button", { name: "Another seed" }).click();
  ensure((await page.getByLabel("Seed", { exact: true }).inputValue()) !== "7", "the dice rolls");
  await page.selectOption("#model", "faces");
  ensure(!(await count(page, ".controls label:text-is('Strength')")), "faces have no strength");
  await page.getByLabel("Becomes").selectOption("dog");
  await page.getByLabel("blond hair", { exact: true }).first().check();
  await page.getByLabel("black hair", { exact: true }).first().check();
  ensure(!(await page.getByLabel("blond hair", { exact: true }).first().isChecked()), "one of a group only");
  await give(page, file("face.png"));
  await done(page, 2);
  await page.locator(".card-open", { hasText: "set" }).click();
  await page.locator(".about summary").click();
  ensure(/0\.5/.test(await page.locator(".about").innerText()), "the settings are shown");
  await page.locator('[data-act="restore"]').click();
  ensure((await page.inputValue("#model")) === "photos" && (await page.getByLabel("Seed", { exact: true }).inputValue()) === "7", "brought back");
  await page.selectOption("#model", "beside");
  await page.getByLabel("Description").fill("a red door");
  for (const name of ["Reference picture", "Label map beside it", "Picture beside it"]) await page.locator(`.controls input[type=file][aria-label="${name}"]`).setInputFiles(file("x.png"));
  await give(page, file("beside.png"));
  await done(page, 3);
  await page.locator("details:has(.card-text) summary").click();
  await page.waitForSelector(".card-text h4");
  return end(at);
}

/** A busy server, cancelling, pasting, dropping. */
export async function patience({ url }) {
  const at = await open(url);
  const { page } = at;
  await page.selectOption("#model", "photos");
  await api(url, "test/busy?count=2");
  await give(page, file("patient.png"));
  await state(page, "busy");
  ensure(/busy; trying again in 1 s/.test(await page.locator(".card .state").innerText()), "says that it waits");
  await done(page, 1);
  await give(page, file("slow.png", picture(14, 14)), file("slower.png", picture(14, 14)), file("third.png", picture(14, 14)));
  await state(page, "running");
  ensure((await count(page, '.card[data-state="waiting"]')) === 1, "two at once, the third waits");
  await page.locator('.card[data-state="running"] [data-act="cancel"]').first().click();
  await state(page, "cancelled");
  await page.locator('[data-act="cancel-all"]').click();
  ensure((await count(page, '.card[data-state="cancelled"]')) === 3, "all cancelled");
  const bytes = [...picture(40, 40)];
  const event = async (kind, holder) => page.evaluate(([name, where, data]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(data)], `${name}.png`, { type: "image/png" }));
    const init = { bubbles: true, cancelable: true, [where]: transfer };
    dispatchEvent(name === "paste" ? new ClipboardEvent(name, init) : new DragEvent(name, init));
  }, [kind, holder, bytes]);
  await event("paste", "clipboardData");
  await done(page, 2);
  await event("drop", "dataTransfer");
  await done(page, 3);
  const folder = mkdtempSync(join(tmpdir(), "pixloom-"));
  for (const name of ["a.png", "b.png"]) writeFileSync(join(folder, name), picture(20, 20));
  await page.setInputFiles("#pick-folder", folder);
  await done(page, 5);
  rmSync(folder, { recursive: true });
  await page.setInputFiles("#pick-files", { name: "text.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  ensure(/no picture/.test(await page.locator(".translate-view > div .failure").innerText()), "says that there is no picture");
  await page.locator('.card [data-act="remove"]').first().click();
  return end(at);
}

/** Painting classes by pointer: tools, undo, underlay, upload, live results. */
export async function paint({ url, shots }) {
  const at = await open(url, { hash: "#paint" });
  const { page } = at;
  const box = await page.locator(".easel").boundingBox();
  const to = (x, y) => [box.x + x * box.width, box.y + y * box.height];
  const stroke = async (from, until) => {
    await page.mouse.move(...to(...from));
    await page.mouse.down();
    await page.mouse.move(...to(...until), { steps: 6 });
    await page.mouse.up();
  };
  const tool = (name) => page.locator(".painter .segments").getByText(name, { exact: true }).click();
  const brush = (name) => page.locator(".brush label", { hasText: name }).click();
  const pixel = (x, y) => page.evaluate(([a, b]) => {
    const canvas = document.querySelector(".paint");
    return [...canvas.getContext("2d").getImageData(Math.floor(a * canvas.width), Math.floor(b * canvas.height), 1, 1).data].slice(0, 3).join();
  }, [x, y]);
  const colors = () => page.evaluate(() => {
    const canvas = document.querySelector(".paint");
    return new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
  });
  const result = async () => {
    await page.waitForFunction(() => document.querySelector(".paint-view").dataset.milliseconds);
    const taken = Number(await page.evaluate(() => document.querySelector(".paint-view").dataset.milliseconds));
    await page.evaluate(() => delete document.querySelector(".paint-view").dataset.milliseconds);
    return taken;
  };
  const times = [];
  await brush("road");
  await stroke([0, 0.7], [1, 0.72]);
  times.push(await result());
  await tool("Bucket");
  await page.mouse.click(...to(0.5, 0.9));
  times.push(await result());
  ensure((await pixel(0.5, 0.95)) === "90,90,100", `the bucket fills: ${await pixel(0.5, 0.95)}`);
  await brush("building");
  await tool("Box");
  await stroke([0.1, 0.3], [0.35, 0.66]);
  times.push(await result());
  await brush("tree");
  await tool("Line");
  await stroke([0.6, 0.3], [0.6, 0.65]);
  times.push(await result());
  await tool("Pen");
  await page.getByLabel("Size", { exact: true }).fill("40");
  await stroke([0.75, 0.4], [0.8, 0.5]);
  times.push(await result());
  ensure((await colors()) === 4, `only colours of classes: ${await colors()}`);
  await page.screenshot({ path: join(shots, "paint.png"), fullPage: true });
  await tool("Eraser");
  await stroke([0.2, 0.4], [0.25, 0.5]);
  ensure((await pixel(0.2, 0.4)) === "110,170,230", "the eraser gives the background back");
  await page.getByRole("button", { name: "Undo" }).click();
  ensure((await pixel(0.2, 0.4)) === "150,110,90", "undone");
  await page.getByRole("button", { name: "Redo" }).click();
  ensure((await pixel(0.2, 0.4)) === "110,170,230", "redone");
  await result();
  await page.getByRole("button", { name: "Keep in this session" }).click();
  await page.locator('.paint-bar input[aria-label="Picture below"]').setInputFiles(file("under.png"));
  await page.getByLabel("Show the picture below").fill("80");
  ensure((await page.evaluate(() => document.querySelector(".paint").style.opacity)) === "0.2", "the picture below shines through");
  await page.locator('.paint-bar input[aria-label="Start from a picture"]').setInputFiles(file("map.png", picture(32, 32, () => [62, 128, 73])));
  await page.waitForFunction(() => document.querySelector(".paint").getContext("2d").getImageData(9, 9, 1, 1).data[0] === 60);
  await page.getByRole("button", { name: "Clear the canvas" }).click();
  ensure((await colors()) === 1, "cleared");
  await page.getByLabel("Shape").selectOption("wide");
  ensure((await page.evaluate(() => document.querySelector(".paint").width)) === 384, "a wide canvas");
  await page.selectOption("#model", "photos");
  await page.getByLabel("Background").selectOption("black");
  await page.getByLabel("Any colour").fill("#12ab34");
  await page.locator(".easel").click({ position: { x: 40, y: 40 } });
  await result();
  await page.getByRole("link", { name: "Translate" }).click();
  ensure((await count(page, ".card")) === 1, "what was kept is in the session");
  return end(at, { milliseconds: times });
}

/** A mask over a picture, and hints of colour, in a dialog. */
export async function mark({ url, shots }) {
  const at = await open(url);
  const { page } = at;
  const stroke = async () => {
    const box = await page.locator("dialog .easel").boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.4);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.5, { steps: 4 });
    await page.mouse.up();
  };
  await page.selectOption("#model", "holes");
  await give(page, file("hole.png", picture(90, 60)));
  await page.waitForSelector("dialog[open]");
  await stroke();
  await page.screenshot({ path: join(shots, "mask.png") });
  await page.getByRole("button", { name: "Translate", exact: true }).click();
  await done(page, 1);
  await page.selectOption("#model", "colours");
  await give(page, file("grey.png", picture(70, 50, (x) => [3 * x, 3 * x, 3 * x])));
  await done(page, 2);
  await page.getByRole("button", { name: "Add hints of colour" }).click();
  await page.waitForSelector("dialog[open]");
  await page.locator("dialog .brush label", { hasText: "red" }).click();
  await stroke();
  await page.screenshot({ path: join(shots, "hints.png") });
  const problems = await axe(page, "hints");
  await page.evaluate(() => (document.documentElement.dataset.theme = "dark"));
  problems.push(...(await axe(page, "hints in the dark")));
  ensure(!problems.length, problems.join("\n"));
  await page.getByRole("button", { name: "Translate", exact: true }).click();
  await done(page, 3);
  await page.getByRole("button", { name: "Add hints of colour" }).click();
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  return end(at);
}

/** The training view: state, curves with values, table, timeline, alarms, another run, live. */
export async function training({ url, shots }) {
  const at = await open(url, { hash: "#training" });
  const { page } = at;
  await page.waitForSelector(".multiples .curves-box");
  const head = await page.locator(".run-head").innerText();
  ensure(/of 6,000 images/.test(head) && /25 images\/s/.test(head) && /12:34 left/.test(head), `the head says ${head}`);
  ensure(/critic is too far ahead/.test(await page.locator(".alarms").innerText()) && (await count(page, ".alarm img")) === 1, "the alarm");
  const losses = page.locator(".curves-box", { has: page.getByRole("heading", { name: "Losses" }) });
  await losses.scrollIntoViewIfNeeded();
  const frame = await losses.locator(".curves-frame").boundingBox();
  await page.mouse.move(frame.x + frame.width / 2, frame.y + frame.height / 2);
  ensure(/generator: adversarial/.test(await losses.locator(".values").innerText()), "values under the pointer");
  await losses.getByLabel("generator: pixel").uncheck();
  await page.mouse.move(frame.x + frame.width / 3, frame.y + frame.height / 2);
  ensure(!/generator: pixel/.test(await losses.locator(".values").innerText()), "a curve can be left out");
  await losses.locator("summary").click();
  ensure((await losses.locator("tbody tr").count()) > 10, "the table");
  await page.getByLabel("Time of the preview").fill("0");
  ensure(/after 100 images/.test(await page.locator(".timeline").innerText()), "scrubbed");
  await page.getByRole("button", { name: "Play" }).click();
  await page.waitForFunction(() => !/after 100 images/.test(document.querySelector(".timeline").innerText));
  const images = () => page.evaluate(() => document.querySelector(".run-head progress").value);
  const before = await images();
  await page.waitForFunction((former) => document.querySelector(".run-head progress").value > former, before, { timeout: 9000 });
  await page.screenshot({ path: join(shots, "training.png"), fullPage: true });
  await page.locator(".run", { hasText: "done" }).click();
  await page.waitForFunction(() => /finished/.test(document.querySelector(".run-head").innerText));
  ensure((await page.locator(".run-head a").getAttribute("href")) === "api/runs/done/report", "the report");
  return end(at);
}

/** Everything by keyboard alone. */
export async function keyboard({ url }) {
  const at = await open(url);
  const { page } = at;
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const reach = async (selector, most = 60) => {
    for (let step = 0; step < most; step++) {
      if (await page.evaluate((wanted) => Boolean(document.activeElement?.matches(wanted)), selector)) return;
      await press("Tab");
    }
    throw new Error(`${selector} cannot be reached by Tab`);
  };
  await press("Tab");
  ensure(await page.evaluate(() => document.activeElement.className === "skip"), "the first stop skips to the content");
  await reach('[data-view="paint"]');
  await press("Enter");
  await reach(".painter .easel");
  const help = await page.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-describedby")).textContent);
  ensure(/space bar/.test(help), "the canvas says its keys");
  await press("2", "b", " ");
  for (let step = 0; step < 8; step++) await press("ArrowRight");
  await press(" ");
  await page.waitForFunction(() => document.querySelector(".paint-view").dataset.milliseconds);
  const painted = () => page.evaluate(() => {
    const canvas = document.querySelector(".paint");
    return new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer).filter((value, _, all) => value !== all[0]).length;
  });
  const pen = await painted();
  ensure(pen > 500, `the pen paints by keyboard: ${pen}`);
  ensure(/building/.test(await page.locator(".painter .visually-hidden[aria-live]").innerText()), "the place is said");
  await press("Control+z");
  ensure((await painted()) === 0, "undone");
  await press("Control+Shift+z");
  ensure((await painted()) === pen, "redone");
  await press("3", "l", " ", "ArrowDown", "ArrowDown", "ArrowDown", " ", "g", " ", "r", "]", "[", "Delete");
  ensure((await painted()) === 0, "cleared");
  await press("2", "b", " ", " ");
  await reach(".paint-result .button:not(.primary)");
  await press("Enter");
  await page.evaluate(() => document.activeElement.blur());
  await reach('[data-view="translate"]');
  await press("Enter");
  await reach(".card-open");
  await press("Enter");
  await reach(".stage");
  await press("+", "ArrowLeft", "0");
  await reach('.compare-below input[type="range"]');
  await press("ArrowRight");
  await page.locator('.compare input[value="peek"]').focus();
  await press(" ");
  await reach(".compare-below button");
  await page.keyboard.down(" ");
  ensure((await count(page, ".compare.held")) === 1, "peek by the space bar");
  await page.keyboard.up(" ");
  ensure((await count(page, ".compare.held")) === 0, "and back");
  await page.locator('.compare input[value="slider"]').focus();
  await press(" ");
  ensure((await page.inputValue('.compare-below input[type="range"]')) === "51", "the slider goes by one");
  await reach('.card [data-act="remove"]');
  await press("Enter");
  ensure((await count(page, ".card")) === 0, "removed");
  await page.evaluate(() => document.activeElement.blur());
  await reach('[data-view="training"]');
  await press("Enter");
  await page.waitForSelector(".multiples .curves-box");
  await reach(".curves-frame");
  await press("Home", "ArrowRight");
  ensure(/images/.test(await page.locator(".values:not(:empty)").first().innerText()), "values by arrow keys");
  await reach("#language", 200);
  return end(at);
}

/** Every view in both languages, light and dark, wide and narrow: axe finds nothing serious, nothing sticks out, no word is missing. */
export async function views({ url, shots }) {
  const found = [];
  for (const [scheme, locale, width] of [["light", "en-GB", 1280], ["dark", "zh-CN", 1280], ["light", "zh-CN", 390], ["dark", "en-GB", 390]]) {
    const at = await open(url, { scheme, locale, width, height: width < 500 ? 800 : 900 });
    const { page } = at;
    const name = `${scheme}-${locale.slice(0, 2)}-${width}`;
    const look = async (view) => {
      found.push(...(await axe(page, `${view} ${name}`)));
      const [inner, content] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
      if (content > inner) found.push(`${view} ${name}: ${content} px in ${inner}`);
      const missing = await page.evaluate(() => document.body.innerText.match(/\b(app|nav|controls|state|canvas|paint|training|run|curves|error|compare|gallery|drop|all|model|translate)\.[a-z_-]+/g));
      if (missing) found.push(`${view} ${name}: no words for ${missing}`);
      await page.screenshot({ path: join(shots, `${view}-${name}.png`), fullPage: true });
    };
    await look("empty");
    await page.selectOption("#model", "faces");
    await give(page, file("face.png", picture(120, 90)), file("bad.png", picture(13, 13)));
    await done(page, 1);
    await state(page, "failed");
    await look("translate");
    await page.selectOption("#model", "streets");
    await page.locator('[data-view="paint"]').click();
    await page.locator(".brush label").nth(3).click();
    await page.locator(".easel").click({ position: { x: 90, y: 90 } });
    await page.waitForFunction(() => document.querySelector(".paint-view").dataset.milliseconds);
    await look("paint");
    await page.locator('[data-view="training"]').click();
    await page.waitForSelector(".multiples .curves-box");
    await page.waitForTimeout(300);
    await look("training");
    if (width > 500) {
      await page.selectOption("#language", locale === "zh-CN" ? "en" : "zh");
      await page.waitForFunction((lang) => document.documentElement.lang === lang, locale === "zh-CN" ? "en" : "zh-CN");
      ensure(/Losses|损失/.test(await page.locator("#main").innerText()), "the language changes in place");
      await page.selectOption("#theme", scheme === "dark" ? "light" : "dark");
      found.push(...(await axe(page, `switched ${name}`)));
    }
    await end(at);
  }
  ensure(!found.length, found.join("\n"));
  return {};
}

/** A static folder: the browser computes by itself. Returns its answers to be compared with Python's. */
export async function web({ url, shots }) {
  const at = await open(url);
  const { page, requests } = at;
  ensure((await page.evaluate(() => document.body.dataset.backend)) === "local", "no server");
  ensure((await count(page, '[data-view="training"]')) === 0, "no trainings");
  const map = (width, height) => picture(width, height, (x, y) => ((x - width / 2) ** 2 + (y - height / 3) ** 2 < (width / 5) ** 2 || x < width / 8 ? [255, 255, 255] : [0, 0, 0]));
  const smooth = picture(150, 110, (x, y) => [127 + 120 * Math.sin(x / 9), 127 + 120 * Math.cos(y / 7), 255 - x].map(Math.round));
  const sources = { map: map(64, 64), large: map(150, 110), smooth };
  const answers = {};
  for (const [place, [name, bytes]] of Object.entries(sources).entries()) {
    await give(page, file(`${name}.png`, bytes));
    await done(page, place + 1);
    answers[name] = { source: bytes.toString("base64"), made: (await download(page, () => page.locator('.viewer [data-act="save"]').click())).bytes.toString("base64") };
  }
  const model = await page.locator(".card .state").first().innerText();
  await page.locator('[data-view="paint"]').click();
  const box = await page.locator(".easel").boundingBox();
  await page.locator(".brush label").nth(1).click();
  const times = [];
  for (const [x, y] of [[0.3, 0.3], [0.6, 0.6], [0.7, 0.25], [0.2, 0.7], [0.45, 0.8]]) {
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
    await page.mouse.down();
    await page.mouse.move(box.x + (x + 0.08) * box.width, box.y + (y + 0.04) * box.height, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(() => document.querySelector(".paint-view").dataset.milliseconds);
    times.push(Number(await page.evaluate(() => document.querySelector(".paint-view").dataset.milliseconds)));
    await page.evaluate(() => delete document.querySelector(".paint-view").dataset.milliseconds);
  }
  await page.screenshot({ path: join(shots, "web.png"), fullPage: true });
  const found = await axe(page, "web");
  ensure(!found.length, found.join("\n"));
  return end(at, { answers, model, milliseconds: times, requests: requests.filter((one) => !one.startsWith("blob:")).map((one) => new URL(one).pathname) });
}

/** The page's arithmetic on its own, to be compared with Python's. */
export async function arithmetic({ url }) {
  const at = await open(url);
  const result = await at.page.evaluate(async () => {
    const at = (name) => import(new URL(`assets/${name}.js`, document.baseURI).href);
    const [{ bicubic, nearest, padded, workingSize }, { drawKept, drawNoise }, { fromLab, toLab }] = await Promise.all(["resample", "noise", "lab"].map(at));
    const [from, sizes] = [{ width: 37, height: 29 }, [[64, 64], [16, 20], [37, 50], [80, 29]]];
    const plane = Uint8Array.from({ length: 37 * 29 }, (_, place) => (place * 7919 + (place % 11) * 31) & 255);
    const floats = Float32Array.from(plane, (value) => value / 255);
    const resized = sizes.map(([width, height]) => ({ width, height, bytes: [...bicubic(plane, from, { width, height })], floats: [...bicubic(floats, from, { width, height })], nearest: [...nearest(plane, from, { width, height })] }));
    const kept = [...drawKept({ channels: 3, probability: 0.5 }, { seed: 12345, number: 2, height: 5, width: 7 })];
    const noise = drawNoise(7, 20000);
    const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
    const variance = noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length;
    const colors = [[0.1, 0.5, 0.9], [1, 0, 0], [0.2, 0.2, 0.2]];
    const working = [[481, 321], [1000, 1], [50, 50], [333, 100]].map(([width, height]) => workingSize({ width, height }, { side: 128, multiple: 32, squares: 16 }));
    return {
      plane: [...plane], resized, kept, mean, variance, same: drawNoise(7, 3).join() === drawNoise(7, 3).join() && drawNoise(7, 3).join() !== drawNoise(8, 3).join(),
      lab: colors.map(toLab), rgb: [[50, 120, -120], [70, 20, 30]].map(fromLab), padded: [...padded(floats.slice(0, 6), { width: 3, height: 2 }, { width: 5, height: 3 })], working,
    };
  });
  return end(at, result);
}

/** What the browser makes of some pictures with some settings: a list of { source, parameters, files } as base64. */
export async function answers({ url, wishes }) {
  const at = await open(url);
  const made = await at.page.evaluate(async (list) => {
    const { Local } = await import(new URL("assets/local.js", document.baseURI).href);
    const local = new Local(await (await fetch("model.json")).json());
    const blob = (text) => new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });
    const found = [];
    for (const { source, parameters, files } of list) {
      const given = Object.fromEntries(Object.entries(files ?? {}).map(([name, text]) => [name, blob(text)]));
      const answer = await local.run(local.model, { source: blob(source), files: given, parameters }, { report() {} });
      const bytes = new Uint8Array(await answer.pictures.at(-1).arrayBuffer());
      found.push(btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")));
    }
    return found;
  }, wishes);
  return end(at, made);
}
