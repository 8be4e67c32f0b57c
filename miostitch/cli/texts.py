"""What commands found and made, as text for people."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from miostitch.cli.console import break_line
from miostitch.errors import merge_texts
from miostitch.execution.products import REPORT
from miostitch.execution.results import (
    AlignTimesSummary,
    BatchSummary,
    DenoiseSummary,
    DoctorSummary,
    EditSummary,
    ExportSummary,
    FailedSession,
    InspectedRecording,
    InspectedSession,
    InspectedTable,
    InspectSummary,
    LagEvidence,
    ScoreSummary,
    SessionMember,
    SessionOutcome,
    Span,
    StitchSummary,
    WorkflowSummary,
)
from miostitch.schema import CERTAIN
from miostitch.text import amount, clock, describe_reasons, from_here

WIDTH = 80
"""Columns that tables and sentences fit in."""

SHORTEST_NAME = 12  # columns that the names of a table have at least
LISTED_RUNS = 8  # runs of the device whose frame_num are listed
LISTED_OUTPUTS = 6  # paths that an export lists
LISTED_EPOCHS = 10

RECORDING_COLUMNS = {
    "recording": "name",
    "frames": "frames",
    "buffers lost": "buffers_lost",
    "noise %": "noise_share",
    "frames used": "chosen",
    "only here": "sole",
    "buffers only here": "sole_buffers",
    "clock offset": "offset_s",
}
"""Heads of the table of recordings, and the fields of their summaries."""


def stitch_text(made: StitchSummary) -> str:
    """What a stitch made of which recording."""
    lines = [*_warnings(made.warnings), _quality(made)]
    if made.certain is not None:
        lines.append(_certainty(made))
    if made.unrecoverable:
        lines.append(f"{amount(made.unrecoverable, 'frame')} incomplete in every receiver")
    if made.by_frame and len(made.recordings) > 1 and made.damaged > made.unrecoverable:
        lines.append(f"Combining buffers (--by buffer) would leave {_left_by_buffer(made)}.")
    if made.composed:
        lines.append(f"{amount(made.composed, 'frame')} combined from several receivers")
    if made.dropped_frame_num:
        lines.append(_left_out(made))
    if made.not_received:
        lines.append(f"{amount(made.not_received, 'frame')} not received by any receiver")
    if shared := made.shared_buffers:
        same = made.identical_shared_buffers
        share = f"{100 * same / shared:.2f} %"
        lines.append(f"{same:,} of {shared:,} buffers that receivers share are identical ({share})")
    shown = {h: f for h, f in RECORDING_COLUMNS.items() if f != "sole_buffers" or not made.by_frame}
    rows = [
        tuple(_cell(getattr(each, field), field) for field in shown.values())
        for each in made.recordings
    ]
    lines += ["", *_table([tuple(shown), *rows])]
    return _with_outputs(lines, made.outputs)


def _left_by_buffer(made: StitchSummary) -> str:
    """What would be wrong with fewer frames if their buffers were combined."""
    said = []
    if made.unrecoverable < made.incomplete:
        incomplete = amount(made.incomplete, "incomplete frame")
        said.append(f"{made.unrecoverable:,} instead of {incomplete}")
    if made.noisy:
        said.append("fewer noisy frames")
    return " and ".join(said)


def _left_out(made: StitchSummary) -> str:
    """How many frames were left out, and why."""
    uncertain = made.dropped_uncertain
    damaged = len(made.dropped_frame_num) - uncertain
    said = [amount(damaged, "damaged frame")] if damaged else []
    said += [f"{amount(uncertain, 'frame')} of low confidence"] if uncertain else []
    return f"{' and '.join(said)} left out"


def _quality(made: StitchSummary) -> str:
    """How many frames are as they should be, and how many are not."""
    share = f"{100 * made.intact / max(made.frames, 1):.1f} %"
    faults = [
        f"{count:,} {what}"
        for count, what in (
            (made.incomplete, "incomplete"),
            (made.noisy, "noisy"),
        )
        if count
    ]
    return ", ".join([f"{amount(made.frames, 'frame')}: {made.intact:,} intact ({share})", *faults])


def _certainty(made: StitchSummary) -> str:
    """How many frames are exact, bit for bit, as far as can be told."""
    share = f"{100 * (made.certain or 0) / max(made.frames, 1):.1f} %"
    are = "is" if made.certain == 1 else "are"
    certainty = f"{100 * CERTAIN:.0f} % certainty"
    said = f"{amount(made.certain or 0, 'frame')} ({share}) {are} exact with {certainty}"
    if not made.doubtful:
        return said
    are = "is" if made.doubtful == 1 else "are"
    return f"{said}; {made.doubtful:,} of the intact ones {are} doubtful"


def _cell(value: Any, key: str) -> str:
    match key:
        case "noise_share":
            return f"{100 * value:.2f}"
        case "offset_s":
            return "?" if value is None else f"{value:+.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def inspect_text(found: InspectSummary) -> str:
    """What each recording is, and what they are to each other."""
    lines = []
    for recording in found.recordings:
        facts = _video_facts(recording) | _table_facts(recording.table)
        lines += [recording.path, *_facts(facts), *_findings(recording)]
    match found.session:
        case FailedSession(error):
            lines += ["together", *_indented("error", [error])]
        case InspectedSession() as session:
            facts = _session_facts(session)
            lines += ["together", *_facts(facts), *_findings(session), ""]
            lines += _session_table(session.recordings)
    return "\n".join(lines)


def doctor_text(found: DoctorSummary) -> str:
    """What a machine gives a run, and what is wrong with it."""
    width = max(len(check.name) for check in found.checks)
    lines = [f"{each.name:{width}}  {each.found or 'a problem'}" for each in found.checks]
    problems = [f"{each.name}: {each.problem}" for each in found.checks if each.problem]
    lines += [f"problem: {text}" for text in problems] or ["no problem was found"]
    return "\n".join(lines)


def _video_facts(video: InspectedRecording) -> dict[str, str]:
    size = f"{amount(video.frames, 'frame')} of {video.width} x {video.height} pixels"
    pace = f"{video.duration_s:g} s at {video.fps} frames/s"
    files = f" in {video.segments} files" if video.segments > 1 else ""
    lossy = ", lossy" if video.lossy else ""
    facts = {"video": f"{size}, {pace}, {video.codec}{lossy}{files}"}
    if video.table is not None:
        facts["lag"] = _lag(video.lag, video.lag_evidence)
    return facts


def _lag(lag: int | None, evidence: LagEvidence) -> str:
    if lag is None:
        return "unknown"
    if evidence.compared_with is not None:
        shared = amount(evidence.shared_buffers or 0, "buffer")
        looked_at = f"{shared} shared with {evidence.compared_with}"
        told = f"{evidence.identical_at_that_lag} of {looked_at} identical"
    else:
        looked_at = amount(evidence.missing_buffers or 0, "missing buffer")
        told = f"{evidence.black_at_that_lag} of {looked_at} black"
    return f"{lag} {'frame' if abs(lag) == 1 else 'frames'}; {told}"


def _table_facts(table: InspectedTable | None) -> dict[str, str]:
    if table is None:
        return {}
    rows = amount(table.rows, "row")
    if table.frame_num is None:
        return {"table": rows, "frame_num": "unknown"}
    frames = amount(table.received_frames or 0, "frame")
    lost = f"{table.buffers_lost} lost; {table.incomplete_frames} of {frames} incomplete"
    repairable = amount(table.repairable_cells or 0, "header cell")
    return {
        "table": f"{rows}, {table.orphan_rows} of no frame, {repairable} to repair",
        "frame_num": f"{_runs(table.frame_num_runs)}, {table.lost_frames} lost, "
        f"{table.repeated_frames} repeated",
        "buffers": f"{table.buffers_per_frame} per frame, {lost}, "
        f"{amount(table.padded_pixels or 0, 'pixel')} padded",
    }


def _session_facts(session: InspectedSession) -> dict[str, str]:
    frames = f"{session.frames}, {session.seen_by_all} in every receiver"
    return {
        "frames": f"{frames}; {session.lost_frame_num} more in no receiver",
        "frame_num": _runs(session.frame_num_runs),
        "repeated": f"{session.repeated_frame_num} frame_num in several frames",
        "restarts": f"{session.boots - 1} of the device",
    }


def _runs(spans: Sequence[Span] | None) -> str:
    """The numbers of each run of the device, of which only a few are listed."""
    listed = [f"{first} to {last}" for first, last in (spans or [])]
    more = len(listed) - LISTED_RUNS
    text = ", then ".join(listed[:LISTED_RUNS])
    return f"{text}, and {amount(more, 'run')} more" if more > 0 else text


def _session_table(recordings: list[SessionMember]) -> list[str]:
    rows = [
        (
            name,
            str(each.frames),
            str(each.only_here),
            _cell(each.offset_s, "offset_s"),
            "?" if each.drift_ppm is None else f"{each.drift_ppm:+.1f}",
        )
        for name, each in zip(_short([r.path for r in recordings]), recordings, strict=True)
    ]
    return _table([("recording", "frames", "only here", "clock offset", "drift ppm"), *rows])


def configs_text(found: dict[str, Any]) -> str:
    """The configurations, and what each is for."""
    return "\n".join(f"{each['id']}\n  {each['description']}" for each in found["configs"])


def edit_text(made: EditSummary) -> str:
    """What an edit made of how many frames."""
    before = sum(origin.frames for origin in made.origins)
    told = f"{amount(made.frames, 'frame')} of {before:,}"
    if made.regular_frames is not None:  # which are more or fewer than those it is made of
        told = f"{amount(made.frames, 'frame')}, made of {before:,}"
    lines = [*_warnings(made.warnings), told]
    return _with_outputs([*lines, *_regular_lines(made)], made.outputs)


def _regular_lines(made: EditSummary | ExportSummary) -> list[str]:
    """How many frames of a regular time base are filled, and its epochs; nothing of another."""
    if made.filled_frames is None or made.epochs is None:
        return []
    lines = [f"{amount(made.filled_frames, 'frame')} filled, {amount(len(made.epochs), 'epoch')}"]
    if len(made.epochs) > 1:
        lines += [f"  frames {first} to {last}" for first, last in made.epochs[:LISTED_EPOCHS]]
    if left := len(made.epochs[LISTED_EPOCHS:]):
        lines.append(f"  and {left} more; the summary lists them")
    return lines


def denoise_text(made: DenoiseSummary) -> str:
    """What denoising left of how many frames."""
    lines = [*_warnings(made.warnings), *_indented("note", made.notices), _denoised(made)]
    lines += _regular_lines(made)
    return _with_outputs(lines, made.outputs)


def _denoised(made: DenoiseSummary) -> str:
    frames = amount(made.frames, "frame")
    if not made.config["noise_patch"]["enable"]:
        return frames  # nobody looked for noise
    removed = amount(len(made.dropped_frames), "frame")
    why = describe_reasons(made.dropped_as or {})
    return f"{frames} of {made.frames_before:,} kept, {removed} removed{why}"


def workflow_text(made: WorkflowSummary) -> str:
    """What each step made of how many frames."""
    lines = _warnings(made.warnings)
    for step in made.steps:
        match step["step"]:
            case "stitch":
                stitched = StitchSummary.from_json(step)
                told = _quality(stitched)
                if stitched.dropped_frame_num:
                    told += f"; {_left_out(stitched)}"
                told += " (by an earlier run)" if stitched.reused else ""
            case "trim":
                told = f"{amount(step['frames'], 'frame')} of {step['frames_before']:,}"
            case _:
                denoised = DenoiseSummary.from_json(step)
                lines += _indented("note", denoised.notices)
                told = _denoised(denoised)
        lines.append(f"{step['step']}: {told}")
    return _with_outputs(lines, made.outputs)


def score_text(found: ScoreSummary) -> str:
    """How many frames of each recording are flagged."""
    recordings = found.recordings
    rows = [
        (name, str(each.frames), str(each.noisy_frames), str(each.black_frames))
        for name, each in zip(_short([r.path for r in recordings]), recordings, strict=True)
    ]
    lines = _table([("recording", "frames", "noisy frames", "black frames"), *rows])
    return _with_outputs(lines, [each.output for each in recordings])


def export_text(made: ExportSummary) -> str:
    """What was exported, and where it is."""
    lines = _warnings(made.warnings)
    lines += [f"{amount(made.frames, 'frame')}, {made.duration_s:.1f} s, as {made.kind}"]
    lines += _regular_lines(made)
    outputs = made.outputs
    if len(outputs) > LISTED_OUTPUTS:
        left = len(outputs) - LISTED_OUTPUTS
        outputs = [*outputs[: LISTED_OUTPUTS - 2], f"... {left} more ...", *outputs[-2:]]
    return _with_outputs(lines, outputs)


def crate_text(made: dict[str, list[str]]) -> str:
    """Where the description of a folder is."""
    return _with_outputs([], made["outputs"])


def align_times_text(made: AlignTimesSummary) -> str:
    """How two recordings belong together, and where that is written."""
    lines = _warnings(made.warnings)
    lines.append(f"{amount(made.frames, 'frame')}, {made.camera_frames:,} of the camera")
    if made.offset_s is not None:
        drift = "" if made.drift_ppm is None else f", drift {made.drift_ppm:+.1f} ppm"
        events = f"{amount(made.events, 'event')}, the worst {made.worst_event_s} s off"
        lines.append(f"camera's clock {made.offset_s:+.3f} s{drift}; {events}")
    nearest = f"{made.median_error_s:.4f} s, at most {made.worst_error_s:.4f} s"
    lines.append(f"nearest camera frame: half of them within {nearest}")
    return _with_outputs(lines, made.outputs)


def _with_outputs(lines: list[str], outputs: list[str]) -> str:
    return "\n".join([*lines, "", *map(from_here, outputs)])


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"  {name:10} {value}" for name, value in facts.items()]


def _warnings(warnings: list[str]) -> list[str]:
    return [f"warning: {from_here(warning)}" for warning in warnings]


def _findings(found: InspectedRecording | InspectedSession) -> list[str]:
    """What is found, most severe first, each with the word by which a stitch would say it."""
    by_word = {"error": found.errors, "warning": found.warnings, "note": found.notes}
    return [line for word, texts in by_word.items() for line in _indented(word, merge_texts(texts))]


def _indented(word: str, texts: Sequence[str]) -> list[str]:
    return [f"  {word}: {from_here(text)}" for text in texts]


def _short(paths: list[str]) -> list[str]:
    """What tells paths apart: all behind the folder that they share."""
    folders = {os.path.dirname(path) for path in paths}
    shared = os.path.commonpath(folders) if len({*map(os.path.isabs, folders)}) == 1 else ""
    return [path.removeprefix(shared).lstrip(os.sep) if shared else path for path in paths]


def report_text(found: dict[str, Any]) -> str:
    """The first sentence of every report and where it is, and which were there already."""
    made = [
        "\n".join([break_line(each["verdict"], WIDTH, ""), from_here(each["output"])])
        for each in found["reports"]
    ]
    there = [
        f"{from_here(path)}: exists, skipped; --force replaces it" for path in found["skipped"]
    ]
    return "\n\n".join([*made, *(["\n".join(there)] if there else [])])


def simulate_text(made: dict[str, Any]) -> str:
    """The videos of a simulated session."""
    return "\n".join([*made["videos"], f"{made['truth']} (what the device sent)"])


def demo_text(made: tuple[StitchSummary, StitchSummary]) -> str:
    """What a demo made, by frame and by buffer, and how to look at it."""
    frame, buffer = made
    [report] = [path for path in frame.outputs if path.endswith(REPORT)]
    program, python = (from_here(os.path.abspath(p)) for p in (sys.argv[0], sys.executable))
    store = from_here(frame.outputs[0])
    return (
        f"by frame:  {_quality(frame)}\n"
        f"by buffer: {_quality(buffer)}\n\n"
        "Open the quality report in a browser:\n"
        f"  {from_here(report)}\n\n"
        "Look at the frames next to those of both receivers:\n"
        f"  {program} view {store}\n\n"
        "Read the result in Python:\n"
        f"  {python} -c \"import xarray; print(xarray.open_zarr('{store}'))\""
    )


def view_text(found: dict[str, Any]) -> str:
    """Where to look."""
    return f"{found['url']}\nOpen it in a browser of this machine; Ctrl-C here ends the viewer."


def verify_text(found: dict[str, Any]) -> str:
    """What was found, result by result."""
    results = found["results"]
    gap = "\n\n" if any(each["findings"] for each in results) else "\n"
    return gap.join(map(_verified, results))


def _verified(result: dict[str, Any]) -> str:
    lines = []
    counted: dict[str, int] = {}
    for finding in result["findings"]:
        kind = finding["kind"]
        if kind not in counted:
            lines.append(f"{kind}: {result['counts'][kind]}")
        counted[kind] = counted.get(kind, 0) + 1
        lines.append(f"  - {_finding_text(finding)}")
    for kind, count in counted.items():
        if result["counts"][kind] > count:
            lines.append(f"{kind}: {result['counts'][kind] - count} more not listed")
    frames = f"{result['stem']}: {amount(result['frames'], 'frame')}"
    count = result["differences"]
    verdict = amount(count, "difference") if count else "no difference"
    if result["not_checked"]:
        verdict += f", {amount(result['not_checked'], 'part')} not checked"
    return "\n".join([*lines, f"{frames}, {verdict}"])


def _finding_text(finding: dict[str, Any]) -> str:
    names = ("chunk", "frame", "row", "column")
    places = [f"{name} {finding[name]}" for name in names if name in finding]
    return ": ".join(
        [finding["file"], *([", ".join(places)] if places else []), finding["message"]]
    )


def init_text(found: dict[str, Any]) -> str:
    """The sessions that were found, what to check of them, and where their files are."""
    parts = []
    for session in found["sessions"]:
        state = {"written": "written", "proposed": "not written", "exists": "exists, not changed"}
        head = f"{session['name']}: {from_here(session['path'])} ({state[session['state']]})"
        about = [f"  {'start':10} {session['start']}"]
        about.append(f"  {'duration':10} {clock(session['duration_s']).partition('.')[0]}")
        rows = [
            (each["name"], str(len(each["segments"])), f"{each['frames']:,}", _segments(each))
            for each in session["receivers"]
        ]
        table = _table([("receiver", "segments", "frames", "first and last"), *rows])
        checks = [f"  - check: {question}" for question in session["questions"]]
        parts.append("\n".join([head, *about, *(f"  {line}" for line in table), *checks]))
    left = [f"left out: {from_here(each)}" for each in found["left_out"]]
    return "\n\n".join([*parts, *(["\n".join(left)] if left else [])])


def _segments(receiver: dict[str, Any]) -> str:
    names = [os.path.basename(each["video"]) for each in receiver["segments"]]
    return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"


def outcome_line(outcome: SessionOutcome) -> str:
    """What became of a session, as soon as it is over."""
    error = f": {from_here(outcome.error)}" if outcome.error else ""
    return f"{outcome.name}: {outcome.state}{error}"


def batch_text(made: BatchSummary) -> str:
    """One line per session, and where the tables are."""
    rows = []
    for each in made.sessions:
        shares = [r.lost for r in each.receivers or [] if r.lost is not None]
        share = None if each.intact is None or not each.frames else each.intact / each.frames
        rows.append(
            (
                each.name,
                each.state,
                "" if each.frames is None else f"{each.frames:,}",
                "" if share is None else f"{100 * share:.1f}",
                "" if each.not_received is None else f"{each.not_received:,}",
                " ".join(f"{100 * lost:.1f}" for lost in shares),
                str(len(each.warnings or [])),
                str(each.exit_code),
            )
        )
    heads = ("session", "state", "frames", "intact %", "not received", "lost %", "warnings", "exit")
    look = f"{amount(made.attention, 'session')} to look at" if made.attention else "all are fine"
    failed = [
        f"{each.name}: {from_here(each.error)}" for each in made.sessions if each.error is not None
    ]
    total = f"{amount(len(made.sessions), 'session')}, {look}"
    return _with_outputs([*failed, *_table([heads, *rows]), "", total], made.outputs)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table of text: a name and numbers, a line each.

    On a terminal a name that is too long is folded; programs that read the text need it complete.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    head, *body = rows
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    table.add_column(head[0], overflow="fold")
    for title in head[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in body:
        table.add_row(*row)
    names, *numbers = ([*map(cell_len, cells)] for cells in zip(*rows, strict=True))
    name_width = SHORTEST_NAME if sys.stdout.isatty() else max(names)
    width = max(WIDTH, name_width + sum(2 + max(each) for each in numbers))
    console = Console(width=width, color_system=None, markup=False, highlight=False)
    lines = console.render_lines(table, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]
