/* Maps on triangulated surfaces in 3-D: a small WebGL 2 renderer with picking, color maps, bands and lines.
   Orthographic; eye coordinates have x to the right, y up and z towards the viewer. */
"use strict";

const Maps = (() => {
  const MISSING = 1e30;

  const SURFACE_VERTEX = `#version 300 es
    in vec3 position; in vec3 normal; in float value;
    uniform mat3 rotation; uniform vec3 center; uniform vec2 scale; uniform float depth;
    out vec3 eyeNormal; out float v, height;
    void main() {
      vec3 p = rotation * (position - center);
      eyeNormal = rotation * normal;
      v = value;
      height = p.z;
      gl_Position = vec4(p.xy * scale, -p.z * depth, 1.0);
    }`;

  const SURFACE_FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 eyeNormal; in float v, height;
    uniform sampler2D palette; uniform vec3 plain; uniform float cut, hollow;
    uniform float low, high, band, line, front;
    out vec4 color;
    void main() {
      float known = gl_FrontFacing || hollow > 0.5 ? step(v, 1e20) : 0.0;
      float spacing = line > 0.0 ? line : 1.0;
      float u = (v - low) / spacing;
      float width = max(fwidth(u), 1e-9);
      float s = band > 0.0 ? (floor((v - low) / band) + 0.5) * band : v - low;
      vec3 base = texture(palette, vec2(clamp(s / (high - low), 0.002, 0.998), 0.5)).rgb;
      float away = abs(fract(u - 0.5) - 0.5) / width;
      bool within = v > low - 0.25 * spacing && v < high + 0.25 * spacing;
      if (line > 0.0 && width > 1e-5 && width < 0.7 && within) base = mix(base * 0.45, base, smoothstep(0.3, 1.2, away));
      float fromFront = abs(v - front) / (width * spacing);
      if (front < 1e20 && v < 1e20 && width > 1e-5) base = mix(vec3(0.05), base, smoothstep(1.2, 2.2, fromFront));
      base = mix(plain, base, known);
      if (height > cut) discard;
      vec3 n = normalize(gl_FrontFacing ? eyeNormal : -eyeNormal);
      float light = 0.66 + 0.34 * max(dot(n, normalize(vec3(-0.35, 0.45, 1.0))), 0.0);
      color = vec4(base * light, 1.0);
    }`;

  const POINT_VERTEX = `#version 300 es
    in vec3 position; in vec3 fill; in float size;
    uniform mat3 rotation; uniform vec3 center; uniform vec2 scale; uniform float depth, lift, pixel;
    out vec3 inner; out float diameter, height;
    void main() {
      vec3 p = rotation * (position - center);
      inner = fill;
      height = p.z;
      diameter = size * pixel;
      gl_PointSize = diameter;
      gl_Position = vec4(p.xy * scale, -(p.z + lift) * depth, 1.0);
    }`;

  const POINT_FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 inner; in float diameter, height;
    uniform float cut;
    out vec4 color;
    void main() {
      float r = length(gl_PointCoord - 0.5) * diameter;
      float edge = diameter * 0.5;
      if (r > edge || height > cut) discard;
      float ring = smoothstep(edge - diameter * 0.22 - 0.7, edge - diameter * 0.22 + 0.3, r);
      color = vec4(mix(inner, vec3(1.0), ring), 1.0);
    }`;

  function program(gl, vertex, fragment) {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const uniforms = {};
    const count = gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS);
    for (let i = 0; i < count; i++) {
      const name = gl.getActiveUniform(made, i).name;
      uniforms[name] = gl.getUniformLocation(made, name);
    }
    return { made, uniforms, at: (name) => gl.getAttribLocation(made, name) };
  }

  function nodeNormals(points, triangles) {
    const normals = new Float32Array(points.length);
    for (let t = 0; t < triangles.length; t += 3) {
      const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
      const u = [0, 1, 2].map((k) => points[b + k] - points[a + k]);
      const w = [0, 1, 2].map((k) => points[c + k] - points[a + k]);
      const n = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
    }
    return normals;
  }

  /** Row-major 3 x 3 product. */
  function multiply(a, b) {
    const out = new Array(9).fill(0);
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 3; j++)
        for (let k = 0; k < 3; k++) out[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    return out;
  }

  function orthonormal(r) {
    const unit = (v) => { const l = Math.hypot(...v); return v.map((x) => x / l); };
    const x = unit(r.slice(0, 3));
    const y0 = r.slice(3, 6);
    const d = x[0] * y0[0] + x[1] * y0[1] + x[2] * y0[2];
    const y = unit(y0.map((v, k) => v - d * x[k]));
    return [...x, ...y, x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
  }

  /** Turn by pixels dragged: to the right about the eye's y, downwards about the eye's x. */
  function turned(rotation, dx, dy) {
    const [a, b] = [dx * 0.009, dy * 0.009];
    const [ca, sa, cb, sb] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
    const step = multiply([1, 0, 0, 0, cb, -sb, 0, sb, cb], [ca, 0, sa, 0, 1, 0, -sa, 0, ca]);
    return orthonormal(multiply(step, rotation));
  }

  /** One surface in one canvas. `camera` ({rotation}) may be shared; `onTurn` is told when it is turned. Cut open, the
      inside of a hollow surface shows the map; of a solid one (the wall of the heart) it is plain. */
  class View {
    constructor(canvas, { points, triangles, camera, hollow = true, onTurn, onPick, onHover }) {
      this.canvas = canvas;
      Object.assign(this, { points, triangles, camera, hollow, onTurn, onPick, onHover });
      this.count = points.length / 3;
      this.zoom = 1;
      this.marks = [];
      this.colors = { low: -1, high: 1, band: 0, line: 0 };
      this.front = MISSING;
      this.cut = Infinity;
      this.through = false;
      this.gl = canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
      if (!this.gl) throw new Error("This browser offers no WebGL 2, which the 3-D maps need.");
      this.#measure();
      this.#build();
      this.#listen();
      new ResizeObserver(() => this.draw()).observe(canvas);
    }

    #measure() {
      const p = this.points;
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      for (let i = 0; i < p.length; i++) {
        low[i % 3] = Math.min(low[i % 3], p[i]);
        high[i % 3] = Math.max(high[i % 3], p[i]);
      }
      this.center = low.map((v, k) => (v + high[k]) / 2);
      this.radius = Math.hypot(...low.map((v, k) => (high[k] - v) / 2));
      const r = this.camera.rotation;
      this.half = [0, 1].map((row) => {
        let most = 1e-9;
        for (let i = 0; i < p.length; i += 3) {
          let x = 0;
          for (let k = 0; k < 3; k++) x += r[3 * row + k] * (p[i + k] - this.center[k]);
          most = Math.max(most, Math.abs(x));
        }
        return most;
      });
    }

    #build() {
      const gl = this.gl;
      this.surface = program(gl, SURFACE_VERTEX, SURFACE_FRAGMENT);
      this.pointer = program(gl, POINT_VERTEX, POINT_FRAGMENT);
      this.surfaceArray = gl.createVertexArray();
      gl.bindVertexArray(this.surfaceArray);
      this.#attribute(this.surface, "position", 3, this.points);
      this.#attribute(this.surface, "normal", 3, nodeNormals(this.points, this.triangles));
      this.values = new Float32Array(this.count).fill(MISSING);
      this.valueBuffer = this.#attribute(this.surface, "value", 1, this.values);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(this.triangles), gl.STATIC_DRAW);
      this.pointArray = gl.createVertexArray();
      gl.bindVertexArray(this.pointArray);
      this.pointBuffers = {
        position: this.#attribute(this.pointer, "position", 3, new Float32Array(0)),
        fill: this.#attribute(this.pointer, "fill", 3, new Float32Array(0)),
        size: this.#attribute(this.pointer, "size", 1, new Float32Array(0)),
      };
      gl.bindVertexArray(null);
      this.texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, this.texture);
      for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, key, gl.LINEAR);
      for (const key of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, key, gl.CLAMP_TO_EDGE);
    }

    #attribute(target, name, size, data) {
      const gl = this.gl, buffer = gl.createBuffer(), at = target.at(name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, 0, 0);
      return buffer;
    }

    #fill(buffer, data) {
      this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
      this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.DYNAMIC_DRAW);
    }

    /** Values at the nodes; NaN is drawn plain. */
    setValues(values) {
      for (let i = 0; i < this.count; i++) this.values[i] = Number.isFinite(values[i]) ? values[i] : MISSING;
      this.#fill(this.valueBuffer, this.values);
      this.draw();
    }

    /** palette: 256 RGBA bytes; band > 0 gives discrete bands, line > 0 lines of equal value that far apart. */
    setColors({ palette, low, high, band = 0, line = 0 }) {
      const gl = this.gl;
      this.colors = { low, high, band, line };
      gl.bindTexture(gl.TEXTURE_2D, this.texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
      this.draw();
    }

    /** Draw a thick line where the value is `value` (the wave front on an activation map), or none for null. */
    setFront(value) {
      this.front = value ?? MISSING;
      this.draw();
    }

    /** Hide what is nearer to the viewer than the plane at this height above the center (mm); Infinity hides nothing. */
    setCut(height) {
      this.cut = height;
      this.draw();
    }

    /** Show markers that lie behind the surface too. */
    setThrough(on) {
      this.through = on;
      this.draw();
    }

    /** Round markers: [{position, fill: [r, g, b] in 0..1, size in px}]. */
    setMarks(marks) {
      this.marks = marks;
      this.#fill(this.pointBuffers.position, new Float32Array(marks.flatMap((m) => m.position)));
      this.#fill(this.pointBuffers.fill, new Float32Array(marks.flatMap((m) => m.fill)));
      this.#fill(this.pointBuffers.size, new Float32Array(marks.map((m) => m.size)));
      this.draw();
    }

    /** Draw in the next animation frame. */
    draw() {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.drawNow(); });
    }

    pixelsPerMm() {
      const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight];
      return 0.44 * Math.min(w / this.half[0], h / this.half[1]) * this.zoom;
    }

    drawNow() {
      const { gl, canvas } = this, pixel = window.devicePixelRatio || 1;
      const [w, h] = [Math.round(canvas.clientWidth * pixel), Math.round(canvas.clientHeight * pixel)];
      if (w < 2 || h < 2) return;
      if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
      gl.viewport(0, 0, w, h);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.enable(gl.DEPTH_TEST);
      const perMm = this.pixelsPerMm();
      const scale = [2 * perMm / canvas.clientWidth, 2 * perMm / canvas.clientHeight];
      this.#use(this.surface, scale);
      const u = this.surface.uniforms;
      for (const key of ["low", "high", "band", "line"]) gl.uniform1f(u[key], this.colors[key]);
      gl.uniform1f(u.front, this.front);
      gl.uniform1f(u.cut, Math.min(this.cut, MISSING));
      gl.uniform1f(u.hollow, this.hollow ? 1 : 0);
      gl.uniform3f(u.plain, 0.8, 0.81, 0.83);
      gl.bindTexture(gl.TEXTURE_2D, this.texture);
      gl.bindVertexArray(this.surfaceArray);
      gl.drawElements(gl.TRIANGLES, this.triangles.length, gl.UNSIGNED_INT, 0);
      if (!this.marks.length) return;
      if (this.through) gl.disable(gl.DEPTH_TEST);
      this.#use(this.pointer, scale);
      gl.uniform1f(this.pointer.uniforms.lift, 0.03 * this.radius);
      gl.uniform1f(this.pointer.uniforms.pixel, pixel);
      gl.uniform1f(this.pointer.uniforms.cut, Math.min(this.cut, MISSING));
      gl.bindVertexArray(this.pointArray);
      gl.drawArrays(gl.POINTS, 0, this.marks.length);
    }

    #use(target, scale) {
      const gl = this.gl;
      gl.useProgram(target.made);
      gl.uniformMatrix3fv(target.uniforms.rotation, true, this.camera.rotation);
      gl.uniform3fv(target.uniforms.center, this.center);
      gl.uniform2fv(target.uniforms.scale, scale);
      gl.uniform1f(target.uniforms.depth, 0.9 / this.radius);
    }

    /** Eye coordinates of a point, mm, relative to the center. */
    eye(point) {
      const r = this.camera.rotation, d = [0, 1, 2].map((k) => point[k] - this.center[k]);
      return [0, 1, 2].map((i) => r[3 * i] * d[0] + r[3 * i + 1] * d[1] + r[3 * i + 2] * d[2]);
    }

    /** CSS pixels of a point within the canvas, and its depth (mm towards the viewer). */
    screen(point) {
      const [x, y, z] = this.eye(point), s = this.pixelsPerMm();
      return { x: this.canvas.clientWidth / 2 + s * x, y: this.canvas.clientHeight / 2 - s * y, depth: z };
    }

    node(i) { return [this.points[3 * i], this.points[3 * i + 1], this.points[3 * i + 2]]; }

    /** What is seen at a CSS pixel of the canvas: {point, node} in mm, or null. */
    pick(px, py) {
      const s = this.pixelsPerMm();
      const x = (px - this.canvas.clientWidth / 2) / s, y = (this.canvas.clientHeight / 2 - py) / s;
      const eyes = new Float64Array(this.points.length);
      for (let i = 0; i < this.count; i++) eyes.set(this.eye(this.node(i)), 3 * i);
      let best = null;
      for (let t = 0; t < this.triangles.length; t += 3) {
        const [a, b, c] = [3 * this.triangles[t], 3 * this.triangles[t + 1], 3 * this.triangles[t + 2]];
        const [ux, uy, wx, wy] = [eyes[b] - eyes[a], eyes[b + 1] - eyes[a + 1], eyes[c] - eyes[a], eyes[c + 1] - eyes[a + 1]];
        const area = ux * wy - uy * wx;
        if (Math.abs(area) < 1e-12) continue;
        const l1 = ((x - eyes[a]) * wy - (y - eyes[a + 1]) * wx) / area;
        const l2 = (ux * (y - eyes[a + 1]) - uy * (x - eyes[a])) / area;
        if (l1 < 0 || l2 < 0 || l1 + l2 > 1) continue;
        const z = (1 - l1 - l2) * eyes[a + 2] + l1 * eyes[b + 2] + l2 * eyes[c + 2];
        if (z > this.cut || (best && z <= best.z)) continue;
        const weights = [1 - l1 - l2, l1, l2], corners = [a, b, c];
        best = { z, weights, corners };
      }
      if (!best) return null;
      const point = [0, 1, 2].map((k) => best.corners.reduce((sum, c, m) => sum + best.weights[m] * this.points[c + k], 0));
      return { point, node: best.corners[best.weights.indexOf(Math.max(...best.weights))] / 3 };
    }

    #listen() {
      const canvas = this.canvas;
      let from = null, moved = 0;
      canvas.addEventListener("pointerdown", (e) => {
        from = [e.clientX, e.clientY];
        moved = 0;
        canvas.setPointerCapture(e.pointerId);
      });
      canvas.addEventListener("pointermove", (e) => {
        if (!from) { if (this.onHover) this.onHover(this.pick(e.offsetX, e.offsetY), e); return; }
        const [dx, dy] = [e.clientX - from[0], e.clientY - from[1]];
        moved += Math.abs(dx) + Math.abs(dy);
        if (moved < 4) return;
        from = [e.clientX, e.clientY];
        this.camera.rotation = turned(this.camera.rotation, dx, dy);
        this.onTurn();
      });
      canvas.addEventListener("pointerup", (e) => {
        const clicked = from && moved < 4;
        from = null;
        if (!clicked) return;
        const hit = this.pick(e.offsetX, e.offsetY);
        if (hit) this.onPick(hit);
      });
      canvas.addEventListener("pointercancel", () => { from = null; });
      canvas.addEventListener("pointerleave", (e) => { if (this.onHover) this.onHover(null, e); });
      canvas.addEventListener("wheel", (e) => {
        if (!e.ctrlKey && !e.shiftKey && document.activeElement !== canvas) return;
        e.preventDefault();
        this.zoom = Math.min(8, Math.max(0.4, this.zoom * Math.exp(-(e.deltaY || e.deltaX) * 0.0015)));
        this.draw();
      }, { passive: false });
      canvas.addEventListener("dblclick", () => { this.zoom = 1; this.draw(); });
    }
  }

  /** 256 RGBA bytes through the given "#rrggbb" stops. */
  function palette(stops) {
    const rgb = stops.map((s) => [1, 3, 5].map((k) => parseInt(s.slice(k, k + 2), 16)));
    const bytes = new Uint8Array(1024);
    for (let i = 0; i < 256; i++) {
      const x = i / 255 * (rgb.length - 1), j = Math.min(rgb.length - 2, Math.floor(x));
      for (let k = 0; k < 3; k++) bytes[4 * i + k] = Math.round(rgb[j][k] + (x - j) * (rgb[j + 1][k] - rgb[j][k]));
      bytes[4 * i + 3] = 255;
    }
    return bytes;
  }

  return { View, palette };
})();
