// The page: what is shown, where in the recording, what keys and buttons do.

import { element, elapsed, Facts, parseElapsed, showBreakable } from "./facts.js";
import { ask, Frames } from "./frames.js";
import { Marks } from "./marks.js";
import {
  autoContrast, contrastTable, draw, drawAbsence, drawTimeline, sourceColour, subtract,
} from "./images.js";
import { Player } from "./player.js";
import { Zoom } from "./zoom.js";

const AHEAD = 4;
const by = (id) => document.getElementById(id);
const colours = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let scene, frames, marks, facts, player;
let wanted = 0; // where the user wants to be
let packet = null; // what is drawn
let direction = 1;
let busy = false;
let timeline = {};
let pointed = null; // [x, y] under the pointer
let automatic = true; // the contrast is set when there are images, until the user sets it
const zoom = new Zoom(by("pictures"));
const figures = []; // one per panel, and the difference last

async function start() {
  scene = await ask("scene");
  document.title = `${scene.name} – miostitch view`;
  showBreakable(by("name"), scene.name);
  by("home").hidden = !scene.home;
  by("home").href = scene.home;
  by("slider").max = by("frame").max = scene.frames - 1;
  frames = new Frames(scene.frames);
  marks = new Marks(scene.marks, scene.marks_file, showMarkedFrames);
  facts = new Facts(by("facts"), scene);
  player = new Player({
    speed: () => +by("speed").value, rate: scene.fps, count: scene.frames, at: () => wanted,
    idle: () => !busy, go, changed: showPlaying,
  });
  by("note").hidden = !scene.note;
  showBreakable(by("note"), scene.note);
  buildFigures();
  offerJumps();
  forgetFrames();
  await go(0);
  const size = packet?.panels.find((p) => p.height);
  by("summary").textContent = [
    `${scene.frames.toLocaleString("en")} frames`, size && `${size.width} × ${size.height} pixels`,
    `${+scene.fps.toFixed(3)} frames per second by the file` +
      (scene.measured_fps ? `, ${+scene.measured_fps.toFixed(2)} measured` : ""),
  ].filter(Boolean).join(" · ");
  await Promise.all([marks.refresh(), showTimeline(), waitForPanels()]);
}

// Recordings that a result was made of are opened while its first frame is on the screen already.
async function waitForPanels() {
  while (!scene.completed) {
    await new Promise((done) => setTimeout(done, 150));
    const before = scene.panels.filter((p) => p.pictures || p.note).map((p) => p.note).join();
    facts.scene = scene = await ask("scene");
    if (scene.panels.map((p) => p.note).join() === before && !scene.completed) continue;
    offerDifference();
    forgetFrames();
    await go(wanted, true);
  }
  showNotices();
}

function buildFigures() {
  const names = [...scene.panels.map((p) => p.name), "difference"];
  names.forEach((name, number) => {
    const figure = document.createElement("figure");
    const seen = figure.appendChild(document.createElement("div"));
    const canvas = seen.appendChild(document.createElement("canvas"));
    seen.className = "seen";
    zoom.listen(canvas);
    const caption = figure.appendChild(document.createElement("figcaption"));
    canvas.setAttribute("role", "img");
    canvas.addEventListener("pointermove", (event) => point(event, canvas));
    canvas.addEventListener("pointerleave", () => point(null));
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    const label = document.createElement("label");
    label.append(box, ` ${name}`);
    box.addEventListener("change", () => {
      forgetFrames();
      go(wanted, true);
    });
    by("shown").append(label, " ");
    by("pictures").append(figure);
    figures.push({ name, figure, canvas, caption, box, label, picture: null, number });
  });
  const difference = figures.at(-1);
  difference.figure.hidden = difference.label.hidden = scene.panels.length < 2;
  by("difference-choice").hidden = scene.panels.length < 2;
  for (const [id, number] of [["left", 0], ["right", 1]]) {
    for (const panel of scene.panels) by(id).append(new Option(panel.name, by(id).length));
    by(id).selectedIndex = Math.min(number, scene.panels.length - 1);
    by(id).addEventListener("change", redraw);
  }
  by("gain").addEventListener("change", redraw);
  offerDifference();
}

