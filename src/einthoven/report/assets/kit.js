/* What every report page needs: packed arrays, color maps and bars, one clock, axes to turn by, tables.
   All text from files enters the document as text nodes only. */
"use strict";

const Kit = (() => {
  const $ = (id) => document.getElementById(id);

  const POTENTIAL_COLORS = {
    "Blue\u2013white\u2013red": ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"],
    "Purple\u2013white\u2013orange": ["#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7", "#fee0b6", "#fdb863", "#e08214", "#b35806", "#7f3b08"],
    "Rainbow": ["#00007f", "#0000ff", "#007fff", "#00ffff", "#7fff7f", "#ffff00", "#ff7f00", "#ff0000", "#7f0000"],
  };
  const ACTIVATION_COLORS = {
    "Red (early) to blue": ["#a50026", "#d73027", "#f46d43", "#fdae61", "#fee090", "#ffffbf", "#e0f3f8", "#abd9e9", "#74add1", "#4575b4", "#313695"],
    "Viridis": ["#fde725", "#b5de2b", "#6ece58", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878", "#440154"],
    "Rainbow": ["#ff0000", "#ff7f00", "#ffff00", "#7fff7f", "#00ffff", "#007fff", "#0000ff", "#7f00ff"],
  };
  const SPREAD_COLORS = ["#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"];
  const LINE_COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c6d31"];
  const SPEEDS = [10, 25, 50, 100, 250, 500, 1000];

  // ---- data ----------------------------------------------------------------------------------------------------------

  function bytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  /** A packed array: codes are decoded at first use; at(i) and row(i) give values, NaN where missing. */
  class Packed {
    constructor(packet) { Object.assign(this, packet); this.columns = packet.shape[1] ?? 1; this.rows = packet.shape[0]; }

    get codes() {
      if (!this.decoded) {
        const Type = { int16: Int16Array, int32: Int32Array, float32: Float32Array }[this.dtype];
        this.decoded = new Type(bytes(this.data).buffer);
        this.data = null;
      }
      return this.decoded;
    }

    value(code) { return this.dtype !== "int16" ? code : code === -32768 ? NaN : this.offset + this.scale * code; }

    all() { return Float32Array.from(this.codes, (c) => this.value(c)); }

    row(i) { return Float64Array.from(this.codes.subarray(i * this.columns, (i + 1) * this.columns), (c) => this.value(c)); }

    column(k) {
      const out = new Float32Array(this.rows), codes = this.codes;
      for (let i = 0; i < this.rows; i++) out[i] = this.value(codes[i * this.columns + k]);
      return out;
    }

    /** Values of row i at some columns; NaN for column -1. */
    take(i, columns) {
      const out = new Float32Array(columns.length), codes = this.codes, from = i * this.columns;
      for (let j = 0; j < columns.length; j++) out[j] = columns[j] < 0 ? NaN : this.value(codes[from + columns[j]]);
      return out;
    }
  }

  const pack = (packet) => packet && new Packed(packet);

  /** A packed array whose rows were subtracted from each other and deflated. */
  async function inflated(packet) {
    if (!packet) return null;
    const stream = new Blob([bytes(packet.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const halves = new Uint8Array(await new Response(stream).arrayBuffer()), n = halves.length / 2;
    const codes = new Int16Array(n), made = new Packed({ ...packet, data: null });
    for (let i = 0; i < n; i++) codes[i] = halves[i] | (halves[n + i] << 8);
    for (let i = made.columns; i < n; i++) codes[i] += codes[i - made.columns];
    made.decoded = codes;
    return made;
  }

  /** Truth values, eight to a byte, as 0 and 1. */
  function unpackedBits(packet) {
    const raw = bytes(packet.data), n = packet.shape.reduce((a, b) => a * b, 1), out = new Uint8Array(n);
    for (let i = 0; i < n; i++) out[i] = (raw[i >> 3] >> (7 - (i & 7))) & 1;
    return out;
  }

  // ---- numbers -------------------------------------------------------------------------------------------------------

  function nearest(list, x) {
    let [low, high] = [0, list.length - 1];
    while (high - low > 1) { const mid = (low + high) >> 1; if (list[mid] > x) high = mid; else low = mid; }
    return Math.abs(list[low] - x) <= Math.abs(list[high] - x) ? low : high;
  }

  function roundUp(value) {
    if (!(value > 0)) return 1;
    const power = 10 ** (Math.floor(Math.log10(value)) - 1);
    return Number((Math.ceil(value / power - 1e-9) * power).toPrecision(3));
  }

  /** First and last percentile of the known values. */
  function range(values) {
    const known = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
    const at = (q) => known[Math.round(q * (known.length - 1))];
    return known.length ? [at(0.01), at(0.99)] : [0, 1];
  }

  /** Ends of whole bands that hold the range [low, high]. */
  function bandedRange(low, high, band) {
    const first = Math.floor(low / band + 1e-6) * band;
    return [first, Math.max(first + 2 * band, Math.ceil(high / band - 1e-6) * band)];
  }

  /** A step that divides 0 to `most` into ten bands or less. */
  function bandFor(most) { return [0.5, 1, 2, 5, 10, 20, 50].find((step) => most / step <= 10) ?? 100; }

  // ---- color bars ----------------------------------------------------------------------------------------------------

  /** Fill the color bar of a panel; `down`: the low end is above; `ticks`: values to label. */
  function scale(panel, stops, { low, high, unit, band = 0, down = false, ticks = null }) {
    const box = panel.querySelector(".scale");
    box.replaceChildren();
    const add = (kind, text) => { const e = box.appendChild(document.createElement("div")); e.className = kind; e.textContent = text; return e; };
    add("unit", unit);
    const ramp = add("ramp", ""), up = down ? "to bottom" : "to top";
    if (band) {
      const n = Math.round((high - low) / band), lut = Maps.palette(stops), parts = [];
      for (let i = 0; i < n; i++) {
        const j = 4 * Math.round((i + 0.5) / n * 255), color = `rgb(${lut[j]},${lut[j + 1]},${lut[j + 2]})`;
        parts.push(`${color} ${100 * i / n}% ${100 * (i + 1) / n}%`);
      }
      ramp.style.background = `linear-gradient(${up}, ${parts.join(",")})`;
    } else ramp.style.background = `linear-gradient(${up}, ${stops.join(",")})`;
    const room = Math.max(2, Math.floor((panel.querySelector(".view").clientHeight - 60) / 22));
    let values = ticks ?? [low, low / 2, 0, high / 2, high];
    if (band) {
      const n = Math.round((high - low) / band), skip = Math.ceil(n / room);
      values = [];
      for (let i = 0; i <= n; i += skip) values.push(low + i * band);
    }
    const size = Math.abs(high) >= 1 || band ? 2 : 3;
    for (const v of values) {
      const f = (v - low) / (high - low), tick = add("tick", String(Number(v.toPrecision(size + 1))).replace("-", "\u2212"));
      tick.style.top = `calc(18px + (100% - 18px) * ${down ? f : 1 - f})`;
    }
    if (down) Object.assign(add("now", "").dataset, { low, high });
  }

  /** The current time on the color bar of an activation map. */
  function placeNow(mark, t) {
    const f = (t - mark.dataset.low) / (mark.dataset.high - mark.dataset.low);
    mark.hidden = f < 0 || f > 1;
    mark.style.top = `calc(18px + (100% - 18px) * ${f})`;
  }

  // ---- controls and tables -------------------------------------------------------------------------------------------

  function fill(select, entries, value) {
    select.replaceChildren();
    for (const [key, text] of entries) {
      const option = select.appendChild(document.createElement("option"));
      option.value = String(key);
      option.textContent = text;
    }
    select.value = String(value);
  }

  function fact(name, value) {
    const box = $("facts").appendChild(document.createElement("div"));
    box.className = "fact";
    box.appendChild(document.createElement("small")).textContent = name;
    box.appendChild(document.createElement("b")).textContent = value;
  }

  /** One entry of a legend: a button with a line of its color; `act` null: no button to press. */
  function legendEntry(host, { text, color, note = "", on = true, chosen = false, act = null }) {
    const button = host.appendChild(document.createElement("button"));
    button.type = "button";
    button.appendChild(document.createElement("i")).style.background = color;
    button.append(text);
    if (note) { button.append(" "); button.appendChild(document.createElement("small")).textContent = note; }
    if (!act) { button.disabled = true; return; }
    button.setAttribute("aria-pressed", String(on));
    button.title = "Show or hide";
    button.classList.toggle("chosen", chosen);
    button.addEventListener("click", act);
  }

  function folded(name, value) {
    const box = document.createElement("details");
    box.appendChild(document.createElement("summary")).textContent = words(name);
    box.appendChild(Array.isArray(value) ? definitions(Object.fromEntries(value.entries())) : definitions(value));
    return box;
  }

  /** Plain entries as one list, entries with parts folded below it. */
  function provenance(host, entries) {
    const deep = (v) => typeof v === "object" && v !== null;
    const flat = Object.fromEntries(Object.entries(entries).filter(([, v]) => !deep(v)));
    if (Object.keys(flat).length) host.appendChild(definitions(flat));
    for (const [key, value] of Object.entries(entries)) if (deep(value)) host.appendChild(folded(key, value));
  }

  function words(key) { const text = String(key).replaceAll("_", " "); return text.charAt(0).toUpperCase() + text.slice(1); }

  function definitions(object) {
    const list = document.createElement("dl");
    for (const [key, value] of Object.entries(object)) {
      list.appendChild(document.createElement("dt")).textContent = words(key);
      const cell = list.appendChild(document.createElement("dd"));
      if (Array.isArray(value) && value.every((v) => typeof v !== "object")) cell.textContent = value.join(", ");
      else if (typeof value === "object" && value !== null) cell.appendChild(definitions(value));
      else cell.textContent = typeof value === "number" && !Number.isInteger(value) ? Charts.significant(value) : String(value ?? "\u2013");
      if (typeof value === "string" && /^[0-9a-f]{32,}$/.test(value)) cell.className = "long";
    }
    return list;
  }

  /** The button for light or dark; `redraw` is called after a change. */
  function theme(redraw) {
    $("theme").addEventListener("click", () => {
      const dark = document.documentElement.dataset.theme !== "dark";
      document.documentElement.dataset.theme = dark ? "dark" : "light";
      $("theme").textContent = dark ? "Light" : "Dark";
      redraw();
    });
  }

  /** Keys: actions by key in lower case, told the step (10 with shift, else 1). */
  function keys(actions) {
    document.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const act = actions[e.key.length === 1 ? e.key.toLowerCase() : e.key];
      if (!act || e.target.matches("select, input[type=number]")) return;
      e.preventDefault();
      if (e.key === " " && e.target.matches("button")) e.target.blur();
      act(e.shiftKey ? 10 : 1);
    });
  }

  // ---- the clock -----------------------------------------------------------------------------------------------------

  /** One clock for a page, wired to #play, #back, #forward, #slider and #speed. state: {frame, playing, speed in ms per s};
      times(): of the frames; show(): draws state.frame. */
  function clock(state, times, show) {
    let started = null;
    const last = () => times().length - 1;

    function setFrame(k) {
      state.frame = Math.min(last(), Math.max(0, Math.round(k)));
      show();
    }

    function tick(now) {
      if (!state.playing) return;
      const list = times();
      if (started === null) started = { now, time: list[state.frame] };
      const t = started.time + (now - started.now) / 1000 * state.speed;
      if (t > list[last()]) { started = { now, time: list[0] }; setFrame(0); }
      else { const k = nearest(list, t); if (k !== state.frame) setFrame(k); }
      requestAnimationFrame(tick);
    }

    function play() {
      if (state.playing || last() < 1) return;
      if (state.frame === last()) setFrame(0);
      state.playing = true;
      started = null;
      $("play").textContent = "\u275A\u275A";
      $("play").setAttribute("aria-label", "Pause");
      requestAnimationFrame(tick);
    }

    function pause() {
      state.playing = false;
      $("play").textContent = "\u25B6";
      $("play").setAttribute("aria-label", "Play");
    }

    const toggle = () => (state.playing ? pause() : play());
    const step = (k) => { pause(); setFrame(state.frame + k); };
    const seek = (k) => { started = null; setFrame(k); };

    function controls() {
      $("slider").max = last();
      fill($("speed"), SPEEDS.map((s) => [s, `${s} ms per s`]), state.speed);
      $("play").addEventListener("click", toggle);
      $("back").addEventListener("click", () => step(-1));
      $("forward").addEventListener("click", () => step(1));
      $("slider").addEventListener("input", () => seek(Number($("slider").value)));
      $("speed").addEventListener("change", () => { state.speed = Number($("speed").value); started = null; });
    }

    const keys = { " ": toggle, "ArrowLeft": (k) => step(-k), "ArrowRight": step, "Home": () => seek(0), "End": () => seek(last()) };
    return { setFrame, play, pause, seek, controls, keys };
  }

  // ---- the axes in the corner of each map ----------------------------------------------------------------------------

  const AXIS_COLORS = ["#c0392b", "#2e8b57", "#2f6db5"];

  /** Draw the axes of all maps on the page, and look along one that is clicked; returns the function that draws them.
      names: of the three axes; view: the rotation that puts the vertical up; turned(): after the camera has turned. */
  function axes(camera, { names, view, turned }) {
    function lookAlong(k) {
      const r = camera.rotation, sign = r[6 + k] > 0.999 ? -1 : 1;
      const towards = [0, 0, 0], up = view.slice(3, 6).map(Math.round);
      towards[k] = sign;
      const vertical = up[k] ? view.slice(6, 9).map((v) => -sign * Math.round(v)) : up;
      const right = [0, 1, 2].map((i) => vertical[(i + 1) % 3] * towards[(i + 2) % 3] - vertical[(i + 2) % 3] * towards[(i + 1) % 3]);
      camera.rotation = [...right, ...vertical, ...towards];
      turned();
    }

    return () => {
      const r = camera.rotation;
      for (const svg of document.querySelectorAll(".axes")) {
        svg.replaceChildren();
        const ends = [0, 1, 2].map((k) => ({ k, x: r[k], y: -r[3 + k], z: r[6 + k] })).sort((a, b) => a.z - b.z);
        for (const { k, x, y } of ends) {
          const group = svg.appendChild(shape("g"));
          const make = (kind, attributes) => group.appendChild(shape(kind, attributes));
          make("line", { x1: 0, y1: 0, x2: 20 * x, y2: 20 * y, stroke: AXIS_COLORS[k], "stroke-width": 2 });
          if (Math.hypot(x, y) > 0.2) {
            const anchor = x > 0.4 ? "start" : x < -0.4 ? "end" : "middle";
            make("text", { x: (anchor === "middle" ? 29 : 23) * x, y: 29 * y + 4, "text-anchor": anchor, fill: AXIS_COLORS[k] }).textContent = names[k];
          }
          make("circle", { cx: 26 * x, cy: 26 * y, r: 10, fill: "transparent" });
          make("title").textContent = `Look along ${names[k]}; again for the other side`;
          group.addEventListener("click", () => lookAlong(k));
        }
      }
    };
  }

  /** An SVG element. */
  function shape(kind, attributes = {}) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    return e;
  }

  // ---- start ---------------------------------------------------------------------------------------------------------

  /** Say on the page what kept it from being drawn. */
  function failed(error) {
    $("failure").hidden = false;
    $("failure").textContent = `The page could not be drawn: ${error.message}`;
  }

  return {
    $, POTENTIAL_COLORS, ACTIVATION_COLORS, SPREAD_COLORS, LINE_COLORS, SPEEDS, pack, inflated, unpackedBits, nearest, roundUp, range, bandedRange, bandFor,
    scale, placeNow, fill, fact, legendEntry, provenance, folded, definitions, words, theme, keys, clock, axes, shape, failed,
  };
})();
