"""``recording.miostitch``: what a recording is, in a few lines, and its images."""

import importlib
from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.buffers.device_counter import count_numbers, join_fragments
from miostitch.buffers.elapsed_time import measured_rate, stated_rate
from miostitch.buffers.frame_table import Reception, count_reception
from miostitch.errors import MiostitchError, UsageError
from miostitch.schema import (
    COMPOSITE,
    FRAME,
    HEIGHT,
    MOST_BUFFERS,
    VIDEO,
    WIDTH,
    chunk_frames,
)
from miostitch.text import amount, clock, show_facts, show_facts_html
from miostitch.video.png import thumbnail_uri

Projection = Literal["mean", "max", "min"]

NO_INTACT = "no frame is intact; damaged=True takes the damaged ones, too"


@xr.register_dataset_accessor("miostitch")  # type: ignore[no-untyped-call]
class RecordingAccessor:
    """What a recording is, as text, as numbers and as images.

    What :func:`miostitch.open_recording` gives has it, and so has every selection of its frames:
    it always speaks of the frames that are left. After ``import miostitch.recording.accessor`` a
    store that was opened by ``xarray.open_zarr`` has it too.

    Parameters
    ----------
    dataset
        A recording.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> config = miostitch.SimulationConfig(frames=300, seed=2)
    >>> session = miostitch.simulate(folder.name, config)
    >>> recording = miostitch.open_recording(session.recordings[0])
    >>> recording.miostitch
    recording receiver1
      frames         293 of 200 x 200 pixels
      duration       0:00:14.650 at 20 frames per second
      frame_num      2500 to 2793, 3 lost
      buffers lost   104 of 2328 (4.47 %)
    >>> recording.isel(frame=slice(100)).miostitch.summary()["lost_frames"]
    1
    >>> recording.miostitch.projection("max").compute().shape
    (200, 200)
    >>> folder.cleanup()
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> dict[str, Any]:
        """Count frames and losses, and measure the duration.

        Returns
        -------
        dict
            JSON values: ``name``, ``frames``, ``height``, ``width``, ``fps`` of the file,
            ``measured_fps`` by the timestamps or None; ``duration_s`` between the first frame and
            the last, None where a stitch has not computed the times; and, where the recording has
            them, ``frame_num`` of the first and the last frame, ``lost_frames`` that the counter
            skips, ``buffers`` and ``lost_buffers`` of the frames that are there, ``damaged`` and
            ``unrecoverable`` frames, ``missing_pixels``, and ``sources``, the frames that each
            recording gave.

        Notes
        -----
        No frame is read: what :func:`miostitch.stitch` would have to compute is left out.
        """
        dataset = self._dataset
        found: dict[str, Any] = {"name": self.name}
        found["frames"], found["height"], found["width"] = (
            dataset.sizes[dim] for dim in (FRAME, HEIGHT, WIDTH)
        )
        found["fps"] = str(dataset.attrs["fps"]) if "fps" in dataset.attrs else None
        known = {name: self._known(name) for name in map(str, dataset.coords)}
        table = {name: values for name, values in known.items() if values is not None}
        times = table.get("time", table.get("timestamp_first"))
        unknown = times is None and "time" in known  # of a stitch that is not computed yet
        found["measured_fps"] = None
        if times is not None and "frame_num" in table:
            found["measured_fps"] = measured_rate(table["frame_num"], times)
        found["duration_s"] = None if unknown else self._duration(times)
        sent = dataset["num_buffers"].attrs.get(MOST_BUFFERS) if "num_buffers" in table else None
        found |= _losses(table, sent)
        for name in ("damaged", "unrecoverable", "missing_pixels"):
            if name in table:
                found[name] = int(table[name].sum())
        if "source" in table:
            names = dataset.attrs.get("recordings", [])
            counts = {name: int((table["source"] == n).sum()) for n, name in enumerate(names)}
            found["sources"] = counts | {"several": int((table["source"] == COMPOSITE).sum())}
        return found

    def projection(self, how: Projection = "mean", *, damaged: bool = False) -> xr.DataArray:
        """One image of all frames, lazily.

        Parameters
        ----------
        how
            ``mean`` (float64), ``max`` or ``min`` (uint8).
        damaged
            Whether damaged and unrecoverable frames take part, too. Of a recording that was not
            stitched, these are the frames without all of their buffers.

        Returns
        -------
        xarray.DataArray
            (height, width); ``.compute()`` reads the frames block by block.

        Raises
        ------
        UsageError
            No frame is left. Where damage is computed together with the frames, as
            :func:`miostitch.stitch` does, that is found when the image is.
        """
        if how not in get_args(Projection):
            raise UsageError(f"how {how!r}: must be mean, max or min")
        video = self._dataset[VIDEO.name]
        if video.chunks is None:
            block = chunk_frames(video.sizes[HEIGHT], video.sizes[WIDTH])
            video = video.chunk({FRAME: block})
        bad = None if damaged else self._damaged()
        if bad is not None and bad.chunks is not None:
            image = _project_some(video, how, ~bad)
        else:
            if bad is not None and bad.any():
                video = video.isel({FRAME: np.flatnonzero(~bad.to_numpy())})
            if not video.sizes[FRAME]:
                raise UsageError(NO_INTACT)
            image = getattr(video, how)(FRAME, keep_attrs=True)
        return image.drop_vars(set(image.coords) - {HEIGHT, WIDTH}).rename(f"{how}_projection")

    def plot(
        self,
        frame: int | Projection = 0,
        *,
        frame_num: int | None = None,
        damaged: bool = False,
        ax: Any = None,
    ) -> Any:
        """Show a frame, or a projection of all, as it was seen: gray, the first row on top.

        Parameters
        ----------
        frame
            Position of a frame; or ``mean``, ``max`` or ``min``, for a projection.
        frame_num
            The device's counter of a frame, instead of its position.
        damaged
            Whether damaged frames take part in a projection.
        ax
            Axes of matplotlib to draw in; by default the current ones.

        Returns
        -------
        matplotlib.image.AxesImage
            The image.

        Raises
        ------
        UsageError
            matplotlib is not installed, or there is no such frame.
        """
        if frame_num is not None:
            frame = self._position(frame_num)
        image, title = self._image(frame, damaged=damaged)
        try:
            pyplot = importlib.import_module("matplotlib.pyplot")
        except ImportError as error:
            msg = f"plot needs matplotlib ({error}); pip install matplotlib"
            raise UsageError(msg) from error
        axes = pyplot.gca() if ax is None else ax
        shown = axes.imshow(image, cmap="gray", origin="upper", interpolation="nearest")
        axes.set_title(f"{self.name}: {title}")
        axes.set_xlabel("width in pixels")
        axes.set_ylabel("height in pixels")
        return shown

    def __repr__(self) -> str:
        return show_facts(f"recording {self.name}", self.facts)

    def _repr_html_(self) -> str:
        lines, image = self.facts, ""
        try:
            image = self._thumbnail()
        except (MiostitchError, OSError) as error:
            lines.append(("image", f"cannot be read: {error}"))
        return show_facts_html(f"recording {self.name}", lines, image)

    def _thumbnail(self) -> str:
        """The middle one of the intact frames; none where it would have to be stitched first."""
        dataset = self._dataset
        count = dataset.sizes[FRAME]
        if not count or VIDEO.name not in dataset or "stitches" in dataset.attrs:
            return ""
        bad = self._damaged()
        intact = np.arange(count) if bad is None else np.flatnonzero(~bad.to_numpy())
        frames = intact if len(intact) else np.arange(count)
        return thumbnail_uri(dataset[VIDEO.name][int(frames[len(frames) // 2])].to_numpy())

    def _position(self, frame_num: int) -> int:
        """Where the frame of a counter is."""
        dataset = self._dataset
        found: Any = []
        if "frame_num" in dataset.coords:
            found = np.flatnonzero(dataset.frame_num.to_numpy() == frame_num)
        if len(found) != 1:
            what = "no frame has it" if not len(found) else f"{len(found)} frames have it"
            raise UsageError(f"frame_num {frame_num}: {what}; give the position of a frame")
        return int(found[0])

    def _image(self, frame: int | Projection, *, damaged: bool) -> tuple[NDArray[Any], str]:
        """A frame or a projection, (height, width), and what it is."""
        count = self._dataset.sizes[FRAME]
        if isinstance(frame, str):
            left_out = "" if damaged else " of the intact frames"
            image = self.projection(frame, damaged=damaged).to_numpy()
            return image, f"{frame}{left_out or ' of all frames'}"
        if not -count <= frame < count:
            raise UsageError(f"frame {frame} is not there; frames are 0 to {count - 1}")
        one = self._dataset.isel({FRAME: frame})
        number = f", frame_num {int(one.frame_num)}" if "frame_num" in one.coords else ""
        return one[VIDEO.name].to_numpy(), f"frame {frame % count}{number}"

    def _damaged(self) -> xr.DataArray | None:
        """Frames that no statistics should use, bool (frame,); None where nothing is known."""
        coords = self._dataset.coords
        bad = [coords[n].variable for n in ("damaged", "unrecoverable", "lost") if n in coords]
        if "damaged" not in coords and "num_buffers" in coords and self._dataset.sizes[FRAME]:
            have = coords["num_buffers"].variable
            bad.append(have < have.max())
        return xr.DataArray(reduce(or_, bad)) if bad else None

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the summary says, as titles and texts."""
        facts = self.summary()
        rate = "" if facts["fps"] is None else f" at {_describe_rate(facts)}"
        lines = [("frames", f"{facts['frames']} of {facts['width']} x {facts['height']} pixels")]
        if facts["duration_s"] is not None:
            lines.append(("duration", f"{clock(round(facts['duration_s'], 3), 3)}{rate}"))
        if "frame_num" in facts:
            first, last = facts["frame_num"]
            lines.append(("frame_num", f"{first} to {last}, {facts['lost_frames']} lost"))
        if facts.get("buffers"):
            lost, of = facts["lost_buffers"], facts["buffers"]
            lines.append(("buffers lost", f"{lost} of {of} ({100 * lost / of:.2f} %)"))
        if "damaged" in facts and "unrecoverable" in facts:
            text = f"{amount(facts['damaged'], 'frame')}, {facts['unrecoverable']} unrecoverable"
            lines.append(("damaged", text))
        if "sources" in facts:
            text = ", ".join(f"{name} {count}" for name, count in facts["sources"].items() if count)
            lines.append(("frames from", text))
        return lines

    @property
    def name(self) -> str:
        """Its name, or the names of those that it was made of."""
        attrs = self._dataset.attrs
        origins = [Path(path).stem for path in attrs.get("origins", [])]
        return str(attrs.get("recording") or ", ".join(origins or attrs.get("recordings", [])))

    def _known(self, name: str) -> NDArray[Any] | None:
        """A coordinate along the frames, unless it must be computed from pictures."""
        values = self._dataset.coords[name]
        attrs = self._dataset.attrs
        stored = {"origins", "format_version"} & attrs.keys() and "stitches" not in attrs
        if values.dims != (FRAME,) or (values.chunks is not None and not stored):
            return None
        return np.asarray(values)

    def _duration(self, times: NDArray[np.float64] | None) -> float | None:
        """Time between the first frame and the last, by the clock or else by the frame rate."""
        known = np.empty(0) if times is None else times[np.isfinite(times)]
        if len(known):
            return round(float(known[-1] - known[0]), 6)
        if "fps" not in self._dataset.attrs:
            return None
        frames = max(self._dataset.sizes[FRAME] - 1, 0)
        return round(float(frames / Fraction(self._dataset.attrs["fps"])), 6)