// A difference needs two videos: where there are no pictures but the result's, it stays away.
function offerDifference() {
  const difference = figures.at(-1);
  const possible = scene.panels.filter((p) => p.pictures).length > 1 || !scene.completed;
  if (scene.completed && !possible) difference.box.checked = false;
  difference.box.disabled = !possible;
}

function forgetFrames() {
  const shown = figures.slice(0, -1).filter((f) => f.box.checked).map((f) => f.number);
  if (figures.at(-1).box.checked) shown.push(+by("left").value || 0, +by("right").value || 0);
  frames.forget([...new Set(shown)].sort((a, b) => a - b));
}

function offerJumps() {
  for (const what of ["damaged", "doubtful", "source"]) {
    const known = scene.columns.includes(what);
    for (const side of ["previous", "next"]) by(`${what}-${side}`).disabled = !known;
    by(`${what}-what`).classList.toggle("off", !known);
    if (!known) by(`${what}-what`).title = "not known of these files";
  }
  by("frame-num").disabled = !scene.columns.includes("frame_num");
}

// Moves to a frame. While one is read, further moves only change where to: none is waited for.
async function go(at, again = false) {
  const before = wanted;
  wanted = Math.min(scene.frames - 1, Math.max(0, at));
  if (wanted !== before) direction = Math.sign(wanted - before);
  by("slider").value = wanted;
  if (busy) return;
  busy = true;
  try {
    while (again || packet?.frame !== wanted) {
      again = false;
      const drawn = await frames.get(wanted);
      packet = drawn;
      redraw();
    }
    complain(null);
  } catch (error) {
    complain(error);
    player.stop();
  } finally {
    busy = false;
  }
  if (packet) frames.prefetch(wanted, direction, AHEAD);
}

function redraw() {
  if (!packet) return;
  if (automatic) fitContrast();
  const table = contrastTable(+by("black").value, +by("white").value);
  const source = packet.panels[0].facts.source;
  scene.panels.forEach((panel, number) => {
    const figure = figures[number];
    const told = packet.panels[number];
    const chosen = source !== undefined && number > 0 && scene.sources[source] === panel.name;
    figure.figure.classList.toggle("chosen", chosen);
    show(figure, told, table, panelCaption(panel, told, chosen));
  });
  showDifference();
  tell();
}

function show(figure, picture, table, caption) {
  figure.figure.hidden = !figure.box.checked;
  if (!figure.box.checked) return;
  if (picture.pixels) draw(figure.canvas, picture, table);
  else drawAbsence(figure.canvas, picture.problem ?? "not shown", aspect(), colours);
  figure.picture = picture.pixels ? picture : null;
  figure.figure.style.setProperty("--aspect", figure.canvas.width / figure.canvas.height);
  figure.canvas.setAttribute("aria-label", caption.map(([text]) => text).join(", "));
  figure.caption.replaceChildren(...caption.map(([text, kind]) => showBreakable(element(kind), text)));
}

// Width by height of the pictures that there are.
function aspect() {
  const picture = packet.panels.find((p) => p.pixels);
  return picture ? picture.width / picture.height : 1;
}

function panelCaption(panel, told, chosen) {
  const caption = [[panel.name, "b"]];
  if (told.frame >= 0) caption.push([`frame ${told.frame}`, "span"]);
  if (chosen) caption.push(["used", "span.badge.good"]);
  if (told.facts.filled) caption.push(["filled", "span.badge"]);
  else if (told.facts.unrecoverable) caption.push(["unrecoverable", "span.badge"]);
  else if (told.facts.damaged) caption.push(["damaged", "span.badge"]);
  return caption;
}

