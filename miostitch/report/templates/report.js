(() => {
"use strict";

const data = JSON.parse(document.getElementById("report-data").textContent);
const element = (id) => document.getElementById(id);
const whole = (number) => Math.round(number).toLocaleString("en-US");
const dark = matchMedia("(prefers-color-scheme: dark)");
const LEAST = 0.2;  // a bar of a single frame is a fifth of its band

/* ---- tables ---- */

function sortBy(head) {
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const descending = head.getAttribute("aria-sort") === "ascending";
  const value = (row) => {
    const cell = row.children[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
  const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
  rows.sort((a, b) => descending ? compare(b[0], a[0]) : compare(a[0], b[0]));
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (button) sortBy(button.parentNode);
  const copied = event.target.closest("[data-copy]");
  if (copied) copyFrom(copied);
});

async function copyFrom(button) {
  const list = element(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(list.value);
    button.textContent = "copied";
  } catch (refused) {
    list.select();
    button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl-C";
  }
}

/* ---- what is known of every frame ---- */

async function unpack(packed, count) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  if (packed.dtype !== "bits") {
    const kinds = {
      uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
      int8: Int8Array, int16: Int16Array, int32: Int32Array, float64: Float64Array,
    };
    return new kinds[packed.dtype](buffer);
  }
  const bits = new Uint8Array(buffer);
  return Uint8Array.from({length: count}, (_, i) => bits[i >> 3] >> (i & 7) & 1);
}

async function unpackAll(packed) {
  const count = Math.ceil(packed.frames / packed.step);
  const tracks = {};
  for (const [name, each] of Object.entries(packed.tracks)) tracks[name] = await unpack(each, count);
  const steps = await unpack(packed.frame_num, count - 1);
  const frameNum = new Float64Array(count);
  frameNum[0] = Number(packed.frame_num.first);
  for (let i = 1; i < count; i++) frameNum[i] = frameNum[i - 1] + steps[i - 1];
  return {...packed, count, tracks, frameNum};
}

function time(frame, fps) {
  const tenths = Math.floor(frame / fps * 10 + 1e-6);
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(tenths / 36000)}:${two(Math.floor(tenths / 600) % 60)}:` +
    `${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
}

/* ---- plots ---- */

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const ofReceiver = (number) => colour(`receiver${number % 6}`);

function figure(options) {
  const ink = colour("ink"), soft = colour("soft"), line = colour("line");
  const touch = matchMedia("(pointer: coarse)").matches;
  const plot = Bokeh.Plotting.figure({
    sizing_mode: "stretch_width", background_fill_alpha: 0, border_fill_alpha: 0,
    outline_line_color: line, min_border_right: 12, toolbar_location: "above",
    tools: "xbox_zoom,xpan,xwheel_zoom,reset,save", ...options,
  });
  // on a phone a finger that drags scrolls the page, until a tool is chosen
  const drag = plot.toolbar.tools.find((tool) => tool instanceof Bokeh.BoxZoomTool);
  plot.toolbar.setv({logo: null, active_scroll: null, active_drag: touch ? null : drag});
  for (const axis of [...plot.below, ...plot.left]) {
    axis.major_label_text_color = ink;
    axis.axis_label_text_color = soft;
    axis.axis_label_text_font_style = "normal";
    axis.major_label_text_font_size = "12px";
    axis.axis_label_text_font_size = "12px";
    for (const part of ["axis", "major_tick", "minor_tick"]) axis[`${part}_line_color`] = line;
  }
  Object.assign(plot.title, {text_color: soft, text_font_style: "normal", text_font_size: "12px"});
  for (const grid of plot.center) grid.grid_line_color = line;
  return plot;
}

const shown = new Map();

async function show(id, plot) {
  const place = element(id);
  shown.get(id)?.document?.clear();
  shown.set(id, plot);
  place.replaceChildren();
  await Bokeh.Plotting.show(plot, place);
}

function plainAxis(axis, labels) {
  axis.ticker = new Bokeh.FixedTicker({ticks: labels.map(([at]) => at)});
  axis.major_label_overrides = new Map(labels);
}

function logAxis(axis, most) {
  const ticks = [];
  for (let ten = 1; ten <= most * 2; ten *= 10) ticks.push(...(most < 200 ? [ten, 2 * ten, 5 * ten] : [ten]));
  axis.ticker = new Bokeh.FixedTicker({ticks});
  axis.formatter = new Bokeh.NumeralTickFormatter({format: "0,0"});
}

class Timeline {
  constructor(known) {
    Object.assign(this, known);
    this.range = {start: 0, end: this.frames};
    const label = (number) => `R${number + 1}`;
    const receivers = [...Array(this.recordings).keys()];
    const heard = "absent0" in this.tracks;
    this.bands = [
      {label: "source", height: 2.4, stacked: true, tracks: [
        ...receivers.map((n) => [`source${n}`, `receiver${n % 6}`, `from ${label(n)}`]),
        ["composed", "composed", "composed"]]},
      {label: "result", height: 1.2, tracks: [
        ["damaged", "damaged", "damaged"], ["unrecoverable", "unrecoverable", "unrecoverable"]]},
      ...receivers.filter(() => heard).map((n) => ({label: label(n), height: 1, stacked: true, tracks: [
        [`absent${n}`, "absent", `lost by ${label(n)}`],
        [`partial${n}`, "partial", `partly lost by ${label(n)}`]]})),
      {label: "nobody", height: 0.6, tracks: [["gap", "gap", "gaps that nobody fills"]]},
    ];
    let top = 0;
    for (const band of this.bands) {
      band.top = top;
      top -= band.height;
      band.bottom = top + 0.15;
    }
    this.depth = top;
  }

  /* a range that tells of its changes; each drawing needs its own */
  newRange() {
    const {start, end} = this.range;
    this.range = new Bokeh.Range1d({
      start, end, bounds: [0, this.frames], min_interval: Math.min(this.frames, 10 * this.step),
    });
    let waiting = false;
    const changed = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; this.update(); });
    };
    this.range.properties.start.change.connect(changed);
    this.range.properties.end.change.connect(changed);
  }

  /* counts of the visible bins: as many as have two pixels each */
  bins() {
    const width = Math.max(200, element("plot-timeline").clientWidth - 90);
    const first = Math.max(0, Math.floor(this.range.start / this.step));
    const last = Math.min(this.count, Math.ceil(this.range.end / this.step));
    const each = Math.max(1, Math.ceil((last - first) / Math.floor(width / 2)));
    const begin = Math.floor(first / each) * each;
    const number = Math.ceil((last - begin) / each);
    const sums = {};
    for (const [name, values] of Object.entries(this.tracks)) {
      const sum = sums[name] = new Float64Array(number);
      for (let i = begin; i < last; i++) sum[Math.floor((i - begin) / each)] += values[i];
    }
    const edges = Float64Array.from({length: number + 1}, (_, i) =>
      Math.min((begin + i * each) * this.step, this.frames));
    if (edges[number] > last * this.step) edges[number] = Math.min(last * this.step, this.frames);
    return {each, begin, number, sums, edges};
  }

  columns({each, begin, number, sums, edges}) {
    const bars = {left: [], right: [], top: [], bottom: [], color: []};
    for (const band of this.bands) {
      const height = band.top - band.bottom;
      for (let i = 0; i < number; i++) {
        let base = band.bottom;
        for (const [name, shade] of band.tracks) {
          const frames = sums[name][i];
          if (!frames) continue;
          const share = frames / (edges[i + 1] - edges[i]);
          const least = band.label === "source" ? 0 : LEAST;
          const tall = name === "gap" ? height : height * Math.max(Math.min(share, 1), least);
          bars.left.push(edges[i]);
          bars.right.push(edges[i + 1]);
          bars.bottom.push(base);
          bars.top.push(Math.min(base + tall, band.top));
          bars.color.push(colour(shade));
          if (band.stacked) base += tall;
        }
      }
    }
    const hover = {left: edges.slice(0, -1), right: edges.slice(1), frames: [], time: [], num: []};
    const names = this.bands.flatMap((band) => band.tracks);
    for (const [name] of names) hover[name] = [...sums[name]];
    for (let i = 0; i < number; i++) {
      hover.frames.push(edges[i + 1] - edges[i] > 1
        ? `${whole(edges[i])}–${whole(edges[i + 1] - 1)}` : whole(edges[i]));
      hover.time.push(time(edges[i], this.fps));
      hover.num.push(String(this.frameNum[begin + i * each]));
    }
    return {bars, hover, names};
  }

  async draw() {
    this.newRange();
    const {bars, hover, names} = this.columns(this.bins());
    const plot = figure({height: Math.round(110 + -this.depth * 42), x_range: this.range,
      y_range: [this.depth, 0.1], x_axis_label: "frame of the result"});
    plot.ygrid.visible = false;
    plot.xaxis.formatter = new Bokeh.NumeralTickFormatter({format: "0,0"});
    plainAxis(plot.yaxis, this.bands.map((band) => [(band.top + band.bottom) / 2, band.label]));
    plot.yaxis.major_tick_line_color = null;
    for (const band of this.bands) {
      plot.quad({left: [0], right: [this.frames], top: [band.top], bottom: [band.bottom],
        fill_color: colour("band"), line_color: null});
    }
    this.bars = new Bokeh.ColumnDataSource({data: bars});
    plot.quad({field: "left"}, {field: "right"}, {field: "top"}, {field: "bottom"}, {
      source: this.bars, fill_color: {field: "color"}, line_color: null});
    this.hover = new Bokeh.ColumnDataSource({data: hover});
    const areas = plot.quad({field: "left"}, {field: "right"}, this.depth, 0, {
      source: this.hover, fill_alpha: 0, line_color: null, hover_fill_color: colour("ink"), hover_fill_alpha: 0.08});
    plot.add_tools(new Bokeh.HoverTool({renderers: [areas], mode: "vline", point_policy: "follow_mouse",
      tooltips: [["frames", "@frames"], ["at", "@time"], ["frame_num from", "@num"],
        ...names.map(([name, , title]) => [title, `@${name}`])]}));
    this.mark = new Bokeh.Span({dimension: "height", location: 0, visible: false,
      line_color: colour("ink"), line_dash: [4, 3]});
    plot.add_layout(this.mark);
    await show("plot-timeline", plot);
    this.update();
  }

  update() {
    const bins = this.bins();
    const {bars, hover} = this.columns(bins);
    this.bars.data = bars;
    this.hover.data = hover;
    const frames = bins.each * this.step;
    const from = Math.max(0, Math.floor(this.range.start));
    const to = Math.min(this.frames, Math.ceil(this.range.end)) - 1;
    const sum = (name) => bins.sums[name].reduce((a, b) => a + b, 0);
    const at = this.at === undefined ? -1 : this.at * this.step;
    this.mark.setv({location: at + 0.5, visible: from <= at && at <= to});
    element("timeline-status").textContent =
      (this.mark.visible ? `Damage begins at frame ${at} (frame_num ${this.frameNum[this.at]}). ` : "") +
      `Frames ${whole(from)} to ${whole(to)} (${time(from, this.fps)} to ${time(to, this.fps)}), ` +
      `one bin is ${frames === 1 ? "1 frame" : `${whole(frames)} frames`} ` +
      `(${Number((frames / this.fps).toPrecision(3))} s); in these bins ${whole(sum("damaged"))} damaged, ` +
      `${whole(sum("unrecoverable"))} unrecoverable.`;
  }

  go(what) {
    const {start, end} = this.range;
    const width = end - start, middle = (start + end) / 2;
    const to = (from, size) => {
      const span = Math.min(this.frames, Math.max(size, Math.min(this.frames, 10 * this.step)));
      const left = Math.min(Math.max(0, from), this.frames - span);
      this.range.setv({start: left, end: left + span});
    };
    if (what === "whole") to(0, this.frames);
    if (what === "in") to(middle - width / 4, width / 2);
    if (what === "out") to(middle - width, width * 2);
    if (what === "left") to(start - width / 2, width);
    if (what === "right") to(start + width / 2, width);
    if (what === "next" || what === "previous") {
      const step = what === "next" ? 1 : -1;
      const damaged = this.tracks.damaged;
      const begins = (i) => damaged[i] && !damaged[i - 1];
      let at = this.at === undefined ? (step > 0 ? -1 : this.count) : this.at;
      do at += step; while (at >= 0 && at < this.count && !begins(at));
      if (at < 0 || at >= this.count) {
        element("timeline-status").textContent = `No more damage ${step > 0 ? "behind" : "before"} here.`;
        return;
      }
      this.at = at;
      to(at * this.step - 100 * this.step, 200 * this.step);
      this.update();
    }
  }
}

