"""How commands talk: results, progress, logging, failures and their exit codes."""

import atexit
import functools
import gc
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO, TypeVar

import click

from miostitch.errors import MiostitchError, UsageError
from miostitch.execution.progress import Progress
from miostitch.execution.results import Result
from miostitch.text import broken, from_here, printable

# 141: what a shell reports of a program whose reader went away
RESOURCES, INTERNAL, INTERRUPTED, UNREAD = 5, 6, 130, 141
LOG_SECONDS = 10.0
"""Time between progress lines where there is no terminal."""

MESSAGE = re.compile(r"( *)((warning|note|miostitch[.\w]*):|-) ")
"""How lines begin that may be broken; tables, paths and commands may not."""

Answer = TypeVar("Answer")
Command = Callable[..., Any]

option = click.option

logger = logging.getLogger("miostitch")


@dataclass(frozen=True)
class Console:
    """How a command talks: text for people, or one JSON object for programs."""

    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    show_progress: bool = True

    def result(self, value: Any, text: Callable[[Any], str]) -> None:
        """Print what a command found."""
        if self.as_json:
            click.echo(json.dumps(value, indent=1, default=Result.to_json))
        elif not self.quiet:
            _say(text(value), sys.stdout)

    def tell(self, message: str) -> None:
        """Print what went wrong."""
        _say(f"miostitch: {from_here(message)}", sys.stderr)

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return not (self.as_json or self.quiet) and sys.stdin.isatty() and sys.stderr.isatty()

    @contextmanager
    def computing(self, workers: int | None, scheduler: str | None) -> Iterator[None]:
        """Compute by threads, by processes, or on a cluster."""
        if workers and scheduler:
            raise UsageError("--workers and --scheduler exclude each other; give one of them")
        if not (workers or scheduler):
            yield
            return
        try:
            from miostitch.execution.cluster import local_cluster, remote_cluster
        except ImportError as error:
            msg = f"a cluster needs distributed ({error}); pip install miostitch[distributed]"
            raise UsageError(msg) from error
        with remote_cluster(scheduler) if scheduler else local_cluster(workers or 1):
            yield

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress | None]:
        """Show frames done: a bar on a terminal, a line now and then elsewhere."""
        _settle()
        if self.quiet or not self.show_progress:
            yield None
        elif sys.stderr.isatty():
            with _progress_bar(what) as advance:
                yield advance
        else:
            yield _progress_lines(what)


