// What a run of a session would meet, as inspect found it.

import { element, showBreakable } from "./facts.js";

const number = (value) => (value === undefined || value === null ? "–" : value.toLocaleString("en"));

// Rows of the table of recordings: a title, and what is said of a recording.
const ROWS = [
  ["frames", (r) => number(r.frames)],
  ["size", (r) => `${r.width} × ${r.height}`],
  ["frames per second", (r) => r.fps],
  ["duration", (r) => `${number(r.duration_s)} s`],
  ["codec", (r) => r.codec + (r.lossy ? ", lossy" : "")],
  ["lag", (r) => (r.lag === undefined || r.lag === null ? "unknown" : number(r.lag))],
  ["frames lost", (r) => number(r.table?.lost_frames)],
  ["incomplete frames", (r) => number(r.table?.incomplete_frames)],
  ["buffers lost", (r) => number(r.table?.buffers_lost)],
  ["buffers per frame", (r) => number(r.table?.buffers_per_frame)],
];
const TOGETHER = [
  ["frames", "frames"], ["seen_by_all", "in every receiver"], ["lost_frame_num", "in no receiver"],
];

// `names`: those of the receivers.
export function inspection(found, names) {
  const made = document.createElement("div");
  const scroll = made.appendChild(element("div.scroll"));
  const table = scroll.appendChild(document.createElement("table"));
  const head = table.appendChild(document.createElement("thead")).appendChild(document.createElement("tr"));
  head.append(element("th"), ...names.map((each) => showBreakable(element("th"), each)));
  const body = table.appendChild(document.createElement("tbody"));
  for (const [title, say] of ROWS) {
    const row = body.appendChild(document.createElement("tr"));
    const heading = row.appendChild(element("th", title));
    heading.scope = "row";
    row.append(...found.recordings.map((r) => element("td", say(r))));
  }
  const { session } = found;
  if (session && !session.error) {
    const said = TOGETHER.map(([key, words]) => `${number(session[key])} ${words}`);
    made.append(element("p", `Together: ${said.join(", ")}`));
  }
  const list = document.createElement("ul");
  for (const [place, each] of [...found.recordings, session ?? {}].entries()) {
    const where = each.path ? `${names[place]}: ` : "";
    if (each.error) list.append(element("li.error", `error: ${each.error}`));
    for (const kind of ["error", "warning", "note"]) {
      for (const text of each[`${kind}s`] ?? []) {
        const said = text.startsWith(each.path) ? text.slice(each.path.length + 2) : text;
        list.append(showBreakable(element(kind === "error" ? "li.error" : "li"), `${kind}: ${where}${said}`));
      }
    }
  }
  if (!list.children.length) list.append(element("li", "Nothing that a run should be warned of."));
  made.append(list);
  return made;
}
