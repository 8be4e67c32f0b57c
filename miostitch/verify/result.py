"""The result that is verified: its store, its tables in memory, and what it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.device_counter import counter_resets
from miostitch.config.thresholds import ScoreConfig
from miostitch.schema import (
    COMPOSITION_VARIABLES,
    FRAME_VARIABLES,
    NO_FRAME,
    PIXEL_SCORES,
    SCORE_VARIABLES,
)
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.inputs import InputRecording
from miostitch.verify.store import Read, Store

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class Result:
    """A store, the files beside it, and the recordings that it was made of."""

    folder: Path
    stem: str
    findings: Findings  # Takes what is wrong
    store: Store  # The store
    config: dict[str, Any]  # Options of the run
    summary: dict[str, Any]  # What ``S.json`` says; empty if it cannot be read
    # Those the result was made of, None for one that is not there.
    recordings: Sequence[InputRecording | None] = ()
    # Where the buffers of a frame begin and end, int64 (buffer + 1,); one buffer where it is not
    # known.
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

    @cached_property
    def thresholds(self) -> ScoreConfig:
        """Thresholds of the scores; the usual ones where the options cannot be meant."""
        told = self.config.get("score")
        try:
            return ScoreConfig(**told) if isinstance(told, dict) else ScoreConfig()
        except (TypeError, ValueError) as error:
            self.findings.add(
                Kind.ATTRIBUTES, self.store.path.name, f"score: {error}", column="config"
            )
            return ScoreConfig()

    @property
    def names(self) -> list[str]:
        """Names of the recordings."""
        found = self.store.attrs.get("recordings")
        return [str(name) for name in found] if isinstance(found, list) else []

    @property
    def told(self) -> list[dict[str, Any]]:
        """What the summary says of each recording; empty if it does not."""
        found = self.summary.get("recordings")
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return []
        return found

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
        count, buffers = self.store.shape[0], len(self.bounds) - 1
        found = {v.name: self.store.read(f"composition/{v.name}") for v in COMPOSITION_VARIABLES}
        return {
            name: read
            for name, read in found.items()
            if read is not None
            and read.values.shape[:1] == (count,)
            and read.values.shape[1:] == (buffers or read.values.shape[-1],)
        }

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
        of one in the same boot of the device.
        """
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
        return [
            nothing if each is None else self._pieces_of(each, self.source_frame[number])
            for number, each in enumerate(self.recordings)
        ]

    def _pieces_of(self, recording: InputRecording, source_frame: Ints) -> tuple[Ints, Ints]:
        facts, method = recording.facts, self.config.get("align")
        known = facts.frame_num >= 0
        if method == "time":  # what has no time is left out
            known &= facts.received.any(axis=1)
        pictures = np.flatnonzero(known)
        boot = np.zeros(len(pictures), np.int64)
        if method != "frame-num":
            boot[counter_resets(facts.frame_num[pictures])] = 1
        table = pd.DataFrame({"number": facts.frame_num[pictures], "boot": boot.cumsum()}, pictures)
        frames = np.flatnonzero(np.isin(source_frame, pictures))
        taken = table.loc[source_frame[frames]].assign(frame=frames)
        taken = taken.drop_duplicates(["number", "boot"])
        left = table.drop(source_frame[frames]).rename_axis("picture").reset_index()
        found = left.merge(taken, "inner", ["number", "boot"]).sort_values(["frame", "picture"])
        return found["picture"].to_numpy(np.int64), found["frame"].to_numpy(np.int64)


@dataclass(frozen=True)
class Choice:
    """What scores say of frames: best recording, second best, and whether they are even."""

    best: Ints
    other: Ints
    tie: Bools


def choices(result: Result, span: slice) -> Choice | None:
    """Choose once more, from the scores in the store; None where it has no such scores."""
    scores = result.scores
    wanted = ("num_buffers", "black_padding", *(variable.name for variable in PIXEL_SCORES))
    if not {*wanted, "source_frame"} <= scores.keys():
        return None
    buffers, *flaws, edges = (scores[name].values[:, span].astype(np.int64) for name in wanted)
    flawed = np.sum(flaws, axis=0)
    absent = scores["source_frame"].values[:, span] == NO_FRAME
    order = np.lexsort((edges, flawed, -buffers, absent), axis=0)
    columns = np.arange(absent.shape[1])
    best = np.where(absent[order[0], columns], NO_FRAME, order[0])
    if len(order) == 1:
        return Choice(best, np.full_like(best, NO_FRAME), np.zeros(len(best), bool))
    other = np.where(absent[order[1], columns], NO_FRAME, order[1])
    even = (buffers[best, columns] == buffers[other, columns]) & (
        flawed[best, columns] == flawed[other, columns]
    )
    return Choice(best, other, even & (other != NO_FRAME))
