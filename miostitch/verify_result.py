"""The result that is verified: its store, its tables in memory, and what it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.schema import COMPOSITION_VARIABLES, FRAME_VARIABLES, NO_FRAME, SCORE_VARIABLES
from miostitch.verify_findings import Findings
from miostitch.verify_inputs import InputRecording
from miostitch.verify_store import Read, Store

Ints = NDArray[np.int64]


@dataclass
class Result:
    """A store, the files beside it, and the recordings that it was made of.

    Parameters
    ----------
    folder, stem
        Where the products are, and what their names begin with.
    findings
        Takes what is wrong.
    store
        The store.
    config
        Options of the run.
    summary
        What ``S.json`` says; empty if it cannot be read.
    recordings
        Those the result was made of, None for one that is not there.
    bounds
        Where the buffers of a frame begin and end, int64 (buffer + 1,); one buffer where it is not
        known.
    """

    folder: Path
    stem: str
    findings: Findings
    store: Store
    config: dict[str, Any]
    summary: dict[str, Any]
    recordings: Sequence[InputRecording | None] = ()
    bounds: Ints = field(default_factory=lambda: np.zeros(1, np.int64))

    def path(self, suffix: str) -> Path:
        """A product, by the ending of its name."""
        return self.folder / f"{self.stem}{suffix}"

    @property
    def composed(self) -> bool:
        """Whether frames were composed buffer by buffer."""
        return self.config.get("by") == "buffer"

    @property
    def complete(self) -> bool:
        """Whether every recording is there to be compared with."""
        return bool(self.recordings) and all(each is not None for each in self.recordings)

    @property
    def names(self) -> list[str]:
        """Names of the recordings."""
        return [str(name) for name in self.store.attrs.get("recordings", [])]

    @cached_property
    def frames(self) -> dict[str, Read]:
        """Tables along ``frame``, those that the store has in the right shape."""
        count = self.store.shape[0]
        found = {v.name: self.store.read(v.name) for v in FRAME_VARIABLES}
        return {n: r for n, r in found.items() if r is not None and r.values.shape == (count,)}

    @cached_property
    def scores(self) -> dict[str, Read]:
        """Scores of all candidates, (recording, frame)."""
        shape = len(self.names), self.store.shape[0]
        found = {v.name: self.store.read(f"scores/{v.name}", axis=1) for v in SCORE_VARIABLES}
        return {n: r for n, r in found.items() if r is not None and r.values.shape == shape}

    @cached_property
    def composition(self) -> dict[str, Read]:
        """How every buffer was decided, (frame, position)."""
        shape = self.store.shape[0], len(self.bounds) - 1
        found = {v.name: self.store.read(f"composition/{v.name}") for v in COMPOSITION_VARIABLES}
        return {n: r for n, r in found.items() if r is not None and r.values.shape == shape}

    @cached_property
    def source_frame(self) -> Ints:
        """Candidates, int64 (recording, frame); -1 where there is none, or none that can be."""
        found = self.scores.get("source_frame")
        if found is None:
            return np.full((len(self.names), self.store.shape[0]), NO_FRAME, np.int64)
        frames = np.where(found.sound, found.values, NO_FRAME)
        for number, recording in enumerate(self.recordings):
            if recording is not None:
                frames[number, frames[number] >= recording.firsts[-1]] = NO_FRAME
        return frames.clip(NO_FRAME)

    @cached_property
    def pieces(self) -> list[tuple[Ints, Ints]]:
        """Per recording, pictures that hold another piece of a candidate, and the frame it is for.

        Two int64 (piece,), by frame: a picture that is no candidate and whose ``frame_num`` is that
        of one; of several boots the nearest in the video.
        """
        found = []
        for number, recording in enumerate(self.recordings):
            if recording is None:
                found.append((np.zeros(0, np.int64), np.zeros(0, np.int64)))
                continue
            number_of = recording.facts.frame_num
            frames = np.flatnonzero(self.source_frame[number] != NO_FRAME)
            taken = self.source_frame[number, frames]
            other = np.ones(len(number_of), bool)
            other[taken] = False
            pictures = np.flatnonzero(other & (number_of >= 0))
            order = np.lexsort((taken, number_of[taken]))
            keys = number_of[taken][order]
            low, high = (np.searchsorted(keys, number_of[pictures], s) for s in ("left", "right"))
            found.append(_nearest(pictures, order, taken, frames, low, high))
        return found


def _nearest(
    pictures: Ints, order: Ints, taken: Ints, frames: Ints, low: Ints, high: Ints
) -> tuple[Ints, Ints]:
    kept, at = [], []
    for picture, first, stop in zip(pictures.tolist(), low.tolist(), high.tolist(), strict=True):
        if first < stop:
            near = order[first:stop]
            kept.append(picture)
            at.append(int(frames[near[np.abs(taken[near] - picture).argmin()]]))
    pairs = np.array([kept, at], np.int64).reshape(2, -1)
    pairs = pairs[:, np.lexsort(pairs)]
    return pairs[0], pairs[1]
