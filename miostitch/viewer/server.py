"""The server of the viewer: whom it answers, and what.

The server listens on this machine alone. Every request must carry the random token of the run in
its path and name this very server as its host: no other page in the browser can reach it, not even
one whose name is made to point here.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from hmac import compare_digest
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from miostitch.errors import MiostitchError, MissingInputError, ResourceError, UsageError
from miostitch.ranges import format_frames, parse_frames
from miostitch.schema import FRAME_VARIABLES, SCORE_VARIABLES
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.model import Scene

LOOPBACK = "127.0.0.1"
PAGE = files("miostitch.viewer") / "static"
ASSETS = frozenset(each.name for each in PAGE.iterdir()) - {"page.html"}
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
"""Not those of the system, which on some is wrong about scripts."""

REQUEST_BYTES = 2**24
"""A longer request is refused; a list of marked frames is the longest there is."""

MARKS_BYTES = 2**23
"""A longer file is no list of marks; a million frames take less."""

MAX_BINS = 4096
READERS = 4
"""Threads that read for the page; a browser asks for up to six things at a time."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Marks:
    """The file that marked frames are saved to, as ``remove-frames`` takes them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise MissingInputError(f"{self.path}: no such folder; make it, or name another file")
        self.frames = self._read()

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
        """Replace the file, whole or not at all."""
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("x", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            msg = f"{self.path}: cannot be written: {error.strerror}; free space or check rights"
            raise ResourceError(msg) from error


class Viewer:
    """Answers what the page asks."""

    def __init__(self, scene: Scene, cache: BlockCache, marks: Marks | None = None) -> None:
        self.scene, self.cache, self.marks = scene, cache, marks
        self.token = secrets.token_urlsafe(32)
        self.hosts: set[str] = set()
        self.completed = False
        self.seen, self.closing = asyncio.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(READERS, "miostitch-view")

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen, and give the address of the page."""
        try:
            listening = socket.create_server((LOOPBACK, port), backlog=128)
        except OSError as error:
            msg = f"port {port}: cannot be listened on: {error.strerror}; name another with --port"
            raise ResourceError(msg) from error
        listening.setblocking(False)
        at = listening.getsockname()[1]
        self.hosts = {f"{LOOPBACK}:{at}", f"localhost:{at}"}
        application = Application(
            [(r"/([^/]*)/?(.*)", _Handler, {"viewer": self})], log_function=_log_request
        )
        server = HTTPServer(application, max_body_size=REQUEST_BYTES, max_buffer_size=REQUEST_BYTES)
        server.add_socket(listening)
        completing = asyncio.create_task(self._complete())
        try:
            yield f"http://{LOOPBACK}:{at}/{self.token}/"
        finally:
            self.closing.set()
            completing.cancel()
            server.stop()
            await server.close_all_connections()
            # zarr complains loudly where Python ends amid a read
            await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def compute(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Call what reads files, on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def _complete(self) -> None:
        await self.seen.wait()  # the first frame waits for nothing else
        try:
            await self.compute(self.scene.complete, self.closing)
        except MiostitchError as error:
            self.scene.notices = [*self.scene.notices, printable(str(error))]
        self.completed = True

    def describe(self) -> dict[str, Any]:
        """What is shown, without any frame."""
        scene, marks = self.scene, self.marks.frames if self.marks else []
        return {
            "name": scene.name,
            "frames": scene.count,
            "fps": float(scene.fps),
            "panels": [
                {"name": p.name, "pictures": p.film is not None, "note": p.note}
                for p in scene.panels
            ],
            "sources": [*scene.sources],
            "columns": [*scene.columns],
            "notices": [*scene.notices],
            "completed": self.completed,
            "about": {v.name: v.doc for v in (*SCORE_VARIABLES, *FRAME_VARIABLES)},
            "marks": scene.from_first(np.array(marks, np.int64)).tolist(),
            "marks_file": printable(str(self.marks.path)) if self.marks else None,
        }

    def packet(self, position: int, shown: Sequence[int]) -> bytes:
        """One frame: what is known of it and of its candidates, and the pictures shown."""
        told: list[dict[str, Any]] = []
        pixels = []
        for number, panel in enumerate(self.scene.panels):
            frame, facts = panel.look(position)
            about: dict[str, Any] = {"frame": frame, "facts": facts}
            if number in shown:
                picture = panel.picture(frame, self.cache)
                if isinstance(picture, str):
                    about["problem"] = picture
                else:
                    about["height"], about["width"] = picture.shape
                    pixels.append(picture.tobytes())
            told.append(about)
        head = json.dumps({"frame": position, "panels": told}, allow_nan=False).encode()
        return b"".join([len(head).to_bytes(4, "little"), head, *pixels])


class _Handler(RequestHandler):
    """Every path is ``/TOKEN/WHAT``."""

    def initialize(self, viewer: Viewer) -> None:
        self.viewer = viewer

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse whatever does not come from the page itself."""
        host = self.request.headers.get("Host", "")
        if host not in self.viewer.hosts:
            raise _RefusedError(403, "this server answers to no other name than its address")
        if not compare_digest(self.path_args[0].encode(), self.viewer.token.encode()):
            raise _RefusedError(403, "open the whole address that miostitch view printed")
        if self.request.method not in ("GET", "HEAD", "POST"):
            raise _RefusedError(405, "GET or POST is meant")
        if self.request.method == "POST" and self.request.headers.get("Origin") != f"http://{host}":
            raise _RefusedError(403, "only the page itself may save")

    async def get(self, _: str, name: str) -> None:
        scene = self.viewer.scene
        if name == "" or name in ASSETS:
            self._send_asset(name or "page.html")
        elif name == "scene":
            self.finish(self.viewer.describe())
        elif name == "frame":
            shown = {self._number("panels", len(scene.panels), each) for each in self._list()}
            at = self._number("at", scene.count)
            packet = await self.viewer.compute(self.viewer.packet, at, shown)
            self.set_header("Content-Type", "application/octet-stream")
            self.finish(packet)
            self.viewer.seen.set()
        elif name == "jump":
            what = self._one_of("what", {"damaged": "damaged", "source": "source"})
            step = self._one_of("to", {"next": 1, "previous": -1})
            at = self._number("at", scene.count)
            self.finish({"frame": await self.viewer.compute(scene.jump, at, what, step)})
        elif name == "find":
            wanted = self._number("frame_num", 2**63)
            self.finish({"frame": await self.viewer.compute(scene.find, wanted)})
        elif name == "timeline":
            bins = self._number("bins", MAX_BINS + 1)
            if not bins:
                raise _RefusedError(400, "bins: 1 at least is needed")
            self.finish(await self.viewer.compute(scene.timeline, bins))
        else:
            raise _RefusedError(404, "there is no such thing here")

    async def post(self, _: str, name: str) -> None:
        if name not in ("list", "marks"):
            raise _RefusedError(404, "there is no such thing here")
        scene = self.viewer.scene
        text = format_frames(scene.in_first(self._frames(scene.count)))
        if name == "list":
            self.finish({"text": text})
        elif self.viewer.marks is None:
            raise _RefusedError(409, "no file was named by --marks")
        else:
            await self.viewer.compute(self.viewer.marks.save, text)
            self.viewer.marks.frames = parse_frames(text).tolist() if text else []
            self.finish({"text": text, "saved": printable(str(self.viewer.marks.path))})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong, as JSON."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        if isinstance(error, _RefusedError):
            text = error.text
        elif isinstance(error, MiostitchError):
            text = printable(str(error))
        else:
            text = self._reason
        self.finish({"error": text})

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log what is no fault of the request."""
        if not isinstance(error, HTTPError | MiostitchError):
            logger.error("%s failed", self.request.method, exc_info=(kind, error, trace))

    def _send_asset(self, name: str) -> None:
        self.set_header("Content-Type", f"{TYPES[Path(name).suffix]}; charset=utf-8")
        self.finish((PAGE / name).read_bytes())

    def _number(self, name: str, end: int, text: str | None = None) -> int:
        """A whole number from 0 to before `end`."""
        text = self.get_query_argument(name, "") if text is None else text
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < end):
            raise _RefusedError(400, f"{name}: a number from 0 to {end - 1} is meant")
        return int(text)

    def _list(self) -> list[str]:
        return [each for each in self.get_query_argument("panels", "").split(",") if each]

    def _one_of(self, name: str, meanings: dict[str, Any]) -> Any:
        text = self.get_query_argument(name, "")
        if text not in meanings:
            raise _RefusedError(400, f"{name}: {' or '.join(meanings)} is meant")
        return meanings[text]

    def _frames(self, count: int) -> NDArray[np.int64]:
        """The positions that were sent."""
        with suppress(ValueError):
            frames = json.loads(self.request.body)
            if isinstance(frames, list) and all(
                type(each) is int and 0 <= each < count for each in frames
            ):
                return np.array(frames, np.int64)
        raise _RefusedError(400, f"a JSON list of frames from 0 to {count - 1} is meant")


class _RefusedError(HTTPError):
    """A request that is not answered, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = text


def _log_request(handler: RequestHandler) -> None:
    took = 1000 * handler.request.request_time()
    name = handler.path_args[1] if len(handler.path_args) > 1 else ""  # not the token
    logger.debug("%s %s %d %.1f ms", handler.request.method, name, handler.get_status(), took)
