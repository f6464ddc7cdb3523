"use strict";
// A viewer of binary glTF 2.0 in WebGL 2: one metallic-roughness material a mesh, under the studio light of the
// poster. Vectors are arrays of three, matrices of sixteen, column by column.

const NUMBERS = { 5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const WIDTH = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };
const PLACES = { POSITION: 0, NORMAL: 1, TEXCOORD_0: 2, TANGENT: 3 };

const VERTEX = `#version 300 es
layout(location=0) in vec3 position; layout(location=1) in vec3 normal;
layout(location=2) in vec2 uv; layout(location=3) in vec4 tangent;
uniform mat4 model, view; uniform mat3 turn;
out vec3 at, n, t; out vec2 texel; out float hand;
void main() {
  vec4 world = model * vec4(position, 1.0);
  at = world.xyz; n = turn * normal; t = turn * tangent.xyz; hand = tangent.w; texel = uv;
  gl_Position = view * world;
}`;

// The light: a white room, brighter above, and two lamps, whose edges blur with the roughness that mirrors them.
// Environment BRDF: Karis's fit of the split sum (2014, "Physically based shading on mobile").
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 at, n, t; in vec2 texel; in float hand;
uniform vec3 eye; uniform int shown; uniform vec4 colour; uniform vec2 rm;
uniform sampler2D kd, ks, bent;
out vec4 result;
const vec3 LAMP1 = vec3(-0.609, 0.609, 0.508), LAMP2 = vec3(0.717, 0.359, -0.615);
float lamp(float cosine, float width, float rough) {
  float soft = mix(0.333, 1.6, rough) * (1.0 - width), reach = width - rough * 0.9;
  return clamp((cosine - reach) / max(soft + rough * 0.9, 1e-3), 0.0, 1.0) * mix(1.0, 0.22, rough);
}
vec3 mirrored(vec3 d, float rough) {
  float room = 0.32 + 0.38 * clamp(d.y, -0.4, 1.0);
  return vec3(room + 2.6 * lamp(dot(d, LAMP1), 0.80, rough) + 1.6 * lamp(dot(d, LAMP2), 0.88, rough));
}
vec3 even(vec3 d) {
  float room = 0.33 + 0.25 * d.y;
  return vec3(room + 2.6 * 0.16 * max(dot(d, LAMP1), 0.0) + 1.6 * 0.09 * max(dot(d, LAMP2), 0.0));
}
vec3 encoded(vec3 c) {
  c = clamp(c, 0.0, 1.0);
  return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
void main() {
  vec3 base = texture(kd, texel).rgb * colour.rgb, orm = texture(ks, texel).rgb;
  float rough = clamp(orm.g * rm.x, 0.04, 1.0), metal = orm.b * rm.y;
  vec3 normal = normalize(n), along = t - normal * dot(normal, t);
  if (dot(along, along) > 1e-12) {
    vec3 b = texture(bent, texel).rgb * 2.0 - 1.0;
    along = normalize(along);
    normal = normalize(along * b.x + cross(normal, along) * hand * b.y + normal * b.z);
  }
  vec3 towards = normalize(eye - at);
  float cosine = max(dot(normal, towards), 0.03);
  vec4 r = rough * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
  vec2 split = vec2(-1.04, 1.04) * (min(r.x * r.x, exp2(-9.28 * cosine)) * r.x + r.y) + r.zw;
  vec3 f0 = mix(vec3(0.04), base, metal);
  vec3 lit = (1.0 - metal) * base * even(normal) * orm.r
    + mirrored(reflect(-towards, normal), rough) * (f0 * split.x + split.y) * mix(1.0, orm.r, rough);
  if (shown == 0) result = vec4(encoded(lit), 1.0);
  else if (shown == 1) result = vec4(encoded(base), 1.0);
  else if (shown == 5) result = vec4(normal * 0.5 + 0.5, 1.0);
  else result = vec4(vec3(shown == 2 ? orm.g * rm.x : shown == 3 ? metal : orm.r), 1.0);
}`;

const GROUND_VERTEX = `#version 300 es
uniform mat4 view; uniform vec4 foot; out vec2 place;
void main() {
  place = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  gl_Position = view * vec4(foot.x + place.x * foot.w, foot.y, foot.z + place.y * foot.w, 1.0);
}`;
const GROUND_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place; uniform vec2 reach; out vec4 result;
void main() {
  float r = length(place / reach);
  result = vec4(0.0, 0.0, 0.0, 0.42 * exp(-2.6 * r * r) * smoothstep(1.0, 0.6, length(place)));
}`;

function parse(bytes) {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 20 || words.getUint32(0, true) !== 0x46546c67) throw new Error("This is no binary glTF file.");
  const length = words.getUint32(12, true);
  const json = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
  const strange = (json.extensionsRequired || []).filter((name) => !["KHR_mesh_quantization", "EXT_texture_webp"].includes(name));
  if (strange.length) throw new Error(`This file needs ${strange.join(" and ")}; open model.glb instead.`);
  return { json, binary: bytes.subarray(28 + length) };
}

