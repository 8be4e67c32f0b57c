// The start page: what lies in a folder, and the run that was begun here.

import { element, showBreakable } from "./facts.js";
import { ask } from "./frames.js";
import { inspection } from "./inspection.js";

const POLL_MS = 400;
const by = (id) => document.getElementById(id);
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

let sessions = [];
let outcomes = {}; // what became of each session, by its number
let running = null; // the number of the session that is running

async function look() {
  by("looking").hidden = false;
  try {
    const [found, states] = await Promise.all([ask("folder"), ask("runs")]);
    sessions = found.sessions;
    outcomes = states;
    showBreakable(by("folder"), found.folder);
    showSessions();
    showResults(found.results);
    by("left-out").hidden = !found.notes.length;
    by("left-out").querySelector("ul").replaceChildren(...found.notes.map((note) => element("li", note)));
    follow();
  } catch (error) {
    complain(error);
  }
  by("looking").hidden = true;
}

function complain(error) {
  by("problem").hidden = !error;
  by("problem").textContent = error ? error.message : "";
  if (error) by("problem").scrollIntoView({ block: "nearest" });
}

function say(text) {
  by("done").hidden = !text;
  showBreakable(by("done"), text);
}

// A button that asks the server; while it does it cannot be pressed, and what goes wrong is shown.
function button(text, label, act, kind = "button") {
  const made = element(kind, text);
  made.setAttribute("aria-label", `${text} ${label}`);
  made.addEventListener("click", async () => {
    complain(null);
    say("");
    made.disabled = true;
    try {
      await act(made);
    } catch (error) {
      complain(error);
    }
    made.disabled = made.matches(".main") && running !== null;
  });
  return made;
}

async function open(id) {
  location.assign((await ask(`open/${id}`, {})).place);
}

function row(...parts) {
  const made = element("div.row");
  made.append(...parts.filter(Boolean));
  return made;
}

function showSessions() {
  by("sessions").replaceChildren(...sessions.map(sessionCard));
  if (!sessions.length) by("sessions").append(element("p.soft", "No recordings were found here."));
}

function sessionCard(session) {
  const card = element("article");
  card.id = `session-${session.id}`;
  card.append(showBreakable(element("h3"), session.name));
  if (session.problem) {
    card.append(element("p.bad", session.problem));
    return card;
  }
  card.append(element("p.soft.path", facts(session)));
  if (session.questions?.length) {
    const list = element("ul");
    list.append(...session.questions.map((each) => element("li", each)));
    card.append(element("p", "To check:"), list);
  }
  const found = element("div.found");
  found.hidden = true;
  card.append(...(session.described ? [runRow(session, found)] : [describeRow(session, found)]));
  card.append(element("p.outcome"), found, recordings(session));
  showOutcome(session, card);
  return card;
}

function facts(session) {
  const names = session.receivers.map((r) => (r.segments > 1 ? `${r.name} (${r.segments} files)` : r.name));
  const parts = [`${count(names.length, "receiver")}: ${names.join(", ")}`];
  if (session.start) parts.push(`${session.start.slice(0, 16).replace("T", " ")} UTC, ${session.duration_s} s`);
  if (session.by) {
    const denoise = session.denoise ? `, denoise by ${session.denoise}` : "";
    parts.push(`stitch by ${session.by}${denoise}`);
  }
  parts.push(session.described ? session.file : "no session file yet");
  return parts.join(" · ");
}

function inspectButton(session, found) {
  return button("Inspect", session.name, async () => {
    found.replaceChildren(element("p.soft", "Reading the recordings …"));
    found.hidden = false;
    try {
      const inspected = await ask(`inspect/${session.id}`);
      found.replaceChildren(inspection(inspected, session.receivers.map((each) => each.name)));
    } catch (error) {
      found.hidden = true;
      throw error;
    }
  });
}

function runRow(session, found) {
  const replace = element("label", "");
  const box = replace.appendChild(document.createElement("input"));
  box.type = "checkbox";
  replace.append(" replace an existing result");
  const start = button("Run", session.name, async () => {
    outcomes = await ask(`run/${session.id}`, { force: box.checked });
    follow();
  }, "button.main");
  const part = row(
    inspectButton(session, found), button("View recordings", session.name, () => open(session.id)),
    start, replace,
  );
  part.append(element("span.soft.path", `Run writes into ${session.output}`));
  return part;
}

