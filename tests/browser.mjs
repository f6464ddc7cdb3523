// Opens a page in headless Chromium: node browser.mjs PAGE PICTURE [STEP...], prints what happened as JSON.
// A step is drag, wheel, key:NAME, or select:ID=VALUE; after each one PICTURE is taken again with a number.
import { chromium } from "playwright-core";

const [page, picture, ...steps] = process.argv.slice(2);
const PATIENCE = 120_000; // milliseconds, on a busy machine
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  timeout: PATIENCE,
});
const tab = await browser.newPage({ viewport: { width: 480, height: 480 } });
tab.setDefaultTimeout(PATIENCE);
const errors = [], requests = [];
tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
tab.on("pageerror", (error) => errors.push(String(error)));
tab.on("request", (request) => /^(data|blob|file):/.test(request.url()) || requests.push(request.url()));
await tab.goto(page);
await tab.waitForFunction(() => document.body.dataset.state !== "loading");

const taken = [];
const shoot = async () => {
  await tab.waitForTimeout(300);
  // What it is asked to draw it draws with the next frame, which may take its time.
  await tab.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  taken.push(picture.replace(/\.png$/, `${taken.length}.png`));
  await tab.screenshot({ path: taken.at(-1) });
};
await shoot();
for (const step of steps) {
  const [deed, ...what] = step.split(/[:=]/);
  if (deed === "drag") {
    await tab.mouse.move(240, 240);
    await tab.mouse.down();
    await tab.mouse.move(340, 200, { steps: 4 });
    await tab.mouse.up();
  } else if (deed === "wheel") {
    await tab.mouse.move(240, 240);
    await tab.evaluate(() => {
      window.wheeled = new Promise((done) => addEventListener("wheel", done, { once: true }));
    });
    await tab.mouse.wheel(0, -400);
    await tab.evaluate(() => window.wheeled.then(() => null)); // nobody else waits for it
  } else if (deed === "key") {
    await tab.focus("canvas");
    await tab.keyboard.press(what[0]);
  } else if (deed === "select") await tab.selectOption(`#${what[0]}`, what[1]);
  await shoot();
}
const state = await tab.evaluate(() => document.body.dataset.state);
const text = await tab.evaluate(() => document.body.innerText);
const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
console.log(JSON.stringify({ state, text, wide, errors, requests, taken }));
await browser.close();
