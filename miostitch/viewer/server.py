"""The page of a scene: what it asks for, and the file of marked frames.

Who is answered at all, and how a request is refused, is that of :mod:`miostitch.viewer.serving`.
"""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import MiostitchError, MissingInputError, ResourceError, UsageError
from miostitch.ranges import format_frames, parse_frames
from miostitch.schema import FILLED, FRAME_VARIABLES, SCORE_VARIABLES
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.model import Scene, What
from miostitch.viewer.serving import (
    FILES,
    NUMBER,
    Handler,
    RefusedError,
    Routes,
    Server,
    below,
    pack,
)

MARKS_BYTES = 2**23  # of a file of marks at most; a million frames take less

logger = logging.getLogger(__name__)


class Marks:
    """The file that marked frames are saved to, as ``remove-frames`` takes them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise MissingInputError(f"{self.path}: no such folder; make it, or name another file")
        self.frames = self._read()  # those saved last

    def _read(self) -> list[int]:
        if not self.path.exists():
            return []
        with suppress(OSError, ValueError), self.path.open("rb") as file:
            text = file.read(MARKS_BYTES + 1).decode("ascii")
            if len(text) <= MARKS_BYTES:
                return parse_frames(text).tolist() if text.strip() else []
        msg = f"{self.path}: is no list of frames as in 0,5,10-20; name another file for marks"
        raise UsageError(msg)

    def save(self, text: str) -> None:
        """Replace the file by a complete one, or leave it."""
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("x", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            self.frames = parse_frames(text).tolist() if text else []
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            msg = f"{self.path}: cannot be written: {error.strerror}; free space or check rights"
            raise ResourceError(msg) from error


class Viewer:
    """Answers what the page of a scene asks, below its place on a server."""

    html = "page.html"

    def __init__(self, scene: Scene, cache: BlockCache, marks: Marks | None = None) -> None:
        self.scene, self.cache, self.marks = scene, cache, marks
        self.completed = False
        self.home = ""  # Where the start page is, as the page names it; empty: there is none
        self.seen = asyncio.Event()

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen for this page alone, and give its address."""
        server = Server()
        async with server.running(port) as url:
            self.show(server)
            yield url

    def show(self, server: Server, place: str = "") -> None:
        """Answer from now on."""
        server.mount(place, ROUTES, self)
        server.begin(self._complete(server))

    async def _complete(self, server: Server) -> None:
        await self.seen.wait()  # the first frame waits for nothing else
        try:
            await server.compute(self.scene.complete, server.closing)
        except Exception as error:  # whatever it is, the page must not wait for more
            if not isinstance(error, MiostitchError):
                logger.exception("the recordings of %s cannot be shown", self.scene.name)
            self.scene.give_up(printable(str(error)))
        self.completed = True

    def describe(self) -> dict[str, Any]:
        """What is shown, without any frame."""
        scene, marks = self.scene, self.marks.frames if self.marks else []
        return {
            "name": scene.name,
            "home": self.home,
            "frames": scene.count,
            "fps": float(scene.fps),
            "measured_fps": scene.measured_fps,
            "start": scene.start,
            "panels": [
                {"name": p.name, "pictures": p.frames is not None, "note": p.note}
                for p in scene.panels
            ],
            "sources": [*scene.sources],
            "columns": [*scene.columns],
            "note": scene.note,
            "notices": [*scene.notices],
            "completed": self.completed,
            "about": {v.name: v.doc for v in (*SCORE_VARIABLES, *FRAME_VARIABLES, FILLED)},
            "marks": scene.from_first(np.array(marks, np.int64)).tolist(),
            "marks_file": printable(str(self.marks.path)) if self.marks else None,
        }

    def packet(self, position: int, shown: Collection[int]) -> bytes:
        """One frame: what is known of it and of its candidates, and the images shown."""
        panels: list[dict[str, Any]] = []
        images = []
        for number, panel in enumerate(self.scene.panels):
            frame, facts = panel.look(position)
            about: dict[str, Any] = {"frame": frame, "facts": facts}
            if number in shown:
                image = panel.image(frame, self.cache)
                if isinstance(image, str):
                    about["problem"] = image
                else:
                    about["height"], about["width"] = image.shape
                    images.append(image)
            panels.append(about)
        about_all = {"frame": position, "time": self.scene.elapsed(position), "panels": panels}
        return pack(about_all, images)


class _Description(Handler):
    async def get(self, _: str) -> None:
        self.finish(self.page.describe())


class _Frame(Handler):
    async def get(self, _: str, at: str, panels: str) -> None:
        count = len(self.page.scene.panels)
        shown = {below("panels", each, count) for each in panels.split(",") if each}
        position = below("at", at, self.page.scene.count)
        packet = await self.server.compute(self.page.packet, position, shown)
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(packet)
        self.page.seen.set()


class _Jump(Handler):
    async def get(self, _: str, at: str, to: str, what: What) -> None:
        position, step = below("at", at, self.page.scene.count), 1 if to == "next" else -1
        self.finish(
            {"frame": await self.server.compute(self.page.scene.jump, position, what, step)}
        )


class _Find(Handler):
    async def get(self, _: str, frame_num: str) -> None:
        self.finish({"frame": await self.server.compute(self.page.scene.find, int(frame_num))})


class _Time(Handler):
    async def get(self, _: str, milliseconds: str) -> None:
        seconds = int(milliseconds) / 1000
        self.finish({"frame": await self.server.compute(self.page.scene.at_time, seconds)})


class _Timeline(Handler):
    async def get(self, _: str, bins: str) -> None:
        self.finish(await self.server.compute(self.page.scene.timeline, int(bins)))


class _MarkedFrames(Handler):
    """The positions that are marked, as the list that ``remove-frames`` takes."""

    async def post(self, _: str, what: str) -> None:
        text = format_frames(self.page.scene.in_first(self._positions()))
        marks = self.page.marks
        if what == "list":
            self.finish({"text": text})
        elif marks is None:
            raise RefusedError(409, "no file was named by --marks")
        else:
            await self.server.compute(marks.save, text)
            self.finish({"text": text, "saved": printable(str(marks.path))})

    def _positions(self) -> NDArray[np.int64]:
        count = self.page.scene.count
        with suppress(ValueError, RecursionError):
            frames = json.loads(self.request.body)
            if isinstance(frames, list) and all(
                type(each) is int and 0 <= each < count for each in frames
            ):
                return np.array(frames, np.int64)
        raise RefusedError(400, f"must be a JSON list of frames from 0 to {count - 1}")


ROUTES: Routes = [
    *FILES,
    ("scene", _Description),
    (f"frame/{NUMBER}/([0-9,]*)", _Frame),
    (f"jump/{NUMBER}/(next|previous)/(damaged|doubtful|source)", _Jump),
    (f"find/{NUMBER}", _Find),
    (f"time/{NUMBER}", _Time),
    ("timeline/([1-9][0-9]{0,3})", _Timeline),
    ("(list|marks)", _MarkedFrames),
]
"""What follows the place of the page in a path, and who answers it."""
