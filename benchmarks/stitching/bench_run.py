"""Stitching from files to files: two receivers of 200x200 frames."""

from pathlib import Path
from time import perf_counter

from miostitch.recording.recording import Recording
from miostitch.schema import chunk_frames
from miostitch.session.session import bring_together
from miostitch.simulation.receivers import SimulationConfig, simulate
from miostitch.stitching.lazy import StitchConfig, stitch_frames
from miostitch.stitching.run import StitchOptions, stitch_files

FRAMES = 1000
PAIR = ("session/receiver1.avi", "session/receiver2.avi")  # asv keeps the folder of setup_cache


class Pipeline:
    number = 1
    warmup_time = 0.5  # the first run loads the kernels
    params = ("frame", "buffer")
    param_names = ("by",)

    def setup_cache(self):
        simulate("session", SimulationConfig(frames=FRAMES, seed=1))

    def time_stitch(self, by):
        return stitch_files(PAIR, Path("stitched"), StitchOptions(by=by, force=True))

    def peakmem_stitch(self, by):
        self.time_stitch(by)

    def track_frames_per_second(self, by):
        def rate():
            start = perf_counter()
            frames = self.time_stitch(by)["frames"]
            return frames / (perf_counter() - start)

        return max(rate() for _ in range(3))

    def track_tasks_per_block(self, by):
        session = bring_together([Recording.open(path) for path in PAIR])
        count, height, width = session.shape
        block = max(1, min(chunk_frames(height, width), count // 10))
        frames = stitch_frames(session, slice(0, count), block, StitchConfig(by=by))
        return len(dict(frames.__dask_graph__())) / -(-count // block)

    track_frames_per_second.unit = "frames/s"
    track_tasks_per_block.unit = "tasks"
