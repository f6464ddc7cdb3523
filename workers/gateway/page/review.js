// The masks of a capture: a list, the worst first, on which a tap discards a photo or keeps it, and an editor.

import { ask, send } from "./api.js";
import { busy, button, make, notice, plural, trouble, write } from "./dom.js";
import { Brush } from "./brush.js";
import { layer, marks, maskOf, paint, picture } from "./masks.js";

const THUMBNAIL = 320,
  NEEDED = 6;
const drafts = new Map(); // what was decided on a proposal, and not sent yet: by proposal, then stem

addEventListener("beforeunload", (event) => {
  if ([...drafts.values()].some((draft) => draft.size)) event.preventDefault();
});

class Card {
  // decided: what of an earlier look is not sent yet. on: edit(card), changed(card).
  constructor(view, index, waiting, decided, on) {
    Object.assign(this, { view, index, on, keep: view.mask !== null, mask: null });
    Object.assign(this, decided);
    this.canvas = layer(THUMBNAIL, THUMBNAIL);
    this.verdict = make("span", { class: "state" });
    this.drop = button("", () => this.choose(!this.keep), "");
    this.look = make(
      "button",
      {
        type: "button",
        class: "look",
        "aria-label": `Photo ${view.stem}: ${waiting ? "keep or discard" : "outline"}`,
        onclick: () => waiting && this.choose(!this.keep),
      },
      this.canvas,
    );
    const reasons = view.mask ? view.reasons : ["It has no outline: draw one to use it.", ...view.reasons];
    this.element = make(
      "li",
      { class: "card photo", onkeydown: (event) => this.#key(event, waiting) },
      this.look,
      make("div", { class: "row apart" }, make("span", { class: "strong clip" }, view.stem), this.verdict),
      reasons.length ? make("ul", { class: "quiet" }, ...reasons.map((reason) => make("li", {}, reason))) : null,
      waiting
        ? make(
            "div",
            { class: "row pair" },
            this.drop,
            button("Draw", () => on.edit(this)),
          )
        : null,
    );
    this.show();
  }
  // A photo without an outline cannot be kept before one was drawn.
  choose(keep) {
    if (keep && !this.view.mask && !this.mask) return this.on.edit(this);
    this.keep = keep;
    this.show();
    this.on.changed(this);
  }
  show() {
    const { verdict } = this.view;
    this.element.classList.toggle("out", !this.keep);
    this.look.setAttribute("aria-pressed", String(!this.keep));
    write(this.drop, this.keep ? "Discard" : "Keep");
    this.drop.setAttribute("aria-label", `${this.keep ? "Discard" : "Keep"} ${this.view.stem}`);
    const state = !this.keep ? "discarded" : this.mask ? "mended" : verdict;
    write(this.verdict, state);
    this.verdict.dataset.state = { bad: "failed", discarded: "failed", doubtful: "review" }[state] || "done";
  }
  async pictures() {
    const { photo, mask } = this.view;
    this.loaded ??= Promise.all([picture(photo), mask ? maskOf(mask) : null]);
    const [image, proposed] = await this.loaded;
    return [image, proposed ?? layer(image.width, image.height)];
  }
  async draw() {
    const [photo, proposed] = await this.pictures(),
      height = Math.round((THUMBNAIL * photo.height) / photo.width);
    if (this.canvas.height !== height) this.canvas.height = height;
    paint(this.canvas, photo, this.mask ?? (this.view.mask ? proposed : null));
  }
  #key(event, waiting) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.on.go(this, step);
    else if (!waiting) return;
    else if (event.key === "k") this.choose(true);
    else if (event.key === "d") this.choose(false);
    else if (event.key === "e") this.on.edit(this);
    else return;
    event.preventDefault();
  }
}

