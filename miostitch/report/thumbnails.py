"""Frames as images of a report: the result, and next to it what each recording has of them."""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from miostitch.arrays import F64, I64, U8, Bools
from miostitch.errors import MiostitchError
from miostitch.ranges import format_frames, runs
from miostitch.recording.recording import Recording
from miostitch.report.data import ReportData, pixels_changed
from miostitch.schema import Evidence
from miostitch.store.chunks import read_block
from miostitch.store.reader import Store
from miostitch.text import printable
from miostitch.video.png import png_bytes

SIDE = 240  # most pixels of an image's side; larger frames are averaged down
GRAYS = 32
BUDGET_BYTES = 400_000  # most bytes of all images of a report
READERS = 2  # chunks of the store that are decoded at a time
PADDING = 8  # fewer zeros than this at the end of a buffer may be dark pixels
MEAN_PARTS = 12  # chunks of the store whose intact frames make the mean image
MEAN_FRAMES = 256  # most frames that are read of each

MARKS = {
    "lost": "not received",
    "noisy": "noisy rows",
    "decided": "copies differ, decided by majority or pixel by pixel",
}
"""What can be marked in an image: what is wrong in it, not where another one differs."""

Range = tuple[int, int]
"""Start and stop in the flattened frame."""

Marks = dict[str, tuple[list[Range], str]]
"""By the names of :data:`MARKS` what is marked, and that in words."""


@dataclass(frozen=True)
class Thumbnail:
    """One image."""

    title: str  # Whose it is
    uri: str  # The pixels as a data URI; empty where there is no image
    # What is marked and its outlines, as paths of SVG in pixels of the frame.
    outlines: Mapping[str, str]
    text: str  # The same in words, or why there is no image


@dataclass(frozen=True)
class FrameImages:
    """A frame of the result and its candidates."""

    frame: int
    images: Sequence[Thumbnail]


def show_frames(
    store: Store,
    data: ReportData,
    inputs: Sequence[Recording | str],
    frames: Sequence[int],
    noisy: float,
) -> Iterator[FrameImages]:
    """Make images of some frames, as many as the budget allows.

    ``noisy``: received rows with a larger mean second difference are. Yields: The result first,
    then every recording.
    """
    with ThreadPoolExecutor(READERS) as pool:  # a chunk is decoded for every frame
        results = [*pool.map(lambda frame: read_block(store.path, frame, frame + 1)[0], frames)]
    filtered = pixels_changed(store)
    spent = 0
    for frame, result in zip(frames, results, strict=True):
        candidates = [_candidate(data, number, frame, each) for number, each in enumerate(inputs)]
        received = [each for each in candidates if not isinstance(each, str)]
        alike = [] if filtered else [result]  # filtered grays are others than received ones
        shade = _shade([*alike, *received], noisy)
        marks = _result_marks(data, frame, result)
        marks |= {} if filtered else _noisy_marks(result, noisy)
        shown = _shade([result], math.inf)(result) if filtered else shade(result)
        images = [_thumbnail("result", shown, marks, data)]
        for number, each in enumerate(candidates):
            name = data.names[number]
            if isinstance(each, str):
                images.append(Thumbnail(name, "", {}, each))
                continue
            recording = inputs[number]
            lossy = isinstance(recording, Recording) and recording.lossy
            missing = {} if lossy else _candidate_marks(data, number, frame, each)
            marks = missing | _noisy_marks(each, noisy)
            images.append(_thumbnail(name, shade(each), marks, data))
        spent += sum(len(each.uri) for each in images)
        if spent > BUDGET_BYTES:
            return
        yield FrameImages(frame, images)


@dataclass(frozen=True)
class MeanImage:
    """The mean of some intact frames, with the contrast stretched."""

    uri: str
    frames: int  # How many they are
    grays: tuple[float, float]  # Which means are black and white


