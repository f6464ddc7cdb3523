// A new capture: choose, drop or take; options; send.

import { ask, send } from "./api.js";
import { busy, button, inBytes, make, notice, plural } from "./dom.js";
import { add, chosen, dropped, PHOTO, total, VIDEO } from "./files.js";
import { upload } from "./upload.js";

const FEW = 8,
  GOOD = 30;

// A button that opens a chooser of files. took: called with pairs of path and file.
export function chooser(text, attributes, took, kind = "") {
  const input = make("input", {
    type: "file",
    class: "unseen",
    ...attributes,
    onchange: () => {
      const pairs = chosen(input.files);
      input.value = "";
      if (pairs.length) took(pairs);
    },
  });
  return make("label", { class: `button ${kind}` }, input, text);
}

export function choosers(took) {
  return [
    chooser(
      "Choose photos, video or zip",
      { multiple: true, accept: "image/*,video/*,.heic,.heif,.zip,.mkv,.json,.jsonl", "data-choose": "files" },
      took,
      "main",
    ),
    chooser("Take photos", { multiple: true, accept: "image/*", capture: "environment" }, took, "camera"),
    chooser("Record a video", { accept: "video/*", capture: "environment" }, took, "camera"),
    chooser("Choose a folder", { webkitdirectory: true, multiple: true, "data-choose": "folder" }, took, "folder"),
  ];
}

// Files dropped on the element are taken as well.
export function droppable(element, took) {
  const on = (over) => (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    element.classList.toggle("over", over);
  };
  element.addEventListener("dragover", on(true));
  element.addEventListener("dragleave", on(false));
  element.addEventListener("drop", (event) => {
    on(false)(event);
    dropped(event.dataTransfer).then(took);
  });
  return element;
}

export function summary(files) {
  const names = [...files.keys()],
    photos = names.filter((name) => PHOTO.test(name)).length;
  const videos = names.filter((name) => VIDEO.test(name)).length,
    others = names.length - photos - videos;
  const parts = [
    photos && plural(photos, "photo"),
    videos && plural(videos, "video"),
    others && plural(others, photos || videos ? "other file" : "file"),
  ];
  return `${parts.filter(Boolean).join(", ")}, ${inBytes(total(files))}`;
}

// What is to be said of them before they are sent; none where they look fine.
function doubts(files, limits) {
  const names = [...files.keys()],
    photos = names.filter((name) => PHOTO.test(name)).length;
  if (limits && names.length > limits.files)
    return [
      "bad",
      `That are ${plural(names.length, "file")}; a capture may have ${limits.files.toLocaleString("en")}.`,
      "Leave some out, or send a video instead.",
    ];
  if (limits && total(files) > limits.bytes)
    return [
      "bad",
      `That are ${inBytes(total(files))}; a capture may have ${inBytes(limits.bytes)}.`,
      "Send fewer photos, or a shorter video.",
    ];
  if (photos === names.length && photos < FEW)
    return [
      "warn",
      `${plural(photos, "photo")} will not be enough for a model.`,
      `It takes at least ${FEW}, and looks good from ${GOOD}: walk around the object and take one every few steps.`,
    ];
  return null;
}

function choice(name, value, title, text, checked = false) {
  return make(
    "label",
    { class: "choice" },
    make("input", { type: "radio", name, value, checked }),
    make("span", {}, make("span", { class: "strong" }, title), make("span", { class: "quiet" }, text)),
  );
}

// limits: of `GET /v1/me`.
export function form(limits) {
  const files = new Map(),
    said = make("div", { class: "stack", "aria-live": "polite" }),
    place = make("div");
  const clear = button(
    "Clear",
    () => {
      files.clear();
      show(0);
    },
    "plain",
  );
  const name = make("input", { id: "name", type: "text", maxlength: 200, autocomplete: "off" });
  const review = make("input", { id: "review", type: "checkbox" });
  const start = button("Make the model", null, "main wide", { disabled: true });
  const rest = make("div", { class: "stack", hidden: true });
  const profiles = make(
    "fieldset",
    {},
    make("legend", {}, "How good?"),
    make(
      "div",
      { class: "choices" },
      choice("profile", "preview", "Preview", "soonest, to see whether the photos will do"),
      choice("profile", "standard", "Standard", "a good model in a minute or two of work", true),
      choice("profile", "high", "High", "finer, and takes several times as long"),
    ),
  );

  function show(empty) {
    const doubt = files.size ? doubts(files, limits) : null;
    said.replaceChildren(
      ...(files.size ? [make("p", { class: "chosen" }, make("span", { class: "strong" }, summary(files)), clear)] : []),
      ...(empty ? [notice("warn", `${plural(empty, "file")} left out: empty.`)] : []),
      ...(doubt ? [notice(...doubt)] : []),
    );
    rest.hidden = !files.size;
    start.disabled = !files.size || doubt?.[0] === "bad";
  }
  const took = (pairs) => {
    place.replaceChildren();
    show(add(files, pairs));
  };

  const begin = busy(start, place, async () => {
    const told = [...files].map(([path, { size }]) => ({ name: path, bytes: size }));
    const options = { profile: rest.querySelector("[name=profile]:checked").value, review: review.checked };
    const made = await send("/captures", { name: name.value.trim(), files: told, options });
    upload(made.capture_id, new Map(files), made.uploads.files);
    location.hash = `#/captures/${made.capture_id}`;
  });
  start.addEventListener("click", begin);

  rest.append(
    make("div", {}, make("label", { for: "name" }, "Name (optional)"), name),
    profiles,
    make(
      "label",
      { class: "choice" },
      review,
      make(
        "span",
        {},
        make("span", { class: "strong" }, "Check the outlines first"),
        make("span", { class: "quiet" }, "the work stops until you have looked at what is taken for the object"),
      ),
    ),
    start,
    place,
  );
  const wait = make("p", { class: "quiet" });
  ask("/capacity").then(
    ({ wait_seconds: seconds }) => {
      if (seconds === null) wait.textContent = "Nobody is at work just now: a capture will wait.";
      else if (seconds > 30)
        wait.textContent = `Much is going on: a capture waits for about ${Math.ceil(seconds / 60)} min.`;
    },
    () => {},
  );
  const zone = make(
    "div",
    { class: "drop" },
    make("p", { class: "large" }, "Photos or a video, all around one thing"),
    make("p", { class: "quiet mouse" }, "Drop photos, a video, a zip or a folder here, or"),
    make("div", { class: "row" }, ...choosers(took)),
    wait,
  );
  return droppable(
    make(
      "section",
      { class: "card stack", "aria-labelledby": "new" },
      make("h1", { id: "new" }, "New model"),
      zone,
      said,
      rest,
    ),
    took,
  );
}
