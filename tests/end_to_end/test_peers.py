"""mio 0.12.1, in an environment of its own, beside us on the same files."""

import json
import shutil
import subprocess
import venv
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import miostitch
from miostitch.config.files import config_text, load_config, shipped_configs
from miostitch.denoising.noise_table import score_files
from miostitch.recording.files import ReadOptions
from miostitch.schema import CORRECTED
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
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

CONFIGS = """
import json, sys
from pathlib import Path
from mio.const import CONFIG_DIR
from mio.models.process import DenoiseConfig, FrequencyMaskingConfig
KINDS = {kind.__name__: kind for kind in (DenoiseConfig, FrequencyMaskingConfig)}
found = {}
for path in sorted((Path(sys.argv[1]) if sys.argv[1:] else CONFIG_DIR).rglob("*.y*ml")):
    head = path.read_text().partition("mio_model:")[2].split()
    if head and (kind := KINDS.get(head[0].rpartition(".")[2])):
        found[str(path)] = kind.from_yaml(path).model_dump()
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def mio() -> Path:
    """Python of an environment with mio; kept between runs."""
    folder = Path(__file__).parents[2] / ".envs" / "mio"
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
    assert found["frames"] == 52
    assert found["frame_num"] == table.frame_num.tolist()


def test_mio_makes_the_same_of_real_recordings(mio: Path, recordings: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (recordings / "stitch").iterdir():
        theirs.mkdir(exist_ok=True)
        shutil.copy(path, theirs)
    names = [str(theirs / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, ours, StitchOptions(repair=False, keep_clocks=True))
    command = [str(mio.with_name("mio")), "process", "stitch", "-i", names[0], "-i", names[1]]
    subprocess.run([*command, "-o", str(theirs / "out")], check=True, capture_output=True)
    stem = "video1__video2_stitched"
    for folder in (theirs / "out", ours):
        assert blake2s_of(decode(folder / f"{stem}.avi")) == GOLDEN
    one, two = (pd.read_csv(f / f"{stem}.csv") for f in (theirs / "out", ours))
    assert [*two.columns] == [*one.columns, CORRECTED.name]
    pd.testing.assert_frame_equal(one, two[[*one.columns]], check_dtype=False)
    one, two = (pd.read_csv(f / f"{stem}_timestamps.csv") for f in (theirs / "out", ours))
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=1e-6)
    one, two = (pd.read_csv(f / f"{stem}_scores.csv") for f in (theirs / "out", ours))
    choice = [n for n in one.columns if not n.endswith(("edge_score", "noisy_pixels"))]
    # of two pieces of frame 2529 mio takes neither by the number of buffers
    pd.testing.assert_frame_equal(one[choice], two[choice], check_dtype=False)
    for column in ("selected_edge_score", "compare_edge_score"):
        # mio adds up three equal colour channels
        pd.testing.assert_series_equal(one[column], 3.0 * two[column])


def test_trimmed_as_mio_trims(mio: Path, recordings: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    for suffix in (".avi", ".csv"):
        shutil.copy(recordings / "stitch" / f"video1{suffix}", theirs)
    video = theirs / "video1.avi"
    command = [
        str(mio.with_name("mio")),
        "process",
        "trim",
        "-i",
        str(video),
        "-s",
        "10",
        "-e",
        "9",
    ]
    subprocess.run([*command, "-o", str(theirs / "x.avi")], check=True, capture_output=True)
    trimmed = miostitch.trim(miostitch.open_recording(video, lag=0), 10, 9)
    miostitch.write_recording(trimmed, ours / "x.avi", reading=ReadOptions(repair=False))
    assert blake2s_of(decode(ours / "x.avi")) == blake2s_of(decode(theirs / "x.avi"))
    one, two = (pd.read_csv(folder / "x.csv") for folder in (theirs, ours))
    order = ["reconstructed_frame_index", "frame_buffer_count", "buffer_recv_index"]
    one, two = (table.sort_values(order, ignore_index=True) for table in (one, two))
    pd.testing.assert_frame_equal(one, two, check_dtype=False)
    assert opened_by(mio, ours / "x.avi")["frames"] == 31


def test_scored_as_mio_scores(mio: Path, recordings: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for path in (recordings / "stitch").iterdir():
        shutil.copy(path, theirs)
    names = [str(theirs / f"video{n}.avi") for n in (1, 2)]
    command = [str(mio.with_name("mio")), "process", "stitch", "-i", names[0], "-i", names[1]]
    subprocess.run([*command, "-o", str(theirs / "out")], check=True, capture_output=True)
    score_files(names, tmp_path / "ours")
    for name in ("video1_noise.csv", "video2_noise.csv"):
        assert (tmp_path / "ours" / name).read_bytes() == (theirs / name).read_bytes()


def test_mio_opens_an_edited_result(mio: Path, recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, tmp_path / "in")
    stem = "video1__video2_stitched"
    edited = miostitch.open_recording(tmp_path / "in" / f"{stem}.zarr")
    kept = miostitch.remove_frames(miostitch.trim(edited, 5, 5), "0,7-9")
    miostitch.write_recording(kept, tmp_path / "out")
    found = opened_by(mio, tmp_path / "out" / f"{stem}.avi")
    assert (found["kind"], found["frames"]) == ("StitchedRecording", 39)


def test_mio_opens_what_we_simulate(mio: Path, tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=60, overrun=0, header_flips=0)
    session = miostitch.simulate(tmp_path, config)
    table = pd.read_csv(session.recordings[0].with_suffix(".csv"))
    found = opened_by(mio, session.recordings[0])
    # mio, like us, leaves out the rows of the last frame, which has no picture
    assert found["rows"] == (table.reconstructed_frame_index < found["frames"]).sum()


def values(found: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted key, without what mio does not know and what names its version."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            flat |= values(value, f"{prefix}{name}.")
        elif name not in ("description", "mio_version"):
            flat[f"{prefix}{name}"] = [*value] if isinstance(value, tuple) else value
    return flat


def configs_of(mio: Path, *folder: Path) -> dict[str, dict[str, Any]]:
    """What mio reads from its own configurations of denoising, or from those of a folder."""
    done = subprocess.run(
        [mio, "-W", "ignore", "-c", CONFIGS, *folder], check=True, capture_output=True, text=True
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_configs_of_mio_load_unchanged(mio: Path) -> None:
    theirs = configs_of(mio)
    assert sorted(each["id"] for each in theirs.values()) == [*shipped_configs()]
    for path, found in theirs.items():
        expected = values(found)
        if "output_min_proj: true" in Path(path).read_text():  # mio passes over it
            expected["minimum_projection.output_min_projection"] = True
        for config in (load_config(path), load_config(found["id"])):
            ours = config.model_dump()
            same = values(ours["frequency_masking"] if "cast_float32" in found else ours)
            assert same == expected, path


def test_mio_loads_the_configs_we_ship_and_show(mio: Path, tmp_path: Path) -> None:
    theirs = {each["id"]: values(each) for each in configs_of(mio).values()}
    for file in (resources.files("miostitch.config") / "shipped").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for name in theirs.keys() - {"remove_stripe_example"}:  # shown as a whole, another kind to mio
        (tmp_path / f"{name}_shown.yml").write_text(config_text(load_config(name)))
    read = configs_of(mio, tmp_path)
    assert len(read) == 2 * len(theirs) - 1
    for found in read.values():
        same = values(found)
        differing = {key for key, value in theirs[found["id"]].items() if same[key] != value}
        assert differing <= {"minimum_projection.output_min_projection"}
