"""What commands found and made, as text for people."""

import os
from typing import Any

from miostitch.cli.console import break_line
from miostitch.text import amount, from_here

WIDTH = 80
"""Columns that tables and sentences fit in."""

SHORTEST_NAME = 12
"""Columns that the names of a table have at least."""

LISTED_OUTPUTS = 6
"""Paths that an export lists."""


def stitch_text(summary: dict[str, Any]) -> str:
    """What a stitch made of which recording."""
    lines = _warnings(summary)
    first, last = summary["frame_num"]
    by_buffer = summary["config"]["by"] == "buffer"
    hopeless = "pixels that nobody received" if by_buffer else "buffers that nobody received whole"
    lines.append(
        f"{amount(summary['frames'], 'frame')} (frame_num {first} to {last}), "
        f"{summary['damaged']} damaged"
    )
    lost = sum(stop - start + 1 for start, stop in summary["lost_frame_num"])
    counts = (
        (summary["unrecoverable"], f"frames have {hopeless}"),
        (summary["composed"], "frames were composed of several recordings"),
        (len(summary["dropped_frame_num"]), "damaged frames were left out"),
        (lost, "frames were seen by nobody"),
    )
    lines += [_counted(count, what) for count, what in counts if count]
    if shared := summary["shared_buffers"]:
        same = summary["identical_shared_buffers"]
        lines.append(
            f"{same} of {shared} shared buffers are bit-identical ({100 * same / shared:.2f} %)"
        )
    if any(r["measured_lag"] not in (None, r["lag"]) for r in summary["recordings"]):
        lines.append(
            "BEWARE: pictures and tables are shifted against each other, see the warnings:\n"
            "frames may stand under wrong numbers; --lag auto puts that right"
        )
    head = {
        "recording": "name",
        "frames": "frames",
        "buffers lost": "buffers_lost",
        "noise %": "noise_share",
        "chosen": "chosen",
        "sole": "sole",
        "sole buffers": "sole_buffers",
        "clock s": "offset_s",
    }
    shown = {title: key for title, key in head.items() if key in summary["recordings"][0]}
    rows = [tuple(_cell(r[key], key) for key in shown.values()) for r in summary["recordings"]]
    lines += ["", *_table([tuple(shown), *rows]), ""]
    return "\n".join([*lines, *_paths(summary["outputs"])])


def _counted(count: int, what: str) -> str:
    if count == 1:
        what = what.replace("frames have", "frame has").replace("frames were", "frame was")
    return f"{count} {what}"


def _cell(value: Any, key: str) -> str:
    match key:
        case "noise_share":
            return f"{100 * value:.2f}"
        case "offset_s":
            return "?" if value is None else f"{value:+.3f}"
    return str(value)


def inspect_text(found: dict[str, Any]) -> str:
    """What each recording is, and what they are to each other."""
    lines = []
    for recording in found["recordings"]:
        facts = _video_facts(recording) | _table_facts(recording["table"] or {})
        lines += [recording["path"], *_facts(facts), *_notes(recording["notices"])]
    session = found["session"] or {}
    if "error" in session:
        lines += ["together", *_notes([session["error"]])]
    elif session:
        lines += ["together", *_facts(_session_facts(session)), *_notes(session["notices"]), ""]
        lines += _session_table(session["recordings"])
    return "\n".join(lines)


def _video_facts(recording: dict[str, Any]) -> dict[str, str]:
    frames = amount(recording["frames"], "frame")
    size = f"{frames} of {recording['width']} x {recording['height']} pixels"
    pace = f"{recording['duration_s']:g} s at {recording['fps']} frames/s"
    files = f" in {recording['segments']} files" if recording["segments"] > 1 else ""
    lossy = ", lossy" if recording["lossy"] else ""
    facts = {"video": f"{size}, {pace}, {recording['codec']}{lossy}{files}"}
    if recording["table"] is not None:
        facts["lag"] = _lag(recording["lag"], recording["lag_evidence"])
    return facts


def _lag(lag: int | None, evidence: dict[str, Any]) -> str:
    if lag is None:
        return "unknown"
    if "compared_with" in evidence:
        shared = amount(evidence["shared_buffers"], "buffer")
        looked_at = f"{shared} shared with {evidence['compared_with']}"
        told = f"{evidence['identical_at_that_lag']} of {looked_at} identical"
    else:
        looked_at = amount(evidence["missing_buffers"], "missing buffer")
        told = f"{evidence['black_at_that_lag']} of {looked_at} black"
    return f"{lag} {'frame' if abs(lag) == 1 else 'frames'}; {told}"


def _table_facts(table: dict[str, Any]) -> dict[str, str]:
    if not table:
        return {}
    if table["frame_num"] is None:
        return {"table": amount(table["rows"], "row"), "frame_num": "unknown"}
    first, last = table["frame_num"]
    told = f"{amount(table['rows'], 'row')}, {table['orphan_rows']} of no frame"
    lost = f"{table['buffers_lost']} lost of {amount(table['incomplete_frames'], 'frame')}"
    return {
        "table": f"{told}, {amount(table['repairable_cells'], 'header cell')} to repair",
        "frame_num": f"{first} to {last}, {table['lost_frames']} lost, "
        f"{table['repeated_frames']} repeated",
        "buffers": f"{table['buffers_per_frame']} per frame, {lost}, "
        f"{amount(table['padded_pixels'], 'pixel')} padded",
    }


def _session_facts(session: dict[str, Any]) -> dict[str, str]:
    frames = f"{session['frames']}, {session['seen_by_all']} of them seen by all"
    return {
        "frames": f"{frames}; {session['lost_frame_num']} more seen by nobody",
        "repeated": f"{session['repeated_frame_num']} frame_num in several frames",
        "boots": f"{session['boots']} of the device",
    }