async function drawLengths() {
  const lengths = data.lengths;
  const bins = lengths[0].length;
  if (!lengths.flat().some((n) => n)) {
    element("plot-lengths").textContent = "Nothing is lost anywhere.";
    element("plot-lengths").style.minHeight = 0;
    return;
  }
  const most = Math.max(...lengths.flat());
  const plot = figure({height: 280, y_axis_type: "log", y_range: [0.5, most * 2], x_range: [-0.6, bins - 0.4],
    x_axis_label: "length of the run in frames", title: "runs"});
  plot.xgrid.visible = false;
  plainAxis(plot.xaxis, data.labels.slice(0, bins).map((label, at) => [at, label]));
  logAxis(plot.yaxis, most);
  const width = 0.8 / lengths.length;
  lengths.forEach((counts, n) => {
    const result = n === lengths.length - 1;
    const at = counts.map((_, i) => i).filter((i) => counts[i]);
    const left = at.map((i) => i - 0.4 + n * width);
    const source = new Bokeh.ColumnDataSource({data: {
      left, right: left.map((x) => x + width * 0.92), top: at.map((i) => counts[i]),
      who: at.map(() => result ? "result" : `R${n + 1}`), length: at.map((i) => data.labels[i])}});
    const bars = plot.quad({field: "left"}, {field: "right"}, {field: "top"}, 0.5, {
      source, fill_color: result ? colour("damaged") : ofReceiver(n), line_color: null});
    plot.add_tools(new Bokeh.HoverTool({renderers: [bars],
      tooltips: [["", "@who"], ["length", "@length"], ["runs", "@top{0,0}"]]}));
  });
  await show("plot-lengths", plot);
}

