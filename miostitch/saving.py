"""Write what was edited: video, tables and store together, whole or not at all."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.buffer_table import BufferTable
from miostitch.companions import LINE_TABLES, FrameLines, Origin, find_origin, lines_at, rows_at
from miostitch.datasets import STORE, in_chunks, open_dataset
from miostitch.encoding import VideoWriter
from miostitch.errors import MiostitchError, UsageError
from miostitch.opening import ReadOptions
from miostitch.progress import Progress, counted
from miostitch.publishing import PRODUCTS, require_name, require_space, write_summary
from miostitch.schema import FRAME, HEIGHT, VIDEO, WIDTH, chunk_frames
from miostitch.staging import Workspace
from miostitch.store import consolidate, create_store, store_facts
from miostitch.stored_tables import StoredTables
from miostitch.table_writer import TableWriter
from miostitch.text import printable
from miostitch.video import open_video
from miostitch.writing import BlockVideo, write_batches, write_in_order

SUFFIXES = (*PRODUCTS[:-1], "_noise.csv", PRODUCTS[-1])
"""Endings of everything that stands for the frames of a stem; a rewrite replaces all or none."""

FILES = (".avi", STORE)
"""Endings by which a product can be named."""


def write_recording(
    dataset: xr.Dataset,
    output: str | os.PathLike[str],
    *,
    stem: str | None = None,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write an edited recording, with everything that its origins have.

    Parameters
    ----------
    dataset
        What :func:`open_recording`, :func:`trim`, :func:`remove_frames` and :func:`concat` give,
        or any selection of its frames, in any order.
    output
        A folder, or a file ending in ``.avi`` or ``.zarr`` whose stem all products get.
    stem
        Stem of the products in a folder; by default that of the first origin.
    reading
        How to read the origins; with ``salvage`` what does not match is left out.
    force
        Replace existing products once the new ones are whole.
    progress
        Called with frames done and frames in all, from any thread.

    Returns
    -------
    dict
        The summary, as written to ``S.json``: ``frames``, ``history``, ``origins``, ``inputs``,
        ``warnings``, ``versions``, ``outputs``.

    Raises
    ------
    UsageError
        The Dataset does not know its origins, or nothing is there to write.
    MismatchError
        Files of one stem tell of different numbers of frames.
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.

    Notes
    -----
    Pixels come from ``video``, block by block; everything else is looked up in the files of the
    origins, batch by batch. Only a few numbers per frame are held.
    """
    edit = _edit(dataset, reading or ReadOptions())
    target = Path(os.path.abspath(output))
    named = target.suffix if target.suffix in FILES and not _is_folder(target) else ""
    kinds = edit.kinds(named)
    stem = target.stem if named else stem or Path(edit.origins[0].path).stem
    require_name(stem, SUFFIXES)
    workspace = Workspace(target.parent if named else target, stem, SUFFIXES)
    with workspace.open([path for o in edit.origins for path in o.files], force=force):
        if ".avi" in kinds:
            require_space(workspace.output, edit.video.size)
        warnings = edit.write(kinds, workspace, progress)
        summary = {
            "frames": len(edit.origin),
            "history": dataset.attrs.get("history", []),
            "origins": [{"path": printable(o.path), "frames": o.frames} for o in edit.origins],
            "inputs": edit.inputs,
            "warnings": [printable(warning) for warning in (*edit.warnings(kinds), *warnings)],
            "versions": {name: version(name) for name in ("miostitch", "av", "zarr", "numpy")},
            "outputs": [str(workspace.final(s)) for s in SUFFIXES if s in kinds or s == ".json"],
        }
        write_summary(workspace.staged(".json"), summary)
        workspace.publish()
    return summary


