"""``recording.miostitch``: what a recording is, in a few lines, and its projections."""

from datetime import timedelta
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.schema import COMPOSITE, FRAME, HEIGHT, VIDEO, WIDTH, chunk_frames
from miostitch.text import amount

Projection = Literal["mean", "max", "min"]


@xr.register_dataset_accessor("miostitch")  # type: ignore[no-untyped-call]
class RecordingAccessor:
    """What a recording is, as text, as numbers and as one picture.

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
      buffers lost   120 of 2344 (5.12 %)
    >>> recording.isel(frame=slice(100)).miostitch.summary()["lost_frames"]
    1
    >>> recording.miostitch.projection("max").compute().shape
    (200, 200)
    >>> folder.cleanup()
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> dict[str, Any]:
        """Tell frames, losses and duration.

        Returns
        -------
        dict
            JSON values: ``name``, ``frames``, ``height``, ``width``, ``fps``; ``duration_s``
            between the first frame and the last; and, where the recording tells of them,
            ``frame_num`` of the first and the last frame, ``lost_frames`` that the counter skips,
            ``buffers`` and ``lost_buffers`` of the frames that are there, ``damaged`` and
            ``unrecoverable`` frames, ``missing_pixels``, and ``sources``, the frames that each
            recording gave.

        Notes
        -----
        No picture is read: what :func:`miostitch.stitch` would have to compute is left out.
        """
        dataset = self._dataset
        found: dict[str, Any] = {"name": self._name}
        found["frames"], found["height"], found["width"] = (
            dataset.sizes[dim] for dim in (FRAME, HEIGHT, WIDTH)
        )
        found["fps"] = str(dataset.attrs["fps"]) if "fps" in dataset.attrs else None
        known = {name: self._known(name) for name in map(str, dataset.coords)}
        table = {name: values for name, values in known.items() if values is not None}
        found["duration_s"] = self._duration(table.get("timestamp_first"))
        found |= _losses(table)
        for name in ("damaged", "unrecoverable", "missing_pixels"):
            if name in table:
                found[name] = int(table[name].sum())
        if "source" in table:
            names = dataset.attrs.get("recordings", [])
            counts = {name: int((table["source"] == n).sum()) for n, name in enumerate(names)}
            found["sources"] = counts | {"several": int((table["source"] == COMPOSITE).sum())}
        return found

    def projection(self, how: Projection = "mean") -> xr.DataArray:
        """One picture of all frames, lazily.

        Parameters
        ----------
        how
            ``mean`` (float64), ``max`` or ``min`` (uint8).

        Returns
        -------
        xarray.DataArray
            (height, width); ``.compute()`` reads the frames block by block.
        """
        video = self._dataset[VIDEO.name]
        if video.chunks is None:
            block = chunk_frames(video.sizes[HEIGHT], video.sizes[WIDTH])
            video = video.chunk({FRAME: block})
        picture: xr.DataArray = getattr(video, how)(FRAME, keep_attrs=True)
        return picture.rename(f"{how}_projection")

    def __repr__(self) -> str:
        lines = self._lines()
        wide = max(len(title) for title, _ in lines) + 2
        shown = [f"  {title:{wide}} {text}" for title, text in lines]
        return "\n".join([f"recording {self._name}", *shown])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(title)}</th>'
            f'<td style="text-align:left">{escape(text)}</td></tr>'
            for title, text in self._lines()
        )
        return f"<table><caption>recording {escape(self._name)}</caption>{rows}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        """What the summary says, as titles and texts."""
        facts = self.summary()
        rate = "" if facts["fps"] is None else f" at {float(Fraction(facts['fps'])):.6g}"
        rate = f"{rate} frames per second" if rate else ""
        lines = [("frames", f"{facts['frames']} of {facts['width']} x {facts['height']} pixels")]
        if facts["duration_s"] is not None:
            lines.append(("duration", f"{_clock(facts['duration_s'])}{rate}"))
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
            lines.append(("pictures from", text))
        return lines

    @property
    def _name(self) -> str:
        attrs = self._dataset.attrs
        origins = [Path(path).stem for path in attrs.get("origins", [])]
        return str(attrs.get("recording") or ", ".join(origins or attrs.get("recordings", [])))

    def _known(self, name: str) -> NDArray[Any] | None:
        """A coordinate along the frames, unless it must be computed from pictures."""
        values = self._dataset.coords[name]
        stored = {"origins", "format_version"} & self._dataset.attrs.keys()
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


def _losses(table: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What counter and buffers say of losses."""
    found: dict[str, Any] = {}
    numbers = table.get("frame_num", np.empty(0, np.int64))
    counted = numbers >= 0
    if counted.any():
        steps = np.diff(numbers[counted])
        found["frame_num"] = [int(numbers[counted][end]) for end in (0, -1)]
        # the counter falls where the device was started anew
        found["lost_frames"] = int((steps[steps > 1] - 1).sum())
        if "num_buffers" in table:
            have = table["num_buffers"][counted].astype(np.int64)
            found["buffers"] = int(have.max()) * len(have)
            found["lost_buffers"] = found["buffers"] - int(have.sum())
    return found


def _clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds."""
    return str(timedelta(milliseconds=round(seconds * 1000))).removesuffix("000")
