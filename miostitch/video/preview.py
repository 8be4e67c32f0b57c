"""Write previews as MP4: H.264, with the contrast stretched and a line of text under each frame."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from math import ceil
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.codec import codecs_available
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miostitch.errors import ResourceError
from miostitch.video.raw_avi import BITEXACT
from miostitch.video.writer import Append, Packed, failing

if TYPE_CHECKING:
    from av.video.stream import VideoStream

ENCODER = "libx264"
OPTIONS = {"crf": "20", "preset": "veryfast"}
LINE = 16  # height of the line of text, in pixels
FONT_SIZE = 11
LEAST_WIDTH = 176  # what the text of a frame needs, in pixels
BLACK, WHITE, NEUTRAL = 16, 235, 128
"""What luma and chroma of a video are; grays below and above are no picture."""


@dataclass(frozen=True)
class PreviewFile:
    """An MP4 of gray frames; small and picklable, tasks draw and the coordinator encodes."""

    path: str
    width: int
    height: int
    fps: Fraction
    grays: tuple[int, int]  # Gray values that are shown black and white
    texts: Sequence[str]  # Under each frame
    titles: Sequence[tuple[int, str]] = ()  # Under all frames, from a column on
    by_position: bool = False

    def pack(self, first: int, frames: NDArray[np.uint8]) -> Packed:
        """Draw frames, uint8 (frame, height, width), as planes of luma."""
        return [
            self._draw(frame, self.texts[first + number]).tobytes()
            for number, frame in enumerate(frames)
        ]

    @contextmanager
    def open(self, count: int) -> Iterator[Append]:
        """Begin a file, and complete it."""
        if ENCODER not in codecs_available:
            msg = f"{self.path}: this FFmpeg has no {ENCODER}; install PyAV from PyPI"
            raise ResourceError(msg)
        with failing(self.path):
            # the prefix keeps a name like `a:b.mp4` from being read as a protocol
            options = {**BITEXACT, "movflags": "+faststart"}
            container = av.open(f"file:{self.path}", "w", format="mp4", options=options)
            stream = cast("VideoStream", container.add_stream(ENCODER, rate=self.fps))
            stream.width, stream.height = self._sides[::-1]
            stream.pix_fmt, stream.options = "yuv420p", {**OPTIONS}

        def append(first: int, packed: Packed) -> None:
            with failing(self.path):
                for number, luma in enumerate(packed):
                    frame = self._picture(luma)
                    frame.pts, frame.time_base = first + number, 1 / self.fps
                    container.mux(stream.encode(frame))

        try:
            yield append
            with failing(self.path):
                container.mux(stream.encode())
        finally:
            with failing(self.path):
                container.close()

    @property
    def _sides(self) -> tuple[int, int]:
        """Height and width of the video, which are even."""
        width = max(self.width, LEAST_WIDTH)
        return self.height + self.height % 2 + LINE, width + width % 2

    @cached_property
    def _luma(self) -> NDArray[np.uint8]:
        """The luma of every gray value."""
        low, high = self.grays
        share = ((np.arange(256) - low) / max(high - low, 1)).clip(0, 1)
        return (BLACK + share * (WHITE - BLACK) + 0.5).astype(np.uint8)

    def _draw(self, frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
        """A frame and the text under it, uint8 of the size of the video."""
        drawn = np.full(self._sides, BLACK, np.uint8)
        drawn[: self.height, : self.width] = self._luma[frame]
        line = Image.new("L", (self._sides[1], LINE), BLACK)
        draw = ImageDraw.Draw(line)
        for column, words in ((0, text), *self.titles):
            draw.text((column + 2, 1), words, WHITE, _font())
        drawn[-LINE:] = np.asarray(line)
        return drawn

    def _picture(self, luma: bytes) -> av.VideoFrame:
        height, width = self._sides
        planes = np.full((height * 3 // 2, width), NEUTRAL, np.uint8)
        planes[:height] = np.frombuffer(luma, np.uint8).reshape(height, width)
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def contrast(sample: NDArray[np.uint8], shares: tuple[float, float]) -> tuple[int, int]:
    """Gray values that are to be black and white, by shares of the pixels that are not lost."""
    seen = sample[sample > 0]
    if not seen.size:
        return 0, 255
    low, high = np.quantile(seen, shares)
    return int(low), max(int(np.ceil(high)), int(low) + 1)


def preview_rate(fps: float, most: int) -> tuple[Fraction, int]:
    """The rate of a preview, and every how many frames it shows, so that players keep up.

    >>> preview_rate(200, 60), preview_rate(19.98, 60)
    ((Fraction(50, 1), 4), (Fraction(999, 50), 1))
    """
    step = max(1, ceil(fps / most))
    return Fraction(fps / step).limit_denominator(1000), step
