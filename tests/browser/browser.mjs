/** Helpers of the scenarios: a browser that notes every request and every complaint, pictures to give, axe. */

import { createRequire } from "node:module";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import zlib from "node:zlib";

const need = createRequire(join(process.env.PIXLOOM_NODE_MODULES, "x.js"));
const { chromium } = need("playwright-core");
const AXE = readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export class Trouble extends Error {}

/** Fail unless something holds. */
export function ensure(holds, what) {
  if (!holds) throw new Trouble(what);
}

/** Open the page; `problems` collects what no page of ours may do. */
export async function open(url, { width = 1280, height = 900, scheme = "light", locale = "en-GB", hash = "", reducedMotion = "reduce" } = {}) {
  const browser = await chromium.launch({ executablePath: process.env.PIXLOOM_CHROMIUM, args: FLAGS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale, acceptDownloads: true, bypassCSP: false, reducedMotion });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  const problems = [];
  const requests = [];
  const home = new URL(url).host;
  context.on("request", (request) => {
    requests.push(request.url());
    const { protocol, host } = new URL(request.url());
    if (protocol !== "blob:" && protocol !== "data:" && host !== home) problems.push(`foreign request ${request.url()}`);
  });
  page.on("pageerror", (error) => problems.push(`error ${error.message}`));
  page.on("console", (message) => {
    const expected = /model\.json|429|status of 4/.test(message.text() + (message.location()?.url ?? ""));
    if (message.type() === "error" && !expected) problems.push(`console ${message.text()} ${message.location()?.url}`);
  });
  await page.goto(url + hash);
  await page.waitForSelector("body[data-ready]");
  return { browser, context, page, problems, requests };
}

/** Findings of axe that are serious or critical, in words. */
export async function axe(page, where) {
  // Through the debugger's own world: the policy of the page forbids scripts from elsewhere.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ["violations"] })).violations);
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${where}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.any?.[0]?.message ?? ""}`).join(" | ")}`);
}

/** A PNG of one colour or of a function of place. */
export function picture(width, height, color = (x, y) => [(x * 4) & 255, (y * 4) & 255, 128]) {
  const raw = Buffer.alloc((1 + 3 * width) * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) Buffer.from(color(x, y)).copy(raw, y * (1 + 3 * width) + 1 + 3 * x);
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    const check = Buffer.alloc(4);
    check.writeUInt32BE(crc(body));
    return Buffer.concat([size, body, check]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", zlib.deflateSync(raw)), chunk("IEND", Buffer.alloc(0))]);
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** A file for an input. */
export const file = (name, buffer = picture(48, 40)) => ({ name, mimeType: "image/png", buffer });

/** Give pictures to the page. */
export async function give(page, ...files) {
  await page.setInputFiles("#pick-files", files);
}

/** Wait until so many translations are done. */
export async function done(page, count) {
  await page.waitForFunction((wanted) => document.querySelectorAll('.card[data-state="done"]').length >= wanted, count);
}

/** The bytes of a download that an act starts. */
export async function download(page, act) {
  const [started] = await Promise.all([page.waitForEvent("download"), act()]);
  return { name: started.suggestedFilename(), bytes: readFileSync(await started.path()) };
}
