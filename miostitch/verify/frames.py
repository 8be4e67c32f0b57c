"""Compares every frame of a result with what it was made of, block by block."""

from functools import partial
from itertools import combinations, pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import VideoError
from miostitch.kernels.scores import score_frames
from miostitch.schema import COMPOSITE, NO_FRAME, PIXEL_SCORES
from miostitch.text import amount
from miostitch.verify.blocks import Block, read_block
from miostitch.verify.composition import NOBODY, STRETCHES, CompositionCheck
from miostitch.verify.findings import Kind, unlike_pixels
from miostitch.verify.result import Result, choices
from miostitch.video.source import VideoSource

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class FrameCheck:
    """Compares the frames of a result."""

    def __init__(self, result: Result, videos: dict[str, VideoSource]) -> None:
        self.result, self.videos = result, videos
        self.findings, self.store = result.findings, result.store
        self.name = result.store.path.name
        count = result.store.shape[0]
        self.differing = np.full(count, NO_FRAME, np.int64)
        """Pixels in which best and second best candidate differ, -1 where it is not known."""
        self.shared = np.zeros(2, np.int64)
        """Buffers that several recordings delivered, and those that are alike."""
        self.unread = False
        """Whether some frame could not be compared."""
        flags = result.frames.get("unrecoverable")
        marked = flags.values if flags is not None else np.zeros(count, bool)
        self._lost = np.cumsum(marked) - marked, marked
        self._lock = Lock()

    def check(self, number: int) -> int:
        """Compare a chunk of frames, and return how many these are."""
        made, block = self.store.video_block(number), self.store.block
        frames = min(block, self.store.shape[0] - number * block)
        if made is None:
            self.unread = True
            return frames
        start = number * block
        self._beside(".avi", made, np.arange(start, start + frames))
        self._unrecoverable(made, start)
        if self.result.recordings:
            part = read_block(self.result, number, made.reshape(frames, -1))
            self.unread |= part.unread
            self._candidates(part)
            self._debug(part)
            (self._composed if self.result.composed else self._chosen)(part)
            self._agreement(part)
        return frames

    def _beside(self, suffix: str, made: U8, at: Ints) -> None:
        """Compare frames with those of a video beside the store."""
        video = self.videos.get(suffix)
        if video is None or (video.height, video.width) != made.shape[1:]:
            return
        there = int((at < video.frame_count).sum())
        try:
            out = self.store.scratch.take(suffix, (there, *made.shape[1:]))
            frames = video.read(at[:there], out)
        except VideoError as error:
            self.findings.add(Kind.UNREADABLE, self.result.path(suffix).name, str(error))
            return
        file = self.result.path(suffix).name
        self.findings.pixels(file, frames, made[:there], at[:there], "the store has")

    def _unrecoverable(self, made: U8, start: int) -> None:
        """Compare the frames of the video of those that nobody received."""
        places, marked = self._lost
        mine = marked[start : start + len(made)]
        if "_unrecoverable.avi" in self.videos and not self.result.config.get("drop_damaged"):
            at = places[start : start + len(made)][mine]
            self._beside("_unrecoverable.avi", made[mine], at)

    def _images(self, frames: U8) -> U8:
        return frames.reshape(-1, *self.store.shape[1:])

    def _key(self, part: Block) -> str:
        array = self.store.arrays["video"]
        return f"video/{array.metadata.encode_chunk_key((part.number, 0, 0))}"

    def _candidates(self, part: Block) -> None:
        """Work out every score once more."""
        limits = self.result.thresholds
        _, height, width = self.store.shape
        for at, (recording, picture) in enumerate(
            zip(self.result.recordings, part.raw, strict=True)
        ):
            if recording is None:
                continue
            there, frames = part.present[at], self.result.source_frame[at, part.span]
            facts = recording.facts
            expected: dict[str, Any] = {
                "num_buffers": facts.num_buffers[frames],
                "black_padding": facts.padding[frames],
            }
            if picture is not None:
                pixels = np.empty((len(PIXEL_SCORES), len(picture)), np.int64)
                score_frames(
                    picture.reshape(-1, height, width),
                    limits.value_threshold,
                    limits.consecutive_threshold,
                    limits.gradient_threshold,
                    pixels,
                )
                expected |= {v.name: pixels[n] for n, v in enumerate(PIXEL_SCORES)}
            for name, values in expected.items():
                if name in self.result.scores:
                    self._score(part, at, name, np.where(there, values, NO_FRAME))

    def _score(self, part: Block, at: int, name: str, expected: Ints) -> None:
        found = self.result.scores[name]
        self.findings.differing(
            Kind.SCORES,
            self.name,
            f"scores/{name}",
            found.values[at, part.span],
            expected,
            first=part.start,
            where=found.sound[part.span],
            of=self.result.names[at],
        )

    def _table(self, part: Block, name: str, expected: NDArray[Any], where: Bools | None) -> None:
        """Compare a table of the frames with what it should be."""
        found = self.result.frames.get(name)
        if found is None:
            return
        sound = found.sound[part.span]
        values = found.values[part.span]
        self.findings.differing(
            Kind.FRAMES,
            self.name,
            name,
            values,
            expected,
            first=part.start,
            where=sound if where is None else sound & where,
        )

    def _chosen(self, part: Block) -> None:
        """Compare frames that were taken from one recording each."""
        choice, found = choices(self.result, part.span), self.result.frames.get("source")
        if choice is not None:
            self._table(part, "source", choice.best, None)
        if found is None:
            return
        source, columns = found.values[part.span].astype(np.int64), np.arange(len(part.made))
        known = found.sound[part.span] & (source >= 0) & (source < len(part.raw))
        for at in np.unique(source[known]).tolist():
            picture = part.raw[at]
            mine = np.flatnonzero(known & (source == at) & part.present[at])
            if picture is not None:
                told = f"{self.result.names[at]} has"
                self.findings.pixels(
                    self.name,
                    self._images(part.made),
                    self._images(picture),
                    part.start + mine,
                    told,
                    chunk=self._key(part),
                    of=mine,
                )
        there = np.array([each is not None for each in self.result.recordings])
        known &= there[source.clip(0, len(there) - 1)]
        source = np.where(known, source, 0)
        missing = self.result.bounds[-1] - part.given[source, columns].clip(0).sum(axis=1)
        self._table(part, "missing_pixels", missing, known)
        if "num_buffers" in self.result.scores:
            received = self.result.scores["num_buffers"].values[:, part.span][source, columns]
            self._table(part, "num_buffers", received, known)
        if "noisy_pixels" in self.result.scores:
            noisy = self.result.scores["noisy_pixels"].values[:, part.span][source, columns]
            self._table(part, "damaged", (missing > 0) | (noisy > 0), known)
        if self.result.complete:
            everywhere = part.anywhere.all(axis=1)
            self._table(part, "unrecoverable", np.logical_not(everywhere), None)

    def _composed(self, part: Block) -> None:
        """Compare frames that were composed buffer by buffer."""
        names = ("buffer_evidence", "buffer_source")
        if not {*names} <= self.result.composition.keys():
            return
        evidence, source = (self.result.composition[n].values[part.span] for n in names)
        sound = np.logical_and(*(self.result.composition[n].sound[part.span] for n in names))
        have, alike = self._compared(part)
        self._table(part, "num_buffers", (evidence != NOBODY).sum(axis=1), sound)
        if any(each is None for each in part.copies):
            self._proven(part, evidence, source, have, sound)
            return
        check = CompositionCheck(
            part.made,
            [each for each in part.copies if each is not None],
            self.result.names,
            self.result.bounds,
            evidence,
            source,
            partial(self.differs, part),
            partial(self._undecided, part),
        )
        check.check(have, alike, sound)
        missing = (np.diff(self.result.bounds) - have.max(axis=0)).sum(axis=1)
        self._table(part, "missing_pixels", missing, None)
        limits = self.result.thresholds
        scores = np.empty((2, len(part.made)), np.int64)
        score_frames(
            part.made.reshape(-1, *self.store.shape[1:]),
            limits.value_threshold,
            limits.consecutive_threshold,
            limits.gradient_threshold,
            scores,
        )
        self._table(part, "damaged", (missing > 0) | (scores[1] > 0), None)
        self._table(part, "unrecoverable", missing > 0, None)
        whole = alike.all(axis=2) & part.present
        first = np.where(whole.any(axis=0), whole.argmax(axis=0), COMPOSITE)
        self._table(part, "source", first, None)

    def _compared(self, part: Block) -> tuple[Ints, Bools]:
        """Pixels at hand of each copy, and whether it is the result, (recording, frame, buffer)."""
        sizes, bounds = np.diff(self.result.bounds), self.result.bounds.tolist()
        have, alike = part.given.clip(0), np.zeros(part.given.shape, bool)
        for at, copy in enumerate(part.copies):
            if copy is None:
                continue
            for frame, k in np.argwhere((part.given[at] == 0) & part.present[at][:, None]).tolist():
                if copy[frame, bounds[k] : bounds[k + 1]].any():
                    have[at, frame, k] = sizes[k]
            count = unlike_pixels(self._images(copy), self._images(part.made))
            there = part.present[at]
            unlike = self._unlike_buffers(copy, part.made, (count > 0) & there)
            alike[at] = ~unlike & there[:, None]
        return have, alike

    def _proven(self, part: Block, evidence: U8, source: Ints, have: Ints, sound: Bools) -> None:
        """Where a recording is not there: compare what was taken from another as a whole."""
        taken = sound[:, None] & (evidence > NOBODY) & (evidence < STRETCHES)
        for frame, k in np.argwhere(taken).tolist():
            at = int(source[frame, k])
            copy = part.copies[at] if 0 <= at < len(part.copies) else None
            if copy is not None:
                lo = int(self.result.bounds[k])
                hi = lo + int(have[at, frame, k])
                self.differs(
                    part, frame, copy[frame], slice(lo, hi), f"{self.result.names[at]} has"
                )

    def differs(self, part: Block, frame: int, expected: U8, cut: slice, told: str) -> None:
        """Note where a range of a frame is not as expected."""
        made = part.made[frame]
        wrong = cut.start + np.flatnonzero(made[cut] != expected[cut])
        if not len(wrong):
            return
        row, column = divmod(int(wrong[0]), self.store.shape[2])
        message = f"differs in {amount(len(wrong), 'pixel')}, the first is {made[wrong[0]]}"
        self.findings.add(
            Kind.PIXELS,
            self.name,
            f"{message}; {told} {expected[wrong[0]]}",
            frame=part.start + frame,
            chunk=self._key(part),
            row=row,
            column=column,
        )

    def _undecided(self, part: Block, frame: int, buffer: int, name: str, message: str) -> None:
        self.findings.add(
            Kind.COMPOSITION,
            self.name,
            message,
            frame=part.start + frame,
            row=buffer,
            column=f"composition/{name}",
        )

    def _agreement(self, part: Block) -> None:
        """Count in how many pixels best and second best differ, and the shared buffers."""
        choice = choices(self.result, part.span)
        shape = part.given.shape[1:]
        shared, unlike = np.zeros(shape, bool), np.zeros(shape, bool)
        whole = part.whole
        if self.result.composed:
            whole = part.given == np.diff(self.result.bounds)
        for one, other in combinations(range(len(part.raw)), 2):
            pictures = part.raw[one], part.raw[other]
            if pictures[0] is None or pictures[1] is None:
                continue
            count, differ = self._pair(pictures[0], pictures[1])
            if choice is not None:
                mine = (np.minimum(choice.best, choice.other) == one) & (
                    np.maximum(choice.best, choice.other) == other
                )
                self.differing[part.span][mine] = count[mine]
            glued = part.copies[one], part.copies[other]
            joined = any(each is not own for each, own in zip(glued, pictures, strict=True))
            if joined and glued[0] is not None and glued[1] is not None:
                _, differ = self._pair(glued[0], glued[1])
            both = whole[one] & whole[other]
            shared |= both
            unlike |= both & differ
        with self._lock:
            self.shared += (int(shared.sum()), int((shared & ~unlike).sum()))

    def _pair(self, one: U8, other: U8) -> tuple[Ints, Bools]:
        """Pixels in which two recordings' frames differ, and the buffers that do."""
        count = unlike_pixels(self._images(one), self._images(other))
        return count, self._unlike_buffers(one, other, count > 0)

    def _unlike_buffers(self, one: U8, other: U8, frames: Bools) -> Bools:
        """Which buffers differ (frame, buffer), in some of the frames."""
        bounds = self.result.bounds.tolist()
        differ = np.zeros((len(one), len(bounds) - 1), bool)
        for frame in np.flatnonzero(frames).tolist():
            unlike = one[frame] != other[frame]
            differ[frame] = [unlike[lo:hi].any() for lo, hi in pairwise(bounds)]
        return differ

    def _debug(self, part: Block) -> None:
        """Compare the candidates in the video that shows them side by side."""
        video, (_, height, width) = self.videos.get("_debug.avi"), self.store.shape
        panels = len(self.result.names) + 1
        if video is None or (video.height, video.width) != (height, width * panels):
            return
        frames = np.arange(part.span.start, min(part.span.stop, video.frame_count))
        file = self.result.path("_debug.avi").name
        try:
            shown = video.read(frames)
        except VideoError as error:
            self.findings.add(Kind.UNREADABLE, file, str(error), frame=part.start)
            return
        if any(each is None for each in part.raw):
            return
        expected = self._side_by_side(part, len(frames))
        self.findings.pixels(file, shown, expected, frames, "the recordings have")

    def _side_by_side(self, part: Block, count: int) -> U8:
        """Candidates, stripes where there is none, and where any two of them differ."""
        _, height, width = self.store.shape
        rows, columns = np.indices((height, width))
        stripes = np.where((rows + columns) // 8 % 2, 192, 64).astype(np.uint8)
        panels = np.empty((count, height, len(part.raw) + 1, width), np.uint8)
        first = part.present.argmax(axis=0)
        panels[:, :, -1] = 0
        for at, picture in enumerate(part.raw):
            if picture is None:
                continue
            images = self._images(picture)
            for frame in range(count):
                there = part.present[at, frame]
                panels[frame, :, at] = images[frame] if there else stripes
                if there:
                    unlike = images[frame] != panels[frame, :, first[frame]]
                    panels[frame, :, -1][unlike] = 255
        return panels.reshape(count, height, width * panels.shape[2])
