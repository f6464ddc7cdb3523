// The editor of one mask: a brush that adds or removes, on the photo. By finger, mouse, pen, or keys.

import { button, make, write } from "./dom.js";
import { copied, paint } from "./masks.js";

const UNDOS = 12,
  MOST_ZOOM = 12;
const KEYS = {
  a: "add",
  r: "remove",
  z: "undo",
  "+": "in",
  "-": "out",
  k: "keep",
  d: "discard",
  PageUp: "before",
  PageDown: "after",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const press = (control, on) => control.setAttribute("aria-pressed", String(on));

export class Brush {
  #photo;
  #mask;
  #proposed;
  #undos = [];
  #adding = true;
  #view;
  #fingers = new Map();
  #pinching = false;
  #due = false;
  #at = { x: 0, y: 0 };
  #canvas = make("canvas");
  #ring = make("div", { class: "ring", hidden: true });
  #title = make("h2", { id: "painted" });
  #size = make("input", { type: "range", min: 4, max: 120, value: 36, "aria-label": "Size of the brush" });
  #stage = make(
    "div",
    {
      class: "stage",
      tabindex: 0,
      role: "application",
      "aria-label":
        "Photo with its outline: paint with a finger or the mouse; by keys: arrows move the brush, space paints",
    },
    this.#canvas,
    this.#ring,
  );
  #tools = {};

  // on: take(mask, changed), called when one is left; keep(yes), go(step) and closed().
  constructor(on) {
    this.on = on;
    const commands = {
      add: () => {
        this.#adding = true;
        this.#show();
      },
      remove: () => {
        this.#adding = false;
        this.#show();
      },
      undo: () => this.#back(),
      reset: () => {
        this.#remember();
        this.#mask = copied(this.#proposed);
        this.#redraw();
      },
      in: () => this.#zoom(1.5),
      out: () => this.#zoom(1 / 1.5),
      keep: () => on.keep(true),
      discard: () => on.keep(false),
      before: () => on.go(-1),
      after: () => on.go(1),
      done: () => this.element.close(),
    };
    const tool = (name, text, more = {}, kind = "") => {
      this.#tools[name] = button(text, commands[name], kind, more);
      return this.#tools[name];
    };
    this.element = make(
      "dialog",
      { class: "editor", "aria-labelledby": "painted" },
      make(
        "div",
        { class: "bar" },
        tool("done", "Done", {}, "main"),
        this.#title,
        tool("before", "◀", { "aria-label": "Previous photo" }),
        tool("after", "▶", { "aria-label": "Next photo" }),
      ),
      this.#stage,
      make(
        "div",
        { class: "bar", role: "group", "aria-label": "Brush" },
        tool("add", "Add", { title: "Paint what belongs to the object (A)" }),
        tool("remove", "Remove", { title: "Paint what does not (R)" }),
        this.#size,
        tool("out", "−", { "aria-label": "Zoom out" }),
        tool("in", "+", { "aria-label": "Zoom in" }),
      ),
      make(
        "div",
        { class: "bar", role: "group", "aria-label": "Photo" },
        tool("undo", "Undo", { title: "Take back the last stroke (Z)" }),
        tool("reset", "Reset", { title: "The outline as it was proposed" }),
        tool("keep", "Keep", { title: "K" }),
        tool("discard", "Discard", { title: "D" }, "no"),
      ),
    );
    this.element.addEventListener("keydown", (event) => this.#key(event, commands));
    this.element.addEventListener("close", () => {
      this.leave();
      on.closed();
    });
    this.#listen();
  }

  // photo: as drawn; mask: painted on, which changes; proposed: as it was at first.
  open(title, photo, mask, proposed, { first, last }) {
    Object.assign(this.#canvas, { width: mask.width, height: mask.height });
    this.#photo = photo;
    this.#mask = copied(mask);
    this.#proposed = proposed;
    this.#undos = [];
    write(this.#title, title);
    this.#tools.before.disabled = first;
    this.#tools.after.disabled = last;
    if (!this.element.open) this.element.showModal();
    this.#stage.focus();
    this.#fit();
    this.#redraw();
    this.#show();
  }
  leave() {
    if (this.#undos.length) this.on.take(this.#mask, this.#proposed);
    this.#undos = [];
  }
  kept(yes) {
    press(this.#tools.keep, yes);
    press(this.#tools.discard, !yes);
  }

  #show() {
    press(this.#tools.add, this.#adding);
    press(this.#tools.remove, !this.#adding);
    this.#tools.undo.disabled = !this.#undos.length;
  }
  #remember() {
    this.#undos = [...this.#undos, copied(this.#mask)].slice(-UNDOS);
    this.#show();
  }
  #back() {
    this.#mask = this.#undos.pop() || this.#mask;
    this.#show();
    this.#redraw();
  }
  #redraw() {
    if (!this.#due)
      requestAnimationFrame(() => {
        this.#due = false;
        paint(this.#canvas, this.#photo, this.#mask);
      });
    this.#due = true;
  }

  #place(view) {
    this.#view = view;
    this.#canvas.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  }
  #fit() {
    const { clientWidth, clientHeight } = this.#stage,
      { width, height } = this.#canvas,
      scale = Math.min(clientWidth / width, clientHeight / height);
    this.#place({ scale, least: scale, x: (clientWidth - scale * width) / 2, y: (clientHeight - scale * height) / 2 });
    this.#at = { x: clientWidth / 2, y: clientHeight / 2 };
  }
  #zoom(factor, x = this.#stage.clientWidth / 2, y = this.#stage.clientHeight / 2) {
    const view = this.#view,
      scale = Math.min(view.scale * factor, view.least * MOST_ZOOM),
      by = scale / view.scale;
    if (scale <= view.least) this.#fit();
    else this.#place({ ...view, scale, x: x - by * (x - view.x), y: y - by * (y - view.y) });
  }

  #stroke(from, to) {
    const context = this.#mask.getContext("2d"),
      { x, y, scale } = this.#view;
    Object.assign(context, {
      lineCap: "round",
      strokeStyle: "#fff",
      lineWidth: this.#size.value / scale,
      globalCompositeOperation: this.#adding ? "source-over" : "destination-out",
    });
    context.beginPath();
    for (const point of [from, to]) context.lineTo((point.x - x) / scale, (point.y - y) / scale);
    context.lineTo((to.x - x) / scale + 0.01, (to.y - y) / scale); // a dab is no line else
    context.stroke();
    this.#redraw();
  }
  #circle({ x, y }) {
    const size = `${this.#size.value}px`;
    this.#ring.hidden = false;
    Object.assign(this.#ring.style, { left: `${x}px`, top: `${y}px`, width: size, height: size });
  }

  #key(event, commands) {
    if (event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== "z")) return;
    const arrow = ARROWS[event.key],
      named = KEYS[event.key];
    if (event.target === this.#stage && (arrow || event.key === " ")) {
      const { clientWidth, clientHeight } = this.#stage,
        by = Math.max(4, this.#size.value / 3),
        [dx, dy] = arrow || [0, 0];
      this.#at = {
        x: Math.min(Math.max(this.#at.x + dx * by, 0), clientWidth),
        y: Math.min(Math.max(this.#at.y + dy * by, 0), clientHeight),
      };
      if (!arrow) {
        this.#remember();
        this.#stroke(this.#at, this.#at);
      }
      this.#circle(this.#at);
    } else if (named && !this.#tools[named].disabled) commands[named]();
    else return;
    event.preventDefault();
  }

  #listen() {
    const stage = this.#stage,
      fingers = this.#fingers;
    const point = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const between = () => {
      const [a, b] = [...fingers.values()];
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button > 0 || fingers.size > 1) return;
      stage.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, point(event));
      this.#pinching = fingers.size > 1;
      if (this.#pinching) return this.#back(); // what the first of two fingers has painted was not meant
      this.#remember();
      this.#stroke(point(event), point(event));
    });
    stage.addEventListener("pointermove", (event) => {
      const to = point(event),
        from = fingers.get(event.pointerId),
        earlier = fingers.size > 1 && between();
      if (event.pointerType !== "touch") this.#circle(to);
      if (!from) return;
      if (!this.#pinching) this.#stroke(from, to);
      fingers.set(event.pointerId, to);
      if (!earlier) return;
      const now = between();
      this.#place({ ...this.#view, x: this.#view.x + now.x - earlier.x, y: this.#view.y + now.y - earlier.y });
      this.#zoom(now.apart / Math.max(earlier.apart, 1), now.x, now.y);
    });
    for (const name of ["pointerup", "pointercancel"])
      stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
    stage.addEventListener("pointerleave", () => {
      this.#ring.hidden = true;
    });
    stage.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = point(event);
        this.#zoom(Math.exp(-event.deltaY * 0.002), x, y);
      },
      { passive: false },
    );
    new ResizeObserver(() => {
      if (this.element.open && this.#photo) this.#fit();
    }).observe(stage);
  }
}
