"""Finds and opens what a stitch was made of, and tells whether it is still the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import InputError, MissingInputError
from miostitch.origins.provenance import find_videos, listed_objects, video_groups
from miostitch.recording.files import RecordingFiles, Segment, StrPath, segment_paths
from miostitch.recording.recording import Recording, open_recordings
from miostitch.session.session import Session, bring_together
from miostitch.stitching.options import StitchOptions
from miostitch.text import amount, tell_apart
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.store import Store


@dataclass(frozen=True)
class Inputs:
    """What a stitch was made of, as far as it is there."""

    options: StitchOptions
    recordings: Sequence[Recording | None]  # None for one that is not there or not readable
    session: Session | None  # All of them aligned; None unless all are there

    @property
    def composed(self) -> bool:
        """Whether frames were composed buffer by buffer."""
        return self.options.by == "buffer"


def stitch_options(store: Store, summary: dict[str, Any]) -> StitchOptions:
    """The options of the run, by its summary or else by the store."""
    for config in (summary.get("config"), store.attrs.get("config")):
        if not isinstance(config, dict):
            continue
        try:
            return StitchOptions(**{**config, "score": ScoreConfig(**config["score"])})
        except (TypeError, ValueError, KeyError) as error:
            what = f"config: no options of a stitch: {error}"
            store.findings.add(Kind.ATTRIBUTES, store.name, what, column="config")
    return StitchOptions()


def open_inputs(store: Store, summary: dict[str, Any], specs: Sequence[StrPath]) -> Inputs:
    """Open the recordings of a result; what is not there or has changed is noted.

    ``specs``: where they are now, for each in the order of the run; others are looked for.
    """
    options, names, findings = stitch_options(store, summary), store.recordings, store.findings
    files = store.attrs.get("inputs")
    videos = find_videos(str(store.path), summary, files)
    if len(videos) != len(names):
        what = f"inputs do not name the files of {amount(len(names), 'recording')}"
        findings.add(Kind.ATTRIBUTES, store.name, what, column="inputs")
        videos = [[] for _ in names]
    found: list[StrPath] = []
    for number, (name, group) in enumerate(zip(names, videos, strict=True)):
        segments = [Segment(each.path, each.table) for each in group]
        there = segments and all(segment.video for segment in segments)
        spec = RecordingFiles(tuple(segments)) if there else ""
        found.append(specs[number] if number < len(specs) else spec)
        if not found[-1]:
            _skip(findings, group[0].name if group else name, f"{name} is not there")
    opened = _open(store, options, listed_objects(summary, "recordings"), found)
    for number, recording in enumerate(opened):
        if recording and recording.shape[1:] != store.shape[1:]:
            size = f"{store.shape[2]}x{store.shape[1]}"
            findings.add(Kind.INPUT, recording.path, f"frames are not of {size} pixels")
            opened[number] = None
    session = None
    recordings = [each for each in opened if each is not None]
    if recordings and len(recordings) == len(names):
        try:
            session = bring_together(recordings, options.aligning)
        except InputError as error:
            findings.add(Kind.INPUT, store.name, str(error))
            what = "tables and scores, for the recordings cannot be stitched again"
            findings.add(Kind.NOT_CHECKED, store.name, what)
    _compare_files(findings, opened, files)
    return Inputs(options, opened, session)


def _open(
    store: Store, options: StitchOptions, known: Sequence[dict[str, Any]], specs: Sequence[StrPath]
) -> list[Recording | None]:
    """Open recordings together if all are there, else each of them alone."""
    names = store.recordings
    if specs and all(specs):
        try:
            return [*open_recordings(specs, options.reading, names=names, measure=True)]
        except InputError:
            pass  # whose fault it is shows below
    opened: list[Recording | None] = []
    for number, (spec, name) in enumerate(zip(specs, names, strict=True)):
        lag = known[number].get("lag") if number < len(known) else options.lag
        reading = replace(options.reading, lag=lag if isinstance(lag, int) else 0)
        try:
            opened += open_recordings([spec], reading, names=[name]) if spec else [None]
        except MissingInputError as error:
            _skip(store.findings, Path(spec).name, str(error))
            opened.append(None)
        except InputError as error:
            file = Path(segment_paths(spec)[0]).name
            store.findings.add(Kind.INPUT, file, f"cannot be read any more: {error}")
            _skip(store.findings, file, f"{name} cannot be read")
            opened.append(None)
    return opened


def _skip(findings: Findings, file: str, why: str) -> None:
    findings.add(Kind.NOT_CHECKED, file, f"frames, scores and rows: {why}; name it with -i")


def _compare_files(findings: Findings, recordings: Sequence[Recording | None], inputs: Any) -> None:
    """Compare size and digest of every file with those that the store remembers."""
    groups = video_groups(inputs)
    if len(groups) != len(recordings):
        return
    paths = [file.path for each in recordings if each for file in each.inputs]
    names = dict(zip(paths, tell_apart(paths), strict=True))
    first = 0
    for recording, group in zip(recordings, groups, strict=True):
        known = inputs[first : first + 2 * len(group)]  # each video has a table
        first += 2 * len(group)
        for file, was in zip(recording.inputs if recording else (), known, strict=False):
            name = names[file.path]
            if file.size != was.get("size"):
                what = f"has {file.size} bytes, had {was.get('size')}"
                findings.add(Kind.INPUT, name, what)
            elif file.digest != was.get("digest"):
                findings.add(Kind.INPUT, name, "its content is not what it was")
