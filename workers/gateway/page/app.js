// The page: who is asking, where one is, and whether the gateway is reached.

import { ask, gateway, key } from "./api.js";
import { announce, make, pause, trouble, write } from "./dom.js";
import { capture } from "./capture.js";
import { list } from "./list.js";
import { review } from "./review.js";
import { sending } from "./upload.js";

const main = document.getElementById("main"),
  forget = document.getElementById("forget");
const connection = document.getElementById("connection");
let leave = () => {},
  me = null,
  entering = 0;

// `phototwin serve` brings a key along in the address that it prints; it is not left there for others to read.
function takeKey() {
  const given = /^#key=(.+)$/.exec(location.hash);
  if (!given) return;
  key.set(decodeURIComponent(given[1]));
  me = null;
  history.replaceState(null, "", "#/");
}

const ROUTES = [
  [/^#\/captures\/([A-Za-z0-9_-]+)\/masks$/, review],
  [/^#\/captures\/([A-Za-z0-9_-]+)$/, capture],
  [/^/, list],
];

async function enter() {
  const turn = ++entering;
  leave();
  leave = () => {};
  while (me === null) {
    try {
      me = await ask("/me");
    } catch (error) {
      if (turn !== entering || error.status === 401) return;
      main.replaceChildren(make("div", { class: "lonely" }, trouble(error)));
      await pause(3000);
    }
    if (turn !== entering) return;
  }
  write(document.getElementById("who"), key.get() ? `${me.who}, ${me.tenant}` : "");
  forget.hidden = !key.get();
  const [pattern, view] = ROUTES.find(([each]) => each.test(location.hash)),
    [, id] = pattern.exec(location.hash);
  document.title = "phototwin";
  leave = view(main, { id, limits: me.limits }) || leave;
}

// Asks for a key, once however many calls were refused.
function lock() {
  if (document.getElementById("key")) return;
  entering++;
  leave();
  leave = () => {};
  const refused = key.get() !== null;
  key.forget();
  me = null;
  forget.hidden = true;
  write(document.getElementById("who"), "");
  const input = make("input", {
    id: "key",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "why",
  });
  const why = make(
    "p",
    { id: "why", class: refused ? "bad" : "quiet", role: refused ? "alert" : null },
    refused
      ? "That key is not good, or not any more."
      : "Whoever runs this installation gives you one. It is kept in this browser.",
  );
  main.replaceChildren(
    make(
      "form",
      {
        class: "card lonely stack",
        onsubmit: (event) => {
          event.preventDefault();
          key.set(input.value.trim());
          input.remove();
          enter();
        },
      },
      make("h1", {}, "Your API key"),
      make("label", { for: "key" }, "API key"),
      input,
      why,
      make("button", { class: "main wide" }, "Go on"),
    ),
  );
  input.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
forget.addEventListener("click", () => {
  key.forget();
  gateway.dispatchEvent(new Event("locked"));
});
gateway.addEventListener("locked", lock);
gateway.addEventListener("lost", () => {
  connection.hidden = false;
  connection.className = "lost";
  write(connection, "The connection is lost. It is tried again; nothing is lost.");
});
gateway.addEventListener("back", async () => {
  connection.className = "back";
  write(connection, "The connection is back.");
  await pause(4000);
  if (connection.className === "back") connection.hidden = true;
});
addEventListener("hashchange", async () => {
  takeKey();
  await enter();
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  announce(document.title);
});
addEventListener("beforeunload", (event) => {
  if (sending()) event.preventDefault();
});
takeKey();
enter();
