"""Recordings brought together: what is kept, what the tables say, which pieces belong where."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miostitch
from miostitch.errors import AlignmentError, InputError
from miostitch.kernels.composition import EXCLUDED
from miostitch.recording.recording import open_recordings
from miostitch.session.findings import find_session_notices
from miostitch.session.session import AlignOptions, bring_together
from miostitch.simulation.receivers import SimulationConfig, simulate
from tests.sessions import Made, change_table, made

session = made()


def test_what_is_kept_counts_in_what_was_kept(session: Made) -> None:
    together = session.together()
    count = together.shape[0]
    kept = np.arange(count) % 3 > 0
    part = together.only(kept)
    assert part.shape == (kept.sum(), *together.shape[1:])
    whole = slice(0, count)
    span = slice(1, kept.sum() - 1)
    for method in (
        "frame_num",
        "source_frame",
        "delivered",
        "delivered_anywhere",
        "missing_pixels",
    ):
        expected = getattr(together, method)(whole)[..., kept][..., span]
        np.testing.assert_array_equal(getattr(part, method)(span), expected)
    again = part.only(np.arange(kept.sum()) < 2)
    assert again.kept.tolist() == np.flatnonzero(kept)[:2].tolist()
    assert together.shape[0] == count


def test_pieces_are_the_other_pictures_of_the_frame(session: Made) -> None:
    together = session.together()
    source_frame = together.source_frame(slice(None))
    found = 0
    for number, recording in enumerate(together.recordings):
        own = recording.frames.frame_num
        places, pieces = together.pieces(number, source_frame[number])
        found += len(pieces)
        assert len(set(pieces.tolist())) == len(pieces)
        assert not set(pieces.tolist()) & set(source_frame[number].tolist())
        assert (own[pieces] == own[source_frame[number, places]]).all()
        used = {*pieces.tolist(), *source_frame[number].tolist()} - {-1}
        assert used == set(np.flatnonzero(own >= 0).tolist())
    assert found == sum(len(each.dropped) for each in together.alignment.duplicates)
    assert [len(part) for part in together.pieces(0, np.full(4, -1))] == [0, 0]


def test_delivered_anywhere_counts_every_piece(session: Made) -> None:
    together = session.together()
    source_frame = together.source_frame(slice(None))
    expected = np.zeros(together.shape[0], np.uint64)
    for number, recording in enumerate(together.recordings):
        table = recording.frames
        for place, frame in enumerate(source_frame[number]):
            frames = [frame, *together.pieces(number, source_frame[number, [place]])[1]]
            for each in frames if frame >= 0 else []:
                expected[place] |= table.whole_buffers[each] & ~table.excluded[each]
    np.testing.assert_array_equal(together.delivered_anywhere(slice(None)), expected)


def test_missing_pixels_are_those_no_row_delivers(session: Made) -> None:
    together = session.together()
    found = together.missing_pixels(slice(None))
    for number, recording in enumerate(together.recordings):
        frames = together.source_frame(slice(None))[number]
        given = recording.frames.given_pixels(frames, together.bounds)
        np.testing.assert_array_equal(together.given(number, frames), given)
        missing = together.bounds[-1] - np.maximum(given, 0).sum(axis=1)
        np.testing.assert_array_equal(found[number], missing)


def test_pixels_of_a_lossy_video_are_no_witness(session: Made) -> None:
    together = session.together()
    first = together.recordings[0]
    videos = tuple(replace(video, codec="h264") for video in first.videos)
    lossy = replace(together, recordings=(replace(first, videos=videos), *together.recordings[1:]))
    frames = together.source_frame(slice(None))[0]
    exact, given = together.given(0, frames), lossy.given(0, frames)
    assert (exact == 0).any()
    np.testing.assert_array_equal(given, np.where(exact == 0, EXCLUDED, exact))
    missing = lossy.missing_pixels(slice(None))
    np.testing.assert_array_equal(missing, together.missing_pixels(slice(None)))


def test_recordings_that_do_not_belong_together(tmp_path: Path) -> None:
    one, other = Made(tmp_path / "1", seed=1), Made(tmp_path / "2", seed=1, height=20)
    with pytest.raises(InputError, match=r"50x40 and .* 50x20 pixels"):
        bring_together(open_recordings([one.names[0], other.names[0]]))
    change_table(one.videos[1], lambda t: t.assign(frame_num=t.frame_num + 500))
    with pytest.raises(AlignmentError, match="no overlap"):
        bring_together(open_recordings(one.names))
    assert not bring_together(
        open_recordings(one.names[:1]), AlignOptions(one_clock=False)
    ).one_clock


@pytest.mark.parametrize(
    ("resets", "seed", "offset_s"),
    [(3, 1, 3.5), (3, 4, 5.0)],
    ids=["the clocks leave a doubt", "the clocks fit better shifted by one run"],
)
def test_runs_are_linked_by_pixels_where_the_clocks_are_seconds_apart(
    tmp_path: Path, resets: int, seed: int, offset_s: float
) -> None:
    config = SimulationConfig(
        frames=300, seed=seed, height=20, width=20, resets=resets, clock_offset_s=offset_s
    )
    simulated = simulate(tmp_path, config)
    recordings = open_recordings([str(path) for path in simulated.recordings])
    together = bring_together(recordings)
    assert together.shape[0] <= config.frames
    assert len(together.alignment.boot_starts) == resets + 1
    clock = together.alignment.clocks[1].offset_s
    assert abs(abs(clock) - offset_s) < 0.5


def split(video: Path, at: int) -> str:
    """Cut a recording into two segments, and name both."""
    names = []
    for number, (first, last) in enumerate([(0, at), (at, None)], 1):
        segment = video.with_name(f"{video.stem}_{number}.avi")
        miostitch.write_recording(
            miostitch.open_recording(video, lag=0).isel(frame=slice(first, last)), segment
        )
        names.append(str(segment))
    return ",".join(names)


def findings(paths: Sequence[str | Path]) -> list[tuple[str, list[int]]]:
    """The restarts and repeated numbers that are told of recordings: the file, and its frames."""
    notices = find_session_notices(bring_together(open_recordings(paths)))
    told = [each for each in notices if re.search("restarted|occurs", each.text)]
    return [
        (Path(each.path).name, [int(n) for n in re.findall(r"frames? (\d+)", each.text)])
        for each in told
    ]


@given(cut=st.integers(30, 100))
@settings(max_examples=3, deadline=None)
def test_findings_of_segments_name_the_segment_and_the_frame_in_it(cut: int) -> None:
    with TemporaryDirectory() as folder:
        made = Made(
            Path(folder), receivers=1, seed=6, frames=140, resets=1, header_flips=0.02, width=20
        )
        [video] = made.videos
        whole = {frame for _, frames in findings([video]) for frame in frames}
        assert whole
        found = findings([split(video, cut)])
        begins = {"receiver1_1.avi": 0, "receiver1_2.avi": cut}
        assert all(frame < cut for name, told in found if name in [*begins][:1] for frame in told)
        assert {begins[name] + frame for name, frames in found for frame in frames} == whole
