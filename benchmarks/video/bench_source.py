"""Reading and writing of video, frames of 200x200 pixels."""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from miostitch.video.source import open_video
from miostitch.video.writer import VideoWriter

BLOCK = 400
BLOCKS = 10


class Video:
    params = ("rawvideo", "ffv1")
    param_names = ("codec",)

    def setup(self, codec):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "a.avi"
        self.frames = np.random.default_rng(1).integers(0, 64, (BLOCK, 200, 200), dtype=np.uint8)
        self.write(self.path, codec)
        self.source = open_video(self.path)
        self.out = np.empty_like(self.frames)
        self.source.read(range(BLOCK), self.out)

    def teardown(self, codec):
        self.folder.cleanup()

    def write(self, path, codec):
        with VideoWriter(path, width=200, height=200, fps=Fraction(20), codec=codec) as writer:
            for _ in range(BLOCKS if codec == "rawvideo" else 1):
                writer.write(self.frames)

    def time_read_blocks(self, codec):
        for start in range(0, self.source.frame_count, BLOCK):
            self.source.read(range(start, start + BLOCK), self.out)

    def time_read_at_random(self, codec):
        chosen = np.random.default_rng(2).integers(0, self.source.frame_count, BLOCK)
        self.source.read(chosen, self.out)

    def time_write(self, codec):
        self.write(self.path.with_name("b.avi"), codec)


class Index:
    """A session of nine hours at 20 frames/s, its frames small."""

    timeout = 120
    frame_count = 648_000

    def setup(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "a.avi"
        frames = np.zeros((1000, 4, 4), np.uint8)
        with VideoWriter(self.path, width=4, height=4, fps=Fraction(20)) as writer:
            for _ in range(self.frame_count // 1000):
                writer.write(frames)

    def teardown(self):
        self.folder.cleanup()

    def time_open(self):
        open_video(self.path)

    def time_open_salvage(self):
        open_video(self.path, salvage=True)

    def peakmem_open(self):
        open_video(self.path)
