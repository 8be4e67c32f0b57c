"""Denoise files, and the whole way: stitch, trim, denoise."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from miostitch import editing
from miostitch.beside import Extras
from miostitch.computing import require_paths
from miostitch.config import (
    DenoiseConfig,
    FrequencyMaskingConfig,
    MinimumProjectionConfig,
    NoisePatchConfig,
)
from miostitch.datasets import (
    STORE,
    open_dataset,
    open_datasets,
    read_summary,
    with_pictures_of,
    without_lost,
)
from miostitch.denoising import Denoised, denoise_and_note, frames_before
from miostitch.errors import MiostitchError, UsageError
from miostitch.journal import Journal
from miostitch.memory import give_back
from miostitch.opening import ReadOptions, recording_names, segment_paths
from miostitch.progress import Progress, counted
from miostitch.publishing import require_name, used_versions
from miostitch.recording import load_recordings
from miostitch.runs import runs
from miostitch.saving import SUFFIXES, Edit
from miostitch.schema import FRAME
from miostitch.staging import Workspace
from miostitch.store import store_facts
from miostitch.workflow import (
    StitchOptions,
    input_facts,
    stitch_files,
    stitched_stem,
)

ENDING = "_denoised"
TABLES = {"_patch.csv": ".csv", "_patch_timestamp.csv": "_timestamps.csv"}
"""Tables of the kept frames under the names that mio gives them."""

DENOISED = (
    "_patch.avi",
    *TABLES,
    "_patch_noisy_frames.avi",
    "_patch_dropped_frames.txt",
    "_patch_patched_area.avi",
    "_freq_mask.avi",
    "_freq_mask_freq_domain.avi",
    "_freq_mask_freq_mask.png",
    "_min_proj.avi",
    "_min_proj.png",
    *(ENDING + suffix for suffix in SUFFIXES),
)
"""Endings of everything that denoising can publish; the summary comes last."""

FOLDER = "stitched"
"""Where results go if neither the call nor the configuration says it."""


def denoise_files(
    path: str | os.PathLike[str],
    config: DenoiseConfig,
    output: str | os.PathLike[str] | None = None,
    *,
    reading: ReadOptions | None = None,
    force: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Denoise a recording and publish the products, all or none.

    Parameters
    ----------
    path
        A video, with or without a table, its segments separated by commas, or a store.
    config
        What to do, and which products to write.
    output
        Folder of the products; by default that of the configuration, else ``stitched``.
    reading
        How to read.
    force
        Replace existing products once the new ones are whole.
    restart
        Begin anew even if an earlier run was cut off that could be continued.
    progress
        Called with frames done and frames in all of each pass over the video, from any thread.

    Returns
    -------
    dict
        The summary, as written to ``S_denoised.json``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.
    """
    reading = reading or ReadOptions(need_table=False)
    _require_products(config)
    told: list[str] = []
    dataset = _opened(path, reading, told)
    workspace = _workspace(output_folder(output, config), Path(dataset.attrs["origins"][0]).stem)
    again = {"force": force, "restart": restart}
    return _denoise(dataset, config, workspace, reading, told, **again, progress=progress)


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
        Called with frames done and frames in all of each step, from any thread.

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
    _require_products(config)
    ending = "_trimmed" if any(trim) else ""
    steps = []
    told: list[str] = []
    if len(inputs) == 1:
        _require_no_choice(options)
        reading = replace(reading, lag=options.lag)
        dataset = _opened(inputs[0], reading, told)
        stem = Path(dataset.attrs["origins"][0]).stem
        workspace = _workspace(folder, stem + ending)
    else:
        stem = stitched_stem(names)
        workspace = _workspace(folder, stem + ending)
        workspace.check([p for spec in inputs for p in segment_paths(spec)], force=options.force)
        stitched = _stitch(inputs, folder / stem, options, trim, progress)
        steps.append({"step": "stitch", **stitched})
        dataset = open_dataset(folder / f"{stem}{STORE}", reading)
        _require_count("stitched", dataset.sizes[FRAME], stitched["frames"])
        if options.codec == "rawvideo":
            dataset = with_pictures_of(dataset, folder / f"{stem}.avi")
    if any(trim):
        before = dataset.sizes[FRAME]
        dataset = editing.trim(dataset, *trim)
        after = dataset.sizes[FRAME]
        _require_count("trimmed", after, before - sum(trim))
        done = {"start": trim[0], "end": trim[1], "frames_before": before, "frames": after}
        steps.append({"step": "trim", **done, "warnings": [], "outputs": []})
    again = {"force": options.force, "restart": options.restart}
    made = _denoise(dataset, config, workspace, reading, told, **again, progress=progress)
    steps.append({"step": "denoise", **made})
    return {
        "frames": made["frames"],
        "steps": steps,
        "warnings": [warning for step in steps for warning in step["warnings"]],
        "outputs": [path for step in steps for path in step["outputs"]],
    }


def _stitch(
    inputs: Sequence[str],
    stem: Path,
    options: StitchOptions,
    trim: tuple[int, int],
    progress: Progress | None,
) -> dict[str, Any]:
    """Stitch, or find that an earlier run has done just that; check the numbers of frames."""
    summary = None if options.force else _stitched_before(inputs, stem, options)
    if summary is not None:
        require_left(summary["frames"], trim)
        return {**summary, "reused": True}
    accepted: list[int] = []

    def accept(count: int) -> None:
        require_left(count, trim)
        accepted.append(count)

    summary = stitch_files(inputs, stem.parent, options, accept=accept, progress=progress)
    give_back()
    if not options.drop_damaged:
        _require_count("stitched", summary["frames"], accepted[0])
    return summary


