"""Denoising as one chain of stages, and everything that a configuration asks it to show."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from miostitch.arrays import U8
from miostitch.config.files import to_config
from miostitch.config.models import DenoiseConfig, NoisePatchConfig
from miostitch.denoising import filters as filtering
from miostitch.denoising.stages import (
    DETECTOR,
    PROJECTION,
    REASONS,
    Filter,
    correct_flicker,
    count_reasons,
    drop,
    extremes,
    flicker_correction,
    mark_rows,
    noise,
    noisy,
    noted,
    remove_stripes,
    require_any_kept,
    sample,
    spectra,
    stripe_filter,
    subtract_background,
)
from miostitch.editing.picking import in_blocks, pick
from miostitch.errors import MiostitchError
from miostitch.execution.checkpoint import Journal
from miostitch.execution.engine import Tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.recording.accessor import RecordingAccessor
from miostitch.recording.datasets import record_selection, without_lost
from miostitch.schema import FRAME, HEIGHT, LOST, VIDEO, WIDTH
from miostitch.text import describe_reasons, show_facts, show_facts_html
from miostitch.video.png import thumbnail_uri

PER_FRAME = ("rows", "noisy")  # what the first pass learns of each frame


@dataclass(frozen=True, repr=False)
class Denoised:
    """What denoising makes of a recording: all videos lazy, all else small and computed.

    Parameters
    ----------
    dataset
        The result, with ``frame`` counted from 0 again.
    dropped
        The frames that were left out, as they came; ``frame`` is their position in the input.
    rows
        Flagged rows of every frame that was looked at, int64 (frame, detector); no frame where the
        stage is off.
    videos
        Further videos that the configuration asks for, by the ending of their file; uint8 (frame,
        height, width), of the same frames and in the same blocks as the result.
    dropped_videos
        The same of the dropped frames.
    images
        Images that it asks for, uint8 (height, width).
    texts
        Lists that it asks for.
    """

    dataset: xr.Dataset
    dropped: xr.Dataset
    rows: xr.DataArray
    videos: Mapping[str, xr.DataArray]
    dropped_videos: Mapping[str, xr.DataArray]
    images: Mapping[str, U8]
    texts: Mapping[str, str]

    def __repr__(self) -> str:
        return show_facts(self._title, self._facts())

    def _repr_html_(self) -> str:
        facts, image = self._facts(), ""
        try:
            image = self._thumbnail()
        except (MiostitchError, OSError) as error:
            facts.append(("image", f"cannot be read: {error}"))
        return show_facts_html(self._title, facts, image)

    @property
    def _title(self) -> str:
        return f"denoised {RecordingAccessor(self.dataset).name}"

    @property
    def reasons(self) -> dict[str, int] | None:
        """How many frames were left out for noise, for black areas, for both; None: for nothing."""
        steps = self.dataset.attrs.get("history", [])
        found: dict[str, int] | None = next((s[REASONS] for s in steps[::-1] if REASONS in s), None)
        return found if len(self.rows) else None

    def _facts(self) -> list[tuple[str, str]]:
        """What is left and what was removed, and what else there is to be written."""
        facts = dict(RecordingAccessor(self.dataset).facts)
        kept, gone = self.dataset.sizes[FRAME], self.dropped.sizes[FRAME]
        why = describe_reasons(self.reasons or {})
        lines = [("frames", facts["frames"]), ("removed", f"{gone} of {kept + gone} frames{why}")]
        lines += [(name, facts[name]) for name in ("duration", "frame_num") if name in facts]
        extras = [*self.videos, *self.dropped_videos, *self.images, *self.texts]
        return [*lines, ("also made", ", ".join(extras))] if extras else lines

    def _thumbnail(self) -> str:
        """The middle frame; none where it would have to be stitched first."""
        if not self.dataset.sizes[FRAME] or "stitches" in self.dataset.attrs:
            return ""
        video = self.dataset[VIDEO.name]
        return thumbnail_uri(video[len(video) // 2].to_numpy())


def denoise(
    ds: xr.Dataset,
    config: DenoiseConfig | str | os.PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> Denoised:
    """Denoise a recording: drop noisy frames, correct flicker, filter stripes, subtract background.

    Parameters
    ----------
    ds
        ``video`` uint8 (frame, height, width), as of :func:`miostitch.open_recording`.
    config
        Stages and their settings: the id or path of a configuration, or an object, as of
        :func:`miostitch.load_config`.
    progress
        Called with the number of frames of every span that was read.

    Returns
    -------
    Denoised
        The lazy result, and whatever else the configuration asks for.

    Raises
    ------
    UsageError
        ``ds`` holds no such video.
    InputError
        Every frame is noisy, or a frame cannot be read.

    Notes
    -----
    Reads the video once, for what a frame of the result must know of all others: which frames
    stay, and the background; before that at most 255 frames for their usual brightness, if flicker
    is corrected. It reads nothing where none of these is asked for. The frames themselves are
    computed when the result is written. Memory is bounded by the blocks in flight.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> recording = miostitch.open_recording(session.recordings[0])
    >>> made = miostitch.denoise(recording, "denoise_example")
    >>> made.dataset.sizes["frame"] + made.dropped.sizes["frame"] == recording.sizes["frame"]
    True
    >>> folder.cleanup()
    """
    return denoise_and_note(ds, to_config(config), None, progress=progress)


def denoise_and_note(
    ds: xr.Dataset,
    config: DenoiseConfig,
    journal: Journal | None,
    *,
    progress: Callable[[int], None] | None = None,
) -> Denoised:
    """Denoise a recording as :func:`denoise` does, so that a run that is cut off can go on."""
    whole = record_selection(in_blocks(ds))
    whole = _first(whole, frames_before(whole, config))
    ds = without_lost(whole)
    readable = ~whole[LOST.name].to_numpy() if LOST.name in whole.coords else slice(None)
    places = whole[FRAME].to_numpy()[readable]  # in the input
    ds = pick(ds, np.arange(ds.sizes[FRAME]))  # in equal blocks, which are those of the writers
    usual = _usual_values(ds, config)
    filters = _filters(ds, usual, config)
    rows, flags, projections = _first_pass(ds, config, filters, progress, journal)
    all_of_them = ds.assign_coords({FRAME: np.arange(ds.sizes[FRAME])})
    kept = drop(ds, flags) if config.noise_patch.enable else all_of_them
    steady = filtered = (
        correct_flicker(kept, config.flicker_correction, usual)
        if config.flicker_correction.enable
        else kept
    )
    if config.frequency_masking.enable:
        filtered = remove_stripes(steady, config.frequency_masking)
    result = filtered
    if config.minimum_projection.enable:
        normalize = config.minimum_projection.normalize
        result = subtract_background(filtered, projections, normalize=normalize)
    gone = np.flatnonzero(flags)
    dropped = pick(ds, gone).assign_coords({FRAME: (FRAME, places[gone], ds[FRAME].attrs)})
    stages = {"kept": kept, "steady": steady, "filtered": filtered, "result": result}
    return Denoised(
        result,
        dropped,
        rows,
        _videos({name: stage[VIDEO.name] for name, stage in stages.items()}, config),
        _dropped_videos(dropped, config.noise_patch),
        _images(ds, projections, config),
        _texts(dropped, config.noise_patch),
    )


def frames_before(ds: xr.Dataset, config: DenoiseConfig) -> int:
    """How many frames of a recording are looked at: up to ``end_frame``, or all."""
    count = ds.sizes[FRAME]
    return count if config.end_frame in (None, -1) else min(count, config.end_frame + 1)


def _first(ds: xr.Dataset, frames: int) -> xr.Dataset:
    """Leave out the frames that are not looked at."""
    count = ds.sizes[FRAME]
    if frames == count:
        return ds
    return noted(ds.isel({FRAME: slice(frames)}), step="end", frames=count, end=frames - 1)


def _usual_values(ds: xr.Dataset, config: DenoiseConfig) -> xr.DataArray:
    """The usual value of every pixel, by a sample of the frames that are not noisy.

    No pixel and no reading where nothing needs it.
    """
    if not config.flicker_correction.enable:
        return xr.DataArray(np.empty((0, 0), np.uint8), dims=(HEIGHT, WIDTH))
    chosen = sample(xr.Dataset({VIDEO.name: ds[VIDEO.name].variable}))
    tables = xr.Dataset({"frames": chosen[VIDEO.name].variable})
    if config.noise_patch.enable:
        tables["noisy"] = noisy(noise(chosen, config.noise_patch), config.noise_patch).variable
    parts: list[Tables] = []
    run_blocks(
        lambda span: LazyBlock.of(xr.Dataset(), tables.isel({FRAME: span})),
        chosen.sizes[FRAME],
        max(chosen.chunksizes[FRAME]),
        lambda span, found: parts.append(found),
    )
    frames = np.concatenate([part["frames"] for part in parts])
    if config.noise_patch.enable:
        flags = np.concatenate([part["noisy"] for part in parts])
        require_any_kept(flags, ds)
        frames = frames[~flags]
    return xr.DataArray(filtering.temporal_median(frames), dims=(HEIGHT, WIDTH))


def _filters(ds: xr.Dataset, usual: xr.DataArray, config: DenoiseConfig) -> list[Filter]:
    """What the frames go through, one after the other, before the background is subtracted."""
    found: list[Filter] = []
    if config.flicker_correction.enable:
        found.append(flicker_correction(usual.to_numpy(), config.flicker_correction))
    if config.frequency_masking.enable:
        found.append(stripe_filter(ds, config.frequency_masking))
    return found


def _first_pass(
    ds: xr.Dataset,
    config: DenoiseConfig,
    filters: list[Filter],
    progress: Callable[[int], None] | None,
    journal: Journal | None,
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Read the video once: flagged rows, noisy frames, and the extremes of the others, filtered.

    What no stage needs is neither computed nor read; its array is empty, or says no.
    """
    patch, count = config.noise_patch, ds.sizes[FRAME]
    rows = xr.DataArray(np.empty((0, len(filtering.METHODS)), np.int64), dims=(FRAME, DETECTOR))
    flags = xr.DataArray(np.zeros(count, np.bool_), dims=FRAME)
    extent = (ds.sizes[HEIGHT], ds.sizes[WIDTH]) if config.minimum_projection.enable else (0, 0)
    found = [filtering.extremes(np.empty((0, *extent), np.uint8))]
    parts: list[Tables] = []
    # without coordinates, which a store would be read for again and again
    bare = xr.Dataset({VIDEO.name: ds[VIDEO.name].variable})

    def append(span: slice, tables: Tables) -> None:
        parts.append({name: tables[name] for name in PER_FRAME if name in tables})
        if "projections" in tables:
            blocks = [found[0][np.newaxis], tables["projections"]]
            found[0] = filtering.combine_extremes(np.concatenate(blocks))

    if patch.enable or config.minimum_projection.enable:
        run_blocks(
            lambda span: LazyBlock.of(xr.Dataset(), _looked_at(bare, config, filters, span)),
            count,
            max(bare.chunksizes[FRAME]),
            append,
            journal=journal,
            progress=progress,
        )
    if patch.enable:
        coords = {name: each for name, each in ds.coords.items() if {*each.dims} <= {FRAME}}
        known = {**xr.Dataset(coords=coords).compute().coords}
        lazy = _looked_at(bare, config, filters)
        rows, flags = (
            lazy[name]
            .copy(data=np.concatenate([part[name] for part in parts]))
            .assign_coords(known)
            for name in PER_FRAME
        )
        flags = flags.assign_attrs({REASONS: count_reasons(rows.to_numpy(), patch)})
    return rows, flags, xr.DataArray(found[0], dims=(PROJECTION, HEIGHT, WIDTH))


