"""A folder as a lab has it: a finished session, one that is to be run, one without a file."""

from pathlib import Path

from miostitch.batch.session import run_session
from tests.batch.trees import shift, simulate

FILE = """miostitch: 1
receivers:
  left: [receiver1.avi]
  right: [receiver2.avi]
output: stitched
options: {by: buffer}
"""


def make_lab(folder: Path, frames: int = 60) -> Path:
    for number, name in enumerate(("finished", "waiting", "bare")):
        videos = simulate(folder / name, frames, seed=number)
        for video in videos:
            shift(video.with_suffix(".csv"), 86_400 * number)
        if name != "bare":
            (folder / name / "session.yml").write_text(FILE)
    broken = folder / "broken"
    broken.mkdir()
    (broken / "session.yml").write_text("miostitch: 1\nrecievers: {}\n")
    assert run_session(str(folder / "finished" / "session.yml")).state == "done"
    return folder
