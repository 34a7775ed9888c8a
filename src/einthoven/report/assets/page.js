/* The report page: reads the data in #page-data, draws maps and charts, keeps one time cursor for all of them.

   For scripts and tests: `window.einthoven` offers state, setFrame(k), play(), pause(), selectNode(i),
   selectElectrode(i), setMethod(i), showActivation(on), nodeOnScreen(side, i) and electrodeOnScreen(i) (client pixels
   and depth towards the viewer in mm, or null where hidden). `window.einthovenReady` becomes true after the first
   drawing, when the page answers; the curves of the other methods follow in the next turn.
   All text from files enters the document as text nodes only. */
"use strict";

(() => {
  const { Chart, css, significant, number } = Charts;
  const { $, POTENTIAL_COLORS, ACTIVATION_COLORS, SPREAD_COLORS, pack, nearest, roundUp, range, scale, placeNow, fill, fact } = Kit;
  const data = JSON.parse(document.getElementById("page-data").textContent);

  const RULES = {
    lcurve: "L-curve", gcv: "GCV", rgcv: "robust GCV", creso: "CRESO", ucurve: "U-curve", discrepancy: "discrepancy", oracle: "oracle", fixed: "fixed",
    annealed: "annealing", bic: "BIC",
  };
  const FALLBACK = /^fell back on ([^,]+), (.+)$/;
  /** Half width of the central 90 % of a normal distribution, standard deviations. */
  const NINETY = 1.645;
  const TRUTH = "truth", TRUTH_NAME = data.truth?.simulated ? "Truth" : "Measured";

  // ---- data ----------------------------------------------------------------------------------------------------------

  const ruleName = (rule) => {
    const fallback = FALLBACK.exec(rule);
    return fallback ? `fell back on ${fallback[1]}, ${ruleName(fallback[2])}` : RULES[rule] ?? rule;
  };
  const times = Array.from(pack(data.times).all());
  const nFrames = times.length;
  const methods = data.methods.map((m, i) => ({
    ...m, values: pack(m.values), residual: pack(m.residual), activation: m.activation && pack(m.activation).all(),
    color: Kit.LINE_COLORS[i % Kit.LINE_COLORS.length], label: label(m, i),
    spread: pack(m.physics?.spread), activationSpread: m.physics?.activation_spread && pack(m.physics.activation_spread).all(),
  }));
  const truth = data.truth && { values: pack(data.truth.values), activation: data.truth.activation && pack(data.truth.activation).all() };
  const recorded = pack(data.leads.recorded);
  const heart = { points: pack(data.heart.points).all(), triangles: pack(data.heart.triangles).codes };
  const torso = {
    points: pack(data.torso.points).all(), triangles: pack(data.torso.triangles).codes,
    electrodes: pack(data.torso.electrodes).all(), weights: data.torso.weights && pack(data.torso.weights).all(),
  };
  const leadOf = new Map(data.torso.lead_electrode.map((e, lead) => [e, lead]));
  const halfStep = nFrames > 1 ? (times[1] - times[0]) / 2 : 0;
  const decimals = times.length > 1 && (times[1] - times[0]) % 1 > 1e-6 ? 1 : 0;

  function label(method, i) { return ownLabel(method, i) + (method.physics && !method.physics.accepted ? " (fell back)" : ""); }

  function ownLabel(method, i) {
    const same = data.methods.filter((m) => m.name === method.name);
    if (same.length === 1) return method.name;
    const rules = same.filter((m) => m.rule === method.rule);
    return rules.length === 1 ? `${method.name}, ${ruleName(method.rule)}` : `${method.name}, ${ruleName(method.rule)} (${i + 1})`;
  }

  const state = {
    frame: 0, playing: false, speed: 50, method: 0, node: 0, lead: 0, activation: false, band: 10,
    left: "method", right: truth ? TRUTH : methods.length > 1 ? 1 : null, torso: "recorded", lines: true,
    heartRange: 1, torsoRange: 1, hidden: new Set(), zoom: null,
  };
  const camera = { rotation: [...data.torso.view] };
  const charts = {}, views = {};
  let stale = true, strip = null, settled = false;

  // ---- numbers -------------------------------------------------------------------------------------------------------

  function leadValues(k) {
    const values = recorded.column(k);
    if (state.torso === "recorded") return values;
    const residual = methods[state.method].residual.column(k);
    return state.torso === "residual" ? residual : values.map((v, i) => v - residual[i]);
  }

  function torsoField(k) {
    const values = leadValues(k), n = torso.points.length / 3, m = values.length, out = new Float32Array(n), w = torso.weights;
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < m; j++) sum += w[i * m + j] * values[j];
      out[i] = sum;
    }
    return out;
  }

  /** Quantile of |values| over about 20,000 of them. */
  function spread(packed, q) {
    const step = Math.max(1, Math.floor(packed.codes.length / 20000)) | 1, seen = [];
    for (let i = 0; i < packed.codes.length; i += step) seen.push(Math.abs(packed.value(packed.codes[i])));
    const known = seen.filter(Number.isFinite).sort((a, b) => a - b);
    return known.length ? known[Math.floor(q * (known.length - 1))] : 1;
  }

  function compare(estimate, reference) {
    let [difference, size, n, sa, sb, saa, sbb, sab] = new Array(8).fill(0);
    for (let i = 0; i < estimate.length; i++) {
      const [a, b] = [estimate[i], reference[i]];
      if (!Number.isFinite(a) || !Number.isFinite(b)) continue;
      difference += (a - b) ** 2; size += b * b; n++;
      sa += a; sb += b; saa += a * a; sbb += b * b; sab += a * b;
    }
    const spreadProduct = Math.sqrt((saa - sa * sa / n) * (sbb - sb * sb / n));
    return { error: Math.sqrt(difference / size), correlation: (sab - sa * sb / n) / spreadProduct };
  }

  function rms(row) { return Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / row.length); }

  function activationRange() {
    const lists = truth?.activation ? [truth.activation] : methods.map((m) => m.activation).filter(Boolean);
    const ranges = lists.map(range);
    const low = Math.min(...ranges.map((r) => r[0])), high = Math.max(...ranges.map((r) => r[1]));
    return Kit.bandedRange(low, high, state.band);
  }

  const heartRanges = [...methods.map((m) => m.values), ...(truth ? [truth.values] : [])];
  const defaultHeartRange = roundUp(spread(truth ? truth.values : heartRanges[0], 0.998));
  const defaultTorsoRange = roundUp(spread(recorded, 0.998));

  // ---- drawing -------------------------------------------------------------------------------------------------------

  function shown(side) {
    const choice = state[side];
    if (choice === null) return null;
    if (choice === TRUTH) return { name: TRUTH_NAME, ...truth };
    const method = methods[typeof choice === "number" ? choice : state.method];
    if (choice === "spread") return { name: "Spread", values: method.spread, activation: method.activationSpread };
    if (choice !== "difference") return { ...method, name: method.label };
    return null;
  }

  function differenceValues(k) {
    const estimate = methods[state.method].values.column(k), measured = truth.values.column(k);
    return estimate.map((v, i) => v - measured[i]);
  }

  function heartValues(side, k) {
    if (state[side] === "difference") {
      if (!state.activation) return differenceValues(k);
      const estimate = methods[state.method].activation;
      return estimate && truth.activation ? estimate.map((v, i) => v - truth.activation[i]) : null;
    }
    const what = shown(side);
    return what && (state.activation ? what.activation : what.values.column(k));
  }

  function drawFrame() {
    const k = state.frame, t = times[k];
    if (!state.activation || stale) for (const side of ["left", "right"]) paintHeart(side, k);
    stale = false;
    for (const side of ["left", "right"]) if (views[side]) views[side].setFront(state.activation && isTime(side) ? t + halfStep : null);
    for (const mark of document.querySelectorAll(".scale .now")) placeNow(mark, t);
    if (torso.weights) views.torso.setValues(torsoField(k));
    $("time").textContent = `${number(t, decimals)} ms`;
    $("frame").textContent = `frame ${k + 1} of ${nFrames}${data.stride > 1 ? ` (every ${data.stride}th)` : ""}`;
    $("slider").value = k;
    for (const key of ["strip", "node", "lead"]) charts[key].setCursor(t);
    footers();
  }

  /** Whether an activation map of this side shows times, rather than errors or spreads. */
  function isTime(side) { return state[side] !== "difference" && state[side] !== "spread"; }

  function paintHeart(side, k) {
    if (!views[side]) return;
    const values = heartValues(side, k);
    views[side].current = values;
    views[side].setValues(values || new Float32Array(heart.points.length / 3).fill(NaN));
  }

  function redraw() {
    stale = true;
    colors();
    drawFrame();
  }

  function colors() {
    const potential = Maps.palette(POTENTIAL_COLORS[$("potential-colors").value]);
    const stops = POTENTIAL_COLORS[$("potential-colors").value];
    const step = contourStep(state.torsoRange);
    views.torso.setColors({ palette: potential, low: -state.torsoRange, high: state.torsoRange, line: state.lines ? step : 0 });
    scale($("map-torso"), stops, { low: -state.torsoRange, high: state.torsoRange, unit: "mV" });
    $("map-torso").querySelector(".scale").hidden = $("torso-range").parentElement.hidden = $("torso-shows").hidden = !torso.weights;
    for (const side of ["left", "right"]) {
      if (!views[side]) continue;
      const panel = $(`map-${side}`);
      if (state[side] === "spread") spreadColors(side, panel);
      else if (state.activation && isTime(side)) {
        const early = ACTIVATION_COLORS[$("activation-colors").value], [low, high] = activationRange();
        views[side].setColors({ palette: Maps.palette(early), low, high, band: state.band, line: state.lines ? state.band : 0 });
        scale(panel, early, { low, high, unit: "ms", band: state.band, down: true });
      } else {
        const most = state.activation ? 3 * state.band : state.heartRange;
        const band = state.activation ? state.band / 2 : 0;
        const line = state.lines ? band || contourStep(most) : 0;
        views[side].setColors({ palette: potential, low: -most, high: most, band, line });
        scale(panel, stops, { low: -most, high: most, unit: state.activation ? "ms" : "mV", band });
      }
    }
  }

  /** Colors of the standard deviation of the chosen method, from 0 up. */
  function spreadColors(side, panel) {
    const { values, activation } = shown(side), unit = state.activation ? "ms" : "mV";
    const most = state.activation ? Math.max(1, range(activation)[1]) : spread(values, 0.998);
    const step = state.activation ? Kit.bandFor(most) : Charts.linearTicks(0, most, 5).ticks[1], [, high] = Kit.bandedRange(0, most, step);
    const band = state.activation ? step : 0, ticks = band ? null : Charts.linearTicks(0, high, high / step).ticks;
    views[side].setColors({ palette: Maps.palette(SPREAD_COLORS), low: 0, high, band, line: state.lines ? step : 0 });
    scale(panel, SPREAD_COLORS, { low: 0, high, unit, band, ticks });
  }

  function contourStep(range) { return range / 6; }

  function footers(hover = {}) {
    for (const side of ["left", "right"]) {
      if (!views[side]) continue;
      const node = hover[side] ?? state.node, value = views[side].current ? views[side].current[node] : NaN;
      const unit = state.activation ? "ms" : "mV";
      const what = views[side].current ? Number.isFinite(value) ? `${significant(value)} ${unit}` : "not measured" : "no activation map";
      $(`map-${side}`).querySelector("footer").textContent = `Node ${node}: ${what}`;
    }
    const lead = hover.lead ?? state.lead;
    const value = lead === null ? NaN : leadValues(state.frame)[lead];
    const text = lead === null ? "No lead there" : `Lead ${data.leads.names[lead]}: ${significant(value)} mV ${state.torso}`;
    $("map-torso").querySelector("footer").textContent = text;
  }

  function marks() {
    const n = torso.electrodes.length / 3, small = n > 100 ? 5 : 7;
    const list = [];
    for (let i = 0; i < n; i++) {
      const used = leadOf.has(i), chosen = used && leadOf.get(i) === state.lead;
      list.push({
        position: Array.from(torso.electrodes.subarray(3 * i, 3 * i + 3)),
        fill: chosen ? [1.0, 0.78, 0.0] : used ? [0.12, 0.14, 0.19] : [0.62, 0.64, 0.68], size: chosen ? 15 : small,
      });
    }
    views.torso.setMarks(list.sort((a, b) => a.size - b.size));
    for (const side of ["left", "right"])
      if (views[side]) views[side].setMarks([{ position: views[side].node(state.node), fill: [1.0, 0.78, 0.0], size: 14 }]);
  }

  // ---- charts --------------------------------------------------------------------------------------------------------

  const visible = (i) => !state.hidden.has(i);
  const drawn = (i) => visible(i) && (settled || i === state.method);

  function electrogram() {
    const series = methods.map((m, i) => ({ m, i })).filter(({ i }) => drawn(i)).map(({ m, i }) => ({
      x: times, y: m.values.row(state.node), color: m.color, width: i === state.method ? 2.2 : 1.3, alpha: i === state.method ? 1 : 0.7, name: m.label,
      half: i === state.method && m.spread ? m.spread.row(state.node).map((sd) => NINETY * sd) : null,
    }));
    series.sort((a, b) => a.width - b.width);
    const sure = series.find((s) => s.half);
    if (sure) series.unshift({ x: times, y: sure.y.map((v, k) => v + sure.half[k]), low: sure.y.map((v, k) => v - sure.half[k]), color: sure.color, alpha: 0.22, kind: "band" });
    const measured = truth && truth.values.row(state.node);
    const known = measured && measured.some(Number.isFinite);
    if (known) series.unshift({ x: times, y: measured, color: css("--truth"), width: 2, name: TRUTH_NAME });
    charts.node.set(series);
    const what = data.heart.quantity === "vm" ? "Transmembrane potential" : "Electrogram";
    $("node-title").textContent = `${what} at node ${state.node}`;
    $("node-line").textContent = truth && !known ? "not measured at this node" : data.mean_removed ? "mean over the heart removed" : "";
    if (sure) $("node-line").textContent += `${$("node-line").textContent ? "; " : ""}band: 90 % interval of ${sure.name}`;
    legend($("legend"), known ? TRUTH_NAME : null, (m) => {
      if (!known) return "";
      const { error, correlation } = compare(m.values.row(state.node), measured);
      return methods.length > 4 ? number(correlation, 2) : `error ${number(error, 2)}, correlation ${number(correlation, 2)}`;
    });
    if (known && methods.length > 4) $("node-line").textContent += "; below: correlation at this node";
  }

  function leadChart() {
    const lead = state.lead, y = recorded.row(lead);
    const series = methods.map((m, i) => ({ m, i })).filter(({ i }) => drawn(i)).map(({ m, i }) => {
      const residual = m.residual.row(lead);
      return { x: times, y: y.map((v, k) => v - residual[k]), color: m.color, width: i === state.method ? 2.2 : 1.3, alpha: i === state.method ? 1 : 0.7, name: m.label };
    });
    series.sort((a, b) => a.width - b.width);
    series.unshift({ x: times, y, color: css("--truth"), width: 3.4, name: "Recorded" });
    charts.lead.set(series);
    $("lead-title").textContent = `Lead ${data.leads.names[lead]}`;
    $("lead-line").textContent = `${data.leads.quantity}, reference ${data.leads.reference}`;
    legend($("lead-legend"), "Recorded", (m) => {
      const ratio = rms(m.residual.row(lead)) / rms(y);
      return methods.length > 4 ? `${number(100 * ratio, 1)} %` : `residual ${number(100 * ratio, 1)} %`;
    });
    if (methods.length > 4) $("lead-line").textContent += "; below: residual of this lead";
  }

  function legend(host, first, note) {
    host.replaceChildren();
    if (first) Kit.legendEntry(host, { text: first, color: css("--truth") });
    methods.forEach((m, i) => Kit.legendEntry(host, {
      text: m.label, color: m.color, note: settled || i === state.method ? note(m) : "", on: visible(i), chosen: i === state.method,
      act: () => { if (visible(i)) state.hidden.add(i); else state.hidden.delete(i); timeCharts(); },
    }));
  }

  function timeCharts() { electrogram(); leadChart(); }

  function seriesReadout(chart) {
    return (x) => {
      const k = nearest(times, x), rows = [{ text: `${number(times[k], decimals)} ms` }];
      const sure = (s) => (s.half ? ` \u00b1 ${significant(s.half[k])}` : "");
      for (const s of chart().series) if (s.name && Number.isFinite(s.y[k])) rows.push({ color: s.color, text: `${s.name} ${significant(s.y[k])}${sure(s)} mV` });
      return { x: times[k], rows };
    };
  }

  function curves() {
    const method = methods[state.method], curve = method.curve;
    $("curve-card").hidden = $("criterion-card").hidden = !curve && !method.physics?.history;
    if (method.physics?.history) training(method);
    else if (curve) weights(method, curve);
  }

  /** The training in the place of the weight's curves. */
  function training(method) {
    const { history, gate } = method.physics, x = history.step, level = (v) => x.map(() => v);
    Object.assign(charts.curve.options, { xLabel: "Step", yLabel: "chi2", xLog: false, yLog: true, xTight: true, readout: atStep(method) });
    Object.assign(charts.criterion.options, { xLabel: "Step", yLabel: "Residual of the physics", xLog: false, yLog: true, readout: atStep(method) });
    $("curve-title").textContent = "Training: misfit of the data";
    $("curve-line").textContent = `${method.name}; chi2 of noise is 1${gate ? ", shaded: what the gate accepts" : ""}`;
    charts.curve.set([
      ...(gate ? [{ x, y: level(gate.most), low: level(gate.least), color: css("--best-text"), alpha: 0.25, kind: "band" }] : []),
      { x, y: history.chi2, color: method.color, width: 1.6 },
    ]);
    $("criterion-title").textContent = "Training: weight of the physics";
    $("criterion-line").textContent = `line: tau, the residual assumed; dots: its root mean square${gate ? `; dashes: the gate's ${gate.tolerance}` : ""}`;
    charts.criterion.set([
      ...(gate ? [{ x, y: level(gate.tolerance), color: css("--muted"), width: 1, dash: [5, 4] }] : []),
      { x, y: history.physics, color: method.color, width: 1.6, dash: [2, 2] },
      { x, y: history.tolerance, color: method.color, width: 2.2 },
    ]);
  }

  function atStep(method) {
    const { step, cost, chi2, physics, tolerance } = method.physics.history;
    return (x) => {
      const k = nearest(step, x), rows = [`step ${step[k]}`, `cost ${significant(cost[k])}`, `chi2 ${significant(chi2[k])}`, `tau ${significant(tolerance[k])}`, `residual ${significant(physics[k])}`];
      return { x: step[k], rows: rows.map((text) => ({ text })) };
    };
  }

  function atWeight(x) {
    const curve = methods[state.method].curve, k = nearest(curve.lambdas, x);
    return { x: curve.lambdas[k], rows: [{ text: `\u03bb = ${significant(curve.lambdas[k])}` }, { text: `${curve.label} ${significant(curve.criterion[k])}` }] };
  }

  function weights(method, curve) {
    Object.assign(charts.curve.options, { xLabel: "Residual norm (mV)", yLabel: "Seminorm", xLog: true, yLog: true, xTight: false, readout: null });
    Object.assign(charts.criterion.options, { xLabel: "\u03bb", xLog: true, readout: atWeight });
    $("curve-title").textContent = "Weight selection: L-curve";
    $("criterion-title").textContent = "Weight selection: criterion";
    const chosen = nearest(curve.lambdas, curve.chosen);
    charts.curve.set([{ x: curve.residual_norms, y: curve.seminorms, color: method.color, width: 2 }],
      [{ x: curve.residual_norms[chosen], y: curve.seminorms[chosen], color: css("--cursor"), label: `\u03bb = ${significant(curve.chosen)}` }]);
    $("curve-line").textContent = `${method.label}, rule: ${ruleName(method.rule)}`;
    const positive = curve.criterion.filter((v) => v !== null && Number.isFinite(v)).every((v) => v > 0);
    const known = curve.criterion.map((v) => (v === null ? NaN : v));
    const span = Math.max(...known.filter(Number.isFinite)) / Math.min(...known.filter(Number.isFinite));
    charts.criterion.options.yLog = positive && span > 30;
    charts.criterion.options.yLabel = curve.label;
    charts.criterion.set([{ x: curve.lambdas, y: known, color: method.color, width: 2 }],
      [{ x: curve.lambdas[chosen], y: known[chosen], color: css("--cursor"), label: `\u03bb = ${significant(curve.chosen)}` }]);
    $("criterion-line").textContent = method.saw_truth ? "this rule saw the truth" : "computed without the truth";
  }

  function residuals() {
    const method = methods[state.method], n = data.leads.names.length;
    const index = Array.from({ length: n }, (_, i) => i + 1);
    const left = index.map((i) => rms(method.residual.row(i - 1))), total = index.map((i) => rms(recorded.row(i - 1)));
    charts.residual.set([{ x: index, y: left, total, color: method.color, kind: "bars" }]);
    const all = Math.sqrt(left.reduce((s, v) => s + v * v, 0) / total.reduce((s, v) => s + v * v, 0));
    $("residual-line").textContent = `${method.label}: ${number(100 * all, 1)} % of the recording left over`;
    charts.residual.setCursor(state.lead + 1);
  }

  // ---- scores --------------------------------------------------------------------------------------------------------

  const COLUMNS = {
    method: ["Method", "", 0], rule: ["Rule", "", 0], lambda: ["\u03bb", "", 0], relative_error: ["Relative error", "", -1],
    correlation: ["Correlation", "", 1], rmse: ["RMSE", "mV", -1], rdm: ["RDM", "", -1], mag: ["MAG", "", "one"], sc: ["SC", "", 1], tc: ["TC", "", 1],
    activation_error_ms: ["Activation error", "ms", -1], activation_correlation: ["Activation correlation", "", 1],
    localization_error_mm: ["Localization error", "mm", -1],
    residual: ["Residual", "relative", 0], chi2: ["chi2", "", 0], seconds: ["Time", "s", 0],
  };
  const sorting = { key: null, down: false };

  function columns() {
    const there = (key) => data.scores.some((row) => row[key] !== undefined && row[key] !== null);
    const known = Object.keys(COLUMNS).filter(there);
    const extra = [];
    for (const row of data.scores)
      for (const [key, value] of Object.entries(row)) {
        if (COLUMNS[key] || extra.includes(key) || typeof value !== "number" || !/(error|correlation|rmse|distance)/.test(key)) continue;
        extra.push(key);
      }
    return [...known, ...extra];
  }

  function heading(key) {
    if (COLUMNS[key]) return COLUMNS[key];
    const unit = /_ms$/.test(key) ? "ms" : /_mm$/.test(key) ? "mm" : "";
    const words = key.replace(/_(ms|mm)$/, "").replaceAll("_", " ");
    const better = /correlation/.test(key) ? 1 : /error|rmse|distance/.test(key) ? -1 : 0;
    return [words[0].toUpperCase() + words.slice(1), unit, better];
  }

  function bestRows(key) {
    const better = heading(key)[2];
    if (!better || data.scores.length < 2) return new Set();
    const worth = (v) => (typeof v !== "number" ? -Infinity : better === "one" ? -Math.abs(Math.log(v)) : better * v);
    const scored = data.scores.map((row, i) => (methods[i].saw_truth ? -Infinity : worth(row[key])));
    const top = Math.max(...scored);
    return new Set(scored.flatMap((v, i) => (v === top && Number.isFinite(v) ? [i] : [])));
  }

  function scoreTable() {
    const keys = columns(), head = $("scores").tHead, body = $("scores").tBodies[0];
    head.replaceChildren();
    body.replaceChildren();
    const top = head.insertRow();
    for (const key of keys) {
      const [name, unit] = heading(key), cell = top.appendChild(document.createElement("th"));
      cell.append(name);
      cell.scope = "col";
      if (unit) cell.appendChild(document.createElement("small")).textContent = unit;
      if (key === "method" || key === "rule") cell.className = "text";
      if (sorting.key === key) cell.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      cell.addEventListener("click", () => { sorting.down = sorting.key === key && !sorting.down; sorting.key = key; scoreTable(); });
    }
    const best = Object.fromEntries(keys.map((key) => [key, bestRows(key)]));
    const order = data.scores.map((_, i) => i);
    if (sorting.key) order.sort((a, b) => (sorting.down ? -1 : 1) * ordering(data.scores[a][sorting.key], data.scores[b][sorting.key]));
    for (const i of order) {
      const row = body.insertRow();
      row.classList.toggle("chosen", i === state.method);
      row.addEventListener("click", () => setMethod(i));
      for (const key of keys) scoreCell(row, key, i, best[key].has(i));
    }
  }

  function scoreCell(row, key, i, best) {
    const cell = row.insertCell(), value = data.scores[i][key];
    if (key === "method") {
      cell.className = "text";
      const dot = cell.appendChild(document.createElement("i"));
      dot.className = "key";
      dot.style.background = methods[i].color;
    }
    if (key === "rule") cell.className = "text";
    const fixed = ["relative_error", "correlation", "rdm", "mag", "sc", "tc", "activation_correlation", "chi2"].includes(key);
    cell.append(typeof value !== "number" ? (key === "rule" ? ruleName(value) : String(value ?? "\u2013")) : fixed ? number(value, 3) : significant(value));
    if (best) { cell.classList.add("best"); cell.title = "best of the methods that did not see the truth"; }
    if (key !== "rule") return;
    if (methods[i].saw_truth) addPill(cell, "saw the truth");
    if (methods[i].physics && !methods[i].physics.accepted) addPill(cell, "not accepted");
    if (data.scores[i].interrupted) addPill(cell, "interrupted");
  }

  function addPill(host, text, kind = "") {
    const pill = host.appendChild(document.createElement("span"));
    pill.className = `pill ${kind}`;
    pill.textContent = text;
  }

  // ---- the gate ------------------------------------------------------------------------------------------------------

  function verdicts() {
    const judged = methods.filter((m) => m.physics);
    $("gate-card").hidden = !judged.length;
    if (!judged.length) return;
    const { least, most, tolerance } = judged.find((m) => m.physics.gate)?.physics.gate ?? {};
    if (least !== undefined) $("gate-line").textContent = `an image is accepted where chi2 ends between ${least} and ${most}, as noise would, and tau at ${tolerance} at most; otherwise the classical one is shown`;
    for (const m of judged) {
      const line = $("verdicts").appendChild(document.createElement("li")), fallback = FALLBACK.exec(m.rule);
      const dot = line.appendChild(document.createElement("i"));
      dot.className = "key";
      dot.style.background = m.color;
      line.appendChild(document.createElement("b")).textContent = m.name;
      if (m.physics.gate) addPill(line, gateWord(m), m.physics.accepted ? "good" : "");
      const shown = fallback ? `; the maps show ${fallback[1]} (${ruleName(fallback[2])})` : "";
      line.appendChild(document.createElement("span")).textContent = m.physics.verdict + shown + foci(m.physics.foci);
    }
  }

  function suspects() {
    $("suspects-card").hidden = !data.leads.suspects.length;
    for (const text of data.leads.suspects) $("suspects").appendChild(document.createElement("li")).textContent = text;
  }

  function gateWord({ physics }) { return !physics.gate ? "switched off" : physics.accepted ? "accepted" : "not accepted"; }

  function foci(list) {
    const one = ({ place, onset }) => `(${place.map((v) => number(v, 0)).join(", ")}) mm at ${number(onset, 0)} ms`;
    return list.length ? `; ${list.length === 1 ? "focus" : "foci"}: ${list.map(one).join(", ")}` : "";
  }

  function ordering(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (a === undefined || a === null) return 1;
    if (b === undefined || b === null) return -1;
    return String(a).localeCompare(String(b));
  }

  // ---- header and provenance -----------------------------------------------------------------------------------------

  function header() {
    const n = heart.points.length / 3;
    $("case-name").textContent = data.case.name;
    $("case-line").textContent = `${data.heart.label} at ${n} nodes from ${data.leads.names.length} leads, `
      + `${number(times[0], decimals)}\u2013${number(times[nFrames - 1], decimals)} ms`;
    facts();
    $("scores-line").textContent = (truth ? `against the ${data.truth.simulated ? "simulated" : "measured"} truth, reference: ${data.reference}` : "no measured truth: nothing to score against")
      + (methods.some((m) => m.saw_truth) ? "; best marked among the methods that did not see the truth" : "");
  }

  function facts() {
    const method = methods[state.method], scores = data.scores[state.method];
    $("facts").replaceChildren();
    fact("Method", method.name);
    const accepted = method.physics?.accepted;
    if (Number.isFinite(method.weight) && !(accepted && method.rule === "bic")) fact("Weight", `${ruleName(method.rule)}, ${method.rule === "annealed" ? "tau" : "\u03bb"} = ${significant(method.weight)}`);
    if (method.physics) fact("Gate", gateWord(method));
    fact("Weight chosen", method.saw_truth ? "with the truth" : "without the truth");
    if (typeof scores.relative_error === "number") fact("Relative error", number(scores.relative_error, 3));
    if (typeof scores.correlation === "number") fact("Correlation", number(scores.correlation, 3));
    if (truth) fact("Scored", data.reference);
  }

  function provenance() {
    const host = $("provenance"), info = { ...data.case.info }, rest = { ...data.provenance };
    delete rest.data;
    const first = {};
    for (const key of ["origin", "licence", "license", "citation", "notes"]) if (info[key]) { first[key] = info[key]; delete info[key]; }
    Object.assign(first, info);
    if (Object.keys(first).length) host.appendChild(Kit.definitions(first));
    Kit.provenance(host, rest);
    host.appendChild(Kit.folded("diagnostics", Object.fromEntries(methods.map((m) => [m.label, m.diagnostics]))));
    host.appendChild(Kit.folded("this page", {
      "body-surface map": torso.weights ? "smoothest surface (least squared Laplacian) through the leads" : "none: the leads are not potentials of single electrodes",
      "arrays": "16-bit, error below 1e-5 of the range",
      "frames": data.stride > 1 ? `every ${data.stride}th of the recording` : "all",
      ...(methods.some((m) => m.spread) ? { "error bars": "standard deviation of samples of the posterior about the image (Laplace); errors of operator, cells and start are not in it" } : {}),
      "heart maps": data.mean_removed ? "mean over the measured nodes removed in every frame, estimate and truth alike" : "absolute",
    }));
  }

  // ---- actions -------------------------------------------------------------------------------------------------------

  const { setFrame, play, pause, seek, ...clock } = Kit.clock(state, () => times, drawFrame);

  function selectNode(i) { state.node = i; marks(); electrogram(); footers(); }

  function selectLead(lead) { state.lead = lead; marks(); leadChart(); charts.residual.setCursor(lead + 1); footers(); }

  function selectElectrode(i) { if (leadOf.has(i)) selectLead(leadOf.get(i)); }

  function setMethod(i) {
    state.method = i;
    state.hidden.delete(i);
    $("method").value = String(i);
    options();
    facts();
    timeCharts();
    curves();
    residuals();
    scoreTable();
    redraw();
  }

  function showActivation(on) {
    state.activation = on;
    $("show-potential").setAttribute("aria-pressed", String(!on));
    $("show-activation").setAttribute("aria-pressed", String(on));
    for (const e of document.querySelectorAll(".for-potential")) e.hidden = on;
    for (const e of document.querySelectorAll(".for-activation")) e.hidden = !on;
    redraw();
  }

  function zoomTime(window_) {
    const full = [times[0], times[nFrames - 1]];
    let next = window_ && [Math.max(full[0], window_[0]), Math.min(full[1], window_[1])];
    if (next && (next[1] - next[0] > 0.98 * (full[1] - full[0]) || next[1] - next[0] < 4 * (times[1] - times[0]))) {
      next = next[1] - next[0] > 0.5 * (full[1] - full[0]) ? null : state.zoom;
    }
    state.zoom = next;
    for (const key of ["node", "lead"]) { charts[key].xRange = next; charts[key].draw(); }
  }

  function reset() {
    camera.rotation = [...data.torso.view];
    for (const key of ["torso", "left", "right"]) if (views[key]) views[key].zoom = 1;
    state.heartRange = defaultHeartRange;
    state.torsoRange = defaultTorsoRange;
    $("heart-range").value = defaultHeartRange;
    $("torso-range").value = defaultTorsoRange;
    zoomTime(null);
    axes();
    redraw();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  function options() {
    const list = [["method", `Reconstructed: ${methods[state.method].label}`]];
    if (truth) list.push([TRUTH, TRUTH_NAME], ["difference", `Reconstructed \u2212 ${TRUTH_NAME.toLowerCase()}`]);
    methods.forEach((m, i) => { if (methods.length > 1) list.push([i, m.label]); });
    if (methods[state.method].spread) list.push(["spread", `Spread (sd): ${methods[state.method].label}`]);
    else for (const side of ["left", "right"]) if (state[side] === "spread") state[side] = "method";
    for (const side of ["left", "right"]) if (views[side]) fill($(`${side}-shows`), list, state[side]);
  }

  function controls() {
    fill($("method"), methods.map((m, i) => [i, m.label]), state.method);
    $("method").parentElement.hidden = methods.length < 2;
    fill($("potential-colors"), Object.keys(POTENTIAL_COLORS).map((k) => [k, k]), Object.keys(POTENTIAL_COLORS)[0]);
    fill($("activation-colors"), Object.keys(ACTIVATION_COLORS).map((k) => [k, k]), Object.keys(ACTIVATION_COLORS)[0]);
    fill($("torso-shows"), [["recorded", "Recorded"], ["predicted", "Predicted"], ["residual", "Residual"]], state.torso);
    options();
    clock.controls();
    $("show-activation").parentElement.hidden = !methods.some((m) => m.activation) && !truth?.activation;
    const on = (id, event, act) => $(id).addEventListener(event, act);
    on("method", "change", () => setMethod(Number($("method").value)));
    for (const id of ["potential-colors", "activation-colors"]) on(id, "change", redraw);
    on("torso-shows", "change", () => { state.torso = $("torso-shows").value; redraw(); });
    for (const side of ["left", "right"].filter((key) => views[key])) {
      on(`${side}-shows`, "change", () => {
        const value = $(`${side}-shows`).value;
        state[side] = /^\d+$/.test(value) ? Number(value) : value;
        redraw();
      });
    }
    on("heart-range", "change", () => { const v = Number($("heart-range").value); if (v > 0) { state.heartRange = v; redraw(); } });
    on("torso-range", "change", () => { const v = Number($("torso-range").value); if (v > 0) { state.torsoRange = v; redraw(); } });
    on("band", "change", () => { state.band = Number($("band").value); redraw(); });
    on("lines", "change", () => { state.lines = $("lines").checked; redraw(); });
    on("cut", "change", () => { for (const side of ["left", "right"]) if (views[side]) views[side].setCut($("cut").checked ? 0 : Infinity); });
    on("show-potential", "click", () => showActivation(false));
    on("show-activation", "click", () => showActivation(true));
    on("reset", "click", reset);
    Kit.theme(() => { setMethod(state.method); drawStrip(); });
    Kit.keys({
      ...clock.keys,
      "m": () => setMethod((state.method + 1) % methods.length),
      "a": () => { if (!$("show-activation").parentElement.hidden) showActivation(!state.activation); },
    });
  }

  function turned() { for (const key of ["torso", "left", "right"]) if (views[key]) views[key].draw(); axes(); }

  const axes = Kit.axes(camera, { names: data.torso.frame === "LPS" ? ["left", "back", "head"] : ["x", "y", "z"], view: data.torso.view, turned });

  // ---- start ---------------------------------------------------------------------------------------------------------

  function makeViews() {
    const canvas = (id) => $(id).querySelector("canvas");
    views.torso = new Maps.View(canvas("map-torso"), {
      ...torso, camera, onTurn: turned,
      onPick: (hit) => { const e = nearestElectrode(hit.point); if (e !== null) selectElectrode(e); },
      onHover: (hit) => { const e = hit && nearestElectrode(hit.point); footers(hit && e !== null ? { lead: leadOf.get(e) } : {}); },
    });
    if (state.right === null) { $("map-right").remove(); document.querySelector(".maps").classList.add("pair"); }
    for (const side of ["left", "right"]) {
      if (state[side] === null) continue;
      views[side] = new Maps.View(canvas(`map-${side}`), {
        ...heart, camera, hollow: data.heart.quantity !== "vm", onTurn: turned, onPick: (hit) => selectNode(hit.node),
        onHover: (hit) => footers(hit ? { left: hit.node, right: hit.node } : {}),
      });
    }
  }

  function nearestElectrode(point) {
    let best = null, least = Infinity;
    for (const e of leadOf.keys()) {
      if (e < 0) continue;
      const d = Math.hypot(...[0, 1, 2].map((k) => torso.electrodes[3 * e + k] - point[k]));
      if (d < least) { least = d; best = e; }
    }
    return best;
  }

  function makeCharts() {
    const pickTime = (t) => seek(nearest(times, t));
    charts.strip = new Chart($("strip"), { bare: true, scrub: true, onPick: pickTime });
    for (const [key, id, quantity] of [["node", "node-chart", "Potential (mV)"], ["lead", "lead-chart", "Potential (mV)"]]) {
      charts[key] = new Chart($(id), { xLabel: "Time (ms)", yLabel: quantity, scrub: true, onPick: pickTime, onZoom: zoomTime, readout: seriesReadout(() => charts[key]) });
    }
    charts.curve = new Chart($("curve-chart"), { xLabel: "", yLabel: "" });
    charts.criterion = new Chart($("criterion-chart"), { xLabel: "", yLabel: "" });
    charts.residual = new Chart($("residual-chart"), {
      xLabel: "Lead (in the order of the recording)", yLabel: "RMS residual (mV)", xPad: 0.7,
      onPick: (x) => selectLead(Math.min(data.leads.names.length - 1, Math.max(0, Math.round(x) - 1))),
      readout: (x) => {
        const i = Math.min(data.leads.names.length - 1, Math.max(0, Math.round(x) - 1)), { y, total, color } = charts.residual.series[0];
        return { x: i + 1, rows: [{ text: `Lead ${data.leads.names[i]}` }, { text: `recorded ${significant(total[i])} mV` },
          { color, text: `residual ${significant(y[i])} mV, ${number(100 * y[i] / total[i], 1)} %` }] };
      },
    });
  }

  function drawStrip() {
    charts.strip.set([{ x: times, y: strip, color: css("--line"), kind: "area" }, { x: times, y: strip, color: css("--muted"), width: 1 }]);
  }

  /** RMS over the leads for the time strip; picks the largest lead and node that face the viewer; returns the frame. */
  function overview() {
    const power = new Float64Array(nFrames), spreads = [], r = camera.rotation;
    const facing = (points, center, i) => i < 0 || [0, 1, 2].reduce((z, k) => z + r[6 + k] * (points[3 * i + k] - center[k]), 0) > 0;
    const n = recorded.rows;
    for (let i = 0; i < n; i++) {
      const row = recorded.row(i);
      spreads.push(rms(row) * (facing(torso.electrodes, views.torso.center, data.torso.lead_electrode[i]) ? 1 : 1e-3));
      for (let k = 0; k < nFrames; k++) power[k] += row[k] * row[k];
    }
    const y = power.map((p) => Math.sqrt(p / n));
    strip = y;
    state.lead = spreads.indexOf(Math.max(...spreads));
    const field = truth ? truth.values : methods[0].values;
    let most = -1;
    for (let i = 0; i < field.rows; i++) {
      const size = rms(field.row(i)) * (facing(heart.points, views.left.center, i) ? 1 : 1e-3);
      if (size > most) { most = size; state.node = i; }
    }
    return y.indexOf(Math.max(...y));
  }

  function nodeOnScreen(side, i) {
    const view = views[side], at = view.screen(view.node(i)), box = view.canvas.getBoundingClientRect();
    const hit = view.pick(at.x, at.y);
    return hit && hit.node === i ? { x: box.left + at.x, y: box.top + at.y, depth: at.depth } : null;
  }

  function electrodeOnScreen(i) {
    const view = views.torso, box = view.canvas.getBoundingClientRect(), point = Array.from(torso.electrodes.subarray(3 * i, 3 * i + 3));
    const at = view.screen(point), hit = view.pick(at.x, at.y);
    return hit && nearestElectrode(hit.point) === i ? { x: box.left + at.x, y: box.top + at.y, depth: at.depth } : null;
  }

  function start() {
    makeViews();
    makeCharts();
    controls();
    header();
    verdicts();
    suspects();
    provenance();
    state.frame = overview();
    marks();
    state.heartRange = defaultHeartRange;
    state.torsoRange = defaultTorsoRange;
    $("heart-range").value = defaultHeartRange;
    $("torso-range").value = defaultTorsoRange;
    axes();
    for (const e of document.querySelectorAll(".for-activation")) e.hidden = true;
    setMethod(0);
    drawStrip();
    window.einthoven = { state, data, setFrame: seek, play, pause, selectNode, selectElectrode, setMethod, showActivation, nodeOnScreen, electrodeOnScreen, views, charts };
    requestAnimationFrame(() => requestAnimationFrame(() => {
      window.einthovenReady = true;
      setTimeout(() => { settled = true; timeCharts(); });
    }));
  }

  try { start(); } catch (error) {
    Kit.failed(error);
    throw error;
  }
})();
