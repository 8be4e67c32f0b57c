// The table of what is known of a frame: a column for every panel, a row for every fact.

const TIMES = ["timestamp_first", "timestamp_last"];
const BAD = ["damaged", "unrecoverable"];

export function element(kind, text = "") {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes.join(" ");
  return made;
}

export class Facts {
  constructor(table, scene) {
    this.table = table;
    this.scene = scene;
    this.start = null; // when the first frame came
  }

  show(panels) {
    const head = element("thead");
    const titles = ["", ...this.scene.panels.map((p) => p.name)];
    head.appendChild(element("tr")).append(...titles.map((title) => element("th", title)));
    const body = element("tbody");
    body.append(this.row("frame", panels.map((p) => (p.frame < 0 ? "–" : String(p.frame)))));
    for (const name of new Set(panels.flatMap((p) => Object.keys(p.facts)))) {
      body.append(this.row(name, panels.map((p) => this.told(name, p.facts[name]))));
    }
    this.table.replaceChildren(head, body);
  }

  row(name, cells) {
    const row = element("tr");
    const title = row.appendChild(element("th", name.replaceAll("_", " ")));
    title.scope = "row";
    title.title = this.scene.about[name] ?? "";
    const bad = (cell) => BAD.includes(name) && cell === "yes";
    row.append(...cells.map((cell) => element(bad(cell) ? "td.bad" : "td", cell)));
    return row;
  }

  told(name, value) {
    if (value === undefined || value === null) return "";
    if (name === "source") return value < 0 ? "composed" : this.scene.sources[value];
    if (TIMES.includes(name)) return `${(value - (this.start ?? value)).toFixed(3)} s`;
    return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
  }

  // The receiver's clock in words.
  clock(seconds) {
    const date = new Date(seconds * 1000);
    if (!seconds || Number.isNaN(date.getTime())) return "";
    return `${date.toISOString().slice(0, 22).replace("T", " ")} UTC`;
  }
}