export function review(main, { id }) {
  const place = make("div"),
    back = make("p", {}, make("a", { href: `#/captures/${id}`, class: "back" }, "Back to the model"));
  document.title = "Outlines, phototwin";
  main.replaceChildren(make("div", { class: "stack" }, back, make("p", { class: "quiet" }, "Loading")));
  let brush = null,
    seen = null;
  open();
  return () => {
    seen?.disconnect();
    brush?.element.remove();
  };

  async function open() {
    try {
      const [masks, { can }] = await Promise.all([ask(`/captures/${id}/masks`), ask(`/captures/${id}`)]);
      show(masks, can.includes("review"));
    } catch (error) {
      main.replaceChildren(make("div", { class: "lonely stack" }, trouble(error), back));
    }
  }

  // waiting: whether decisions are taken, if only to do it again.
  function show({ proposal, waiting: first, images }, waiting) {
    const draft = drafts.get(proposal) ?? new Map(),
      count = make("p", { role: "status" });
    drafts.set(proposal, draft);
    const green = "Green is the outline of what is taken for the object; the rest is dimmed.";
    const wait = !waiting
      ? `${green} They are in use just now, so they can only be looked at.`
      : `${green} Discard photos whose outline is wrong, or draw it better. The doubtful ones come first.${first ? "" : " These are the outlines as they were proposed; the model will be made again."}`;
    const least = Math.min(NEEDED, images.length),
      go = button(first ? "Send and go on" : "Send and make it again", null, "main");
    const cards = images.map(
      (view, index) =>
        new Card(view, index, waiting, draft.get(view.stem), {
          edit,
          changed,
          go: (card, step) => cards[card.index + step]?.look.focus(),
        }),
    );
    let current = null;

    function changed(card) {
      draft.set(card.view.stem, { keep: card.keep, mask: card.mask });
      if (card === current) brush.kept(card.keep);
      tell();
    }
    function tell() {
      const kept = cards.filter((card) => card.keep).length,
        mended = cards.filter((card) => card.keep && card.mask).length;
      write(
        count,
        `${kept} of ${plural(cards.length, "photo")} kept${mended ? `, ${mended} mended` : ""}${kept < least ? `; at least ${least} are needed` : ""}`,
      );
      go.disabled = kept < least;
    }
    async function edit(card) {
      const [photo, proposed] = await card.pictures();
      current = card;
      brush.open(`${card.view.stem}, ${card.index + 1} of ${cards.length}`, photo, card.mask ?? proposed, proposed, {
        first: card.index === 0,
        last: card.index === cards.length - 1,
      });
      brush.kept(card.keep);
    }
    brush = new Brush({
      take: (mask) => {
        Object.assign(current, { mask, keep: marks(mask) });
        current.show();
        changed(current);
        current.draw();
      },
      keep: (yes) => {
        if (!yes || current.view.mask || current.mask) current.choose(yes);
      },
      go: (step) => {
        brush.leave();
        edit(cards[current.index + step]);
      },
      closed: () => current.look.focus(),
    });
    document.body.append(brush.element);

    go.addEventListener(
      "click",
      busy(go, place, async () => {
        const decided = cards.map(({ view, keep, mask }) => [
          view.stem,
          keep && mask ? { keep, mask: mask.toDataURL("image/png") } : { keep },
        ]);
        await send(`/captures/${id}/masks`, { images: Object.fromEntries(decided), proposal });
        drafts.delete(proposal);
        location.hash = `#/captures/${id}`;
      }),
    );
    const list = make("ul", { class: "photos" }, ...cards.map((card) => card.element));
    main.replaceChildren(
      make(
        "div",
        { class: "stack" },
        back,
        make("h1", {}, waiting ? "Check the outlines" : "The outlines"),
        make("p", { class: "measure" }, wait),
        waiting
          ? make("p", { class: "quiet mouse" }, "Keys: arrows go from photo to photo, K keeps, D discards, E draws.")
          : null,
        cards.length ? list : notice("", "There are none."),
        waiting ? make("div", { class: "foot" }, place, make("div", { class: "row apart" }, count, go)) : null,
      ),
    );
    seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries)
          if (isIntersecting) {
            seen.unobserve(target);
            cards
              .find((card) => card.element === target)
              .draw()
              .catch(() => {});
          }
      },
      { rootMargin: "400px" },
    );
    for (const card of cards) seen.observe(card.element);
    tell();
  }
}
