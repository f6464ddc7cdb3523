// What can be done with a capture beside looking at it.

import { ask, remove, send } from "./api.js";
import { busy, button, make, notice, plural, trouble } from "./dom.js";
import { add, matched } from "./files.js";
import { choosers, droppable } from "./new.js";
import { upload, uploadOf } from "./upload.js";

const AGAIN = [
  ["prepare", "Everything, from the photos on"],
  ["segment", "From the outlines on"],
  ["reconstruct", "Shape and materials"],
  ["package", "The files only"],
];

// Elements that ask for the files of an upload that has stopped: a page that was loaded anew has forgotten them.
// error: why it has, where that is known. go(files, targets): called when there is something to send.
export async function continuing(id, error, go) {
  const { files: targets } = await ask(`/captures/${id}/uploads`);
  const missing = targets.filter(({ received }) => !received).map(({ name }) => name);
  if (!missing.length) {
    go(new Map(), targets);
    return [];
  }
  const said = make("div");
  const took = (pairs) => {
    const files = new Map();
    add(files, pairs);
    const found = matched(
      files,
      targets.filter(({ received }) => !received),
    );
    if (found.size) go(found, targets);
    else said.replaceChildren(notice("warn", "None of these is among what is missing.", `Missing: ${some(missing)}.`));
  };
  const there = `${targets.length - missing.length} of ${plural(targets.length, "file")} are there.`;
  const choose = choosers(took).filter((each) => !each.classList.contains("camera"));
  const asked = notice(
    "warn",
    "The upload is not complete.",
    `${there} Choose the same files again, and only what is missing is sent: ${some(missing)}.`,
    make("div", { class: "row" }, ...choose),
    said,
  );
  return [...(error ? [trouble(error)] : []), droppable(asked, took)];
}

// Sends more photos. Raises a Problem.
export async function append({ capture_id: id, generation }, pairs) {
  const files = new Map();
  add(files, pairs);
  const begin = async (named) => {
    const told = [...named].map(([name, { size }]) => ({ name, bytes: size }));
    upload(id, named, (await send(`/captures/${id}/files`, { files: told })).files);
  };
  try {
    await begin(files);
  } catch (error) {
    if (error.status !== 422) throw error; // a name that is there already: phones give all the same
    await begin(
      new Map([...files].map(([name, file]) => [`more-${generation + 1}-${name.replaceAll("/", "-")}`, file])),
    );
  }
}

// What is to be done again, and how. act(button, asked): given the button, and what tells the Retry that was chosen.
export function again(options, failed, act) {
  const stage = make(
    "select",
    { id: "stage" },
    ...AGAIN.map(([value, text]) => make("option", { value, selected: value === (failed || "prepare") }, text)),
  );
  const profile = make(
    "select",
    { id: "profile" },
    ...["preview", "standard", "high"].map((value) =>
      make("option", { value, selected: value === options.profile }, value),
    ),
  );
  const review = make("input", { id: "again-review", type: "checkbox", checked: options.review });
  const free = () => {
    for (const each of [profile, review]) each.disabled = stage.value !== "prepare";
  };
  stage.addEventListener("change", free);
  free();
  const others = () => ({ options: { ...options, profile: profile.value, review: review.checked } });
  const go = act(button("Do it again", null, "main"), () => ({
    stage: stage.value,
    ...(stage.value === "prepare" ? others() : {}),
  }));
  return make(
    "details",
    { class: "again" },
    make("summary", { class: "button" }, "Do it again"),
    make(
      "div",
      { class: "stack" },
      make("div", {}, make("label", { for: "stage" }, "What"), stage),
      make("div", {}, make("label", { for: "profile" }, "How good"), profile),
      make("label", { class: "choice" }, review, make("span", {}, "Check the outlines first")),
      go,
    ),
  );
}

// Asks once more, and goes to the list when it is done.
export function askToDelete(id) {
  const said = make("div");
  const sure = button("Delete for good", null, "danger");
  const keep = button("Keep it", () => asked.close(), "", { autofocus: true });
  const asked = make(
    "dialog",
    { "aria-labelledby": "sure" },
    make("h2", { id: "sure" }, "Delete this capture?"),
    make("p", {}, "Its photos, its model and all else that was made of it will be gone."),
    said,
    make("div", { class: "row" }, sure, keep),
  );
  const work = busy(sure, said, async () => {
    uploadOf(id)?.stop();
    await remove(`/captures/${id}`);
    asked.close();
    location.hash = "#/";
  });
  sure.addEventListener("click", work);
  asked.addEventListener("close", () => asked.remove());
  document.body.append(asked);
  asked.showModal();
}

function some(names) {
  return names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}