function showDifference() {
  const figure = figures.at(-1);
  if (figure.label.hidden) return;
  const [one, other] = [by("left"), by("right")].map((choice) => +choice.value);
  const [left, right] = [packet.panels[one], packet.panels[other]];
  const caption = [[`${figures[one].name} − ${figures[other].name}`, "b"]];
  if (!left.pixels || !right.pixels) {
    show(figure, { problem: "needs two images" }, null, caption);
  } else if (left.height !== right.height || left.width !== right.width) {
    show(figure, { problem: "the sizes differ" }, null, caption);
  } else {
    const difference = subtract(left, right, +by("gain").value);
    const same = difference.different ? `${difference.different.toLocaleString("en")} pixels differ` : "identical";
    show(figure, difference, contrastTable(0, 255), [...caption, [same, "span"]]);
  }
}

function tell() {
  if (!packet) return;
  const { frame, panels } = packet;
  by("frame").value = frame;
  by("frame-num").value = panels.map((p) => p.facts.frame_num).find((n) => n >= 0) ?? "";
  by("slider").setAttribute("aria-valuetext", `frame ${frame} of ${scene.frames}, ${elapsed(packet.time)}`);
  by("time").value = elapsed(packet.time);
  by("clock").textContent = facts.clock(packet.time);
  by("told").textContent = "";
  facts.show(panels);
  by("pixel").textContent = readPixel();
  by("here").style.left = `${(100 * (frame + 0.5)) / scene.frames}%`;
  showMarks();
}

function point(event, canvas) {
  pointed = null;
  if (event && canvas.clientWidth) {
    pointed = [event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight];
  }
  by("pixel").textContent = readPixel();
}

function readPixel() {
  const shown = figures.slice(0, -1).filter((f) => f.picture && f.box.checked);
  if (!pointed || !shown.length) return "Point at an image to read its pixels.";
  const { height, width } = shown[0].picture;
  const [x, y] = [Math.floor(pointed[0] * width), Math.floor(pointed[1] * height)];
  if (x < 0 || y < 0 || x >= width || y >= height) return "Point at an image to read its pixels.";
  const values = shown
    .filter((f) => f.picture.width === width && f.picture.height === height)
    .map((f) => `${f.name} ${f.picture.pixels[y * width + x]}`);
  return `x ${x}, y ${y}, pixel ${y * width + x}: ${values.join(" · ")}`;
}

async function showTimeline() {
  const bins = Math.max(1, Math.min(2000, Math.floor(by("timeline").clientWidth)));
  timeline = await ask(`timeline/${bins}`);
  const damaged = timeline.damaged?.reduce((sum, n) => sum + n, 0);
  const known = damaged !== undefined;
  const count = known && `${damaged.toLocaleString("en")} of ${scene.frames.toLocaleString("en")} frames are damaged`;
  const label = known ? `Overview: ${count}` : "Overview; damage is not known";
  by("damage").textContent = known ? count : "";
  by("damage").classList.toggle("none", damaged === 0);
  by("timeline").setAttribute("aria-label", label);
  by("timeline").title = `${label}. Top: marked; middle: damaged; bottom: receiver. Click to go there.`;
  drawOverview();
  showScale();
  if (scene.columns.includes("source")) showLegend();
}

function showScale() {
  const last = timeline.scale?.at(-1) ?? 0;
  by("scale").replaceChildren(...(timeline.scale ?? []).map((seconds) => {
    const mark = element("span", elapsed(seconds).slice(0, last < 10 ? undefined : -4));
    mark.append(document.createElement("br"), facts.timeOfDay(seconds));
    return mark;
  }));
}

function showLegend() {
  scene.panels.slice(1).forEach((panel) => {
    const source = scene.sources.indexOf(panel.name);
    const label = figures.find((f) => f.name === panel.name).label;
    const swatch = element("span.swatch");
    swatch.style.background = `var(${sourceColour(source)})`;
    swatch.title = "its colour in the overview";
    label.append(swatch);
  });
}

