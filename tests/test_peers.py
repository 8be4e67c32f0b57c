"""mio 0.12.1, in an environment of its own, beside us on the same files."""

import json
import shutil
import subprocess
import venv
from pathlib import Path

import pandas as pd
import pytest

import miostitch
from miostitch.workflow import StitchOptions, stitch_files
from tests.video_files import GOLDEN, blake2s_of, decode

pytestmark = pytest.mark.peer

OPEN = """
import json, sys
from pathlib import Path
from mio.models.dataset import Recording
recording = Recording.from_video(Path(sys.argv[1]))
print(json.dumps({
    "kind": type(recording).__name__,
    "frames": int(recording.video.shape[0]),
    "rows": len(recording.metadata),
    "frame_num": [int(n) for n in recording.metadata["frame_num"]],
}))
"""


@pytest.fixture(scope="session")
def mio() -> Path:
    """Python of an environment with mio; kept between runs."""
    folder = Path(__file__).parents[1] / ".envs" / "mio"
    if not (folder / "bin" / "mio").exists():
        venv.create(folder, with_pip=True, clear=True)
        packages = ["mio==0.12.1", "matplotlib"]
        subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], check=True)
    return folder / "bin" / "python"


def opened_by(mio: Path, video: Path) -> dict[str, object]:
    done = subprocess.run(
        [mio, "-W", "ignore", "-c", OPEN, video], check=True, capture_output=True, text=True
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_mio_opens_what_we_stitch(mio: Path, recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, tmp_path)
    stem = "video1__video2_stitched"
    found = opened_by(mio, tmp_path / f"{stem}.avi")
    table = pd.read_csv(tmp_path / f"{stem}.csv")
    assert found["kind"] == "StitchedRecording"
    assert found["frames"] == 53
    assert found["frame_num"] == table.frame_num.tolist()


def test_mio_makes_the_same_of_real_recordings(mio: Path, recordings: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (recordings / "stitch").iterdir():
        theirs.mkdir(exist_ok=True)
        shutil.copy(path, theirs)
    names = [str(theirs / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, ours, StitchOptions(repair=False))
    command = [str(mio.with_name("mio")), "process", "stitch", "-i", names[0], "-i", names[1]]
    subprocess.run([*command, "-o", str(theirs / "out")], check=True, capture_output=True)
    stem = "video1__video2_stitched"
    for folder in (theirs / "out", ours):
        assert blake2s_of(decode(folder / f"{stem}.avi")) == GOLDEN
    one, two = (pd.read_csv(f / f"{stem}.csv") for f in (theirs / "out", ours))
    pd.testing.assert_frame_equal(one, two, check_dtype=False)
    one, two = (pd.read_csv(f / f"{stem}_timestamps.csv") for f in (theirs / "out", ours))
    pd.testing.assert_frame_equal(one, two)
    one, two = (pd.read_csv(f / f"{stem}_scores.csv") for f in (theirs / "out", ours))
    choice = [n for n in one.columns if not n.endswith(("edge_score", "noisy_pixels"))]
    # of two pieces of frame 2529 mio takes neither by the number of buffers
    pd.testing.assert_frame_equal(one[choice], two[choice], check_dtype=False)
    for column in ("selected_edge_score", "compare_edge_score"):
        # mio adds up three equal colour channels
        pd.testing.assert_series_equal(one[column], 3.0 * two[column])


def test_mio_opens_what_we_simulate(mio: Path, tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=60, overrun=0, header_flips=0)
    session = miostitch.simulate(tmp_path, config)
    table = pd.read_csv(session.recordings[0].with_suffix(".csv"))
    found = opened_by(mio, session.recordings[0])
    # mio, like us, leaves out the rows of the last frame, which has no picture
    assert found["rows"] == (table.reconstructed_frame_index < found["frames"]).sum()
