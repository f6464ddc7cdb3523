// How far a capture is: three indicators, and the stages one by one.

import { announce, draw, inBytes, inTime, left, make, plural, write } from "./dom.js";

const STAGES = {
  upload: "Upload",
  prepare: "Camera positions",
  segment: "Outlines of the object",
  reconstruct: "Shape and materials",
  package: "Files for every use",
};
const STATES = {
  waiting: "waiting",
  running: "in work",
  review: "waits for you",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  stopped: "to be continued",
};
const SIGNS = {
  done: "M13 21.5l5.5 5.5L28.5 16",
  failed: "M15 15l11 11M26 15l-11 11",
  cancelled: "M14 20.5h13",
  review: "M20.5 13v9m0 5v.5",
};

class Indicator {
  constructor(title) {
    this.arc = draw("circle", {
      class: "arc",
      cx: 20.5,
      cy: 20.5,
      r: 18,
      pathLength: 100,
      transform: "rotate(-90 20.5 20.5)",
    });
    this.sign = draw("path", { class: "sign" });
    this.number = draw("text", { x: 20.5, y: 24.5, "text-anchor": "middle" });
    this.word = make("span", { class: "strong" });
    this.more = make("span", { class: "quiet" });
    this.element = make(
      "li",
      { class: "indicator" },
      draw(
        "svg",
        { viewBox: "0 0 41 41", "aria-hidden": "true" },
        draw("circle", { class: "groove", cx: 20.5, cy: 20.5, r: 18 }),
        this.arc,
        this.sign,
        this.number,
      ),
      make("div", {}, make("h2", {}, title), this.word, this.more),
    );
  }
  show(state, progress, word, more = "") {
    const part = state === "done" ? 1 : progress;
    this.element.dataset.state = state;
    this.arc.setAttribute("stroke-dasharray", `${part === 1 ? 101 : 100 * part} 100`);
    this.sign.setAttribute("d", SIGNS[state] || "M0 0");
    write(this.number, state === "running" ? `${Math.floor(100 * part)}%` : "");
    write(this.word, word);
    write(this.more, more);
  }
}

export class Indicators {
  #upload = new Indicator("Upload");
  #work = new Indicator("Processing");
  #model = new Indicator("Model");
  element = make(
    "ul",
    { class: "indicators", "aria-label": "How far it is" },
    this.#upload.element,
    this.#work.element,
    this.#model.element,
  );

  // upload: of upload.js, where this browser sends the files.
  show(status, upload) {
    const [first, ...work] = status.stages;
    if (status.state === "uploading" && upload) this.#sending(upload);
    else if (status.state === "uploading") this.#upload.show("review", first.progress, "To be continued");
    else this.#upload.show(first.state, first.progress, first.state === "done" ? "All there" : STATES[first.state]);

    const at = work.find((stage) => stage.state !== "done"),
      progress = work.reduce((sum, each) => sum + (each.state === "done" ? 1 : each.progress), 0) / work.length;
    if (!at) this.#work.show("done", 1, "Done");
    else if (status.state === "failed")
      this.#work.show("failed", progress, "Failed", STAGES[status.failed_stage] || "");
    else if (status.state === "cancelled") this.#work.show("cancelled", progress, "Cancelled");
    else if (at.state === "review") this.#work.show("review", progress, "Waits for you", "outlines to be checked");
    else if (status.state === "working" && at.state === "waiting")
      this.#work.show("running", progress, "In the queue", STAGES[at.stage]);
    else if (at.state === "running")
      this.#work.show("running", progress, STAGES[at.stage], at.eta_seconds === null ? plain(at.step) : left(at.eta_seconds));
    else this.#work.show("waiting", 0, "Not yet");

    if (status.state === "done" && status.quality?.grade === "weak")
      this.#model.show("review", 1, "Ready", "but weak: see below");
    else if (status.state === "done") this.#model.show("done", 1, "Ready");
    else if (status.preview)
      this.#model.show(
        "running",
        work.find(({ stage }) => stage === "reconstruct").progress,
        "Preview",
        "not finished",
      );
    else if (status.poster) this.#model.show("done", 1, "From before", "until there is a new one");
    else this.#model.show("waiting", 0, status.state === "failed" || status.state === "cancelled" ? "None" : "Not yet");
  }
  #sending({ state, waiting, sent, total, received, count }) {
    const part = total ? sent / total : 0;
    if (state === "failed" || state === "lacking")
      this.#upload.show("failed", part, state === "lacking" ? "Files are missing" : "Stopped");
    else if (state === "done") this.#upload.show("done", 1, "All there");
    else
      this.#upload.show(
        "running",
        part,
        waiting ? "Connection lost" : "Uploading",
        waiting
          ? "goes on when it is back"
          : `${inBytes(sent)} of ${inBytes(total)}, ${received} of ${plural(count, "file")}`,
      );
  }
}

