"""Checks results of trim, remove-frames, concat and denoise against the files they are from."""

import filecmp
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from miostitch.arrays import I64, U8
from miostitch.editing.frame_origins import FrameOrigins, RegularPart, read_runs
from miostitch.editing.operations import remove_frames, trim
from miostitch.editing.regular import require_fill
from miostitch.editing.tables import EditedTables, StoredTables
from miostitch.errors import InputError, UsageError
from miostitch.execution.products import LINE_TABLES, STORE
from miostitch.execution.progress import Progress, counted
from miostitch.origins.provenance import find_videos, listed_objects, recorded_place
from miostitch.origins.sidecars import Origin, find_origin
from miostitch.ranges import join_ranges, rising_runs, runs, spans
from miostitch.recording.files import ReadOptions
from miostitch.schema import FRAME, chunk_frames
from miostitch.stitching.stitched import LAZY
from miostitch.stitching.stitched_origin import StitchedOrigin, find_stitched
from miostitch.store.chunks import read_frames
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.products import DROPPED_LIST, Result, Video, check_outputs, compare_summary
from miostitch.verify.store import compare_arrays, compare_times, create_like
from miostitch.verify.tables import compare_all_tables, write_stored_tables

OF_KEPT = (
    *("_patch.avi", "_flicker.avi", "_freq_mask.avi", "_freq_mask_freq_domain.avi"),
    "_min_proj.avi",
)
OF_DROPPED = ("_patch_noisy_frames.avi", "_patch_patched_area.avi")
COPIES = {"_patch.csv": ".csv", "_patch_timestamp.csv": "_timestamps.csv"}
"""Tables that denoising writes twice, by their second ending."""

TABLES = (".csv", *LINE_TABLES)
TABLE_FRAMES = 2**14  # Frames whose rows and lines are made again at a time


class Source(FrameOrigins):
    """Where the frames of a result are from."""

    @property
    def names(self) -> str:
        """The files, for messages."""
        return ", ".join(Path(each.path).name for each in self.origins)

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """Height and width of their frames."""
        files = [each.store or each.video for each in self.origins]
        stitches = [each for each in self.origins if isinstance(each, StitchedOrigin)]
        sizes = {(file.height, file.width) for file in files if file}
        return sizes | {each.size for each in stitches}

    def read(self, span: slice) -> U8:
        """Some frames as the files have them, uint8 (frame, height, width), and gaps as filled."""
        if self.regular is None:
            return self._read(self.origin[span], self.origin_frame[span])
        part, parts = self.regular, []
        for first, last in runs(part.chosen[span]).tolist():
            plan = part.frames.plan(slice(first, last + 1), part.fill)
            received = slice(plan.first, plan.last + 1)
            parts.append(plan.fill(self._read(part.origin[received], part.origin_frame[received])))
        return np.concatenate(parts)

    def _read(self, origin: I64, frame: I64) -> U8:
        parts, order = [], []
        for number in np.unique(origin).tolist():
            mine = np.flatnonzero(origin == number)
            parts.append(_read(self.origins[number], frame[mine]))
            order.append(mine)
        return np.concatenate(parts)[np.argsort(np.concatenate(order))]


def _read(origin: Origin, frames: I64) -> U8:
    """Frames of a file, or of a stitch that is not written."""
    if isinstance(origin, StitchedOrigin):
        return origin.read_frames(frames)
    if origin.path.endswith(STORE) or origin.video is None:
        return read_frames(origin.path, frames)
    return origin.video.read(frames)


NO_SUMMARY = "is missing; an exported store has none: verify the result that it was made of"


