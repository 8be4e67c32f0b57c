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
  const frameNum = await sums(packed.frame_num, count);
  const {interval, unit} = packed.time;
  const times = (await sums(packed.time, count)).map((off, i) => i * interval + off * unit);
  const least = times[0];
  for (let i = 0; i < count; i++) times[i] = Math.max(times[i] - least, times[i - 1] ?? 0);
  return {...packed, count, tracks, frameNum, times};
}

/* numbers of which the differences are packed */
async function sums(packed, count) {
  const steps = await unpack(packed, count - 1);
  const numbers = new Float64Array(count);
  numbers[0] = Number(packed.first);
  for (let i = 1; i < count; i++) numbers[i] = numbers[i - 1] + steps[i - 1];
  return numbers;
}

/* the first place whose value is not below another */
function lowerBound(values, value) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const two = (n) => String(n).padStart(2, "0");

/* decimals of seconds that tell a frame from the next one */
const decimals = () => (data.timeline.interval < 0.1 ? 3 : 1);

/* seconds from the first frame as h:mm:ss, cut to some decimals */
function elapsed(seconds, digits = decimals()) {
  const unit = 10 ** digits, all = Math.floor(Math.max(0, seconds) * unit + 1e-6);
  const full = Math.floor(all / unit);
  const text = `${Math.floor(full / 3600)}:${two(Math.floor(full / 60) % 60)}:${two(full % 60)}`;
  return digits ? `${text}.${String(all % unit).padStart(digits, "0")}` : text;
}

/* the time of day, in UTC */
function clock(seconds) {
  const date = new Date((data.timeline.start + seconds) * 1000);
  if (data.timeline.start === null || Number.isNaN(date.getTime())) return "not known";
  return `${date.toISOString().slice(0, 20 + decimals()).replace("T", " ")} UTC`;
}

/* round times on an axis of seconds */
function timeAxis(axis, start, end) {
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const most = Math.max(2, Math.min(9, Math.floor(innerWidth / 110)));
  const step = steps.find((each) => (end - start) / each <= most) ?? (end - start) / most;
  const ticks = [];
  for (let n = Math.ceil(start / step - 1e-9); n * step <= end; n++) ticks.push(n * step);
  axis.ticker = new Bokeh.FixedTicker({ticks, minor_ticks: []});
  axis.major_label_overrides = new Map(ticks.map((tick) => [tick, elapsed(tick + 1e-9, step < 0.1 ? 2 : step < 1 ? 1 : 0)]));
  axis.axis_label = "elapsed time (h:mm:ss)";
}

/* ---- plots ---- */

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const ofReceiver = (number) => colour(`receiver${number % 6}`);

