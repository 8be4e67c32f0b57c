"""The whole workflow in one: stitch, trim, denoise."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from miostitch.config.models import DenoiseConfig
from miostitch.denoising.run import (
    DENOISED,
    denoise_opened,
    open_one,
    output_folder,
    require_count,
    require_products,
)
from miostitch.editing import operations as editing
from miostitch.errors import InputError, UsageError
from miostitch.execution.memory import give_back
from miostitch.execution.products import STORE, SUMMARY, VIDEO
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import RunOptions, used_versions
from miostitch.execution.results import JSON, StitchSummary, TrimStep, WorkflowSummary, read_summary
from miostitch.execution.workspace import Workspace
from miostitch.recording.datasets import open_dataset, with_pictures_of
from miostitch.recording.files import recording_names, segment_paths
from miostitch.recording.recording import open_recordings
from miostitch.schema import FRAME
from miostitch.stitching.run import StitchOptions, input_facts, run_stitch, stitched_stem
from miostitch.store.reader import Store


def workflow_files(
    inputs: Sequence[str],
    config: DenoiseConfig,
    output: str | os.PathLike[str] | None = None,
    trim: tuple[int, int] = (0, 0),
    options: StitchOptions | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Stitch recordings of one session, trim and denoise the result.

    Parameters
    ----------
    inputs
        One path per recording, or its segments separated by commas; one alone is not stitched, and
        of the choices of stitching only ``lag`` concerns it.
    config
        How to denoise; its thresholds also score the candidates.
    output
        Folder of all products; by default that of the configuration, else ``stitched``.
    trim
        Frames to leave out at the start and the end.
    options
        How to stitch.
    progress
        Called with frames done and frames in all of each step; what it raises ends the run.

    Returns
    -------
    dict
        ``steps``, for each its name as ``step`` and its summary; ``frames`` of the result; all
        ``warnings`` and ``outputs``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong. What a finished step published stays; of the others
        nothing stands under a final name.

    Notes
    -----
    All that can be checked is checked before a frame is written. What an earlier run of the same
    version stitched of the same files in the same way is not stitched again, unless the options say
    ``force``: a run that failed or was cut off later is continued by calling it again. The trimmed
    frames are not written on their own: they are denoised as they are read, and the products are
    called what trimming and then denoising would call them.
    """
    options = options or StitchOptions(score=config.score_config())
    folder, names = output_folder(output, config), recording_names(inputs)
    reading = options.reading_alone
    require_products(config)
    ending = "_trimmed" if any(trim) else ""
    steps: list[JSON] = []
    told: list[str] = []
    if len(inputs) == 1:
        _require_no_choice(options)
        reading = replace(reading, lag=options.lag)
        dataset, told = open_one(inputs[0], reading)
        stem = Path(dataset.attrs["origins"][0]).stem
        workspace = Workspace(folder, stem + ending, DENOISED)
    else:
        stem = stitched_stem(names)
        workspace = Workspace(folder, stem + ending, DENOISED)
        workspace.check([p for spec in inputs for p in segment_paths(spec)], force=options.force)
        stitched = _stitch(inputs, folder / stem, options, trim, progress)
        steps.append({"step": "stitch", **stitched.to_json()})
        dataset = open_dataset(folder / f"{stem}{STORE}", reading)
        require_count("stitched", dataset.sizes[FRAME], stitched.frames)
        if options.codec == "rawvideo":
            dataset = with_pictures_of(dataset, folder / f"{stem}{VIDEO}")
    if any(trim):
        before = dataset.sizes[FRAME]
        dataset = editing.trim(dataset, *trim)
        done = TrimStep(*trim, before, dataset.sizes[FRAME], warnings=[], outputs=[])
        steps.append({"step": "trim", **done.to_json()})
    how = RunOptions(options.force, options.restart, progress)
    made = denoise_opened(dataset, told, config, workspace, reading, how)
    steps.append({"step": "denoise", **made.to_json()})
    summary = WorkflowSummary(
        frames=made.frames,
        steps=steps,
        warnings=[warning for step in steps for warning in step["warnings"]],
        outputs=[path for step in steps for path in step["outputs"]],
    )
    return summary.to_json()


def _stitch(
    inputs: Sequence[str],
    stem: Path,
    options: StitchOptions,
    trim: tuple[int, int],
    progress: Progress | None,
) -> StitchSummary:
    """Stitch, or find that an earlier run has done just that."""

    def accept(count: int) -> None:
        editing.require_left(count, *trim)

    before = None if options.force else _stitched_before(inputs, stem, options)
    if before is not None:
        accept(before.frames)
        return replace(before, reused=True)
    summary = run_stitch(inputs, stem.parent, options, accept=accept, progress=progress)
    give_back()
    return summary


def _stitched_before(
    inputs: Sequence[str], stem: Path, options: StitchOptions
) -> StitchSummary | None:
    """The summary of an earlier stitch, if all of it is there and would come out the same."""
    try:
        summary = StitchSummary.from_json(read_summary(f"{stem}{SUMMARY}"))
    except InputError:
        return None
    config = json.loads(json.dumps(options.provenance))
    if summary.config != config or summary.versions != used_versions():
        return None
    made = [os.fspath(stem.with_name(Path(path).name)) for path in summary.outputs]
    if not all(map(os.path.exists, made)):
        return None
    recordings = open_recordings(inputs, options.reading, names=recording_names(inputs))
    same = Store.open(f"{stem}{STORE}").attrs.get("inputs") == input_facts(recordings)
    return replace(summary, outputs=made) if same else None


def _require_no_choice(options: StitchOptions) -> None:
    """Refuse choices that would have no effect, since one recording alone is not stitched."""
    for name in ("by", "align", "max_gap", "memory_limit"):
        if getattr(options, name) != getattr(StitchOptions, name):
            option = f"--{name.replace('_', '-')}"
            msg = f"{name}: has no effect, since one recording is not stitched"
            raise UsageError(f"{msg}; leave {option} out, or name another recording")
