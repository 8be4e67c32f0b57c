"""The quality report of a stitched pair of 200x200 frames."""

from pathlib import Path

from miostitch.report.run import report_files
from miostitch.simulation.receivers import SimulationConfig, simulate
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files

FRAMES = 4000


class Report:
    number = 1
    warmup_time = 0.5  # the first one compiles the template

    def setup_cache(self):
        config = SimulationConfig(frames=FRAMES, seed=1, buffer_loss=0.1, frame_loss=0.02)
        names = [str(path) for path in simulate("session", config).recordings]
        stitch_files(names, "stitched", StitchOptions(codec=None, report=False))

    def time_report(self):
        return report_files("stitched", force=True)

    def peakmem_report(self):
        self.time_report()

    def track_bytes(self):
        [made] = self.time_report()["reports"]
        return Path(made["output"]).stat().st_size

    track_bytes.unit = "bytes"