async function drawHeat(name) {
  const {edges, positions, maps} = data.heat;
  const counts = maps[name];
  const strongest = Math.max(1e-9, ...counts.flatMap((row) => row.map((n, bin) => n / (edges[bin + 1] - edges[bin]))));
  const columns = {left: [], right: [], top: [], bottom: [], alpha: [], position: [], frames: [], count: []};
  counts.forEach((row, position) => row.forEach((number, bin) => {
    if (!number) return;
    const frames = edges[bin + 1] - edges[bin];
    columns.left.push(edges[bin]);
    columns.right.push(edges[bin + 1]);
    columns.top.push(position - 0.47);
    columns.bottom.push(position + 0.47);
    columns.alpha.push(0.2 + 0.8 * number / frames / strongest);
    columns.position.push(position);
    columns.frames.push(`${whole(edges[bin])}–${whole(edges[bin + 1] - 1)}`);
    columns.count.push(`${whole(number)} of ${whole(frames)}`);
  }));
  const total = counts.flat().reduce((a, b) => a + b, 0);
  const span = Math.round(edges[edges.length - 1] / (edges.length - 1));
  element("heat-status").textContent = `${whole(total)} buffers; a column is ` +
    `${whole(span)} frame${span === 1 ? "" : "s"}` +
    (total ? `, the strongest colour ${Number((strongest * 100).toPrecision(3))} % of them.` : ".");
  const plot = figure({height: Math.min(520, 110 + 22 * positions), x_range: [0, edges[edges.length - 1]],
    y_range: [positions - 0.5, -0.5], x_axis_label: "frame of the result", title: "buffer of the frame"});
  plot.grid.visible = false;
  plot.background_fill_color = colour("band");
  plot.background_fill_alpha = 1;
  plot.xaxis.formatter = new Bokeh.NumeralTickFormatter({format: "0,0"});
  plot.yaxis.ticker = new Bokeh.BasicTicker({min_interval: 1, num_minor_ticks: 0});
  const cells = plot.quad({field: "left"}, {field: "right"}, {field: "top"}, {field: "bottom"}, {
    source: new Bokeh.ColumnDataSource({data: columns}), line_color: null,
    fill_color: colour(name === "lost" ? "unrecoverable" : name === "single" ? "receiver1" : "receiver0"), fill_alpha: {field: "alpha"}});
  plot.add_tools(new Bokeh.HoverTool({renderers: [cells],
    tooltips: [["buffer", "@position"], ["frames", "@frames"], ["buffers", "@count"]]}));
  await show("plot-heat", plot);
}