function accessor({ json, binary }, index) {
  const told = json.accessors[index], view = json.bufferViews[told.bufferView];
  const kind = NUMBERS[told.componentType], width = WIDTH[told.type];
  const offset = binary.byteOffset + (view.byteOffset || 0) + (told.byteOffset || 0);
  const packed = view.byteStride && view.byteStride !== width * kind.BYTES_PER_ELEMENT;
  if (packed) throw new Error("Interleaved vertices are not read.");
  return { told, width, values: new kind(binary.buffer, offset, told.count * width) };
}

async function picture({ json, binary }, texture) {
  const source = json.textures[texture.index];
  const image = json.images[source.source ?? source.extensions.EXT_texture_webp.source];
  const view = json.bufferViews[image.bufferView], from = view.byteOffset || 0;
  const blob = new Blob([binary.subarray(from, from + view.byteLength)], { type: image.mimeType });
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

// Where nobody knows which way is up, that of the photographers, turned to +y: the smallest rotation that does.
function upright({ up_of_photographers: up }) {
  if (!Array.isArray(up)) return new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  const [x, y, z] = up, k = 1 / Math.max(1 + y, 1e-6);
  return new Float32Array([1 - x * x * k, x, -x * z * k, 0, -x, y, -z, 0, -x * z * k, z, 1 - z * z * k, 0, 0, 0, 0, 1]);
}

function product(a, b) {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++)
    for (let k = 0; k < 4; k++) out[c * 4 + r] += a[k * 4 + r] * b[c * 4 + k];
  return out;
}

function local(node) {
  if (node.matrix) return new Float32Array(node.matrix);
  const [x, y, z, w] = node.rotation || [0, 0, 0, 1], s = node.scale || [1, 1, 1], p = node.translation || [0, 0, 0];
  return new Float32Array([
    s[0] * (1 - 2 * (y * y + z * z)), s[0] * 2 * (x * y + z * w), s[0] * 2 * (x * z - y * w), 0,
    s[1] * 2 * (x * y - z * w), s[1] * (1 - 2 * (x * x + z * z)), s[1] * 2 * (y * z + x * w), 0,
    s[2] * 2 * (x * z + y * w), s[2] * 2 * (y * z - x * w), s[2] * (1 - 2 * (x * x + y * y)), 0, ...p, 1]);
}

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text); gl.compileShader(shader); gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return { made, at: (name) => gl.getUniformLocation(made, name) };
}

function upload(gl, unit, image, srgb, plain) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  const format = srgb ? gl.SRGB8_ALPHA8 : gl.RGBA8;
  if (image) gl.texImage2D(gl.TEXTURE_2D, 0, format, gl.RGBA, gl.UNSIGNED_BYTE, image);
  else gl.texImage2D(gl.TEXTURE_2D, 0, format, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(plain));
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
  const finer = gl.getExtension("EXT_texture_filter_anisotropic");
  if (finer) gl.texParameterf(gl.TEXTURE_2D, finer.TEXTURE_MAX_ANISOTROPY_EXT, 8);
}

