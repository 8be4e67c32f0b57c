"""Simulated radio channels: bits are flipped as often as asked for, by each receiver's own rate."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from miostitch.errors import UsageError
from miostitch.simulation.bit_errors import BitErrors
from miostitch.simulation.receivers import SimulationConfig, simulate
from tests.video_files import decode

NONE: dict[str, Any] = dict.fromkeys(
    ("buffer_loss", "frame_loss", "corruption", "truncation", "overrun", "header_flips"), 0.0
)
SMALL: dict[str, Any] = {
    **NONE, "height": 40, "width": 40, "frames": 40,
    "late_start_frames": 0, "early_end_frames": 0, "extra_frame": False,
}  # fmt: skip


def flips(config: SimulationConfig, receiver: int = 0) -> NDArray[np.uint8]:
    drawn = BitErrors(config, receiver).draw(0, config.frames)
    assert drawn is not None
    return drawn


def share(flipped: NDArray[np.uint8]) -> float:
    return float(np.bitwise_count(flipped).sum()) / (8 * flipped.size)


def test_bits_are_flipped_as_often_as_each_receiver_wants() -> None:
    config = SimulationConfig(**SMALL, receivers=3, bit_errors=(0.0, 1e-2, 1e-3))
    assert BitErrors(config, 0).draw(0, 5) is None
    assert share(flips(config, 1)) == pytest.approx(1e-2, rel=0.1)
    assert share(flips(config, 2)) == pytest.approx(1e-3, rel=0.2)
    assert np.bitwise_count(flips(config, 2)).max() == 1


@pytest.mark.parametrize("bits", [60, 4000, 60_000])
def test_bursts_are_as_long_as_asked_for_and_cross_frames(bits: int) -> None:
    config = SimulationConfig(
        **{**SMALL, "frames": 400}, noise_bursts=0.1e6 / bits, noise_bits=bits
    )
    # a tenth of the bits lies in bursts, of which one in 2, 4 or 8 is flipped
    assert share(flips(config)) == pytest.approx(0.1 * (1 / 2 + 1 / 4 + 1 / 8) / 3, rel=0.5)
    if bits > 8 * 1600:
        assert (flips(config) > 0).mean(axis=1).max() > 0.2


def test_a_session_in_blocks_has_the_same_errors() -> None:
    config = SimulationConfig(**SMALL, bit_errors=1e-3, noise_bursts=20.0, noise_bits=20_000)
    blocks = BitErrors(config, 0)
    parts = [blocks.draw(0, 7), blocks.draw(7, 20), blocks.draw(27, 13)]
    assert all(part is not None for part in parts)
    np.testing.assert_array_equal(
        np.concatenate([p for p in parts if p is not None]), flips(config)
    )


def test_the_files_have_the_errors_and_the_truth_names_the_buffers(tmp_path: Path) -> None:
    config = SimulationConfig(**{**SMALL, "buffer_loss": (0.0, 0.2)}, bit_errors=(0.0, 1e-3))
    made = simulate(tmp_path, config)
    truth, first, second = (decode(p).reshape(40, -1) for p in (made.truth_video, *made.recordings))
    np.testing.assert_array_equal(first, truth)
    differs = np.maximum.reduceat(second != truth, config.edges[:-1], axis=1)
    shown = made.load_arrays()["video_frame"][1] >= 0
    np.testing.assert_array_equal(differs & shown, made.load_arrays()["corrupted"][1])
    assert 0.1 < (~shown).mean() < 0.3


def test_a_header_that_fails_its_check_has_zeros_and_begins_no_frame(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulationConfig(**SMALL, failed_headers=0.1))
    table = pd.read_csv(made.recordings[0].with_suffix(".csv"))
    pixels, edges = decode(made.recordings[0]).reshape(-1, 1600), made.config.edges
    failed = table[~table.header_crc_ok]
    assert len(failed) == made.counts[0]["failed"] > 10
    passed = table[table.header_crc_ok]
    [first] = (passed.frame_num - passed.reconstructed_frame_index).unique()
    own = failed.reconstructed_frame_index == failed.frame_num - first
    later, early = failed[own], failed[~own]
    assert len(later)
    for index, k in later[["reconstructed_frame_index", "frame_buffer_count"]].to_numpy():
        assert not pixels[index, edges[k] : edges[k + 1]].any()
    assert (early.frame_buffer_count == 0).any()
    assert (
        early.reconstructed_frame_index == early.frame_num - first - 1
    ).all()  # of the frame before
    assert "header_crc_ok" not in pd.read_csv(made.truth_table).columns


@pytest.mark.parametrize("values", [(1e-3,) * 3, 2.0, (0.1, "x"), -1e-9])
def test_rates_that_no_receiver_can_have_are_refused(values: Any) -> None:
    with pytest.raises(UsageError, match="one for each of 2 receivers"):
        SimulationConfig(bit_errors=values)
