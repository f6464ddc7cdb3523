// Calls of the gateway. What goes wrong is a Problem, with what to do about it.

import { pause } from "./dom.js";

const STORED = "phototwin.key";
export const key = {
  get: () => localStorage.getItem(STORED),
  set: (value) => localStorage.setItem(STORED, value),
  forget: () => localStorage.removeItem(STORED),
};

// "lost" and "back": whether the gateway is reached. "locked": it wants a key.
export const gateway = new EventTarget();
let reached = true;
export function reaching(now) {
  if (now !== reached) gateway.dispatchEvent(new Event(now ? "back" : "lost"));
  reached = now;
}

export class Problem extends Error {
  constructor({ code, detail, action }, status, after = null) {
    super(detail);
    Object.assign(this, { code, detail, action, status, after });
  }
  get passes() {
    // whether the same request may succeed later
    return (
      this.code === "offline" ||
      this.code === "idempotency_key_busy" ||
      this.code === "too_many_requests" ||
      [502, 503, 504].includes(this.status)
    );
  }
}

function offline() {
  return new Problem(
    {
      code: "offline",
      detail: "The gateway cannot be reached.",
      action: "Check the connection: it goes on by itself when that is back. Nothing is lost.",
    },
    0,
  );
}

export function headers(more = {}) {
  return key.get() ? { Authorization: `Bearer ${key.get()}`, ...more } : more;
}

export async function problem(response) {
  if (response.status === 401) gateway.dispatchEvent(new Event("locked"));
  let told = {};
  try {
    told = await response.json();
  } catch {
    // a proxy's page, say
    told = {
      code: "unknown",
      detail: `The gateway answered with ${response.status}.`,
      action: "Try again in a minute.",
    };
  }
  return new Problem(told, response.status, Number(response.headers.get("Retry-After")) || null);
}

async function once(method, path, body, more) {
  const sent = body === undefined ? more : { "Content-Type": "application/json", ...more };
  let response;
  try {
    response = await fetch(`/v1${path}`, {
      method,
      headers: headers(sent),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    reaching(false);
    throw offline();
  }
  reaching(true);
  if (!response.ok) throw await problem(response);
  return response.status === 204 || (response.status === 202 && method === "DELETE") ? null : response.json();
}

export const ask = (path) => once("GET", path);
export const remove = (path) => once("DELETE", path);

// Sent again where no answer came: the Idempotency-Key has it done once all the same.
export async function send(path, body) {
  const more = { "Idempotency-Key": random() };
  for (let tries = 0; ; tries++) {
    try {
      return await once("POST", path, body, more);
    } catch (error) {
      if (!error.passes || tries === 4) throw error;
      await pause(1000 * (error.after || 2 ** tries));
    }
  }
}

// crypto.randomUUID is there on https and localhost only; a phone may come by http from the same network.
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
