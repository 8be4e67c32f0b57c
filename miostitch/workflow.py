"""The whole workflow in one: stitch, trim, denoise."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from miostitch.config.choices import given, require_one_way
from miostitch.config.files import to_config
from miostitch.config.models import DenoiseConfig
from miostitch.denoising.run import (
    DENOISED,
    denoise_opened,
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
from miostitch.execution.results import (
    JSON,
    DenoiseSummary,
    StitchSummary,
    TrimStep,
    WorkflowSummary,
    read_summary,
)
from miostitch.execution.workspace import Workspace
from miostitch.recording.datasets import open_dataset, with_pictures_of
from miostitch.recording.files import StrPath, recording_names, segment_paths
from miostitch.recording.inputs import RecordingInput, open_input
from miostitch.recording.recording import open_recordings
from miostitch.recording.run_result import RunResult
from miostitch.schema import FRAME
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import run_stitch, settle_stitch
from miostitch.stitching.tables import input_facts
from miostitch.store.reader import Store
from miostitch.text import printable


def workflow_files(
    inputs: Sequence[RecordingInput],
    config: DenoiseConfig | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    trim: tuple[int, int] | None = None,
    options: StitchOptions | None = None,
    *,
    trim_start: int | None = None,
    trim_end: int | None = None,
    by: Literal["frame", "buffer"] | None = None,
    select: Literal["rule", "confidence"] | None = None,
    lag: int | Literal["auto"] | None = None,
    align: Literal["auto", "frame-num", "time"] | None = None,
    max_gap: float | None = None,
    max_frame_pixels: int | None = None,
    salvage: bool | None = None,
    strict: bool | None = None,
    report: bool | None = None,
    crate: bool | None = None,
    force: bool | None = None,
    restart: bool | None = None,
    memory_limit: int | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Stitch recordings of one session, trim and denoise the result.

    Parameters
    ----------
    inputs
        One path per recording, or its segments separated by commas; or open recordings. One alone
        is not stitched, and of the choices of stitching only ``lag`` concerns it; if it is open,
        it may have been edited.
    config
        How to denoise: an id, a path or an object; its thresholds also score the candidates.
    output
        Folder of all products; by default that of the configuration, else ``stitched``.
    trim
        Frames to leave out at the start and the end, instead of the next two.
    options
        How to stitch, instead of the keywords after the next two.
    trim_start, trim_end
        Frames to leave out at the start, and at the end.
    by, select, lag, align, max_gap
        How to stitch; see :func:`stitch_files`.
    max_frame_pixels, salvage, strict, report, crate, force, restart, memory_limit
        How to read, and to run; see :class:`StitchOptions`.
    name
        What the stitched products are called; by default after the recordings.
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
    ``force``: a run that failed or was interrupted is resumed by calling it again. The trimmed
    frames are not written on their own: they are denoised as they are read, and the products are
    called what trimming and then denoising would call them.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.workflow_files(
    ...     session.recordings, "denoise_example", folder.name, by="buffer", trim_start=5
    ... )
    >>> [step["step"] for step in made["steps"]]
    ['stitch', 'trim', 'denoise']
    >>> folder.cleanup()
    """
    config = to_config(config)
    choices = {
        "by": by,
        "select": select,
        "lag": lag,
        "align": align,
        "max_gap": max_gap,
        "max_frame_pixels": max_frame_pixels,
        "salvage": salvage,
        "strict": strict,
        "report": report,
        "crate": crate,
        "force": force,
        "restart": restart,
        "memory_limit": memory_limit,
        "name": name,
    }
    require_one_way(choices, options=options)
    ends = {"trim_start": trim_start, "trim_end": trim_end}
    require_one_way(ends, trim=trim)
    made = _run(
        inputs,
        config,
        output,
        trim or (trim_start or 0, trim_end or 0),
        options or StitchOptions(score=config.score_config(), **given(choices)),
        progress,
    )
    return RunResult(made.to_json())


