"""A recording that holds a stretch twice gives the result that it gives without."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.session.session import Session, bring_together
from tests.sessions import Made, change_table, change_video
from tests.video_files import Frames

FIRST, LENGTH = 60, 25


def write_again(video: Path, at: int, times: int) -> None:
    """Write some frames of a recording again before frame `at`, as its program did."""
    stretch = np.arange(FIRST, FIRST + LENGTH)

    def in_table(rows: pd.DataFrame) -> pd.DataFrame:
        frame = rows.reconstructed_frame_index
        own, rest = rows[frame < at], rows[frame >= at]
        again = rows[frame.isin(stretch)]
        copies = [
            again.assign(
                reconstructed_frame_index=again.reconstructed_frame_index + at - FIRST + k * LENGTH,
                buffer_recv_unix_time=own.buffer_recv_unix_time.max() + 1e-4 * (k + 1),
            )
            for k in range(times)
        ]
        later = rest.reconstructed_frame_index + times * LENGTH
        return pd.concat([own, *copies, rest.assign(reconstructed_frame_index=later)])

    change_table(video, in_table)
    change_video(
        video,
        lambda images: np.concatenate([images[:at], *[images[stretch]] * times, images[at:]]),
    )


def stitched(session: Session) -> tuple[list[list[int]], list[np.ndarray]]:
    """Numbers, and the images of each recording, zeros where it has none."""
    everything = slice(0, len(session.alignment))
    images = [
        recording.read(source)
        for recording, source in zip(
            session.recordings, session.source_frame(everything), strict=True
        )
    ]
    return [session.frame_num(everything).tolist()], images


@pytest.mark.fault(75, "at once, later, three times, in a loop", "the result without them, told")
@pytest.mark.parametrize("receivers", [1, 2])
@pytest.mark.parametrize(
    ("later", "times"), [(0, 1), (40, 1), (40, 3), (0, 2)], ids=["now", "later", "thrice", "loop"]
)
def test_frames_that_are_written_again_join_those_they_repeat(
    tmp_path: Path, receivers: int, later: int, times: int
) -> None:
    small = {"frames": 160, "height": 20, "width": 30, "receivers": receivers, "seed": 4}
    plain = Made(tmp_path / "plain", **small).together()
    repeating = Made(tmp_path / "repeating", **small)
    at = FIRST + LENGTH + later
    write_again(Path(repeating.names[-1]), at, times)
    session = repeating.together()
    numbers, images = stitched(session)
    wanted, wanted_images = stitched(plain)
    assert numbers == wanted
    np.testing.assert_array_equal(images, wanted_images)
    assert session.alignment.boot_starts == (0,)
    # what was lost is counted as without the repetition
    bounds = len(session.bounds) - 1
    lost = [each.frames.reception(bounds).lost for each in session.recordings]
    assert lost == [each.frames.reception(bounds).lost for each in plain.recordings]
    [said] = [str(n) for n in session.recordings[-1].notices if "repeat earlier" in str(n)]
    assert f"frames {at} to {at + LENGTH - 1} (frame_num " in said
    assert f"first in frame {FIRST})" in said
    assert said.count("first in") == times


def test_a_buffer_that_only_the_repetition_has_is_used(tmp_path: Path) -> None:
    """As where a program wrote a stretch again because a buffer was missing."""
    lossless = {"buffer_loss": 0, "truncation": 0, "header_flips": 0, "overrun": 0, "seed": 5}
    made = Made(tmp_path, frames=160, height=20, width=30, receivers=1, **lossless)
    video = Path(made.names[0])
    write_again(video, FIRST + LENGTH, 1)
    whole = open_recordings(made.names, ReadOptions())[0]
    change_table(
        video,
        lambda rows: rows[
            (rows.reconstructed_frame_index != FIRST + 5) | (rows.frame_buffer_count != 2)
        ],
    )
    start, stop = whole.bounds[2:4]

    def without(images: np.ndarray) -> np.ndarray:
        images.reshape(len(images), -1)[FIRST + 5, start:stop] = 0
        return images

    change_video(video, without)
    session = bring_together(open_recordings(made.names, ReadOptions()))
    [at] = np.flatnonzero(session.source_frame(slice(0, len(session.alignment)))[0] == FIRST + 5)
    assert session.delivered_anywhere(slice(at, at + 1)) == 2**session.buffers - 1


def test_a_stretch_of_the_segment_before_is_no_restart(tmp_path: Path) -> None:
    """A program that split its files wrote the end of one again at the start of the next."""
    small = {"frames": 160, "height": 20, "width": 30, "receivers": 1, "seed": 6}
    wanted = Made(tmp_path / "plain", **small).together().alignment.frame_num
    one = Path(Made(tmp_path / "one", **small).names[0])
    two = Path(Made(tmp_path / "two", **small).names[0])
    for video, keep in ((one, slice(0, 90)), (two, slice(65, None))):
        first, last = keep.start, keep.stop or 10**6

        def kept(rows: pd.DataFrame, first: int = first, last: int = last) -> pd.DataFrame:
            frame = rows.reconstructed_frame_index
            inside = rows[(frame >= first) & (frame < last)]
            shifted = inside.reconstructed_frame_index - first
            late = inside.buffer_recv_unix_time + (first > 0) * 2
            return inside.assign(reconstructed_frame_index=shifted, buffer_recv_unix_time=late)

        change_table(video, kept)

        def cut(images: Frames, keep: slice = keep) -> Frames:
            return images[keep]

        change_video(video, cut)
    session = bring_together(open_recordings([f"{one},{two}"], ReadOptions()))
    assert session.alignment.frame_num.tolist() == wanted.tolist()
