"""Files of a store whose names are refused for a moment."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from miostitch.errors import ResourceError
from miostitch.store import renaming
from miostitch.store.chunks import read_block, write_block
from miostitch.store.layout import create_store
from tests.folders import content


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    really, attempts = os.replace, dict[str, int]()

    def refused(source: Path, target: Path) -> None:
        attempts[str(source)] = attempts.get(str(source), 0) + 1
        if attempts[str(source)] <= times:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        really(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(renaming, "DELAYS_S", (0.001,) * 3)


@pytest.mark.fault(62, "files of a store", "tried again; for ever: exit 5")
def test_a_chunk_that_is_refused_for_a_moment_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, frames = str(tmp_path / "s.zarr"), np.full((2, 3, 4), 7, np.uint8)
    with monkeypatch.context() as patched:
        refuse(patched, 2)
        create_store(store, shape=(2, 3, 4), chunk_frames=2, attrs={})
        write_block(store, 0, frames)
    assert (read_block(store, 0, 2) == frames).all()
    before = content(tmp_path)
    with monkeypatch.context() as patched:
        refuse(patched, 10**9)
        with pytest.raises(ResourceError, match=r"cannot write frame 0"):
            write_block(store, 0, frames + 1)
    assert content(tmp_path) == before
