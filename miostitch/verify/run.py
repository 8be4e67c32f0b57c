"""Re-reads results against what they were made of, by a path of its own.

Nothing that chooses, composes or writes is imported: tables are read and frames are compared anew.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from miostitch.errors import InputError, MissingInputError
from miostitch.execution.products import STORE
from miostitch.execution.progress import Progress, counted
from miostitch.text import amount
from miostitch.verify.buffers import BufferRows
from miostitch.verify.edits import check_edit
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.frames import FrameCheck
from miostitch.verify.inputs import buffer_bounds
from miostitch.verify.layout import check_layout
from miostitch.verify.lines import (
    can_tell_scores,
    check_lines,
    expected_scores,
    expected_timestamps,
)
from miostitch.verify.origins import find_recordings
from miostitch.verify.products import check_files, check_store_attrs, open_product
from miostitch.verify.result import Result
from miostitch.verify.store import open_store
from miostitch.verify.summary import check_alignment, check_summary
from miostitch.video.source import VideoSource

VIDEOS = (".avi", "_debug.avi", "_unrecoverable.avi")
WORKERS = 8
"""Most threads; each holds a block of the result and of every recording."""


def verify_files(
    path: str | os.PathLike[str],
    recordings: Sequence[str] = (),
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Verify the results in a folder.

    Parameters
    ----------
    path
        A folder, or the ``.zarr`` or ``.json`` of one result in it.
    recordings
        Where the recordings are now, one for each in the order of the run, segments separated by
        commas; by default where the summary says.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        ``path``; ``results``: of each its ``stem``, ``kind``, ``frames``, the number of
        ``differences`` and of parts ``not_checked``, ``counts`` by kind, and the first
        ``findings`` of every kind; ``differences`` and ``not_checked`` of all.

    Raises
    ------
    MissingInputError
        There is no such folder, or no result in it.

    Notes
    -----
    Streams block by block on all cores. Some 150 bytes per frame and recording are held, and on
    each thread a block of every video.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.stitch_files([str(p) for p in session.recordings], folder.name + "/out")
    >>> miostitch.verify_files(folder.name + "/out")["differences"]
    0
    >>> folder.cleanup()
    """
    folder, stems = _stems(Path(path))
    results = []
    for stem in stems:
        found = Findings()
        facts = _verify(folder, stem, found, recordings, progress)
        told = {
            **facts,
            "differences": found.differences,
            "not_checked": found.counts[Kind.NOT_CHECKED],
            "counts": {kind.value: found.counts[kind] for kind in Kind if found.counts[kind]},
            "findings": [each.facts for each in found.listed],
        }
        results.append(told)
    totals = {n: sum(each[n] for each in results) for n in ("differences", "not_checked")}
    return {"path": os.fspath(path), "results": results, **totals}


def _stems(path: Path) -> tuple[Path, list[str]]:
    """The folder, and what the names of its results begin with."""
    if path.suffix in (STORE, ".json") and path.exists():
        return path.parent, [path.stem]
    if not path.is_dir():
        raise MissingInputError(f"{path}: no such folder; name the folder of a result")
    found = {each.stem for each in path.glob(f"*{STORE}") if not each.name.startswith(".")}
    found |= {each.stem for each in path.glob("*.json") if "outputs" in _summary(each)}
    if not found:
        raise MissingInputError(f"{path}: no result in it; a result has a .zarr or a .json")
    return path, sorted(found)


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _verify(
    folder: Path,
    stem: str,
    findings: Findings,
    recordings: Sequence[str],
    progress: Progress | None,
) -> dict[str, Any]:
    """Verify one result."""
    summary = _summary(folder / f"{stem}.json")
    path = folder / f"{stem}{STORE}"
    store = open_store(path, findings) if path.is_dir() else None
    if store is not None:
        check_layout(store)
    edited = "origins" in summary or (store is not None and "history" in store.attrs)
    if edited:
        return check_edit(folder, stem, findings, store, summary, progress)
    check_files(folder, stem, findings, summary, store.attrs if store else {})
    if store is None:
        findings.add(
            Kind.NOT_CHECKED, path.name, "frames and tables, for the store is not readable"
        )
        return {"stem": stem, "kind": "stitch", "frames": 0}
    config = store.attrs.get("config")
    config = config if isinstance(config, dict) else {}
    result = Result(folder, stem, findings, store, config, summary)
    check_store_attrs(result)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, WORKERS), "miostitch-verify") as pool:
        _bring_recordings(result, recordings, pool)
        _check_contents(result, pool, progress)
    return {"stem": stem, "kind": "stitch", "frames": store.shape[0]}


