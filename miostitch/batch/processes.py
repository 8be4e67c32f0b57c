"""Run a session in a process of its own, which reports how far it is and can be interrupted."""

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from miostitch.batch.outcome import describe_failure
from miostitch.batch.session import run_session
from miostitch.errors import MiostitchError
from miostitch.execution.executors import at_most
from miostitch.execution.results import SessionOutcome

INTERRUPTED = 130
SIGNALS = signal.SIGINT, signal.SIGTERM
POSIX = os.name == "posix"
SECONDS = 0.2  # between two reports of progress


class SessionProcess:
    """The process of a session; it takes no signal before it can end cleanly.

    Its connection gives the outcome at the end and, where asked for, frames done and frames in all
    before.
    """

    def __init__(self, path: str, force: bool, threads: int, *, progress: bool = False) -> None:
        self.path = path
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        work = (theirs, path, force, threads, progress)
        self._process = context.Process(target=_work, args=work)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS) if POSIX else set()
        try:
            self._process.start()
        finally:
            if POSIX:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def receive(self) -> SessionOutcome | tuple[int, int]:
        """Wait for how far it is, or for its outcome: also that it ended without a word."""
        try:
            found: SessionOutcome | tuple[int, int] = self.connection.recv()
        except (EOFError, OSError):
            self.join()
            code = self._process.exitcode
            why = f"its process ended with code {code}; run it again to resume it"
            return describe_failure(self.path, "failed", MiostitchError.exit_code, why)
        if isinstance(found, SessionOutcome):
            self.join()
        return found

    def outcome(self) -> SessionOutcome:
        """Wait for the outcome."""
        while not isinstance(found := self.receive(), SessionOutcome):
            pass
        return found

    def interrupt(self) -> None:
        """Ask it to end; what it has done so far is kept for a later run."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)

    def join(self) -> None:
        """Wait for its end."""
        self._process.join()


def _work(connection: Connection, path: str, force: bool, threads: int, progress: bool) -> None:
    """Run a session in a process of its own, which Ctrl-C and the batch may both interrupt."""

    def interrupt(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # once is enough: the run is ending cleanly
        raise KeyboardInterrupt

    for each in SIGNALS:
        signal.signal(each, interrupt)
    report = _Reporter(connection).report if progress else None
    try:
        if POSIX:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with at_most(threads):
            outcome = run_session(path, force=force, progress=report)
    except KeyboardInterrupt:
        outcome = describe_failure(path, "interrupted", INTERRUPTED, None)
    with suppress(OSError):  # the batch itself is gone
        connection.send(outcome)
    connection.close()


class _Reporter:
    """Sends how far a run is, a few times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._next = connection, 0.0

    def report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + SECONDS
            with suppress(OSError):  # who asked is gone
                self._connection.send((done, total))
