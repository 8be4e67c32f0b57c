"""Export as MP4: a preview to look at and to send, not to analyse."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from miostitch.arrays import I64, U8
from miostitch.errors import Notice
from miostitch.execution.engine import Output, Products
from miostitch.export.frame_columns import FRAMES, write_frame_columns
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.export.selection import bin_video
from miostitch.origins.provenance import find_originals
from miostitch.recording.recording import Recording
from miostitch.schema import FILLED, FRAME, NO_FRAME, VIDEO, WIDTH
from miostitch.video.preview import PreviewFile, contrast, preview_rate

MP4 = ".mp4"
SAMPLES = 12  # Frames that decide the contrast, evenly spread
SHARES = (0.001, 0.999)  # Of the pixels, from which on they are black and white
MOST_RATE = 60  # Frames per s; of a faster preview frames are left out


def mp4(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan a preview."""
    folder, stem = named(output, MP4, source.stem)
    receivers, notices = _find_receivers(source) if options.receivers else ([], [])
    fps, step = preview_rate(source.rate * options.speed, MOST_RATE)
    video = source.kept.video
    width = video.sizes[WIDTH]
    titles = [((n + 1) * width, each.name) for n, each in enumerate(receivers)]
    parts = [video, *(_lazy_frames(each, source, options.binning) for each in receivers)]
    pixels = da.concatenate([part.data for part in parts], axis=2)
    shown = xr.DataArray(pixels, dims=VIDEO.dims)[::step]
    texts = _texts(source)[::step]

    def write(path: PathOf, advance: Advance) -> None:
        write_frame_columns(path(f"_{FRAMES}"), source)
        grays = contrast(_sample(video), SHARES)
        _, height, width = shown.shape
        file = PreviewFile(str(path(MP4)), width, height, fps, grays, texts, titles)
        frames = Output(VIDEO.name, file.pack, file.open)
        preview = replace(source, kept=replace(source.kept, video=shown))
        preview.write_video(Products(path(MP4).parent, (frames,)), advance)

    return Plan(folder, stem, (MP4, f"_{FRAMES}"), 0, write, notices)


@dataclass(frozen=True)
class Receiver:
    """A recording whose frames are shown next to those of the result."""

    name: str
    recording: Recording
    frames: I64  # Which of its frames belongs to each of the result, -1 for none, (frame,)


def _find_receivers(source: Source) -> tuple[list[Receiver], list[Notice]]:
    """Find the recordings that a result was made of, and say which are not available."""
    store = source.kept.origins[0].store
    table = {} if store is None else store.arrays("scores", ("source_frame",))
    if store is None or not table or len(source.kept.origins) > 1:
        text = "is not one stitched result, so that no receivers are known to be shown next to it"
        return [], [Notice(source.path, text, "name the store of a stitch")]
    names, found = store.attrs["recordings"], find_originals(store.path)
    receivers, notices = [], []
    for name, each, frames in zip(names, found, table["source_frame"], strict=True):
        if isinstance(each, Recording):
            own = frames[source.kept.origin_frame]
            if source.filled is not None:
                own = np.where(source.filled, NO_FRAME, own)
            receivers.append(Receiver(name, each, own))
        else:
            notices.append(Notice("", each, "the receiver is left out of the preview"))
    return receivers, notices


def _lazy_frames(receiver: Receiver, source: Source, size: int) -> xr.DataArray:
    """The frames of a receiver as a lazy video, black where it has none."""
    _, height, width = receiver.recording.shape
    places = da.from_array(receiver.frames, chunks=source.block)
    video = places.map_blocks(
        partial(_read, receiver.recording),
        dtype=np.uint8,
        chunks=(places.chunks[0], (height,), (width,)),
        new_axis=[1, 2],
        meta=np.empty((0, 0, 0), np.uint8),
    )
    lazy = xr.DataArray(video, dims=VIDEO.dims)
    return bin_video(lazy, size) if size > 1 else lazy


def _read(recording: Recording, frames: I64) -> U8:
    return recording.read(frames)


def _sample(video: xr.DataArray) -> U8:
    """Some frames, evenly spread; one block of them is in memory at a time."""
    count = video.sizes[FRAME]
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLES)).round().astype(int))
    return np.stack([video[frame].to_numpy() for frame in chosen.tolist()])


def _texts(source: Source) -> list[str]:
    """What is written under each frame: elapsed time, the device's number, and damage."""
    known = source.dataset
    seconds: Any = np.arange(source.count) / source.rate
    if "time" in known.coords:
        seconds = known["time"].to_numpy()
    numbers = np.arange(source.count)
    if "frame_num" in known.coords:
        numbers = known["frame_num"].to_numpy()
    damaged = np.zeros(source.count, np.bool_) if source.damaged is None else source.damaged
    words = np.where(damaged, "damaged", "")
    if FILLED.name in known.coords:
        words = np.where(known[FILLED.name].to_numpy(), "filled", words)
    rows = zip(seconds.tolist(), numbers.tolist(), words.tolist(), strict=True)
    return [_text(*row) for row in rows]


def _text(seconds: float, number: int, what: str) -> str:
    """What is written under a frame.

    >>> _text(3723.456, 12, "damaged")
    '1:02:03.456  #12  damaged'
    """
    clock = f"{timedelta(milliseconds=round(1000 * seconds))}"
    clock = clock[:-3] if "." in clock else f"{clock}.000"
    return "  ".join([clock, f"#{number}", *filter(None, [what])])