function heatTable() {
  const {positions, maps} = data.heat;
  const names = Object.keys(maps);
  const titles = {lost: "missing", single: "only one receiver", differing: "copies disagree"};
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const title of ["buffer", ...names.map((n) => titles[n])]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    cell.append(button);
    head.append(cell);
  }
  const body = table.createTBody();
  for (let position = 0; position < positions; position++) {
    const row = body.insertRow();
    for (const value of [position, ...names.map((n) => maps[n][position].reduce((a, b) => a + b, 0))]) {
      const cell = row.insertCell();
      cell.className = "n";
      cell.dataset.v = value;
      cell.textContent = whole(value);
    }
  }
  const box = document.createElement("div");
  box.className = "scroll";
  box.append(table);
  element("heat-table").append(box);
}

async function drawDistribution(id, found, title, scale) {
  const most = Math.max(1, ...found.recordings.flatMap((each) => each.counts));
  const low = found.bounds[0] * scale, high = found.bounds[found.bounds.length - 1] * scale;
  const plot = figure({height: 280, y_axis_type: "log", y_range: [0.5, most * 2], x_range: [low, high],
    x_axis_label: title, title: "frames"});
  logAxis(plot.yaxis, most);
  found.recordings.forEach((each, n) => {
    const bins = each.counts.map((_, i) => i).filter((i) => each.counts[i]);
    const source = new Bokeh.ColumnDataSource({data: {
      left: bins.map((i) => found.bounds[i] * scale), right: bins.map((i) => found.bounds[i + 1] * scale),
      top: bins.map((i) => each.counts[i]), who: bins.map(() => `R${n + 1}`)}});
    const bars = plot.quad({field: "left"}, {field: "right"}, {field: "top"}, 0.5, {
      source, fill_color: ofReceiver(n), fill_alpha: 0.3, line_color: ofReceiver(n), line_width: 1.5});
    plot.add_tools(new Bokeh.HoverTool({renderers: [bars],
      tooltips: [["", "@who"], ["from", "@left{0.00}"], ["to", "@right{0.00}"], ["frames", "@top{0,0}"]]}));
  });
  await show(id, plot);
}

/* ---- all together ---- */

let timeline;

async function draw() {
  await timeline.draw();
  await drawLengths();
  if (element("plot-heat")) await drawHeat(document.querySelector("input[name=heat]:checked").value);
  const {noise, edges} = data.distributions;
  if (noise) {
    await drawDistribution("plot-noise", noise, "noise, % of the pixels, of frames that have any", 100);
    await drawDistribution("plot-edges", edges, "edges per pixel", 1);
  }
  document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
}

async function start() {
  if (!("DecompressionStream" in window)) {
    element("timeline-status").textContent = "The plots need a browser of 2023 or later; the tables do not.";
    return;
  }
  timeline = new Timeline(await unpackAll(data.timeline));
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => timeline.go(button.dataset.do));
  }
  if (element("plot-heat")) {
    heatTable();
    for (const choice of document.querySelectorAll("input[name=heat]")) {
      choice.addEventListener("change", () => drawHeat(choice.value));
    }
  }
  await draw();
  dark.addEventListener("change", draw);
}

start();
})();
