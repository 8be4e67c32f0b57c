"""Run many sessions: each as on its own, one after the other or several at a time."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from miostitch.batch.outcome import describe_failure, describe_results
from miostitch.batch.page import require_own_tables, write_tables
from miostitch.batch.proposal import find_session_files
from miostitch.config.choices import is_session_file, thresholds
from miostitch.config.files import load_config
from miostitch.config.session_file import SessionFile, load_session
from miostitch.errors import ConfigError, MiostitchError, MissingInputError, UsageError
from miostitch.execution.executors import at_most, thread_count
from miostitch.execution.progress import Progress
from miostitch.execution.results import BatchSummary, SessionOutcome
from miostitch.recording.files import recordings_of
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import run_stitch
from miostitch.workflow import find_denoised, find_stitched, workflow_files

INTERRUPTED = 130
SIGNALS = signal.SIGINT, signal.SIGTERM
POSIX = os.name == "posix"
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
    waiting, running = [*files], dict[Connection, tuple[str, SpawnProcess]]()
    try:
        while waiting or running:
            try:
                while waiting and len(running) < options.jobs:
                    path = waiting.pop(0)
                    connection, process = _start(path, options)
                    running[connection] = path, process
                ready = [*wait([*running])]
            except KeyboardInterrupt:
                waiting.clear()
                _interrupt(process for _, process in running.values())
                continue
            for each in ready:
                assert isinstance(each, Connection)
                path, process = running.pop(each)
                yield path, _received(path, each, process)
    finally:
        _interrupt(process for _, process in running.values())
        for _, process in running.values():
            process.join()


def _start(path: str, options: BatchOptions) -> tuple[Connection, SpawnProcess]:
    """Start a session in a process, which takes no signal before it can end cleanly."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    threads = max(1, thread_count() // options.jobs)
    process = context.Process(target=_work, args=(theirs, path, options.force, threads))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS) if POSIX else set()
    try:
        process.start()
    finally:
        if POSIX:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


def _interrupt(processes: Iterable[SpawnProcess]) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGINT)


def _received(path: str, ready: Connection, process: SpawnProcess) -> SessionOutcome:
    """What a process says of its session, or that it ended without a word."""
    try:
        outcome: SessionOutcome = ready.recv()
    except EOFError:
        process.join()
        why = f"its process ended with code {process.exitcode}; run the batch again to resume it"
        return describe_failure(path, "failed", MiostitchError.exit_code, why)
    process.join()
    return outcome


def _work(connection: Connection, path: str, force: bool, threads: int) -> None:
    """Run a session in a process of its own, which Ctrl-C and the batch may both interrupt."""

    def interrupt(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # once is enough: the run is ending cleanly
        raise KeyboardInterrupt

    for each in SIGNALS:
        signal.signal(each, interrupt)
    try:
        if POSIX:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with at_most(threads):
            outcome = run_session(path, force=force)
    except KeyboardInterrupt:
        outcome = describe_failure(path, "interrupted", INTERRUPTED, None)
    with suppress(OSError):  # the batch itself is gone
        connection.send(outcome)
    connection.close()


def run_session(
    path: str, *, force: bool = False, progress: Progress | None = None
) -> SessionOutcome:
    """Run a session unless it is finished and unchanged; a failure is an outcome, too."""
    try:
        session = load_session(path)
        unchanged = not force and _find_finished(session)
        if not unchanged:
            _run(session, force=force, progress=progress)
        return describe_results(session, "unchanged" if unchanged else "done")
    except MiostitchError as error:
        return describe_failure(path, "failed", error.exit_code, str(error))
    except (OSError, MemoryError) as error:
        what = f"not enough disk space, memory or permissions: {error}"
        return describe_failure(path, "failed", 5, what)
    except Exception as error:  # the next session is none the worse
        what = f"internal error, please report it: {type(error).__name__}: {error}"
        return describe_failure(path, "failed", MiostitchError.exit_code, what)


def stitch_options(session: SessionFile, *, force: bool = False) -> StitchOptions:
    """How a session is stitched."""
    choices = session.choices
    known = {field.name for field in fields(StitchOptions)}
    given = {name: value for name, value in choices.items() if name in known}
    if choices.get("no_avi"):
        given["codec"] = None
    if session.options.denoise is not None:
        given["score"] = thresholds(session.options.denoise)
    return replace(StitchOptions(**given), name=session.name, session=session.facts, force=force)


def _trim(session: SessionFile) -> tuple[int, int]:
    return session.options.trim.start, session.options.trim.end


def _run(session: SessionFile, *, force: bool, progress: Progress | None) -> None:
    options, recordings = stitch_options(session, force=force), recordings_of(session)
    if session.options.denoise is None:
        run_stitch(recordings, session.output, options, progress=progress)
        return
    config = load_config(session.options.denoise)
    workflow_files(recordings, config, session.output, _trim(session), options, progress=progress)


def _find_finished(session: SessionFile) -> bool:
    """Whether all results of a session are there, of the same files and options."""
    options, recordings = stitch_options(session), recordings_of(session)
    stem = Path(session.output, session.name)
    alone = len(recordings) == 1 and session.options.denoise is not None
    if not alone and find_stitched(recordings, stem, options) is None:
        return False
    if session.options.denoise is None:
        return True
    config = load_config(session.options.denoise)
    recording = recordings[0] if alone else None
    return find_denoised(recording, stem, config, _trim(session), options) is not None
