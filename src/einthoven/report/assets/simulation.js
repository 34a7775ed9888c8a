/* The report page of a simulation: movie and maps on slices or on a surface, signals, the 12-lead plot, one time for all.

   For scripts and tests: `window.einthoven` offers state, fields, panels, charts, setFrame(k), play(), pause(), pick(point)
   (mm), showView("sheet" or "surface") and setSlice(axis, position in mm). `window.einthovenReady` becomes true after the
   first drawing, when the page answers. All text from files enters the document as text nodes only. */
"use strict";

(async () => {
  const { Chart, css, significant, number, linearTicks } = Charts;
  const { $, LINE_COLORS, SPEEDS, pack, nearest, fill } = Kit;
  const data = JSON.parse($("page-data").textContent);

  const POTENTIAL_COLORS = {
    "Blue\u2013white\u2013red": Kit.POTENTIAL_COLORS["Blue\u2013white\u2013red"],
    "Viridis": ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
    "Inferno": ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"],
    "Rainbow": Kit.POTENTIAL_COLORS.Rainbow,
  };
  const PANELS = ["movie", "activation", "recovery"], AXES = ["x", "y", "z"], BANDS = [1, 2, 5, 10, 20, 50, 100];
  const CHARGE_COLORS = { "1": "#ffd21f", "-1": "#3ff0c0" };
  const YELLOW = [1.0, 0.78, 0.0];

  // ---- data ----------------------------------------------------------------------------------------------------------

  async function unpackedField(packet) {
    if (!packet) return null;
    const grid = (part) => part.grid && new Sheets.Grid({ ...part.grid, mask: Kit.unpackedBits(part.grid.mask) });
    const { movie, maps } = packet, found = { ...packet };
    if (movie) found.movie = { ...movie, grid: grid(movie), times: Array.from(pack(movie.times).all()), values: await Kit.inflated(movie.values) };
    if (maps) found.maps = { ...maps, grid: grid(maps), activation: await Kit.inflated(maps.activation), recovery: await Kit.inflated(maps.recovery) };
    if (packet.points) {
      [found.points, found.triangles] = [pack(packet.points).all(), pack(packet.triangles).codes];
      found.nodes = Int32Array.from({ length: found.points.length / 3 }, (_, i) => i);
    }
    return found;
  }

  /** Signals by row: row i is decoded at first use. */
  function signal(packet) {
    if (!packet) return null;
    const values = pack(packet.values), rows = [];
    return { ...packet, times: Array.from(pack(packet.times).all()), row: (i) => (rows[i] ??= values.row(i)) };
  }

  const [sheet, surface] = await Promise.all([unpackedField(data.sheet), unpackedField(data.surface)]);
  const fields = { sheet, surface };
  const probes = signal(data.probes), leads = data.leads.map(signal);
  const singular = data.singularities && singularities(data.singularities);

  const gridOf = (field) => field?.movie?.grid ?? field?.maps?.grid;
  const volume = Boolean(gridOf(sheet)?.shape.every((n) => n > 1));
  const state = {
    view: surface ? "surface" : sheet ? "sheet" : null, frame: 0, playing: false, speed: 100, beat: 0, band: 10, third: "recovery",
    axis: 2, at: 0, picked: null, hover: null, set: 0, zoom: null, range: [0, 1],
  };
  const camera = { rotation: [...(surface?.view ?? [1, 0, 0, 0, 1, 0, 0, 0, 1])] };
  const hidden = { potential: new Set(), lead: new Set() };
  const panels = {}, charts = {}, slices = {}, ranges = new Map();

  /** Rows (time, charge, x, y, z) as objects, the rows at every time, and the paths. */
  function singularities({ times, count, rows, path }) {
    const table = pack(rows)?.all() ?? [], number = pack(path)?.codes ?? [], all = [], at = new Map(), paths = new Map();
    for (let i = 0; i < table.length / 5; i++) {
      const [time, charge, x, y, z] = table.subarray(5 * i, 5 * i + 5), row = { time, charge, point: [x, y, z], path: number[i] };
      all.push(row);
      at.set(time, [...(at.get(time) ?? []), row]);
      if (row.path >= 0) paths.set(row.path, [...(paths.get(row.path) ?? []), row]);
    }
    return { times: Array.from(pack(times).all()), count: Array.from(pack(count).all()), at, paths: [...paths.values()] };
  }

  const field = () => fields[state.view];
  const times = () => field()?.movie?.times ?? [0];
  const part = (name) => (name === "movie" ? field()?.movie : field()?.maps);
  const nodes = (name) => (state.view === "sheet" ? slices[name].nodes : surface.nodes);

  /** What a panel shows at some nodes of its own: mV or ms. */
  function values(name, which) {
    const { movie, maps } = field();
    if (name === "movie") return movie.values.take(state.frame, which);
    if (name === "activation") return maps.activation.take(state.beat, which);
    const recovery = maps.recovery.take(state.beat, which);
    if (state.third === "recovery") return recovery;
    const activation = maps.activation.take(state.beat, which);
    return recovery.map((v, i) => v - activation[i]);
  }

  /** Range of a map over the whole tissue: all but the latest half percent. */
  function mapRange(name) {
    const key = [state.view, state.beat, name, state.third].join();
    if (!ranges.has(key)) {
      const all = Int32Array.from({ length: field().maps.activation.columns }, (_, i) => i);
      const known = values(name, all).filter(Number.isFinite).sort();
      ranges.set(key, known.length ? [known[0], known[Math.floor(0.995 * (known.length - 1))]] : [0, 1]);
    }
    return ranges.get(key);
  }

  // ---- drawing -------------------------------------------------------------------------------------------------------

  function drawFrame() {
    if (!state.view) return;
    const t = times()[state.frame], shown = Boolean(field()?.movie);
    if (shown) setValues("movie");
    for (const name of ["activation", "recovery"]) {
      if (!visible(name)) continue;
      const front = !shown || (name === "recovery" && state.third === "duration") ? null : t;
      target(name).setFront(front);
    }
    for (const mark of document.querySelectorAll("#map-activation .now, #map-recovery .now")) {
      if (shown) Kit.placeNow(mark, t); else mark.hidden = true;
    }
    marks();
    footers();
    if (!shown) return;
    $("time").textContent = `${number(t, decimals())} ms`;
    $("frame").textContent = `frame ${state.frame + 1} of ${times().length}`;
    $("slider").value = state.frame;
    for (const chart of Object.values(charts)) chart.setCursor(t);
  }

  const decimals = () => (times().length > 1 && (times()[1] - times()[0]) % 1 > 1e-6 ? 1 : 0);
  const target = (name) => panels[name][state.view];
  const visible = (name) => !panels[name].article.hidden;
  const setValues = (name) => target(name).setValues(values(name, nodes(name)));

  function colors() {
    const [low, high] = state.range, stops = POTENTIAL_COLORS[$("potential-colors").value];
    if (visible("movie")) {
      target("movie").setColors({ palette: Maps.palette(stops), low, high });
      Kit.scale(panels.movie.article, stops, { low, high, unit: "mV", ticks: linearTicks(low, high, 6).ticks });
    }
    const early = Kit.ACTIVATION_COLORS[$("activation-colors").value];
    for (const name of ["activation", "recovery"]) {
      if (!visible(name)) continue;
      const [first, last] = Kit.bandedRange(...mapRange(name), state.band), duration = name === "recovery" && state.third === "duration";
      const line = $("lines").checked ? state.band : 0;
      target(name).setColors({ palette: Maps.palette(early), low: first, high: last, band: state.band, line });
      Kit.scale(panels[name].article, early, { low: first, high: last, unit: "ms", band: state.band, down: !duration });
    }
  }

  /** Everything that does not change with time, then the frame. */
  function redraw() {
    if (!state.view) return;
    for (const name of PANELS) if (visible(name) && state.view === "sheet") target(name).setSlice(slices[name]);
    for (const name of ["activation", "recovery"]) if (visible(name)) setValues(name);
    colors();
    drawFrame();
  }

  /** Marks on the maps: probes, the picked cell, singularities and the paths they have taken. */
  function marks() {
    for (const name of PANELS) {
      if (!visible(name)) continue;
      const list = [...probeMarks(), ...(name === "movie" ? singularMarks() : [])];
      if (state.picked) list.push({ point: state.picked.point, color: YELLOW, size: 11 });
      if (state.view === "surface") {
        panels[name].surface.setMarks(list.map((m) => ({ position: m.point, fill: m.color, size: m.size + 3 })));
        continue;
      }
      const near = (point) => Math.abs(point[slices[name].axis] - slices[name].at) <= 0.75 * slices[name].grid.spacing[slices[name].axis];
      const on = list.filter((m) => near(m.point)).map((m) => ({ ...m, fill: `rgb(${m.color.map((v) => Math.round(255 * v)).join(" ")})` }));
      panels[name].sheet.setOverlay(on, name === "movie" ? singularPaths() : []);
    }
  }

  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16) / 255);

  /** Color of line i of n: few of them from a list, many around the color circle. */
  function lineColor(i, n) {
    if (n <= LINE_COLORS.length) return LINE_COLORS[i];
    const turn = 360 * i / n, light = [0.36, 0.52, 0.44][i % 3], chroma = 0.62 * Math.min(light, 1 - light);
    return `#${[0, 8, 4].map((k) => {
      const at = (k + turn / 30) % 12, v = light - chroma * Math.max(-1, Math.min(at - 3, 9 - at, 1));
      return Math.round(255 * v).toString(16).padStart(2, "0");
    }).join("")}`;
  }

  function probeMarks() {
    if (!probes?.points) return [];
    const labels = probes.points.length <= 12;
    return probes.points.map((point, i) => ({ point, color: rgb(lineColor(i, probes.names.length)), size: 7, label: labels ? probes.names[i] : "" }));
  }

  function singularMarks() {
    if (!singular || !$("paths").checked) return [];
    const now = singular.times[nearest(singular.times, times()[state.frame])];
    const here = (singular.at.get(now) ?? []).map((row) => ({ point: row.point, color: rgb(CHARGE_COLORS[row.charge] ?? "#ffffff"), size: 9 }));
    if (state.view === "sheet") return here;
    const before = singular.paths.flatMap((rows) => rows.filter((row) => row.time < now));
    return [...before.map((row) => ({ point: row.point, color: rgb(CHARGE_COLORS[row.charge] ?? "#ffffff"), size: 2 })), ...here];
  }

  function singularPaths() {
    if (!singular || !$("paths").checked) return [];
    const t = times()[state.frame] + 1e-6, found = [];
    for (const rows of singular.paths) {
      const points = rows.filter((row) => row.time <= t).map((row) => row.point);
      if (points.length > 1) found.push({ points, color: CHARGE_COLORS[rows[0].charge] ?? "#ffffff" });
    }
    return found;
  }

  function footers() {
    const where = state.hover ?? state.picked;
    for (const name of PANELS) {
      if (!visible(name)) continue;
      const footer = panels[name].article.querySelector("footer");
      if (!where) { footer.textContent = "Point at a cell"; continue; }
      const node = state.view === "sheet" ? part(name).grid.node(where.point) : where.node;
      const value = node < 0 ? NaN : values(name, [node])[0];
      const missing = node < 0 ? "does not conduct" : name === "movie" ? "no cell" : name === "activation" ? "not activated" : "not recovered";
      footer.textContent = `${placeText(where)}: ${Number.isFinite(value) ? `${number(value, 1)} ${name === "movie" ? "mV" : "ms"}` : missing}`;
    }
  }

  function placeText({ point, node }) {
    if (state.view === "surface") return `Node ${node}`;
    const n = gridOf(sheet).shape.filter((s) => s > 1).length || 1;
    return `${AXES.slice(0, n).join(", ")} = ${point.slice(0, n).map((v) => number(v, 1)).join(", ")} mm`;
  }

  // ---- charts --------------------------------------------------------------------------------------------------------

  const PROBE_REACH = 1.5;

  /** The probe at a place, or -1: within a cell and a half. */
  function probeAt(place) {
    if (!probes?.points || !place) return -1;
    const reach = state.view === "sheet" ? PROBE_REACH * Math.max(...gridOf(sheet).spacing) : 0.03 * panels[PANELS.find(visible)].surface.radius;
    const distance = probes.points.map((p) => Math.hypot(...p.map((v, k) => v - place.point[k])));
    const best = distance.indexOf(Math.min(...distance));
    return distance[best] <= reach ? best : -1;
  }

  /** Action potential of a cell, from the movie; null where it does not conduct. */
  function ofCell(place) {
    const movie = field()?.movie;
    if (!movie || !place) return null;
    const node = state.view === "sheet" ? movie.grid.node(place.point) : place.node;
    if (node < 0) return null;
    const y = movie.values.column(node);
    return y.some(Number.isFinite) ? { x: movie.times, y } : null;
  }

  function potentials() {
    if (!charts.potential) return;
    const chosen = probeAt(state.picked), pointed = probeAt(state.hover), series = [];
    const cell = chosen < 0 && ofCell(state.picked), under = state.hover && pointed < 0 && ofCell(state.hover);
    probes?.names.forEach((name, i) => {
      const strong = i === chosen || i === pointed;
      if (hidden.potential.has(i) && !strong) return;
      series.push({ x: probes.times, y: probes.row(i), color: lineColor(i, probes.names.length), width: strong ? 2.8 : 1.5, name });
    });
    if (under) series.push({ ...under, color: css("--muted"), width: 1.5, dash: [4, 3], name: "under the pointer" });
    if (cell) series.push({ ...cell, color: css("--truth"), width: 2.4, name: placeText(state.picked) });
    charts.potential.set(series.sort((a, b) => a.width - b.width));
    $("potential-line").textContent = potentialText(cell, chosen);
  }

  function potentialText(cell, chosen) {
    const ink = document.documentElement.dataset.theme === "dark" ? "white" : "black";
    if (cell) return `${ink}: ${placeText(state.picked)}, from the movie`;
    if (chosen >= 0) return `thick: ${probes.names[chosen]}`;
    return field()?.movie ? "click a cell to see its own" : "";
  }

  const potentialLegend = () => legend("potential", probes?.names ?? [], () => { potentials(); potentialLegend(); });

  function leadChart() {
    if (!charts.lead) return;
    const set = leads[state.set], names = set.names;
    charts.lead.set(names.map((name, i) => ({ x: set.times, y: set.row(i), color: lineColor(i, names.length), width: 1.5, name }))
      .filter((_, i) => !hidden.lead.has(i)));
    $("lead-line").textContent = set.label;
    legend("lead", names, leadChart);
  }

  function legend(key, names, again) {
    const host = $(`${key}-legend`), off = hidden[key];
    host.replaceChildren();
    names.forEach((name, i) => Kit.legendEntry(host, {
      text: name, color: lineColor(i, names.length), on: !off.has(i), act: () => { if (off.has(i)) off.delete(i); else off.add(i); again(); },
    }));
  }

  function countChart() {
    if (!charts.count) return;
    const { times: t, count } = singular, x = [], y = [];
    count.forEach((n, k) => { x.push(t[k], t[k + 1] ?? t[k]); y.push(n, n); });
    charts.count.set([{ x, y, color: css("--line"), kind: "area" }, { x, y, color: css("--accent"), width: 1.8 }]);
    const most = Math.max(0, ...count), paths = singular.paths.length;
    $("count-line").textContent = most ? `at most ${most} at a time, ${paths} ${paths === 1 ? "path" : "paths"}; `
      + "yellow turns counter-clockwise, green clockwise" : "none at any time";
  }

  function readout(chart) {
    return (x) => {
      const { series } = chart();
      if (!series.length) return null;
      const at = series[0].x[nearest(series[0].x, x)], rows = [{ text: `${number(at, 1)} ms` }];
      for (const s of series.slice(0, 16)) {
        const y = s.y[nearest(s.x, x)];
        if (s.name && Number.isFinite(y)) rows.push({ color: s.color, text: `${s.name} ${significant(y)} mV` });
      }
      return { x: at, rows };
    };
  }

  function zoomTime(wanted) {
    const drawn = ["potential", "lead", "count"].map((key) => charts[key]).filter(Boolean);
    const full = [0, Math.max(...drawn.flatMap((chart) => chart.series.map((s) => s.x[s.x.length - 1])))];
    const next = wanted && [Math.max(full[0], wanted[0]), Math.min(full[1], wanted[1])];
    const wide = next ? (next[1] - next[0]) / (full[1] - full[0]) : 1;
    if (wide < 0.002) return;
    for (const chart of drawn) { chart.xRange = wide > 0.98 ? null : next; chart.draw(); }
  }

  // ---- the 12-lead plot ----------------------------------------------------------------------------------------------

  function paper() {
    const all = leads.flatMap((set) => set.papers.map((p) => ({ ...p, set: set.name })));
    $("paper-card").hidden = !all.length;
    if (!all.length) return;
    const several = new Set(all.map((p) => p.set)).size > 1;
    fill($("paper-layout"), all.map((p, i) => [i, several ? `${p.set}: ${p.name}` : p.name]), 0);
    const draw = () => {
      const chosen = all[Number($("paper-layout").value)];
      $("paper").replaceChildren(paperDrawing(chosen));
      $("paper-line").textContent = `${chosen.note.replaceAll("   ", ", ")}; to scale when printed at 100 %, not on the screen`;
    };
    $("paper-layout").addEventListener("change", draw);
    draw();
  }

  /** One sheet of paper as SVG in millimeters; y of the data points up. */
  function paperDrawing({ width, height, gain, traces, pulses, note }) {
    const svg = Kit.shape("svg", { viewBox: `0 0 ${width} ${height}`, style: `--paper: ${width}mm`, role: "img", "aria-label": "12-lead ECG" });
    const put = (kind, attributes) => svg.appendChild(Kit.shape(kind, attributes));
    put("rect", { width, height, fill: "#fffaf7" });
    for (const [step, color, line] of [[1, "#f6d5ce", 0.1], [5, "#e8a79c", 0.2]]) {
      let d = "";
      for (let x = 0; x <= width; x += step) d += `M${x} 0V${height}`;
      for (let y = height; y >= 0; y -= step) d += `M0 ${y}H${width}`;
      put("path", { d, stroke: color, "stroke-width": line, fill: "none" });
    }
    const ink = { stroke: "#1c1c1c", "stroke-width": 0.32, fill: "none", "stroke-linejoin": "round" };
    for (const [x, y] of pulses) put("path", { ...ink, d: `M${x} ${height - y}h1v${-gain}h5v${gain}h1` });
    const first = Math.min(...traces.map((t) => t.left));
    for (const { lead, left, baseline, label, points } of traces) {
      const packed = pack(points), [x, y] = [packed.row(0), packed.row(1)];
      put("path", { ...ink, class: "trace", d: Array.from(x, (v, k) => `${k ? "L" : "M"}${v.toFixed(2)} ${(height - y[k]).toFixed(2)}`).join("") });
      if (left > first) put("path", { ...ink, d: `M${left} ${height - baseline - 2.5}v5` });
      put("text", { x: label[0], y: height - label[1] - 0.6, "font-size": 3.4, "font-weight": 700, stroke: "#fffaf7", "stroke-width": 0.7, "paint-order": "stroke" }).textContent = lead;
    }
    put("text", { x: 5, y: height - 2.2, "font-size": 2.6, opacity: 0.75 }).textContent = note;
    return svg;
  }

  // ---- actions -------------------------------------------------------------------------------------------------------

  const { setFrame, play, pause, seek, ...clock } = Kit.clock(state, times, drawFrame);

  function pick(place) { state.picked = place; marks(); footers(); potentials(); }

  function point(place) { state.hover = place; footers(); potentials(); }

  function setSlice(axis, at) {
    if (!sheet) return;
    const grid = gridOf(sheet);
    [state.axis, state.at] = [axis, grid.coordinate(axis, grid.index(axis, at))];
    for (const name of PANELS) {
      const one = name === "movie" ? sheet.movie : sheet.maps;
      if (one) slices[name] = one.grid.slice(axis, state.at);
    }
    $("axis").value = String(axis);
    $("position").max = grid.shape[axis] - 1;
    $("position").value = grid.index(axis, state.at);
    $("position-text").textContent = `${AXES[axis]} = ${number(state.at, 1)} mm`;
  }

  function showView(view) {
    const now = times()[state.frame];
    state.view = view;
    state.frame = nearest(times(), now);
    state.hover = null;
    for (const name of ["sheet", "surface"]) $(`view-${name}`).setAttribute("aria-pressed", String(view === name));
    for (const name of PANELS) {
      const { article } = panels[name];
      article.hidden = name === "movie" ? !field().movie : name === "activation" ? !field().maps : !field().maps?.recovery;
      panels[name].sheet?.show(view === "sheet");
      article.querySelector("canvas.surface").hidden = view !== "surface";
      article.querySelector(".axes").toggleAttribute("hidden", view !== "surface");
    }
    const count = PANELS.filter(visible).length;
    const flat = view === "sheet" && gridOf(sheet).shape[1] === 1;
    document.querySelector(".maps").className = `maps ${["", "one", "pair", ""][count]} ${flat ? "flat" : ""}`;
    document.querySelector(".transport").hidden = !field().movie;
    for (const e of document.querySelectorAll(".for-volume")) e.hidden = !(view === "sheet" && volume);
    for (const e of document.querySelectorAll(".for-movie")) e.hidden = !field().movie;
    for (const e of document.querySelectorAll(".for-maps")) e.hidden = !field().maps;
    for (const e of document.querySelectorAll(".for-paths")) e.hidden = !(field().movie && singular?.at.size);
    $("slider").max = times().length - 1;
    if (field().movie) strip();
    beats();
    pickFirst();
    turned();
    redraw();
    potentials();
  }

  function beats() {
    const { maps } = field();
    $("beat-label").hidden = !maps || maps.beats.length < 2;
    if (!maps) return;
    state.beat = Math.min(state.beat, maps.beats.length - 1);
    fill($("beat"), maps.beats.map((n, i) => [i, `${n} of ${maps.n_beats}`]), state.beat);
  }

  /** A cell to start with: at the first probe if it is in sight, else in the middle of what is shown. */
  function pickFirst() {
    const first = probes?.points?.[0];
    if (state.view === "surface") { const node = nodeNearest(first); state.picked = { node, point: surfacePoint(node) }; return; }
    const { grid, axis, at, nodes: shown } = slices[sheet.movie ? "movie" : "activation"];
    const conducting = shown.filter((node) => node >= 0);
    const near = first && Math.abs(first[axis] - at) <= 0.75 * grid.spacing[axis];
    if (near || !conducting.length) { state.picked = { point: first ?? grid.point(0) }; return; }
    const all = Array.from(conducting, (node) => grid.point(node)), middle = [0, 1, 2].map((k) => all.reduce((sum, p) => sum + p[k], 0) / all.length);
    const off = (p) => Math.hypot(...p.map((v, k) => v - middle[k]));
    state.picked = { point: all.reduce((best, p) => (off(p) < off(best) ? p : best)) };
  }

  const surfacePoint = (i) => Array.from(surface.points.subarray(3 * i, 3 * i + 3));

  /** Node nearest to a point; without one the node that is nearest to the viewer. */
  function nodeNearest(point) {
    const worth = (i) => {
      const p = surfacePoint(i);
      return point ? -Math.hypot(...p.map((v, k) => v - point[k])) : p.reduce((sum, v, k) => sum + v * camera.rotation[6 + k], 0);
    };
    let best = 0;
    for (const i of surface.nodes) if (worth(i) > worth(best)) best = i;
    return best;
  }

  function turned() {
    for (const name of PANELS) if (panels[name].surface) panels[name].surface.draw();
    if (surface) axes();
  }

  function reset() {
    const movie = field()?.movie;
    if (movie) state.range = [...movie.range];
    $("low").value = state.range[0];
    $("high").value = state.range[1];
    if (surface) camera.rotation = [...surface.view];
    for (const name of PANELS) if (panels[name].surface) panels[name].surface.zoom = 1;
    zoomTime(null);
    turned();
    redraw();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  function bandFor(span) { return BANDS.find((b) => b >= 2 && span / b <= 24) ?? 100; }

  function controls() {
    const on = (id, event, act) => $(id).addEventListener(event, act);
    fill($("potential-colors"), Object.keys(POTENTIAL_COLORS).map((k) => [k, k]), Object.keys(POTENTIAL_COLORS)[0]);
    fill($("activation-colors"), Object.keys(Kit.ACTIVATION_COLORS).map((k) => [k, k]), Object.keys(Kit.ACTIVATION_COLORS)[0]);
    fill($("axis"), AXES.map((k, i) => [i, k]), state.axis);
    fill($("recovery-shows"), [["recovery", "Time of recovery"], ["duration", "Action potential duration"]], state.third);
    fill($("lead-set"), leads.map((set, i) => [i, set.name]), 0);
    fill($("band"), BANDS.map((b) => [b, b]), state.band);
    $("view").hidden = !(sheet && surface);
    $("lead-set").hidden = leads.length < 2;
    clock.controls();
    for (const id of ["potential-colors", "activation-colors", "lines"]) on(id, "change", colorsAndFrame);
    on("paths", "change", marks);
    on("band", "change", () => { state.band = Number($("band").value); colorsAndFrame(); });
    on("beat", "change", () => { state.beat = Number($("beat").value); redraw(); });
    on("recovery-shows", "change", () => { state.third = $("recovery-shows").value; redraw(); });
    on("axis", "change", () => { const axis = Number($("axis").value), grid = gridOf(sheet); setSlice(axis, grid.coordinate(axis, grid.shape[axis] >> 1)); redraw(); });
    on("position", "input", () => { setSlice(state.axis, gridOf(sheet).coordinate(state.axis, Number($("position").value))); redraw(); });
    for (const id of ["low", "high"]) on(id, "change", () => {
      const [low, high] = [$("low").valueAsNumber, $("high").valueAsNumber];
      if (low < high) { state.range = [low, high]; colorsAndFrame(); }
    });
    on("lead-set", "change", () => { state.set = Number($("lead-set").value); hidden.lead.clear(); leadChart(); });
    for (const view of ["sheet", "surface"]) on(`view-${view}`, "click", () => showView(view));
    on("reset", "click", reset);
    Kit.theme(() => { redraw(); if (field()?.movie) strip(); potentials(); leadChart(); countChart(); });
    Kit.keys(clock.keys);
  }

  function colorsAndFrame() { colors(); drawFrame(); }

  const axes = Kit.axes(camera, { names: AXES, view: camera.rotation.slice(), turned: () => turned() });

  // ---- start ---------------------------------------------------------------------------------------------------------

  function makePanels() {
    for (const name of PANELS) {
      const article = $(`map-${name}`), view = article.querySelector(".view"), one = (f) => (name === "movie" ? f?.movie : f?.maps);
      panels[name] = { article };
      if (one(sheet)) panels[name].sheet = new Sheets.Sheet(view, { onPick: pick, onHover: point });
      if (!one(surface)) continue;
      const hit = (act) => (found) => act(found && { node: found.node, point: surfacePoint(found.node) });
      panels[name].surface = new Maps.View(article.querySelector("canvas.surface"), {
        points: surface.points, triangles: surface.triangles, camera, onTurn: turned, onPick: hit(pick), onHover: hit(point),
      });
    }
  }

  function makeCharts() {
    const onPick = (t) => { if (field()?.movie) seek(nearest(times(), t)); };
    const make = (key, yLabel, more) => { charts[key] = new Chart($(`${key}-chart`), { xLabel: "Time (ms)", yLabel, scrub: true, onPick, onZoom: zoomTime, ...more }); };
    const movie = sheet?.movie ?? surface?.movie;
    for (const [key, there] of [["potential", probes || movie], ["lead", leads.length], ["count", singular]]) {
      $(`${key}-card`).hidden = !there;
      if (there) make(key, key === "count" ? "Number" : "Potential (mV)", key === "count" ? { yWhole: true } : { readout: readout(() => charts[key]) });
    }
    charts.strip = new Chart($("strip"), { bare: true, scrub: true, onPick });
    probes?.names.forEach((_, i) => { if (i >= 12) hidden.potential.add(i); });
    potentialLegend();
  }

  function texts() {
    $("case-name").textContent = data.title;
    const kept = [field()?.movie && "movie", field()?.maps && "activation", probes && "action potentials", leads.length && "leads"].filter(Boolean);
    $("case-line").textContent = kept.length ? "Simulated: transmembrane potential in mV, times in ms" : "Nothing was kept of this simulation but its summary";
    for (const [name, text] of data.facts) Kit.fact(name, text);
    $("summary-card").hidden = !Object.keys(data.summary).length;
    Kit.provenance($("summary"), withUnits(Object.fromEntries(Object.entries(data.summary).map(([k, v]) => [k, v ?? MISSING[k] ?? null]))));
    Kit.provenance($("provenance"), data.provenance);
    const shown = kept.length ? { "arrays": "movies are rounded to 1/2046 of their range, signals to 1/65534" } : {};
    data.notes.forEach((note, i) => { shown[data.notes.length > 1 ? `left out (${i + 1})` : "left out"] = note; });
    $("provenance").appendChild(Kit.definitions(shown));
  }

  const WORDS = {
    cells: "Conducting cells", conducting: "Conducting share", unreached_cells: "Cells out of reach", dt_ms: "Time step_ms", t_end_ms: "Simulated_ms",
    activated: "Activated share", activation_time_ms: "First to last activation_ms", cv_mm_per_ms: "Conduction velocity_mm_per_ms",
    duration_ms: "Action potential duration_ms", duration_level_mv: "Duration measured at_mv", ecg_amplitude_mv: "ECG peak to peak_mv",
    ecg_largest_lead: "Largest in lead", seconds: "Time of stepping_s", cell_steps_per_second: "Cell-steps per second", singularities_mean: "Singularities, mean",
    singularities_most: "Singularities, at most", singularity_longest_ms: "Longest path_ms",
  };
  /** What is said of a measurement that could not be made. */
  const MISSING = {
    activation_time_ms: "not activated", last_activation_ms: "not activated", cv_mm_per_ms: "not known", duration_ms: "not recovered by the end",
    apd90_ms: "not recovered by the end", qrs_ms: "not activated", qt_ms: "not seen in the leads",
  };
  const COUNTS = ["cells", "steps", "unreached_cells"];
  const UNITS = { mm_per_ms: "mm/ms", ms: "ms", mv: "mV", mm: "mm", hz: "Hz", s: "s", percent: "%" };

  /** Metrics as people read them: known names in words, a unit at the end of a name behind the value, shares in percent. */
  function withUnits(object) {
    const capital = (name) => name.replace(/(?<![a-z])(apd|cv|ecg|qrs|qt|rms)(?![a-z])/g, (word) => word.toUpperCase());
    return Object.fromEntries(Object.entries(object).map(([key, value]) => {
      const [, name, unit] = /^(.*?)_(mm_per_ms|ms|mv|mm|hz|s|percent)$/i.exec(WORDS[key] ?? key) ?? [null, WORDS[key] ?? key, null];
      const shown = unit ?? (name.endsWith(" share") ? "percent" : null);
      if (typeof value !== "number") return [capital(name), value];
      if (COUNTS.includes(key)) return [capital(name), value.toLocaleString("en-US")];
      if (key === "cell_steps_per_second") return [name, `${significant(value / 1e6)} million`];
      if (!shown) return [capital(name), value];
      return [capital(name), `${significant(unit ? value : 100 * value)} ${UNITS[shown.toLowerCase()]}`];
    }));
  }

  /** The runs of a sweep: what was swept, measurements, and a link to the page of each. */
  function runs() {
    const rows = data.runs ?? [];
    $("runs-card").hidden = rows.length < 2;
    if (rows.length < 2) return;
    const now = rows.findIndex((row) => row.shown);
    $("runs-line").textContent = `below: run ${now + 1} of ${rows.length}; click another to see it`;
    const cells = rows.map((row) => ({ ...Object.fromEntries(Object.entries(row.swept).map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : v])), ...withUnits(row.metrics) }));
    const names = [...new Set(cells.flatMap(Object.keys))], table = document.createElement("table");
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const name of ["Run", ...names]) head.appendChild(document.createElement("th")).textContent = name;
    rows.forEach((row, i) => {
      const line = body.insertRow(), first = line.insertCell();
      if (row.shown) line.setAttribute("aria-current", "true");
      const label = first.appendChild(document.createElement(row.link && !row.shown ? "a" : "span"));
      label.textContent = String(i + 1);
      if (row.link && !row.shown) label.href = row.link;
      for (const name of names) line.insertCell().textContent = cells[i][name] ?? "\u2013";
    });
    $("runs").replaceChildren(table);
  }

  /** Draw the mean potential of some cells over the slider; returns the frame that shows most: the one in which they differ
      most, among those with a phase singularity if there are any. */
  function strip() {
    const { values: movie, times: list } = field().movie, step = Math.max(1, Math.floor(movie.columns / 300));
    const cells = Int32Array.from({ length: Math.ceil(movie.columns / step) }, (_, i) => i * step);
    const means = [], spreads = [];
    for (let k = 0; k < list.length; k++) {
      const v = movie.take(k, cells).filter(Number.isFinite), mean = v.reduce((a, b) => a + b, 0) / v.length;
      means.push(mean);
      spreads.push(v.reduce((a, b) => a + (b - mean) ** 2, 0));
    }
    const least = Math.min(...means), y = means.map((v) => v - least);
    charts.strip.set([{ x: list, y, color: css("--line"), kind: "area" }, { x: list, y, color: css("--muted"), width: 1 }]);
    const turning = (k) => Boolean(singular?.count[nearest(singular.times, list[k])]);
    const among = list.some((_, k) => turning(k)) ? spreads.map((s, k) => (turning(k) ? s : -1)) : spreads;
    return among.indexOf(Math.max(...among));
  }

  function start() {
    texts();
    runs();
    makePanels();
    makeCharts();
    const movie = sheet?.movie ?? surface?.movie;
    if (movie) {
      const [first, last] = [movie.times[0], movie.times[movie.times.length - 1]];
      state.speed = SPEEDS.reduce((a, b) => (Math.abs(Math.log(b * 10 / (last - first + 1))) < Math.abs(Math.log(a * 10 / (last - first + 1))) ? b : a));
      state.range = [...(surface?.movie ?? movie).range];
      [$("low").value, $("high").value] = state.range;
    }
    if (state.view && field().maps) state.band = bandFor(mapRange("activation").reduce((a, b) => b - a));
    controls();
    if (sheet) {
      const { shape } = gridOf(sheet), axis = volume ? shape.indexOf(Math.min(...shape)) : 2;
      setSlice(axis, gridOf(sheet).coordinate(axis, shape[axis] >> 1));
    }
    if (state.view) {
      if (field().movie) state.frame = strip();
      showView(state.view);
    } else for (const e of document.querySelectorAll(".maps, .transport, .toolbar")) e.hidden = true;
    if (!state.view) potentials();
    leadChart();
    countChart();
    paper();
    const pickAt = (place) => pick({ point: place, node: state.view === "sheet" ? gridOf(sheet).node(place) : nodeNearest(place) });
    const show = (axis, at) => { setSlice(axis, at); redraw(); };
    window.einthoven = { state, data, fields, panels, charts, slices, setFrame: seek, play, pause, pick: pickAt, showView, setSlice: show };
    requestAnimationFrame(() => requestAnimationFrame(() => { window.einthovenReady = true; }));
  }

  start();
})().catch((error) => {
  Kit.failed(error);
  throw error;
});
