"""Frames that a receiver makes of noise while the device is off: their numbers do not count."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.arrays import I64
from miostitch.buffers.device_counter import find_noise
from miostitch.recording.recording import Recording
from tests.commands import run
from tests.faults import case, slow
from tests.video_files import decode, write

CONFIG = miostitch.SimulationConfig(
    frames=90, receivers=2, height=20, width=20, seed=3, header_flips=0, resets=0
)


@st.composite
def runs_and_noise(draw: st.DrawFn) -> tuple[I64, list[tuple[int, int]]]:
    """Numbers of a device between stretches of random ones, and where those are."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts: list[I64] = []
    noise: list[tuple[int, int]] = []
    at, number = 0, draw(st.integers(0, 2**31))
    for noisy in draw(st.lists(st.booleans(), min_size=1, max_size=5)):
        length = draw(st.integers(20, 120))
        if not noisy:
            steps = random.integers(1, 9, length)
            parts.append(number + np.cumsum(steps))
            number = int(parts[-1][-1])
        elif noise and noise[-1][1] == at - 1:  # the last one goes on
            parts.append(random.integers(0, 2**32, length))
            noise[-1] = noise[-1][0], at + length - 1
        else:
            parts.append(random.integers(0, 2**32, length))
            noise.append((at, at + length - 1))
        at += length
    return np.concatenate(parts), noise if len(noise) < len(parts) else []


@given(runs_and_noise())
def test_noise_is_found_and_nothing_else(made: tuple[I64, list[tuple[int, int]]]) -> None:
    numbers, noise = made
    if all(first == 0 and last == len(numbers) - 1 for first, last in noise):
        noise = []  # nothing counts, so nothing can be said
    assert [*map(tuple, find_noise(numbers).tolist())] == noise


@given(st.lists(st.integers(1, 5000), min_size=1), st.data())
def test_a_bad_link_is_no_noise(steps: list[int], data: st.DataObject) -> None:
    numbers = np.cumsum(steps)
    unknown = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    assert not len(find_noise(np.where(unknown, -1, numbers)))


def test_what_is_unknown_between_noise_belongs_to_it() -> None:
    random = np.random.default_rng(0).integers(2**30, 2**32, 40)
    random[[0, 1, 20, 39]] = -1
    numbers = np.concatenate([np.arange(30), random])
    assert find_noise(numbers).tolist() == [[30, 69]]


@pytest.mark.parametrize("by_chance", [[2**29, 2**29 + 31], [0, 5]])
def test_a_number_of_noise_may_be_near_another_by_chance(by_chance: list[int]) -> None:
    random = np.random.default_rng(0).integers(2**30, 2**32, 40)
    random[[10, 30]] = by_chance
    numbers = np.concatenate([np.arange(30), random])
    assert find_noise(numbers).tolist() == [[30, 69]]


def add_noise(video: Path, head: int, tail: int) -> None:
    """Put frames before and behind a recording that are random, and so are their headers."""
    random = np.random.default_rng(head + 3 * tail)
    images, table = decode(video), pd.read_csv(video.with_suffix(".csv"))
    table = table[table["reconstructed_frame_index"] < len(images)]
    time = table["buffer_recv_unix_time"]
    parts = []
    for count, first, start in (
        (head, 0, time.iloc[0] - 0.05 * (head + 1)),
        (tail, head + len(images), time.iloc[-1] + 0.05),
    ):
        rows = pd.DataFrame({name: random.integers(0, 2**32, count) for name in table})
        rows["frame_buffer_count"] %= 8
        rows["pixel_count"], rows["black_padding_px"] = table["pixel_count"].iloc[0], 0
        rows["reconstructed_frame_index"] = first + np.arange(count)
        rows["buffer_recv_unix_time"] = start + 0.05 * np.arange(count)
        parts.append(rows)
    table["reconstructed_frame_index"] += head
    pd.concat([parts[0], table, parts[1]]).to_csv(video.with_suffix(".csv"), index=False)
    shape = images.shape[1:]
    around = [random.integers(0, 256, (n, *shape)).astype(np.uint8) for n in (head, tail)]
    write(video, np.concatenate([around[0], images, around[1]]))


HOW, OUTCOME = "device off, noise at {}", "a warning with its range; no losses; left out"


@pytest.mark.parametrize(
    ("head", "tail", "option"),
    [
        case(74, HOW.format("the end"), OUTCOME, (0, 0), (40, 50), "-e 40"),
        slow(case(74, HOW.format("the start"), OUTCOME, (30, 0), (0, 0), "-s 30")),
    ],
)
def test_ghost_numbers_are_no_losses(
    tmp_path: Path, head: tuple[int, int], tail: tuple[int, int], option: str
) -> None:
    videos = miostitch.simulate(tmp_path, CONFIG).recordings
    clean = miostitch.stitch([*videos]).compute()
    for video, before, behind in zip(videos, head, tail, strict=True):
        add_noise(video, before, behind)
    found = miostitch.stitch([*videos]).compute()
    for name in ("video", "frame_num", "timestamp_first"):
        np.testing.assert_array_equal(found[name], clean[name])
    first = Recording.open(str(videos[0]))
    last = len(first.frames) - 1
    span = (0, head[0] - 1) if head[0] else (last - tail[0] + 1, last)
    shown = run("inspect", *map(str, videos)).stdout
    assert f"frames {span[0]} to {span[1]} are noise" in shown
    assert "restarts   0" in shown
    done = run("stitch", *map(str, videos), "-o", str(tmp_path / "out"))
    found_command = re.search(r"remove them with (miostitch trim .*) -o FOLDER", done.stderr)
    assert found_command
    assert found_command[1].endswith(option)
    run("verify", str(tmp_path / "out"))
    # what it says to do does it
    run(*shlex.split(found_command[1])[1:], "-o", str(tmp_path / "trimmed"))
    trimmed = Recording.open(str(*(tmp_path / "trimmed").glob("*.avi")))
    assert (trimmed.frames.frame_num >= 0).all()
    assert not [notice for notice in trimmed.notices if "noise" in notice.text]
