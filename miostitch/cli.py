"""The command line: parse, set up logging and progress, make one library call, print."""

import functools
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from miostitch.errors import MiostitchError, MismatchError, UsageError
from miostitch.text import printable

if TYPE_CHECKING:
    from miostitch.simulation import Simulation, SimulationConfig
    from miostitch.workflow import StitchOptions

# 141: what a shell reports of a program whose reader went away
RESOURCES, INTERNAL, INTERRUPTED, UNREAD = 5, 6, 130, 141
LOG_SECONDS = 10.0
"""Time between progress lines where there is no terminal."""

Result = TypeVar("Result")
Command = Callable[..., Any]
Progress = Callable[[int, int], None]

option = click.option
codecs = click.Choice(["rawvideo", "ffv1"])
positive: dict[str, Any] = {"type": click.IntRange(min=1), "metavar": "N"}
whole: dict[str, Any] = {"type": click.IntRange(min=0), "metavar": "N"}
share: dict[str, Any] = {"type": click.FloatRange(0, 1), "metavar": "P"}

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
            click.echo(json.dumps(value, indent=1))
        elif not self.quiet:
            click.echo(printable(text(value)))

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return not (self.as_json or self.quiet) and sys.stdin.isatty() and sys.stderr.isatty()

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress | None]:
        """Show frames done: a bar on a terminal, a line now and then elsewhere."""
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


def takes_recordings(command: Command) -> Command:
    """Add the ways to name recordings; the command gets their names."""

    @click.argument("inputs", nargs=-1, type=click.Path(), metavar="VIDEO...")
    @option("-i", "--input", "more", multiple=True, metavar="VIDEO", help="As in mio; repeatable.")
    @functools.wraps(command)
    def wrapped(*, inputs: tuple[str, ...], more: tuple[str, ...], **kwargs: Any) -> Any:
        if not inputs + more:
            raise UsageError("no recording given; name at least one video")
        return command(names=[*inputs, *more], **kwargs)

    return wrapped


output_in = functools.partial(
    option, "-o", "--output", type=click.Path(), show_default=True, help="Folder to write to."
)
force = option("-f", "--force", is_flag=True, help="Replace products once the new ones are whole.")
no_products = option(
    "-f", "--force", is_flag=True, expose_value=False, help="Nothing is ever replaced here."
)
salvage = option("--salvage", is_flag=True, help="Go on with what matches of table and video.")
max_frame_pixels = option("--max-frame-pixels", help="Refuse videos of larger frames.", **positive)