def _stitched_before(
    inputs: Sequence[str], stem: Path, options: StitchOptions
) -> dict[str, Any] | None:
    """The summary of an earlier stitch, if all of it is there and would come out the same."""
    summary = read_summary(f"{stem}.avi")
    if not {"config", "versions", "frames"} <= summary.keys():
        return None
    made = [os.fspath(stem.with_name(Path(path).name)) for path in summary["outputs"]]
    config = json.loads(json.dumps(options.provenance))
    known = summary["config"] == config and summary["versions"] == used_versions()
    if not (known and all(map(os.path.exists, made))):
        return None
    recordings = load_recordings(inputs, options.reading, names=recording_names(inputs))
    same = store_facts(f"{stem}{STORE}").attrs.get("inputs") == input_facts(recordings)
    return {**summary, "outputs": made} if same else None


def output_folder(output: str | os.PathLike[str] | None, config: DenoiseConfig) -> Path:
    """Where results go."""
    return Path(os.path.abspath(output or config.output_dir or FOLDER))


def require_left(count: int, trim: tuple[int, int]) -> None:
    """Refuse to trim so much that no frame is left, before any is there."""
    editing.trim(xr.Dataset({"frames": (FRAME, np.empty(count, np.bool_))}), *trim)


def _opened(path: str | os.PathLike[str], reading: ReadOptions, told: list[str]) -> xr.Dataset:
    """Open a recording; `told` takes what is assumed of its lag."""
    [dataset] = open_datasets(
        [path], reading, tell=lambda recording: told.extend(recording.lag_notices)
    )
    return dataset


def _workspace(folder: Path, stem: str) -> Workspace:
    require_name(stem, DENOISED)
    return Workspace(folder, stem, DENOISED)


def _denoise(
    dataset: xr.Dataset,
    config: DenoiseConfig,
    workspace: Workspace,
    reading: ReadOptions,
    told: Sequence[str],
    *,
    force: bool,
    restart: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    """Denoise a recording and publish; outputs and companions are checked before it is read."""
    edit = Edit.of(dataset, reading)
    with workspace.open(edit.files, force=force, resumable=True):
        decisive = edit.fingerprint(reading, config=config.model_dump(mode="json"))
        require_paths([*edit.files, os.fspath(workspace.output)])
        workspace.go_on(decisive, restart=restart)
        journal = Journal(workspace.journal("noise"))
        looked_at = dataset.isel({FRAME: slice(frames_before(dataset, config))})
        read = without_lost(looked_at).sizes[FRAME]
        made = denoise_and_note(dataset, config, journal, progress=counted(progress, read))
        _require_count("kept and dropped", *(_sizes(made), read))
        edit = Edit.of(made.dataset, reading, edit.origins)
        warnings = [*told, *_warnings(config)]
        extras = replace(_extras(made, config), warnings=warnings, resumed_blocks=journal.recalled)
        summary = edit.write(edit.all_kinds, workspace, extras=extras, progress=progress)
        workspace.publish()
    return summary


def _sizes(made: Denoised) -> int:
    return made.dataset.sizes[FRAME] + made.dropped.sizes[FRAME]


def _extras(made: Denoised, config: DenoiseConfig) -> Extras:
    """What is written beside the result, and what the summary says of it."""
    kept, dropped = (_numbers(part) for part in (made.dataset, made.dropped))
    return Extras(
        ENDING,
        made.videos,
        made.dropped_videos,
        made.images,
        made.texts,
        TABLES if "_patch.avi" in made.videos else {},
        alone=not config.output_result,
        facts={
            "frames_before": _sizes(made),
            "dropped_frames": made.dropped[FRAME].values.tolist(),
            "dropped_frame_num": dropped,
            "kept_frame_num": runs(np.array(kept, np.int64)).tolist(),
            "config": config.model_dump(mode="json"),
            "notices": config.notices,
        },
    )


def _warnings(config: DenoiseConfig) -> list[str]:
    """What a configuration leaves out that nobody would denoise without."""
    if any(stage.enable for stage in _stages(config)):
        return []
    where = config.id or "the configuration"
    return [f"{where}: no stage is on, so the frames are as they were; enable one of them"]


def _numbers(part: xr.Dataset) -> list[int]:
    """Counters of the device, of the frames that have one."""
    if "frame_num" not in part.coords:
        return []
    numbers = part.frame_num.values
    found: list[int] = numbers[numbers >= 0].tolist()
    return found


def _stages(
    config: DenoiseConfig,
) -> tuple[NoisePatchConfig, FrequencyMaskingConfig, MinimumProjectionConfig]:
    return config.noise_patch, config.frequency_masking, config.minimum_projection


def _require_products(config: DenoiseConfig) -> None:
    """Refuse a configuration by which nothing would be written."""
    asked = any(
        value is True and name.startswith("output_")
        for stage in _stages(config)
        if stage.enable
        for name, value in stage
    )
    if not config.output_result and not asked:
        where = config.id or "the configuration"
        raise UsageError(f"{where}: asks for no product; set output_result: true")


def _require_no_choice(options: StitchOptions) -> None:
    """Refuse choices that would have no effect, since one recording alone is not stitched."""
    for name in ("by", "align", "max_gap", "memory_limit"):
        if getattr(options, name) != getattr(StitchOptions, name):
            option = f"--{name.replace('_', '-')}"
            msg = f"{name}: has no effect, since one recording is not stitched"
            raise UsageError(f"{msg}; leave {option} out, or name another recording")


def _require_count(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise MiostitchError(f"{found} frames were {what}, not {expected}; report this")