function drawOverview() {
  drawTimeline(by("timeline"), timeline, scene.frames, marks.marked, colours);
}

function showMarkedFrames() {
  drawOverview();
  showMarks();
}

function showMarks() {
  if (!packet) return;
  const [at, first] = [packet.frame, packet.panels[0].frame];
  const of = scene.panels[0].name === "result" ? scene.name : scene.panels[0].name;
  showBreakable(by("marks-of"), `Frames of ${of}, for miostitch remove-frames -f`);
  by("mark").disabled = by("range").disabled = first < 0;
  by("mark").setAttribute("aria-pressed", marks.has(at));
  by("mark").textContent = marks.has(at) ? "Unmark" : "Mark";
  by("range").setAttribute("aria-pressed", marks.start !== null);
  by("range").textContent = marks.start === null ? "Start range" : `Mark from ${marks.start} to here`;
  by("list").value = marks.text;
  for (const id of ["copy", "clear"]) by(id).disabled = !marks.marked.size;
  by("save").textContent = scene.marks_file ? "Save" : "Save as …";
  by("save").disabled = scene.marks_file ? marks.saved : !marks.marked.size;
}

function showNotices() {
  const list = by("notices").querySelector("ul");
  by("notices").hidden = !scene.notices.length;
  const count = scene.notices.length;
  by("notices").open = count > 0 && count <= 2;
  by("notices").querySelector("summary").textContent = `${count} finding${count > 1 ? "s" : ""} about the files`;
  list.replaceChildren(...scene.notices.map((text) => showBreakable(element("li"), text)));
}

function complain(error) {
  by("problem").hidden = !error;
  by("problem").textContent = error?.message ?? "";
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    complain(error);
  }
}

const NAMES = { damaged: "damaged frame", doubtful: "doubtful frame", source: "change of the receiver" };

async function jump(what, to) {
  player.stop();
  const { frame } = await ask(`jump/${wanted}/${to}/${what}`);
  if (frame !== null) return go(frame);
  by("told").textContent = `no ${to} ${NAMES[what]}`;
}

function jumpToMark(step) {
  const next = marks.next(wanted, step);
  if (next !== undefined) go(next);
}

function showPlaying() {
  by("play").textContent = player.playing ? "Pause" : "Play";
  if (!player.playing) tell();
}

async function move(to) {
  player.stop();
  await go(to);
}

function setContrast(black, white) {
  showContrast(black, white);
  contrast();
}

function showContrast(black, white) {
  by("black").value = by("black-value").textContent = black;
  by("white").value = by("white-value").textContent = white;
}

// Frames that are next to each other should look alike: fitted once, not to every frame.
function fitContrast() {
  const shown = packet.panels.filter((p) => p.pixels?.some((gray) => gray));
  if (!shown.length) return;
  showContrast(...autoContrast(shown));
  automatic = false;
}

function contrast(event) {
  automatic = false;
  const [black, white] = [by("black"), by("white")];
  if (+black.value >= +white.value) {
    if (event?.target === black) white.value = +black.value + 1;
    else black.value = +white.value - 1;
  }
  by("black-value").textContent = black.value;
  by("white-value").textContent = white.value;
  redraw();
}

function stretch() {
  const shown = packet?.panels.filter((p) => p.pixels) ?? [];
  if (shown.length) setContrast(...autoContrast(shown));
}

async function copy() {
  try {
    await navigator.clipboard.writeText(marks.text);
  } catch {
    by("list").select(); // some browsers give the clipboard to encrypted pages only
    document.execCommand("copy");
  }
  by("marks-told").textContent = "copied";
}

async function save() {
  const file = await marks.save();
  by("marks-told").textContent = `saved to ${file}`;
  showMarks();
}

function toggleMark() {
  if (packet && !by("mark").disabled) return marks.toggle(packet.frame);
}

function markRange() {
  if (packet && !by("range").disabled) return marks.range(packet.frame);
}