function describeRow(session, found) {
  const write = button("Write session file", session.name, async () => {
    const { saved } = await ask(`describe/${session.id}`, {});
    say(`Saved ${saved}. Check it; then run the session.`);
    await look();
  });
  const part = row(
    inspectButton(session, found), button("View recordings", session.name, () => open(session.id)), write,
  );
  part.append(element("span.soft.path", `Writes ${session.file}`));
  return part;
}

function recordings(session) {
  const part = element("details");
  part.append(element("summary", "Try thresholds of denoise on one recording"));
  part.append(row(...session.receivers.map((each) => thresholds(each.id, each.name, each.name))));
  return part;
}

function thresholds(id, text, label) {
  const link = element("a.button", text);
  link.href = `thresholds.html?of=${id}`;
  link.setAttribute("aria-label", `Thresholds of ${label}`);
  return link;
}

function showOutcome(session, card) {
  const line = card.querySelector(".outcome");
  const outcome = outcomes[session.id];
  line.className = "outcome";
  line.textContent = "";
  if (!outcome) {
    if (session.finished) line.textContent = "There is a result.";
  } else if (outcome.state === "failed") {
    line.classList.add("bad");
    line.textContent = `Failed: ${outcome.error}`;
  } else if (outcome.state === "interrupted") {
    line.textContent = "Stopped. Run resumes it.";
  } else if (outcome.state === "done" || outcome.state === "unchanged") {
    const warnings = outcome.warnings?.length ?? 0;
    const begun = outcome.state === "done" ? "Done" : "Nothing to do: the result is there, of the same files and options";
    const frames = outcome.frames ?? outcome.denoised;
    line.textContent = `${begun}. ${count(frames, "frame")}${warnings ? `, ${count(warnings, "warning")}:` : ", no warnings"}`;
    if (warnings) {
      const list = document.createElement("ul");
      list.append(...outcome.warnings.map((each) => element("li", each)));
      line.append(list);
    }
  }
}

function showResults(results) {
  by("results").replaceChildren(...results.map(resultCard));
  if (!results.length) by("results").append(element("p.soft", "No results yet."));
}

function resultCard(result) {
  const card = element("article");
  card.append(showBreakable(element("h3"), result.name));
  const parts = [count(result.frames, "frame"), `${result.size} pixels`];
  for (const name of ["intact", "doubtful", "damaged"]) {
    if (result[name] !== undefined) parts.push(`${result[name].toLocaleString("en")} ${name}`);
  }
  if (result.warnings) parts.push(count(result.warnings, "warning"));
  card.append(element("p.soft.path", [...parts, result.path].join(" · ")));
  const view = button("View", result.name, () => open(result.id));
  card.append(row(view, result.report && report(result), thresholds(result.id, "Thresholds", result.name)));
  return card;
}

function report(result) {
  const link = element("a.button", "Report");
  link.href = `report/${result.id}`;
  link.target = "_blank";
  link.rel = "noopener";
  link.setAttribute("aria-label", `Report of ${result.name}, in a new tab`);
  return link;
}

// Shows how far the run is, until it ends.
async function follow() {
  const entry = Object.entries(outcomes).find(([, { state }]) => ["running", "stopping"].includes(state));
  const before = running;
  running = entry ? +entry[0] : null;
  for (const each of document.querySelectorAll("#sessions .main")) each.disabled = running !== null;
  by("run").hidden = running === null;
  if (running !== null) {
    showProgress(entry[1]);
    if (before === null) poll();
  } else if (before !== null) {
    await look();
  }
}

async function poll() {
  while (running !== null) {
    await new Promise((done) => setTimeout(done, POLL_MS));
    try {
      outcomes = await ask("runs");
    } catch (error) {
      running = null;
      by("run").hidden = true;
      complain(error);
      return;
    }
    await follow();
  }
}

function showProgress({ state, done, total }) {
  const name = sessions.find((each) => each.id === running)?.name ?? "";
  showBreakable(by("run-title"), `${state === "stopping" ? "Stopping" : "Running"} ${name}`);
  by("stop").disabled = state === "stopping";
  if (total) {
    by("progress").max = total;
    by("progress").value = done;
  } else {
    by("progress").removeAttribute("value");
  }
  const frames = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} frames`;
  by("progress-text").textContent = total ? frames : "starting …";
}

by("again").addEventListener("click", () => {
  complain(null);
  say("");
  look();
});
by("stop").addEventListener("click", async () => {
  try {
    outcomes = await ask("stop", {});
    follow();
  } catch (error) {
    complain(error);
  }
});
look();
