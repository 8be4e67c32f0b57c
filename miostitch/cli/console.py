"""How commands talk: results as text or JSON, progress, and what is logged."""

import atexit
import functools
import gc
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TextIO

import click

from miostitch.errors import Severity
from miostitch.execution.progress import Progress
from miostitch.execution.results import Result
from miostitch.text import from_here, printable

LOG_SECONDS = 10.0  # between progress lines where there is no terminal
MESSAGE = re.compile(r"( *)((error|warning|note|debug):|-) ")
"""How lines begin that may be broken; tables, paths and commands may not."""

Command = Callable[..., Any]
ShowProgress = Callable[[int, int, float], None]
"""Takes frames done, frames in all, and frames per second."""

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
            lines = text(value).split("\n")
            _say("\n".join(line for line in lines if line not in _Handler.said), sys.stdout)

    def tell(self, message: str) -> None:
        """Print what went wrong."""
        _say(f"error: {from_here(message)}", sys.stderr)

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return not (self.as_json or self.quiet) and sys.stdin.isatty() and sys.stderr.isatty()

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress | None]:
        """Work, and show frames done: a bar on a terminal, a line now and then elsewhere."""
        collect_garbage()
        if self.quiet or not self.show_progress:
            yield None
        elif sys.stderr.isatty():
            with _progress_bar(what) as show:
                yield _paced(show)
        else:
            yield _paced(_progress_lines(what))


def talking(command: Command) -> Command:
    """Add the options every command has; the command gets a :class:`Console` instead."""

    @click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print the result as one JSON object (default: as text).",
    )
    @click.option(
        "-q",
        "--quiet",
        is_flag=True,
        help="Print only errors, and what puts the result in doubt (default: no).",
    )
    @click.option(
        "-v", "--verbose", count=True, help="Print notes, too; -vv: also tracebacks (default: no)."
    )
    @click.option("--no-progress", is_flag=True, help="Show no progress (default: show it).")
    @functools.wraps(command)
    def wrapped(as_json: bool, quiet: bool, verbose: int, no_progress: bool, **kwargs: Any) -> Any:
        ctx = click.get_current_context()
        console = ctx.find_root().obj = Console(as_json, quiet, verbose, not no_progress)
        _log(ctx, quiet=quiet, verbose=verbose)
        logger.debug("%s %s", ctx.command_path, kwargs)
        return command(console=console, **kwargs)

    return wrapped


def load_without_collecting(ctx: click.Context) -> None:
    """Let a command load its libraries; when they are loaded it calls :func:`collect_garbage`.

    Loading makes a million objects and no garbage: to look for some takes a tenth of a second.
    """
    gc.disable()
    ctx.call_on_close(gc.enable)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # else Python looks through all of it once more at its end


def collect_garbage() -> None:
    """Begin to work: all libraries are loaded, and blocks come and go from here on."""
    from miostitch.execution.memory import keep_freed

    gc.freeze()  # what was loaded stays: collecting garbage need not look at it time and again
    gc.enable()
    keep_freed()


def break_line(line: str, width: int, indent: str) -> str:
    """Break a line between words; what follows is indented.

    Not done by rich, which also breaks what is longer than a line, such as paths.

    >>> print(break_line("note: two lines are enough", 16, "  "))
    note: two lines
      are enough
    """
    from rich.cells import cell_len

    lines = [""]
    for word in re.findall(r" *[^ ]+", line):
        if lines[-1] and cell_len(lines[-1] + word) > width:
            lines.append(indent + word.lstrip())
        else:
            lines[-1] += word
    return "\n".join(lines)


def _say(text: str, stream: TextIO) -> None:
    """Print what any terminal takes: escaped what it has no letters for, long messages broken."""
    lines = printable(text).encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    click.echo(_fitted(lines, stream), file=stream)


def _fitted(text: str, stream: TextIO) -> str:
    """Break messages between words, where a terminal would break them anywhere."""
    if not stream.isatty():
        return text
    width = os.get_terminal_size(stream.fileno()).columns or 80
    return "\n".join(
        break_line(line, width, f"{found[1]}  ") if (found := MESSAGE.match(line)) else line
        for line in text.split("\n")
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Prints what is logged as everything else, each line once."""

    labels: ClassVar = {logging.INFO: "note", logging.DEBUG: "debug"}
    said: ClassVar[set[str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = from_here(getattr(record, "text", record.getMessage()))
        line = f"{self.labels.get(record.levelno, 'warning')}: {text}"
        if line not in self.said:
            covered = (f"warning: {from_here(text)}" for text in getattr(record, "covers", ()))
            self.said.update([line, *covered])
            click.echo(_fitted(line, self.stream), file=self.stream)


def _log(ctx: click.Context, *, quiet: bool, verbose: int) -> None:
    """Send what the package logs, and nobody else, to stderr; of that, what is wanted."""
    handler, before = _Handler(), logger.level
    handler.said.clear()
    logger.addHandler(handler)
    shown = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logger.setLevel(Severity.DOUBT if quiet else shown)
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(before))


def _paced(show: ShowProgress) -> Progress:
    """Measure how fast frames are done, in one pass after the other."""
    lock = threading.Lock()
    last = began = time.monotonic()
    done_before = 0

    def advance(done: int, total: int) -> None:
        nonlocal last, began, done_before
        with lock:
            now = time.monotonic()
            if done < done_before:  # another pass
                began = last
            last, done_before = now, done
            show(done, total, done / max(now - began, 1e-3))

    return advance


@contextmanager
def _progress_bar(what: str) -> Iterator[ShowProgress]:
    from rich import progress as bars
    from rich.console import Console as Terminal

    columns = (*bars.Progress.get_default_columns(), bars.TextColumn("{task.fields[speed]}"))
    bar = bars.Progress(*columns, console=Terminal(stderr=True))
    task = bar.add_task(what, total=None, speed="")

    def show(done: int, total: int, rate: float) -> None:
        bar.start()  # now, and not before what is found of the recordings has been said
        speed = f"{done:,} of {total:,}, {rate:,.0f} frames/s"
        bar.update(task, completed=done, total=total, speed=speed)

    try:
        yield show
    finally:
        bar.stop()


def _progress_lines(what: str) -> ShowProgress:
    last = time.monotonic()

    def show(done: int, total: int, rate: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last < LOG_SECONDS:
            return
        last = now
        left = (total - done) / max(rate, 1e-3)
        click.echo(
            f"{what}: {done} of {total} frames, {rate:,.0f} frames/s, {left:,.0f} s left", err=True
        )

    return show
