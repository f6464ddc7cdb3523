// What was made: files to download, the quality report, and where the time went.

import { ask, send } from "./api.js";
import { inBytes, inTime, make, notice, pause, titled, trouble } from "./dom.js";

const KNOWN = {
  "model.glb": "the model, for any 3D program",
  "model_web.glb": "the same, small, for web pages",
  "model.usdz": "for AR on iPhone and iPad",
  "model_ar.glb": "for AR on Android",
  "model_obj.zip": "OBJ with its textures",
  "model_100k.glb": "at most 100 000 triangles",
  "model_30k.glb": "at most 30 000 triangles",
  "model_8k.glb": "at most 8000 triangles",
  "poster.png": "a picture of it",
  "turntable.webp": "one turn of it",
};
const FIRST = Object.keys(KNOWN);
const TERMS = [
  ["scan", "Taking the photos", "T_scan"],
  ["upload", "Upload", "T_upload"],
  ["signal", "Until work began", "T_signal"],
  ["preprocessing", "Camera positions and outlines", "T_preprocessing"],
  ["reconstruction", "Shape and materials", "T_reconstruction"],
  ["package", "Packaging", ""],
  ["download", "Download of the model", "T_download"],
];

export class Result {
  #ended = new AbortController();
  #of = "";
  #id = "";
  #links = make("ul", { class: "files" });
  #others = make("ul", { class: "files" });
  #more = make("details", { ontoggle: () => this.#open() }, make("summary", {}, "What it was made from"), this.#others);
  #report = make("p", {});
  #times = make("tbody");
  #advice = make("div", { class: "stack" });
  element = make(
    "div",
    { class: "stack", hidden: true },
    make(
      "section",
      { class: "card stack", "aria-labelledby": "downloads" },
      make("h2", { id: "downloads" }, "Downloads"),
      this.#report,
      this.#advice,
      this.#links,
      this.#more,
    ),
  );
  times = make(
    "section",
    { class: "card stack", hidden: true, "aria-labelledby": "times" },
    make("h2", { id: "times" }, "Where the time went"),
    make(
      "table",
      {},
      make(
        "thead",
        { class: "unseen" },
        make("tr", {}, make("th", { scope: "col" }, "What"), make("th", { scope: "col" }, "How long")),
      ),
      this.#times,
    ),
  );

  close() {
    this.#ended.abort();
  }

  latency(latency) {
    const known = TERMS.filter(([name]) => latency[name] !== null);
    this.times.hidden = !known.length;
    this.#times.replaceChildren(
      ...known.map(([name, text, term]) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, text, term ? make("span", { class: "quiet term" }, ` ${term}`) : null),
          make("td", {}, inTime(latency[name])),
        ),
      ),
    );
  }

  // shown: of shown.js. The addresses are made anew before they expire, for as long as this is looked at.
  async show(status, shown) {
    const of = `${status.capture_id} ${status.generation}`;
    if (of === this.#of) return;
    this.#of = of;
    this.#id = status.capture_id;
    this.#judge(status);
    try {
      const made = await ask(`/captures/${status.capture_id}/files`);
      this.#list(made.files);
      this.#renew(shown, of, made.expires);
      const file = (name) => made.files.find((each) => each.name === name),
        glb = file("model.glb");
      if (!glb) return;
      const timed = (seconds) => this.#timed(status, seconds);
      await shown.finished(of, glb, file("model.usdz"), titled(status), timed);
    } catch (error) {
      this.#of = "";
      throw error;
    }
  }

  // What it is worth, in words: a poor model does not look like a success.
  #judge({ quality, warnings, advice }) {
    const poor = quality && quality.grade !== "good";
    this.#advice.replaceChildren();
    if (poor)
      this.#advice.append(
        notice(
          quality.grade === "weak" ? "bad" : "warn",
          quality.grade === "weak"
            ? "This model is weak: it differs much from its photos."
            : "This model is fair: it differs from its photos here and there.",
          ...[...quality.weak.slice(0, 3), ...warnings],
        ),
      );
    const said = quality?.advice || advice;
    if (said && !(poor && /^Nothing to add/.test(said)))
      this.#advice.append(make("p", {}, `About the photos: ${said}`));
  }

  // The first time counts: a later one may come out of the browser's cache.
  #timed({ capture_id: id, latency }, seconds) {
    if (latency.download !== null || seconds <= 0) return;
    send(`/captures/${id}/downloads`, { name: "model.glb", seconds }).then(
      () => this.latency({ ...latency, download: seconds }),
      () => {},
    );
  }

  async #renew(shown, of, expires) {
    for (let until = Date.parse(expires); ;) {
      await pause(Math.max(until - Date.now() - 60_000, 30_000), this.#ended.signal);
      if (this.#ended.signal.aborted || of !== this.#of) return;
      try {
        const made = await ask(`/captures/${this.#id}/files`);
        this.#list(made.files);
        shown.renew(made.files.find(({ name }) => name === "model.usdz"));
        until = Date.parse(made.expires);
      } catch {
        // tried again
        until = Date.now() + 90_000;
      }
    }
  }

  async #open() {
    if (!this.#more.open) return;
    const path = `/captures/${this.#id}/files?stage=reconstruct&stage=segment&stage=prepare`;
    await ask(path).then(
      (made) => put(this.#others, made.files),
      (error) => this.#others.replaceChildren(make("li", {}, trouble(error))),
    );
  }

  #list(files) {
    const model = files.filter(({ name }) => name !== "report.html"),
      place = ({ name }) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
    const report = files.find(({ name }) => name === "report.html");
    put(
      this.#links,
      [...model].sort((a, b) => place(a) - place(b)),
    );
    this.#report.hidden = !report;
    if (report)
      this.#report.replaceChildren(
        make("a", { href: report.url, target: "_blank", rel: "noopener", class: "button" }, "Open the quality report"),
      );
  }
}

// Only addresses change where the list is there already, so that what has the focus keeps it.
function put(list, files) {
  const links = [...list.querySelectorAll("a")];
  if (links.length === files.length && links.every((link, index) => link.dataset.name === files[index].name)) {
    links.forEach((link, index) => link.setAttribute("href", files[index].url));
    return;
  }
  list.replaceChildren(
    ...files.map(({ name, url, bytes }) =>
      make(
        "li",
        {},
        make(
          "a",
          { href: url, download: name.slice(name.lastIndexOf("/") + 1), "data-name": name },
          make("span", { class: "strong clip" }, name),
          make("span", { class: "quiet" }, [KNOWN[name], inBytes(bytes)].filter(Boolean).join(", ")),
        ),
      ),
    ),
  );
}
