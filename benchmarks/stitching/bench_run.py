"""Stitching from files to files: two receivers of 200x200 frames."""

from pathlib import Path
from time import perf_counter

from miostitch.simulation.receivers import SimulationConfig, simulate
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.stitching.stitched import stitch

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
        video = stitch(PAIR, by=by).video.data
        return len(dict(video.__dask_graph__())) / video.numblocks[0]

    track_frames_per_second.unit = "frames/s"
    track_tasks_per_block.unit = "tasks"
