// What happens to a capture, as it happens: server-sent events read by fetch, for an EventSource cannot send a
// key. Where these fail, its status is asked for every few seconds; nothing else is lost by that.

import { ask, headers, problem, reaching } from "./api.js";
import { pause } from "./dom.js";

// Milliseconds. A comment comes every 15 s; a page that nobody sees leaves its connection to others.
const SILENCE = 40_000,
  UNSEEN = 60_000,
  POLL = 3000,
  LONGEST = 15_000;

// told(status), progress(envelope): called as it comes. gone(): the capture is not there
// any more. Returns what ends it.
export function follow(id, { told, progress, gone }) {
  const ended = new AbortController(),
    { signal } = ended;
  let last = "",
    newest = -1;

  const hear = (status) => {
    // what comes again is told once
    if (status.number < newest || signal.aborted) return;
    newest = status.number;
    told(status);
  };
  const take = (name, number, data) => {
    if (signal.aborted) return;
    const value = JSON.parse(data);
    if (name === "deleted") leave();
    else if (name === "status") hear(value);
    else if (name === "job.progress") progress(value);
    if (number !== null && name === "status") last = number;
  };
  function leave() {
    ended.abort();
    gone();
  }
  const over = (error) => {
    if (error.status === 404) leave();
    return error.status === 401 || signal.aborted;
  };

  async function stream(heard) {
    const broken = new AbortController(),
      stop = () => broken.abort();
    let silence = setTimeout(stop, SILENCE),
      unseen = 0;
    const look = () => {
      clearTimeout(unseen);
      if (document.hidden) unseen = setTimeout(stop, UNSEEN);
    };
    signal.addEventListener("abort", stop);
    addEventListener("offline", stop); // whether it is so is found when it is asked again
    document.addEventListener("visibilitychange", look);
    look();
    try {
      const more = headers({ "Last-Event-ID": last });
      const response = await fetch(`/v1/captures/${id}/events`, {
        headers: more,
        signal: broken.signal,
        cache: "no-store",
      });
      if (!response.ok) throw await problem(response);
      reaching(true);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(),
        parse = parser(take);
      for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE);
        heard();
        parse(value);
      }
    } finally {
      for (const timer of [silence, unseen]) clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      removeEventListener("offline", stop);
      document.removeEventListener("visibilitychange", look);
      stop();
    }
  }

  async function run() {
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await stream(() => {
          failures = 0;
        });
      } catch (error) {
        if (over(error)) return;
      }
      await seen(signal);
      const polls = failures < 3 ? 1 : 10; // before the stream is tried again
      for (let poll = 0; poll < polls && !signal.aborted; poll++) {
        try {
          hear(await ask(`/captures/${id}`));
          await hope(failures < 3 ? 500 : POLL, signal);
        } catch (error) {
          if (over(error)) return;
          await hope(Math.min(LONGEST, 1000 * 2 ** Math.min(failures + poll, 4)), signal);
        }
      }
    }
  }

  run();
  return () => ended.abort();
}

// Until somebody looks at the page.
async function seen(signal) {
  while (document.hidden && !signal.aborted) await pause(1000, signal);
}

// A pause of about that many milliseconds, cut short when the network is back.
export async function hope(milliseconds, signal) {
  const woken = new AbortController(),
    wake = () => woken.abort();
  signal?.addEventListener("abort", wake);
  addEventListener("online", wake);
  await pause(milliseconds * (0.75 + Math.random() / 2), woken.signal);
  removeEventListener("online", wake);
  signal?.removeEventListener("abort", wake);
}

// Feeds on pieces of an event stream, and calls take(event, id, data) for each whole event. `id` is that of the
// event itself, or null: the standard would have it go on from the one before.
export function parser(take) {
  let rest = "",
    name = "message",
    number = null,
    data = [];
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n|\r(?=[^\n])/);
    rest = lines.pop();
    for (const line of lines) {
      const colon = line.indexOf(":"),
        field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (line === "") {
        if (data.length) take(name, number, data.join("\n"));
        name = "message";
        number = null;
        data = [];
      } else if (field === "event") name = value;
      else if (field === "id") number = value;
      else if (field === "data") data.push(value);
    }
  };
}
