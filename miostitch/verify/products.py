"""The products of a result: which there are, and whether they are what the run has written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from miostitch.arrays import I64, U8
from miostitch.crates.description import describe_results
from miostitch.crates.run import CRATE, ROOT, holds, is_ours, read_crate
from miostitch.errors import InputError, UsageError
from miostitch.execution.digests import file_digest, store_digest, video_digest
from miostitch.execution.products import DENOISED_STEM, STITCHED, STORE, SUMMARY
from miostitch.execution.results import is_as_written
from miostitch.origins.provenance import listed_objects
from miostitch.schema import chunk_frames
from miostitch.text import printable
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.store import Store
from miostitch.video.source import VideoSource, open_video
from miostitch.video.writer import frame_checksums

ALWAYS = (STORE, ".csv", "_timestamps.csv", "_scores.csv", ".json")
"""Endings of what every stitch writes."""

LONG = 400  # Characters of a finding
DROPPED_LIST = "_patch_dropped_frames.txt"
"""Ending of the list of dropped frames: the one product that is empty where there are none."""


class Video:
    """A video next to a store, and the checksums of those of its frames that were read."""

    def __init__(self, source: VideoSource, name: str, findings: Findings) -> None:
        self.source, self.name, self.findings = source, name, findings
        self.shape = source.frame_count, source.height, source.width
        self.checksums = np.zeros(source.frame_count, "<u4")
        self.read = np.zeros(source.frame_count, np.bool_)  # Which frames were read, (frame,)

    def frames(self, at: I64) -> U8 | None:
        """Some frames; None if they cannot be read, which is noted."""
        try:
            found: U8 = self.source.read(at)
        except InputError as error:
            self.findings.add(Kind.UNREADABLE, self.name, str(error), frame=int(at[0]))
            return None
        self.checksums[at] = frame_checksums(found)
        self.read[at] = True
        return found

    def compare(self, expected: U8, at: I64, witness: str) -> None:
        """Compare frames at some positions of the video with what they should be."""
        there = at < self.shape[0]
        if self.shape[1:] != expected.shape[1:] or not there.any():
            return  # which is noted already
        found = self.frames(at[there])
        if found is not None:
            kept = expected if there.all() else expected[there]
            self.findings.pixels(self.name, found, kept, at[there], witness)


@dataclass
class Result:
    """A result that is verified."""

    folder: Path
    stem: str
    findings: Findings
    summary: dict[str, Any]  # What ``S.json`` says; empty if it cannot be read
    store: Store | None
    videos: dict[str, Video] = field(default_factory=dict)  # Those that were opened, by ending

    def path(self, suffix: str) -> Path:
        """A product, by the ending of its name."""
        return self.folder / f"{self.stem}{suffix}"

    @property
    def base(self) -> str:
        """What the names of all products begin with."""
        return (
            self.stem.removesuffix(DENOISED_STEM) if "dropped_frames" in self.summary else self.stem
        )

    def open_video(self, suffix: str) -> Video | None:
        """Open a video, by the ending that follows :attr:`base`; of a cut one, what is there."""
        path = self.folder / f"{self.base}{suffix}"
        if suffix in self.videos or not path.is_file():
            return self.videos.get(suffix)
        for salvage in (False, True):
            try:
                source = open_video(path, salvage=salvage)
            except InputError as error:
                if not salvage:
                    self.findings.add(Kind.UNREADABLE, path.name, str(error))
                continue
            return self.videos.setdefault(suffix, Video(source, path.name, self.findings))
        return None


def check_outputs(result: Result) -> set[str]:
    """Look for every file that the summary names, and return their names."""
    listed, findings = _listed_outputs(result), result.findings
    if listed is None:
        if result.path(".json").exists():
            findings.add(Kind.UNREADABLE, f"{result.stem}.json", "is no summary of a run")
        return set()
    if not listed:
        _wrong(result, "outputs", "names no file")
    names = _named_now(result, listed)
    for name in sorted(names):
        path = result.folder / name
        if not path.exists():
            findings.add(Kind.MISSING_FILE, name, "is missing")
        elif path.is_file() and not path.stat().st_size and not name.endswith(DROPPED_LIST):
            findings.add(Kind.UNREADABLE, name, "is empty")
    return names


def _listed_outputs(result: Result) -> list[str] | None:
    """The outputs that a summary names, or None where it is none."""
    listed: Any = result.summary.get("outputs")
    if isinstance(listed, list) and all(isinstance(path, str) for path in listed):
        return listed
    return None


def _named_now(result: Result, outputs: Sequence[str]) -> set[str]:
    """The names of outputs as they are now: all may have been renamed together."""
    names = [_file_name(path) for path in outputs]
    last = next((name for name in reversed(names) if name.endswith(SUMMARY)), "")
    stem = last.removesuffix(SUMMARY)
    old = stem.removesuffix(DENOISED_STEM) if result.base != result.stem else stem
    if not last or not all(name.startswith(old) for name in names):
        return {*names}
    return {result.base + name.removeprefix(old) for name in names}


def _file_name(path: str) -> str:
    """The name of a file, wherever its path was written."""
    is_of_windows = PureWindowsPath(path).drive and not path.startswith("/")
    return PureWindowsPath(path).name if is_of_windows else Path(path).name


def check_stitched_files(result: Result) -> None:
    """Look for every product of a stitch, and for files that are named like one."""
    attrs = result.store.attrs if result.store else {}
    config = result.summary.get("config", attrs.get("config"))
    config = config if isinstance(config, dict) else {}
    suffixes = {*ALWAYS} | ({".avi"} if config.get("codec") else set())
    suffixes |= {"_debug.avi"} if config.get("debug_video") else set()
    listed = check_outputs(result)
    unnamed = sorted({result.stem + suffix for suffix in suffixes} - listed)
    if listed and unnamed:
        _wrong(result, "outputs", f"does not name {', '.join(unnamed)}")
    for name in unnamed:
        if not (result.folder / name).exists():
            result.findings.add(Kind.MISSING_FILE, name, "is missing")
    for name in (f"{result.stem}{suffix}" for suffix in STITCHED):
        if listed and (result.folder / name).exists() and name not in listed:
            what = "is no product of this run, but named like one"
            result.findings.add(Kind.UNEXPECTED_FILE, name, what)


def check_attrs(result: Result, store: Store) -> None:
    """Compare the attributes of the store with the summary."""
    attrs, summary = store.attrs, result.summary
    expected: dict[str, Any] = {
        name: summary[name] for name in ("history", "inputs") if name in summary
    }
    versions, recordings = summary.get("versions"), listed_objects(summary, "recordings")
    if isinstance(versions, dict):
        expected["versions"] = {"miostitch": versions.get("miostitch")}
    if recordings:
        expected["recordings"] = [each.get("name") for each in recordings]
    # what was edited but never stitched has no configuration
    # nor has what was joined of results of several
    joined = any(step.get("step") == "concat" for step in listed_objects(attrs, "history"))
    stitched = ("history" not in attrs or "scores" in store.groups) and not joined
    for name in ("recordings", "inputs", "fps", "config", "versions"):
        if name not in attrs and (name != "config" or stitched):
            result.findings.add(Kind.ATTRIBUTES, store.name, f"{name} is missing", column=name)
    config = None if "origins" in summary else summary.get("config")
    if config is not None and config != attrs.get("config"):
        _wrong(result, "config", "is not that of the store")
    for name, value in expected.items():
        if attrs.get(name) != value:
            what = f"{name} is {attrs.get(name)!r}, not {value!r}"
            result.findings.add(Kind.ATTRIBUTES, store.name, what, column=name)


def check_digests(result: Result) -> None:
    """Compare every product, of which nothing else was found, with the digest made of it."""
    listed = _listed_outputs(result)
    if not listed:
        return  # there is no summary, which is noted
    digests, last = result.summary.get("digests"), f"{result.stem}.json"
    digests = digests if isinstance(digests, dict) else {}
    outputs = _named_now(result, listed) - {last}
    if outputs != {f"{result.base}{suffix}" for suffix in digests}:
        _wrong(result, "digests", "does not have one for each of the outputs")
    for suffix, digest in digests.items():
        path = result.folder / f"{result.base}{suffix}"
        known = {file.partition("/")[0] for file in result.findings.files}
        if not path.exists() or path.name in known:
            continue
        found = _digest(result, suffix, path)
        if found != digest and path.name not in result.findings.files:
            what = "is not what the run has written: its digest is another one"
            result.findings.add(Kind.CHANGED, path.name, what)
    if last not in result.findings.files:
        text = result.path(SUMMARY).read_bytes()
        if not is_as_written(text, result.summary):
            what = "is not what the run has written, by its own digest"
            result.findings.add(Kind.CHANGED, last, what)


def check_crate(result: Result) -> None:
    """Compare what the RO-Crate of the folder says of the result, if there is one of ours."""
    try:
        crate = read_crate(result.folder)
    except UsageError as error:
        result.findings.add(Kind.UNREADABLE, CRATE, str(error))
        return
    if not is_ours(crate):
        return
    described = describe_results(result.folder).get(result.stem)
    if described is None:
        return  # a summary that is missing is noted already
    wrong = [
        name
        for name, entity in described.entities.items()
        if not entity.items() <= crate.get(name, {}).items()
    ]
    root = crate.get(ROOT, {})
    wrong += [name for name, links in described.root.items() if not holds(root.get(name), links)]
    if wrong:
        what = f"does not describe {result.stem} as its summary does, of {wrong[0]}"
        remedy = f"{what}; run miostitch crate {printable(str(result.folder))}"
        result.findings.add(Kind.CHANGED, CRATE, remedy)


def _digest(result: Result, suffix: str, path: Path) -> dict[str, Any] | None:
    if path.suffix != ".avi":
        return store_digest(path) if path.is_dir() else file_digest(path)
    video = result.open_video(suffix)
    if video is None:
        return None
    left, step = np.flatnonzero(~video.read), chunk_frames(*video.shape[1:])
    for start in range(0, len(left), step):
        if video.frames(left[start : start + step]) is None:
            return None
    return video_digest(path, video.checksums)


def compare_summary(
    result: Result, found: dict[str, Any], expected: dict[str, Any], prefix: str = ""
) -> None:
    """Compare an object of the summary with what it should say; ``prefix``: where it is."""
    for name, value in expected.items():
        if found.get(name) != value:
            what = f"is {found.get(name)!r}, not {value!r}"
            _wrong(result, prefix + name, what if len(what) < LONG else "is another one")


def _wrong(result: Result, name: str, what: str) -> None:
    result.findings.add(Kind.SUMMARY, f"{result.stem}.json", f"{name} {what}", column=name)
