"""The server of the viewer: which requests it answers, and how.

The server listens on this machine alone. Every request must carry the random token of the run in
its path and name this very server as its host: no other page in the browser can reach it, not even
one whose name is made to point here.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection
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
from miostitch.schema import FILLED, FRAME_VARIABLES, SCORE_VARIABLES
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.model import Scene, What

LOOPBACK = "127.0.0.1"
PAGE = "page.html"
PALETTE = files("miostitch.report") / "templates" / "palette.css"
ASSETS = {each.name: each for each in (*(files("miostitch.viewer") / "static").iterdir(), PALETTE)}
"""What the page is made of; the receivers have the colours of the report."""

# not those of the system, which on some is wrong about scripts
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
REQUEST_BYTES = 2**24  # at most; a list of marked frames is the longest there is
MARKS_BYTES = 2**23  # of a file of marks at most; a million frames take less
MOST_DIGITS = 18  # of a number in a path; Python refuses to read thousands
READERS = 4  # threads that read for the page; a browser asks for up to six things at a time

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
        routes = [(f"/([^/]*)/{what}", handler, {"viewer": self}) for what, handler in ROUTES]
        routes.append(("/([^/]*)", _Nothing, {"viewer": self}))
        application = Application(routes, log_function=_log_request)
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
        pixels = []
        for number, panel in enumerate(self.scene.panels):
            frame, facts = panel.look(position)
            about: dict[str, Any] = {"frame": frame, "facts": facts}
            if number in shown:
                image = panel.image(frame, self.cache)
                if isinstance(image, str):
                    about["problem"] = image
                else:
                    about["height"], about["width"] = image.shape
                    pixels.append(image.tobytes())
            panels.append(about)
        about_all = {"frame": position, "time": self.scene.elapsed(position), "panels": panels}
        head = json.dumps(about_all, allow_nan=False).encode()
        return b"".join([len(head).to_bytes(4, "little"), head, *pixels])


class _Handler(RequestHandler):
    """What all requests have in common: their path is ``/TOKEN/WHAT``."""

    def initialize(self, viewer: Viewer) -> None:
        self.viewer, self.scene = viewer, viewer.scene

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
            raise _RefusedError(403, "open the full address that miostitch view printed")
        if self.request.method not in ("GET", "HEAD", "POST"):
            raise _RefusedError(405, "must be GET or POST")
        if self.request.method == "POST" and self.request.headers.get("Origin") != f"http://{host}":
            raise _RefusedError(403, "only the page itself may save")

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


class _Asset(_Handler):
    async def get(self, _: str, name: str = PAGE) -> None:
        self.set_header("Content-Type", f"{TYPES[Path(name).suffix]}; charset=utf-8")
        self.finish(ASSETS[name].read_bytes())


class _Description(_Handler):
    async def get(self, _: str) -> None:
        self.finish(self.viewer.describe())


class _Frame(_Handler):
    async def get(self, _: str, at: str, panels: str) -> None:
        count = len(self.scene.panels)
        shown = {_below("panels", each, count) for each in panels.split(",") if each}
        position = _below("at", at, self.scene.count)
        packet = await self.viewer.compute(self.viewer.packet, position, shown)
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(packet)
        self.viewer.seen.set()


class _Jump(_Handler):
    async def get(self, _: str, at: str, to: str, what: What) -> None:
        position, step = _below("at", at, self.scene.count), 1 if to == "next" else -1
        self.finish({"frame": await self.viewer.compute(self.scene.jump, position, what, step)})


class _Find(_Handler):
    async def get(self, _: str, frame_num: str) -> None:
        self.finish({"frame": await self.viewer.compute(self.scene.find, int(frame_num))})


class _Time(_Handler):
    async def get(self, _: str, milliseconds: str) -> None:
        seconds = int(milliseconds) / 1000
        self.finish({"frame": await self.viewer.compute(self.scene.at_time, seconds)})


class _Timeline(_Handler):
    async def get(self, _: str, bins: str) -> None:
        self.finish(await self.viewer.compute(self.scene.timeline, int(bins)))


class _MarkedFrames(_Handler):
    """The positions that are marked, as the list that ``remove-frames`` takes."""

    async def post(self, _: str, what: str) -> None:
        text = format_frames(self.scene.in_first(self._positions()))
        marks = self.viewer.marks
        if what == "list":
            self.finish({"text": text})
        elif marks is None:
            raise _RefusedError(409, "no file was named by --marks")
        else:
            await self.viewer.compute(marks.save, text)
            self.finish({"text": text, "saved": printable(str(marks.path))})

    def _positions(self) -> NDArray[np.int64]:
        count = self.scene.count
        with suppress(ValueError, RecursionError):
            frames = json.loads(self.request.body)
            if isinstance(frames, list) and all(
                type(each) is int and 0 <= each < count for each in frames
            ):
                return np.array(frames, np.int64)
        raise _RefusedError(400, f"must be a JSON list of frames from 0 to {count - 1}")


class _Nothing(_Handler):
    async def get(self, _: str) -> None:
        raise _RefusedError(404, "there is no such thing here")

    post = get


NUMBER = f"([0-9]{{1,{MOST_DIGITS}}})"
ROUTES = (
    ("", _Asset),
    (f"({'|'.join(re.escape(name) for name in ASSETS if name != PAGE)})", _Asset),
    ("scene", _Description),
    (f"frame/{NUMBER}/([0-9,]*)", _Frame),
    (f"jump/{NUMBER}/(next|previous)/(damaged|doubtful|source)", _Jump),
    (f"find/{NUMBER}", _Find),
    (f"time/{NUMBER}", _Time),
    ("timeline/([1-9][0-9]{0,3})", _Timeline),
    ("(list|marks)", _MarkedFrames),
    (".*", _Nothing),
)
"""What follows the token in a path, and who answers it."""


class _RefusedError(HTTPError):
    """A request that is not answered, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = text


def _below(name: str, text: str, end: int) -> int:
    """A number of a path, from 0 to before `end`."""
    if len(text) > MOST_DIGITS or int(text) >= end:
        raise _RefusedError(400, f"{name}: must be a number from 0 to {end - 1}")
    return int(text)


def _log_request(handler: RequestHandler) -> None:
    took = 1000 * handler.request.request_time()
    _, _, name = handler.request.path[1:].partition("/")  # not the token
    logger.debug("%s %s %d %.1f ms", handler.request.method, name, handler.get_status(), took)
