/* Line and bar charts on canvas: linear or logarithmic axes, a shared cursor, a readout under the pointer. */
"use strict";

const Charts = (() => {
  const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

  function css(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  function linearTicks(low, high, wanted) {
    const raw = (high - low) / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
    return { ticks, text: (v) => number(v, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) };
  }

  function logTicks(low, high, wanted) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    let ticks = [];
    if (last - first >= 1) {
      const skip = Math.max(1, Math.ceil((last - first + 1) / wanted));
      for (let e = first; e <= last; e += skip) ticks.push(10 ** e);
    } else {
      for (let e = first - 1; e <= last + 1; e++)
        for (const m of [1, 2, 3, 5]) if (m * 10 ** e >= low && m * 10 ** e <= high) ticks.push(m * 10 ** e);
      if (ticks.length > wanted) ticks = ticks.filter((_, i) => i % Math.ceil(ticks.length / wanted) === 0);
    }
    const powers = ticks.some((v) => v < 0.999e-2 || v > 1.001e3) && ticks.every((v) => /^1e/.test(v.toExponential(6).replace(/\.0+e/, "e")));
    return { ticks, text: powers ? (v) => `10${raised(Math.round(Math.log10(v)))}` : significant };
  }

  function raised(exponent) {
    return [...String(exponent)].map((c) => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(c)]).join("");
  }

  function number(value, decimals) {
    const text = (Math.abs(value) < 1e-12 ? 0 : value).toFixed(Math.min(decimals, 8));
    return text.replace("-", "\u2212");
  }

  /** A number with three significant digits, for people: 0.0123, 12.3, 1.2e-5 as 1.2 x 10^-5. */
  function significant(value) {
    if (value === null || !Number.isFinite(value)) return "\u2013";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(3))).replace("-", "\u2212");
    const [digits, exponent] = value.toExponential(2).split("e");
    const mantissa = String(Number(digits)).replace("-", "\u2212");
    const power = raised(Number(exponent));
    return mantissa === "1" ? `10${power}` : `${mantissa}\u00b710${power}`;
  }

  class Chart {
    /** options: xLabel, yLabel, xLog, yLog, xWhole, yWhole (ticks at whole numbers), bare (no axes), onPick(x), onZoom([low, high] or null), readout(x) -> rows */
    constructor(host, options) {
      this.host = host;
      this.options = options;
      this.series = [];
      this.points = [];
      this.cursor = null;
      this.xRange = null;
      this.margin = options.bare ? [6, 8, 6, 8] : [10, 12, 38, 58];
      [this.base, this.over] = [0, 1].map(() => host.appendChild(document.createElement("canvas")));
      this.tip = host.appendChild(document.createElement("div"));
      this.tip.className = "tip";
      this.#listen();
      new ResizeObserver(() => this.draw()).observe(host);
    }

    /** series: [{x, y, color, width, alpha, dash, kind: "line" | "bars" | "area" | "band" (from y down to low)}]; points: [{x, y, color, label}] */
    set(series, points = []) {
      this.series = series;
      this.points = points;
      this.draw();
    }

    setCursor(x) { this.cursor = x; this.#overlay(); }

    draw() {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.drawNow(); });
    }

    #fit() {
      const { xLog, yLog, xTight = true } = this.options;
      const span = (values, log, pad) => {
        let [low, high] = [Infinity, -Infinity];
        for (const list of values) for (const v of list) {
          if (!Number.isFinite(v) || (log && v <= 0)) continue;
          if (v < low) low = v;
          if (v > high) high = v;
        }
        if (low > high) return log ? [0.1, 1] : [0, 1];
        if (low === high) return log ? [low / 2, high * 2] : [low - 0.5 * Math.abs(low) - 0.5, high + 0.5 * Math.abs(high) + 0.5];
        if (log) { const f = (high / low) ** pad; return [low / f, high * f]; }
        return [low - pad * (high - low), high + pad * (high - low)];
      };
      this.x = this.xRange || span(this.series.map((s) => s.x), xLog, xTight ? 0 : 0.03);
      const seen = this.series.flatMap((s) => [s.y, s.low].filter(Boolean).map((list) => this.xRange
        ? Array.from(list).filter((_, i) => s.x[i] >= this.x[0] && s.x[i] <= this.x[1]) : list));
      this.y = span(seen, yLog, 0.07);
      if (this.series.some((s) => s.kind === "bars" || s.kind === "area")) {
        this.y[0] = 0;
        if (this.options.xPad) this.x = [this.x[0] - this.options.xPad, this.x[1] + this.options.xPad];
      }
    }

    #place(value, [low, high], log) {
      return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    }

    px(x) { return this.margin[3] + this.#place(x, this.x, this.options.xLog) * this.width; }

    py(y) { return this.margin[0] + (1 - this.#place(y, this.y, this.options.yLog)) * this.height; }

    at(px) {
      const f = Math.min(1, Math.max(0, (px - this.margin[3]) / this.width)), [low, high] = this.x;
      return this.options.xLog ? low * (high / low) ** f : low + f * (high - low);
    }

    #context(canvas) {
      const pixel = window.devicePixelRatio || 1, [w, h] = [this.host.clientWidth, this.host.clientHeight];
      const size = [Math.round(w * pixel), Math.round(h * pixel)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      const c = canvas.getContext("2d");
      c.setTransform(pixel, 0, 0, pixel, 0, 0);
      c.clearRect(0, 0, w, h);
      return c;
    }

    drawNow() {
      const [w, h] = [this.host.clientWidth, this.host.clientHeight], [top, right, bottom, left] = this.margin;
      this.width = w - left - right;
      this.height = h - top - bottom;
      if (this.width < 10 || this.height < 10) return;
      this.#fit();
      const c = this.#context(this.base);
      c.font = FONT;
      if (!this.options.bare) this.#axes(c);
      c.save();
      c.beginPath();
      c.rect(left, top - 2, this.width, this.height + 4);
      c.clip();
      for (const s of this.series) this.#draw(c, s);
      c.restore();
      for (const p of this.points) this.#point(c, p);
      this.#overlay();
    }

    #axes(c) {
      const [top, , , left] = this.margin, { xLabel, yLabel, xLog, yLog, xWhole, yWhole } = this.options;
      let x = (xLog ? logTicks : linearTicks)(...this.x, Math.max(2, this.width / (xWhole ? 25 : 75)));
      let y = (yLog ? logTicks : linearTicks)(...this.y, Math.max(2, this.height / 34));
      const whole = ({ ticks }) => ({ ticks: ticks.filter((v) => Math.abs(v - Math.round(v)) < 1e-9), text: (v) => number(v, 0) });
      if (xWhole) x = whole(x);
      if (yWhole) y = whole(y);
      c.lineWidth = 1;
      c.strokeStyle = css("--grid");
      c.fillStyle = css("--muted");
      c.textBaseline = "middle";
      c.textAlign = "right";
      for (const v of y.ticks) {
        const at = Math.round(this.py(v)) + 0.5;
        c.beginPath(); c.moveTo(left, at); c.lineTo(left + this.width, at); c.stroke();
        c.fillText(y.text(v), left - 6, at);
      }
      c.textAlign = "center";
      c.textBaseline = "top";
      for (const v of x.ticks) {
        const at = Math.round(this.px(v)) + 0.5;
        c.beginPath(); c.moveTo(at, top); c.lineTo(at, top + this.height); c.stroke();
        const furthest = this.host.clientWidth - 1 - c.measureText(x.text(v)).width / 2;
        c.fillText(x.text(v), Math.min(at, furthest), top + this.height + 5);
      }
      c.fillStyle = css("--text");
      c.fillText(xLabel, left + this.width / 2, top + this.height + 21);
      c.save();
      c.translate(12, top + this.height / 2);
      c.rotate(-Math.PI / 2);
      c.textBaseline = "middle";
      c.fillText(yLabel, 0, 0);
      c.restore();
    }

    #draw(c, s) {
      c.globalAlpha = s.alpha ?? 1;
      if (s.kind === "bars") {
        const half = Math.max(0.5, 0.42 * this.width / Math.max(1, this.x[1] - this.x[0]) * (s.barWidth ?? 1));
        c.fillStyle = s.color;
        for (let i = 0; i < s.x.length; i++) {
          const at = this.px(s.x[i]), y = this.py(s.y[i]);
          c.fillRect(at - half, y, 2 * half, this.margin[0] + this.height - y);
        }
        c.globalAlpha = 1;
        return;
      }
      c.beginPath();
      let down = false;
      for (let i = 0; i < s.x.length; i++) {
        const ok = Number.isFinite(s.x[i]) && Number.isFinite(s.y[i])
          && (!this.options.xLog || s.x[i] > 0) && (!this.options.yLog || s.y[i] > 0);
        if (!ok) { down = false; continue; }
        const [x, y] = [this.px(s.x[i]), this.py(s.y[i])];
        if (down) c.lineTo(x, y); else c.moveTo(x, y);
        down = true;
      }
      if (s.kind === "band") {
        for (let i = s.x.length - 1; i >= 0; i--) c.lineTo(this.px(s.x[i]), this.py(s.low[i]));
        c.fillStyle = s.color;
        c.fill();
      } else if (s.kind === "area") {
        const floor = this.margin[0] + this.height;
        c.lineTo(this.px(s.x[s.x.length - 1]), floor);
        c.lineTo(this.px(s.x[0]), floor);
        c.fillStyle = s.color;
        c.fill();
      } else {
        c.setLineDash(s.dash || []);
        c.lineJoin = "round";
        c.strokeStyle = s.color;
        c.lineWidth = s.width ?? 1.5;
        c.stroke();
        c.setLineDash([]);
      }
      c.globalAlpha = 1;
    }

    #point(c, { x, y, color, label }) {
      if (!Number.isFinite(x) || !Number.isFinite(y) || x < this.x[0] || x > this.x[1]) return;
      const [px, py] = [this.px(x), this.py(y)];
      c.beginPath();
      c.arc(px, py, 5, 0, 2 * Math.PI);
      c.fillStyle = color;
      c.fill();
      c.lineWidth = 2;
      c.strokeStyle = css("--card");
      c.stroke();
      if (!label) return;
      c.font = "600 " + FONT;
      const wide = c.measureText(label).width;
      const right = px + 12 + wide < this.margin[3] + this.width;
      c.textAlign = right ? "left" : "right";
      c.textBaseline = "middle";
      const ty = Math.max(this.margin[0] + 8, py - 12);
      c.lineWidth = 4;
      c.strokeText(label, px + (right ? 9 : -9), ty);
      c.fillStyle = css("--text");
      c.fillText(label, px + (right ? 9 : -9), ty);
      c.font = FONT;
    }

    #overlay() {
      if (!this.x || !this.width) return;
      const c = this.#context(this.over), [top] = this.margin;
      const rule = (x, color, dash) => {
        if (x < this.x[0] || x > this.x[1]) return;
        const at = Math.round(this.px(x)) + 0.5;
        c.beginPath();
        c.setLineDash(dash);
        c.moveTo(at, top - 4);
        c.lineTo(at, top + this.height + (this.options.bare ? 4 : 0));
        c.strokeStyle = color;
        c.lineWidth = dash.length ? 1 : 1.5;
        c.stroke();
      };
      if (this.hover !== null && this.hover !== undefined) rule(this.hover, css("--muted"), [3, 3]);
      if (this.cursor !== null) rule(this.cursor, css("--cursor"), []);
    }

    #listen() {
      const { host, options } = this;
      host.addEventListener("pointermove", (e) => {
        if (!this.x) return;
        const x = this.at(e.clientX - host.getBoundingClientRect().left);
        if (e.buttons & 1 && options.onPick && options.scrub) options.onPick(x);
        if (!options.readout) return;
        const found = options.readout(x);
        this.hover = found ? found.x : null;
        this.#overlay();
        this.#showTip(found, e);
      });
      host.addEventListener("pointerleave", () => { this.hover = null; this.#overlay(); this.#showTip(null); });
      host.addEventListener("pointerdown", (e) => {
        if (options.onPick && this.x) options.onPick(this.at(e.clientX - host.getBoundingClientRect().left));
        if (options.scrub) { host.setPointerCapture(e.pointerId); e.preventDefault(); }
      });
      if (!options.onZoom) return;
      host.addEventListener("wheel", (e) => {
        if (!e.ctrlKey && !e.shiftKey) return;
        e.preventDefault();
        const x = this.at(e.clientX - host.getBoundingClientRect().left), f = Math.exp((e.deltaY || e.deltaX) * 0.0015);
        options.onZoom([x + (this.x[0] - x) * f, x + (this.x[1] - x) * f]);
      }, { passive: false });
      host.addEventListener("dblclick", () => options.onZoom(null));
    }

    #showTip(found, event) {
      this.tip.replaceChildren();
      this.tip.style.display = found ? "block" : "none";
      if (!found) return;
      for (const row of found.rows) {
        const line = this.tip.appendChild(document.createElement("div"));
        if (row.color) {
          const dot = line.appendChild(document.createElement("i"));
          dot.style.background = row.color;
        }
        line.append(row.text);
      }
      const box = this.host.getBoundingClientRect(), x = event.clientX - box.left;
      const left = x + 14 + this.tip.offsetWidth < box.width ? x + 14 : x - 14 - this.tip.offsetWidth;
      this.tip.style.left = `${Math.max(0, left)}px`;
      this.tip.style.top = "12px";
    }
  }

  return { Chart, FONT, css, linearTicks, significant, number };
})();
