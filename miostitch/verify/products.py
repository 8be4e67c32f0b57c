"""Checks which products there are, and what the attributes of the store say of them."""

from pathlib import Path
from typing import Any

from miostitch.errors import InputError
from miostitch.execution.products import STITCHED, STORE
from miostitch.text import printable
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.result import Result
from miostitch.video.source import VideoSource, open_video

ALWAYS = (STORE, ".csv", "_timestamps.csv", "_scores.csv", ".json")
"""Endings of what every stitch writes."""

DROPPED_LIST = "_patch_dropped_frames.txt"
"""Ending of the list of dropped frames: the one product that is empty where there are none."""

OME = {
    "version": "0.5",
    "multiscales": [
        {
            "name": "video",
            "axes": [
                {"name": "frame", "type": "time"},
                {"name": "height", "type": "space"},
                {"name": "width", "type": "space"},
            ],
            "datasets": [
                {
                    "path": "video",
                    "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}],
                }
            ],
        }
    ],
}


def check_files(
    folder: Path, stem: str, findings: Findings, summary: dict[str, Any], attrs: dict[str, Any]
) -> None:
    """Look for every product of a stitch, and for files that look like one."""
    config = attrs.get("config")
    config = config if isinstance(config, dict) else {}
    expected = {*ALWAYS}
    expected |= {".avi"} if config.get("codec") else set()
    expected |= {"_debug.avi"} if config.get("debug_video") else set()
    names = {stem + suffix for suffix in expected}
    listed = check_outputs(folder, stem, findings, summary)
    for name in sorted(names - listed):
        if listed:
            told = f"outputs does not name {name}"
            findings.add(Kind.SUMMARY, f"{stem}.json", told, column="outputs")
        if not (folder / name).exists():
            findings.add(Kind.MISSING_FILE, name, "is missing")
    for suffix in STITCHED:
        if listed and (folder / f"{stem}{suffix}").exists() and f"{stem}{suffix}" not in listed:
            told = "is no product of this run, but named like one"
            findings.add(Kind.UNEXPECTED_FILE, f"{stem}{suffix}", told)


def check_outputs(folder: Path, stem: str, findings: Findings, summary: dict[str, Any]) -> set[str]:
    """Look for every file that a summary names, and return their names."""
    listed = summary.get("outputs")
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        if (folder / f"{stem}.json").exists():
            findings.add(Kind.UNREADABLE, f"{stem}.json", "is no summary of a run")
        return set()
    names = {Path(path).name for path in listed}
    for name in sorted(names):
        path = folder / name
        if not path.exists():
            findings.add(Kind.MISSING_FILE, name, "is missing")
        elif path.is_file() and not path.stat().st_size and not name.endswith(DROPPED_LIST):
            findings.add(Kind.UNREADABLE, name, "is empty")
    return names


def check_store_attrs(result: Result) -> None:
    """Compare the attributes of the store with the summary, and among its groups."""
    attrs, file = result.store.attrs, result.store.path.name

    def tell(name: str, expected: Any) -> None:
        if attrs.get(name) != expected:
            told = f"{name} is {attrs.get(name)!r}, not {expected!r}"
            result.findings.add(Kind.ATTRIBUTES, file, told, column=name)

    # what was edited but never stitched has no configuration
    stitched = "history" not in attrs or "scores" in result.store.groups
    for name in ("recordings", "inputs", "fps", "config", "versions"):
        if name not in attrs and (name != "config" or stitched):
            result.findings.add(Kind.ATTRIBUTES, file, f"{name} is missing", column=name)
    if result.store.zarr_format == 3:
        tell("ome", OME)
    versions = result.summary.get("versions")
    if isinstance(versions, dict):
        tell("versions", {"miostitch": versions.get("miostitch")})
    for name in ("history", "inputs"):
        if name in result.summary:
            tell(name, result.summary[name])
    if result.told:
        tell("recordings", [each.get("name") for each in result.told])
    for group, own in result.store.groups.items():
        expected = {} if group == "buffers" else {"recordings": attrs.get("recordings")}
        if own != expected:
            message = f"attributes of {group} are {own!r}, not {expected!r}"
            result.findings.add(Kind.ATTRIBUTES, file, message, column=group)
    needed = {"scores", "buffers"} | ({"composition"} if result.composed else set())
    for group in sorted(needed - result.store.groups.keys()):
        if "history" not in attrs:
            result.findings.add(Kind.SCHEMA, file, f"group {group} is missing", column=group)


def open_product(path: Path, findings: Findings) -> VideoSource | None:
    """Open a video that a run has written; of one that is cut, what is there."""
    try:
        return open_video(path)
    except InputError as error:
        findings.add(Kind.UNREADABLE, path.name, printable(str(error)))
    try:
        return open_video(path, salvage=True)
    except InputError:
        return None  # what is wrong was said