// The first mesh of the scene, on the graphics card: how to draw it, where it is, and what to say of it.
async function load(gl, file) {
  const { json } = file;
  let found = null;
  const visit = (index, above) => {
    const node = json.nodes[index], matrix = product(above, local(node));
    if (node.mesh !== undefined && !found) found = { primitive: json.meshes[node.mesh].primitives[0], matrix };
    for (const child of node.children || []) visit(child, matrix);
  };
  for (const root of json.scenes[json.scene || 0].nodes) visit(root, upright(json.asset.extras || {}));
  if (!found) throw new Error("There is no mesh in this file.");
  const { primitive, matrix } = found;
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  const vertices = accessor(file, primitive.attributes.POSITION);
  for (const [name, place] of Object.entries(PLACES)) {
    if (primitive.attributes[name] === undefined) { gl.vertexAttrib4f(place, 0, 0, 0, 1); continue; }
    const { told, width, values } = accessor(file, primitive.attributes[name]);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, told.componentType, !!told.normalized, 0, 0);
  }
  const { told, values } = accessor(file, primitive.indices);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values, gl.STATIC_DRAW);
  const material = (json.materials || [])[primitive.material] || {}, pbr = material.pbrMetallicRoughness || {};
  const images = await Promise.all([pbr.baseColorTexture, pbr.metallicRoughnessTexture, material.normalTexture]
    .map((texture) => texture && picture(file, texture)));
  upload(gl, 0, images[0], true, [255, 255, 255, 255]);
  upload(gl, 1, images[1], false, [255, 255, 255, 255]);
  upload(gl, 2, images[2], false, [128, 128, 255, 255]);
  const unit = vertices.told.normalized ? 2 ** (8 * vertices.values.BYTES_PER_ELEMENT - 1) - 1 : 1;
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < vertices.values.length; i += 3) for (let r = 0; r < 3; r++) {
    const v = vertices.values, at = (v[i] * matrix[r] + v[i + 1] * matrix[4 + r] + v[i + 2] * matrix[8 + r]) / unit + matrix[12 + r];
    low[r] = Math.min(low[r], at); high[r] = Math.max(high[r], at);
  }
  const scale = (json.asset.extras || {}).scale;
  return {
    array, matrix, low, high, count: told.count, kind: told.componentType, known: typeof scale === "number",
    colour: pbr.baseColorFactor || [1, 1, 1, 1], rm: [pbr.roughnessFactor ?? 1, pbr.metallicFactor ?? 1],
  };
}

function turned(matrix) {
  const m = matrix, out = [];
  for (const c of [0, 4, 8]) {
    const length = Math.hypot(m[c], m[c + 1], m[c + 2]) || 1;
    out.push(m[c] / length, m[c + 1] / length, m[c + 2] / length);
  }
  return new Float32Array(out);
}

function seen(camera, middle, radius, aspect) {
  const { azimuth, elevation, distance } = camera, near = distance * 0.05, far = distance + 8 * radius;
  const back = [Math.sin(azimuth) * Math.cos(elevation), Math.sin(elevation), Math.cos(azimuth) * Math.cos(elevation)];
  const right = [Math.cos(azimuth), 0, -Math.sin(azimuth)];
  const up = [back[1] * right[2] - back[2] * right[1], back[2] * right[0] - back[0] * right[2], back[0] * right[1] - back[1] * right[0]];
  const eye = middle.map((m, i) => m + back[i] * distance);
  const along = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
  const look = new Float32Array([right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    along(right), along(up), along(back), 1]);
  const focal = 1 / Math.tan(15 * Math.PI / 180), wide = Math.min(1, aspect);
  const lens = new Float32Array([focal * wide / aspect, 0, 0, 0, 0, focal * wide, 0, 0, 0, 0, (near + far) / (near - far), -1,
    0, 0, 2 * near * far / (near - far), 0]);
  return { eye, view: product(lens, look) };
}

function steer(canvas, camera, home, moved) {
  const fingers = new Map();
  let apart = 0;
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const closer = (factor) => { camera.distance = Math.min(Math.max(camera.distance * factor, home.distance * 0.15), home.distance * 4); };
  const swing = (x, y) => { camera.azimuth -= x; camera.elevation = Math.min(Math.max(camera.elevation + y, -1.55), 1.55); };
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    if (fingers.size === 2) apart = spread();
  });
  canvas.addEventListener("pointermove", (e) => {
    const last = fingers.get(e.pointerId);
    if (!last) return;
    if (fingers.size === 1) swing((e.clientX - last.x) * 0.008, (e.clientY - last.y) * 0.008);
    fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    if (fingers.size === 2) { const now = spread(); closer(apart / Math.max(now, 1)); apart = now; }
    moved();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); closer(Math.exp(e.deltaY * 0.001)); moved(); }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
    if (step) swing(...step);
    else if (e.key === "+" || e.key === "-") closer(e.key === "+" ? 0.9 : 1.1);
    else return;
    e.preventDefault(); moved();
  });
}