def mean_image(store: Store, damaged: Bools) -> MeanImage | None:
    """The mean of intact frames of parts of the recording; None if no frame is intact.

    Of a long one a few parts are read, evenly spread, no more at a time than are decoded.
    """
    part = min(store.chunk_frames, MEAN_FRAMES)
    parts = -(-store.frames // part)
    chosen = np.unique(np.linspace(0, parts - 1, min(parts, MEAN_PARTS)).round().astype(int))
    starts = [start for start in (chosen * part).tolist() if not damaged[start:][:part].all()]
    if not starts:
        return None

    def add_up(start: int) -> tuple[I64, int]:
        intact = ~damaged[start:][:part]
        block = read_block(store.path, start, start + len(intact))
        return block[intact].sum(axis=0, dtype=np.int64), int(intact.sum())

    with ThreadPoolExecutor(READERS) as pool:
        sums, counts = zip(*pool.map(add_up, starts), strict=True)
    used = sum(counts)
    small = _average(np.sum(sums, axis=0) / used)
    low, high = map(float, np.quantile(small, [0.001, 0.999]))
    shown = ((small - low) / max(high - low, 1e-9) * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return MeanImage(_data_uri(shown), used, (round(low, 1), round(high, 1)))


def outline(start: int, stop: int, width: int) -> str:
    """The outline of a range of the flattened frame as a path of SVG.

    >>> outline(2, 9, 4)
    'M2 0H4V2H1V3H0V1H2Z'
    """
    top, left = divmod(start, width)
    bottom, right = divmod(stop - 1, width)
    right += 1
    if top == bottom:
        return f"M{left} {top}H{right}V{top + 1}H{left}Z"
    return f"M{left} {top}H{width}V{bottom}H{right}V{bottom + 1}H0V{top + 1}H{left}Z"


def _candidate(data: ReportData, number: int, frame: int, source: Recording | str) -> U8 | str:
    """What a recording has of a frame, or why there is nothing."""
    if data.scores is None or not data.present[number, frame]:
        return "did not receive this frame"
    if isinstance(source, str):
        return source
    position = np.array([data.scores.source_frame[number, frame]], np.int64)
    try:
        return np.asarray(source.reader(position).read()[0])
    except (MiostitchError, OSError, IndexError) as error:
        return printable(str(error))


def _shade(images: Sequence[U8], noisy: float) -> Callable[[U8], U8]:
    """Make small images of few grays, all of a frame with the same contrast.

    The grays of the first image that has any data decide: the result, if it is not lost. Rows of
    noise have all grays, so they are left out where there are others.
    """
    low, high = 0.0, 255.0
    image = next((image for image in images if image.any()), None)
    if image is not None:
        clean = image[~_noisy_rows(image, noisy)]
        used = clean if clean.any() else image
        low, high = map(float, np.quantile(used[used > 0], [0.001, 0.999]))
        high = max(high, low + 1)

    def shade(image: U8) -> U8:
        gray = np.floor((_average(image) - low) / (high - low) * (GRAYS - 1) + 0.5)
        return (gray.clip(0, GRAYS - 1) * (255 / (GRAYS - 1))).astype(np.uint8)

    return shade


def _average(image: U8 | F64) -> F64:
    """Average a large image down."""
    factor = -(-max(image.shape) // SIDE)
    padded = np.pad(image, [(0, -size % factor) for size in image.shape], mode="edge")
    height, width = (size // factor for size in padded.shape)
    return np.asarray(padded.reshape(height, factor, width, factor).mean(axis=(1, 3)))


def _thumbnail(title: str, image: U8, marks: Marks, data: ReportData) -> Thumbnail:
    outlines, texts = {}, []
    for kind, (ranges, text) in marks.items():
        if ranges:
            outlines[kind] = "".join(outline(start, stop, data.width) for start, stop in ranges)
            texts.append(text)
    uri = _data_uri(image)
    return Thumbnail(title, uri, outlines, "; ".join(texts) or "nothing marked")


def _data_uri(image: U8) -> str:
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()


def _named(kind: str, what: str, numbers: Sequence[int]) -> str:
    """What is marked, in words."""
    listed = format_frames(np.array(numbers, np.int64)).replace(",", ", ")
    return f"{MARKS[kind]}: {what}{listed}"


def _buffers(kind: str, found: Sequence[tuple[int, Range]]) -> Marks:
    """Marks of buffers: their positions and what of them is marked."""
    what = "buffers " if len(found) > 1 else "buffer "
    positions = [position for position, _ in found]
    return {kind: ([part for _, part in found], _named(kind, what, positions))} if found else {}


def _noisy_rows(image: U8, threshold: float) -> Bools:
    """Which rows are noisy by their mean second difference, (height,)."""
    second = np.abs(np.diff(image.astype(np.int16), n=2, axis=1))
    if not second.size:
        return np.zeros(len(image), np.bool_)
    return np.asarray(second.mean(axis=1) > threshold)


def _noisy_marks(image: U8, threshold: float) -> Marks:
    """The rows that are noisy, and that in words."""
    rows = np.flatnonzero(_noisy_rows(image, threshold))
    if not len(rows):
        return {}
    width = image.shape[1]
    spans = [(first * width, (last + 1) * width) for first, last in runs(rows).tolist()]
    return {"noisy": (spans, _named("noisy", "", rows.tolist()))}


def _result_marks(data: ReportData, frame: int, image: U8) -> Marks:
    """Ranges of the result that are lost or were disputed."""
    lost: list[tuple[int, Range]] = []
    decided: list[tuple[int, Range]] = []
    if not data.lost.shape[1]:
        return {}
    for position, (start, stop) in enumerate(pairwise(data.bounds.tolist())):
        if data.lost[frame, position]:
            begin = _end_of_data(image.ravel()[start:stop])
            lost.append((position, (start + begin, stop)))
        elif (
            data.composition is not None
            and data.composition.buffer_evidence[frame, position] >= Evidence.MAJORITY
        ):
            decided.append((position, (start, stop)))
    return _buffers("lost", lost) | _buffers("decided", decided)


def _candidate_marks(data: ReportData, number: int, frame: int, image: U8) -> Marks:
    """Ranges of a candidate that are lost.

    The store says how many buffers a candidate lacks, its pixels which: those that are all zero.
    """
    lost: list[tuple[int, Range]] = []
    lacks = data.lacking[number, frame] > 0
    padded = data.scores is not None and data.scores.black_padding[number, frame] > 0
    pixels = image.ravel()
    for position, (start, stop) in enumerate(pairwise(data.bounds.tolist())):
        part = pixels[start:stop]
        end = _end_of_data(part)
        if (end == 0 and lacks) or (padded and 0 < end < len(part)):
            lost.append((position, (start + end, stop)))
    return _buffers("lost", lost)


def _end_of_data(part: U8) -> int:
    """Where the zeros at the end of a buffer begin, if there are more than a few."""
    filled = np.flatnonzero(part)
    end = int(filled[-1]) + 1 if len(filled) else 0
    return end if len(part) - end >= PADDING or not end else len(part)
