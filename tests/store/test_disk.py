"""Files of a store whose names are refused for a moment."""

import asyncio
import errno
import os
from pathlib import Path
from threading import current_thread

import numpy as np
import pytest

from miostitch.errors import ResourceError
from miostitch.store import disk, renaming
from miostitch.store.chunks import read_block, write_block
from miostitch.store.disk import run_here
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


@pytest.mark.parametrize("in_a_notebook", [False, True])
def test_a_block_is_written_by_the_thread_that_has_it(
    in_a_notebook: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, frames = str(tmp_path / "s.zarr"), np.full((2, 3, 4), 7, np.uint8)
    create_store(store, shape=(2, 3, 4), chunk_frames=2, attrs={})
    threads: list[str] = []
    monkeypatch.setattr(disk, "rename", lambda *_: threads.append(current_thread().name))

    async def from_a_loop() -> None:
        write_block(store, 0, frames)

    if in_a_notebook:
        asyncio.run(from_a_loop())
    else:
        write_block(store, 0, frames)
    [name] = threads
    assert name.startswith("miostitch-zarr") if in_a_notebook else name == current_thread().name


def test_what_fails_in_this_thread_is_raised_in_it() -> None:
    async def fail() -> None:
        await asyncio.to_thread(os.stat, "no such file")

    with pytest.raises(FileNotFoundError):
        run_here(fail())
