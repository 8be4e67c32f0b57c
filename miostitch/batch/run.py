"""Run many sessions: each as on its own, one after the other or several at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from miostitch.batch.outcome import describe_failure
from miostitch.batch.page import require_own_tables, write_tables
from miostitch.batch.processes import INTERRUPTED, SessionProcess
from miostitch.batch.proposal import find_session_files
from miostitch.batch.session import run_session
from miostitch.config.choices import is_session_file
from miostitch.config.session_file import load_session
from miostitch.errors import ConfigError, MissingInputError, UsageError
from miostitch.execution.executors import thread_count
from miostitch.execution.progress import Progress
from miostitch.execution.results import BatchSummary, SessionOutcome

Finished = Callable[[SessionOutcome], None]
"""Called with every session that is over."""


@dataclass(frozen=True)
class BatchOptions:
    """How to run a batch."""

    output: str | None = None  # Folder of its tables; by default the folder of all session files
    jobs: int = 1  # Sessions at a time; above 1 each in a process of its own
    force: bool = False  # Run every session again, and replace what is there


def run_batch(
    paths: Sequence[str],
    options: BatchOptions,
    *,
    progress: Progress | None = None,
    finished: Finished | None = None,
) -> BatchSummary:
    """Run all sessions, and write what became of them; an interrupted one is resumed next time."""
    files = find_sessions(paths)
    _require_own_products(files)
    folder = Path(os.path.abspath(options.output or _common_folder(files)))
    require_own_tables(folder)
    outcomes = {path: describe_failure(path, "not begun", 0, None) for path in files}
    try:
        made = (
            _one_by_one(files, options, progress)
            if options.jobs == 1
            else _side_by_side(files, options)
        )
        for path, outcome in made:
            outcomes[path] = outcome
            if finished is not None:
                finished(outcome)
        if any(outcome.state == "interrupted" for outcome in outcomes.values()):
            raise KeyboardInterrupt
    finally:
        done = [*outcomes.values()]
        outputs = write_tables(done, folder)
    attention = sum(outcome.needs_attention for outcome in done)
    return BatchSummary(done, attention, outputs)


def find_sessions(paths: Sequence[str]) -> list[str]:
    """The session files that are named, or lie in folders that are, each once."""
    found: dict[str, str] = {}
    for path in paths:
        if os.path.isdir(path):
            files = find_session_files(path)
            if not files:
                msg = f"{path}: no session file in it; write some with miostitch init {path}"
                raise MissingInputError(msg)
        elif is_session_file(path):
            files = [path]
            if not os.path.isfile(path):
                raise MissingInputError(f"{path}: no such session file; check the path")
        else:
            raise UsageError(f"{path}: must be a folder or a session file, as session.yml")
        found |= {os.path.realpath(file): os.path.abspath(file) for file in files}
    if not found:
        raise UsageError("no session given; name folders or session files")
    return [*found.values()]


def _require_own_products(files: Sequence[str]) -> None:
    """Refuse sessions whose results would have the same names."""
    known: dict[tuple[str, str], str] = {}
    for path in files:
        with suppress(ConfigError):  # which its run will report
            session = load_session(path)
            before = known.setdefault((session.output, session.name), path)
            if before != path:
                msg = f"{path}: its results are named as those of {before}"
                raise UsageError(f"{msg}; give it another name: or output:")


def _common_folder(files: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(path) for path in files])
    except ValueError:  # on Windows: several drives
        return os.path.dirname(files[0])


def _one_by_one(
    files: Sequence[str], options: BatchOptions, progress: Progress | None
) -> Iterator[tuple[str, SessionOutcome]]:
    """Run sessions here, up to one that is interrupted."""
    for path in files:
        try:
            outcome = run_session(path, force=options.force, progress=progress)
        except KeyboardInterrupt:
            yield path, describe_failure(path, "interrupted", INTERRUPTED, None)
            return
        yield path, outcome


def _side_by_side(
    files: Sequence[str], options: BatchOptions
) -> Iterator[tuple[str, SessionOutcome]]:
    """Run sessions in processes of their own, so many at a time; interrupt all if interrupted."""
    waiting, running = [*files], dict[object, SessionProcess]()
    threads = max(1, thread_count() // options.jobs)
    try:
        while waiting or running:
            try:
                while waiting and len(running) < options.jobs:
                    process = SessionProcess(waiting.pop(0), options.force, threads)
                    running[process.connection] = process
                ready = wait([process.connection for process in running.values()])
            except KeyboardInterrupt:
                waiting.clear()
                for process in running.values():
                    process.interrupt()
                continue
            for each in ready:
                process = running.pop(each)
                yield process.path, process.outcome()
    finally:
        for process in running.values():
            process.interrupt()
        for process in running.values():
            process.join()
