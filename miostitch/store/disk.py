"""Files of a store on a disk, whose renames may be refused for a moment."""

import asyncio
from pathlib import Path
from uuid import uuid4

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from miostitch.store.renaming import rename


class DiskStore(LocalStore):
    """A folder of files, each of them complete or not there."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file, and give it its name when it is complete."""
        await self._ensure_open()
        self._check_writable()
        await asyncio.to_thread(_write, self.root / key, value)


def _write(path: Path, value: Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{uuid4().hex}.partial")
    try:
        unfinished.write_bytes(value.as_numpy_array().data)
        rename(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