def check_edit(result: Result, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Check one result; return its kind and its frames."""
    summary, store = result.summary, result.store
    denoised = "dropped_frames" in summary
    if not check_outputs(result):
        result.findings.add(Kind.MISSING_FILE, f"{result.stem}.json", NO_SUMMARY)
    count = summary.get("frames")
    if not isinstance(count, int):
        count = store.shape[0] if store else 0
    video = result.open_video(result.stem.removeprefix(result.base) + ".avi")
    frames = [each for each in (store, video) if each]
    for each in frames:
        if each.shape[0] != count:
            what = f"{amount(each.shape[0], 'frame')}, the summary says {count}"
            result.findings.add(Kind.COUNT, each.name, what)
    source = _find_source(result)
    if denoised:
        _check_denoised(result)
    if frames:
        _compare_frames(result, video, None if denoised else source, frames[0].shape, progress)
    if source is not None and len(source.origin) == count:
        _check_tables(result, source, folder)
        _check_regular(result, source)
    elif store is not None:
        write_stored_tables(store, result.path(".csv"), folder)
    compare_all_tables(result, folder, TABLES)
    return {"kind": "denoise" if denoised else "edit", "frames": count}


def _find_source(result: Result) -> Source | None:
    """Open the files that frames are from; None, which is noted, if not all are there."""
    summary, findings = result.summary, result.findings
    origins: list[Origin] = []
    for each in listed_objects(summary, "origins"):
        path, lag = recorded_place(each, result.folder), each.get("lag")
        file, lag = Path(path).name, lag if isinstance(lag, int) else 0
        salvage, repair = bool(summary.get("lost_frames")), bool(each.get("repair", True))
        reading = ReadOptions(salvage, repair=repair, need_table=False, lag=lag)
        try:
            if path.endswith(LAZY):
                origins.append(_find_stitch(result, path))
            else:
                table = each.get("table")
                place = recorded_place(table, result.folder) if isinstance(table, dict) else ""
                origins.append(find_origin(path, reading, place))
        except (InputError, UsageError) as error:
            if Path(path).exists():
                findings.add(Kind.INPUT, file, f"cannot be read any more: {error}")
            findings.add(Kind.NOT_CHECKED, file, f"frames and tables of the result: {error}")
            return None
        if origins[-1].frames != each.get("frames"):
            what = f"has {amount(origins[-1].frames, 'frame')}, had {each.get('frames')}"
            findings.add(Kind.INPUT, file, what)
            return None
    try:
        origin, frame = read_runs(summary["origin_frames"])
        inside = (frame >= 0) & (frame < np.array([each.frames for each in origins])[origin])
        part = _find_regular(summary, origins, (origin, frame)) if inside.all() else None
    except (TypeError, ValueError, IndexError, KeyError, InputError, UsageError):
        origin = frame = inside = np.zeros(0, np.int64)
    if not len(frame) or not inside.all():
        what = "the summary does not say which frames were taken"
        findings.add(Kind.NOT_CHECKED, f"{result.stem}.json", what)
        return None
    if part is not None:
        origin, frame = part.place
    source = Source(tuple(origins), origin, frame, part)
    _check_history(result, source)
    return source


def _find_regular(
    summary: dict[str, Any], origins: list[Origin], taken: tuple[I64, I64]
) -> RegularPart | None:
    """Plan the regular time base again that was made of frames; None where none was."""
    if "regular_frames" not in summary:
        return None
    steps = listed_objects(summary, "history")
    made = [step["parameters"] for step in steps if step.get("step") == "regularize"][-1]
    first, last = np.array(summary["regular_frames"], np.int64).T
    chosen = join_ranges(first, last + 1 - first)
    require_fill(made["fill"], made["max_fill"])
    return RegularPart.of(origins, taken, chosen, made)


def _find_stitch(result: Result, name: str) -> Origin:
    """Stitch again, lazily, what was never written: its recordings are looked for."""
    inputs, steps = result.summary.get("inputs"), listed_objects(result.summary, "history")
    place = os.path.join(result.folder, result.stem + STORE)
    groups = find_videos(place, result.summary, inputs)
    specs = [",".join(video.require().path for video in group) for group in groups]
    stitches = [step for step in steps if step.get("step") == "stitch"]
    if len(stitches) != 1 or not specs:
        raise InputError(f"{name}: the history does not say how it was stitched")
    return find_stitched(name, {"recordings": specs, "config": stitches[0].get("parameters")})


def _check_history(result: Result, source: Source) -> None:
    """Do the last steps of the history again, and compare which frames they leave."""
    steps, counts = listed_objects(result.summary, "history"), [o.frames for o in source.origins]
    made = [n for n, step in enumerate(steps) if step.get("step") == "regularize"]
    # a base that this edit made may have as many frames as the files
    own = steps if source.regular is None else steps[: made[-1] + 1]
    starts = [n for n, step in enumerate(own) if step.get("frames_before") == sum(counts)]
    if not starts:
        return
    # which frames of all files there are, and which of the time base that was made of them
    taken = np.cumsum([0, *counts[:-1]])[source.taken[0]] + source.taken[1]
    left = xr.Dataset({"position": (FRAME, np.arange(sum(counts)))})
    same, part = True, source.regular
    lags = any(each.get("lag") for each in listed_objects(result.summary, "origins"))
    lossy = lags or bool(result.summary.get("lost_frames"))
    try:
        for number, step in enumerate(steps[starts[-1] :], starts[-1]):
            parameters = step.get("parameters", {})
            if step["step"] == "trim":
                left = trim(left, **parameters)
            elif step["step"] == "remove_frames":
                left = remove_frames(left, parameters["frames"])
            elif step["step"] == "select":
                first, last = np.array(parameters["frames"], np.int64).T
                left = left.isel({FRAME: join_ranges(first, last + 1 - first)})
            elif step["step"] == "regularize" and part is not None and number == made[-1]:
                same = _leaves(left, taken, lossy=lossy)
                taken, lossy = part.chosen, False
                left = xr.Dataset({"position": (FRAME, np.arange(len(part.frames.frame_num)))})
            elif step["step"] not in ("lag", "concat"):
                return  # which drops frames by what is in them
    except (KeyError, TypeError, ValueError, IndexError, UsageError):
        left = left.isel({FRAME: slice(0)})  # no history of ours
    if not (same and _leaves(left, taken, lossy=lossy)):
        file, what = f"{result.stem}.json", "history leaves other frames than origin_frames says"
        result.findings.add(Kind.SUMMARY, file, what, column="history")


def _leaves(left: xr.Dataset, taken: I64, *, lossy: bool) -> bool:
    """Whether a history leaves the frames that were taken.

    ``lossy``: frames without a row or pixels are left out besides.
    """
    expected = left["position"].to_numpy()
    expected = expected[np.isin(expected, taken)] if lossy else expected
    return np.array_equal(expected, taken)


def _compare_frames(
    result: Result,
    video: Video | None,
    source: Source | None,
    shape: tuple[int, int, int],
    progress: Progress | None,
) -> None:
    """Compare store and video with each other, and with the files their frames are from."""
    store, findings = result.store, result.findings
    if source is not None and len(source.origin) != shape[0]:
        source = None
    if source is not None and source.sizes != {shape[1:]}:
        findings.add(Kind.INPUT, source.names, "frames have another size")
        source = None
    step, advance = store.block if store else chunk_frames(*shape[1:]), counted(progress, shape[0])
    for span in spans(shape[0], step):
        at, known, witness = np.arange(span.start, span.stop), None, ""
        if source is not None:
            try:
                known, witness = source.read(span), f"{source.names} has"
            except InputError as error:
                findings.add(Kind.INPUT, source.names, str(error), frame=span.start)
        made = store.video_block(span.start // step) if store else None
        if store is not None and made is not None:
            if known is not None:
                chunk = store.chunk_key(span.start // step)
                findings.pixels(store.name, made, known, at, witness, chunk=chunk)
            known, witness = made, f"{store.name} has"
        if video is not None and known is not None:
            video.compare(known, at, witness)
        if advance is not None:
            advance(len(at))


def _check_tables(result: Result, source: Source, folder: Path) -> None:
    """Write all tables again, and compare those of the store."""
    store, made = result.store, folder / "made.zarr"
    if store:
        create_like(store, made)
    kinds = {suffix for suffix in TABLES if result.path(suffix).is_file()}
    path = str(made) if store else None
    try:
        with EditedTables.open(source, kinds, folder.joinpath, path) as tables:
            for span in spans(len(source.origin), TABLE_FRAMES):
                tables.append(span)
        if store:
            StoredTables(source).write(str(made))
            compare_arrays(store, made)
            compare_times(store, made)
    except InputError as error:
        result.findings.add(Kind.INPUT, source.names, str(error))
        result.findings.add(Kind.NOT_CHECKED, source.names, "tables, for they cannot be read")


def _check_regular(result: Result, source: Source) -> None:
    """Compare what the summary says of a regular time base."""
    filled, summary = source.filled, result.summary
    expected: dict[str, Any] = {}
    if filled is not None:
        epochs = [[*epoch] for epoch in rising_runs(source.frame_num)]
        expected = {"filled_frames": int(filled.sum()), "epochs": epochs}
    compare_summary(result, summary, expected)


def _check_denoised(result: Result) -> None:
    """Compare counts of what denoising wrote, and of what it left out."""
    summary, findings, name = result.summary, result.findings, f"{result.stem}.json"
    dropped, kept = summary.get("dropped_frames"), summary.get("frames")
    if not isinstance(dropped, list) or not isinstance(kept, int):
        return
    compare_summary(result, summary, {"frames_before": kept + len(dropped)})
    for suffix in (*OF_KEPT, *OF_DROPPED):
        video, expected = result.open_video(suffix), kept if suffix in OF_KEPT else len(dropped)
        if video is not None and video.shape[0] != expected:
            what = f"{amount(video.shape[0], 'frame')}, the summary says {expected}"
            findings.add(Kind.COUNT, video.name, what)
    for suffix, of in COPIES.items():
        path, other = result.folder / f"{result.base}{suffix}", result.path(of)
        if path.is_file() and other.is_file() and not filecmp.cmp(path, other, shallow=False):
            findings.add(Kind.ROWS, path.name, f"differs from {other.name}")
    listed = result.folder / f"{result.base}{DROPPED_LIST}"
    if listed.is_file() and listed.read_text().split() != [str(each) for each in dropped]:
        findings.add(Kind.SUMMARY, listed.name, f"differs from dropped_frames of {name}")
    number = result.store.values("frame_num") if result.store else None
    if number is not None:
        kept_runs = {"kept_frame_num": runs(number[number >= 0]).tolist()}
        compare_summary(result, summary, kept_runs)
