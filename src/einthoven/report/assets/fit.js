/* The page of a fit: activation maps of the fits that the ECG cannot tell apart, early sites, leads, how sure it is.

   For scripts and tests: `window.einthoven` offers state, setFit(k), show(side, what), selectNode(i), selectLead(i),
   setFrame(k). `window.einthovenReady` becomes true after the first drawing.
   All text from files enters the document as text nodes only. */
"use strict";

(() => {
  const { Chart, css, significant, number } = Charts;
  const { $, ACTIVATION_COLORS, POTENTIAL_COLORS, SPREAD_COLORS, LINE_COLORS, pack, nearest, roundUp, range, scale, placeNow, fill, fact } = Kit;
  const data = JSON.parse(document.getElementById("page-data").textContent);

  const BEST_COLOR = "#d55e00", SHOWN_COLOR = "#0072b2", LEFT_OVER = "#009e73";
  const DIFFERENCES = Object.values(POTENTIAL_COLORS)[0];
  const MOST_ERRORS = 8;

  // ---- data ----------------------------------------------------------------------------------------------------------

  const times = Array.from(pack(data.times).all()), nFrames = times.length;
  const fits = data.fits, nLeads = data.leads.names.length, many = data.n_fits > 1;
  const [recorded, fitted, low, high] = ["recorded", "fitted", "low", "high"].map((key) => pack(data.leads[key]));
  const maps = Object.fromEntries(Object.entries(data.maps).map(([key, packet]) => [key, pack(packet)]));
  const fitMaps = fits.map((_, k) => Float32Array.from(maps.fits.row(k)));
  const overall = Object.fromEntries(["mean", "spread", "truth"].filter((key) => maps[key]).map((key) => [key, maps[key].all()]));
  const heart = { points: pack(data.heart.points).all(), triangles: pack(data.heart.triangles).codes };
  const halfStep = nFrames > 1 ? (times[1] - times[0]) / 2 : 0;
  const decimals = nFrames > 1 && (times[1] - times[0]) % 1 > 1e-6 ? 1 : 0;
  const axisNames = data.heart.frame === "LPS" ? ["left", "back", "head"] : ["x", "y", "z"];
  const spreadName = many ? `Spread of ${data.n_fits} fits` : "Spread around the fit";
  const truthName = data.simulated ? "Truth" : "Measured";

  const state = {
    fit: 0, left: "fit", right: "spread", band: 10, lines: true, frame: 0, playing: false, speed: 50,
    node: 0, lead: 0, which: "first", residual: false, own: false, zoom: null,
  };
  const camera = { rotation: [...data.heart.view] };
  const views = {}, charts = {};

  const percent = (share) => `${number(100 * share, 1)} %`;
  const volts = (mv) => (mv < 1 ? `${significant(1000 * mv)} \u00b5V` : `${significant(mv)} mV`);
  const fitName = (k) => (k === 0 ? "Best fit" : `Fit ${k + 1}`);
  const rms = (row) => Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / row.length);
  const fittedRow = (k, lead) => fitted.row(k * nLeads + lead);
  const mean = (list) => list.reduce((sum, v) => sum + v, 0) / list.length;
  const deviation = (list) => { const m = mean(list); return Math.sqrt(mean(list.map((v) => (v - m) ** 2))); };

  // ---- maps ----------------------------------------------------------------------------------------------------------

  /** What a side shows: values, their kind, a name, and the fits whose sites are marked. */
  function shown(side) {
    const what = state[side], one = typeof what === "number" ? what : state.fit;
    if (what === "mean") return { kind: "time", name: `Mean of ${data.n_fits} fits`, values: overall.mean, marked: null };
    if (what === "spread") return { kind: "spread", name: spreadName, values: overall.spread, marked: null };
    if (what === "truth") return { kind: "time", name: truthName, values: overall.truth, marked: [] };
    if (what !== "difference") return { kind: "time", name: fitName(one), values: fitMaps[one], marked: [one] };
    return { kind: "difference", name: `${fitName(one)} \u2212 ${truthName.toLowerCase()}`, values: fitMaps[one].map((v, i) => v - overall.truth[i]), marked: [one] };
  }

  const timeRange = (() => {
    const ranges = [...fitMaps, overall.mean, overall.truth].filter(Boolean).map(range);
    return [Math.min(...ranges.map((r) => r[0])), Math.max(...ranges.map((r) => r[1]))];
  })();
  const mostSpread = Math.max(1, range(overall.spread)[1]);

  function palettes(kind) {
    const line = (step) => (state.lines ? step : 0);
    if (kind === "time") {
      const [first, last] = Kit.bandedRange(...timeRange, state.band);
      return { stops: ACTIVATION_COLORS[$("colors").value], low: first, high: last, band: state.band, line: line(state.band), down: true };
    }
    if (kind === "difference") {
      const most = 3 * state.band;
      return { stops: DIFFERENCES, low: -most, high: most, band: state.band / 2, line: line(state.band / 2), down: false };
    }
    const band = Kit.bandFor(mostSpread);
    return { stops: SPREAD_COLORS, low: 0, high: Kit.bandedRange(0, mostSpread, band)[1], band, line: line(band), down: false };
  }

  function paint(side) {
    const { kind, values, name } = shown(side), { stops, ...colors } = palettes(kind);
    views[side].setColors({ ...colors, palette: Maps.palette(stops) });
    views[side].setValues(values);
    views[side].current = values;
    const panel = $(`map-${side}`);
    scale(panel, stops, { ...colors, unit: "ms" });
    if (kind !== "time") panel.querySelector(".scale .now")?.remove();
    panel.querySelector("h2").textContent = kind === "spread" ? "Uncertainty" : kind === "difference" ? "Error" : "Activation";
    panel.querySelector("canvas").setAttribute("aria-label", `${name}, heart surface`);
    markSites(side);
  }

  const rgb = (color) => [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16) / 255);

  function markSites(side) {
    const marks = [], { marked } = shown(side);
    if (marked === null) for (const fit of fits) for (const place of fit.sites) marks.push({ position: place, fill: [0.2, 0.22, 0.27], size: 9 });
    for (const k of marked ?? [])
      fits[k].sites.forEach((place, i) => marks.push({ position: place, fill: rgb(LINE_COLORS[i % LINE_COLORS.length]), size: 16 }));
    marks.push({ position: views[side].node(state.node), fill: [1.0, 0.78, 0.0], size: 9 });
    views[side].setMarks(marks);
  }

  function footers(node = state.node) {
    const value = (list) => significant(list ? list[node] : NaN);
    for (const side of Object.keys(views)) {
      const { name, values } = shown(side), parts = [`Node ${node}: ${name.toLowerCase()} ${value(values)} ms`];
      if (state[side] !== "spread") parts.push(`${many ? "all fits" : "with its spread"} ${value(overall.mean)} \u00b1 ${value(overall.spread)} ms`);
      $(`map-${side}`).querySelector("footer").textContent = parts.join("; ");
    }
  }

  function drawFrame() {
    const t = times[state.frame];
    for (const side of Object.keys(views)) views[side].setFront(shown(side).kind === "time" ? t + halfStep : null);
    for (const mark of document.querySelectorAll(".scale .now")) placeNow(mark, t);
    $("time").textContent = `${number(t, decimals)} ms`;
    $("frame").textContent = `frame ${state.frame + 1} of ${nFrames}${data.stride > 1 ? ` (every ${data.stride}th)` : ""}`;
    $("slider").value = state.frame;
    for (const key of ["strip", "lead"]) charts[key].setCursor(t);
    footers();
  }

  function redraw() {
    for (const side of ["left", "right"]) paint(side);
    drawFrame();
  }

  // ---- leads ---------------------------------------------------------------------------------------------------------

  /** Misfit of a lead by the shown fit: what is left over, mV. */
  const leftOver = (lead, k = state.fit) => rms(recorded.row(lead).map((v, i) => v - fittedRow(k, lead)[i]));

  function chosenLeads() {
    const all = Array.from({ length: nLeads }, (_, i) => i);
    const most = (worth) => all.map((i) => [worth(i), i]).sort((a, b) => b[0] - a[0]).slice(0, data.leads.first.length).map((pair) => pair[1]);
    if (state.which === "worst") return most(leftOver);
    if (state.which === "largest") return most((i) => rms(recorded.row(i)));
    return state.which === "all" ? all : data.leads.first;
  }

  /** Curves of a lead: what is drawn small, and in the chart below. */
  function curves(lead) {
    const y = recorded.row(lead), found = [];
    const line = (k, color) => ({ y: fittedRow(k, lead), color, width: 1.8, name: fitName(k) });
    if (state.residual) {
      const rest = (k, color) => ({ y: fittedRow(k, lead).map((v, i) => y[i] - v), color, width: 1.6, name: `Recorded \u2212 ${fitName(k).toLowerCase()}` });
      return [{ y, color: css("--muted"), width: 1.2, alpha: 0.6, name: "Recorded" }, rest(state.fit, LEFT_OVER)];
    }
    if (many) found.push({ kind: "band", y: high.row(lead), low: low.row(lead), color: BEST_COLOR, alpha: 0.28 });
    found.push({ y, color: css("--truth"), width: 1.8, name: "Recorded" }, line(0, BEST_COLOR));
    if (state.fit) found.push(line(state.fit, SHOWN_COLOR));
    return found;
  }

  function leadLegend() {
    const host = $("legend"), add = (text, color, note = "") => Kit.legendEntry(host, { text, color, note });
    host.replaceChildren();
    add("Recorded", state.residual ? css("--muted") : css("--truth"));
    if (state.residual) { add(`Recorded \u2212 ${fitName(state.fit).toLowerCase()}`, LEFT_OVER, percent(fits[state.fit].misfit)); return; }
    add("Best fit", BEST_COLOR, `misfit ${percent(fits[0].misfit)}`);
    if (state.fit) add(fitName(state.fit), SHOWN_COLOR, `misfit ${percent(fits[state.fit].misfit)}`);
    if (many) add(`From the lowest to the highest of all ${data.n_fits} fits`, "#f3c6a5");
  }

  function leadGrid() {
    const host = $("leads"), list = chosenLeads();
    host.replaceChildren();
    for (const lead of list) {
      const button = host.appendChild(document.createElement("button"));
      button.type = "button";
      button.dataset.lead = lead;
      button.setAttribute("aria-pressed", String(lead === state.lead));
      button.title = "Show this lead large, below";
      button.appendChild(document.createElement("canvas"));
      button.appendChild(document.createElement("span")).textContent = data.leads.names[lead];
      button.appendChild(document.createElement("small"));
      button.addEventListener("click", () => selectLead(lead));
    }
    paintLeads();
    leadLegend();
  }

  /** Largest value of a lead's curves, mV; the band may leave the picture. */
  const sizeOf = (lead) => Math.max(1e-9, ...curves(lead).filter((c) => c.kind !== "band").flatMap((c) => Array.from(c.y, Math.abs)));

  function paintLeads() {
    const buttons = Array.from($("leads").children), list = buttons.map((b) => Number(b.dataset.lead));
    const shared = roundUp(Math.max(...list.map(sizeOf)));
    for (const [i, button] of buttons.entries()) {
      const most = state.own ? roundUp(sizeOf(list[i])) : shared;
      button.querySelector("small").textContent = `${percent(leftOver(list[i]) / rms(recorded.row(list[i])))}`;
      paintLead(button.querySelector("canvas"), list[i], most);
    }
    const n = list.length < nLeads ? `${list.length} of ${nLeads} leads` : `${nLeads} leads`;
    const grid = state.own ? "each to its own scale" : `\u00b1 ${significant(shared)} mV`;
    $("leads-line").textContent = `${n}, ${grid}, vertical lines every ${timeStep()} ms; percent: misfit of the lead`;
  }

  const timeStep = () => [5, 10, 20, 50, 100, 200, 500, 1000].find((step) => (times[nFrames - 1] - times[0]) / step <= 8) ?? 2000;

  function paintLead(canvas, lead, most) {
    const pixel = window.devicePixelRatio || 1, [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (w < 2) return;
    [canvas.width, canvas.height] = [Math.round(w * pixel), Math.round(h * pixel)];
    const c = canvas.getContext("2d"), span = times[nFrames - 1] - times[0] || 1, step = timeStep();
    c.setTransform(pixel, 0, 0, pixel, 0, 0);
    const px = (t) => 4 + (t - times[0]) / span * (w - 8), py = (v) => h / 2 - v / most * (h - 8) / 2;
    const rule = (x0, y0, x1, y1) => { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); };
    c.strokeStyle = css("--grid");
    c.lineWidth = 1;
    for (let t = Math.ceil(times[0] / step) * step; t <= times[nFrames - 1]; t += step) rule(Math.round(px(t)) + 0.5, 0, Math.round(px(t)) + 0.5, h);
    c.strokeStyle = css("--line");
    rule(0, Math.round(py(0)) + 0.5, w, Math.round(py(0)) + 0.5);
    c.lineJoin = "round";
    for (const curve of curves(lead)) {
      c.globalAlpha = curve.alpha ?? 1;
      c.beginPath();
      curve.y.forEach((v, k) => (k ? c.lineTo(px(times[k]), py(v)) : c.moveTo(px(times[k]), py(v))));
      if (curve.kind === "band") {
        for (let k = nFrames - 1; k >= 0; k--) c.lineTo(px(times[k]), py(curve.low[k]));
        c.fillStyle = curve.color;
        c.fill();
      } else {
        c.strokeStyle = curve.color;
        c.lineWidth = curve.width * 0.85;
        c.stroke();
      }
      c.globalAlpha = 1;
    }
  }

  function leadChart() {
    const lead = state.lead;
    charts.lead.set(curves(lead).map((curve) => ({ x: times, ...curve })));
    $("lead").value = String(lead);
    $("lead-line").textContent = `${data.leads.quantity}, reference ${data.leads.reference}; left over ${significant(leftOver(lead))} mV of ${significant(rms(recorded.row(lead)))} mV (RMS)`;
  }

  function residuals() {
    const index = Array.from({ length: nLeads }, (_, i) => i + 1), left = index.map((i) => leftOver(i - 1)), total = index.map((i) => rms(recorded.row(i - 1)));
    charts.residual.set([{ x: index, y: left, total, color: state.fit ? SHOWN_COLOR : BEST_COLOR, kind: "bars" }]);
    charts.residual.setCursor(state.lead + 1);
    $("residual-line").textContent = `${fitName(state.fit)}: ${percent(fits[state.fit].misfit)} of the recording left over`;
  }

  function drawLeads() { leadGrid(); leadChart(); residuals(); }

  function readout(x) {
    const k = nearest(times, x), rows = [{ text: `${number(times[k], decimals)} ms` }];
    for (const s of charts.lead.series) {
      if (s.kind === "band") rows.push({ color: "#f3c6a5", text: `All fits ${significant(s.low[k])} to ${significant(s.y[k])} mV` });
      else rows.push({ color: s.color, text: `${s.name} ${significant(s.y[k])} mV` });
    }
    return { x: times[k], rows };
  }

  // ---- tables --------------------------------------------------------------------------------------------------------

  /** columns: [name, unit or "", text?]; rows: lists of texts, numbers or {text, color, note}; marked: row to stress. */
  function table(id, columns, rows, marked = -1) {
    const head = $(id).tHead, body = $(id).tBodies[0];
    head.replaceChildren();
    body.replaceChildren();
    const top = head.insertRow();
    for (const [name, unit, left] of columns) {
      const cell = top.appendChild(document.createElement("th"));
      cell.append(name);
      cell.scope = "col";
      if (left) cell.className = "text";
      if (unit) cell.appendChild(document.createElement("small")).textContent = unit;
    }
    rows.forEach((row, i) => {
      const line = body.insertRow();
      line.classList.toggle("chosen", i === marked);
      row.forEach((value, j) => {
        const cell = line.insertCell();
        if (columns[j][2]) cell.className = "text";
        if (value?.color) { const key = cell.appendChild(document.createElement("i")); key.className = "key"; key.style.background = value.color; }
        cell.append(typeof value === "number" ? significant(value) : String(value?.text ?? value ?? "\u2013"));
      });
    });
  }

  const one = (value) => (Number.isFinite(value) ? number(value, 1) : "\u2013");

  function siteTable() {
    const fit = fits[state.fit], spreads = state.fit === 0 ? data.site_spreads : [];
    const columns = [["Site", "", true], ...axisNames.map((name) => [name, "mm"]), ["Onset", "ms"], ["Activates", "% of the muscle"]];
    if (spreads.length) columns.push(["Place \u00b1", "mm"], ["Onset \u00b1", "ms"]);
    const rows = fit.sites.map((place, i) => [
      { text: String(i + 1), color: LINE_COLORS[i % LINE_COLORS.length] }, ...place.map(one), one(fit.onsets[i]), one(fit.territories[i]),
      ...(spreads.length ? [one(spreads[i].place_spread_mm), one(spreads[i].onset_spread_ms)] : []),
    ]);
    table("sites", columns, rows);
    $("sites-line").textContent = `${fitName(state.fit)}${spreads.length ? `; \u00b1: standard deviation over the ${spreads[0].n_matched} fits with as many sites, matched by distance` : ""}`;
  }

  /** Mean and standard deviation, to two digits of the latter. */
  function about(list) {
    const sd = deviation(list), digits = sd > 0 ? Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(sd)))) : 2;
    return `${number(mean(list), digits)} \u00b1 ${number(sd, digits)}`;
  }

  function parameterTable() {
    const fit = fits[state.fit], both = (pick) => (many ? about(fits.map(pick)) : null);
    const columns = [["", "", true], ["Value", ""], ...(many ? [["Over the fits", ""]] : []), ["Expected", "\u00b1 SD"], ["Value / SD", ""]];
    const row = (name, value, pick, expected, ratio) => [name, value, ...(many ? [both(pick)] : []), expected, ratio];
    const rows = data.layers.map((layer, i) => row(`Velocity, ${layer} (mm/ms)`, fit.speeds[i], (f) => f.speeds[i], expectedSpeed(i), null));
    rows.push(row("Gain of the leads", fit.gain, (f) => f.gain, "1", null));
    const errors = shownErrors(fit);
    for (const i of errors) {
      const { name, value, expected } = fit.errors[i];
      rows.push(row(name, number(value, 1), (f) => f.errors[i].value, expected ? `0 \u00b1 ${significant(expected)}` : null, expected ? number(value / expected, 2) : null));
    }
    table("parameters", columns, rows);
    const left = fit.errors.length - errors.length;
    $("parameters-line").textContent = `${fitName(state.fit)}${left > 0 ? `; ${left} smaller errors of electrodes are not shown` : ""}`;
  }

  const expectedSpeed = (i) => { const v = data.provenance.settings?.speeds?.[i]; return typeof v === "number" ? significant(v) : null; };

  /** Errors of the heart, and the largest of the electrodes in units of what was expected. */
  function shownErrors(fit) {
    const index = fit.errors.map((_, i) => i), size = (i) => Math.abs(fit.errors[i].value) / (fit.errors[i].expected || Infinity);
    const ofHeart = index.filter((i) => fit.errors[i].name.startsWith("heart "));
    const others = index.filter((i) => !ofHeart.includes(i)).sort((a, b) => size(b) - size(a)).slice(0, MOST_ERRORS);
    return [...ofHeart, ...others];
  }

  function numbersOfSites() {
    const list = data.numbers, n = list.map((row) => row.n_sites), chosen = list.findIndex((row) => row.chosen);
    $("numbers-cards").hidden = $("numbers-card").hidden = list.length < 2;
    const points = (y) => y.map((v, i) => ({ x: n[i], y: v, color: i === chosen ? css("--cursor") : css("--accent") }));
    const draw = (chart, y) => chart.set([{ x: n, y, color: css("--accent"), width: 2 }], points(y));
    const least = Math.min(...list.map((row) => row.bic));
    draw(charts.misfit, list.map((row) => 100 * row.misfit));
    draw(charts.bic, list.map((row) => row.bic - least));
    const rows = list.map((row) => [row.n_sites, row.n_fits, percent(row.misfit), number(row.bic - least, 1)]);
    table("numbers", [["Sites", ""], ["Fits", "that ended there"], ["Misfit", ""], ["BIC", "above the least"]], rows, chosen);
  }

  // ---- header, meaning, provenance -----------------------------------------------------------------------------------

  function header() {
    const m = data.metrics;
    $("case-name").textContent = data.case.name;
    $("case-line").textContent = `Waves fitted to ${nLeads} leads, ${number(times[0], decimals)}\u2013${number(times[nFrames - 1], decimals)} ms, in ${data.heart.n_nodes.toLocaleString("en")} nodes of muscle`;
    fact("Misfit", percent(fits[0].misfit));
    if (Number.isFinite(m.correlation)) fact("Correlation", number(m.correlation, 3));
    fact("Left over", `${volts(data.left_over)}`);
    fact("Early sites", String(fits[0].sites.length));
    fact("Fits alike", `${data.n_fits} of ${data.n_tried}`);
    if (Number.isFinite(m.spread_ms)) fact("Spread", `${number(m.spread_ms, 1)} ms`);
    if (Number.isFinite(m.activation_error_ms)) fact("Error of the mean", `${number(m.activation_error_ms, 1)} ms`);
    if (Number.isFinite(m.earliest_error_mm)) fact("Error of first site", `${number(m.earliest_error_mm, 1)} mm`);
  }

  function meaning() {
    const host = $("meaning"), say = (text) => { host.appendChild(document.createElement("p")).textContent = text; };
    const list = (title, entries) => {
      host.appendChild(document.createElement("h3")).textContent = title;
      const box = host.appendChild(document.createElement("ul"));
      for (const text of entries) box.appendChild(document.createElement("li")).textContent = text;
    };
    data.sentences.forEach(say);
    say("The spread says how much activation differs between beats that this ECG, with this model, cannot tell apart: where it is large, the ECG does not "
      + "say when the muscle is activated. Where it is small, the error can still be large: what all fits share (the shape of the muscle, one velocity per "
      + "layer, the torso) is not in it, nor are activations that no start came to.");
    say(`The best fit leaves ${percent(fits[0].misfit)} of the recording, ${volts(data.left_over)} (RMS): noise and what the model cannot do, together. `
      + `What a model cannot do is alike from frame to frame and from lead to lead, so that it counts as ${volts(data.noise)} of independent noise.`);
    if (data.notes.length) list("What was assumed", data.notes);
  }

  function provenance() {
    const host = $("provenance"), rest = { ...data.provenance };
    delete rest.data;
    delete rest.notes;
    if (Object.keys(data.case.info).length) host.appendChild(Kit.definitions(data.case.info));
    Kit.provenance(host, rest);
    host.appendChild(Kit.folded("metrics", data.metrics));
    host.appendChild(Kit.folded("this page", {
      "fits": fits.length < data.n_fits ? `the best ${fits.length} of ${data.n_fits} can be looked at one by one; mean, spread and band are over all` : "all",
      "arrays": "16-bit, error below 1e-5 of the range",
      "frames": data.stride > 1 ? `every ${data.stride}th of those fitted` : "all that were fitted",
    }));
  }

  // ---- actions -------------------------------------------------------------------------------------------------------

  const { setFrame, play, pause, seek, ...clock } = Kit.clock(state, () => times, drawFrame);

  function setFit(k) {
    state.fit = k;
    $("fit").value = String(k);
    sideOptions();
    siteTable();
    parameterTable();
    drawLeads();
    redraw();
  }

  function show(side, what) {
    state[side] = what;
    $(`${side}-shows`).value = String(what);
    paint(side);
    drawFrame();
  }

  function selectNode(i) {
    state.node = i;
    for (const side of Object.keys(views)) markSites(side);
    footers();
  }

  function selectLead(lead) {
    state.lead = lead;
    for (const button of $("leads").children) button.setAttribute("aria-pressed", String(Number(button.dataset.lead) === lead));
    leadChart();
    charts.residual.setCursor(lead + 1);
  }

  function setResidual(on) {
    state.residual = $("residual").checked = on;
    leadGrid();
    leadChart();
  }

  function zoomTime(window_) {
    const full = [times[0], times[nFrames - 1]], next = window_ && [Math.max(full[0], window_[0]), Math.min(full[1], window_[1])];
    if (next && next[1] - next[0] < 4 * 2 * halfStep) return;
    charts.lead.xRange = next && next[1] - next[0] > 0.98 * (full[1] - full[0]) ? null : next;
    charts.lead.draw();
  }

  function turned() { for (const view of Object.values(views)) view.draw(); axes(); }

  const axes = Kit.axes(camera, { names: axisNames, view: data.heart.view, turned });

  function reset() {
    camera.rotation = [...data.heart.view];
    for (const view of Object.values(views)) view.zoom = 1;
    zoomTime(null);
    turned();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  function sideOptions() {
    const list = [["fit", `Shown fit: ${fitName(state.fit).toLowerCase()}`]];
    if (many) list.push(["mean", `Mean of ${data.n_fits} fits`]);
    list.push(["spread", spreadName]);
    if (overall.truth) list.push(["truth", truthName], ["difference", `Shown fit \u2212 ${truthName.toLowerCase()}`]);
    if (many) fits.forEach((_, k) => list.push([k, fitName(k)]));
    for (const side of Object.keys(views)) fill($(`${side}-shows`), list, state[side]);
  }

  function controls() {
    const on = (id, event, act) => $(id).addEventListener(event, act);
    fill($("fit"), fits.map((fit, k) => [k, `${fitName(k)}: ${fit.sites.length} sites, misfit ${percent(fit.misfit)}`]), 0);
    $("fit").parentElement.hidden = !many;
    fill($("colors"), Object.keys(ACTIVATION_COLORS).map((k) => [k, k]), Object.keys(ACTIVATION_COLORS)[0]);
    fill($("lead"), data.leads.names.map((name, i) => [i, name]), state.lead);
    const n = data.leads.first.length;
    fill($("which"), [["first", `${n} far from each other`], ["worst", `${n} that fit worst`], ["largest", `${n} largest`], ["all", `all ${nLeads}`]], state.which);
    $("which").parentElement.hidden = n === nLeads;
    sideOptions();
    clock.controls();
    on("fit", "change", () => setFit(Number($("fit").value)));
    on("colors", "change", redraw);
    on("band", "change", () => { state.band = Number($("band").value); redraw(); });
    on("lines", "change", () => { state.lines = $("lines").checked; redraw(); });
    on("through", "change", () => { for (const view of Object.values(views)) view.setThrough($("through").checked); });
    on("cut", "change", () => { for (const view of Object.values(views)) view.setCut($("cut").checked ? 0 : Infinity); });
    on("lead", "change", () => selectLead(Number($("lead").value)));
    on("which", "change", () => { state.which = $("which").value; leadGrid(); });
    on("residual", "change", () => setResidual($("residual").checked));
    on("own", "change", () => { state.own = $("own").checked; paintLeads(); });
    on("reset", "click", reset);
    for (const side of Object.keys(views)) {
      on(`${side}-shows`, "change", () => { const what = $(`${side}-shows`).value; show(side, /^\d+$/.test(what) ? Number(what) : what); });
    }
    Kit.theme(() => { setFit(state.fit); numbersOfSites(); drawStrip(); });
    Kit.keys({ ...clock.keys, "f": () => setFit((state.fit + 1) % fits.length), "r": () => setResidual(!state.residual) });
  }

  // ---- start ---------------------------------------------------------------------------------------------------------

  function makeViews() {
    for (const side of ["left", "right"]) {
      views[side] = new Maps.View($(`map-${side}`).querySelector("canvas"), {
        ...heart, camera, hollow: false, onTurn: turned, onPick: (hit) => selectNode(hit.node), onHover: (hit) => footers(hit ? hit.node : state.node),
      });
      views[side].setThrough(true);
    }
  }

  function makeCharts() {
    const pickTime = (t) => seek(nearest(times, t)), bySites = (yLabel) => ({ xLabel: "Number of early sites", yLabel, xTight: false, xWhole: true });
    const leadAt = (x) => Math.min(nLeads - 1, Math.max(0, Math.round(x) - 1));
    charts.strip = new Chart($("strip"), { bare: true, scrub: true, onPick: pickTime });
    charts.lead = new Chart($("lead-chart"), { xLabel: "Time (ms)", yLabel: "Potential (mV)", scrub: true, onPick: pickTime, onZoom: zoomTime, readout });
    charts.misfit = new Chart($("misfit-chart"), bySites("Misfit (%)"));
    charts.bic = new Chart($("bic-chart"), bySites("BIC above the least"));
    charts.residual = new Chart($("residual-chart"), {
      xLabel: "Lead (in the order of the recording)", yLabel: "RMS left over (mV)", xPad: 0.7, onPick: (x) => selectLead(leadAt(x)),
      readout: (x) => {
        const i = leadAt(x), { y, total, color } = charts.residual.series[0];
        return { x: i + 1, rows: [{ text: `Lead ${data.leads.names[i]}` }, { color, text: `${significant(y[i])} of ${significant(total[i])} mV, ${percent(y[i] / total[i])}` }] };
      },
    });
  }

  function drawStrip() {
    const power = new Float64Array(nFrames);
    for (let i = 0; i < nLeads; i++) recorded.row(i).forEach((v, k) => { power[k] += v * v / nLeads; });
    const y = power.map(Math.sqrt);
    charts.strip.set([{ x: times, y, color: css("--line"), kind: "area" }, { x: times, y, color: css("--muted"), width: 1 }]);
    return y.indexOf(Math.max(...y));
  }

  /** The node in front that the best fit activates last. */
  function firstNode() {
    const r = camera.rotation, { center } = views.left, depth = (i) => [0, 1, 2].reduce((z, k) => z + r[6 + k] * (heart.points[3 * i + k] - center[k]), 0);
    let best = 0, most = -Infinity;
    for (let i = 0; i < heart.points.length / 3; i++) if (depth(i) > 0 && fitMaps[0][i] > most) { most = fitMaps[0][i]; best = i; }
    return best;
  }

  function start() {
    makeViews();
    makeCharts();
    const strengths = Array.from({ length: nLeads }, (_, i) => rms(recorded.row(i)));
    state.lead = data.leads.first.reduce((a, b) => (strengths[b] > strengths[a] ? b : a));
    state.node = firstNode();
    controls();
    header();
    meaning();
    provenance();
    state.frame = drawStrip();
    axes();
    numbersOfSites();
    setFit(0);
    new ResizeObserver(paintLeads).observe($("leads"));
    window.einthoven = { state, data, setFit, show, selectNode, selectLead, setFrame: seek, play, pause, views, charts };
    requestAnimationFrame(() => requestAnimationFrame(() => { window.einthovenReady = true; }));
  }

  try { start(); } catch (error) {
    Kit.failed(error);
    throw error;
  }
})();
