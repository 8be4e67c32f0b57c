"""Denoise a recording and publish the products."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from miostitch.config.files import to_config
from miostitch.config.models import Block, DenoiseConfig
from miostitch.crates.run import publish_result
from miostitch.denoising.chain import denoise_and_note, frames_before
from miostitch.editing.extra_outputs import Extras
from miostitch.editing.run import Edit
from miostitch.errors import MiostitchError, UsageError
from miostitch.execution.products import DENOISED_STEM, EDITED, TABLE, TIMESTAMPS
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import RunOptions
from miostitch.execution.results import DenoiseSummary
from miostitch.execution.workspace import Workspace
from miostitch.ranges import runs
from miostitch.recording.datasets import without_lost
from miostitch.recording.files import ReadOptions
from miostitch.recording.inputs import RecordingInput, open_input, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.schema import FRAME

TABLES = {"_patch.csv": TABLE, "_patch_timestamp.csv": TIMESTAMPS}
"""Tables of the kept frames under the names that mio gives them."""

DENOISED = (
    "_patch.avi",
    *TABLES,
    "_patch_noisy_frames.avi",
    "_patch_dropped_frames.txt",
    "_patch_patched_area.avi",
    "_flicker.avi",
    "_freq_mask.avi",
    "_freq_mask_freq_domain.avi",
    "_freq_mask_freq_mask.png",
    "_min_proj.avi",
    "_min_proj.png",
    *(DENOISED_STEM + suffix for suffix in EDITED),
)
"""Endings of everything that denoising can publish; the summary comes last."""


def denoise_files(
    recording: RecordingInput,
    config: DenoiseConfig | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    lag: int | Literal["auto"] | None = None,
    salvage: bool | None = None,
    strict: bool | None = None,
    max_frame_pixels: int | None = None,
    reading: ReadOptions | None = None,
    force: bool = False,
    restart: bool = False,
    crate: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Denoise a recording and publish the products, all or none.

    Parameters
    ----------
    recording
        A video, with or without a table, its segments separated by commas, or a store; or a
        recording that is open, with all edits that were made to it.
    config
        What to do, and which products to write: an id, a path or an object.
    output
        Folder of the products; by default that of the configuration, else ``stitched``.
    lag, salvage, strict, max_frame_pixels
        How to read a recording that is named by its path: frames by which the video is behind its
        table, ``auto`` by default; whether the part is used where video and table agree; whether a
        recording in doubt is refused; the largest frames that are read. An open recording was read
        already; a lag other than its own is refused.
    reading
        How to read, instead of these.
    force
        Overwrite existing results, once the new ones are complete.
    restart
        Start from scratch instead of resuming an interrupted run.
    crate
        Describe the results of the folder in ``ro-crate-metadata.json``.
    progress
        Called with frames done and frames in all of each pass over the video; what it
        raises ends the run.

    Returns
    -------
    dict
        The summary, as written to ``S_denoised.json``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> recording = miostitch.trim(miostitch.open_recording(session.recordings[0]), 5)
    >>> made = miostitch.denoise_files(recording, "denoise_example", folder.name)
    >>> made["frames"] + len(made["dropped_frames"]) == recording.sizes["frame"]
    True
    >>> folder.cleanup()
    """
    reading = settle_reading(
        reading, lag=lag, salvage=salvage, strict=strict, max_frame_pixels=max_frame_pixels
    )
    config = to_config(config)
    require_products(config)
    dataset, told = open_input(recording, reading)
    stem = Path(dataset.attrs["origins"][0]).stem
    workspace = Workspace(output_folder(output, config), stem, DENOISED)
    options = RunOptions(force, restart, progress, crate)
    made = denoise_opened(dataset, told, config, workspace, reading, options)
    return RunResult(made.to_json())


def output_folder(output: str | os.PathLike[str] | None, config: DenoiseConfig) -> Path:
    """Where results go."""
    return Path(os.path.abspath(output or config.output_dir or "stitched"))


def denoise_opened(
    dataset: xr.Dataset,
    told: Sequence[str],
    config: DenoiseConfig,
    workspace: Workspace,
    reading: ReadOptions,
    options: RunOptions,
) -> DenoiseSummary:
    """Denoise a recording and publish; outputs and sidecars are checked before it is read.

    ``told``: what a user should know of how it was opened.
    """
    edit = Edit.of(dataset, reading)
    described = config.model_dump(mode="json")
    with publish_result(workspace, edit.files, options) as run:
        edit.resume(run, reading, config=described)
        journal = run.journal("noise")
        looked_at = dataset.isel({FRAME: slice(frames_before(dataset, config))})
        read = without_lost(looked_at).sizes[FRAME]
        made = denoise_and_note(dataset, config, journal, progress=run.counted(read))
        found = made.dataset.sizes[FRAME] + made.dropped.sizes[FRAME]
        require_count("kept and dropped", found, read)
        edit = Edit.of(made.dataset, reading, edit.origins)
        extras = Extras(
            DENOISED_STEM,
            made.videos,
            made.dropped_videos,
            made.images,
            made.texts,
            TABLES if "_patch.avi" in made.videos else {},
            alone=not config.output_result,
            warnings=[*told, *_warnings(config)],
        )
        edited = edit.write(edit.all_kinds, run, extras)
        kept, dropped = (_numbers(part) for part in (made.dataset, made.dropped))
        resumed = edited.resumed_blocks + journal.recalled
        summary = DenoiseSummary(
            **{**vars(edited), "resumed_blocks": resumed},
            frames_before=read,
            dropped_frames=made.dropped[FRAME].values.tolist(),
            dropped_frame_num=dropped,
            kept_frame_num=runs(np.array(kept, np.int64)).tolist(),
            config=described,
            dropped_as=made.reasons,
            notices=config.notices,
        )
        return run.finish(summary)


def _warnings(config: DenoiseConfig) -> list[str]:
    """What a configuration leaves out that nobody would denoise without."""
    if _enabled(config):
        return []
    where = config.id or "the configuration"
    return [f"{where}: no stage is on, so the frames are as they were; enable one of them"]


def _numbers(part: xr.Dataset) -> list[int]:
    """Counters of the device, of the frames that have one."""
    if "frame_num" not in part.coords:
        return []
    numbers = part.frame_num.to_numpy()
    return [*numbers[numbers >= 0].tolist()]


def _enabled(config: DenoiseConfig) -> list[Block]:
    """The stages that are on."""
    stages = (
        config.noise_patch,
        config.flicker_correction,
        config.frequency_masking,
        config.minimum_projection,
    )
    return [stage for stage in stages if stage.enable]


def require_products(config: DenoiseConfig) -> None:
    """Refuse a configuration by which nothing would be written."""
    asked = any(
        value is True and name.startswith("output_")
        for stage in _enabled(config)
        for name, value in stage
    )
    if not config.output_result and not asked:
        where = config.id or "the configuration"
        raise UsageError(f"{where}: asks for no product; set output_result: true")


def require_count(what: str, found: int, expected: int) -> None:
    """Check our own count of frames."""
    if found != expected:
        raise MiostitchError(f"{found} frames were {what}, not {expected}; report this")