def _run(
    inputs: Sequence[RecordingInput],
    config: DenoiseConfig,
    output: str | os.PathLike[str] | None,
    trim: tuple[int, int],
    options: StitchOptions,
    progress: Progress | None,
) -> WorkflowSummary:
    """Stitch if there are several recordings, trim and denoise."""
    folder = output_folder(output, config)
    reading = options.reading_alone
    require_products(config)
    ending = "_trimmed" if any(trim) else ""
    steps: list[JSON] = []
    told: list[str] = []
    if len(inputs) == 1:
        _require_no_choice(options)
        reading = replace(reading, lag=options.lag, strict=options.strict)
        dataset, told = open_input(inputs[0], reading)
        if options.session is not None:
            dataset = dataset.assign_attrs(session=dict(options.session))
        stem = options.name or Path(dataset.attrs["origins"][0]).stem
        workspace = Workspace(folder, stem + ending, DENOISED)
    else:
        specs, options = settle_stitch(inputs, options)
        stem = options.stem(specs)
        workspace = Workspace(folder, stem + ending, DENOISED)
        workspace.check([p for spec in specs for p in segment_paths(spec)], force=options.force)
        stitched = _stitch(specs, folder / stem, options, trim, progress)
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
    how = RunOptions(options.force, options.restart, progress, options.crate)
    made = denoise_opened(dataset, told, config, workspace, reading, how)
    steps.append({"step": "denoise", **made.to_json()})
    return WorkflowSummary(
        frames=made.frames,
        steps=steps,
        warnings=[warning for step in steps for warning in step["warnings"]],
        outputs=[path for step in steps for path in step["outputs"]],
    )


def _stitch(
    inputs: Sequence[StrPath],
    stem: Path,
    options: StitchOptions,
    trim: tuple[int, int],
    progress: Progress | None,
) -> StitchSummary:
    """Stitch, or find that an earlier run has done just that."""

    def accept(count: int) -> None:
        editing.require_left(count, *trim)

    before = None if options.force else find_stitched(inputs, stem, options)
    if before is not None:
        accept(before.frames)
        return replace(before, reused=True)
    summary = run_stitch(inputs, stem.parent, options, accept=accept, progress=progress)
    give_back()
    return summary


def find_stitched(
    inputs: Sequence[StrPath], stem: Path, options: StitchOptions
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
    names = recording_names(inputs)
    attrs = Store.open(f"{stem}{STORE}").attrs
    if attrs.get("recordings") != [*map(printable, names)]:
        return None
    recordings = open_recordings(inputs, options.reading, names=names)
    same = attrs.get("inputs") == input_facts(recordings)
    return replace(summary, outputs=made) if same else None


def find_denoised(
    recording: StrPath | None,
    stem: Path,
    config: DenoiseConfig,
    trim: tuple[int, int],
    options: StitchOptions,
) -> DenoiseSummary | None:
    """The summary of an earlier denoising, if all of it is there and would come out the same.

    ``recording``: the one that was not stitched; None where the stitched one is unchanged.
    """
    ending = "_trimmed" if any(trim) else ""
    path = stem.with_name(f"{stem.name}{ending}_denoised{SUMMARY}")
    found = read_summary(str(path))
    if not found or "dropped_frames" not in found:
        return None
    summary = DenoiseSummary.from_json(found)
    trims = [step["parameters"] for step in summary.history if step.get("step") == "trim"]
    wanted = [{"start": trim[0], "end": trim[1]}] if any(trim) else []
    described = json.loads(json.dumps(config.model_dump(mode="json")))
    if (summary.config, summary.versions, trims) != (described, used_versions(), wanted):
        return None
    if not all((stem.parent / Path(each).name).exists() for each in summary.outputs):
        return None
    if recording is None:
        stitched = Store.open(f"{stem}{STORE}").attrs.get("inputs")
    else:
        reading = replace(options.reading_alone, lag=options.lag)
        stitched = input_facts(open_recordings([recording], reading))
    return summary if summary.inputs == stitched else None


def _require_no_choice(options: StitchOptions) -> None:
    """Refuse choices that would have no effect, since one recording alone is not stitched."""
    for name in ("by", "select", "align", "max_gap", "min_confidence", "memory_limit", "report"):
        if getattr(options, name) != getattr(StitchOptions, name):
            option = f"--{'no-' if name == 'report' else ''}{name.replace('_', '-')}"
            msg = f"{name}: has no effect, since one recording is not stitched"
            raise UsageError(f"{msg}; leave {option} out, or name another recording")
