// Sends a capture's files to the addresses that the gateway hands out, three at a time, until all are there.
// A lost connection is waited out; what has arrived is not sent again.

import { ask, reaching, send } from "./api.js";
import { hope } from "./live.js";

const AT_ONCE = 3,
  STALLED = 30_000,
  LONGEST = 30_000,
  PATIENCE = 8;
const AGAIN = ["put_lost", "put_refused", "upload_incomplete"];
const uploads = new Map();

export const uploadOf = (id) => uploads.get(id) || null;
export const sending = () => [...uploads.values()].some((upload) => upload.state === "sending");

// Begins, or goes on. files: Map by name. targets: where they go, if that is known already.
export function upload(id, files, targets = null) {
  const made = new Upload(id, files, targets);
  uploads.get(id)?.stop();
  uploads.set(id, made);
  made.run();
  return made;
}

// Events: "change" when any of what can be read of it has changed.
class Upload extends EventTarget {
  state = "sending"; // sending, lacking (some files were not chosen), done, failed, stopped
  error = null;
  waiting = false; // for the connection
  lacking = []; // names
  #flying = new Map(); // what of the requests under way was sent
  #requests = new Set();
  #targets;

  constructor(id, files, targets) {
    super();
    Object.assign(this, { id, files });
    this.#targets = targets;
  }
  get total() {
    return this.#targets ? this.#targets.reduce((sum, { bytes }) => sum + bytes, 0) : 0;
  }
  get sent() {
    const there = (target) =>
      target.received ? target.bytes : target.parts.reduce((sum, part) => sum + (part.received ? part.bytes : 0), 0);
    const arrived = (this.#targets || []).reduce((sum, target) => sum + there(target), 0);
    return [...this.#flying.values()].reduce((sum, each) => sum + each, arrived);
  }
  get count() {
    return this.#targets ? this.#targets.length : 0;
  }
  get received() {
    return (this.#targets || []).filter((target) => target.received).length;
  }

  stop() {
    this.state = "stopped";
    this.#abort();
  }
  #abort() {
    for (const request of this.#requests) request.abort();
  }

  #change(changes = {}) {
    if (this.state !== "stopped") Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  async run() {
    const part = () => this.#abort();
    addEventListener("offline", part);
    const awake = await navigator.wakeLock?.request("screen").catch(() => null);
    let fresh = this.#targets !== null,
      vain = 0;
    try {
      while (this.state === "sending") {
        const before = this.sent;
        try {
          if (!fresh) this.#targets = (await ask(`/captures/${this.id}/uploads`)).files;
          await this.#round();
          if (this.state === "sending") await this.#end();
        } catch (error) {
          if (error.code === "state_conflict") return this.stop(); // it was completed, or cancelled, elsewhere
          vain = this.sent > before ? 0 : vain + 1;
          if (!error.passes && !(AGAIN.includes(error.code) && vain < PATIENCE)) throw error;
          this.#change({ waiting: ["offline", "put_lost"].includes(error.code) });
          fresh = false; // other addresses, and what has arrived
          await hope(Math.min(LONGEST, 500 * 2 ** vain));
        }
      }
    } catch (error) {
      this.#change({ state: "failed", error });
    } finally {
      removeEventListener("offline", part);
      awake?.release();
    }
  }

  // Sends once all that is missing. Raises the first problem, after the rest was tried.
  async #round() {
    const work = [];
    for (const target of this.#targets.filter((each) => !each.received)) {
      const file = this.files.get(target.name);
      if (!file || file.size !== target.bytes) continue;
      if (!target.parts.length) work.push([target, target, file]);
      for (const part of target.parts.filter((each) => !each.received))
        work.push([target, part, file.slice(part.offset, part.offset + part.bytes)]);
    }
    let failed = null;
    const worker = async () => {
      for (let job = work.shift(); job && failed?.code !== "put_lost" && this.state === "sending"; job = work.shift()) {
        const [target, piece, blob] = job;
        try {
          await this.#put(piece, target.headers, blob);
          piece.received = true;
          if (target.parts.length) target.received = target.parts.every((part) => part.received);
          this.#change({ waiting: false });
        } catch (error) {
          failed ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failed) throw failed;
  }

  #put(piece, headers, blob) {
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      let timer = 0;
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => request.abort(), STALLED);
      };
      request.open("PUT", piece.url);
      for (const [name, value] of Object.entries(headers))
        if (!/^(content-length|host)$/i.test(name)) request.setRequestHeader(name, value); // the browser's own
      request.upload.onprogress = ({ loaded }) => {
        alive();
        this.#flying.set(request, loaded);
        this.#change();
      };
      request.onloadend = () => {
        clearTimeout(timer);
        this.#flying.delete(request);
        this.#requests.delete(request);
        if (request.status >= 200 && request.status < 300) {
          reaching(true);
          done();
        } else failed(refused(request));
      };
      this.#requests.add(request);
      alive();
      request.send(blob);
    });
  }

  async #end() {
    const lacking = this.#targets.filter((target) => !target.received).map((target) => target.name);
    if (lacking.length) return this.#change({ state: "lacking", lacking });
    await send(`/captures/${this.id}/complete`);
    this.#change({ state: "done" });
  }
}

// An answer of the store that is none of success, or none at all. An address may have expired: there are others.
function refused({ status, responseText }) {
  let told = {};
  try {
    told = JSON.parse(responseText);
  } catch {
    // S3 answers in XML
    told = {};
  }
  const lost = status === 0;
  const detail =
    told.detail ||
    (lost
      ? "The files cannot be sent to where they are kept."
      : `A file was refused where it is to be kept (${status}).`);
  const action = lost
    ? "Check the connection, then choose the files again: only what is missing is sent."
    : told.action;
  return Object.assign(new Error(detail), {
    code: lost ? "put_lost" : "put_refused",
    status,
    detail,
    passes: status >= 500 || status === 429,
    action: action || "Choose the files again: only what is missing is sent.",
  });
}