def edit_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    edit: Callable[[list[xr.Dataset]], xr.Dataset],
    ending: str,
    *,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Open recordings, edit them, and write the result; see :func:`write_recording`.

    Parameters
    ----------
    inputs
        Videos, segments separated by commas, or stores; a video may lack a table.
    output
        A folder or a file.
    edit
        Makes one recording of them.
    ending
        What the stem of the first one gets in a folder, such as ``_trimmed``.
    reading, force, progress
        As for :func:`write_recording`.
    """
    reading = reading or ReadOptions(need_table=False)
    dataset = edit([open_dataset(path, reading) for path in inputs])
    stem = Path(dataset.attrs["origins"][0]).stem + ending
    return write_recording(
        dataset, output, stem=stem, reading=reading, force=force, progress=progress
    )


@dataclass(frozen=True)
class _Edit:
    """Frames to write: their pixels, and where the rest is.

    Parameters
    ----------
    video
        Lazy uint8 (frame, height, width).
    attrs
        Attributes of the Dataset.
    origins
        Files that frames are from.
    origin, origin_frame
        Which of them each frame is from, and its position there, int64 (frame,).
    """

    video: xr.DataArray
    attrs: dict[str, Any]
    origins: tuple[Origin, ...]
    origin: NDArray[np.int64]
    origin_frame: NDArray[np.int64]

    @property
    def fps(self) -> Fraction:
        """Frame rate, exact."""
        return Fraction(self.attrs["fps"])

    @property
    def inputs(self) -> list[Any]:
        """What the frames were recorded in, each file once."""
        found = [each for origin in self.origins for each in origin.inputs]
        return [each for at, each in enumerate(found) if each not in found[:at]]

    @cached_property
    def block(self) -> int:
        """Frames per task and chunk."""
        stores = [origin.store[1].chunk_frames for origin in self.origins if origin.store]
        return stores[0] if stores else chunk_frames(*self.video.shape[1:])

    def kinds(self, named: str) -> set[str]:
        """Endings of what is written: what all origins have, and the file that was named."""
        kinds = set.intersection(*(origin.kinds for origin in self.origins))
        if named == STORE and STORE not in kinds:
            msg = f"{self.origins[0].path}: has no store to be edited; stitch it alone to make one"
            raise UsageError(msg)
        videos = {".avi"} if named == ".avi" or not kinds & {*FILES} else set()
        # a video that no origin has gets the table that a recording needs
        new = videos - kinds and all(origin.rows for origin in self.origins)
        return kinds | videos | ({".csv"} if new else set())

    def warnings(self, kinds: set[str]) -> list[str]:
        """What a user should be told about the origins and how they were joined."""
        found = [notice for origin in self.origins for notice in origin.notices]
        found += [
            f"{', '.join(sorted(left))} of {origin.path} is left out: not all files have that"
            for origin in self.origins
            if (left := origin.kinds - kinds)
        ]
        seams = [
            s
            for step in self.attrs.get("history", [])
            for s in step.get("parameters", {}).get("seams", [])
        ]
        return found + [_seam_text(s) for s in seams if s["kind"] in ("unclear", "backwards")]

    def write(self, kinds: set[str], workspace: Workspace, progress: Progress | None) -> list[str]:
        """Write everything but the summary, check it, and say what a user should be told."""
        count, height, width = self.video.shape
        staged, advance = workspace.staged, counted(progress, count)
        store = str(staged(STORE)) if STORE in kinds else None
        codecs = {origin.video.codec for origin in self.origins if origin.video}
        writer = partial(
            VideoWriter,
            staged(".avi"),
            width=width,
            height=height,
            fps=self.fps,
            codec="ffv1" if codecs == {"ffv1"} else "rawvideo",
        )
        if store:
            self._create(store)
        with _Tables(self, kinds, staged, store) as tables:
            if store:
                videos = [BlockVideo(VIDEO.name, store, writer if ".avi" in kinds else None)]
                write_batches(
                    lambda span: self._part(span).to_dataset(name=VIDEO.name),
                    videos,
                    count,
                    self.block,
                    lambda span, _: tables.append(span),
                    progress=advance,
                )
            else:
                write_in_order(
                    self._part, writer, count, self.block, tables.append, progress=advance
                )
        notes = []
        if store:
            stores = [origin.store for origin in self.origins if origin.store]
            notes = StoredTables(stores, self.origin, self.origin_frame).write(store)
            consolidate(store)
        _check(kinds, staged, count, tables.rows)
        return notes

    def _part(self, span: slice) -> xr.DataArray:
        part = self.video.isel({FRAME: span})
        return part.chunk({FRAME: self.block, HEIGHT: -1, WIDTH: -1})

    def _create(self, store: str) -> None:
        facts = [origin.store[1] for origin in self.origins if origin.store]
        kept = {
            name: value
            for name, value in facts[0].attrs.items()
            if name not in ("ome", "format_version")
            and all(each.attrs.get(name) == value for each in facts)
        }
        names = StoredTables([o.store for o in self.origins if o.store], *2 * [self.origin])
        create_store(
            store,
            shape=self.video.shape,  # type: ignore[arg-type]
            chunk_frames=self.block,
            attrs=kept
            | {
                "recordings": names.recordings[0],
                "inputs": self.inputs,
                "fps": str(self.fps),
                "history": self.attrs.get("history", []),
                "versions": {"miostitch": version("miostitch")},
            },
            zarr_format=facts[0].zarr_format,
        )


class _Tables:
    """Writes the tables span by span; `rows` counts the buffers written."""

    def __init__(
        self, edit: _Edit, kinds: set[str], path: Callable[[str], Path], store: str | None
    ) -> None:
        self._edit, self.rows = edit, 0
        self._lines = [suffix for suffix in LINE_TABLES if suffix in kinds]
        self._buffers: BufferTable | None = None
        self._writers: dict[str, TableWriter] = {}
        with ExitStack() as files:
            rows = [origin.rows for origin in edit.origins if origin.rows]
            wanted = ".csv" in kinds or store is not None
            if wanted and len(rows) == len(edit.origins):
                columns = dict.fromkeys(name for each in rows for name in each.columns)
                table = path(".csv") if ".csv" in kinds else None
                self._buffers = files.enter_context(BufferTable(columns, table, store))
            for suffix in self._lines:
                names = [name for o in edit.origins for name in o.lines[suffix].columns]
                writer = TableWriter(path(suffix), list(dict.fromkeys(names)))
                self._writers[suffix] = files.enter_context(writer)
            self._files = files.pop_all()

    def append(self, span: slice) -> None:
        """Write what belongs to a span of output frames."""
        if self._buffers:
            rows = self._looked_up(span, lambda o, *at: rows_at(o.rows, *at))
            self.rows += len(rows)
            self._buffers.append(_in_order(rows, "reconstructed_frame_index"))
        for suffix, writer in self._writers.items():
            key = LINE_TABLES[suffix]
            look = partial(_lines_of, suffix=suffix)
            lines = self._looked_up(span, look).reindex(columns=writer.columns)
            writer.append(_in_order(lines.fillna(""), key))

    def _looked_up(self, span: slice, look: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        """What is found of some frames in their origins."""
        origin, frames = self._edit.origin[span], self._edit.origin_frame[span]
        positions = np.arange(span.start, span.stop)
        parts = []
        for number in np.unique(origin).tolist():
            mine = origin == number
            parts.append(look(self._edit.origins[number], frames[mine], positions[mine]))
        return pd.concat(parts, ignore_index=True)

    def __enter__(self) -> "_Tables":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.__exit__(*failure)


def _lines_of(
    origin: Origin, frames: NDArray[np.int64], positions: NDArray[np.int64], suffix: str
) -> pd.DataFrame:
    lines: FrameLines = origin.lines[suffix]
    return lines_at(lines, LINE_TABLES[suffix], frames, positions)


def _in_order(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    return rows.iloc[np.argsort(rows[key].to_numpy(), kind="stable")]


def _edit(dataset: xr.Dataset, reading: ReadOptions) -> _Edit:
    """Find the files that the frames of a Dataset are from."""
    if not {"origin", "origin_frame"} <= {*dataset.coords} or "origins" not in dataset.attrs:
        msg = "this Dataset does not know where its frames are from; begin with open_recording"
        raise UsageError(f"{msg}, and select with isel, sel, trim, remove_frames or concat")
    used, origin = np.unique(dataset.origin.to_numpy(), return_inverse=True)
    if not len(used):
        raise UsageError("no frame is left to be written; keep at least one")
    origins = tuple(find_origin(dataset.attrs["origins"][number], reading) for number in used)
    frames = dataset.origin_frame.to_numpy().astype(np.int64)
    for number, each in enumerate(origins):
        if frames[origin == number].max() >= each.frames:
            msg = f"{each.path}: has fewer frames than when it was opened; open it again"
            raise UsageError(msg)
    video = in_chunks(dataset).video.transpose(FRAME, HEIGHT, WIDTH)
    return _Edit(video.reset_coords(drop=True), dict(dataset.attrs), origins, origin, frames)


def _check(kinds: set[str], staged: Callable[[str], Path], count: int, rows: int) -> None:
    """Count what was written, in the files."""
    found = {}
    if ".avi" in kinds:
        found[".avi"] = open_video(staged(".avi")).frame_count, count
    if STORE in kinds:
        found[STORE] = store_facts(str(staged(STORE))).frames, count
    for suffix, key in LINE_TABLES.items():
        if suffix in kinds:
            found[suffix] = FrameLines(str(staged(suffix)), key).count, count
    if ".csv" in kinds:
        lines = FrameLines(str(staged(".csv")), "reconstructed_frame_index")
        found[".csv"] = lines.count, rows
    for suffix, (has, should) in found.items():
        if has != should:
            raise MiostitchError(f"{staged(suffix)}: {has} were written, not {should}; report this")


def _seam_text(seam: dict[str, Any]) -> str:
    numbers = "frame_num {} to {}, {} s apart".format(*seam["frame_num"], seam["gap_s"])
    if seam["kind"] == "backwards":
        return (
            f"at frame {seam['frame']} as joined time goes backwards ({numbers}); check the order"
        )
    what = f"at frame {seam['frame']} as joined counter and clock disagree ({numbers})"
    return f"{what}: the device may have rebooted; stitch with --align time"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix != STORE
