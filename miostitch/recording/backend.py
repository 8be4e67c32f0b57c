"""``xarray.open_dataset("x.avi", engine="miostitch")``."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import xarray as xr
from xarray.backends import BackendEntrypoint

from miostitch.errors import report_notices
from miostitch.recording.datasets import mark_lost
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording
from miostitch.video.source import FORMATS


class MiostitchBackendEntrypoint(BackendEntrypoint):
    """Opens a recording, or a video alone, as a lazy Dataset."""

    description: ClassVar[str] = "Open miniscope recordings (video and buffer table)"
    url: ClassVar[str] = "https://miostitch.readthedocs.io"

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        salvage: bool = False,
        lag: int | Literal["auto"] = "auto",
    ) -> xr.Dataset:
        """Open a video and the table next to it, if any; see :func:`miostitch.open_recording`."""
        options = ReadOptions(salvage=salvage, need_table=False, lag=lag)
        recording = Recording.open(filename_or_obj, options)
        report_notices(recording.notices)
        dataset = mark_lost(recording, options)
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        return dataset.drop_vars(list(dropped), errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name looks like a video's."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return Path(filename_or_obj).suffix.lower() in FORMATS