async function start() {
  const canvas = document.querySelector("canvas"), gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) throw new Error("This browser has no WebGL 2, which it takes to show the model.");
  const text = atob(document.getElementById("model").textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const model = await load(gl, parse(bytes));
  const { low, high } = model, middle = low.map((v, i) => (v + high[i]) / 2), size = high.map((v, i) => v - low[i]);
  const radius = Math.hypot(...size) / 2 || 1;
  const sizes = model.known ? `, ${size.map((v) => (100 * v).toFixed(1)).join(" x ")} cm` : "";
  document.getElementById("facts").textContent = `${(model.count / 3).toLocaleString("en")} triangles${sizes}`;
  const paint = program(gl, VERTEX, FRAGMENT), ground = program(gl, GROUND_VERTEX, GROUND_FRAGMENT);
  const nothing = gl.createVertexArray(), home = { azimuth: 0.6, elevation: 0.35, distance: radius / Math.sin(13 * Math.PI / 180) };
  const camera = { ...home }, shown = document.getElementById("shown"), turn = document.getElementById("turn");
  const still = new URLSearchParams(location.search).has("still") || matchMedia("(prefers-reduced-motion: reduce)").matches;
  let turning = !still, due = true, last = 0;
  turn.setAttribute("aria-pressed", turning);
  const moved = () => { if (turning) { turning = false; turn.setAttribute("aria-pressed", false); } due = true; };
  steer(canvas, camera, home, moved);
  shown.addEventListener("change", () => { due = true; });
  turn.addEventListener("click", () => { turning = !turning; turn.setAttribute("aria-pressed", turning); });
  document.getElementById("reset").addEventListener("click", () => { Object.assign(camera, home); due = true; });
  addEventListener("resize", () => { due = true; });
  canvas.addEventListener("webglcontextlost", () => { say("The graphics card was taken away; load the page again."); });

  const foot = new Float32Array([middle[0], low[1], middle[2], 1.6 * radius]);
  const reach = [Math.max(size[0] / (3.2 * radius), 0.05) * 1.2, Math.max(size[2] / (3.2 * radius), 0.05) * 1.2];
  const draw = () => {
    const scale = Math.min(devicePixelRatio || 1, 2), width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0.86, 0.86, 0.86, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT); gl.enable(gl.DEPTH_TEST);
    const { eye, view } = seen(camera, middle, radius, width / height);
    gl.useProgram(paint.made);
    gl.uniformMatrix4fv(paint.at("model"), false, model.matrix); gl.uniformMatrix4fv(paint.at("view"), false, view);
    gl.uniformMatrix3fv(paint.at("turn"), false, turned(model.matrix));
    gl.uniform3fv(paint.at("eye"), eye); gl.uniform1i(paint.at("shown"), Number(shown.value));
    gl.uniform4fv(paint.at("colour"), model.colour); gl.uniform2fv(paint.at("rm"), model.rm);
    ["kd", "ks", "bent"].forEach((name, unit) => gl.uniform1i(paint.at(name), unit));
    gl.bindVertexArray(model.array); gl.drawElements(gl.TRIANGLES, model.count, model.kind, 0);
    gl.useProgram(ground.made);
    gl.uniformMatrix4fv(ground.at("view"), false, view); gl.uniform4fv(ground.at("foot"), foot); gl.uniform2fv(ground.at("reach"), reach);
    gl.enable(gl.BLEND); gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA); gl.depthMask(false);
    if (camera.elevation > 0) { gl.bindVertexArray(nothing); gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4); }
    gl.depthMask(true); gl.disable(gl.BLEND);
  };
  const frame = (now) => {
    if (turning) { camera.azimuth += Math.min(now - last, 100) * 0.0004; due = true; }
    last = now;
    if (due) { due = false; draw(); document.body.dataset.state = "ready"; }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function say(text) { document.getElementById("said").textContent = text; document.body.dataset.state = "failed"; }
start().catch((error) => say(error.message));