const KEYS = {
  ArrowLeft: (far) => move(wanted - (far ? 10 : 1)),
  ArrowRight: (far) => move(wanted + (far ? 10 : 1)),
  Home: () => move(0),
  End: () => move(scene.frames - 1),
  " ": () => player.toggle(),
  d: (back) => scene.columns.includes("damaged") && jump("damaged", back ? "previous" : "next"),
  u: (back) => scene.columns.includes("doubtful") && jump("doubtful", back ? "previous" : "next"),
  s: (back) => scene.columns.includes("source") && jump("source", back ? "previous" : "next"),
  m: (range) => (range ? markRange() : toggleMark()),
  n: (back) => jumpToMark(back ? -1 : 1),
  a: stretch,
  r: () => setContrast(0, 255),
  "+": () => zoom.by(1.5), "=": () => zoom.by(1.5), "-": () => zoom.by(1 / 1.5), 0: () => zoom.fit(),
};

function press(event) {
  const { target, key, shiftKey } = event;
  const action = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.matches("select, textarea, input[type=number], input[type=text]")) return;
  if (target.matches("input[type=range]:not(#slider)") && key.length > 1) return;
  if (target.matches("button, summary, input[type=checkbox]") && key === " ") return;
  event.preventDefault();
  attempt(() => action(shiftKey));
}

const CLICKS = {
  first: () => move(0), last: () => move(scene.frames - 1),
  previous: () => move(wanted - 1), next: () => move(wanted + 1),
  play: () => player.toggle(), auto: stretch, copy, save,
  "damaged-previous": () => jump("damaged", "previous"), "damaged-next": () => jump("damaged", "next"),
  "doubtful-previous": () => jump("doubtful", "previous"), "doubtful-next": () => jump("doubtful", "next"),
  "source-previous": () => jump("source", "previous"), "source-next": () => jump("source", "next"),
  "mark-previous": () => jumpToMark(-1), "mark-next": () => jumpToMark(1),
  mark: toggleMark, range: markRange, clear: () => marks.clear(), reset: () => setContrast(0, 255),
  "zoom-in": () => zoom.by(1.5), "zoom-out": () => zoom.by(1 / 1.5), fit: () => zoom.fit(),
};

function listen() {
  for (const [id, action] of Object.entries(CLICKS)) {
    by(id).addEventListener("click", () => attempt(action));
    const title = by(id).title;
    if (!by(id).textContent.trim().match(/\w/)) by(id).setAttribute("aria-label", title);
  }
  document.addEventListener("keydown", press);
  by("slider").addEventListener("input", () => attempt(() => move(+by("slider").value)));
  by("frame").addEventListener("change", () => attempt(() => move(Math.floor(+by("frame").value || 0))));
  by("frame-num").addEventListener("change", () => attempt(findFrame));
  by("time").addEventListener("change", () => attempt(findTime));
  by("timeline").addEventListener("click", (event) => {
    const share = event.offsetX / by("timeline").clientWidth;
    attempt(() => move(Math.floor(share * scene.frames)));
  });
  for (const id of ["black", "white"]) by(id).addEventListener("input", contrast);
  addEventListener("resize", () => scene && drawOverview());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    redraw();
    if (scene) drawOverview();
  });
  addEventListener("beforeunload", (event) => {
    if (marks && scene.marks_file && !marks.saved) event.preventDefault();
  });
}

async function findFrame() {
  const text = by("frame-num").value;
  const { frame } = /^\d{1,18}$/.test(text) ? await ask(`find/${text}`) : { frame: null };
  if (frame !== null) return move(frame);
  by("told").textContent = `there is no frame_num ${text}`;
}

async function findTime() {
  const seconds = parseElapsed(by("time").value);
  if (!Number.isNaN(seconds)) return move((await ask(`time/${Math.round(seconds * 1000)}`)).frame);
  tell();
  by("told").textContent = "write a time as 1:02:03.5, or in seconds";
}

listen();
attempt(start);
