// One capture: how far it is, what it looks like, and what can be done with it.

import { ask, send } from "./api.js";
import { busy, button, make, notice, plural, titled, trouble, when, write } from "./dom.js";
import { Chart } from "./chart.js";
import { again, append, askToDelete, continuing } from "./deeds.js";
import { follow } from "./live.js";
import { chooser } from "./new.js";
import { Result } from "./result.js";
import { Shown } from "./shown.js";
import { Indicators, Stages } from "./stages.js";
import { upload, uploadOf } from "./upload.js";

class View {
  #id;
  #status = null;
  #upload = null;
  #asked = "";
  #asking = false;
  #closed = false;
  #stop;
  #parts = {
    indicators: new Indicators(),
    shown: new Shown(),
    stages: new Stages(),
    chart: new Chart(),
    result: new Result(),
  };
  #title = make("h1", { class: "clip" });
  #about = make("p", { class: "quiet" });
  #notices = make("div", { class: "stack" });
  #trouble = make("div");
  #actions = make("section", { class: "card stack", "aria-label": "What can be done" });
  #changed = () => this.#show(this.#status);

  constructor(main, id) {
    this.#id = id;
    const { indicators, shown, stages, chart, result } = this.#parts;
    main.replaceChildren(
      make(
        "div",
        { class: "stack" },
        make("p", {}, make("a", { href: "#/", class: "back" }, "All models")),
        make("div", {}, this.#title, this.#about),
        indicators.element,
        this.#notices,
        this.#trouble,
        make(
          "div",
          { class: "columns" },
          make("div", { class: "stack" }, shown.element, result.element),
          make("div", { class: "stack" }, this.#actions, stages.element, chart.element, result.times),
        ),
      ),
    );
    shown.nothing("Loading");
    this.#stop = follow(id, {
      told: (status) => this.#show(status),
      progress: (envelope) => this.#progress(envelope),
      gone: () =>
        main.replaceChildren(
          make(
            "div",
            { class: "lonely stack" },
            notice("", "This capture is not there, or not any more."),
            make("p", {}, make("a", { href: "#/", class: "back" }, "All models")),
          ),
        ),
    });
  }

  close() {
    this.#closed = true;
    this.#stop();
    this.#upload?.removeEventListener("change", this.#changed);
    this.#parts.shown.close();
    this.#parts.result.close();
  }

  // Between one status and the next.
  #progress({ data }) {
    if (this.#status?.state !== "working" || data.generation !== this.#status.generation) return;
    const stages = this.#status.stages.map((stage) =>
      stage.stage !== data.stage || stage.state === "done"
        ? stage
        : { ...stage, state: "running", progress: data.fraction, step: data.step, eta_seconds: data.eta_seconds },
    );
    const losses = data.losses && Object.keys(data.losses).length ? data.losses : null;
    const curve = losses ? [...this.#status.loss_curve, [data.fraction, losses]] : this.#status.loss_curve;
    this.#show({ ...this.#status, stages, losses: losses || this.#status.losses, loss_curve: curve });
    if (data.preview && !this.#asking) this.#refresh();
  }

  // For the address of a new preview.
  async #refresh() {
    this.#asking = true;
    try {
      this.#show(await ask(`/captures/${this.#id}`));
    } catch {
      // the next one will do
    } finally {
      this.#asking = false;
    }
  }

  #show(status) {
    if (!status || this.#closed) return;
    this.#status = status;
    const mine = uploadOf(this.#id),
      { indicators, shown, stages, chart, result } = this.#parts;
    if (mine !== this.#upload) {
      this.#upload?.removeEventListener("change", this.#changed);
      mine?.addEventListener("change", this.#changed);
      this.#upload = mine;
    }
    write(this.#title, titled(status));
    document.title = `${titled(status)}, phototwin`;
    write(
      this.#about,
      `${when(status.created)}, ${status.options.profile}${status.generation ? `, made ${plural(status.generation + 1, "time")}` : ""}`,
    );
    indicators.show(status, mine);
    stages.show(status, mine);
    chart.show(status);
    result.latency(status.latency);
    // What was made before stays until there is a new one, and so does its place here.
    const made = status.poster !== null && !status.preview;
    result.element.hidden = !made;
    if (made)
      result.show(status, shown).catch((error) => this.#trouble.replaceChildren(trouble(error)));
    else if (status.preview) shown.preview(status.preview);
    else shown.nothing(waiting(status, mine));
    this.#ask(status, mine);
  }

  // What is asked of the user, made anew only where it is something else than before.
  #ask(status, mine) {
    const of = JSON.stringify([
      status.state,
      status.generation,
      status.can,
      status.error?.code,
      status.failed_stage,
      mine?.state,
      mine?.error?.detail,
    ]);
    if (of === this.#asked) return;
    this.#asked = of;
    this.#notices.replaceChildren();
    const { error, state } = status;
    if (error)
      this.#notices.append(
        notice("bad", error.sentence, error.action, state === "failed" && status.advice ? status.advice : null),
      );
    if (state === "review")
      this.#notices.append(
        notice(
          "warn",
          "Please check the outlines.",
          "The work goes on when you have looked at what is taken for the object.",
          make(
            "p",
            {},
            make("a", { class: "button main", href: `#/captures/${this.#id}/masks` }, "Check the outlines"),
          ),
        ),
      );
    if (state === "deleting") this.#notices.append(notice("", "This is being deleted."));
    if (state === "uploading" && mine?.state !== "sending" && mine?.state !== "done") this.#resume(mine);
    this.#offer(status);
  }

  async #resume(mine) {
    const place = make("div", { class: "stack" });
    this.#notices.append(place);
    try {
      place.append(
        ...(await continuing(this.#id, mine?.error, (files, targets) => {
          upload(this.#id, files, targets);
          this.#show(this.#status);
        })),
      );
    } catch (error) {
      place.append(trouble(error));
    }
  }

  #offer({ can, state, options, stages, failed_stage: failed }) {
    const made = [],
      path = `/captures/${this.#id}`;
    const act = (control, work) => {
      control.addEventListener("click", busy(control, this.#trouble, work));
      return control;
    };
    const more = { multiple: true, accept: "image/*,.heic,.heif" };
    const masks = stages.find(({ stage }) => stage === "segment");
    if (state !== "review" && (can.includes("review") || (options.review && masks.state === "done")))
      made.push(make("a", { class: "button", href: `#/captures/${this.#id}/masks` }, "Look at the outlines"));
    if (can.includes("append") && state !== "uploading")
      made.push(chooser("Add photos", more, (pairs) => this.#append(pairs)));
    if (can.includes("cancel"))
      made.push(
        act(button("Cancel"), async () => {
          uploadOf(this.#id)?.stop();
          this.#show(await send(`${path}/cancel`, {}));
        }),
      );
    if (can.includes("retry"))
      made.push(
        again(options, failed, (go, asked) => act(go, async () => this.#show(await send(`${path}/retry`, asked())))),
      );
    if (can.includes("delete")) made.push(button("Delete", () => askToDelete(this.#id), "danger"));
    this.#actions.hidden = !made.length;
    this.#actions.replaceChildren(make("div", { class: "row" }, ...made));
  }

  async #append(pairs) {
    this.#trouble.replaceChildren();
    try {
      await append(this.#status, pairs);
      await this.#refresh();
    } catch (error) {
      this.#trouble.replaceChildren(trouble(error));
    }
  }
}

function waiting({ state, stages }, mine) {
  if (state === "uploading") return mine ? "The photos are on their way." : "Some of the photos are still to be sent.";
  if (state === "failed" || state === "cancelled" || state === "deleting") return "There is no model.";
  if (state === "review") return "The model is made when the outlines are checked.";
  const at = stages.find((stage) => stage.state !== "done");
  return at?.stage === "prepare" || at?.stage === "segment"
    ? "A preview comes with the shape, in a while."
    : "The first preview comes soon.";
}

export function capture(main, { id }) {
  const view = new View(main, id);
  return () => view.close();
}
