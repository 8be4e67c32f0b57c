"""Thresholds of denoise that are tried on some frames, and saved."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.config.files import config_text, load_config, parse_config, shipped_configs
from miostitch.config.models import DenoiseConfig
from miostitch.errors import UsageError
from miostitch.viewer import trial
from tests.viewer.asking import ask, post
from tests.viewers import started

HEIGHT, WIDTH = 20, 30


def spoiled(frames: int = 12) -> xr.Dataset:
    """Smooth frames; of the fourth some rows are scattered, of the sixth some are black."""
    video = np.full((frames, HEIGHT, WIDTH), 120, np.uint8)
    video += np.arange(WIDTH, dtype=np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None]
    video[3, 4:7] = np.random.default_rng(0).integers(0, 255, (3, WIDTH))
    video[5, 8:10] = 0
    return xr.Dataset({"video": (("frame", "height", "width"), video)})


def config(**changes: Any) -> DenoiseConfig:
    base = {"noise_patch.enable": True, "noise_patch.method": ["gradient", "black_area"]}
    found = {key.replace("__", "."): value for key, value in changes.items()}
    return trial.changed(DenoiseConfig(), base | found)


def test_frames_are_flagged_and_the_others_denoised() -> None:
    sample = trial.Sample.take(spoiled(), 100, None)
    made = trial.try_config(sample, config())
    told = made.describe()
    assert np.flatnonzero(told["noisy"]).tolist() == [3, 5]
    assert (told["rows"][3]["gradient"], told["rows"][5]["black_area"]) == (3, 2)
    assert [len(made.frame(number)) for number in (2, 3, 5)] == [2, 1, 1]
    np.testing.assert_array_equal(made.frame(4)[1], spoiled().video[4])
    before, after = made.projection("maximum")
    kept = np.delete(spoiled().video.to_numpy(), [3, 5], axis=0)
    np.testing.assert_array_equal(before, kept.max(axis=0))
    np.testing.assert_array_equal(after, before)


def test_it_is_what_denoise_makes() -> None:
    taken = trial.Sample.take(spoiled(), 100, None)
    for each in shipped_configs().values():
        made = trial.try_config(taken, each)
        expected = miostitch.denoise(spoiled(), each)
        np.testing.assert_array_equal(made.denoised, expected.dataset.video)
        assert (made.places < 0).sum() == expected.dropped.sizes["frame"]


def test_thresholds_change_what_is_noisy() -> None:
    sample = trial.Sample.take(spoiled(), 100, None)

    def noisy(**changes: Any) -> list[int]:
        made = trial.try_config(sample, config(**changes)).describe()["noisy"]
        return np.flatnonzero(made).tolist()

    assert noisy(noise_patch__gradient_config__threshold=1000) == [5]
    assert noisy(noise_patch__method=["gradient"]) == [3]
    assert (
        noisy(noise_patch__black_area_config__min_rows=3, noise_patch__method=["black_area"]) == []
    )
    assert noisy(noise_patch__enable=False) == []


def test_if_all_are_noisy_that_is_said_and_flags_are_known() -> None:
    sample = trial.Sample.take(spoiled(), 100, None)
    all_of_them = config(noise_patch__black_area_config__value_threshold=255)
    made = trial.try_config(sample, all_of_them)
    told = made.describe()
    assert all(told["noisy"])
    assert "no frame of 12 is free of noise" in told["problem"]
    assert (told["projections"], made.projection("mean"), len(made.frame(0))) == ([], [], 1)


@given(frames=st.integers(1, 40), count=st.integers(1, 100), start=st.none() | st.integers(0, 45))
def test_a_sample_has_frames_of_the_recording_in_their_order(
    frames: int, count: int, start: int | None
) -> None:
    video = np.arange(frames, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    opened = xr.Dataset({"video": (("frame", "height", "width"), video)})
    if start is not None and start >= frames:
        with pytest.raises(UsageError, match="must be a frame below"):
            trial.Sample.take(opened, count, start)
        return
    sample = trial.Sample.take(opened, count, start)
    assert len(sample.positions) == min(count, frames - (start or 0))
    assert (np.diff(sample.positions) > 0).all()
    assert sample.positions[0] == (start or 0)
    np.testing.assert_array_equal(sample.dataset.video[:, 0, 0], sample.positions)


def test_lost_frames_are_not_tried() -> None:
    opened = spoiled().assign_coords(lost=("frame", np.arange(12) % 2 == 0))
    assert trial.Sample.take(opened, 100, None).positions.tolist() == [1, 3, 5, 7, 9, 11]


@given(data=st.data())
def test_every_value_of_a_control_is_saved_and_read_again(data: st.DataObject) -> None:
    changes: dict[str, Any] = {}
    for control in trial.controls(HEIGHT, WIDTH):
        match control["kind"]:
            case "switch":
                changes[control["key"]] = data.draw(st.booleans())
            case "number":
                numbers = st.integers(control["least"], control["most"])
                changes[control["key"]] = data.draw(numbers)
            case "list":
                choices = st.lists(st.sampled_from(control["choices"]), min_size=1, unique=True)
                changes[control["key"]] = data.draw(choices)
    changes["flicker_correction.rows"] = True  # rows or frames
    made = trial.changed(shipped_configs()[trial.BASE], changes, "mine")
    read = parse_config(config_text(made).encode(), "mine.yml")
    assert read == made
    known = {key: [*v] if isinstance(v, tuple) else v for key, v in trial.values(read).items()}
    assert known == changes
    assert {each["key"] for each in trial.controls(1, 1)} >= known.keys()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("noise_patch.method", [], "list"),
        ("noise_patch.gradient_config.threshold", -1, "finite number >= 0"),
        ("noise_patch.gradient_config.threshold", None, "finite number >= 0"),
        ("noise_patch.black_area_config.value_threshold", 256, "from 0 to 255"),
        ("noise_patch.black_area_config.min_rows", 1.5, "whole number"),
        ("flicker_correction.enable", "yes", "true or false"),
        ("output_dir", "/tmp", "no setting that can be tried"),
        ("no.such.key", 1, "no setting that can be tried"),
    ],
)
def test_values_are_as_strict_as_those_of_a_file(key: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trial.changed(DenoiseConfig(), {key: value})


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a\\b", "/etc/x", ".hidden", "x" * 99, "é", "a b", "a\0", None, 3]
)
def test_names_that_lead_out_of_the_folder(name: Any) -> None:
    with pytest.raises(UsageError, match="a name of letters"):
        trial.require_file_name(name)


def numbers(url: str) -> tuple[int, int]:
    """The result, and a recording."""
    found = ask(url, "folder").json
    bare = next(each for each in found["sessions"] if each["name"] == "bare")
    return found["results"][0]["id"], bare["receivers"][0]["id"]


def test_a_trial_by_the_server(lab: Path) -> None:
    with started(lab) as url:
        stored = xr.open_zarr(lab / "finished" / "stitched" / "finished.zarr")
        for number in numbers(url):
            about = ask(url, f"thresholds/{number}").json
            assert about["bases"][0]["id"] == trial.BASE
            body = {
                "base": trial.BASE,
                "set": {"noise_patch.enable": False},
                "count": 7,
                "start": 4,
            }
            made = post(url, f"try/{number}", body).json
            assert made["positions"] == [4, 5, 6, 7, 8, 9, 10]
            packet = ask(url, f"trial/{made['trial']}/frame/2").body
            length = int.from_bytes(packet[:4], "little")
            sizes = json.loads(packet[4 : 4 + length])["panels"]
            assert sizes == [{"height": 20, "width": 20}] * 2
            pixels = np.frombuffer(packet[4 + length :], np.uint8).reshape(2, 20, 20)
            if number == numbers(url)[0]:
                np.testing.assert_array_equal(pixels[0], stored.video[6])
            assert ask(url, f"trial/{made['trial']}/projection/mean").status == 200
            assert ask(url, f"trial/{made['trial']}/projection/median").status == 404
            assert ask(url, f"trial/{made['trial']}/frame/7").status == 400
        assert ask(url, "trial/99/frame/0").status == 404


def test_bad_trials_are_refused(lab: Path) -> None:
    with started(lab) as url:
        number, _ = numbers(url)
        good: dict[str, Any] = {"base": trial.BASE, "set": {}}
        changes: list[dict[str, Any]] = [
            {"base": "/etc/passwd"}, {"base": None}, {"set": []}, {"count": 0}, {"count": 101},
            {"count": True}, {"start": -1}, {"start": 10**9}, {"set": {"output_dir": "/tmp"}},
        ]  # fmt: skip
        for change in changes:
            answer = post(url, f"try/{number}", good | change)
            assert (answer.status, [*answer.json]) == (409, ["error"]), change
        session = ask(url, "folder").json["sessions"][0]["id"]
        assert ask(url, f"thresholds/{session}").status == 404
        assert ask(f"{url[:-10]}/", f"thresholds/{number}").status == 403
        assert post(f"{url[:-10]}/", f"save/{number}", good | {"name": "x"}).status == 403


def test_a_configuration_is_saved_once_into_the_folder(own: Path, tmp_path: Path) -> None:
    with started(own) as url:
        number, _ = numbers(url)
        before = {*tmp_path.rglob("*")}
        body = {"base": "denoise_flicker", "set": {"frequency_masking.vertical_BEF_cutoff": 3}}
        saved = post(url, f"save/{number}", body | {"name": "mine"}).json["saved"]
        assert {*tmp_path.rglob("*")} - before == {own / "mine.yml"} == {Path(saved)}
        config = load_config(saved)
        assert (config.id, config.frequency_masking.vertical_BEF_cutoff) == ("mine", 3)
        text = Path(saved).read_bytes()
        again = post(url, f"save/{number}", body | {"name": "mine.yml", "set": {}})
        assert (again.status, "exists" in again.json["error"]) == (409, True)
        assert Path(saved).read_bytes() == text
        for name in ("../mine2", str(tmp_path / "mine2"), "sub/mine2"):
            assert post(url, f"save/{number}", body | {"name": name}).status == 409
        assert {*tmp_path.rglob("*")} - before == {own / "mine.yml"}