def _describe_rate(facts: Mapping[str, Any]) -> str:
    """Frames per second: as the timestamps say, and as the file says where that is another rate."""
    file = float(Fraction(facts["fps"]))
    rate = stated_rate(file, facts["measured_fps"])
    said = "" if rate == file else f" (the file says {file:.6g})"
    return f"{rate:.6g} frames per second{said}"


def _losses(table: dict[str, NDArray[Any]], sent: int | None) -> dict[str, Any]:
    """What counter and buffers say of losses; ``sent``: buffers of a frame, if that is known."""
    found: dict[str, Any] = {}
    numbers = table.get("frame_num", np.empty(0, np.int64))
    counted = numbers >= 0
    if counted.any():
        found["frame_num"] = [int(numbers[counted][end]) for end in (0, -1)]
        found["lost_frames"] = count_numbers(numbers[counted])[0]
        if "num_buffers" in table:
            reception = _reception(numbers, table, sent)
            found["buffers"], found["lost_buffers"] = reception.buffers, reception.lost
    return found


def _reception(
    numbers: NDArray[np.int64], table: dict[str, NDArray[Any]], sent: int | None
) -> Reception:
    """What was received: of a recording by its buffers, of a store by how many there are."""
    if sent is not None and "received" in table:
        return count_reception(numbers, table["received"], table["received"], sent)
    have = table["num_buffers"][numbers >= 0].astype(np.int64)
    most = int(have.max())
    have = join_fragments(numbers[numbers >= 0], have, most)
    return Reception.of(have, have == most, most)


def _project_some(video: xr.DataArray, how: Projection, keep: xr.DataArray) -> xr.DataArray:
    """Project frames of which it is computed with them whether they take part."""
    weight = keep.variable.astype(np.uint8)
    pixels = video.variable
    count = weight.sum(dtype=np.int64)
    if how == "mean":
        made = (pixels * weight).sum(FRAME, dtype=np.int64) / np.maximum(count, 1)
    elif how == "max":
        made = (pixels * weight).max(FRAME)
    else:
        made = (pixels | (1 - weight) * np.uint8(255)).min(FRAME)
    data = made.data.map_blocks(_require_frames, count.data, dtype=made.dtype)
    image: xr.DataArray = video.isel({FRAME: 0}, drop=True).copy(data=data)
    return image


def _require_frames(image: NDArray[Any], count: NDArray[np.int64]) -> NDArray[Any]:
    """Refuse an image of no frame."""
    if not count:
        raise UsageError(NO_INTACT)
    return image
