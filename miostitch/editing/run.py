"""Write what was edited: video, tables and store together, all of them or none."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr
from dask.base import tokenize

from miostitch.crates.run import publish_result
from miostitch.editing.extra_outputs import Extras, video_outputs, write_notes, write_videos
from miostitch.editing.frame_origins import list_runs
from miostitch.editing.kept_frames import KeptFrames
from miostitch.editing.tables import EditedTables, StoredTables, check_counts
from miostitch.errors import UsageError, list_warnings
from miostitch.execution.checkpoint import Journal
from miostitch.execution.engine import Output, Products, Tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.execution.products import EDITED, NAMED, STORE, TABLE, TIMESTAMPS
from miostitch.execution.products import VIDEO as AVI
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import Run, RunOptions, file_states, used_versions
from miostitch.execution.results import EditSummary, InputPlace, OriginSummary
from miostitch.execution.workspace import Workspace
from miostitch.origins.provenance import input_place
from miostitch.origins.sidecars import Origin
from miostitch.ranges import rising_runs, runs
from miostitch.recording.datasets import label_frames, list_lag_notices, open_sources
from miostitch.recording.files import ReadOptions
from miostitch.recording.inputs import require_opened_so, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.schema import EPOCHS, MEASURED_FPS, START_TIME, VIDEO
from miostitch.store.chunks import set_aside, take_over
from miostitch.store.layout import consolidate, create_store
from miostitch.text import printable
from miostitch.video.source import FORMATS
from miostitch.video.writer import Codec, VideoFile


def write_recording(
    dataset: xr.Dataset,
    output: str | os.PathLike[str],
    *,
    stem: str | None = None,
    salvage: bool | None = None,
    max_frame_pixels: int | None = None,
    reading: ReadOptions | None = None,
    force: bool = False,
    restart: bool = False,
    crate: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Write an edited recording, with everything that its origins have.

    Parameters
    ----------
    dataset
        What :func:`open_recording`, :func:`stitch`, :func:`trim`, :func:`remove_frames` and
        :func:`concat` give, or any selection of its frames, in any order.
    output
        A folder, or a file ending in ``.avi`` or ``.zarr`` whose stem all products get.
    stem
        Stem of the products in a folder; by default that of the first origin.
    salvage, max_frame_pixels
        How to read the files next to the origins: whether what does not match is left out, by
        default False; the largest frames that are read.
    reading
        How to read, instead of these.
    force
        Overwrite existing results, once the new ones are complete.
    restart
        Start from scratch instead of resuming an interrupted run.
    crate
        Describe the results of the folder in ``ro-crate-metadata.json``.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        The summary, as written to ``S.json``: ``frames``, ``history``, ``origins``, ``inputs``,
        ``lost_frames``, ``warnings``, ``resumed_blocks``, ``versions``, ``outputs``.

    Raises
    ------
    UsageError
        The Dataset does not know its origins, nothing is there to write, or ``reading`` has a lag.
    MismatchError
        Files of one stem have different numbers of frames.
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.

    Notes
    -----
    Pixels come from ``video``, block by block; everything else is looked up in the files of the
    origins, batch by batch. Only a few numbers per frame are held. An interrupted call is
    resumed by the same call, as far as its blocks are in a store; an ``.avi`` alone is copied
    again, and a stitch that is not written is stitched again.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> late = miostitch.open_recording(session.recordings[0]).isel(frame=slice(10, None))
    >>> made = miostitch.write_recording(late, f"{folder.name}/late")
    >>> sorted(Path(path).name for path in made["outputs"])
    ['receiver1.avi', 'receiver1.csv', 'receiver1.json']
    >>> folder.cleanup()
    """
    reading = settle_reading(reading, salvage=salvage, max_frame_pixels=max_frame_pixels)
    require_opened_so(dataset, reading)
    options = RunOptions(force, restart, progress, crate)
    return RunResult(_publish(dataset, output, stem, reading, options).to_json())


def _publish(
    dataset: xr.Dataset,
    output: str | os.PathLike[str],
    stem: str | None,
    reading: ReadOptions,
    options: RunOptions,
    warnings: Sequence[str] = (),
) -> EditSummary:
    """Write an edited recording; ``warnings``: besides those that its origins give rise to."""
    edit = Edit.of(dataset, reading)
    target = Path(os.path.abspath(output))
    named = _named_kind(target)
    kinds = edit.kinds(named)
    stem = target.stem if named else stem or Path(edit.origins[0].path).stem
    workspace = Workspace(target.parent if named else target, stem, EDITED)
    with publish_result(workspace, edit.files, options) as run:
        edit.resume(run, reading, kinds=sorted(kinds))
        return run.finish(edit.write(kinds, run, Extras(warnings=warnings)))


