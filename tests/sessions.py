"""Small simulated sessions, each with other faults, and changes to their files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import miostitch
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.session.session import Session, bring_together
from tests.video_files import Frames, decode, write

FAULTY: dict[str, Any] = {
    "frames": 24,
    "height": 40,
    "width": 50,
    "buffer_loss": 0.1,
    "truncation": 0.03,
    "header_flips": 0.03,
    "overrun": 0.02,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "alone": {"receivers": 1, "seed": 1},
    "two": {"receivers": 2, "seed": 2, "corruption": 0.1},
    "lagging": {"receivers": 3, "seed": 3, "lag": 1, "extra_frame": False},
    "many": {"receivers": 4, "seed": 4, "buffer_loss": 0.4, "frame_loss": 0.1, "corruption": 0.2},
    "odd": {"receivers": 2, "seed": 5, "height": 13, "width": 37, "header_flips": 0.1},
    "rebooted": {"receivers": 2, "seed": 6, "frames": 50, "resets": 1},
}
"""By name, what they have besides :data:`FAULTY`."""


class Made:
    """A session on disk."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.config = miostitch.SimulationConfig(**{**FAULTY, **options})
        self.videos: Sequence[Path] = miostitch.simulate(folder, self.config).recordings

    @property
    def names(self) -> list[str]:
        return [str(path) for path in self.videos]

    def together(self, *, repair: bool = True, lag: int | None = None) -> Session:
        lag = self.config.lag if lag is None else lag
        return bring_together(open_recordings(self.names, ReadOptions(repair=repair, lag=lag)))


def made(*names: str) -> Any:
    """A fixture of some of the sessions, or of all."""

    @pytest.fixture(scope="module", params=names or tuple(CONFIGS))
    def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
        return Made(tmp_path_factory.mktemp(request.param), **CONFIGS[request.param])

    return session


def change_table(video: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = video.with_suffix(".csv")
    change(pd.read_csv(path)).to_csv(path, index=False)


def received_later(video: Path, seconds: float = 600) -> Path:
    """Have a recording received later, as the next segment of another one is."""
    change_table(
        video,
        lambda rows: rows.assign(buffer_recv_unix_time=rows.buffer_recv_unix_time + seconds),
    )
    return video


def change_video(video: Path, change: Callable[[Frames], Frames]) -> None:
    write(video, change(decode(video)))


def renumber(videos: Sequence[Path], ahead: int) -> None:
    """Let the counters of all recordings but the first be ahead.

    The device's frames come a little early or late: by this a session is told by time.
    """
    jitter = np.random.default_rng(0).normal(0, 0.002, 10_000)
    for number, path in enumerate(videos):

        def change(table: pd.DataFrame, by: int = ahead * bool(number)) -> pd.DataFrame:
            buffers = int(table.frame_buffer_count.max()) + 1
            late = jitter[table.frame_num.to_numpy().clip(0, 9_999)]
            return table.assign(
                frame_num=table.frame_num + by,
                buffer_count=table.buffer_count + by * buffers,
                buffer_recv_unix_time=table.buffer_recv_unix_time + late,
            )

        change_table(path, change)


def mismatched(session: list[str], folder: Path) -> str:
    """A copy of the first video with a table of ten frames."""
    video = folder / "short.avi"
    video.write_bytes(Path(session[0]).read_bytes())
    rows = Path(session[0]).with_suffix(".csv").read_text().splitlines(keepends=True)
    kept = [row for row in rows[1:] if 0 <= int(row.rsplit(",", 1)[1]) < 10]
    video.with_suffix(".csv").write_text("".join([rows[0], *kept]))
    return str(video)