def _session_table(recordings: list[dict[str, Any]]) -> list[str]:
    names = _short([each["path"] for each in recordings])
    rows = [
        (
            name,
            str(each["frames"]),
            str(each["only_here"]),
            _cell(each["offset_s"], "offset_s"),
            "?" if each["drift_ppm"] is None else f"{each['drift_ppm']:+.1f}",
        )
        for name, each in zip(names, recordings, strict=True)
    ]
    return _table([("recording", "frames", "only here", "clock s", "drift ppm"), *rows])


def configs_text(found: dict[str, Any]) -> str:
    """The configurations, and what each is for."""
    return "\n".join(f"{each['id']}\n  {each['description']}" for each in found["configs"])


def edit_text(summary: dict[str, Any]) -> str:
    """What an edit made of how many frames."""
    before = sum(origin["frames"] for origin in summary["origins"])
    lines = _warnings(summary)
    lines += [f"{amount(summary['frames'], 'frame')}, of {before}", ""]
    return "\n".join([*lines, *_paths(summary["outputs"])])


def denoise_text(summary: dict[str, Any]) -> str:
    """What denoising left of how many frames."""
    lines = _warnings(summary)
    lines += [*_notes(summary["notices"]), _denoised(summary), ""]
    return "\n".join([*lines, *_paths(summary["outputs"])])


def _denoised(summary: dict[str, Any]) -> str:
    frames = amount(summary["frames"], "frame")
    if not summary["config"]["noise_patch"]["enable"]:
        return frames  # nobody looked for noise
    dropped = len(summary["dropped_frames"])
    return f"{frames} kept, of {summary['frames_before']}: {dropped} noisy"


def workflow_text(summary: dict[str, Any]) -> str:
    """What each step made of how many frames."""
    lines = _warnings(summary)
    for step in summary["steps"]:
        match step["step"]:
            case "stitch":
                told = f"{amount(step['frames'], 'frame')} of "
                told += f"{amount(len(step['recordings']), 'recording')}, {step['damaged']} damaged"
                told += " (by an earlier run)" if step.get("reused") else ""
            case "trim":
                told = f"{amount(step['frames'], 'frame')}, of {step['frames_before']}"
            case _:
                lines += _notes(step["notices"])
                told = _denoised(step)
        lines.append(f"{step['step']}: {told}")
    return "\n".join([*lines, "", *_paths(summary["outputs"])])


def score_text(found: dict[str, Any]) -> str:
    """How many frames of each recording are flagged."""
    recordings = found["recordings"]
    rows = [
        (name, *(str(each[key]) for key in ("frames", "noisy_frames", "black_frames")))
        for name, each in zip(_short([r["path"] for r in recordings]), recordings, strict=True)
    ]
    lines = _table([("recording", "frames", "noisy frames", "black frames"), *rows])
    return "\n".join([*lines, "", *_paths([each["output"] for each in recordings])])


def export_text(made: dict[str, Any]) -> str:
    """What was exported, and where it is."""
    lines = _warnings(made)
    lines += [
        f"{amount(made['frames'], 'frame')}, {made['duration_s']:.1f} s, as {made['kind']}",
        "",
    ]
    outputs = _paths(made["outputs"])
    if len(outputs) > LISTED_OUTPUTS:
        left = len(outputs) - LISTED_OUTPUTS
        outputs = [*outputs[: LISTED_OUTPUTS - 2], f"... {left} more ...", *outputs[-2:]]
    return "\n".join([*lines, *outputs])


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"  {name:10} {value}" for name, value in facts.items()]


def _warnings(summary: dict[str, Any]) -> list[str]:
    return [f"warning: {from_here(warning)}" for warning in summary["warnings"]]


def _notes(notices: list[str]) -> list[str]:
    return [f"  note: {from_here(notice)}" for notice in notices]


def _short(paths: list[str]) -> list[str]:
    """What tells paths apart: all behind the folder that they share."""
    folders = {os.path.dirname(path) for path in paths}
    shared = os.path.commonpath(folders) if len({*map(os.path.isabs, folders)}) == 1 else ""
    return [path.removeprefix(shared).lstrip(os.sep) if shared else path for path in paths]


def _paths(paths: list[str]) -> list[str]:
    return [from_here(path) for path in paths]


def report_text(found: dict[str, Any]) -> str:
    """The verdict of every report and where it is."""
    return "\n\n".join(
        "\n".join([break_line(each["verdict"], WIDTH, ""), *_paths([each["output"]])])
        for each in found["reports"]
    )


def simulate_text(made: dict[str, Any]) -> str:
    """The videos of a simulated session."""
    return "\n".join([*made["videos"], f"{made['truth']} (what the device sent)"])


def demo_text(summary: dict[str, Any]) -> str:
    """What a demo made, and how to look at it."""
    store = summary["outputs"][0]
    debug = next(path for path in summary["outputs"] if path.endswith("_debug.avi"))
    return (
        f"{stitch_text(summary)}\n\nLook at it:\n"
        f"  miostitch view {store}\n"
        f"  play {debug}\n"
        "    (receiver 1, receiver 2, where they differ)\n"
        f"  python -c \"import xarray; print(xarray.open_zarr('{store}'))\""
    )


def view_text(found: dict[str, Any]) -> str:
    """Where to look."""
    return f"{found['url']}\nOpen it in a browser of this machine; Ctrl-C here ends the viewer."


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table of text: a name, folded where it is too long, and numbers."""
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
    others = sum(2 + max(map(cell_len, cells)) for cells in [*zip(*rows, strict=True)][1:])
    console = Console(
        width=max(WIDTH, SHORTEST_NAME + others), color_system=None, markup=False, highlight=False
    )
    lines = console.render_lines(table, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]
