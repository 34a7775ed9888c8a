/* Maps of regular grids: a slice as a heat map on canvas, with lines of equal value, marks, paths and picking.
   The first axis of a slice runs to the right, the second upwards. */
"use strict";

const Sheets = (() => {
  const { FONT, css, linearTicks } = Charts;
  const MARGIN = [10, 10, 40, 48];
  const NAMES = ["x", "y", "z"];

  /** Cells of a grid; the conducting ones are numbered in C order (the last index runs fastest) and called nodes. */
  class Grid {
    constructor({ shape, spacing, origin, mask }) {
      Object.assign(this, { shape, spacing, origin });
      this.nodes = new Int32Array(mask.length);
      let n = 0;
      for (let i = 0; i < mask.length; i++) this.nodes[i] = mask[i] ? n++ : -1;
      this.strides = [shape[1] * shape[2], shape[2], 1];
    }

    /** Number of the cell nearest to a coordinate (mm) along an axis. */
    index(axis, x) {
      const i = Math.round((x - this.origin[axis]) / this.spacing[axis]);
      return Math.min(this.shape[axis] - 1, Math.max(0, i));
    }

    coordinate(axis, i) { return this.origin[axis] + i * this.spacing[axis]; }

    /** Node of the cell that holds a point, -1 where nothing conducts. */
    node(point) { return this.nodes[[0, 1, 2].reduce((sum, k) => sum + this.strides[k] * this.index(k, point[k]), 0)]; }

    /** Point (mm) at the center of a node's cell. */
    point(node) {
      this.flat ??= Int32Array.from(this.nodes.keys()).filter((i) => this.nodes[i] >= 0);
      const i = this.flat[node];
      return [0, 1, 2].map((k) => this.coordinate(k, Math.floor(i / this.strides[k]) % this.shape[k]));
    }

    /** The slice across `axis` nearest to the coordinate `at` (mm): its nodes row by row. */
    slice(axis, at) {
      const [a, b] = [0, 1, 2].filter((k) => k !== axis), [width, height] = [this.shape[a], this.shape[b]];
      const nodes = new Int32Array(width * height), from = this.index(axis, at) * this.strides[axis];
      for (let j = 0; j < height; j++)
        for (let i = 0; i < width; i++) nodes[j * width + i] = this.nodes[from + i * this.strides[a] + j * this.strides[b]];
      return { grid: this, axis, at: this.coordinate(axis, this.index(axis, at)), a, b, width, height, nodes };
    }
  }

  /** Segments [x0, y0, x1, y1, ...] of lines of equal value, in cells: at first, first + step, ... below last. Squares that
      span more than `most` hold none. */
  function contours(values, width, height, { first, last = first, step = 1, most = Infinity }) {
    const out = [];
    for (let j = 0; j + 1 < height; j++) {
      for (let i = 0, k = j * width; i + 1 < width; i++, k++) {
        const p = values[k], q = values[k + 1], r = values[k + width + 1], s = values[k + width];
        const low = Math.min(p, q, r, s), high = Math.max(p, q, r, s);
        // false where one is NaN
        if (!(high > first && low <= last && high - low <= most)) continue;
        for (let level = first + step * Math.max(0, Math.ceil((low - first) / step)); level < high && level <= last; level += step) {
          square([p, q, r, s], i, j, level, out);
        }
      }
    }
    return out;
  }

  const X = [0, 1, 1, 0, 0], Y = [0, 0, 1, 1, 0];

  /** The segments of one level within the square of four cells with the values v, counter-clockwise from (i, j). */
  function square(v, i, j, level, out) {
    const cuts = [];
    for (let e = 0; e < 4; e++) {
      const p = v[e], q = v[(e + 1) % 4];
      if ((p <= level) === (q <= level)) continue;
      const f = (level - p) / (q - p);
      cuts.push([i + X[e] + f * (X[e + 1] - X[e]), j + Y[e] + f * (Y[e + 1] - Y[e])]);
    }
    const center = (v[0] + v[1] + v[2] + v[3]) / 4;
    const pairs = cuts.length < 4 ? [[0, 1]] : (center <= level) === (v[0] <= level) ? [[0, 1], [2, 3]] : [[3, 0], [1, 2]];
    if (cuts.length) for (const [p, q] of pairs) out.push(...cuts[p], ...cuts[q]);
  }

  /** For lines only: single cells without a value get the mean of their neighbors, so that lines pass over them. */
  function bridged(values, width, height) {
    const out = Float32Array.from(values);
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++) {
        if (!Number.isNaN(values[j * width + i])) continue;
        let [sum, n] = [0, 0];
        for (let q = Math.max(0, j - 1); q <= Math.min(height - 1, j + 1); q++) {
          for (let p = Math.max(0, i - 1); p <= Math.min(width - 1, i + 1); p++) {
            const v = values[q * width + p];
            if (!Number.isNaN(v)) { sum += v; n++; }
          }
        }
        if (n >= 4) out[j * width + i] = sum / n;
      }
    }
    return out;
  }

  const unit = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

  /** One slice in one box. onPick and onHover are told {point (mm), cell, node} or null. */
  class Sheet {
    constructor(host, { onPick, onHover }) {
      this.host = host;
      [this.base, this.over] = [0, 1].map(() => host.appendChild(document.createElement("canvas")));
      for (const canvas of [this.base, this.over]) canvas.className = "sheet";
      this.image = document.createElement("canvas");
      this.marks = [];
      this.paths = [];
      this.front = null;
      this.colors = { lut: new Uint32Array(256), low: 0, high: 1, band: 0, line: 0 };
      this.#listen(onPick, onHover);
      new ResizeObserver(() => this.draw()).observe(host);
    }

    show(on) { this.base.hidden = this.over.hidden = !on; if (on) this.draw(); }

    setSlice(slice) {
      this.slice = slice;
      [this.image.width, this.image.height] = [slice.width, slice.height];
      this.values = new Float32Array(slice.nodes.length).fill(NaN);
      this.smooth = null;
      this.draw();
    }

    /** Values of the slice's cells; NaN where there is none. */
    setValues(values) { this.values = values; this.smooth = null; this.draw(); }

    /** palette: 256 RGBA bytes; band > 0 gives discrete bands, line > 0 lines of equal value that far apart. */
    setColors({ palette, low, high, band = 0, line = 0 }) {
      this.colors = { lut: new Uint32Array(palette.buffer.slice(0)), low, high, band, line };
      this.draw();
    }

    /** A thick line where the value is `value` (the wave front on an activation map), or none for null. */
    setFront(value) { this.front = value; this.#later("over"); }

    /** marks: [{point, fill, size, label}]; paths: [{points, color}], all in mm. */
    setOverlay(marks, paths = []) { this.marks = marks; this.paths = paths; this.#later("over"); }

    draw() { this.#later("base"); }

    #later(what) {
      this[`${what}Stale`] = true;
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.drawNow(); });
    }

    drawNow() {
      if (!this.slice || this.base.hidden || this.base.clientWidth < 80 || this.base.clientHeight < 80) return;
      this.#place();
      if (this.baseStale) this.#drawBase();
      this.#drawOver();
      this.baseStale = this.overStale = false;
    }

    /** Fit the slice into the box: pixels per cell along both axes, and the lower left corner. */
    #place() {
      const { grid, a, b, width, height } = this.slice, [top, right, bottom, left] = MARGIN;
      const [w, h] = [this.base.clientWidth - left - right, this.base.clientHeight - top - bottom];
      const perMm = Math.min(w / (width * grid.spacing[a]), h / (height * grid.spacing[b]));
      this.cell = [perMm * grid.spacing[a], perMm * grid.spacing[b]];
      // a strand, or a slice that is much longer than wide, is drawn thicker than it is
      const least = Math.min(28, h);
      if (this.cell[1] * height < least) this.cell[1] = least / height;
      if (this.cell[0] * width < least) this.cell[0] = least / width;
      this.corner = [left + (w - this.cell[0] * width) / 2, top + (h + this.cell[1] * height) / 2];
    }

    /** Pixels of a place in cells (0 is the center of the first one). */
    #at(i, j) { return [this.corner[0] + (i + 0.5) * this.cell[0], this.corner[1] - (j + 0.5) * this.cell[1]]; }

    /** Pixels of a point in mm. */
    screen(point) {
      const { grid, a, b } = this.slice;
      return this.#at((point[a] - grid.origin[a]) / grid.spacing[a], (point[b] - grid.origin[b]) / grid.spacing[b]);
    }

    /** What is at a pixel of the canvas: point in mm, cell of the slice and node, or null. */
    pick(px, py) {
      if (!this.corner) return null;
      const { grid, axis, at, a, b, width, height, nodes } = this.slice;
      const i = Math.floor((px - this.corner[0]) / this.cell[0]), j = Math.floor((this.corner[1] - py) / this.cell[1]);
      if (i < 0 || j < 0 || i >= width || j >= height) return null;
      const point = [0, 0, 0];
      [point[a], point[b], point[axis]] = [grid.coordinate(a, i), grid.coordinate(b, j), at];
      return { point, cell: j * width + i, node: nodes[j * width + i] };
    }

    #context(canvas) {
      const pixel = window.devicePixelRatio || 1, [w, h] = [canvas.clientWidth, canvas.clientHeight];
      const size = [Math.round(w * pixel), Math.round(h * pixel)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      const c = canvas.getContext("2d");
      c.setTransform(pixel, 0, 0, pixel, 0, 0);
      c.clearRect(0, 0, w, h);
      c.font = FONT;
      return c;
    }

    #drawBase() {
      const c = this.#context(this.base), { width, height } = this.slice, [x, y] = this.corner;
      const [w, h] = [width * this.cell[0], height * this.cell[1]];
      this.#paint();
      c.imageSmoothingEnabled = false;
      c.drawImage(this.image, x, y - h, w, h);
      if (this.colors.line) this.#lines(c);
      c.lineWidth = 1;
      c.strokeStyle = css("--muted");
      c.strokeRect(Math.round(x) - 0.5, Math.round(y - h) - 0.5, Math.round(w) + 1, Math.round(h) + 1);
      this.#rulers(c, w, h);
    }

    #paint() {
      const { width, height, nodes } = this.slice, { lut, low, high, band } = this.colors;
      const context = this.image.getContext("2d"), image = context.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer), span = 255 / (high - low);
      const packed = (name) => { const [r, g, b] = unit(css(name)); return (255 << 24 | b << 16 | g << 8 | r) >>> 0; };
      const [scar, unset] = [packed("--scar"), packed("--unset")];
      for (let j = 0; j < height; j++) {
        for (let i = 0, k = j * width, to = (height - 1 - j) * width; i < width; i++, k++, to++) {
          const v = this.values[k];
          if (Number.isNaN(v)) { pixels[to] = nodes[k] < 0 ? scar : unset; continue; }
          const s = band ? (Math.floor((v - low) / band) + 0.5) * band : v - low;
          pixels[to] = lut[Math.min(255, Math.max(0, Math.round(s * span)))];
        }
      }
      context.putImageData(image, 0, 0);
    }

    #stroke(c, segments) {
      c.beginPath();
      for (let k = 0; k < segments.length; k += 4) {
        c.moveTo(...this.#at(segments[k], segments[k + 1]));
        c.lineTo(...this.#at(segments[k + 2], segments[k + 3]));
      }
      c.stroke();
    }

    #bridged() {
      this.smooth ??= bridged(this.values, this.slice.width, this.slice.height);
      return this.smooth;
    }

    #lines(c) {
      const { low, high, line } = this.colors, { width, height } = this.slice;
      const segments = contours(this.#bridged(), width, height, { first: low + line, last: high - 0.5 * line, step: line, most: 4 * line });
      c.lineWidth = 0.8;
      c.strokeStyle = "rgb(0 0 0 / 0.55)";
      this.#stroke(c, segments);
    }

    #rulers(c, w, h) {
      const { grid, a, b, width, height } = this.slice, [x, y] = this.corner;
      const ends = (axis, n) => [grid.coordinate(axis, 0) - grid.spacing[axis] / 2, grid.coordinate(axis, n - 1) + grid.spacing[axis] / 2];
      c.fillStyle = css("--muted");
      const across = ends(a, width), ticks = linearTicks(...across, Math.max(2, w / 60));
      c.textBaseline = "top";
      for (const v of ticks.ticks) {
        const at = x + (v - across[0]) / (across[1] - across[0]) * w;
        c.textAlign = "center";
        c.fillRect(Math.round(at), y + 1, 1, 4);
        c.fillText(ticks.text(v), at, y + 7);
      }
      c.fillText(`${NAMES[a]} (mm)`, x + w / 2, y + 22);
      if (height === 1) return;
      const up = ends(b, height), marks = linearTicks(...up, Math.max(1, h / 45));
      c.textBaseline = "middle";
      c.textAlign = "right";
      for (const v of marks.ticks) {
        const at = y - (v - up[0]) / (up[1] - up[0]) * h;
        c.fillRect(x - 5, Math.round(at), 4, 1);
        c.fillText(marks.text(v), x - 8, at);
      }
      c.save();
      c.translate(x - 37, y - h / 2);
      c.rotate(-Math.PI / 2);
      c.textAlign = "center";
      c.fillText(`${NAMES[b]} (mm)`, 0, 0);
      c.restore();
    }

    #drawOver() {
      const c = this.#context(this.over), { width, height } = this.slice, [x, y] = this.corner;
      c.save();
      c.beginPath();
      c.rect(x, y - height * this.cell[1], width * this.cell[0], height * this.cell[1]);
      c.clip();
      if (this.front !== null) {
        c.lineWidth = 2.2;
        c.strokeStyle = "#0b0d10";
        this.#stroke(c, contours(this.#bridged(), width, height, { first: this.front }));
      }
      for (const { points, color } of this.paths) this.#path(c, points, color);
      c.restore();
      for (const mark of this.marks) this.#mark(c, mark);
    }

    #path(c, points, color) {
      c.lineJoin = "round";
      for (const [stroke, thick] of [["rgb(0 0 0 / 0.75)", 3.4], [color, 1.6]]) {
        c.beginPath();
        points.forEach((p, k) => (k ? c.lineTo(...this.screen(p)) : c.moveTo(...this.screen(p))));
        c.strokeStyle = stroke;
        c.lineWidth = thick;
        c.stroke();
      }
    }

    #mark(c, { point, fill, size, label }) {
      const [x, y] = this.screen(point);
      c.beginPath();
      c.arc(x, y, size / 2, 0, 2 * Math.PI);
      c.fillStyle = fill;
      c.fill();
      c.lineWidth = 1.5;
      c.strokeStyle = "#ffffff";
      c.stroke();
      c.beginPath();
      c.arc(x, y, size / 2 + 1, 0, 2 * Math.PI);
      c.lineWidth = 0.8;
      c.strokeStyle = "rgb(0 0 0 / 0.7)";
      c.stroke();
      if (!label) return;
      c.font = "600 " + FONT;
      const right = x + 8 + c.measureText(label).width < this.over.clientWidth - 2;
      const line = y - 16 > this.corner[1] - this.slice.height * this.cell[1] ? y - 8 : y + 10;  // below a mark at the upper rim
      c.textAlign = right ? "left" : "right";
      c.textBaseline = "middle";
      c.lineWidth = 3;
      c.strokeStyle = "rgb(255 255 255 / 0.9)";
      c.lineJoin = "round";
      c.strokeText(label, x + (right ? 8 : -8), line);
      c.fillStyle = "#14181f";
      c.fillText(label, x + (right ? 8 : -8), line);
      c.font = FONT;
    }

    #listen(onPick, onHover) {
      const told = (act) => (e) => { const hit = this.pick(e.offsetX, e.offsetY); if (hit || act === onHover) act(hit); };
      this.over.addEventListener("click", told(onPick));
      this.over.addEventListener("pointermove", told(onHover));
      this.over.addEventListener("pointerleave", () => onHover(null));
    }
  }

  return { Grid, Sheet };
})();
