"""Stitch, trim and denoise: in one go as one by one, whole or not at all."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import miostitch
from miostitch import cli, denoise_files, load_config, open_recording, workflow_files
from miostitch.config.models import (
    BlackAreaDetectorConfig,
    DenoiseConfig,
    GradientDetectorConfig,
    NoisePatchConfig,
)
from miostitch.denoising.noise_table import score_files
from miostitch.editing.run import edit_files
from miostitch.errors import OutputExistsError, ResourceError, UsageError
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.video.source import open_video
from tests.commands import run
from tests.folders import content
from tests.video_files import decode

STEM = "receiver1__receiver2_stitched"
TABLES = {".csv", "_timestamps.csv", "_scores.csv"}
RESULT = {f"_denoised{suffix}" for suffix in {*TABLES, ".avi", ".zarr", ".json"}}
PATCH = {"_patch.avi", "_patch.csv", "_patch_timestamp.csv", "_patch_noisy_frames.avi"}
PATCH |= {"_patch_dropped_frames.txt", "_patch_patched_area.avi"}
CALCIUM = RESULT | PATCH | {"_freq_mask.avi", "_min_proj.avi"}
SHOWN = {"_freq_mask_freq_domain.avi", "_freq_mask_freq_mask.png", "_min_proj.png"}
PRODUCTS = {
    "denoise_example": CALCIUM | SHOWN,
    "denoise_calcium_imaging": CALCIUM,
    "denoise_flicker": RESULT | {"_patch_noisy_frames.avi", "_patch_dropped_frames.txt"},
    "denoise_patch": PATCH | {"_denoised.json"},
    "remove_stripe_example": RESULT,
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("session")
    config = miostitch.SimulationConfig(frames=50, seed=4, height=24, width=40, buffer_loss=0.1)
    return [str(path) for path in miostitch.simulate(folder, config).recordings]


@pytest.fixture(scope="module")
def stitched(session: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stitched store in blocks that the trimmed frames do not fit."""
    folder = tmp_path_factory.mktemp("stitched")
    stitch_files(session, folder, StitchOptions(chunk_frames=16, report=False))
    return folder / f"{STEM}.zarr"