def _lag(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: give auto or a number of frames") from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="miostitch")
def main() -> None:
    """Turn several receivers' recordings of one miniscope session into one clean recording.

    \b
    Start here:
      miostitch demo                              make, stitch and show a session
      miostitch inspect A.avi B.avi               what a run would meet
      miostitch stitch A.avi B.avi -o stitched    stitch two recordings
    """


@main.command()
@takes_recordings
@output_in(default="stitched")
@option(
    "--by", type=click.Choice(["frame", "buffer"]), help="Choose frames (default) or compose them."
)
@option(
    "--align",
    type=click.Choice(["auto", "frame-num", "time"]),
    help="Which frames are one (default auto).",
)
@option("--max-gap", type=float, metavar="S", help="By time: most between times of one frame.")
@option("--lag", type=_lag, metavar="auto|N", help="Video frame i + N is table index i.")
@option("--drop-damaged", is_flag=True, help="Leave damaged frames out, and list them.")
@option("--unrecoverable-video", is_flag=True, help="Also write what nobody received whole.")
@option("--keep-clocks", is_flag=True, help="Leave times on each receiver's own clock.")
@option("--debug-video", is_flag=True, help="Also write the candidates side by side.")
@option("--codec", type=codecs, default="rawvideo", show_default=True, help="Of the .avi.")
@option("--no-avi", is_flag=True, help="Write no .avi; the store holds the video.")
@option("--zarr-format", type=click.Choice([2, 3]), default=3, help="3; 2 for older readers.")
@option("--chunk-frames", help="Frames per chunk of the store.", **positive)
@option("--repair/--no-repair", default=True, help="Flipped headers, where there is no doubt.")
@max_frame_pixels
@salvage
@force
@talking
def stitch(
    names: list[str],
    output: str,
    console: Console,
    codec: Literal["rawvideo", "ffv1"],
    no_avi: bool,
    **choices: Any,
) -> None:
    """Stitch recordings of one session, one video per receiver.

    The table of each video (x.csv beside x.avi) must be there. A receiver that recorded in several
    files is one argument: A1.avi,A2.avi

    \b
    Examples:
      miostitch stitch left/rec.avi right/rec.avi -o stitched
      miostitch stitch A1.avi,A2.avi B.avi -o stitched --debug-video
      miostitch stitch A.avi B.avi --by buffer      each frame from all receivers
    """
    from miostitch.workflow import StitchOptions

    options = StitchOptions(codec=None if no_avi else codec, **_given(choices))
    console.result(_stitch(names, output, options, console), _stitch_text)


@main.command()
@takes_recordings
@max_frame_pixels
@salvage
@no_products
@talking
def inspect(names: list[str], console: Console, **choices: Any) -> None:
    """Say what a run would meet, without running it.

    \b
    Example:
      miostitch inspect A.avi B.avi
    """
    from miostitch.inspecting import inspect_recordings
    from miostitch.opening import ReadOptions

    options = ReadOptions(need_table=False, **_given(choices))
    console.result(inspect_recordings(names, options), _inspect_text)


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r}: give a number or a ratio, 30000/1001") from None


def simulated(command: Command) -> Command:
    """Add the options of a simulated session."""
    options = (
        option("--frames", help="Frames the device makes.", **positive),
        option("--receivers", help="Receivers that listen.", **positive),
        option("--seed", help="Start of all randomness.", **whole),
        option("--width", help="Pixels.", **positive),
        option("--height", help="Pixels.", **positive),
        option("--fps", type=_rate, metavar="RATE", help="Frames per second: 20, 30000/1001."),
        option("--buffer-loss", help="Share of buffers lost.", **share),
        option("--frame-loss", help="Share of frames lost whole.", **share),
        option("--corruption", help="Share of buffers with bit errors.", **share),
        option("--truncation", help="Share of buffers that break off.", **share),
        option("--overrun", help="Share that run into the one before.", **share),
        option("--header-flips", help="Share of headers with flipped bits.", **share),
        option("--bursts", help="Share of faults that start a burst.", **share),
        option("--late-start", "late_start_frames", help="Frames, per receiver.", **whole),
        option("--early-end", "early_end_frames", help="Frames, per receiver.", **whole),
        option("--reset", "--resets", "resets", help="Reboots of the device.", **whole),
        option("--lag", type=int, metavar="N", help="Video frame i + N is table index i."),
        option("--extra-frame/--no-extra-frame", default=True, help="Table has one frame more."),
        option("--clock-offset", "clock_offset_s", type=float, help="Seconds per receiver."),
        option("--clock-drift", "clock_drift_ppm", type=float, help="Millionths per receiver."),
    )
    for add in reversed(options):
        command = add(command)
    return command


@main.command()
@click.argument("directory", type=click.Path())
@simulated
@force
@talking
def simulate(directory: str, console: Console, force: bool, **choices: Any) -> None:
    """Make a session whose truth is known.

    Writes receiver1.avi, receiver2.avi, ... and truth.avi, each with its table. The same options
    give the same bytes, every time and anywhere.

    \b
    Example:
      miostitch simulate session --frames 1000 --buffer-loss 0.05 --seed 1
    """
    from miostitch.simulation import SimulationConfig

    config = SimulationConfig(**_given(choices))
    made = _simulate(Path(directory), config, force, console)
    videos = [os.fspath(path) for path in made.recordings]
    console.result({"videos": videos, "truth": os.fspath(made.truth_video)}, _simulate_text)


