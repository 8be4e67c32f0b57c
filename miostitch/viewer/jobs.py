"""The run that the start page began: one at a time, in a process of its own."""

from threading import Lock, Thread
from typing import Any

from miostitch.batch.processes import SessionProcess
from miostitch.errors import OutputLockedError
from miostitch.execution.executors import thread_count
from miostitch.execution.results import SessionOutcome


class Jobs:
    """Runs sessions, and knows what became of each."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._states: dict[int, dict[str, Any]] = {}
        self._running: tuple[int, SessionProcess, Thread] | None = None
        self._closed = False

    def start(self, number: int, path: str, *, force: bool = False) -> None:
        """Run the session of a session file.

        Raises
        ------
        OutputLockedError
            Another one is running.
        """
        with self._lock:
            if self._closed:
                raise OutputLockedError(f"{path}: the viewer is ending; start it again")
            if self._running is not None:
                msg = f"{self._running[1].path}: is running"
                raise OutputLockedError(f"{msg}; wait for its end, or stop it")
            process = SessionProcess(path, force, thread_count(), progress=True)
            self._states[number] = {"state": "running", "done": 0, "total": 0}
            thread = Thread(target=self._follow, args=(number, process), name="miostitch-run")
            self._running = number, process, thread
            thread.start()

    def stop(self) -> None:
        """Ask the run to end; a later one resumes it."""
        with self._lock:
            if self._running is not None:
                number, process, _ = self._running
                self._states[number] = self._states[number] | {"state": "stopping"}
                process.interrupt()

    def describe(self) -> dict[str, Any]:
        """How far each session is, by its number."""
        with self._lock:
            return {str(number): dict(state) for number, state in self._states.items()}

    def close(self) -> None:
        """End the run, and wait for that."""
        with self._lock:
            self._closed = True
            running = self._running
        self.stop()
        if running is not None:
            running[2].join()

    def _follow(self, number: int, process: SessionProcess) -> None:
        """Take what the process reports, up to its outcome."""
        while not isinstance(found := process.receive(), SessionOutcome):
            done, total = found
            with self._lock:
                self._states[number] = self._states[number] | {"done": done, "total": total}
        with self._lock:
            self._states[number] = found.to_json()
            self._running = None