function figure(options) {
  const ink = colour("ink"), soft = colour("soft"), line = colour("line");
  const plot = Bokeh.Plotting.figure({
    sizing_mode: "stretch_width", background_fill_alpha: 0, border_fill_alpha: 0,
    outline_line_color: line, min_border_right: 24, toolbar_location: null, tools: "", ...options,
  });
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
    this.end = this.duration + this.interval;
    this.range = {start: 0, end: this.end};
    const label = (number) => `R${number + 1}`;
    const receivers = [...Array(this.recordings).keys()];
    const heard = "absent0" in this.tracks;
    this.bands = [
      {label: "source", height: 2.4, stacked: true, tracks: [
        ...receivers.map((n) => [`source${n}`, `receiver${n % 6}`, `from ${label(n)}`]),
        ["composed", "composed", "combined"]]},
      {label: "result", height: 1.2, tracks: [
        ["damaged", "damaged", "damaged"], ["unrecoverable", "unrecoverable", "unrecoverable"]]},
      ...receivers.filter(() => heard).map((n) => ({label: label(n), height: 1, stacked: true, tracks: [
        [`absent${n}`, "absent", `lost by ${label(n)}`],
        [`partial${n}`, "partial", `partly lost by ${label(n)}`]]})),
      {label: "gaps", height: 0.6, tracks: [["gap", "gap", "gaps before these"]]},
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
      start, end, bounds: [0, this.end], min_interval: Math.min(this.end, 10 * this.step * this.interval),
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
    const first = Math.max(0, Math.min(this.count, lowerBound(this.times, this.range.start + 1e-9)) - 1);
    const last = Math.max(first + 1, lowerBound(this.times, this.range.end - 1e-9));
    const each = Math.max(1, Math.ceil((last - first) / Math.floor(width / 2)));
    const begin = Math.floor(first / each) * each;
    const number = Math.ceil((last - begin) / each);
    const sums = {};
    for (const [name, values] of Object.entries(this.tracks)) {
      const sum = sums[name] = new Float64Array(number);
      for (let i = begin; i < last; i++) sum[Math.floor((i - begin) / each)] += values[i];
    }
    const starts = Array.from({length: number}, (_, i) => begin + i * each);
    const ends = starts.map((start) => Math.min(start + each, last));
    const frames = starts.map((start, i) => Math.min(ends[i] * this.step, this.frames) - start * this.step);
    // where frames are lost or the device paused, the plot is empty
    const left = starts.map((start) => this.times[start]);
    const right = ends.map((end) => {
      const until = this.times[end - 1] + 1.5 * this.step * this.interval;
      return end < this.count ? Math.min(this.times[end], until) : Math.min(this.end, until);
    });
    return {each, begin, number, sums, starts, frames, left, right};
  }

  columns({number, sums, starts, frames, left, right}) {
    const bars = {left: [], right: [], top: [], bottom: [], color: []};
    for (const band of this.bands) {
      const height = band.top - band.bottom;
      for (let i = 0; i < number; i++) {
        let base = band.bottom;
        for (const [name, shade] of band.tracks) {
          const found = sums[name][i];
          if (!found) continue;
          const least = band.label === "source" ? 0 : LEAST;
          const tall = name === "gap" ? height : height * Math.max(Math.min(found / frames[i], 1), least);
          bars.left.push(left[i]);
          bars.right.push(right[i]);
          bars.bottom.push(base);
          bars.top.push(Math.min(base + tall, band.top));
          bars.color.push(colour(shade));
          if (band.stacked) base += tall;
        }
      }
    }
    const hover = {left, right, frames: [], time: [], clock: [], num: []};
    const names = this.bands.flatMap((band) => band.tracks);
    for (const [name] of names) hover[name] = [...sums[name]];
    for (let i = 0; i < number; i++) {
      const first = starts[i] * this.step;
      hover.frames.push(frames[i] > 1 ? `${whole(first)}–${whole(first + frames[i] - 1)}` : whole(first));
      hover.time.push(elapsed(left[i]));
      hover.clock.push(clock(left[i]));
      hover.num.push(String(this.frameNum[starts[i]]));
    }
    return {bars, hover, names};
  }

  async draw() {
    this.newRange();
    const {bars, hover, names} = this.columns(this.bins());
    const plot = figure({height: Math.round(110 + -this.depth * 42), x_range: this.range,
      y_range: [this.depth, 0.1]});
    plot.ygrid.visible = false;
    this.axis = plot.below[0];
    plainAxis(plot.yaxis, this.bands.map((band) => [(band.top + band.bottom) / 2, band.label]));
    plot.yaxis.major_tick_line_color = null;
    for (const band of this.bands) {
      plot.quad({left: [0], right: [this.end], top: [band.top], bottom: [band.bottom],
        fill_color: colour("band"), line_color: null});
    }
    this.bars = new Bokeh.ColumnDataSource({data: bars});
    plot.quad({field: "left"}, {field: "right"}, {field: "top"}, {field: "bottom"}, {
      source: this.bars, fill_color: {field: "color"}, line_color: null});
    this.hover = new Bokeh.ColumnDataSource({data: hover});
    const areas = plot.quad({field: "left"}, {field: "right"}, this.depth, 0, {
      source: this.hover, fill_alpha: 0, line_color: null, hover_fill_color: colour("ink"), hover_fill_alpha: 0.08});
    plot.add_tools(new Bokeh.HoverTool({renderers: [areas], mode: "vline", point_policy: "follow_mouse",
      tooltips: [["elapsed", "@time"], ["clock", "@clock"], ["frames", "@frames"], ["frame_num from", "@num"],
        ...names.map(([name, , title]) => [title, `@${name}`])]}));
    if (!matchMedia("(pointer: coarse)").matches) {  // a finger that drags scrolls the page
      const drag = new Bokeh.BoxZoomTool({dimensions: "width"});
      plot.add_tools(drag);
      plot.toolbar.active_drag = drag;
    }
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
    timeAxis(this.axis, this.range.start, this.range.end);
    const frames = bins.each * this.step;
    const {left, right, starts} = bins;
    const [from, to] = [left[0], Math.min(right[bins.number - 1], this.end)];
    const sum = (name) => bins.sums[name].reduce((a, b) => a + b, 0);
    const at = this.at === undefined ? -1 : this.times[this.at];
    this.mark.setv({location: at, visible: from <= at && at <= to});
    const last = starts[0] * this.step + bins.frames.reduce((a, b) => a + b, 0) - 1;
    element("timeline-status").textContent =
      (this.mark.visible ? `Damage begins at ${elapsed(at)} (${clock(at)}), frame ${this.at * this.step}, ` +
        `frame_num ${this.frameNum[this.at]}. ` : "") +
      `${elapsed(from, 1)} to ${elapsed(to, 1)}: frames ${whole(starts[0] * this.step)} to ${whole(last)}, ` +
      `a bar is ${frames === 1 ? "1 frame" : `${whole(frames)} frames`}; ` +
      `${whole(sum("damaged"))} damaged, ${whole(sum("unrecoverable"))} unrecoverable.`;
  }

  go(what) {
    const {start, end} = this.range;
    const width = end - start, middle = (start + end) / 2;
    const to = (from, size) => {
      const span = Math.min(this.end, Math.max(size, Math.min(this.end, 10 * this.step * this.interval)));
      const left = Math.min(Math.max(0, from), this.end - span);
      this.range.setv({start: left, end: left + span});
    };
    if (what === "whole") to(0, this.end);
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
        element("timeline-status").textContent = `No ${step > 0 ? "later" : "earlier"} damaged frame.`;
        return;
      }
      this.at = at;
      const span = 200 * this.step * this.interval;
      to(this.times[at] - span / 2, span);
      this.update();
    }
  }
}

