// The model while it is being made: triangles with colours at their corners, turning. A newer one takes the place of
// the older without moving what one looks at. Vectors are arrays of three, matrices of sixteen, column by column.

const VERTEX = `#version 300 es
layout(location=0) in vec3 position; layout(location=1) in vec3 colour;
uniform mat4 view; out vec3 at, c;
void main() { at = position; c = colour; gl_Position = view * vec4(position, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 at, c; uniform vec3 eye, up; out vec4 result;
void main() {
  vec3 n = normalize(cross(dFdx(at), dFdy(at))), towards = normalize(eye - at);
  n *= sign(dot(n, towards));
  float lit = 0.55 + 0.25 * max(dot(n, towards), 0.0) + 0.30 * max(dot(n, up), 0.0);
  result = vec4(pow(clamp(c * lit, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}`;
const SIZES = { 5121: [Uint8Array, 255], 5123: [Uint16Array, 65535], 5125: [Uint32Array, 1], 5126: [Float32Array, 1] };
const WIDTHS = { SCALAR: 1, VEC3: 3, VEC4: 4 };

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const scaled = (a, by) => a.map((value) => value * by);
const plus = (a, b) => a.map((value, i) => value + b[i]);
const unit = (a) => scaled(a, 1 / (Math.hypot(...a) || 1));

// The first mesh of a binary glTF, as the reconstruction sketches it: no textures, no normals, no transforms.
function read(buffer) {
  const words = new DataView(buffer),
    length = words.getUint32(12, true);
  if (words.getUint32(0, true) !== 0x46546c67) throw new Error("This is no binary glTF file.");
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, length)));
  const { attributes, indices } = json.meshes[0].primitives[0];
  const values = (index) => {
    const { bufferView, byteOffset = 0, componentType, count, type } = json.accessors[index],
      [Kind, most] = SIZES[componentType];
    const from = 28 + length + (json.bufferViews[bufferView].byteOffset || 0) + byteOffset;
    const bytes = buffer.slice(from, from + count * WIDTHS[type] * Kind.BYTES_PER_ELEMENT);
    return { values: new Kind(bytes), width: WIDTHS[type], type: componentType, normalized: most > 1, count };
  };
  return {
    positions: values(attributes.POSITION),
    colours: attributes.COLOR_0 === undefined ? null : values(attributes.COLOR_0),
    corners: values(indices),
  };
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, text] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

export class Sketch {
  #gl;
  #program;
  #made = [];
  #count = 0;
  #kind;
  #middle = [0, 0, 0];
  #radius = 0;
  #angle = 0.6;
  #height = 0.3;
  #far = 1;
  #frame = 0;
  #last = 0;
  #due = true;
  turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  up = [0, 1, 0];

  // stopped: called when the user takes hold of it. Raises an Error where there is no WebGL 2.
  constructor(canvas, stopped) {
    this.canvas = canvas;
    this.#gl = canvas.getContext("webgl2", { antialias: true, alpha: true, preserveDrawingBuffer: true });
    if (!this.#gl) throw new Error("This browser has no WebGL 2, which it takes to show the model.");
    this.#program = program(this.#gl);
    this.#steer(() => {
      if (this.turning) {
        this.turning = false;
        stopped();
      }
      this.#due = true;
    });
    const step = (now) => {
      if (this.turning) {
        this.#angle += Math.min(now - this.#last, 100) * 0.0004;
        this.#due = true;
      }
      this.#last = now;
      if (this.#due && this.#count) this.#draw();
      this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  // Shows another. buffer: a binary glTF.
  show(buffer) {
    const gl = this.#gl,
      { positions, colours, corners } = read(buffer),
      low = [1e30, 1e30, 1e30],
      high = [-1e30, -1e30, -1e30];
    positions.values.forEach((value, i) => {
      low[i % 3] = Math.min(low[i % 3], value);
      high[i % 3] = Math.max(high[i % 3], value);
    });
    this.#made.forEach((each) => gl.deleteBuffer(each));
    this.#made = [];
    const put = (target, values) => {
      const made = gl.createBuffer();
      gl.bindBuffer(target, made);
      gl.bufferData(target, values, gl.STATIC_DRAW);
      this.#made.push(made);
    };
    put(gl.ARRAY_BUFFER, positions.values);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, positions.type, false, 0, 0);
    if (colours) {
      put(gl.ARRAY_BUFFER, colours.values);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribPointer(1, colours.width, colours.type, colours.normalized, 0, 0);
    } else {
      gl.disableVertexAttribArray(1);
      gl.vertexAttrib3f(1, 0.6, 0.6, 0.6);
    }
    put(gl.ELEMENT_ARRAY_BUFFER, corners.values);
    Object.assign(this, { triangles: corners.count / 3 });
    this.#count = corners.count;
    this.#kind = corners.type;
    this.#due = true;
    this.#middle = low.map((value, i) => (value + high[i]) / 2);
    this.#radius = Math.hypot(...high.map((value, i) => value - low[i])) / 2 || 1;
  }

  #draw() {
    const gl = this.#gl,
      { canvas } = this,
      scale = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * scale),
      height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.#due = false;
    const up = unit(this.up),
      side = unit(cross(up, Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 0, 1])),
      ahead = cross(side, up);
    const around = plus(scaled(side, Math.sin(this.#angle)), scaled(ahead, Math.cos(this.#angle)));
    const back = plus(scaled(around, Math.cos(this.#height)), scaled(up, Math.sin(this.#height)));
    const right = unit(cross(up, back)),
      over = cross(back, right),
      distance = (this.#far * this.#radius) / Math.sin((13 * Math.PI) / 180);
    const eye = plus(this.#middle, scaled(back, distance)),
      aspect = width / height;
    const focal = (1 / Math.tan((15 * Math.PI) / 180)) * Math.min(1, aspect),
      near = Math.max(distance - 2 * this.#radius, 0.02 * distance),
      far = distance + 2 * this.#radius;
    const deep = (near + far) / (near - far),
      rows = [
        scaled([...right, -dot(right, eye)], focal / aspect),
        scaled([...over, -dot(over, eye)], focal),
        plus(scaled([...back, -dot(back, eye)], deep), [0, 0, 0, (2 * near * far) / (near - far)]),
        scaled([...back, -dot(back, eye)], -1),
      ];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.#program);
    gl.uniformMatrix4fv(
      gl.getUniformLocation(this.#program, "view"),
      false,
      [0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column])),
    );
    gl.uniform3fv(gl.getUniformLocation(this.#program, "eye"), eye);
    gl.uniform3fv(gl.getUniformLocation(this.#program, "up"), up);
    gl.drawElements(gl.TRIANGLES, this.#count, this.#kind, 0);
  }

  #steer(moved) {
    const { canvas } = this,
      fingers = new Map();
    const swing = (x, y) => {
      this.#angle -= x;
      this.#height = Math.min(Math.max(this.#height + y, -1.5), 1.5);
      moved();
    };
    const closer = (by) => {
      this.#far = Math.min(Math.max(this.#far * by, 0.2), 4);
      moved();
    };
    const apart = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y) || 1;
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId),
        before = fingers.size === 2 && apart();
      if (!last) return;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (before) closer(before / apart());
      else if (fingers.size === 1) swing((event.clientX - last.x) * 0.008, (event.clientY - last.y) * 0.008);
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (step) swing(...step);
      else if (event.key === "+" || event.key === "-") closer(event.key === "+" ? 0.9 : 1.1);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => {
      this.#due = true;
    }).observe(canvas);
  }
}
