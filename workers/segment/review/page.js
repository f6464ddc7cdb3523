// What the page of page.py does: a list of photos with their outlines, and an editor of one of them.
"use strict";
const $ = (id) => document.getElementById(id);
const { width, height, needed, content, images } = JSON.parse($("proposal").textContent);
const THUMBNAIL = 320, UNDOS = 12, MOST_ZOOM = 12;
const press = (button, on) => button.setAttribute("aria-pressed", String(on));
const make = (tag, name, text = "") =>
  Object.assign(document.createElement(tag), { className: name, textContent: text });
let unsaved = false;

// Masks are white pictures whose alpha is the mask, so that canvases can do all the arithmetic.
const layer = (w = width, h = height) => Object.assign(make("canvas", ""), { width: w, height: h });
function copied(image) {
  const copy = layer();
  copy.getContext("2d").drawImage(image, 0, 0);
  return copy;
}
async function load(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
function draw(canvas, photo, mask) {
  const { width: w, height: h } = canvas, line = Math.max(1.5, w / 256);
  const shade = layer(w, h), edge = layer(w, h), s = shade.getContext("2d"), e = edge.getContext("2d");
  if (mask) {
    s.fillStyle = "rgba(10, 12, 16, .62)";
    s.fillRect(0, 0, w, h);
    s.globalCompositeOperation = "destination-out";
    s.drawImage(mask, 0, 0, w, h);
    for (let turn = 0; turn < 8; turn++) {
      const angle = turn * Math.PI / 4;
      e.drawImage(mask, line * Math.cos(angle), line * Math.sin(angle), w, h);
    }
    e.globalCompositeOperation = "destination-out";
    e.drawImage(mask, 0, 0, w, h);
    e.globalCompositeOperation = "source-in";
    e.fillStyle = "#4be38a";
    e.fillRect(0, 0, w, h);
  }
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0, w, h);
  context.drawImage(shade, 0, 0);
  context.drawImage(edge, 0, 0);
}

// The list. An image gets `keep`, and `edited`: the data URL of its mask once that was painted on.
function makeCard(image, index) {
  const card = make("li", image.verdict === "good" ? "card" : "card wide"), about = make("div", "about");
  const look = make("button", "look"), title = make("h2", "", image.name), reasons = make("ul", "");
  const keep = make("button", "", "Keep"), discard = make("button", "no", "Discard"), choice = make("div", "choice");
  const verdict = make("span", "");
  Object.assign(image, { card, look, keepButton: keep, discardButton: discard, verdictShown: verdict });
  Object.assign(image, { keep: image.mask !== null, edited: null });
  if (!image.mask) reasons.append(make("li", "", "It has no outline: paint one to use it."));
  for (const reason of image.reasons) reasons.append(make("li", "", reason));
  look.append(layer(THUMBNAIL, Math.round(THUMBNAIL * height / width)));
  look.setAttribute("aria-label", `Edit ${image.name}`);
  look.onclick = () => edit(index);
  keep.onclick = () => choose(image, true);
  discard.onclick = () => choose(image, false);
  card.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || "kd".includes(event.key))) return;
    event.preventDefault();
    if (!step) choose(image, event.key === "k");
    else if (images[index + step]) images[index + step].look.focus();
  };
  title.append(verdict);
  about.append(title, reasons);
  choice.append(keep, discard);
  card.append(look, about, choice);
  $("photos").append(card);
}
function choose(image, keep) {
  if (keep && !image.mask && !image.edited) {  // there is nothing to keep before something is painted
    if (!$("editor").open) edit(images.indexOf(image));
    return;
  }
  unsaved = unsaved || image.keep !== keep;
  image.keep = keep;
  show(image);
}
function show(image) {
  const kept = images.filter((each) => each.keep).length, mended = images.filter((each) => each.edited).length;
  const pairs = [[image.keepButton, image.discardButton], ...(image === current ? [[$("keep"), $("discard")]] : [])];
  for (const [keep, discard] of pairs) { press(keep, image.keep); press(discard, !image.keep); }
  image.card.classList.toggle("out", !image.keep);
  image.verdictShown.textContent = image.edited ? "mended" : image.verdict;
  image.verdictShown.className = `verdict ${image.edited ? "" : image.verdict}`;
  $("count").textContent = `${kept} of ${images.length} kept${mended ? `, ${mended} mended` : ""}`
    + (kept < needed ? `; at least ${needed} are needed` : "");
  $("save").disabled = kept < needed;
}
async function showPicture(image) {
  const url = image.edited || image.mask;
  draw(image.look.firstChild, await load(image.photo), url && await load(url));
}

