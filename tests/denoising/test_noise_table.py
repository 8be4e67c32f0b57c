"""Noise tables: mio's columns, whatever the recording."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from miostitch.config.models import NoisePatchConfig
from miostitch.denoising.noise_table import score_files
from miostitch.errors import OutputExistsError
from miostitch.kernels.scores import score_frames
from tests.video_files import make_frames, write

CONFIG = NoisePatchConfig.model_validate(
    {
        "gradient_config": {"threshold": 150},
        "black_area_config": {"value_threshold": 20, "consecutive_threshold": 2, "min_rows": 15},
    }
)


def test_every_frame_is_counted(tmp_path: Path) -> None:
    frames = make_frames()
    video = write(tmp_path / "a.avi", frames)
    done = []
    found = score_files(
        [video], tmp_path / "out", CONFIG, progress=lambda *counts: done.append(counts)
    )
    expected = np.empty((3, len(frames)), np.int64)
    score_frames(frames, 20, 2, 150.0, expected)
    table = pd.read_csv(tmp_path / "out" / "a_noise.csv")
    assert [*table.columns] == ["reconstructed_frame_index", "gradient", "black_area"]
    np.testing.assert_array_equal(table.reconstructed_frame_index, np.arange(len(frames)))
    np.testing.assert_array_equal(table.black_area, expected[0])
    np.testing.assert_array_equal(table.gradient, expected[1])
    assert (expected[1] > 0).sum() > 0
    assert found["recordings"][0]["noisy_frames"] == (expected[1] > 0).sum()
    black_rows = expected[0] // frames.shape[2]
    flagged = (black_rows >= 15).sum()
    assert found["recordings"][0]["black_frames"] == flagged < (black_rows > 0).sum()
    assert done[-1] == (len(frames), len(frames))


def test_tables_of_equal_stems_and_of_an_earlier_run(tmp_path: Path) -> None:
    videos = []
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        videos.append(write(tmp_path / side / "a.avi", make_frames()))
    score_files(videos, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["left-a_noise.csv", "right-a_noise.csv"]
    with pytest.raises(OutputExistsError):
        score_files(videos, tmp_path / "out", CONFIG)
    score_files(videos, tmp_path / "out", CONFIG, force=True)
    assert pd.read_csv(tmp_path / "out" / "left-a_noise.csv").gradient.any()
