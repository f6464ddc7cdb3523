// The model on screen: the sketch while it is being made, and the finished one, in <model-viewer> where that was put
// into vendor/, else in our own viewer.

import { inBytes, make, write } from "./dom.js";
import { Sketch } from "./sketch.js";

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let vendor = null; // whether <model-viewer> is there

export class Shown {
  #of = ""; // what is shown, in so many words
  #sketch = null;
  #turn = 0;
  #said = make("p", { class: "quiet centre" });
  #room = make("div", { class: "room" });
  #bar = make("progress", { max: 1, hidden: true, "aria-label": "Download of the model" });
  element = make("section", { class: "model", "aria-label": "Model" }, this.#room, this.#bar, this.#said);

  close() {
    this.#turn++;
    this.#sketch?.close();
    this.#sketch = null;
    this.#room.replaceChildren();
    this.#of = "";
  }

  #begin(of) {
    if (of === this.#of) return null;
    this.#of = of;
    return ++this.#turn;
  }

  nothing(text) {
    if (this.#begin(`nothing ${text}`) === null) return;
    this.#drop();
    this.#room.replaceChildren(make("p", { class: "quiet centre" }, text));
    write(this.#said, "");
  }

  // Of a status.
  async preview({ glb, image, number, up }) {
    const turn = this.#begin(`preview ${number}`);
    if (turn === null) return;
    try {
      if (!glb) throw new Error("There is but a picture of it.");
      const buffer = await download(glb);
      if (turn !== this.#turn) return;
      if (!this.#sketch) this.#hang();
      if (up) this.#sketch.up = up;
      this.#sketch.show(buffer);
      write(
        this.#said,
        `Preview ${number}: ${Math.round(this.#sketch.triangles).toLocaleString("en")} triangles, without its finer parts yet`,
      );
    } catch {
      // the next may do; a picture does meanwhile
      if (turn !== this.#turn) return;
      if (!this.#sketch && image)
        this.#room.replaceChildren(make("img", { src: image, alt: "A photo, and the model so far beside it" }));
    }
  }

  #hang() {
    const canvas = make("canvas", {
      tabindex: 0,
      "aria-label":
        "The model so far, in three dimensions: drag to turn, pinch to come closer, arrow keys, plus and minus",
    });
    const turn = make("button", { type: "button", class: "turn", "aria-pressed": String(!still) }, "Turn");
    this.#room.replaceChildren(canvas, turn);
    this.#sketch = new Sketch(canvas, () => turn.setAttribute("aria-pressed", "false"));
    turn.addEventListener("click", () => {
      this.#sketch.turning = !this.#sketch.turning;
      turn.setAttribute("aria-pressed", String(this.#sketch.turning));
    });
  }

  #drop() {
    this.#sketch?.close();
    this.#sketch = null;
  }

  // glb, usdz: of `GET .../files`. timed(seconds): called when the model was downloaded. Raises an Error.
  async finished(of, glb, usdz, name, timed) {
    const turn = this.#begin(`finished ${of}`);
    if (turn === null) return;
    vendor ??= import("/page/vendor/model-viewer.min.js").then(
      () => true,
      () => false,
    );
    const rich = await vendor;
    if (turn !== this.#turn) return;
    this.#drop();
    write(this.#said, "");
    try {
      await (rich ? this.#rich(glb, usdz, name, timed) : this.#plain(glb, timed, () => turn === this.#turn));
    } catch (error) {
      this.#of = "";
      throw error;
    } finally {
      this.#bar.hidden = true;
    }
  }

  // For AR on an iPhone, which downloads only when it is asked for.
  renew(usdz) {
    if (usdz) this.#room.querySelector("model-viewer")?.setAttribute("ios-src", usdz.url);
  }

  #rich(glb, usdz, name, timed) {
    const ar = make("button", { slot: "ar-button", class: "ar main", type: "button" }, "See it in your room");
    const viewer = make(
      "model-viewer",
      {
        alt: `The model ${name}, in three dimensions`,
        "ios-src": usdz?.url,
        ar: true,
        "ar-modes": "webxr scene-viewer quick-look",
        "camera-controls": true,
        "auto-rotate": !still,
        "touch-action": "pan-y",
        "shadow-intensity": "1",
        "interaction-prompt": "none",
        "data-state": "loading",
      },
      ar,
      make("div", { slot: "progress-bar" }),
    );
    this.#bar.hidden = false;
    viewer.addEventListener("progress", ({ detail }) => {
      this.#bar.value = detail.totalProgress;
    });
    this.#room.replaceChildren(viewer);
    return new Promise((done, failed) => {
      viewer.addEventListener(
        "load",
        () => {
          viewer.dataset.state = "ready";
          const [entry] = performance.getEntriesByName(glb.url);
          if (entry?.responseEnd) timed((entry.responseEnd - entry.startTime) / 1000);
          done();
        },
        { once: true },
      );
      viewer.addEventListener(
        "error",
        () => failed(new Error("The model cannot be shown here. Its files are below.")),
        { once: true },
      );
      viewer.src = glb.url;
    });
  }

  async #plain(glb, timed, current) {
    const frame = make("iframe", { title: "The model, in three dimensions", src: "/page/model.html" });
    const ready = new Promise((done) => {
      const hear = ({ source }) => {
        if (source === frame.contentWindow) {
          removeEventListener("message", hear);
          done();
        }
      };
      addEventListener("message", hear);
    });
    this.#bar.hidden = false;
    const begun = performance.now();
    const buffer = await download(glb.url, (got) => {
      this.#bar.value = got / glb.bytes;
      write(this.#said, `${inBytes(got)} of ${inBytes(glb.bytes)}`);
    });
    timed((performance.now() - begun) / 1000);
    if (!current()) return;
    write(this.#said, "");
    this.#room.replaceChildren(frame);
    await ready;
    frame.contentWindow.postMessage(buffer, location.origin, [buffer]);
  }
}

async function download(address, progress = () => {}) {
  const response = await fetch(address);
  if (!response.ok) throw new Error("The model cannot be downloaded now. Load the page again.");
  const reader = response.body.getReader(),
    pieces = [];
  let got = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    pieces.push(value);
    got += value.length;
    progress(got);
  }
  return new Blob(pieces).arrayBuffer();
}