def _bring_recordings(result: Result, specs: Sequence[str], pool: ThreadPoolExecutor) -> None:
    """Open what the result was made of, and look at what its tables say."""
    found = find_recordings(result, specs, pool)
    tables = [table for each in found if each is not None for table in each.tables]
    _, height, width = result.store.shape
    buffers = result.store.arrays.get("composition/buffer_source")
    try:
        result.bounds = buffer_bounds(tables, height * width) if tables else result.bounds
    except InputError as error:
        result.findings.add(Kind.INPUT, result.store.path.name, str(error))
        found = [None] * len(found)
    if buffers is not None and tables and buffers.shape[-1] != len(result.bounds) - 1:
        told = f"{amount(buffers.shape[-1], 'buffer')} per frame, the recordings have"
        told = f"{told} {len(result.bounds) - 1}"
        result.findings.add(Kind.COUNT, result.store.path.name, told)
    sizes = np.diff(result.bounds)
    list(pool.map(lambda each: each.survey(sizes), [each for each in found if each is not None]))
    result.recordings = found if any(each is not None for each in found) else ()


def _check_contents(result: Result, pool: ThreadPoolExecutor, progress: Progress | None) -> None:
    """Compare frames and tables."""
    count, block = result.store.shape[0], result.store.block
    # held by all threads: read once, before they begin
    _ = result.frames, result.scores, result.composition, result.source_frame, result.pieces
    _ = result.thresholds
    frames = FrameCheck(result, _videos(result))
    tasks = [pool.submit(task) for task in _table_checks(result)]
    advance = counted(progress, count)
    for done in pool.map(frames.check, range(-(-count // block))):
        if advance is not None:
            advance(done)
    for task in tasks:
        task.result()
    known = result.complete and not frames.unread
    if can_tell_scores(result):
        unknown = () if known else ("diff_pixels",)
        expected = partial(expected_scores, result, frames.differing)
        check_lines(result, "_scores.csv", expected, "the store has", unknown)
    check_alignment(result)
    if result.summary:
        check_summary(result, frames.shared if known else None)


def _listed(result: Result, suffix: str) -> bool:
    return result.path(suffix).is_file()


def _videos(result: Result) -> dict[str, VideoSource]:
    """Videos beside the store, and whether they have as many frames as they should."""
    found, count = {}, result.store.shape[0]
    marked = result.frames.get("unrecoverable")
    lost = None if marked is None else int(marked.values.sum())
    for suffix in VIDEOS:
        if not _listed(result, suffix):
            continue
        video = open_product(result.path(suffix), result.findings)
        if video is None:
            continue
        found[suffix] = video
        expected = count if suffix != "_unrecoverable.avi" else lost
        if result.config.get("drop_damaged") and suffix == "_unrecoverable.avi":
            expected = None
        if expected is not None and video.frame_count != expected:
            told = f"{amount(video.frame_count, 'frame')}, the store has {expected}"
            result.findings.add(Kind.COUNT, Path(video.path).name, told)
        _check_form(result, suffix, video)
    return found


def _check_form(result: Result, suffix: str, video: VideoSource) -> None:
    """Check frame size and rate of a video."""
    _, height, width = result.store.shape
    panels = len(result.names) + 1 if suffix == "_debug.avi" else 1
    name = Path(video.path).name
    if (video.height, video.width) != (height, width * panels):
        told = f"frames of {video.width}x{video.height} pixels, not {width * panels}x{height}"
        result.findings.add(Kind.FORMAT, name, told)
    if str(video.fps) != result.store.attrs.get("fps"):
        told = f"{video.fps} frames per second, the store says {result.store.attrs.get('fps')}"
        result.findings.add(Kind.ATTRIBUTES, name, told, column="fps")


def _table_checks(result: Result) -> list[Callable[[], None]]:
    """What is to be compared besides the frames."""
    checks: list[Callable[[], None]] = [BufferRows(result).check]
    if _listed(result, "_timestamps.csv") and {"timestamp_first", "timestamp_last"} <= (
        result.frames.keys()
    ):
        expected = partial(expected_timestamps, result)
        checks.append(partial(check_lines, result, "_timestamps.csv", expected, "the store has"))
    return checks
