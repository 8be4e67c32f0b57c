"""Every failure of a command becomes one readable message and its exit code.

The codes 2 to 6 of miostitch's own errors are in :mod:`miostitch.errors`, class by class.
"""

import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import click

from miostitch.cli.console import Console, load_without_collecting
from miostitch.errors import MiostitchError
from miostitch.text import printable

DIFFERENT = 1  # ``verify`` found differences
NOT_CHECKED = 7  # ``verify`` found none, but could not check everything
RESOURCES, INTERNAL, INTERRUPTED = 5, 6, 130
UNREAD = 141  # what a shell reports of a program whose reader went away

Result = TypeVar("Result")


class Group(click.Group):
    """Commands that end with one of these exit codes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what precedes the command."""
        # until a command has parsed its options, or where it cannot, this is how to answer
        ctx.obj = Console(as_json="--json" in args)
        return _answered(ctx, functools.partial(super().parse_args, ctx, args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        load_without_collecting(ctx)
        _catch_sigterm(ctx)
        return _answered(ctx, functools.partial(super().invoke, ctx))


def _answered(ctx: click.Context, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except click.exceptions.Exit:
        raise
    except click.ClickException as error:
        _fail(ctx, error.format_message(), error.exit_code, error.show)
    except MiostitchError as error:
        _fail(ctx, str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):  # Abort: at a question
        _fail(
            ctx, "interrupted; no unfinished file was left; run the same command again", INTERRUPTED
        )
    except BrokenPipeError:
        # so that Python can flush at its end what nobody will read
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ctx.exit(UNREAD)
    except (OSError, MemoryError) as error:
        _fail(ctx, f"not enough disk space, memory or permissions: {_named(error)}", RESOURCES)
    except Exception as error:
        _fail(ctx, f"internal error, please report it: {_named(error)} (-vv shows where)", INTERNAL)


def _fail(
    ctx: click.Context, message: str, code: int, show: Callable[[], None] | None = None
) -> NoReturn:
    console: Console = ctx.find_root().obj
    if console.verbose >= 2:
        click.echo(printable(traceback.format_exc()), err=True)
    if show is None:
        console.tell(message)
    else:
        show()
    if console.as_json:
        with suppress(OSError):  # stdout itself may be what failed
            click.echo(json.dumps({"error": printable(message), "exit_code": code}))
    ctx.exit(code)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _catch_sigterm(ctx: click.Context) -> None:
    """Let SIGTERM end a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        before = signal.signal(signal.SIGTERM, _interrupt)
        ctx.call_on_close(lambda: signal.signal(signal.SIGTERM, before))


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
