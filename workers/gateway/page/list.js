// One's captures, the latest first.

import { ask } from "./api.js";
import { button, make, pause, titled, trouble, when, write } from "./dom.js";
import { form } from "./new.js";
import { uploadOf } from "./upload.js";

const PAGE = 24,
  EVERY = 5000;
const WORDS = {
  uploading: "Uploading",
  working: "In work",
  review: "Waits for you",
  done: "Finished",
  failed: "Failed",
  cancelled: "Cancelled",
  deleting: "Being deleted",
};
const FILTERS = [
  ["", "All"],
  ["working", "In work"],
  ["review", "Waits for you"],
  ["done", "Finished"],
  ["failed", "Failed"],
  ["uploading", "Uploading"],
  ["cancelled", "Cancelled"],
];

// How far a capture is as a whole, 0 to 1.
export function part(status) {
  return (
    status.stages.reduce((sum, { state, progress }) => sum + (state === "done" ? 1 : progress), 0) /
    status.stages.length
  );
}

function doing(status) {
  const upload = uploadOf(status.capture_id);
  if (status.state === "uploading" && upload?.state !== "sending") return "upload to be continued";
  if (status.state !== "working") return WORDS[status.state].toLowerCase();
  return `in work, ${Math.round(100 * part(status))} %`;
}

class Item {
  constructor(status) {
    this.picture = make("span", { class: "thumb" });
    this.name = make("span", { class: "strong clip" });
    this.state = make("span", { class: "state" });
    this.made = make("span", { class: "quiet" });
    this.element = make(
      "li",
      {},
      make(
        "a",
        { href: `#/captures/${status.capture_id}`, class: "item" },
        this.picture,
        make("span", { class: "about" }, this.name, this.state, this.made),
      ),
    );
    this.show(status);
  }
  show(status) {
    write(this.name, titled(status));
    write(this.state, doing(status));
    this.state.dataset.state = status.state;
    write(this.made, when(status.created));
    const address = status.poster || status.preview?.image,
      of = `${status.generation} ${!!status.poster} ${status.preview?.number}`;
    if (!address || this.of === of) return; // the address is another each time, the picture is not
    this.of = of;
    const image = make("img", {
      src: address,
      alt: "",
      loading: "lazy",
      class: status.poster ? "" : "half",
      onerror: () => {
        this.of = null;
        image.remove();
      },
    });
    this.picture.replaceChildren(image);
  }
}

// The view; returns what ends it.
export function list(main, { limits }) {
  const ended = new AbortController(),
    items = new Map();
  const grid = make("ul", { class: "grid" }),
    place = make("div"),
    nothing = make("p", { class: "quiet", hidden: true });
  const state = make(
    "select",
    {
      id: "state",
      onchange: () => {
        items.clear();
        grid.replaceChildren();
        rest.hidden = true;
        load();
      },
    },
    ...FILTERS.map(([value, text]) => make("option", { value }, text)),
  );
  const rest = button("Show more", () => load(next), "", { hidden: true });
  let next = null,
    turn = 0,
    further = false; // whether a further page is on its way, which no newer first page is to overtake

  async function load(after = null) {
    const mine = ++turn,
      query = new URLSearchParams({ limit: PAGE });
    if (state.value) query.set("state", state.value);
    if (after) query.set("after", after);
    further = after !== null;
    try {
      const page = await ask(`/captures?${query}`);
      if (mine !== turn || ended.signal.aborted) return;
      place.replaceChildren();
      put(page.captures, after !== null);
      if (after !== null || items.size <= PAGE) {
        next = page.next;
        rest.hidden = next === null;
      }
      nothing.hidden = items.size > 0;
      write(nothing, state.value ? "None at present." : "None yet. Your models will be here.");
    } catch (error) {
      if (!error.passes && !ended.signal.aborted) place.replaceChildren(trouble(error));
    } finally {
      if (mine === turn) further = false;
    }
  }
  // The first page again, or a further one; what is gone from the first page is gone.
  function put(captures, more) {
    const told = new Set(captures.map((status) => status.capture_id)),
      oldest = captures.at(-1)?.created ?? "";
    if (!more)
      for (const [id, item] of items)
        if (!told.has(id) && (item.created >= oldest || !captures.length)) {
          item.element.remove();
          items.delete(id);
        }
    captures.forEach((status, index) => {
      const known = items.get(status.capture_id);
      if (known) return known.show(status);
      const item = Object.assign(new Item(status), { created: status.created });
      items.set(status.capture_id, item);
      if (more) grid.append(item.element);
      else grid.insertBefore(item.element, grid.children[index] ?? null);
    });
  }
  (async () => {
    for (; !ended.signal.aborted; await pause(EVERY, ended.signal)) if (!document.hidden && !further) await load();
  })();

  main.replaceChildren(
    form(limits),
    make(
      "section",
      { class: "stack", "aria-labelledby": "yours" },
      make(
        "div",
        { class: "row apart" },
        make("h2", { id: "yours" }, "Your models"),
        make("div", { class: "row" }, make("label", { for: "state" }, "Show"), state),
      ),
      place,
      nothing,
      grid,
      make("div", { class: "row centre" }, rest),
    ),
  );
  return () => ended.abort();
}