@main.command()
@output_in(default="demo")
@force
@talking
def demo(output: str, force: bool, console: Console) -> None:
    """Simulate a session, stitch it, say where to look.

    \b
    Example:
      miostitch demo -o demo
    """
    console.result(_make_demo(Path(output), force, console), _demo_text)


@main.group(context_settings=main.context_settings)
def config() -> None:
    """The configurations of denoise and workflow.

    \b
    Example:
      miostitch config show denoise_example
    """


@config.command("list")
@no_products
@talking
def list_configs(console: Console) -> None:
    """List the shipped configurations.

    \b
    Example:
      miostitch config list
    """
    from miostitch.config_files import shipped_configs

    found = [{"id": i, "description": c.description} for i, c in shipped_configs().items()]
    console.result({"configs": found}, _configs_text)


@config.command("show")
@click.argument("name", metavar="ID|PATH")
@no_products
@talking
def show_config(name: str, console: Console) -> None:
    """Show a configuration, what every setting means and may be.

    What it prints is a configuration again, to be kept and changed.

    \b
    Examples:
      miostitch config show denoise_example
      miostitch config show mine.yml --json
    """
    from miostitch.config import described
    from miostitch.config_files import config_text, load_config

    chosen = load_config(name)
    console.result(described(chosen), lambda _: config_text(chosen))


def _stitch(names: list[str], output: str, options: "StitchOptions", console: Console) -> Any:
    """Stitch; where table and video disagree and somebody is there, ask once whether to go on."""
    from miostitch.workflow import stitch_files

    try:
        with console.progress("stitching") as progress:
            return stitch_files(names, output, options, progress=progress)
    except MismatchError as error:
        if options.salvage or not console.may_ask:
            raise
        click.echo(printable(str(error)), err=True)
        if not click.confirm("Go on with what matches?", err=True):
            raise
    return _stitch(names, output, replace(options, salvage=True), console)


def _simulate(
    folder: Path, config: "SimulationConfig", force: bool, console: Console
) -> "Simulation":
    from miostitch.simulation import simulate

    with console.progress("simulating") as progress:
        counted = _counted(progress, config.frames)
        return simulate(folder, config, force=force, progress=counted)


def _make_demo(folder: Path, force: bool, console: Console) -> Any:
    from miostitch.simulation import SimulationConfig
    from miostitch.workflow import StitchOptions

    made = _simulate(folder / "session", SimulationConfig(frames=600), force, console)
    names = [os.fspath(path) for path in made.recordings]
    options = StitchOptions(debug_video=True, force=force)
    return _stitch(names, os.fspath(folder / "stitched"), options, console)


def _given(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if value is not None}


