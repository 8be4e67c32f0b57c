"""Checks results of trim, remove-frames, concat and denoise against each other and their origin."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.execution.progress import Progress, counted
from miostitch.schema import FRAME_VARIABLES, chunk_frames
from miostitch.text import amount
from miostitch.verify.buffers import BufferRows
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.lines import (
    can_tell_scores,
    check_lines,
    expected_scores,
    expected_timestamps,
)
from miostitch.verify.products import (
    DROPPED_LIST,
    check_outputs,
    check_store_attrs,
    open_product,
)
from miostitch.verify.result import Result
from miostitch.verify.rows import table_columns, table_rows
from miostitch.verify.steps import Frames, Origin, find_origin, of_video
from miostitch.verify.store import FAULTS, Store

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
DENOISED = "_denoised"
OF_KEPT = ("_patch.avi", "_freq_mask.avi", "_freq_mask_freq_domain.avi", "_min_proj.avi")
OF_DROPPED = ("_patch_noisy_frames.avi", "_patch_patched_area.avi")
COPIES = {"_patch.csv": ".csv", "_patch_timestamp.csv": "_timestamps.csv"}
LINES = ("_timestamps.csv", "_scores.csv", "_noise.csv")


def check_edit(
    folder: Path,
    stem: str,
    findings: Findings,
    store: Store | None,
    summary: dict[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    """Check one result.

    Returns: ``stem``, ``kind`` and ``frames``.
    """
    denoised = "dropped_frames" in summary or stem.endswith(DENOISED)
    listed = check_outputs(folder, stem, findings, summary)
    if not listed:
        findings.add(Kind.MISSING_FILE, f"{stem}.json", "is missing")
    count = summary.get("frames")
    if not isinstance(count, int):
        count = store.shape[0] if store else 0
    frames = _own_frames(folder, stem, findings, store)
    for each in frames:
        if each.shape[0] != count:
            told = f"{amount(each.shape[0], 'frame')}, the summary says {count}"
            findings.add(Kind.COUNT, each.name, told)
    config = store.attrs.get("config") if store else None
    if store is not None:
        result = Result(
            folder, stem, findings, store, config if isinstance(config, dict) else {}, summary
        )
        check_store_attrs(result)
        _check_tables(result)
    else:
        _count_lines(folder, stem, findings, count)
    if denoised:
        _check_denoised(folder, stem, findings, summary, store)
    origin = None if denoised else find_origin(findings, f"{stem}.json", summary)
    _check_pixels(findings, frames, origin, progress)
    if store is not None and origin is not None and origin.tables is not None:
        _check_origin_tables(findings, store, origin)
    return {"stem": stem, "kind": "denoise" if denoised else "edit", "frames": count}


def _own_frames(folder: Path, stem: str, findings: Findings, store: Store | None) -> list[Frames]:
    """The videos of a result."""
    found = []
    if store is not None:
        found.append(Frames(store.path.name, store.shape, partial(_stored, store)))
    path = folder / f"{stem}.avi"
    if path.is_file() and (video := open_product(path, findings)) is not None:
        found.append(of_video(video, findings, path.name))
    return found


def _stored(store: Store, at: Ints) -> U8 | None:
    """Frames of a whole chunk of a store."""
    block = store.video_block(int(at[0]) // store.block)
    return None if block is None else block[at - at[0] + int(at[0]) % store.block]


def _check_pixels(
    findings: Findings, frames: list[Frames], origin: Origin | None, progress: Progress | None
) -> None:
    """Compare all videos of a result with each other, and with the files its frames are from."""
    if not frames:
        return
    first = frames[0]
    count, height, width = first.shape
    advance = counted(progress, count)
    step = chunk_frames(height, width)
    if isinstance(first.read, partial):  # of a store: its own chunks
        step = first.read.args[0].block
    if origin is not None and (
        len(origin.frame) != count or origin.files[0].shape[1:] != (height, width)
    ):
        origin = None
    for start in range(0, count, step):
        at = np.arange(start, min(start + step, count))
        made = first.read(at)
        if made is not None and origin is not None:
            theirs = origin.read(start, start + len(at))
            if theirs is not None:
                told = f"{origin.files[0].name} has"
                findings.pixels(first.name, made, theirs, at, told)
        for other in frames[1:]:
            there = at[at < other.shape[0]]
            if made is not None and len(there) and other.shape[1:] == (height, width):
                beside = other.read(there)
                if beside is not None:
                    told = f"{first.name} has"
                    findings.pixels(other.name, beside, made[: len(there)], there, told)
        if advance is not None:
            advance(len(at))


def _check_tables(result: Result) -> None:
    """Compare the tables beside a store with it."""
    store = result.store
    if "buffers" in store.groups:
        BufferRows(result).check()
    told = "the store has"
    if result.path("_timestamps.csv").is_file() and {"timestamp_first", "timestamp_last"} <= (
        result.frames.keys()
    ):
        check_lines(result, "_timestamps.csv", partial(expected_timestamps, result), told)
    if can_tell_scores(result):
        nothing = np.zeros(store.shape[0], np.int64)
        expected = partial(expected_scores, result, nothing)
        check_lines(result, "_scores.csv", expected, told, ("diff_pixels",))


def _count_lines(folder: Path, stem: str, findings: Findings, count: int) -> None:
    """Without a store: count what the tables tell of."""
    for suffix in LINES:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            with path.open("rb") as file:
                lines = sum(1 for _ in file) - 1
            if lines != count:
                told = f"{amount(lines, 'line')}, the summary says {amount(count, 'frame')}"
                findings.add(Kind.COUNT, path.name, told)
    path = folder / f"{stem}.csv"
    if not path.is_file():
        return
    last = 0
    try:
        for rows in table_rows(path, table_columns(path), findings):
            index = rows["reconstructed_frame_index"].to_numpy()
            wrong = np.flatnonzero(
                (index < 0) | (index >= count) | (np.diff(index, prepend=last) < 0)
            )
            for at in wrong[:1].tolist():
                told = (
                    f"a row of frame {index[at]}, out of order or beyond {amount(count, 'frame')}"
                )
                findings.add(Kind.ROWS, path.name, told, row=at, column="reconstructed_frame_index")
            last = int(index[-1]) if len(index) else last
    except InputError as error:
        findings.add(Kind.UNREADABLE, path.name, str(error))


def _check_denoised(
    folder: Path, stem: str, findings: Findings, summary: dict[str, Any], store: Store | None
) -> None:
    """Compare counts of what denoising wrote, and of what it left out."""
    begin, kept = stem.removesuffix(DENOISED), summary.get("frames")
    dropped, before = summary.get("dropped_frames"), summary.get("frames_before")
    if not isinstance(dropped, list) or not isinstance(kept, int):
        return
    if before != kept + len(dropped):
        told = f"frames_before is {before}, {kept} were kept and {len(dropped)} dropped"
        findings.add(Kind.SUMMARY, f"{stem}.json", told, column="frames_before")
    for suffix in (*OF_KEPT, *OF_DROPPED):
        path, expected = folder / f"{begin}{suffix}", kept if suffix in OF_KEPT else len(dropped)
        video = open_product(path, findings) if path.is_file() else None
        if video is not None and video.frame_count != expected:
            told = f"{amount(video.frame_count, 'frame')}, the summary says {expected}"
            findings.add(Kind.COUNT, path.name, told)
    for suffix, of in COPIES.items():
        path, other = folder / f"{begin}{suffix}", folder / f"{stem}{of}"
        if path.is_file() and other.is_file() and path.read_bytes() != other.read_bytes():
            findings.add(Kind.ROWS, path.name, f"differs from {other.name}")
    listed = folder / f"{begin}{DROPPED_LIST}"
    if listed.is_file() and listed.read_text().split() != [str(each) for each in dropped]:
        findings.add(Kind.SUMMARY, listed.name, "differs from dropped_frames of the summary")
    number = store.read("frame_num") if store else None
    if number is not None and number.sound.all():
        values = number.values[number.values >= 0]
        firsts = np.flatnonzero(np.diff(values, prepend=values[:1] - 2) != 1)
        lasts = np.append(firsts[1:], len(values)) - 1
        runs = np.stack([values[firsts], values[lasts]], axis=1).tolist() if len(values) else []
        if summary.get("kept_frame_num") != runs:
            told = "kept_frame_num differs from the store"
            findings.add(Kind.SUMMARY, f"{stem}.json", told, column="kept_frame_num")


def _check_origin_tables(findings: Findings, store: Store, origin: Origin) -> None:
    """Compare what is known per frame with the store that it is from."""
    assert origin.tables is not None
    for variable in FRAME_VARIABLES:
        found = store.read(variable.name)
        try:
            theirs = np.asarray(origin.tables[variable.name][:])  # type: ignore[index]
        except FAULTS:
            continue  # its own verification says so
        if found is not None and len(found.values) == len(origin.frame):
            expected = theirs[origin.frame]
            findings.differing(
                Kind.FRAMES,
                store.path.name,
                variable.name,
                found.values,
                expected,
                where=found.sound,
            )
