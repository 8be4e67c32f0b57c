"""A tree as a lab has it: described, run, resumed, and equal to what the long command makes."""

import json
import shutil
from pathlib import Path

import pytest

from miostitch.batch.run import BatchOptions, run_batch
from miostitch.config.session_file import load_session
from tests.batch.trees import cut, move, shift, simulate
from tests.commands import run
from tests.folders import content

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two animals: one in eight segments, of which one is missing and one has a near name."""
    folder = tmp_path_factory.mktemp("lab")
    for number, video in enumerate(simulate(folder / "m1", 96, seed=1), 1):
        cut(video, 8, lambda part, number=number: f"R{number}_seg{part + 4}.avi")  # type: ignore[misc]
    for suffix in (".avi", ".csv"):
        (folder / "m1" / f"R2_seg7{suffix}").unlink()
    (folder / "m1" / "R1_seg9.csv").rename(folder / "m1" / "R1_seg9 (1).csv")
    for name, video in zip(("left", "right"), simulate(folder / "m2", 48, seed=2), strict=True):
        shift(video.with_suffix(".csv"), 30.0, 100)
        move(video, folder / "m2" / name / "rec.avi")
    (folder / "m1" / "._R1_seg5.avi").write_bytes(b"\0")
    return folder


def test_a_lab_is_described_run_killed_and_resumed(lab: Path, tmp_path: Path) -> None:
    run("init", str(lab))
    session = load_session(lab / "m1" / "session.yml")
    segments = {
        name: [Path(each.video).name for each in part] for name, part in session.receivers.items()
    }
    assert segments == {
        f"R{receiver}": [f"R{receiver}_seg{n}.avi" for n in range(5, 13) if (receiver, n) != (2, 7)]
        for receiver in (1, 2)
    }
    assert [Path(each.table).name for each in session.receivers["R1"] if each.table] == [
        "R1_seg9 (1).csv"
    ]
    assert {*load_session(lab / "m2" / "session.yml").receivers} == {"left", "right"}
    for animal in ("m1", "m2"):
        path = lab / animal / "session.yml"
        options = "{by: buffer, chunk_frames: 8}"
        path.write_text(path.read_text().replace("options: {}", f"options: {options}"))

    def kill(done: int, total: int) -> None:
        if done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch([str(lab)], BatchOptions(), progress=kill)
    made = run_batch([str(lab)], BatchOptions())
    assert [(each.name, each.state) for each in made.sessions] == [("m1", "done"), ("m2", "done")]
    summary = json.loads((lab / "m1" / "stitched" / "m1.json").read_text())
    assert summary["resumed_blocks"] > 0
    _compare_with_the_long_command(lab / "m1", segments, tmp_path)
    run("verify", str(lab / "m1" / "stitched"))


def _compare_with_the_long_command(
    folder: Path, segments: dict[str, list[str]], tmp_path: Path
) -> None:
    """The same files as a user would name them without a session file."""
    raw = tmp_path / "raw"
    shutil.copytree(folder, raw, ignore=shutil.ignore_patterns("stitched"))
    (raw / "R1_seg9 (1).csv").rename(raw / "R1_seg9.csv")
    names = [",".join(str(raw / name) for name in part) for part in segments.values()]
    out = tmp_path / "long"
    run(
        "stitch", *names, "-o", str(out), "--by", "buffer", "--chunk-frames", "8", "--name", "m1"
    )  # fmt: skip
    ours, theirs = content(folder / "stitched"), content(out)
    scores = "m1_scores.csv"
    theirs[scores] = theirs[scores].replace(b"_seg5", b"")
    assert ours.keys() == theirs.keys()
    provenance = {"m1.json", "m1_report.html"}
    differ = {name for name in ours if ours[name] != theirs[name]} - provenance
    assert all(Path(name).name == "zarr.json" for name in differ)  # attributes
