// The table of what is known of a frame: a column for every panel, a row for every fact.

const TIMES = ["timestamp_first", "timestamp_last"];
const BAD = ["damaged", "unrecoverable", "filled"];
const HIDDEN = ["time"]; // which stands above

// What facts are called; others have the names of their columns.
const WORDS = {
  frame_num: "device's frame number", timestamp_first: "first buffer received (UTC)",
  timestamp_last: "last buffer received (UTC)", source: "taken from", num_buffers: "buffers received",
  missing_pixels: "missing pixels", damaged: "damaged", unrecoverable: "incomplete in every receiver",
  confidence: "probability of being exact", filled: "made to fill a gap",
  time_estimated: "time is estimated", black_padding: "pixels filled with zeros",
  black_pixels: "pixels in black rows", noisy_pixels: "pixels in noisy rows",
  edge_energy: "sharpness (edge energy)", identical: "identical to the result",
  received_buffers: "buffers received with fragments", complete: "received completely",
};

export function element(kind, text = "") {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes.join(" ");
  return made;
}

// Shows a text whose long words may be broken behind underscores and slashes.
export function showBreakable(node, text) {
  const parts = text.split(/(?<=[_/])(?=[^_/])/).flatMap((part) => [document.createElement("wbr"), part]);
  node.replaceChildren(...parts.slice(1));
  return node;
}

export class Facts {
  constructor(table, scene) {
    this.table = table;
    this.scene = scene;
  }

  show(panels) {
    const head = element("thead");
    const titles = ["", ...this.scene.panels.map((p) => p.name)];
    head.appendChild(element("tr")).append(...titles.map((title) => showBreakable(element("th"), title)));
    const body = element("tbody");
    body.append(this.row("frame", panels.map((p) => (p.frame < 0 ? "–" : p.frame.toLocaleString("en")))));
    const names = new Set(panels.flatMap((p) => Object.keys(p.facts)));
    for (const name of names) {
      if (HIDDEN.includes(name)) continue;
      body.append(this.row(name, panels.map((p) => this.told(name, p.facts[name]))));
    }
    this.table.replaceChildren(head, body);
  }

  row(name, cells) {
    const row = element("tr");
    const title = row.appendChild(element("th", WORDS[name] ?? name.replaceAll("_", " ")));
    title.scope = "row";
    title.title = `${name}: ${this.scene.about[name] ?? ""}`;
    const bad = (cell) => BAD.includes(name) && cell === "yes";
    row.append(...cells.map((cell) => element(bad(cell) ? "td.bad" : "td", cell)));
    return row;
  }

  told(name, value) {
    if (value === undefined || value === null) return "–";
    if (typeof value === "string") return value;
    if (name === "source") return value < 0 ? "several receivers" : this.scene.sources[value];
    if (TIMES.includes(name)) return utc(value).slice(11, 23) || "–";
    if (name === "frame_num") return value < 0 ? "–" : String(value);
    return typeof value === "boolean" ? (value ? "yes" : "no") : value.toLocaleString("en");
  }

  // The time of day in UTC; nothing if it is not known.
  timeOfDay(seconds) {
    return this.scene.start === null ? "" : utc(this.scene.start + seconds).slice(11, 19);
  }

  // When a frame was received: the date and time, if that is known, and the time on clocks here.
  clock(seconds) {
    if (this.scene.start === null) return "by the file's frame rate";
    const text = utc(this.scene.start + seconds);
    const here = new Date((this.scene.start + seconds) * 1000).toLocaleTimeString("en-GB");
    return text && `${text.slice(0, 21)} UTC, ${here} local`;
  }
}

function utc(seconds) {
  const date = new Date(seconds * 1000);
  return !seconds || Number.isNaN(date.getTime()) ? "" : date.toISOString().replace("T", " ");
}

const two = (number) => String(number).padStart(2, "0");

// Seconds from the first frame as h:mm:ss.sss.
export function elapsed(seconds) {
  const all = Math.round(Math.max(0, seconds) * 1000);
  const [hours, minutes] = [Math.floor(all / 3600000), Math.floor(all / 60000) % 60];
  return `${hours}:${two(minutes)}:${two(Math.floor(all / 1000) % 60)}.${String(all % 1000).padStart(3, "0")}`;
}

// The seconds that a text such as 1:02:03.5, 2:03 or 123.5 says; NaN if it says none.
export function parseElapsed(text) {
  if (!/^\s*(\d+:){0,2}\d+(\.\d*)?\s*$/.test(text)) return NaN;
  return text.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}
