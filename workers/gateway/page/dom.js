// Elements, and numbers in words. Text from a server only ever becomes text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

// make("button", { class: "main", onclick: go }, "Go"): `on...` are listeners, the rest attributes; null and false
// are left out.
export function make(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

function dressed(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(text, onclick, kind = "", more = {}) {
  return make("button", { type: "button", class: kind, onclick, ...more }, text);
}

// Writes only what changed, so that nothing is read out twice.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// For whoever listens rather than looks.
export function announce(text) {
  write(document.getElementById("said"), text);
}

// A problem: what happened, and what to do.
export function notice(kind, title, ...lines) {
  return make(
    "div",
    { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null },
    make("p", { class: "strong" }, title),
    ...lines.filter(Boolean).map((line) => (typeof line === "string" ? make("p", {}, line) : line)),
  );
}

export function trouble(error) {
  return notice("bad", error.detail || error.message, error.action);
}

// A button that cannot be pressed again before its work is done; what goes wrong is put into `place`.
export function busy(control, place, work) {
  return async () => {
    if (control.disabled) return;
    control.disabled = true;
    place.replaceChildren();
    try {
      await work();
    } catch (error) {
      place.replaceChildren(trouble(error));
    } finally {
      control.disabled = false;
    }
  };
}

export function pause(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}

export function inBytes(count) {
  if (count < 1000) return `${count} bytes`;
  const [size, unit] = count < 1e6 ? [count / 1e3, "kB"] : count < 1e9 ? [count / 1e6, "MB"] : [count / 1e9, "GB"];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

export function inTime(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// Steps as coarse as the guess: it would else never stand still.
export function left(seconds) {
  if (seconds < 8) return "a few seconds left";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} s left`;
  return `about ${Math.round(seconds / 60) || 1} min left`;
}

export function when(moment) {
  return new Date(moment).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

// What people call a capture: its name, or the id that it was given, unless that was made up by the gateway.
export function titled({ name, capture_id: id, created }) {
  return name || (/^[0-9a-f]{32}$/.test(id) ? `Untitled, ${when(created)}` : id);
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
