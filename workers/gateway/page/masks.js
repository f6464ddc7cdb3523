// Masks as canvases can do their arithmetic with: white pictures whose alpha is the mask.

export function layer(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

export function copied(image) {
  const copy = layer(image.width, image.height);
  copy.getContext("2d").drawImage(image, 0, 0);
  return copy;
}

// By fetch, for what an <img> of another host draws could not be read again.
export async function picture(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error("A picture cannot be loaded now. Load the page again.");
  return createImageBitmap(await response.blob());
}

// Of a PNG in which white is the object.
export async function maskOf(address) {
  const image = await picture(address),
    made = layer(image.width, image.height);
  const context = made.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, made.width, made.height),
    { data } = pixels;
  for (let i = 0; i < data.length; i += 4) {
    data[i + 3] = data[i];
    data[i] = data[i + 1] = data[i + 2] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return made;
}

export function marks(mask) {
  const { data } = mask.getContext("2d").getImageData(0, 0, mask.width, mask.height);
  for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return true;
  return false;
}

// The photo, what is not the object dimmed, and the mask's outline, whatever the canvas's size.
export function paint(canvas, photo, mask) {
  const { width, height } = canvas,
    line = Math.max(1.5, width / 256),
    context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0, width, height);
  if (!mask) return;
  const shade = layer(width, height),
    edge = layer(width, height),
    s = shade.getContext("2d"),
    e = edge.getContext("2d");
  s.fillStyle = "rgba(10, 12, 16, .62)";
  s.fillRect(0, 0, width, height);
  s.globalCompositeOperation = "destination-out";
  s.drawImage(mask, 0, 0, width, height);
  for (let turn = 0; turn < 8; turn++) {
    const angle = (turn * Math.PI) / 4;
    e.drawImage(mask, line * Math.cos(angle), line * Math.sin(angle), width, height);
  }
  e.globalCompositeOperation = "destination-out";
  e.drawImage(mask, 0, 0, width, height);
  e.globalCompositeOperation = "source-in";
  e.fillStyle = "#4be38a";
  e.fillRect(0, 0, width, height);
  context.drawImage(shade, 0, 0);
  context.drawImage(edge, 0, 0);
}
