"""What is more than there is room for is refused in words, never wrong and never a traceback."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import miostitch
from miostitch.cli.main import main
from miostitch.errors import UsageError
from miostitch.recording.files import ReadOptions, recording_names, stitched_stem
from miostitch.recording.recording import require_numbered
from miostitch.stitching.options import StitchOptions


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code in (0, 2, 3), done.output
    return done


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two receivers of a device that sends 80 buffers of a frame."""
    config = miostitch.SimulationConfig(
        frames=6, receivers=2, height=40, width=40, buffer_pixels=20, extra_frame=False
    )
    return list(miostitch.simulate(tmp_path_factory.mktemp("many"), config).recordings)


@pytest.mark.fault(
    66, "80 buffers per frame, to every command that counts them", "exit 3, or right"
)
@pytest.mark.parametrize("words", ["stitch", "trim -s 1 -o {0}/t.zarr", "export --to zarr2"])
def test_too_many_buffers_per_frame_are_refused(
    many: list[Path], tmp_path: Path, words: str
) -> None:
    command, *options = words.format(tmp_path).split()
    out = [] if "-o" in options else ["-o", tmp_path / "out"]
    done = run(command, many[0], *options, *out)
    if command == "export":
        assert done.exit_code == 0
    else:
        assert done.exit_code == 3
        assert "80 buffers per frame; at most 64 are supported" in done.stderr


def test_inspect_describes_too_many_buffers(many: list[Path]) -> None:
    done = run("inspect", *many)
    assert done.exit_code == 3
    assert "at most 64 are supported" in done.stdout


@pytest.mark.fault(66, "128 recordings", "exit 2")
def test_more_recordings_than_numbers_are_refused() -> None:
    require_numbered(127)
    with pytest.raises(UsageError, match="128 recordings; at most 127 are supported"):
        require_numbered(128)


@pytest.mark.fault(66, "names of 20 receivers", "the first and a number stand for them")
def test_the_name_of_many_recordings_is_short() -> None:
    names = [f"WL27_DAQ{number:02}_25_12_10_long-8" for number in range(20)]
    assert stitched_stem(names) == f"{names[0]}__and_19_more_stitched"
    assert stitched_stem(names[::-1]) == stitched_stem(names)
    few = names[:3]
    assert stitched_stem(few) == "__".join(few) + "_stitched"
    assert stitched_stem(["é" * 60, "ü" * 60]).endswith("__and_1_more_stitched")
    assert stitched_stem(recording_names(["a/x.avi", "b/x.avi"]), "mine") == "mine"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", " ", "a\\b", "a\0", "a:b"])
def test_names_of_no_file_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="must be a file name"):
        StitchOptions(name=name)


@pytest.mark.fault(66, "numbers of 20 and 31 digits", "exit 2")
@pytest.mark.parametrize("digits", ["99999999999999999999", "1" + 30 * "0", "9" * 5000])
@pytest.mark.parametrize(
    "words",
    [
        "stitch --lag", "stitch --lag -", "stitch --chunk-frames", "stitch --workers",
        "stitch --max-frame-pixels", "trim -s", "trim -e", "regularize --max-fill",
        "simulate --frames", "simulate --seed",
        "simulate --receivers", "simulate --lag", "simulate --lag -",
    ],
)  # fmt: skip
def test_numbers_of_any_size_are_usage_errors(tmp_path: Path, words: str, digits: str) -> None:
    command, option, *sign = words.split()
    done = run(command, tmp_path / "a.avi", f"{option}={''.join(sign)}{digits}")
    assert done.exit_code == 2, done.output


def test_lags_of_any_size_are_usage_errors_in_python() -> None:
    for lag in (2**70, -(2**70)):
        with pytest.raises(UsageError, match="more frames than a recording can have"):
            ReadOptions(lag=lag)


def test_products_are_called_as_asked_for(many: list[Path], tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=6, receivers=2, height=20, width=20)
    videos = miostitch.simulate(tmp_path / "s", config).recordings
    run("stitch", *videos, "-o", tmp_path / "out", "--name", "mine", "--no-report")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "mine.zarr", "mine.avi", "mine.csv", "mine.json", "mine_timestamps.csv", "mine_scores.csv",
    }  # fmt: skip