def edit_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    edit: Callable[[list[xr.Dataset]], xr.Dataset],
    ending: str,
    *,
    reading: ReadOptions | None = None,
    options: RunOptions | None = None,
) -> EditSummary:
    """Open recordings, edit them, and write the result; see :func:`write_recording`."""
    reading = reading or ReadOptions(need_table=False)
    sources = open_sources(inputs, reading)
    dataset = edit([label_frames(source, reading) for source in sources])
    notices = list_warnings(list_lag_notices(sources))
    del sources  # the frames that are left hold what they need
    stem = Path(dataset.attrs["origins"][0]).stem + ending
    return _publish(dataset, output, stem, reading, options or RunOptions(), notices)


class Edit(KeptFrames):
    """Kept frames, to be written with everything that their origins have."""

    def kinds(self, named: str) -> set[str]:
        """Endings of what is written: what all origins have, and the file that was named.

        A regular time base is written with all that says which of its frames are filled.
        """
        return self._kinds(named) if self.regular is None else self.all_kinds

    def _kinds(self, named: str) -> set[str]:
        kinds = set.intersection(*(origin.kinds for origin in self.origins))
        videos = {named} if named else set() if kinds & {*NAMED} else {AVI}
        # a video that no origin has gets the table that a recording needs
        new = AVI in videos - kinds and self._has_rows
        return kinds | videos | ({TABLE} if new else set())

    def resume(self, run: Run, reading: ReadOptions, **options: Any) -> None:
        """Begin to write, or resume an interrupted run of which all that decides is the same."""
        # dask names a lazy array by all that it is made of
        frames = tokenize(self.video.data.name, self.origin, self.origin_frame)
        known = {name: self.attrs.get(name) for name in ("history", "lags")}
        decisive = {**options, **asdict(replace(reading, strict=False)), **known, "frames": frames}
        run.resume(file_states(self.files), decisive)

    @property
    def all_kinds(self) -> set[str]:
        """Endings of a complete result: video, store, tables, and what all origins have besides."""
        return self._kinds("") | {*NAMED} | ({TABLE, TIMESTAMPS} if self._has_rows else set())

    @property
    def _has_rows(self) -> bool:
        return all(origin.buffers for origin in self.origins)

    def warnings(self, kinds: set[str]) -> list[str]:
        """What a user should know of the origins and how they were joined."""
        notices = [notice for origin in self.origins for notice in origin.notices]
        if self.regular is not None:
            notices += self.regular.notices
        found = list_warnings(notices)
        found += [
            f"{', '.join(sorted(left))} of {origin.path} is left out: not all files have that"
            for origin in self.origins
            if (left := origin.kinds - kinds)
        ]
        steps = [step.get("parameters", {}) for step in self.attrs.get("history", [])]
        seams = [seam for step in steps for seam in step.get("seams", [])]
        return found + [_seam_text(s) for s in seams if s["kind"] in ("unclear", "backwards")]

    def write(self, kinds: set[str], run: Run, extras: Extras) -> EditSummary:
        """Write everything into the workspace of a run, check it, and summarise it."""
        warnings = [*extras.warnings, *self.warnings(kinds)]
        if extras.alone:
            kinds = kinds & {*extras.tables.values()}
        videos = len(extras.videos) + (AVI in kinds)
        dropped = sum(video.size for video in extras.other_videos.values())
        run.require_space(videos * self.video.size + dropped)
        journal, staged = run.journal("video"), run.workspace.staged
        warnings += self._write_frames(kinds, run, extras, journal)
        write_videos(extras.other_videos, staged, self.fps, run.workspace.folder)
        write_notes(extras.images, extras.texts, staged)
        extras.settle_tables(kinds, staged)
        lags = self.attrs.get("lags", {})
        return EditSummary(
            frames=len(self.origin),
            history=self.attrs.get("history", []),
            origins=[
                _describe_origin(each, lags.get(each.path, 0), run.workspace.output)
                for each in self.origins
            ],
            origin_frames=list_runs(*self.taken),
            inputs=self.inputs,
            lost_frames=[lost for origin in self.origins for lost in origin.losses],
            warnings=[printable(warning) for warning in warnings],
            resumed_blocks=journal.recalled,
            versions=used_versions(),
            digests={},
            outputs=[],
            **self._regular_facts(),
        )

    def _regular_facts(self) -> dict[str, Any]:
        """What the summary says of a regular time base; nothing of another result."""
        if self.filled is None:
            return {}
        facts: dict[str, Any] = {"filled_frames": int(self.filled.sum())}
        facts["epochs"] = rising_runs(self.frame_num)
        if self.regular is not None:
            facts["regular_frames"] = runs(self.regular.chosen).tolist()
        return facts

    def _write_frames(
        self, kinds: set[str], run: Run, extras: Extras, journal: Journal
    ) -> list[str]:
        """Write everything that has these frames, and say what a user should be told."""
        if not kinds and not extras.videos:
            return []
        space, count = run.workspace, len(self.origin)

        def staged(suffix: str) -> Path:
            return space.staged(extras.ending + suffix)

        lazy, outputs = self._outputs(kinds, space, extras)
        store = str(staged(STORE)) if STORE in kinds else None
        if store:
            set_aside(store)
            self._create(store)
            take_over(store)
        with (
            ThreadPoolExecutor(1, "miostitch-stored-tables") as beside,
            EditedTables.open(self, kinds, staged, store) as tables,
        ):
            for origin in self.origins if store else ():
                origin.tables.table()  # else two threads would
            notes = beside.submit(self._tables.write, store) if store else None

            def append(span: slice, _: Tables) -> None:
                if notes is not None and notes.done():  # an error need not wait for the video
                    notes.result()
                tables.append(span)

            run_blocks(
                lambda span: LazyBlock.of(self.part(lazy, span)),
                count,
                self.block,
                append,
                Products(space.folder, outputs, store),
                journal=journal if store else None,
                progress=run.counted(count),
            )
        told = notes.result() if notes else []
        if store:
            consolidate(store)
        check_counts(kinds, staged, count, tables.rows)
        return told

    def _outputs(
        self, kinds: set[str], workspace: Workspace, extras: Extras
    ) -> tuple[xr.Dataset, tuple[Output, ...]]:
        """Lazy videos, and the files that take them; ``video`` is that of the store, too."""
        videos = {VIDEO.name: self.video} if kinds & {*NAMED} else {}
        lazy, outputs = video_outputs({**videos, **extras.videos}, workspace.staged, self.fps)
        outputs = outputs[len(videos) :]
        if AVI not in kinds:
            return lazy, outputs
        _, height, width = self.shape
        codecs = {origin.video.codec for origin in self.origins if origin.video}
        codec: Codec = "ffv1" if codecs == {"ffv1"} else "rawvideo"
        path = str(workspace.staged(extras.ending + AVI))
        file = VideoFile(path, width, height, self.fps, codec, checksums=True)
        return lazy, (*outputs, Output.of(VIDEO.name, file))

    @cached_property
    def _tables(self) -> StoredTables:
        return StoredTables(self)

    def _create(self, store: str) -> None:
        facts = [origin.attrs for origin in self.origins if origin.attrs]
        formats = [origin.store.zarr_format for origin in self.origins if origin.store]
        kept = {
            name: value
            for name, value in (facts[0] if facts else {}).items()
            if name not in ("ome", "format_version", START_TIME, MEASURED_FPS, EPOCHS)
            and all(each.get(name) == value for each in facts)
        }
        if "session" in self.attrs:
            kept["session"] = self.attrs["session"]
        create_store(
            store,
            shape=self.shape,
            chunk_frames=self.block,
            attrs=kept
            | {
                "recordings": self._tables.recordings[0],
                "inputs": self.inputs,
                "fps": str(self.fps),
                "history": self.attrs.get("history", []),
                "versions": {"miostitch": version("miostitch")},
            },
            zarr_format=formats[0] if formats else 3,
            variables=self.variables,
        )


def _seam_text(seam: dict[str, Any]) -> str:
    numbers = "frame_num {} to {}, {} s apart".format(*seam["frame_num"], seam["gap_s"])
    if seam["kind"] == "backwards":
        return (
            f"at frame {seam['frame']} as joined time goes backwards ({numbers}); check the order"
        )
    what = f"at frame {seam['frame']} as joined counter and clock disagree ({numbers})"
    return f"{what}: the device may have restarted; stitch with --align time"


def _named_kind(target: Path) -> str:
    """Ending of the file that an output names; nothing for a folder."""
    if target.suffix == STORE or (target.suffix in NAMED and not target.is_dir()):
        return target.suffix
    if target.suffix.lower() in FORMATS and not target.is_dir():
        msg = (
            f"{target}: a result is written as {' or '.join(NAMED)}; name such a file, or a folder"
        )
        raise UsageError(msg)
    return ""


def _describe_origin(origin: Origin, lag: int, folder: Path) -> OriginSummary:
    """What a summary in a folder says of a file of frames."""
    place, table = input_place(origin.path, folder), origin.table_elsewhere
    elsewhere = InputPlace(*input_place(table, folder)) if table else None
    return OriginSummary(*place, origin.frames, lag, origin.repair, elsewhere)
