"""The start page: what lies in a folder, and what can be done with it.

It writes session files, results and configurations alone, each where the page says, and never over
anything that exists unless a run is asked to replace its results.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from miostitch.errors import MissingInputError, UsageError
from miostitch.execution.products import STORE
from miostitch.inspect.recordings import inspect_recordings
from miostitch.recording.files import StrPath
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.catalogue import Catalogue, ListedResult, ListedSession, file_state
from miostitch.viewer.jobs import Jobs
from miostitch.viewer.server import Viewer
from miostitch.viewer.serving import FILES, NUMBER, Handler, RefusedError, Routes, Server
from miostitch.viewer.sources import open_scene
from miostitch.viewer.thresholds import THRESHOLD_ROUTES, Thresholds

HOME = "../../"  # The start page, as a page below it names it
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""Of a report, which is one file with all its scripts: it can ask this server nothing."""


class StartPage:
    """Answers what the start page asks."""

    html = "start.html"

    def __init__(self, folder: str, cache: BlockCache) -> None:
        self.catalogue, self.cache, self.jobs = Catalogue(folder), cache, Jobs()
        self.thresholds = Thresholds(self.catalogue)
        self._pages = 0  # That were opened so far
        # Of each listed thing that was opened: where it is shown, and its state at that time
        self._shown: dict[int, tuple[str, list[tuple[int, int]]]] = {}
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Listen, and give the address of the page."""
        server = Server()
        async with server.running(port) as url:
            server.mount("", ROUTES, self)
            try:
                yield url
            finally:
                await asyncio.to_thread(self.jobs.close)

    def session(self, number: int) -> ListedSession:
        """A session by its number."""
        found = self.catalogue[number]
        if not isinstance(found, ListedSession):
            raise MissingInputError("this is no session")
        return found

    def inspect(self, number: int) -> dict[str, Any]:
        """What a run of a session would meet, as JSON values."""
        session = self.session(number)
        if session.problem:
            raise UsageError(session.problem)
        return inspect_recordings(session.recordings, session.reading).to_json()

    def run(self, number: int, *, force: bool) -> None:
        """Start a session."""
        session = self.session(number)
        if session.found is not None:
            raise UsageError(f"{session.name}: has no session file; write it first")
        self.jobs.start(number, session.path, force=force)

    def report(self, number: int) -> bytes:
        """The quality report of a result."""
        found = self.catalogue[number]
        if not isinstance(found, ListedResult) or found.report is None:
            raise MissingInputError("there is no report; miostitch report writes one")
        return Path(found.report).read_bytes()

    async def show(self, server: Server, number: int) -> str:
        """Show a result or recordings, on a page of their own; where that is."""
        names, reading = self.catalogue.files(number)
        state = await server.compute(file_state, names)
        async with self._opening:
            place, before = self._shown.get(number, ("", None))
            if state != before:  # a run has replaced it
                self.cache.clear()
                open_it = partial(open_scene, names, self.cache, reading)
                viewer = Viewer(await server.compute(open_it), self.cache)
                viewer.home = HOME
                self._pages += 1
                place = f"view/{self._pages}/"
                viewer.show(server, place)
                self._shown[number] = place, state
        return place


class _Folder(Handler):
    async def get(self, _: str) -> None:
        self.finish(await self.server.compute(self.page.catalogue.look))


class _Inspect(Handler):
    async def get(self, _: str, number: str) -> None:
        self.finish(await self.server.compute(self.page.inspect, int(number)))


class _Describe(Handler):
    async def post(self, _: str, number: str) -> None:
        written = await self.server.compute(self.page.catalogue.write_file, int(number))
        self.finish({"saved": printable(written.path)})


class _Run(Handler):
    async def post(self, _: str, number: str) -> None:
        force = self.read_object().get("force", False)
        if not isinstance(force, bool):
            raise RefusedError(400, "force: must be true or false")
        await self.server.compute(partial(self.page.run, int(number), force=force))
        self.finish(self.page.jobs.describe())


class _Runs(Handler):
    async def get(self, _: str) -> None:
        self.finish(self.page.jobs.describe())


class _Stop(Handler):
    async def post(self, _: str) -> None:
        await self.server.compute(self.page.jobs.stop)
        self.finish(self.page.jobs.describe())


class _Open(Handler):
    async def post(self, _: str, number: str) -> None:
        self.finish({"place": await self.page.show(self.server, int(number))})


class _Report(Handler):
    async def get(self, _: str, number: str) -> None:
        report = await self.server.compute(self.page.report, int(number))
        self.set_header("Content-Security-Policy", REPORT_POLICY)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(report)


ROUTES: Routes = [
    *FILES,
    ("folder", _Folder),
    ("runs", _Runs),
    ("stop", _Stop),
    (f"inspect/{NUMBER}", _Inspect),
    (f"describe/{NUMBER}", _Describe),
    (f"run/{NUMBER}", _Run),
    (f"open/{NUMBER}", _Open),
    (f"report/{NUMBER}", _Report),
    *THRESHOLD_ROUTES,
]
"""What follows the token in a path, and who answers it."""


def is_folder(names: Sequence[StrPath]) -> bool:
    """Whether the start page of a folder is asked for, and no store."""
    return len(names) == 1 and Path(names[0]).is_dir() and not str(names[0]).endswith(STORE)
