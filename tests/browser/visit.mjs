// A browser on the gateway's page, and what one does there. See walk.mjs for the arguments.
import { chromium } from "playwright-core";
import { statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { faults } from "./faults.mjs";

export const [walk, url, size, colorScheme, out, capture] = process.argv.slice(2);
const LONG = 600_000; // milliseconds, for a model
const PATIENCE = 120_000; // for all else, on a busy machine
const sizes = {
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
  desktop: { viewport: { width: 1280, height: 800 } },
};
export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  timeout: PATIENCE,
});
export const context = await browser.newContext({ ...sizes[size], colorScheme, reducedMotion: "no-preference" });
context.setDefaultTimeout(PATIENCE);
export const tab = await context.newPage();

export const told = { errors: [], elsewhere: [], puts: [], shots: {}, faults: {} };
const host = new URL(url).host,
  others = (process.env.HOSTS || "").split(",");
context.on("console", (message) => {
  const at = message.location().url;
  // Of the report, which is a file on the store's host, the browser itself asks that.
  if (message.type() === "error" && !at.endsWith("/favicon.ico")) told.errors.push(`${message.text()} ${at}`);
});
context.on("weberror", (error) => told.errors.push(String(error.error().stack)));
context.on("request", (request) => {
  const address = new URL(request.url());
  if (/^http/.test(address.protocol) && address.host !== host && !others.includes(address.host))
    told.elsewhere.push(request.url());
});
context.on(
  "requestfinished",
  (request) => request.method() === "PUT" && told.puts.push(request.postDataBuffer()?.length ?? 0),
);

// A picture of the page, and what is wrong with it for some people.
export async function shoot(name, { room = false } = {}) {
  await tab.waitForTimeout(400);
  told.shots[name] = join(out, `${walk}-${size}-${name}.png`);
  if (room) await tab.locator(".room").scrollIntoViewIfNeeded();
  await (room ? tab.locator(".room") : tab).screenshot({ path: told.shots[name] });
  if (!room) told.faults[name] = await tab.evaluate(faults);
}
export const text = (selector) => tab.locator(selector).first().innerText();
export const saying = (selector, words, timeout = LONG) =>
  tab.locator(selector).filter({ hasText: words }).first().waitFor({ timeout });
export const press = (name) =>
  tab.getByRole("button", { name, exact: true }).first()[size === "phone" ? "tap" : "click"]();
export const id = () => tab.url().split("/")[5];

export async function choose() {
  await tab.goto(url.replace(/#.*/, "")); // a key that came along is kept
  if (statSync(capture).isDirectory()) await tab.setInputFiles("[data-choose=folder]", capture);
  else await tab.setInputFiles("[data-choose=files]", capture);
  await tab.locator(".chosen").waitFor();
}
export async function begin(name, { profile = "preview", review = false } = {}) {
  await choose();
  await tab.locator(`[value=${profile}]`).check();
  if (review) await tab.getByLabel("Check the outlines first").check();
  await tab.getByLabel("Name (optional)").fill(name);
  await press("Make the model");
  await tab.locator(".indicators").waitFor();
}
export async function drop() {
  await press("Delete");
  await press("Delete for good");
  await tab.waitForURL(/#\/$/);
}
// How good the network is: `rate`, bytes a second that can be sent, or `offline`; as ever, without either.
const network = context.newCDPSession(tab);
export async function connected({ rate = -1, offline = false } = {}) {
  const conditions = { offline, latency: 5, downloadThroughput: -1, uploadThroughput: rate };
  await (await network).send("Network.emulateNetworkConditions", conditions);
}
// Has whoever started this do something, and waits until it is done.
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export async function please(what) {
  console.log(JSON.stringify({ please: what }));
  await lines.next();
}

export async function finished() {
  await tab.locator("model-viewer[data-state=ready]").waitFor({ timeout: LONG });
  await tab.waitForFunction(() => document.querySelector("model-viewer").modelIsVisible);
  await tab.waitForTimeout(1500);
}
// An address that leads nowhere.
export async function nothing() {
  await tab.goto(`${url}#/captures/nowhere`);
  await tab.locator(".lonely").waitFor();
  return text("main");
}