def _counted(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Turn frames since the last call, from any thread, into frames done of all."""
    if progress is None:
        return None
    done, lock = 0, threading.Lock()

    def count(frames: int) -> None:
        nonlocal done
        with lock:
            done += frames
            progress(done, total)

    return count


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
    show() if show else click.echo(printable(f"miostitch: {message}"), err=True)
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


def _log(ctx: click.Context, verbose: int) -> None:
    """Send what the package logs, and nobody else, to stderr."""
    handler, before = logging.StreamHandler(), logger.level
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(before))


@contextmanager
def _progress_bar(what: str) -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console as Terminal

    columns = (*bars.Progress.get_default_columns(), bars.TextColumn("{task.fields[speed]}"))
    began = time.monotonic()
    with bars.Progress(*columns, console=Terminal(stderr=True)) as bar:
        task = bar.add_task(what, total=None, speed="")

        def advance(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-3)
            speed = f"{done} of {total} frames, {rate:,.0f} frames/s"
            bar.update(task, completed=done, total=total, speed=speed)

        yield advance


def _progress_lines(what: str) -> Progress:
    began = last = time.monotonic()
    lock = threading.Lock()

    def advance(done: int, total: int) -> None:
        nonlocal last
        with lock:
            now = time.monotonic()
            if now - last < LOG_SECONDS:
                return
            last = now
        rate = max(done, 1) / (now - began)
        left = (total - done) / rate
        click.echo(
            f"{what}: {done} of {total} frames, {rate:,.0f} frames/s, {left:,.0f} s left", err=True
        )

    return advance


def _stitch_text(summary: dict[str, Any]) -> str:
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    first, last = summary["frame_num"]
    lines.append(
        f"{summary['frames']} frames (frame_num {first} to {last}): {summary['damaged']} damaged, "
        f"{summary['unrecoverable']} with pixels that nobody received"
    )
    lost = sum(stop - start + 1 for start, stop in summary["lost_frame_num"])
    counts = (
        (summary["composed"], "frames were composed of several recordings"),
        (len(summary["dropped_frame_num"]), "damaged frames were left out"),
        (lost, "frames were seen by nobody"),
    )
    lines += [f"{count} {what}" for count, what in counts if count]
    if shared := summary["shared_buffers"]:
        same = summary["identical_shared_buffers"]
        lines.append(
            f"{same} of {shared} shared buffers are bit-identical ({100 * same / shared:.2f} %)"
        )
    head = {
        "recording": "name",
        "frames": "frames",
        "buffers lost": "buffers_lost",
        "noise %": "noise_share",
        "chosen": "chosen",
        "sole": "sole",
        "sole buffers": "sole_buffers",
        "clock s": "offset_s",
    }
    shown = {title: key for title, key in head.items() if key in summary["recordings"][0]}
    rows = [tuple(_cell(r[key], key) for key in shown.values()) for r in summary["recordings"]]
    lines += ["", *_table([tuple(shown), *rows]), ""]
    return "\n".join([*lines, *summary["outputs"]])


def _cell(value: Any, key: str) -> str:
    match key:
        case "noise_share":
            return f"{100 * value:.2f}"
        case "offset_s":
            return "?" if value is None else f"{value:+.3f}"
    return str(value)


def _inspect_text(found: dict[str, Any]) -> str:
    lines = []
    for recording in found["recordings"]:
        facts = recording | (recording["table"] or {})
        lines += [recording["path"], *_facts(facts), *_notes(recording["notices"])]
    session = found["session"] or {}
    if "error" in session:
        lines += ["together", *_notes([session["error"]])]
    elif session:
        rows = [[_shown(value) for value in each.values()] for each in session["recordings"]]
        head = [name.replace("_", " ") for name in session["recordings"][0]]
        lines += ["together", *_facts(session), *_notes(session["notices"]), ""]
        lines += _table([tuple(row) for row in (head, *rows)])
    return "\n".join(lines)


def _configs_text(found: dict[str, Any]) -> str:
    wide = max(len(each["id"]) for each in found["configs"])
    return "\n".join(f"{each['id']:{wide}}  {each['description']}" for each in found["configs"])


def _facts(facts: dict[str, Any]) -> list[str]:
    apart = ("path", "table", "notices", "recordings")
    return [f"  {k.replace('_', ' ')}: {_shown(v)}" for k, v in facts.items() if k not in apart]


def _notes(notices: list[str]) -> list[str]:
    return [f"  note: {notice}" for notice in notices]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {each}" for name, each in value.items())
    return "unknown" if value is None else str(value)


def _simulate_text(made: dict[str, Any]) -> str:
    return "\n".join([*made["videos"], f"{made['truth']} (what the device sent)"])


def _demo_text(summary: dict[str, Any]) -> str:
    store = summary["outputs"][0]
    debug = next(path for path in summary["outputs"] if path.endswith("_debug.avi"))
    return (
        f"{_stitch_text(summary)}\n\nLook at it:\n"
        f"  play {debug} (receiver 1, receiver 2, where they differ)\n"
        f"  python -c \"import xarray; print(xarray.open_zarr('{store}'))\""
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        row[0].ljust(first)
        + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], others, strict=True))
        for row in rows
    ]
