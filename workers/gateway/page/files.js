// What was chosen or dropped, as files with the names they get in the upload.

const JUNK = /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(\/|$)/i;
export const PHOTO = /\.(jpe?g|png|webp|heic|heif)$/i;
export const VIDEO = /\.(mp4|mov|mkv|webm|m4v)$/i;

// Pairs of path and file.
export function chosen(list) {
  return [...list].map((file) => [file.webkitRelativePath || file.name, file]);
}

// The same of what was dropped, folders with all that is in them.
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const roots = items.map((item) => item.webkitGetAsEntry?.() ?? null);
  if (roots.includes(null)) return chosen(transfer.files);
  const found = [];
  for (const root of roots) await walk(root, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push([entry.fullPath.replace(/^\//, ""), await new Promise((done, failed) => entry.file(done, failed))]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // it tells a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

// Adds to `files`, a Map by name. Names are made such as the gateway takes, and no two alike: phones call every
// photo image.jpg. The same file chosen twice is there once. Returns how many were left out, for they are empty.
export function add(files, pairs, taken = () => false) {
  const kept = pairs.filter(([path]) => !JUNK.test(path)),
    top = common(kept.map(([path]) => path));
  let empty = 0;
  for (const [path, file] of kept) {
    if (!file.size) {
      empty++;
      continue;
    }
    const name = tidy(path.slice(top));
    const same = (each) => each && each.size === file.size && each.lastModified === file.lastModified;
    let free = name;
    for (let count = 2; (files.has(free) && !same(files.get(free))) || taken(free); count++)
      free = numbered(name, count);
    files.set(free, file);
  }
  return empty;
}

// How long the folder is that all are in.
function common(paths) {
  const folder = paths[0]?.includes("/") ? paths[0].slice(0, paths[0].indexOf("/") + 1) : "";
  return folder && paths.every((path) => path.startsWith(folder)) ? folder.length : 0;
}

function tidy(path) {
  // eslint-disable-next-line no-control-regex
  return (
    path
      .normalize("NFC")
      .replace(/[\u0000-\u001f\u007f\\]/g, "_")
      .split("/")
      .filter(Boolean)
      .map((part) => part.slice(-120))
      .join("/") || "file"
  );
}

function numbered(name, count) {
  const dot = name.lastIndexOf(".");
  return dot > name.lastIndexOf("/") ? `${name.slice(0, dot)}-${count}${name.slice(dot)}` : `${name}-${count}`;
}

// Which of the files are those that an upload waits for: by name and size, and then by size and the last part of
// the name, for the folder may have been chosen otherwise.
export function matched(files, targets) {
  const found = new Map(),
    base = (name) => name.slice(name.lastIndexOf("/") + 1);
  for (const { name, bytes } of targets) {
    const exact = files.get(name);
    const other = [...files].find(([given, file]) => file.size === bytes && base(given) === base(name));
    if (exact?.size === bytes) found.set(name, exact);
    else if (other) found.set(name, other[1]);
  }
  return found;
}

export function total(files) {
  return [...files.values()].reduce((sum, file) => sum + file.size, 0);
}
