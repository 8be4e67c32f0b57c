"""What commands found and made, as text for people."""

from typing import Any

LISTED_OUTPUTS = 6
"""Paths that an export lists."""


def stitch_text(summary: dict[str, Any]) -> str:
    """What a stitch made of which recording."""
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    first, last = summary["frame_num"]
    by_buffer = summary["config"]["by"] == "buffer"
    hopeless = "pixels that nobody received" if by_buffer else "buffers that nobody received whole"
    lines.append(
        f"{summary['frames']} frames (frame_num {first} to {last}): {summary['damaged']} damaged, "
        f"{summary['unrecoverable']} with {hopeless}"
    )
    lost = sum(stop - start + 1 for start, stop in summary["lost_frame_num"])
    counts = (
        (summary["composed"], "frames were composed of several recordings"),
        (len(summary["dropped_frame_num"]), "damaged frames were left out"),
        (lost, "frames were seen by nobody"),
    )
    lines += [f"{count} {what}" for count, what in counts if count]
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
    return "\n".join([*lines, *summary["outputs"]])


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
        facts = recording | (recording["table"] or {})
        lines += [recording["path"], *_facts(facts), *_notes(recording["notices"])]
    session = found["session"] or {}
    if "error" in session:
        lines += ["together", *_notes([session["error"]])]
    elif session:
        rows = [[_shown(value) for value in each.values()] for each in session["recordings"]]
        head = [name.replace("_", " ") for name in session["recordings"][0]]
        lines += ["together", *_facts(session), *_notes(session["notices"]), ""]
        lines += _table([tuple(row) for row in (head, *rows)])
    return "\n".join(lines)


def configs_text(found: dict[str, Any]) -> str:
    """The configurations, one per line."""
    wide = max(len(each["id"]) for each in found["configs"])
    return "\n".join(f"{each['id']:{wide}}  {each['description']}" for each in found["configs"])


def edit_text(summary: dict[str, Any]) -> str:
    """What an edit made of how many frames."""
    before = sum(origin["frames"] for origin in summary["origins"])
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    lines += [f"{summary['frames']} frames, of {before}", ""]
    return "\n".join([*lines, *summary["outputs"]])


def denoise_text(summary: dict[str, Any]) -> str:
    """What denoising left of how many frames."""
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    lines += [*_notes(summary["notices"]), _denoised(summary), ""]
    return "\n".join([*lines, *summary["outputs"]])


def _denoised(summary: dict[str, Any]) -> str:
    dropped = len(summary["dropped_frames"])
    return f"{summary['frames']} frames kept, of {summary['frames_before']}: {dropped} noisy"


def workflow_text(summary: dict[str, Any]) -> str:
    """What each step made of how many frames."""
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    for step in summary["steps"]:
        match step["step"]:
            case "stitch":
                told = f"{step['frames']} frames of {len(step['recordings'])} recordings"
                told += f", {step['damaged']} damaged"
                told += " (by an earlier run)" if step.get("reused") else ""
            case "trim":
                told = f"{step['frames']} frames, of {step['frames_before']}"
            case _:
                lines += _notes(step["notices"])
                told = _denoised(step)
        lines.append(f"{step['step']}: {told}")
    return "\n".join([*lines, "", *summary["outputs"]])


def score_text(found: dict[str, Any]) -> str:
    """How many frames of each recording are flagged."""
    rows = [
        tuple(str(each[key]) for key in ("path", "frames", "noisy_frames", "black_frames"))
        for each in found["recordings"]
    ]
    lines = _table([("recording", "frames", "noisy", "black"), *rows])
    return "\n".join([*lines, "", *(each["output"] for each in found["recordings"])])


def export_text(made: dict[str, Any]) -> str:
    """What was exported, and where it is."""
    lines = [f"warning: {warning}" for warning in made["warnings"]]
    lines += [f"{made['frames']} frames, {made['duration_s']:.1f} s, as {made['kind']}", ""]
    outputs = made["outputs"]
    if len(outputs) > LISTED_OUTPUTS:
        left = len(outputs) - LISTED_OUTPUTS
        outputs = [*outputs[: LISTED_OUTPUTS - 2], f"... {left} more ...", *outputs[-2:]]
    return "\n".join([*lines, *outputs])


def _facts(facts: dict[str, Any]) -> list[str]:
    apart = ("path", "table", "notices", "recordings")
    return [f"  {k.replace('_', ' ')}: {_shown(v)}" for k, v in facts.items() if k not in apart]


def _notes(notices: list[str]) -> list[str]:
    return [f"  note: {notice}" for notice in notices]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {each}" for name, each in value.items())
    return "unknown" if value is None else str(value)


def report_text(found: dict[str, Any]) -> str:
    """The verdict of every report and where it is."""
    return "\n\n".join(f"{each['verdict']}\n{each['output']}" for each in found["reports"])


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
        f"  play {debug} (receiver 1, receiver 2, where they differ)\n"
        f"  python -c \"import xarray; print(xarray.open_zarr('{store}'))\""
    )


def view_text(found: dict[str, Any]) -> str:
    """Where to look."""
    return f"{found['url']}\nOpen it in a browser of this machine; Ctrl-C here ends the viewer."


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        row[0].ljust(first)
        + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], others, strict=True))
        for row in rows
    ]
