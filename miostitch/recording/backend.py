"""``xarray.open_dataset("x.avi", engine="miostitch")``."""

import os
from collections.abc import Iterable
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from miostitch.recording.datasets import to_dataset
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import Recording

SUFFIXES = (".avi", ".mkv", ".mp4")


class MiostitchBackendEntrypoint(BackendEntrypoint):
    """Opens a recording, or a video alone, as a lazy Dataset."""

    description: ClassVar[str] = "Open miniscope recordings (video and buffer table)"
    url: ClassVar[str] = "https://miostitch.readthedocs.io"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "salvage",
    )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        salvage: bool = False,
    ) -> xr.Dataset:
        """Open a recording; see :func:`miostitch.open_recording`.

        Parameters
        ----------
        filename_or_obj
            A video; the table beside it is used where there is one.
        drop_variables
            Names to leave out.
        salvage
            Go on with what matches where video and table disagree.

        Raises
        ------
        InputError
            The recording cannot be read.
        """
        options = ReadOptions(salvage=salvage, need_table=False)
        dataset = to_dataset(Recording.open(filename_or_obj, options))
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        return dataset.drop_vars(list(dropped), errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name looks like a video's."""
        return isinstance(filename_or_obj, str | os.PathLike) and os.fspath(
            filename_or_obj
        ).lower().endswith(SUFFIXES)
