"""Which frames of which files a result of editing consists of, by its history."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from miostitch.errors import InputError
from miostitch.execution.products import STORE
from miostitch.schema import VIDEO
from miostitch.text import amount
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.store import FAULTS
from miostitch.video.source import VideoSource, open_video

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Frames:
    """Frames that can be read: of a store or of a video."""

    name: str  # The file
    shape: tuple[int, int, int]  # Frames, height and width
    # Gives frames by their positions; None where they cannot be read, which is noted.
    read: Callable[[Ints], U8 | None]


def of_video(video: VideoSource, findings: Findings, name: str) -> Frames:
    """Frames of a video; one that cannot be read is noted."""

    def read(at: Ints) -> U8 | None:
        try:
            frames: U8 = video.read(at)
        except InputError as error:
            findings.add(Kind.UNREADABLE, name, str(error), frame=int(at[0]))
            return None
        return frames

    return Frames(name, (video.frame_count, video.height, video.width), read)


@dataclass(frozen=True)
class Origin:
    """Where the frames of a result are from."""

    files: list[Frames]  # The files
    file: Ints
    frame: Ints
    tables: zarr.Group | None  # Store of the only file, if it has one

    def read(self, start: int, stop: int) -> U8 | None:
        """Frames as the files have them; None where they cannot be read."""
        out = np.zeros((stop - start, *self.files[0].shape[1:]), np.uint8)
        for number in np.unique(self.file[start:stop]).tolist():
            mine = np.flatnonzero(self.file[start:stop] == number)
            found = self.files[number].read(self.frame[start:stop][mine])
            if found is None:
                return None
            out[mine] = found
        return out


def find_origin(findings: Findings, name: str, summary: dict[str, Any]) -> Origin | None:
    """Find the files that frames are from, and which frames these are."""
    found = summary.get("origins")
    told = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    files: list[Frames] = []
    for each in told:
        path = Path(str(each.get("path")))
        if not path.exists():
            what = "frames of the result, for the file that they are from is not there"
            findings.add(Kind.NOT_CHECKED, str(path), what)
            return None
        try:
            files.append(_open_origin(path, findings))
        except (InputError, *FAULTS) as error:
            findings.add(Kind.INPUT, path.name, f"cannot be read any more: {error}")
            return None
        if files[-1].shape[0] != each.get("frames"):
            message = f"has {amount(files[-1].shape[0], 'frame')}, had {each.get('frames')}"
            findings.add(Kind.INPUT, path.name, message)
            return None
    try:
        chosen = _chosen(summary.get("history"), [each.shape[0] for each in files])
    except (KeyError, TypeError, ValueError, AttributeError):
        chosen = None  # no history of ours
    if not files or chosen is None or len(chosen) != summary.get("frames"):
        findings.add(Kind.NOT_CHECKED, name, "the history does not tell which frames were taken")
        return None
    firsts = np.cumsum([0, *(each.shape[0] for each in files)])
    number = np.searchsorted(firsts, chosen, side="right") - 1
    tables = _tables_of(Path(told[0]["path"]), files[0].shape[0]) if len(files) == 1 else None
    return Origin(files, number, chosen - firsts[number], tables)


def _open_origin(path: Path, findings: Findings) -> Frames:
    if path.suffix != STORE:
        return of_video(open_video(path), findings, path.name)
    video = zarr.open_array(path / VIDEO.name, mode="r")

    def read(at: Ints) -> U8 | None:
        try:
            frames = np.asarray(video[int(at.min()) : int(at.max()) + 1])
        except FAULTS as error:
            findings.add(Kind.INPUT, path.name, f"cannot be read any more: {error}")
            return None
        part: U8 = frames[at - at.min()]
        return part

    frames, height, width = video.shape
    return Frames(path.name, (frames, height, width), read)


def _tables_of(path: Path, frames: int) -> zarr.Group | None:
    """The store of a file, or beside it."""
    try:
        group = zarr.open_group(path.with_suffix(STORE), mode="r", use_consolidated=False)
        array = group[VIDEO.name]
    except FAULTS:
        return None  # there need not be one
    return group if isinstance(array, zarr.Array) and array.shape[0] == frames else None


def _chosen(history: Any, counts: list[int]) -> Ints | None:
    """Positions in all files together of the frames that a history left; None if it does not tell.

    The steps of the run are the last ones, from the one on that began with as many frames as the
    files have.
    """
    steps = (
        [each for each in history if isinstance(each, dict)] if isinstance(history, list) else []
    )
    total = sum(counts)
    for first in range(len(steps) - 1, -1, -1):
        if steps[first].get("frames_before") != total:
            continue
        kept = np.arange(total)
        for step in steps[first:]:
            taken = _taken(step, kept)
            if taken is None or step.get("frames_after") != len(taken):
                return None
            kept = taken
        return kept
    return None


def _taken(step: dict[str, Any], kept: Ints) -> Ints | None:
    """Frames that a step leaves."""
    parameters = step.get("parameters", {})
    match step.get("step"):
        case "trim":
            return kept[parameters["start"] : len(kept) - parameters["end"]]
        case "remove_frames":
            gone = np.zeros(len(kept), bool)
            for part in filter(None, parameters["frames"].split(",")):
                low, _, high = part.partition("-")
                gone[int(low) : int(high or low) + 1] = True
            return kept[~gone]
        case "lag":
            return kept
        case "concat":
            segments = parameters.get("segments", [])
            return kept if sum(each["frames"] for each in segments) == len(kept) else None
    return None
