// Walks through the gateway's page in headless Chromium, as somebody would who wants a model:
//   node walk.mjs WALK URL SIZE COLOURS OUT [CAPTURE]
// WALK: of those below. SIZE: phone or desktop. COLOURS: light or dark. OUT: a folder for screenshots. CAPTURE: a
// folder or a file to upload. Prints what it saw as JSON; fails where it waits for something in vain.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  begin,
  browser,
  capture,
  choose,
  connected,
  context,
  drop,
  finished,
  id,
  nothing,
  out,
  please,
  press,
  saying,
  shoot,
  size,
  tab,
  text,
  told,
  url,
  walk,
} from "./visit.mjs";

const walks = {
  // Upload, progress, masks with one discarded and one drawn on, the preview, the model, and all again after a reload.
  async whole() {
    await tab.goto(url);
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    await shoot("home");
    await begin("Jug, to be kept", { review: true });
    await saying(".indicator", "Waits for you");
    await shoot("waits");
    await tab.getByRole("link", { name: "Check the outlines" }).click();
    const cards = tab.locator(".photo");
    await cards.first().locator("canvas").waitFor();
    told.masks = await cards.count();
    await cards.nth(1).locator(".look")[size === "phone" ? "tap" : "click"]();
    await cards.nth(2).getByRole("button", { name: "Draw" }).click();
    const stage = tab.locator(".stage");
    await stage.waitFor(); // until its picture is there
    await tab.waitForTimeout(500);
    await stage.focus();
    for (let step = 0; step < 3; step++) await tab.keyboard.press("ArrowRight");
    await tab.keyboard.press(" ");
    await press("Remove");
    await stage.click({ position: { x: 150, y: 100 } });
    await press("Undo");
    await shoot("drawing");
    await press("Done");
    await shoot("masks");
    told.count = await text(".foot p[role=status]");
    await press("Send and go on");
    await saying(".indicator", "Preview");
    await saying(".model p", /Preview \d+:/); // it is drawn
    await shoot("preview", { room: true });
    await tab.waitForTimeout(1500);
    await shoot("turned", { room: true });
    await tab.reload();
    await saying(".indicator", "Ready");
    await finished();
    await shoot("model", { room: true });
    await tab.evaluate(() => scrollTo(0, 0));
    await shoot("done");
    told.files = await tab
      .locator(".files a[data-name]")
      .evaluateAll((links) => links.map((link) => link.dataset.name));
    await saying("tbody tr", "T_download");
    told.times = await tab.locator("tbody tr").allInnerTexts();
    told.ar = await tab
      .locator("model-viewer")
      .evaluate((viewer) => ({ ar: viewer.ar, src: viewer.src, iosSrc: viewer.iosSrc }));
    const [report] = await Promise.all([
      context.waitForEvent("page"),
      tab.getByRole("link", { name: "Open the quality report" }).click(),
    ]);
    await report.waitForLoadState();
    told.report = await report.evaluate(() => document.body.innerText);
    await report.close();
    const glb = tab.waitForEvent("download");
    await tab.locator("[data-name='model.glb']").click();
    told.saved = statSync(await (await glb).path()).size;
    await tab.locator(".brand").click();
    await tab.locator(".item img").first().waitFor();
    await shoot("list");
    told.list = await tab.locator(".item").allInnerTexts();
  },

  // A reload in the middle of the upload, then of the work; a lost connection; cancel; delete.
  async reload() {
    await connected({ rate: 60_000 });
    const first = context.waitForEvent("requestfinished", (request) => request.method() === "PUT");
    await begin("Reloaded");
    await first;
    await connected({ rate: 1 }); // so that it is not over before we have looked
    await shoot("uploading");
    await connected({ rate: 60_000 });
    told.before = told.puts.length;
    tab.on("dialog", (dialog) => dialog.accept()); // leave, though files are being sent
    await tab.reload();
    await saying(".notice", "The upload is not complete.");
    await shoot("continue");
    told.missing = await text(".notice");
    told.puts = [];
    await connected({ offline: true });
    await saying("#connection", "The connection is lost.");
    await connected();
    await saying("#connection", "The connection is back.");
    if (statSync(capture).isDirectory()) await tab.setInputFiles("[data-choose=folder]", capture);
    else await tab.setInputFiles("[data-choose=files]", capture);
    await saying(".indicator", "All there");
    told.after = told.puts.length;
    await tab.reload();
    await saying(".indicator", "All there");
    await press("Cancel");
    await saying(".indicator", "Cancelled");
    await shoot("cancelled");
    await tab.locator("summary", { hasText: "Do it again" }).click();
    await shoot("again");
    const dropped = id();
    await drop();
    await tab.waitForFunction((gone) => !document.querySelector(`[href$="${gone}"]`), dropped);
  },

  // The connection is lost in the middle of the upload, and it goes on by itself.
  async lost() {
    await connected({ rate: 60_000 });
    await begin("Lost and found");
    await tab.waitForFunction(() => /[1-9]\d?%/.test(document.querySelector(".indicator svg text").textContent));
    await connected({ offline: true });
    await saying(".indicator", "Connection lost");
    await shoot("lost");
    await connected();
    await saying(".indicator", "All there");
    await drop();
  },

  // What cannot become a model is told in words, and may be given up or done again.
  async bad() {
    await choose();
    told.doubts = await tab.locator(".notice").allInnerTexts();
    await press("Make the model");
    await saying(".indicator", "Failed");
    await tab.locator(".notice.bad").waitFor();
    told.notice = await text(".notice.bad");
    await shoot("failed");
    await drop();
  },

  // A large file goes in parts, of which those that have arrived are not sent again.
  async large() {
    await connected({ rate: 10_000_000 });
    const first = context.waitForEvent("requestfinished", (request) => request.method() === "PUT");
    await begin("Large");
    await first;
    await connected({ offline: true });
    await saying(".indicator", "Connection lost");
    await tab.waitForTimeout(1000); // what was under way has ended at the other end too
    const { files } = await (await context.request.get(`${url}v1/captures/${id()}/uploads`)).json();
    told.missing = files[0].parts.filter((part) => !part.received).length;
    told.parts = files[0].parts.length;
    told.puts = [];
    await connected();
    await saying(".indicator", "All there");
    await drop();
  },

  // Photos are added to a capture that failed, some by names that it has already; then it is done again. All without
  // server-sent events, as where a proxy keeps them back.
  async more() {
    await tab.route("**/events", (route) => route.abort());
    await begin("More and more", { profile: "standard" });
    await saying(".indicator", "Failed");
    told.first = await text(".notice.bad");
    await tab.setInputFiles(
      "section[aria-label='What can be done'] input[type=file]",
      readdirSync(capture).map((name) => join(capture, name)),
    );
    await saying("h1 + p", "made 2 times");
    await saying(".indicator", "Failed");
    told.second = await text(".notice.bad");
    await tab.locator("summary", { hasText: "Do it again" }).click();
    await tab.getByLabel("How good").selectOption("preview");
    await tab.locator(".again").getByRole("button", { name: "Do it again" }).click();
    await saying("h1 + p", "preview, made 3 times");
    await saying(".indicator", "Failed");
    await drop();
  },

  // By keys alone.
  async keyboard() {
    const focused = () =>
      tab.evaluate(() => {
        const { innerText, name, id } = document.activeElement;
        return document.activeElement === document.body ? "" : innerText || name || id;
      });
    const tabTo = async (words, back = false) => {
      for (let presses = 0; presses < 40; presses++) {
        await tab.keyboard.press(back ? "Shift+Tab" : "Tab");
        if ((await focused()).includes(words)) return;
      }
      throw new Error(`no key leads to ${words}`);
    };
    await tab.goto(url);
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    await tabTo("Skip to the content");
    await tab.keyboard.press("Enter");
    told.skipped = await tab.evaluate(() => document.activeElement.id);
    await tab.keyboard.press("Tab");
    told.outline = await tab.evaluate(() => getComputedStyle(document.activeElement.closest("label")).outlineStyle);
    const chooser = tab.waitForEvent("filechooser");
    await tab.keyboard.press(" ");
    await (await chooser).setFiles(readdirSync(capture).map((name) => join(capture, name)));
    await tab.locator(".chosen").waitFor();
    await tabTo("name");
    await tab.keyboard.type("By keys");
    await tabTo("profile");
    await tab.keyboard.press("ArrowUp");
    await tabTo("Make the model");
    await tab.keyboard.press("Enter");
    await tab.locator(".indicators").waitFor();
    told.landed = await tab.evaluate(() => document.activeElement.id);
    await saying("h1 + p", "preview");
    await saying(".indicator", "Failed");
    await tabTo("Delete");
    await tab.keyboard.press("Enter");
    await tabTo("Delete for good");
    await shoot("sure");
    await tab.keyboard.press("Enter");
    await tab.waitForURL(/#\/$/);
  },

  // The gateway goes away while it works, and comes back.
  async restart() {
    await begin("Restarted");
    await saying(".indicator", "Camera positions");
    await please("restart");
    await saying("#connection", "The connection is lost.");
    await shoot("lost");
    await please("wait");
    await saying("#connection", "The connection is back.");
    await saying(".indicator", "Ready");
    await finished();
  },

  // A key is asked for, kept, refused, and forgotten; `phototwin serve` brings one along in the address.
  async keys() {
    await tab.goto(url.replace(/#.*/, ""));
    await tab.getByLabel("API key").waitFor();
    await shoot("key");
    await tab.getByLabel("API key").fill("ptk_wrong");
    await press("Go on");
    await saying("[role=alert]", "That key is not good");
    await shoot("refused");
    await tab.goto("about:blank");
    await tab.goto(url);
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    told.address = tab.url();
    told.who = await text("#who");
    await tab.reload();
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    await press("Forget key");
    await tab.getByLabel("API key").waitFor();
    await tab.getByLabel("API key").fill(decodeURIComponent(url.split("#key=")[1]));
    await tab.keyboard.press("Enter");
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    told.cookies = await context.cookies();
  },

  // More captures than are shown at a time, and those of one state.
  async list() {
    await tab.goto(url);
    await tab.getByRole("heading", { name: "New model" }).waitFor();
    await tab.evaluate(async () => {
      const { send } = await import("/page/api.js");
      const files = [{ name: "a.jpg", bytes: 1 }];
      for (let number = 1; number <= 27; number++) await send("/captures", { name: `Thing ${number}`, files });
    });
    await tab.reload(); // a list that was looked at while they came has them all
    const items = tab.locator(".item"),
      names = () => tab.locator(".item .strong").allInnerTexts();
    await items.nth(23).waitFor();
    told.page = await names();
    await shoot("page");
    await press("Show more");
    await items.nth(26).waitFor();
    await tab.evaluate(async () => {
      const { ask, send } = await import("/page/api.js");
      const { captures } = await ask("/captures?limit=1");
      await send(`/captures/${captures[0].capture_id}/cancel`, {});
      await send("/captures", { name: "Newest", files: [{ name: "a.jpg", bytes: 1 }] });
    });
    await saying(".item", "Newest");
    await saying(".item", "cancelled");
    told.all = await names();
    await tab.getByLabel("Show", { exact: true }).selectOption("cancelled");
    await tab.waitForFunction(() => document.querySelectorAll(".item").length === 1);
    told.cancelled = await names();
    await tab.getByLabel("Show", { exact: true }).selectOption("failed");
    await tab.getByText("None at present.").waitFor();
  },

  // Without <model-viewer>, by our own viewer. A name stays a name.
  async plain() {
    await tab.route("**/page/vendor/**", (route) => route.fulfill({ status: 404, body: "" }));
    await begin("<img src=x onerror=\"document.title='gotcha'\"><b>Bold</b>");
    await saying(".indicator", "Ready");
    told.title = await text("h1");
    const frame = tab.frameLocator(".room iframe");
    await frame.locator("body[data-state=ready]").waitFor();
    await shoot("model", { room: true });
    await tab.evaluate(() => scrollTo(0, 0));
    await shoot("done");
    await tab.locator(".brand").click();
    await tab.locator(".item").first().waitFor();
    told.list = await tab.locator(".item").allInnerTexts();
    told.unknown = await nothing();
  },

  // The parts that need no gateway, in the browser that they are for.
  async parts() {
    await tab.goto(url);
    told.events = await tab.evaluate(async () => {
      const { parser } = await import("/page/live.js");
      const stream =
        ': hello\n\nevent: status\nid: 7\ndata: {"a":\ndata: 1}\n\nretry: 5\nevent: job.progress\r\ndata: 2\r\n\r\ndata:3\n\nid: 9\n\n';
      const whole = [],
        cut = [];
      parser((...each) => whole.push(each))(stream);
      const feed = parser((...each) => cut.push(each));
      for (const letter of stream) feed(letter);
      return { whole, cut };
    });
    told.names = await tab.evaluate(async () => {
      const { add, matched } = await import("/page/files.js");
      const file = (size, name, lastModified) => new File(["x".repeat(size)], name, { lastModified });
      const named = (...pairs) => {
        const files = new Map(),
          empty = add(files, pairs);
        return [[...files].map(([name, { size }]) => [name, size]), empty];
      };
      const files = new Map([
        ["b/one.jpg", file(3, "one.jpg", 1)],
        ["two.jpg", file(4, "two.jpg", 1)],
      ]);
      return {
        folder: named(
          ["top/images/a.jpg", file(1, "a.jpg", 1)],
          ["top/t.json", file(2, "t.json", 1)],
          ["top/.DS_Store", file(1, "x", 1)],
        ),
        phone: named(
          ["image.jpg", file(1, "image.jpg", 1)],
          ["image.jpg", file(2, "image.jpg", 2)],
          ["image.jpg", file(2, "image.jpg", 2)],
        ),
        odd: named(["a\\b\u0007//c.jpg", file(1, "c.jpg", 1)], ["empty.jpg", file(0, "empty.jpg", 1)]),
        matched: [
          ...matched(files, [
            { name: "images/one.jpg", bytes: 3 },
            { name: "two.jpg", bytes: 5 },
            { name: "two.jpg", bytes: 4 },
          ]).keys(),
        ],
      };
    });
  },
};

try {
  await walks[walk]();
} catch (error) {
  told.failed = String(error.stack);
  await tab.screenshot({ path: join(out, `${walk}-${size}-failed.png`), fullPage: true });
  told.page = await tab.evaluate(() => document.body.innerText);
}
console.log(JSON.stringify(told));
await browser.close();
process.exit();