// Of what the workers call their steps; another one is told as it is.
const STEPS = {
  read: "looking at the photos",
  reading: "looking at the photos",
  "support plane": "finding what it stands on",
  box: "finding where the object is",
  hull: "cutting out its outline from all sides",
  sweep: "measuring its surface",
  rough: "a first shape",
  refine: "working out the shape",
  unwrap: "flattening the surface for its picture",
  bake: "painting it from the photos",
  judge: "comparing it with the photos",
  hygiene: "checking the surface",
  variants: "making its files",
  pictures: "taking pictures of it",
  write: "saving",
};
const plain = (step) => STEPS[step] || step;

export class Stages {
  #rows = new Map();
  #said = "";
  #list = make("ol", { class: "stages" });
  element = make(
    "section",
    { class: "card stack", "aria-labelledby": "steps" },
    make("h2", { id: "steps" }, "Step by step"),
    this.#list,
  );

  // upload: as above, whose progress is newer than what the gateway knows.
  show(status, upload) {
    const [first, ...others] = status.stages,
      here = upload?.state === "sending" || upload?.state === "done";
    const sent = upload?.total ? { progress: upload.sent / upload.total } : {};
    this.#row("upload").show({
      ...first,
      ...sent,
      ...(status.state === "uploading" && !here ? { state: "stopped" } : {}),
    });
    for (const stage of others) this.#row(stage.stage).show(stage);
    const at = status.stages.find(({ state }) => ["running", "review", "failed"].includes(state));
    const said = status.state === "done" ? "The model is ready." : at ? `${STAGES[at.stage]}: ${STATES[at.state]}` : "";
    if (said && said !== this.#said) announce(said);
    this.#said = said;
  }
  #row(name) {
    if (!this.#rows.has(name)) {
      const row = new Row(name);
      this.#rows.set(name, row);
      this.#list.append(row.element);
    }
    return this.#rows.get(name);
  }
}

class Row {
  constructor(name) {
    this.state = make("span", { class: "state" });
    this.bar = make("progress", { max: 1, value: 0, "aria-label": STAGES[name] });
    this.step = make("span", { class: "quiet" });
    this.element = make(
      "li",
      {},
      make("div", { class: "row apart" }, make("span", { class: "strong" }, STAGES[name]), this.state),
      this.bar,
      this.step,
    );
  }
  show({ state, progress, step, eta_seconds: eta, seconds }) {
    this.element.dataset.state = state;
    write(
      this.state,
      state === "done" && seconds !== null
        ? inTime(seconds)
        : state === "running"
          ? `${Math.floor(100 * progress)} %`
          : STATES[state],
    );
    this.bar.value = state === "done" ? 1 : progress;
    this.bar.hidden = state !== "running";
    write(this.step, state === "running" ? [plain(step), eta === null ? "" : left(eta)].filter(Boolean).join(", ") : "");
  }
}