class Group(click.Group):
    """Turns every failure into one readable message and its exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before the command."""
        # until a command has parsed its options, or where it cannot, this is how to answer
        ctx.obj = Console(as_json="--json" in args)
        return _answered(ctx, functools.partial(super().parse_args, ctx, args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; see the exit codes in the reference."""
        gc.disable()  # loading libraries makes a million objects and no garbage
        ctx.call_on_close(gc.enable)
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)  # else Python looks through all of it once more at its end
        _catch_sigterm(ctx)
        return _answered(ctx, functools.partial(super().invoke, ctx))


def talking(command: Command) -> Command:
    """Add the options every command has; the command gets a :class:`Console` instead."""

    @option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else.")
    @option("-q", "--quiet", is_flag=True, help="Print errors only.")
    @option("-v", "--verbose", count=True, help="Say more; -vv: also where errors arose.")
    @option("--no-progress", is_flag=True, help="Show no progress.")
    @functools.wraps(command)
    def wrapped(as_json: bool, quiet: bool, verbose: int, no_progress: bool, **kwargs: Any) -> Any:
        ctx = click.get_current_context()
        console = ctx.find_root().obj = Console(as_json, quiet, verbose, not no_progress)
        _log(ctx, verbose)
        logger.info("%s %s", ctx.command_path, kwargs)
        return command(console=console, **kwargs)

    return wrapped


def _answered(ctx: click.Context, call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except click.exceptions.Exit:
        raise
    except click.ClickException as error:
        _fail(ctx, error.format_message(), error.exit_code, error.show)
    except MiostitchError as error:
        _fail(ctx, str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):  # Abort: at a question
        _fail(ctx, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # so that Python can flush at its end what nobody will read
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ctx.exit(UNREAD)
    except (OSError, MemoryError) as error:
        _fail(ctx, f"disk, memory or permissions do not suffice: {_named(error)}", RESOURCES)
    except Exception as error:
        _fail(ctx, f"internal error, please report it: {_named(error)} (-vv: where)", INTERNAL)


def _fail(
    ctx: click.Context, message: str, code: int, show: Callable[[], None] | None = None
) -> NoReturn:
    console: Console = ctx.find_root().obj
    if console.verbose >= 2:
        click.echo(printable(traceback.format_exc()), err=True)
    show() if show else console.tell(message)
    if console.as_json:
        with suppress(OSError):  # stdout itself may be what failed
            click.echo(json.dumps({"error": printable(message), "exit_code": code}))
    ctx.exit(code)


def _say(text: str, stream: TextIO) -> None:
    """Print what any terminal takes: escaped what it has no letters for, long messages broken."""
    lines = printable(text).encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    click.echo(_fitted(lines, stream), file=stream)


def _fitted(text: str, stream: TextIO) -> str:
    """Break messages between words, where a terminal would break them anywhere."""
    if not stream.isatty():
        return text
    width = os.get_terminal_size(stream.fileno()).columns or 80
    lines = text.split("\n")
    return "\n".join(
        broken(line, width, f"{found[1]}  ") if (found := MESSAGE.match(line)) else line
        for line in lines
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Logs as everything else is said."""

    def format(self, record: logging.LogRecord) -> str:
        return _fitted(from_here(super().format(record)), self.stream)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _settle() -> None:
    """Begin to work: all libraries are loaded, and blocks come and go from here on."""
    from miostitch.execution.memory import keep_freed

    gc.freeze()  # what was loaded stays: collecting garbage need not look at it time and again
    gc.enable()
    keep_freed()


def _catch_sigterm(ctx: click.Context) -> None:
    """Let SIGTERM end a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        before = signal.signal(signal.SIGTERM, _interrupt)
        ctx.call_on_close(lambda: signal.signal(signal.SIGTERM, before))


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _log(ctx: click.Context, verbose: int) -> None:
    """Send what the package logs, and nobody else, to stderr."""
    handler, before = _Handler(), logger.level
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(before))


class _Pace:
    """How fast frames are done, in one pass after the other."""

    def __init__(self) -> None:
        self._last, self._done = time.monotonic(), 0
        self.began = self._last

    def rate(self, done: int, now: float) -> float:
        """Frames per second since this pass began; less done than before is another pass."""
        if done < self._done:
            self.began = self._last
        self._last, self._done = now, done
        return done / max(now - self.began, 1e-3)


@contextmanager
def _progress_bar(what: str) -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console as Terminal

    columns = (*bars.Progress.get_default_columns(), bars.TextColumn("{task.fields[speed]}"))
    pace = _Pace()
    with bars.Progress(*columns, console=Terminal(stderr=True)) as bar:
        task = bar.add_task(what, total=None, speed="")

        def advance(done: int, total: int) -> None:
            rate = pace.rate(done, time.monotonic())
            speed = f"{done} of {total}, {rate:,.0f} frames/s"
            bar.update(task, completed=done, total=total, speed=speed)

        try:
            yield advance
        except BaseException:
            bar.live.transient = not bar.tasks[task].completed  # nothing done: nothing to show
            raise


def _progress_lines(what: str) -> Progress:
    pace, lock = _Pace(), threading.Lock()
    last = pace.began

    def advance(done: int, total: int) -> None:
        nonlocal last
        with lock:
            now = time.monotonic()
            rate = max(pace.rate(done, now), 1e-3)
            if now - last < LOG_SECONDS:
                return
            last = now
        left = (total - done) / rate
        click.echo(
            f"{what}: {done} of {total} frames, {rate:,.0f} frames/s, {left:,.0f} s left", err=True
        )

    return advance
