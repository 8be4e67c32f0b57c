"""Frames as pictures for a report: the result, and beside it what each recording has of them."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import MiostitchError
from miostitch.ranges import format_frames
from miostitch.recording.recording import Recording
from miostitch.report.statistics import Tables
from miostitch.schema import EVIDENCE
from miostitch.store.chunks import read_block
from miostitch.text import printable
from miostitch.video.png import png_bytes

Frames = NDArray[np.uint8]

SIDE = 240
"""Most pixels of a picture's side; larger frames are averaged down."""

GRAYS = 32
BUDGET_BYTES = 400_000
"""Most bytes of all pictures of a report."""

READERS = 2
"""Chunks of the store that are decoded at a time."""

PADDING = 8
"""Fewer zeros than this at the end of a buffer may be dark pixels."""

MARKS = {
    "lost": "not received",
    "differs": "other pixels than the result",
    "decided": "copies disagree, decided pixel by pixel or by majority",
}
"""What can be marked in a picture."""


@dataclass(frozen=True)
class Picture:
    """One picture."""

    title: str  # Whose it is
    uri: str  # The pixels as a data URI; empty where there is no picture
    # What is marked and its outlines, as paths of SVG in pixels of the frame.
    outlines: Mapping[str, str]
    text: str  # The same in words, or why there is no picture


@dataclass(frozen=True)
class Shown:
    """A frame of the result and its candidates."""

    frame: int
    pictures: Sequence[Picture]


def show_frames(
    path: str, tables: Tables, inputs: Sequence[Recording | str], frames: Sequence[int]
) -> Iterator[Shown]:
    """Make pictures of some frames, as many as the budget allows.

    Yields: The result first, then every recording.
    """
    with ThreadPoolExecutor(READERS) as pool:  # a chunk is decoded for every frame
        images = [*pool.map(lambda frame: read_block(path, frame, frame + 1)[0], frames)]
    spent = 0
    for frame, image in zip(frames, images, strict=True):
        candidates = [_candidate(tables, number, frame, each) for number, each in enumerate(inputs)]
        known = [image, *(each for each in candidates if not isinstance(each, str))]
        low, high = _contrast(known)
        result = _result_marks(tables, frame, image)
        pictures = [_picture("result", image, result, tables, (low, high))]
        for number, each in enumerate(candidates):
            name = tables.names[number]
            if isinstance(each, str):
                pictures.append(Picture(name, "", {}, each))
                continue
            marks = _candidate_marks(tables, number, frame, each, image)
            recording = inputs[number]
            if isinstance(recording, Recording) and recording.lossy:
                marks = {}
            pictures.append(_picture(name, each, marks, tables, (low, high)))
        spent += sum(len(picture.uri) for picture in pictures)
        if spent > BUDGET_BYTES:
            return
        yield Shown(frame, pictures)


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


def _candidate(tables: Tables, number: int, frame: int, source: Recording | str) -> Frames | str:
    """The picture that a recording has of a frame, or why there is none."""
    if not tables.present[number, frame]:
        return "did not receive this frame"
    if isinstance(source, str):
        return source
    position = np.array([tables.scores["source_frame"][number, frame]], np.int64)
    try:
        return np.asarray(source.reader(position).read()[0])
    except (MiostitchError, OSError, IndexError) as error:
        return printable(str(error))


def _contrast(images: Sequence[Frames]) -> tuple[float, float]:
    """Gray values that become black and white, the same for all pictures of a frame.

    Those of the first image that has any data decide: the result, if it is not lost.
    """
    values = next((image[image > 0] for image in images if image.any()), None)
    if values is None:
        return 0.0, 255.0
    low, high = np.quantile(values, [0.001, 0.999])
    return float(low), float(max(high, low + 1))


def _picture(
    title: str,
    image: Frames,
    marks: Mapping[str, Sequence[tuple[int, int, int]]],
    tables: Tables,
    contrast: tuple[float, float],
) -> Picture:
    low, high = contrast
    small = _small(image)
    shade = np.floor((small - low) / (high - low) * (GRAYS - 1) + 0.5).clip(0, GRAYS - 1)
    png = png_bytes((shade * (255 / (GRAYS - 1))).astype(np.uint8))
    outlines = {
        kind: "".join(outline(start, stop, tables.width) for _, start, stop in ranges)
        for kind, ranges in marks.items()
        if ranges
    }
    told = [
        f"{MARKS[kind]}: buffer{'s' * (len(ranges) > 1)} "
        + format_frames(np.array([position for position, _, _ in ranges])).replace(",", ", ")
        for kind, ranges in marks.items()
        if ranges
    ]
    uri = "data:image/png;base64," + base64.b64encode(png).decode()
    return Picture(title, uri, outlines, "; ".join(told) or "nothing marked")


def _small(image: Frames) -> NDArray[np.float64]:
    """Average a large picture down."""
    factor = -(-max(image.shape) // SIDE)
    height, width = (-(-size // factor) for size in image.shape)
    rest = [
        (0, size * factor - had) for size, had in zip((height, width), image.shape, strict=True)
    ]
    padded = np.pad(image, rest, mode="edge")
    return np.asarray(padded.reshape(height, factor, width, factor).mean(axis=(1, 3)))


def _result_marks(
    tables: Tables, frame: int, image: Frames
) -> dict[str, list[tuple[int, int, int]]]:
    """Ranges of the result that are lost or were disputed: position, start and stop of each."""
    marks: dict[str, list[tuple[int, int, int]]] = {"lost": [], "decided": []}
    if not len(tables.bounds) or not tables.lost.shape[1]:
        return marks
    evidence = tables.composition["buffer_evidence"][frame] if tables.composition else None
    for position, (start, stop) in enumerate(_ranges(tables)):
        if tables.lost[frame, position]:
            begin = _end_of_data(image.ravel()[start:stop])
            marks["lost"].append((position, start + begin, stop))
        elif evidence is not None and evidence[position] >= EVIDENCE.index("majority"):
            marks["decided"].append((position, start, stop))
    return marks


def _candidate_marks(
    tables: Tables, number: int, frame: int, image: Frames, result: Frames
) -> dict[str, list[tuple[int, int, int]]]:
    """Ranges of a candidate that are lost or differ from the result.

    The store says how many buffers a candidate lacks, its pixels which: those that are all zero.
    """
    marks: dict[str, list[tuple[int, int, int]]] = {"lost": [], "differs": []}
    if not len(tables.bounds):
        return marks
    lacks = tables.lacking[number, frame] > 0
    padded = tables.scores["black_padding"][number, frame] > 0
    pixels, others = image.ravel(), result.ravel()
    for position, (start, stop) in enumerate(_ranges(tables)):
        part = pixels[start:stop]
        data = _end_of_data(part)
        if (data == 0 and lacks) or (padded and 0 < data < len(part)):
            marks["lost"].append((position, start + data, stop))
        if data and not np.array_equal(part[:data], others[start : start + data]):
            marks["differs"].append((position, start, start + data))
    return marks


def _ranges(tables: Tables) -> list[tuple[int, int]]:
    bounds = tables.bounds.tolist()
    return [*pairwise(bounds)]


def _end_of_data(part: Frames) -> int:
    """Where the zeros at the end of a buffer begin, if there are more than a few."""
    filled = np.flatnonzero(part)
    end = int(filled[-1]) + 1 if len(filled) else 0
    return end if len(part) - end >= PADDING or not end else len(part)