def _looked_at(
    ds: xr.Dataset, config: DenoiseConfig, filters: list[Filter], span: slice = slice(None)
) -> xr.Dataset:
    """What the first pass learns of some frames, lazily."""
    part, found = ds.isel({FRAME: span}), xr.Dataset()
    drops = None
    if config.noise_patch.enable:
        found["rows"] = noise(part, config.noise_patch)
        found["noisy"] = drops = noisy(found["rows"], config.noise_patch)
    if config.minimum_projection.enable:
        found["projections"] = extremes(part[VIDEO.name], drops, filters)
    return found


def _videos(stages: Mapping[str, xr.DataArray], config: DenoiseConfig) -> dict[str, xr.DataArray]:
    patch, masking, flicker = (
        config.noise_patch,
        config.frequency_masking,
        config.flicker_correction,
    )
    made = {}
    if patch.enable and patch.output_result:
        made["_patch.avi"] = stages["kept"]
    if flicker.enable and flicker.output_result:
        made["_flicker.avi"] = stages["steady"]
    if masking.enable and masking.output_result:
        made["_freq_mask.avi"] = stages["filtered"]
    if masking.enable and masking.output_freq_domain:
        made["_freq_mask_freq_domain.avi"] = spectra(stages["steady"])
    if config.minimum_projection.enable and config.minimum_projection.output_result:
        made["_min_proj.avi"] = stages["result"]
    return made


def _dropped_videos(dropped: xr.Dataset, config: NoisePatchConfig) -> dict[str, xr.DataArray]:
    made = {}
    if config.enable and dropped.sizes[FRAME]:
        if config.output_noisy_frames:
            made["_patch_noisy_frames.avi"] = dropped[VIDEO.name]
        if config.output_noise_patch:
            made["_patch_patched_area.avi"] = mark_rows(dropped[VIDEO.name], config)
    return made


def _images(ds: xr.Dataset, projections: xr.DataArray, config: DenoiseConfig) -> dict[str, U8]:
    masking = config.frequency_masking
    made = {}
    if masking.enable and masking.output_mask:
        mask = stripe_filter(ds, masking).mask
        made["_freq_mask_freq_mask.png"] = np.where(mask, 255, 0).astype(np.uint8)
    if config.minimum_projection.enable and config.minimum_projection.output_min_projection:
        made["_min_proj.png"] = projections.to_numpy()[0]
    return made


def _texts(dropped: xr.Dataset, config: NoisePatchConfig) -> dict[str, str]:
    if not (config.enable and config.output_noisy_frames):
        return {}
    return {"_patch_dropped_frames.txt": "".join(f"{n}\n" for n in dropped[FRAME].values)}
