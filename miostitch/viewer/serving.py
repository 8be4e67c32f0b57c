"""Answering the browsers of this machine: who is answered, and what all answers have in common.

The server listens on this machine alone. Every request must carry the random token of the run in
its path and name this very server as its host: no other page in the browser can reach it, not even
one whose name is made to point here.
"""

import asyncio
import json
import logging
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from hmac import compare_digest
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from miostitch.arrays import U8
from miostitch.errors import MiostitchError, MissingInputError, ResourceError
from miostitch.text import printable

LOOPBACK = "127.0.0.1"
PALETTE = files("miostitch.report") / "templates" / "palette.css"
ASSETS = {each.name: each for each in (*(files("miostitch.viewer") / "static").iterdir(), PALETTE)}
"""What the pages are made of; the receivers have the colours of the report."""

# not those of the system, which on some is wrong about scripts
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
REQUEST_BYTES = 2**24  # at most; a list of marked frames is the longest there is
MOST_DIGITS = 18  # of a number in a path; Python refuses to read thousands
READERS = 4  # threads that read for the pages; a browser asks for up to six things at a time

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
Routes = Sequence[tuple[str, type["Handler"]]]
"""What follows the token, and the place of the page, in a path; and who answers it."""

logger = logging.getLogger(__name__)


class Server:
    """Listens on this machine, and reads files on threads."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self.hosts: set[str] = set()
        self.closing = threading.Event()
        other = ("/([^/]*)(?:/.*)?", Nothing, {"server": self, "page": None})  # asked last
        self._application = Application([other], log_function=_log_request)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(READERS, "miostitch-view")

    def mount(self, place: str, routes: Routes, page: Any) -> None:
        """Answer the paths below a place, as ``""`` or ``"view/3/"``, from a page."""
        known = {"server": self, "page": page}
        rules = [(f"/([^/]*)/{place}{what}", handler, known) for what, handler in routes]
        self._application.add_handlers(".*", [*rules])

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Work in the background, until the server ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen, and give the address of the first page."""
        try:
            listening = socket.create_server((LOOPBACK, port), backlog=128)
        except OSError as error:
            msg = f"port {port}: cannot be listened on: {error.strerror}; name another with --port"
            raise ResourceError(msg) from error
        listening.setblocking(False)
        at = listening.getsockname()[1]
        self.hosts = {f"{LOOPBACK}:{at}", f"localhost:{at}"}
        sizes = {"max_body_size": REQUEST_BYTES, "max_buffer_size": REQUEST_BYTES}
        server = HTTPServer(self._application, **sizes)
        server.add_socket(listening)
        try:
            yield f"http://{LOOPBACK}:{at}/{self.token}/"
        finally:
            self.closing.set()
            for task in self._tasks:
                task.cancel()
            server.stop()
            await server.close_all_connections()
            # zarr complains loudly where Python ends amid a read
            await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def compute(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Call what reads files, on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)


class RefusedError(HTTPError):
    """A request that is not answered, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = text


class Handler(RequestHandler):
    """What all requests have in common: their path is ``/TOKEN/PLACE/WHAT``."""

    def initialize(self, server: Server, page: Any) -> None:
        """Take what the handler was mounted with."""
        self.server, self.page = server, page

    def set_default_headers(self) -> None:
        """Forbid the page everything that it does not need."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse whatever does not come from the page itself."""
        host = self.request.headers.get("Host", "")
        if host not in self.server.hosts:
            raise RefusedError(403, "this server answers to no other name than its address")
        if not compare_digest(self.path_args[0].encode(), self.server.token.encode()):
            raise RefusedError(403, "open the full address that miostitch view printed")
        if self.request.method not in ("GET", "HEAD", "POST"):
            raise RefusedError(405, "must be GET or POST")
        if self.request.method == "POST" and self.request.headers.get("Origin") != f"http://{host}":
            raise RefusedError(403, "only the page itself may save")

    def read_object(self) -> dict[str, Any]:
        """The body of a request, a JSON object."""
        with suppress(ValueError, RecursionError):
            found = json.loads(self.request.body)
            if isinstance(found, dict):
                return found
        raise RefusedError(400, "must be a JSON object")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong, as JSON."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        if isinstance(error, RefusedError):
            text = error.text
        elif isinstance(error, MiostitchError):
            text = printable(str(error))
        else:
            text = self._reason
        self.finish({"error": text})

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer what miostitch refuses as what is wrong with the request, not with the server."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        missing = isinstance(error, MissingInputError)
        refused = 404 if missing else 409 if isinstance(error, MiostitchError) else status_code
        super().send_error(refused, **kwargs)

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Log what is no fault of the request."""
        if not isinstance(error, HTTPError | MiostitchError):
            logger.error("%s failed", self.request.method, exc_info=(kind, error, trace))


class Nothing(Handler):
    """What is nowhere."""

    async def get(self, _: str, *args: str) -> None:
        """Refuse."""
        raise RefusedError(404, "there is no such thing here")

    post = get


class Asset(Handler):
    """A file of the pages."""

    async def get(self, _: str, name: str = "") -> None:
        """Give it; without a name the page itself."""
        name = name or self.page.html
        self.set_header("Content-Type", f"{TYPES[Path(name).suffix]}; charset=utf-8")
        self.finish(ASSETS[name].read_bytes())


SHARED = [re.escape(name) for name in ASSETS if not name.endswith(".html")]
FILES: Routes = [("", Asset), (f"({'|'.join(SHARED)})", Asset)]
"""The page itself, which names its ``html``, and what it loads."""

NUMBER = f"([0-9]{{1,{MOST_DIGITS}}})"


def pack(about: Mapping[str, Any], images: Iterable[U8]) -> bytes:
    """Images with what is known of them: the length of a JSON object, the object, all pixels."""
    head = json.dumps(about, allow_nan=False).encode()
    return b"".join([len(head).to_bytes(4, "little"), head, *(each.tobytes() for each in images)])


def below(name: str, text: str, end: int) -> int:
    """A number of a path, from 0 to before `end`."""
    if len(text) > MOST_DIGITS or int(text) >= end:
        raise RefusedError(400, f"{name}: must be a number from 0 to {end - 1}")
    return int(text)


def _log_request(handler: RequestHandler) -> None:
    took = 1000 * handler.request.request_time()
    _, _, name = handler.request.path[1:].partition("/")  # not the token
    logger.debug("%s %s %d %.1f ms", handler.request.method, name, handler.get_status(), took)