async function drawLengths() {
  const lengths = data.lengths;
  const bins = lengths[0].length;
  if (!lengths.flat().some((n) => n)) {
    element("plot-lengths").textContent = "Nothing was lost.";
    element("plot-lengths").style.minHeight = 0;
    return;
  }
  const most = Math.max(...lengths.flat());
  const plot = figure({height: 280, y_axis_type: "log", y_range: [0.5, most * 2], x_range: [-0.6, bins - 0.4],
    x_axis_label: "length of the run in frames", title: "number of runs"});
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
      source, fill_color: result ? colour("result") : ofReceiver(n), line_color: null});
    plot.add_tools(new Bokeh.HoverTool({renderers: [bars],
      tooltips: [["", "@who"], ["length", "@length"], ["runs", "@top{0,0}"]]}));
  });
  await show("plot-lengths", plot);
}

/* a step line for each of some series over time; a bin without a value is a gap */
async function drawOverTime(id, series, title, percent) {
  const {edges} = data.over_time;
  const scale = percent ? 100 : 1;
  const values = series.flatMap(({values}) => values).filter((v) => v !== null).map((v) => v * scale);
  const end = edges[edges.length - 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y_range = percent ? [0, Math.max(high * 1.1, 0.1)] : [low - 0.1 * (high - low || 10), high + 0.1 * (high - low || 10)];
  const plot = figure({height: percent ? 280 : 220, x_range: [0, end], y_range, title});
  timeAxis(plot.below[0], 0, end);
  series.forEach(({values, shade, who, wide}) => {
    const columns = {x: [], y: []}, points = {x: [], y: [], who: [], time: [], clock: []};
    values.forEach((value, bin) => {
      const y = value === null ? NaN : value * scale;
      columns.x.push(edges[bin], edges[bin + 1]);
      columns.y.push(y, y);
      points.x.push((edges[bin] + edges[bin + 1]) / 2);
      points.y.push(y);
      points.who.push(who);
      points.time.push(elapsed(edges[bin], edges[1] - edges[0] < 1 ? 1 : 0));
      points.clock.push(clock(edges[bin]));
    });
    plot.line({field: "x"}, {field: "y"}, {
      source: new Bokeh.ColumnDataSource({data: columns}), line_color: shade, line_width: wide ? 3 : 1.6});
    const marks = plot.scatter({field: "x"}, {field: "y"}, {
      source: new Bokeh.ColumnDataSource({data: points}), size: 7, fill_color: shade,
      fill_alpha: values.length > 60 ? 0 : 1, line_color: null});
    plot.add_tools(new Bokeh.HoverTool({renderers: [marks], tooltips: [["", "@who"],
      ["elapsed", "@time"], ["clock", "@clock"], [title, percent ? "@y{0.00} %" : "@y{0.0}"]]}));
  });
  await show(id, plot);
}

async function drawAllOverTime() {
  const {lost, damaged, uncertain, voltages} = data.over_time;
  await drawOverTime("plot-lost", [
    {values: damaged, shade: colour("result"), who: "result", wide: true},
    ...(uncertain.some((share) => share !== null)
      ? [{values: uncertain, shade: colour("damaged"), who: "not exact with certainty"}] : []),
    ...lost.map((values, n) => ({values, shade: ofReceiver(n), who: `R${n + 1}`})),
  ], "lost, damaged or uncertain, %", true);
  for (const [name, values] of Object.entries(voltages)) {
    await drawOverTime(`plot-${name}`, [{values, shade: colour("result"), who: name}], "raw value", false);
  }
}

async function drawHeat(name) {
  const {edges, times, positions, maps} = data.heat;
  const counts = maps[name];
  const strongest = Math.max(1e-9, ...counts.flatMap((row) => row.map((n, bin) => n / (edges[bin + 1] - edges[bin]))));
  const columns = {left: [], right: [], top: [], bottom: [], alpha: [], position: [], frames: [], count: [], time: [], clock: []};
  counts.forEach((row, position) => row.forEach((number, bin) => {
    if (!number) return;
    const frames = edges[bin + 1] - edges[bin];
    columns.left.push(times[bin]);
    columns.right.push(times[bin + 1]);
    columns.top.push(position - 0.47);
    columns.bottom.push(position + 0.47);
    columns.alpha.push(0.2 + 0.8 * number / frames / strongest);
    columns.position.push(position);
    columns.frames.push(`${whole(edges[bin])}–${whole(edges[bin + 1] - 1)}`);
    columns.time.push(elapsed(times[bin]));
    columns.clock.push(clock(times[bin]));
    columns.count.push(`${whole(number)} of ${whole(frames)}`);
  }));
  const total = counts.flat().reduce((a, b) => a + b, 0);
  const span = Math.round(edges[edges.length - 1] / (edges.length - 1));
  element("heat-status").textContent = `${whole(total)} buffers; a column is ` +
    `${whole(span)} frame${span === 1 ? "" : "s"}` +
    (total ? `, the strongest colour ${Number((strongest * 100).toPrecision(3))} % of them.` : ".");
  const plot = figure({height: Math.min(520, 110 + 22 * positions), x_range: [0, times[times.length - 1]],
    y_range: [positions - 0.5, -0.5], title: "buffer of the frame"});
  plot.grid.visible = false;
  plot.background_fill_color = colour("band");
  plot.background_fill_alpha = 1;
  timeAxis(plot.below[0], 0, times[times.length - 1]);
  plot.yaxis.ticker = new Bokeh.BasicTicker({min_interval: 1, num_minor_ticks: 0});
  const cells = plot.quad({field: "left"}, {field: "right"}, {field: "top"}, {field: "bottom"}, {
    source: new Bokeh.ColumnDataSource({data: columns}), line_color: null,
    fill_color: colour(name === "lost" ? "unrecoverable" : name === "single" ? "receiver1" : "receiver0"), fill_alpha: {field: "alpha"}});
  plot.add_tools(new Bokeh.HoverTool({renderers: [cells],
    tooltips: [["buffer", "@position"], ["elapsed", "@time"], ["clock", "@clock"], ["frames", "@frames"], ["buffers", "@count"]]}));
  await show("plot-heat", plot);
}

function heatTable() {
  const {positions, maps} = data.heat;
  const names = Object.keys(maps);
  const titles = {lost: "missing", single: "received by one only", differing: "copies differ"};
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
  await drawAllOverTime();
  await drawLengths();
  if (element("plot-heat")) await drawHeat(document.querySelector("input[name=heat]:checked")?.value ?? "lost");
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
