// The frame that viewer.js fills: it reads the model from the element #model, as base64, when it is loaded. Whoever
// made the frame gives the file.

import { make } from "./dom.js";

const PIECE = 0x8000; // bytes: String.fromCharCode takes so many arguments

addEventListener(
  "message",
  ({ data, source }) => {
    if (source !== parent || !(data instanceof ArrayBuffer)) return;
    const bytes = new Uint8Array(data),
      pieces = [];
    for (let from = 0; from < bytes.length; from += PIECE)
      pieces.push(String.fromCharCode(...bytes.subarray(from, from + PIECE)));
    document.getElementById("model").textContent = btoa(pieces.join(""));
    document.body.append(make("script", { src: "/page/viewer.js" }));
  },
  { once: true },
);
parent.postMessage("ready", location.origin);
