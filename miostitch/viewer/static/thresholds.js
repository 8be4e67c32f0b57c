// The page where thresholds of denoise are tried.

import { element, showBreakable } from "./facts.js";
import { ask } from "./frames.js";
import { autoContrast, beginBands, contrastTable, draw, drawAbsence } from "./images.js";
import { Settings } from "./settings.js";

const WAIT_MS = 150; // after a change, in which another one may come
const by = (id) => document.getElementById(id);
const colours = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const of = new URLSearchParams(location.search).get("of");

let about, settings;
let trial = null; // what was tried last
let busy = false;
let again = false; // something was changed while a trial ran
let timer = 0;
let shown = 0; // counts what was asked to be shown

async function start() {
  about = await ask(`thresholds/${of}`);
  showBreakable(by("name"), about.name);
  document.title = `${about.name} – thresholds – miostitch`;
  by("summary").textContent = `${about.frames.toLocaleString("en")} frames`;
  by("count").max = by("count").value = Math.min(about.most, about.frames);
  by("start").max = about.frames - 1;
  for (const { id } of about.bases) by("base").append(new Option(id, id));
  settings = new Settings(by("controls"), about.controls, changed);
  takeBase();
  showWhere();
  await run();
}

function takeBase() {
  const base = about.bases.find((each) => each.id === by("base").value);
  by("base-about").textContent = base.about ?? "";
  settings.take(base.values);
}

function changed() {
  say("");
  clearTimeout(timer);
  timer = setTimeout(run, WAIT_MS);
}

// Tries the settings as they are; while a trial runs further changes wait for its end.
async function run() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  by("told").textContent = "computing …";
  try {
    do {
      again = false;
      trial = await ask(`try/${of}`, {
        base: by("base").value, set: settings.values(), count: +by("count").value,
        start: by("spread").checked ? null : +by("start").value,
      });
    } while (again);
    complain(trial.problem ? new Error(trial.problem) : null);
    showTrial();
  } catch (error) {
    complain(error);
    by("told").textContent = "";
  }
  busy = false;
}

function showTrial() {
  const count = trial.positions.length;
  by("slider").max = count - 1;
  const chosen = by("what").value;
  by("what").replaceChildren(
    new Option("one frame", ""),
    ...trial.projections.map((kind) => new Option(`${kind} of all frames that stay`, kind)),
  );
  by("what").value = trial.projections.includes(chosen) ? chosen : "";
  const noisy = trial.noisy.filter(Boolean).length;
  by("told").textContent = `${noisy} of ${count} frames are noisy`;
  by("previous").disabled = by("next").disabled = !noisy;
  drawFlags();
  show();
}

async function show() {
  if (!trial) return;
  const mine = ++shown;
  const kind = by("what").value;
  const at = Math.min(+by("slider").value, trial.positions.length - 1);
  by("slider").disabled = kind !== "";
  by("slider").setAttribute("aria-valuetext", `frame ${trial.positions[at]}${trial.noisy[at] ? ", noisy" : ""}`);
  try {
    const what = kind ? `projection/${kind}` : `frame/${at}`;
    const { panels } = await ask(`trial/${trial.trial}/${what}`);
    if (mine !== shown) return;
    const title = kind ? `${kind} projection` : `frame ${trial.positions[at]}`;
    showImage("original", panels[0], `recorded, ${title}`, kind ? "" : flags(at));
    showImage("denoised", panels[1], `denoised, ${title}`, "");
  } catch (error) {
    if (mine === shown) complain(error);
  }
}

// What is flagged of a frame.
function flags(at) {
  const rows = trial.rows[at];
  if (!rows) return "noise is not looked for";
  const words = { gradient: "noisy", black_area: "black" };
  const said = Object.entries(rows).map(([detector, number]) => `${number} ${words[detector]} rows`);
  return said.join(", ") + (trial.noisy[at] ? ": noisy frame" : "");
}

function showImage(id, picture, title, text) {
  const canvas = by(id);
  if (picture) {
    draw(canvas, picture, contrastTable(...autoContrast([picture])));
  } else {
    drawAbsence(canvas, "left out: noisy", by("original").width / by("original").height, colours);
  }
  canvas.setAttribute("aria-label", [title, text].filter(Boolean).join(", "));
  canvas.parentElement.parentElement.style.setProperty("--aspect", canvas.width / canvas.height);
  const bad = text.endsWith("noisy frame");
  by(`${id}-about`).replaceChildren(element("b", title), element(bad ? "span.bad" : "span", text));
}

function drawFlags() {
  const canvas = by("flags");
  const [context, width] = beginBands(canvas, 26);
  const count = trial.noisy.length;
  const wide = Math.max(1, width / count - 1);
  trial.noisy.forEach((noisy, at) => {
    context.fillStyle = colours(noisy ? "--damaged" : "--intact");
    context.fillRect((at / count) * width, noisy ? 2 : 14, wide, noisy ? 22 : 10);
  });
  const frames = trial.positions.filter((_, at) => trial.noisy[at]);
  canvas.setAttribute("aria-label", `Noisy frames: ${frames.join(", ") || "none"}`);
}

// Goes to the next noisy frame, or back; from the end on from the beginning again.
function jump(step) {
  if (!trial?.noisy.includes(true)) return;
  const count = trial.noisy.length;
  let at = +by("slider").value;
  do at = (at + step + count) % count; while (!trial.noisy[at]);
  by("what").value = "";
  by("slider").value = at;
  show();
}

function complain(error) {
  by("problem").hidden = !error;
  by("problem").textContent = error ? error.message : "";
}

function say(text) {
  by("done").hidden = !text;
  showBreakable(by("done"), text);
}

function showWhere() {
  showBreakable(by("where"), `Writes ${about.folder}/${by("file").value.replace(/\.yml$/, "")}.yml, a configuration; an existing file is never replaced.`);
}

by("slider").addEventListener("input", show);
by("what").addEventListener("change", show);
by("previous").addEventListener("click", () => jump(-1));
by("next").addEventListener("click", () => jump(1));
by("flags").addEventListener("click", (event) => {
  by("what").value = "";
  by("slider").value = Math.floor((event.offsetX / by("flags").clientWidth) * (trial?.positions.length ?? 1));
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "n" && !event.target.matches("input[type=text], input[type=number]")) {
    jump(event.shiftKey ? -1 : 1);
  }
});
by("base").addEventListener("change", () => {
  takeBase();
  changed();
});
by("spread").addEventListener("change", () => {
  by("start").disabled = by("spread").checked;
  changed();
});
for (const id of ["count", "start"]) by(id).addEventListener("change", changed);
by("file").addEventListener("input", showWhere);
by("save").addEventListener("click", async () => {
  complain(null);
  say("");
  try {
    const { saved } = await ask(`save/${of}`, {
      base: by("base").value, set: settings.values(), name: by("file").value,
    });
    say(`Saved ${saved}. Use it with miostitch denoise -c, or as denoise: in the options of a session file.`);
  } catch (error) {
    complain(error);
  }
});
window.addEventListener("resize", () => trial && drawFlags());
start().catch(complain);
