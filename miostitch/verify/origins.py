"""Finds the recordings that a result was made of, and tells whether they are still the same."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.inputs import InputRecording, InputTable, repairs_of, video_digest
from miostitch.verify.result import Result
from miostitch.video.source import open_video


def find_recordings(
    result: Result, specs: Sequence[str], pool: ThreadPoolExecutor
) -> list[InputRecording | None]:
    """Open the recordings of a result.

    Returns: None for one that is not there or cannot be read, which is noted.
    """
    told, groups = result.told, input_groups(result.store.attrs.get("inputs"))
    if len(groups) != len(result.names):
        message = f"inputs do not name the files of {amount(len(result.names), 'recording')}"
        result.findings.add(Kind.ATTRIBUTES, result.store.path.name, message, column="inputs")
        groups = [[] for _ in result.names]
    log = _repair_log(result)
    waiting: list[Future[InputRecording | None] | None] = []
    for number, name in enumerate(result.names):
        facts = told[number] if number < len(told) else {}
        spec = specs[number] if number < len(specs) else facts.get("path")
        lag = facts.get("lag", result.config.get("lag"))
        paths = _paths(result, spec, groups[number], given=number < len(specs))
        if not paths or not isinstance(lag, int):
            why = (
                "is not there; name it by -i"
                if not paths
                else "has no known lag, for the summary is not readable"
            )
            message = f"frames, scores and rows of {name}: the recording {why}"
            result.findings.add(Kind.NOT_CHECKED, str(spec or name), message)
            waiting.append(None)
            continue
        waiting.append(pool.submit(_opened, result, number, paths, lag, groups[number], log))
    return [None if each is None else each.result() for each in waiting]


def input_groups(inputs: Any) -> list[list[dict[str, Any]]]:
    """Files of each recording: its videos, then as many tables."""
    groups: list[list[dict[str, Any]]] = [[]]
    for each in inputs if isinstance(inputs, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            return []
        is_table = each["name"].lower().endswith(".csv")
        if not is_table and groups[-1] and groups[-1][-1]["name"].lower().endswith(".csv"):
            groups.append([])
        groups[-1].append(each)
    return [group for group in groups if group]


def _paths(result: Result, spec: Any, files: list[dict[str, Any]], *, given: bool) -> list[Path]:
    """The videos of a recording, if all are there."""
    if not isinstance(spec, str) or not spec:
        return []
    if given:
        found = [spec] if os.path.exists(spec) else spec.split(",")
        paths = [Path(path) for path in found]
    else:
        names = [each["name"] for each in files if not each["name"].lower().endswith(".csv")]
        paths = [Path(spec).parent / name for name in names] or [Path(spec)]
        if not all(path.is_file() for path in paths):  # moved together with the results?
            paths = [result.folder / path.name for path in paths]
    there = all(path.is_file() and path.with_suffix(".csv").is_file() for path in paths)
    return paths if there else []


def _repair_log(result: Result) -> dict[str, NDArray[Any]] | None:
    names = ("recording", "segment", "row", "column", "old", "new")
    if "repairs" not in result.store.groups:
        return None
    reads = {name: result.store.read(f"repairs/{name}") for name in names}
    values = {name: read.values for name, read in reads.items() if read is not None}
    if len(values) < len(names) or len({len(each) for each in values.values()}) > 1:
        return None
    return values


def _opened(
    result: Result,
    number: int,
    paths: list[Path],
    lag: int,
    files: list[dict[str, Any]],
    log: dict[str, NDArray[Any]] | None,
) -> InputRecording | None:
    """Open a recording, and compare its files with what the store says of them."""
    findings, salvage = result.findings, bool(result.config.get("salvage"))
    try:
        videos = [open_video(path, salvage=salvage) for path in paths]
        tables = [
            InputTable(
                str(path.with_suffix(".csv")),
                repairs_of(log, number, segment),
                findings,
                salvage=salvage,
            )
            for segment, path in enumerate(paths)
        ]
    except (InputError, OSError) as error:
        findings.add(Kind.INPUT, paths[0].name, f"cannot be read any more: {error}")
        message = f"frames, scores and rows of {result.names[number]}"
        findings.add(Kind.NOT_CHECKED, paths[0].name, message)
        return None
    _, height, width = result.store.shape
    if any((video.height, video.width) != (height, width) for video in videos):
        findings.add(Kind.INPUT, paths[0].name, f"frames are not of {width}x{height} pixels")
        return None
    if number == 0 and str(videos[0].fps) != result.store.attrs.get("fps"):
        told = f"fps is {result.store.attrs.get('fps')}, {paths[0].name} has {videos[0].fps}"
        findings.add(Kind.ATTRIBUTES, result.store.path.name, told, column="fps")
    digests = [video_digest(video) for video in videos] + [table.digest for table in tables]
    everything = [*paths, *(path.with_suffix(".csv") for path in paths)]
    for path, digest, known in zip(everything, digests, files, strict=False):
        size = path.stat().st_size
        if size != known.get("size"):
            findings.add(Kind.INPUT, path.name, f"has {size} bytes, had {known.get('size')}")
        elif digest != known.get("digest"):
            findings.add(Kind.INPUT, path.name, "its content is not what it was")
    return InputRecording(result.names[number], videos, tables, lag)