// The editor. `view` is where the mask's pixels lie on the stage: how large they are there, and their corner.
let current = null, photo, mask, proposed, undos = [], adding = true, pinching = false, waiting = false, view;
const fingers = new Map();
async function edit(index) {
  current = images[index];
  photo = await load(current.photo);
  mask = current.mask ? copied(await load(current.mask)) : layer();
  proposed = mask.toDataURL("image/png");
  if (current.edited) mask = copied(await load(current.edited));
  undos = [];
  $("title").textContent = `${current.name} · ${index + 1} of ${images.length}`;
  $("before").disabled = index === 0;
  $("after").disabled = index === images.length - 1;
  Object.assign($("paint"), { width, height });
  if (!$("editor").open) $("editor").showModal();
  fit(); redraw(); showTools(); show(current);
}
function take() {
  const made = mask.toDataURL("image/png");
  if (made === (current.edited || proposed)) return;
  const marked = mask.getContext("2d").getImageData(0, 0, width, height).data.some((v, i) => i % 4 === 3 && v > 127);
  Object.assign(current, { keep: marked, edited: marked && made !== proposed ? made : null });
  unsaved = true;
  show(current);
  showPicture(current);
}
function go(step) {
  const index = images.indexOf(current) + step;
  if (!images[index]) return;
  take();
  edit(index);
}
function redraw() {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw($("paint"), photo, mask); });
  waiting = true;
}
function place(wanted) {
  view = wanted;
  $("paint").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
}
function fit() {
  const { clientWidth: w, clientHeight: h } = $("stage"), scale = Math.min(w / width, h / height);
  place({ scale, least: scale, x: (w - scale * width) / 2, y: (h - scale * height) / 2 });
}
function zoom(factor, x = $("stage").clientWidth / 2, y = $("stage").clientHeight / 2) {
  const scale = Math.min(view.scale * factor, view.least * MOST_ZOOM), by = scale / view.scale;
  if (scale <= view.least) fit();
  else place({ ...view, scale, x: x - by * (x - view.x), y: y - by * (y - view.y) });
}
function showTools() {
  press($("add"), adding);
  press($("remove"), !adding);
  $("undo").disabled = !undos.length;
}
function remember() {
  undos = [...undos, copied(mask)].slice(-UNDOS);
  showTools();
}
function takeBack() {
  mask = undos.pop() || mask;
  showTools(); redraw();
}
function stroke(from, to) {
  const context = mask.getContext("2d");
  Object.assign(context, { lineCap: "round", strokeStyle: "#fff", lineWidth: $("size").value / view.scale,
    globalCompositeOperation: adding ? "source-over" : "destination-out" });
  context.beginPath();
  for (const { x, y } of [from, to]) context.lineTo((x - view.x) / view.scale, (y - view.y) / view.scale);
  context.lineTo((to.x - view.x) / view.scale + 0.01, (to.y - view.y) / view.scale);  // a dab is no line else
  context.stroke();
  redraw();
}
function pointOf(event) {
  const box = $("stage").getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}
function between() {
  const [a, b] = [...fingers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
}
$("stage").onpointerdown = (event) => {
  if (event.button > 0 || fingers.size > 1) return;
  $("stage").setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, pointOf(event));
  pinching = fingers.size > 1;
  if (pinching) return takeBack();  // what the first of two fingers has painted was not meant
  remember();
  stroke(pointOf(event), pointOf(event));
};
$("stage").onpointermove = (event) => {
  const to = pointOf(event), from = fingers.get(event.pointerId), size = `${$("size").value}px`;
  $("ring").hidden = event.pointerType === "touch";
  Object.assign($("ring").style, { left: `${to.x}px`, top: `${to.y}px`, width: size, height: size });
  if (!from) return;
  if (!pinching) stroke(from, to);
  const earlier = fingers.size > 1 && between();
  fingers.set(event.pointerId, to);
  if (!earlier) return;
  const now = between();
  place({ ...view, x: view.x + now.x - earlier.x, y: view.y + now.y - earlier.y });
  zoom(now.apart / Math.max(earlier.apart, 1), now.x, now.y);
};
$("stage").onpointerup = $("stage").onpointercancel = (event) => fingers.delete(event.pointerId);
$("stage").onpointerleave = () => { $("ring").hidden = true; };
$("stage").addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), pointOf(event).x, pointOf(event).y);
}, { passive: false });

const commands = {
  add: () => { adding = true; showTools(); }, remove: () => { adding = false; showTools(); }, undo: takeBack,
  reset: async () => { remember(); mask = copied(await load(proposed)); redraw(); },
  in: () => zoom(1.5), out: () => zoom(1 / 1.5), before: () => go(-1), after: () => go(1),
  keep: () => { take(); choose(current, true); }, discard: () => { take(); choose(current, false); },
  done: () => $("editor").close(),
};
const keys = { a: "add", r: "remove", z: "undo", k: "keep", d: "discard", "+": "in", "-": "out",
  ArrowLeft: "before", ArrowRight: "after" };
for (const [id, command] of Object.entries(commands)) $(id).onclick = command;
$("editor").onkeydown = (event) => {
  const id = keys[event.key], chord = event.ctrlKey || event.metaKey || event.altKey;
  if (!id || (chord && id !== "undo") || (event.target === $("size") && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  if (!$(id).disabled) commands[id]();
};
$("editor").onclose = () => { take(); current.look.focus(); };
addEventListener("resize", () => $("editor").open && fit());
addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
$("save").onclick = () => {
  const told = images.map(({ name, keep, edited }) => [name, keep && edited ? { keep, mask: edited } : { keep }]);
  const file = new Blob([JSON.stringify({ images: Object.fromEntries(told), proposal: content })], { type: "application/json" });
  const link = Object.assign(make("a", ""), { download: "decisions.json", href: URL.createObjectURL(file) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  unsaved = false;
  $("count").textContent = "Saved as decisions.json";
};
images.forEach(makeCard);
images.forEach(show);
(async () => { for (const image of images) await showPicture(image); })();