@pytest.fixture(scope="module")
def example(session: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a whole workflow makes, and ``told.json``, what it printed, beside its folder."""
    folder = tmp_path_factory.mktemp("example") / "out"
    args = ("-o", str(folder), "-c", "denoise_example", "-s", "3", "-e", "4", "--json")
    told = run("workflow", *session, *args).stdout
    folder.with_name("told.json").write_text(told)
    return folder


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, [*args, "-q"])


def require_denoised(folder: Path, stem: str, source: xr.Dataset, config: DenoiseConfig) -> None:
    """Every product says of the same frames what `denoise` says."""
    made = miostitch.denoise(source, config)
    kept = made.dataset.video.values
    found = {path.name.removeprefix(stem) for path in folder.iterdir()}
    for ending, video in {**made.videos, **made.dropped_videos}.items():
        np.testing.assert_array_equal(decode(folder / f"{stem}{ending}"), video.values)
    for ending, image in made.images.items():
        written = cv2.imread(str(folder / f"{stem}{ending}"), cv2.IMREAD_UNCHANGED)
        assert written is not None
        np.testing.assert_array_equal(written, image)
    for ending, text in made.texts.items():
        assert (folder / f"{stem}{ending}").read_text() == text
    if config.output_result:
        np.testing.assert_array_equal(decode(folder / f"{stem}_denoised.avi"), kept)
    if "_denoised.zarr" in found:
        store = xr.open_zarr(folder / f"{stem}_denoised.zarr")
        np.testing.assert_array_equal(store.video, kept)
        np.testing.assert_array_equal(store.frame_num, made.dataset.frame_num)
    facts = json.loads((folder / f"{stem}_denoised.json").read_text())
    runs = [range(first, last + 1) for first, last in facts["kept_frame_num"]]
    assert [n for each in runs for n in each] == made.dataset.frame_num.values.tolist()
    assert facts["dropped_frame_num"] == made.dropped.frame_num.values.tolist()
    assert facts["dropped_frames"] == made.dropped.frame.values.tolist()
    assert facts["frames"] == len(kept)
    assert facts["history"] == made.dataset.attrs["history"]


def test_a_workflow_stitches_trims_and_denoises(example: Path) -> None:
    made = json.loads(example.with_name("told.json").read_text())
    found = {p.name.removeprefix(STEM) for p in example.iterdir()}
    assert found == {*TABLES, ".avi", ".zarr", "_report.html", ".json"} | {
        f"_trimmed{s}" for s in PRODUCTS["denoise_example"]
    }
    assert {Path(path).name for path in made["outputs"]} == {STEM + suffix for suffix in found}
    steps = {step["step"]: step for step in made["steps"]}
    assert [*steps] == ["stitch", "trim", "denoise"]
    assert steps["trim"]["frames"] == steps["stitch"]["frames"] - 7
    assert steps["denoise"]["frames_before"] == steps["trim"]["frames"]
    trimmed = miostitch.trim(open_recording(example / f"{STEM}.zarr"), 3, 4)
    require_denoised(example, f"{STEM}_trimmed", trimmed, load_config("denoise_example"))


@pytest.mark.parametrize(
    "name",
    [
        *("denoise_calcium_imaging", "denoise_patch"),
        pytest.param("denoise_flicker", marks=pytest.mark.slow),
        pytest.param("remove_stripe_example", marks=pytest.mark.slow),
    ],
)
def test_every_shipped_configuration(stitched: Path, tmp_path: Path, name: str) -> None:
    args = ("-o", str(tmp_path), "-c", name, "-s", "3", "-e", "4", "--json")
    made = json.loads(run("workflow", str(stitched), *args).stdout)
    found = {p.name.removeprefix(STEM) for p in tmp_path.iterdir()}
    assert found == {f"_trimmed{s}" for s in PRODUCTS[name]}
    assert {Path(path).name for path in made["outputs"]} == {STEM + suffix for suffix in found}
    trimmed = miostitch.trim(open_recording(stitched), 3, 4)
    require_denoised(tmp_path, f"{STEM}_trimmed", trimmed, load_config(name))


@pytest.mark.slow
def test_the_commands_one_by_one_give_the_same(
    session: list[str], example: Path, tmp_path: Path
) -> None:
    other = str(tmp_path)
    assert invoke("stitch", *session, "-o", other, "-c", "denoise_example").exit_code == 0
    edit_files(
        [f"{other}/{STEM}.zarr"], other, lambda parts: miostitch.trim(parts[0], 3, 4), "_trimmed"
    )
    denoise_files(f"{other}/{STEM}_trimmed.zarr", load_config("denoise_example"), other)
    first, second = content(example), content(tmp_path)
    steps = {name for name in second if name.startswith(f"{STEM}_trimmed.")}
    tables = {f"{STEM}_trimmed{s}" for s in TABLES}
    assert second.keys() - first.keys() == steps | tables
    for name in first:
        if not name.endswith(".json") or ".zarr" in name:
            assert first[name] == second[name], name


@pytest.mark.parametrize(
    "trim", [(1, 32), *(pytest.param(t, marks=pytest.mark.slow) for t in ((0, 0), (5, 0)))]
)
def test_blocks_need_not_fit(stitched: Path, tmp_path: Path, trim: tuple[int, int]) -> None:
    config = DenoiseConfig.model_validate(
        {"frequency_masking": {"output_result": True, "output_freq_domain": True}}
    )
    made = workflow_files([str(stitched)], config, tmp_path, trim)
    whole = open_recording(stitched)
    source = miostitch.trim(whole, *trim) if any(trim) else whole
    require_denoised(tmp_path, STEM + ("_trimmed" if any(trim) else ""), source, config)
    assert [step["step"] for step in made["steps"]] == ["trim", "denoise"][not any(trim) :]


def test_tables_under_two_names_are_one(stitched: Path, tmp_path: Path) -> None:
    folders = {}
    for whole in (True, False):
        config = load_config("denoise_patch").model_copy(update={"output_result": whole})
        denoise_files(stitched, config, tmp_path / str(whole))
        folders[whole] = content(tmp_path / str(whole))
    both, alone = folders[True], folders[False]
    for patch, result in (("_patch.csv", ".csv"), ("_patch_timestamp.csv", "_timestamps.csv")):
        assert both[STEM + patch] == both[f"{STEM}_denoised{result}"] == alone[STEM + patch]
    assert {name for name in alone if "_denoised" in name} == {f"{STEM}_denoised.json"}


def test_a_video_alone(session: list[str], tmp_path: Path) -> None:
    shutil.copy(session[0], tmp_path / "bare.avi")
    out = tmp_path / "out"
    args = ("-i", str(tmp_path / "bare.avi"), "-c", "denoise_calcium_imaging", "-o", str(out))
    assert invoke("denoise", *args).exit_code == 0
    endings = {path.name.removeprefix("bare") for path in out.iterdir()}
    tables = {s for s in CALCIUM if s.endswith(".csv")}
    assert endings == CALCIUM - tables
    with_table = denoise_files(session[0], load_config("denoise_calcium_imaging"), tmp_path / "t")
    same = (tmp_path / "t" / "receiver1_denoised.avi").read_bytes()
    assert (out / "bare_denoised.avi").read_bytes() == same
    assert with_table["dropped_frame_num"]


def test_the_folder_of_the_configuration(
    stitched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = DenoiseConfig.model_validate(
        {"frequency_masking": {"output_mask": True}, "output_result": False}
    )
    denoise_files(stitched, config)
    denoise_files(stitched, config.model_copy(update={"output_dir": "a/b"}))
    denoise_files(stitched, config.model_copy(update={"output_dir": "c"}), "d")
    name = f"{STEM}_denoised.json"
    assert {str(path.parent) for path in Path().rglob(name)} == {"stitched", "a/b", "d"}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["-c", "denoise_example", "-s", "30", "-e", "30"], 2),
        (["-c", "denoise_exampel"], 2),
        (["-c", "{folder}/nothing.yml"], 2),
        (["-s", "1"], 2),
        (["nowhere.avi", "-c", "denoise_example"], 3),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_refused_before_anything_is_written(
    session: list[str], tmp_path: Path, args: list[str], code: int, count: int
) -> None:
    (tmp_path / "nothing.yml").write_text("output_result: false\nnoise_patch: null\n")
    out = tmp_path / "out"
    filled = [arg.format(folder=tmp_path) for arg in args]
    done = invoke("workflow", *session[:count], *filled, "-o", str(out))
    assert done.exit_code == code, done.output
    assert not out.exists()


def test_what_concerns_stitching_is_refused_of_one_recording(
    session: list[str], tmp_path: Path
) -> None:
    args = ("workflow", session[0], "-c", "denoise_example", "-o", str(tmp_path / "o"))
    for choice in (
        ("--by", "buffer"),
        ("--align", "time"),
        ("--max-gap", "1"),
        ("--memory-limit", "4GB"),
        ("--no-report",),
    ):
        done = invoke(*args, *choice)
        assert (done.exit_code, f"leave {choice[0]} out" in done.output) == (2, True), choice
    assert not (tmp_path / "o").exists()


def denoised_alone(frames: np.ndarray, name: str) -> xr.DataArray:
    video = xr.Dataset({"video": (("frame", "height", "width"), frames)})
    made: xr.DataArray = miostitch.denoise(video, load_config(name)).dataset.video[0]
    return made


def test_one_recording_may_lag(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(frames=40, seed=6, height=24, width=40, lag=2)
    lagging = str(miostitch.simulate(tmp_path / "in", config).recordings[0])
    out = tmp_path / "out"
    args = ("-c", "remove_stripe_example", "--lag", "auto", "-o", str(out))
    for command in ("workflow", "denoise"):
        done = invoke(command, lagging, *args, "--force")
        assert done.exit_code == 0, done.output
        made = xr.open_zarr(out / "receiver1_denoised.zarr")
        rows = pd.read_csv(lagging.replace(".avi", ".csv"))
        first = rows[rows.reconstructed_frame_index == 0].frame_num.mode()[0]
        assert made.frame_num.values[0] == first
        np.testing.assert_array_equal(
            made.video[0], denoised_alone(open_video(lagging).read([2]), "remove_stripe_example")
        )
        table = pd.read_csv(out / "receiver1_denoised.csv")
        assert (table[table.reconstructed_frame_index == 0].frame_num == first).all()
        again = miostitch.open_recording(out / "receiver1_denoised.avi")
        np.testing.assert_array_equal(again.frame_num, made.frame_num)
        told = json.loads((out / "receiver1_denoised.json").read_text())["warnings"]
        assert any("the video is 2 frames behind its table" in each for each in told)
        assert not any("puts that right" in each for each in told)


def test_choices_of_stitching_reach_it(session: list[str], tmp_path: Path) -> None:
    args = ("-c", "remove_stripe_example", "--by", "buffer", "--lag", "auto", "--align", "time")
    done = invoke("workflow", *session, "-o", str(tmp_path), *args, "--no-report")
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / f"{STEM}.json").read_text())
    chosen = {"by": "buffer", "lag": "auto", "align": "time"}
    assert made["config"].items() >= chosen.items()


def test_existing_products_are_found_before_stitching(session: list[str], tmp_path: Path) -> None:
    (tmp_path / f"{STEM}_patch.avi").write_text("mine")
    config = load_config("denoise_patch")
    with pytest.raises(OutputExistsError, match=r"_patch\.avi"):
        workflow_files(session, config, tmp_path)
    assert os.listdir(tmp_path) == [f"{STEM}_patch.avi"]


def test_a_step_that_fails_leaves_what_was_there(
    stitched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DenoiseConfig.model_validate({"frequency_masking": {"output_mask": True}})
    denoise_files(stitched, config, tmp_path)
    before = content(tmp_path)

    def fail(*_: Any) -> bytes:
        raise ResourceError("no space")

    monkeypatch.setattr("miostitch.editing.extra_outputs.png_bytes", fail)
    with pytest.raises(ResourceError, match="no space"):
        denoise_files(stitched, config, tmp_path, force=True)
    left = content(tmp_path).items()
    assert {name: data for name, data in left if not name.startswith(".")} == before


def test_a_workflow_goes_on_with_what_is_stitched(
    session: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DenoiseConfig.model_validate({"frequency_masking": {"output_mask": True}})
    at_once = workflow_files(session, config, tmp_path / "whole")
    out = tmp_path / "out"

    def fail(*_: Any) -> bytes:
        raise ResourceError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("miostitch.editing.extra_outputs.png_bytes", fail)
        with pytest.raises(ResourceError, match="no space"):
            workflow_files(session, config, out)
    left = {name.removeprefix(STEM) for name in os.listdir(out)}
    assert left == {*TABLES, ".avi", ".zarr", "_report.html", ".json", f".{STEM}.miostitch"}
    stitched = (out / f"{STEM}.avi").stat()
    other = config.model_copy(
        update={
            "noise_patch": NoisePatchConfig(gradient_config=GradientDetectorConfig(threshold=7))
        }
    )
    with pytest.raises(OutputExistsError, match="--force"):  # would be scored in another way
        workflow_files(session, other, out)
    with pytest.raises(UsageError, match="leaves none"):
        workflow_files(session, config, out, (50, 50))
    made = workflow_files(session, config, out)
    assert made["steps"][0]["reused"]
    assert made["steps"][1]["resumed_blocks"] > 0 == at_once["steps"][1]["resumed_blocks"]
    assert "reused" not in at_once["steps"][0]
    assert (out / f"{STEM}.avi").stat() == stitched
    ours, theirs = content(out), content(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for name in ours:
        if not name.endswith(".json") or ".zarr" in name:
            assert ours[name] == theirs[name], name
    with pytest.raises(OutputExistsError):
        workflow_files(session, config, out)


def test_what_is_stitched_of_other_files_is_not_gone_on_with(
    session: list[str], tmp_path: Path
) -> None:
    for video in session:
        for suffix in (".avi", ".csv"):
            shutil.copy(Path(video).with_suffix(suffix), tmp_path)
    inputs = [str(tmp_path / Path(video).name) for video in session]
    config = load_config("remove_stripe_example")
    options = StitchOptions(score=config.score_config(), report=False)
    stitch_files(inputs, tmp_path / "out", options)
    store, away = tmp_path / "out" / f"{STEM}.zarr", tmp_path / "away.zarr"
    store.rename(away)
    with pytest.raises(OutputExistsError):
        workflow_files(inputs, config, tmp_path / "out")
    away.rename(store)
    table = tmp_path / "receiver1.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(OutputExistsError):
        workflow_files(inputs, config, tmp_path / "out")


def test_progress_is_told_of_both_passes(stitched: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    config = load_config("denoise_calcium_imaging")
    made = denoise_files(stitched, config, tmp_path, progress=lambda *at: told.append(at))
    passes = [made["frames_before"], made["frames"]]
    ends = [total for done, total in told if done == total]
    assert ends == passes
    assert [total for _, total in told] == sorted((t for _, t in told), key=passes.index)
    assert len(told) == 4 + 3  # the blocks of each


def test_thresholds_of_a_configuration_score_the_candidates(
    session: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.yml").write_text("noise_patch:\n  gradient_config:\n    threshold: 7\n")
    args = ("stitch", *session, "-o", str(tmp_path / "o"), "-c", str(tmp_path / "mine.yml"))
    assert invoke(*args, "--no-report").exit_code == 0
    made = json.loads((tmp_path / "o" / f"{STEM}.json").read_text())
    assert made["config"]["score"]["gradient_threshold"] == 7


@pytest.mark.parametrize(
    "text", [pytest.param("", marks=pytest.mark.slow), "noise_patch: {enable: false}"]
)
def test_a_configuration_without_a_stage(session: list[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    args = (session[0], "-c", str(tmp_path / "c.yml"), "-o", str(tmp_path / "out"))
    for command, more in (("denoise", ()), ("workflow", ("--force",))):
        shown = run(command, *args, *more).stdout
        assert "warning: the configuration: no stage is on" in shown
        assert "noisy" not in shown
    told = json.loads((tmp_path / "out/receiver1_denoised.json").read_text())["warnings"][0]
    assert told.endswith("the frames are as they were; enable one of them")
    stripes = run("denoise", *args[:2], "remove_stripe_example", *args[3:], "--force").stdout
    assert re.search(r"^\d+ frames$", stripes, re.MULTILINE)
    assert "no stage" not in stripes


def test_a_configuration_that_asks_for_nothing(stitched: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="output_result"):
        denoise_files(stitched, DenoiseConfig(output_result=False), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_labelled_frames_are_dropped_and_no_other(recordings: Path, tmp_path: Path) -> None:
    """A person labelled the broken frames of an H.264 recording, which has no table."""
    video = recordings / "noise" / "wireless_corrupted_extended.mp4"
    text = video.with_suffix(".yaml").read_text()
    labelled = sorted({int(n) for n in re.findall(r"^\s*- (\d+)", text, re.MULTILINE)})
    assert len(labelled) == 87
    patch = NoisePatchConfig(black_area_config=BlackAreaDetectorConfig(value_threshold=16))
    made = denoise_files(video, DenoiseConfig(noise_patch=patch), tmp_path / "denoised")
    assert made["dropped_frames"] == labelled
    assert made["dropped_frame_num"] == []
    score_files([video], tmp_path / "noise", patch)
    table = pd.read_csv(tmp_path / "noise" / f"{video.stem}_noise.csv")
    flagged = table.reconstructed_frame_index[(table.gradient > 0) | (table.black_area > 0)]
    assert flagged.tolist() == labelled


def test_frames_of_low_confidence_are_counted(session: list[str], tmp_path: Path) -> None:
    args = (*session, "-c", "remove_stripe_example", "-o", str(tmp_path), "--min-confidence", "0.9")
    said = run("workflow", *args).stdout
    stitched = json.loads((tmp_path / f"{STEM}.json").read_text())
    left_out = stitched["dropped_uncertain"]
    assert left_out > 1
    assert f"{left_out} frames of low confidence left out" in said.splitlines()[0]
    before = left_out + stitched["frames"]
    removed = f"{left_out} of {before} frames were removed by stitch --min-confidence"
    assert removed in (tmp_path / f"{STEM}_report.html").read_text()
