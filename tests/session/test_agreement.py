"""Receivers that do not show the same images are found, to the frame, and noise is not."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import miostitch
from miostitch.errors import InputError, Severity
from miostitch.kernels.agreement import ALIKE, UNKNOWN, UNLIKE
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.schema import NO_FRAME
from miostitch.session.agreement import LEAST_RUN, AgreementWatch, follow_agreement, judge_frames
from miostitch.session.session import Session, bring_together
from tests.sessions import Made, change_video
from tests.video_files import Frames

COUNT = 60
NONE = {
    "buffer_loss": 0.0, "truncation": 0.0, "header_flips": 0.0, "overrun": 0.0, "frame_loss": 0.0,
    "corruption": 0.0, "bursts": 0.0, "late_start_frames": 0, "early_end_frames": 0,
    "extra_frame": False, "frames": COUNT, "height": 40, "width": 40,
}  # fmt: skip
SALVAGE = ReadOptions(salvage=True, lag="auto")


def made(folder: Path, receivers: int = 2, **options: object) -> Made:
    return Made(folder, **{**NONE, "receivers": receivers, "seed": 1, **options})


def opened(made: Made, options: ReadOptions | None = None) -> Session:
    return bring_together(open_recordings(made.names, options or ReadOptions(lag="auto")))


def errors(session: Session) -> list[str]:
    return [str(n) for n in session.alignment.notices if n.severity == Severity.ERROR]


def shifted(video: Frames) -> Frames:
    return np.concatenate([video[:30], video[31:], video[-1:]])


def repeated(video: Frames) -> Frames:
    return np.concatenate([video[:30], video[10:25], video[45:]])


@pytest.mark.parametrize(
    ("change", "last"), [(shifted, 2558), (repeated, 2544)], ids=["shifted", "repeated"]
)
@pytest.mark.parametrize("receivers", [2, 3])
@pytest.mark.fault(71, "a stretch of one video shifted or repeated", "refused, or left out")
def test_a_stretch_that_is_not_of_its_frames_is_named_and_left_out(
    tmp_path: Path, change: Callable[[Frames], Frames], last: int, receivers: int
) -> None:
    session = made(tmp_path, receivers)
    change_video(session.videos[1], change)
    [said] = errors(opened(session))
    assert f"from frame_num 2530 to {last}" in said
    assert "receiver2.avi" in said
    assert ("receiver1.avi" in said) == (receivers == 2)
    with pytest.raises(InputError, match="from frame_num 2530"):
        miostitch.stitch_files(session.names, tmp_path / "out", report=False)
    assert not list((tmp_path / "out").glob("*.zarr"))
    salvaged = opened(session, SALVAGE)
    assert not errors(salvaged)
    candidates = salvaged.alignment.source_frame
    absent = np.flatnonzero(candidates[1] == NO_FRAME) + 2500
    assert absent.tolist() == [*range(2530, last + 1)]
    assert (np.delete(candidates, 1, axis=0) != NO_FRAME).all()
    assert any("are left out" in str(notice) for notice in salvaged.alignment.notices)


def test_that_it_cannot_be_told_which_of_two_is_wrong_is_said(tmp_path: Path) -> None:
    session = made(tmp_path, 2)
    change_video(session.videos[0], shifted)
    notices = opened(session, SALVAGE).alignment.notices
    [said] = [str(notice) for notice in notices if "left out" in str(notice)]
    assert said.endswith("left out: the images do not show which of the two is wrong")


@pytest.mark.parametrize("frozen", [0, 1])
def test_of_two_the_one_whose_images_stand_still_is_left_out(tmp_path: Path, frozen: int) -> None:
    session = made(tmp_path, 2)
    change_video(
        session.videos[frozen],
        lambda video: np.concatenate([video[:30], np.repeat(video[29:30], 20, 0), video[50:]]),
    )
    salvaged = opened(session, SALVAGE)
    absent = salvaged.alignment.source_frame == NO_FRAME
    assert (np.flatnonzero(absent[frozen]) + 2500).tolist() == [*range(2530, 2550)]
    assert not absent[1 - frozen].any()
    [said] = [str(each) for each in salvaged.alignment.notices if "left out" in str(each)]
    assert f"receiver{frozen + 1}.avi are left out: they are one image over and over" in said


@pytest.mark.fault(71, "two sessions that count alike", "refused")
def test_another_session_with_the_same_counters(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 1)
    second = made(tmp_path / "b", 1, seed=2)
    names = [*first.names, *second.names]
    session = bring_together(open_recordings(names, ReadOptions(lag="auto")))
    [said] = errors(session)
    assert "from frame_num 2500 to 2559" in said
    asked = bring_together(open_recordings(names, ReadOptions(lag=0)))
    assert not errors(asked)
    assert [n for n in asked.alignment.notices if n.severity == Severity.DOUBT]


def test_frames_that_only_the_receiver_that_is_left_out_has_are_left_out(tmp_path: Path) -> None:
    made_ = made(tmp_path, 3)
    session = opened(made_, SALVAGE)
    source_frame = session.alignment.source_frame.copy()
    source_frame[[0, 2], 40] = NO_FRAME
    change_video(made_.videos[1], shifted)
    changed = open_recordings(made_.names, SALVAGE)
    alignment = replace(session.alignment, source_frame=source_frame, boot_starts=(0, 41))
    salvaged = follow_agreement(
        replace(session, recordings=tuple(changed), alignment=alignment)
    ).alignment
    assert salvaged.frame_num.tolist() == [*range(2500, 2540), *range(2541, 2560)]
    assert salvaged.boot_starts == (0, 40)


@pytest.mark.parametrize("rate", [1e-4, 1e-2])
def test_bit_errors_and_bursts_are_no_disagreement(tmp_path: Path, rate: float) -> None:
    session = made(tmp_path, 2, buffer_loss=0.1)
    rng = np.random.default_rng(0)

    def disturb(video: Frames) -> Frames:
        flips = np.packbits(rng.random((*video.shape, 8)) < rate, axis=-1)[..., 0]
        noisy = video ^ flips
        noisy[20:40] = rng.integers(0, 256, noisy[20:40].shape)  # nothing but noise
        return noisy

    change_video(session.videos[1], disturb)
    found = opened(session)
    assert not [n for n in found.alignment.notices if n.severity >= Severity.DOUBT]


def test_constant_images_are_no_evidence() -> None:
    frames = [np.full((4, 20, 20), value, np.uint8) for value in (0, 0, 255)]
    delivered, bounds = np.full((3, 4), 1, np.uint64), np.array([0, 400])
    assert (judge_frames(frames[:2], delivered[:2], bounds) == UNKNOWN).all()
    assert (judge_frames([frames[2]] * 2, delivered[:2], bounds) == UNKNOWN).all()


def test_the_odd_one_of_three_is_found() -> None:
    x = np.arange(20)
    rng = np.random.default_rng(0)
    images = np.clip(100 + 4 * x + rng.normal(0, 3, (2, 5, 20, 20)), 0, 255).astype(np.uint8)
    bounds = np.array([0, 200, 400])
    delivered = np.full((3, 5), 3, np.uint64)
    delivered[2, 4] = 0
    found = judge_frames([images[0], images[0], images[1]], delivered, bounds)
    assert found[:2].tolist() == [[ALIKE] * 5] * 2
    assert found[2].tolist() == [UNLIKE] * 4 + [UNKNOWN]


@given(st.data())
def test_what_sampling_missed_ends_the_run_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    session = small(tmp_path_factory)
    verdicts = st.lists(st.sampled_from([ALIKE, UNLIKE, UNLIKE, UNLIKE, UNKNOWN]), min_size=20)
    agrees = np.array([data.draw(verdicts)[:20] for _ in range(2)], np.int8)
    cuts = sorted({0, 20, *data.draw(st.lists(st.integers(1, 19)))})
    expected = any(
        "x" * LEAST_RUN in "".join({ALIKE: "|", UNLIKE: "x", UNKNOWN: ""}[v] for v in row.tolist())
        for row in agrees
    )
    watch = AgreementWatch(session)
    refused = pytest.raises(InputError, match="do not show the same images from frame_num")
    with refused if expected else nullcontext():
        for start, stop in pairwise(cuts):
            watch.follow(slice(start, stop), agrees[:, start:stop])


_small: list[Session] = []


def small(folders: pytest.TempPathFactory) -> Session:
    if not _small:
        made_ = made(folders.mktemp("small"), frames=20)
        _small.append(bring_together(open_recordings(made_.names, ReadOptions(lag="auto"))))
    return _small[0]
