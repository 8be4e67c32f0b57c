"""The command line: parse, set up logging and progress, make one library call, print."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import click

from miostitch.errors import MiostitchError, MismatchError, UsageError
from miostitch.text import printable

INTERRUPTED = 130
INTERNAL = 6
LOG_SECONDS = 10.0
"""Time between progress lines where there is no terminal."""

Command = TypeVar("Command", bound=Callable[..., Any])
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Console:
    """How a command talks: text for people, or one JSON object for programs."""

    as_json: bool
    quiet: bool
    verbose: int
    show_progress: bool

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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; see the exit codes in the reference."""
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except MiostitchError as error:
            _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted; nothing stands under a final name", INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if _verbosity(ctx) >= 2:
                raise
            name = type(error).__name__
            _fail(ctx, f"internal error, please report it: {name}: {error} (-vv: where)", INTERNAL)


def talking(command: Command) -> Command:
    """Add the options every command has; the command gets a :class:`Console` instead."""

    def wrapped(
        *args: Any, as_json: bool, quiet: bool, verbose: int, no_progress: bool, **kwargs: Any
    ) -> Any:
        level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
        logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
        return command(*args, console=Console(as_json, quiet, verbose, not no_progress), **kwargs)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--no-progress", is_flag=True, help="Show no progress."),
        click.option("-v", "--verbose", count=True, help="Say more; -vv for tracebacks."),
        click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


inputs = click.argument("inputs", nargs=-1, type=click.Path())
more_inputs = click.option(
    "-i", "--input", "more_inputs", multiple=True, type=click.Path(), help="A recording, as mio."
)
force = click.option(
    "-f", "--force", is_flag=True, help="Replace existing products once the new ones are whole."
)
salvage = click.option(
    "--salvage", is_flag=True, help="Go on with what is sound where table and video disagree."
)
max_frame_pixels = click.option(
    "--max-frame-pixels",
    type=click.IntRange(min=1),
    help="Refuse videos that declare larger frames.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="miostitch")
def main() -> None:
    r"""Turn several receivers' recordings of one miniscope session into one clean recording.

    \b
    Start here:
      miostitch demo                              make, stitch and show a session
      miostitch inspect A.avi B.avi               what a run would meet
      miostitch stitch A.avi B.avi -o stitched    stitch two recordings
    """


@main.command()
@inputs
@more_inputs
@click.option(
    "-o",
    "--output",
    default="stitched",
    show_default=True,
    type=click.Path(),
    help="Folder of the products.",
)
@click.option("--debug-video", is_flag=True, help="Also write the candidates side by side.")
@click.option(
    "--codec",
    type=click.Choice(["rawvideo", "ffv1"]),
    default="rawvideo",
    show_default=True,
    help="Codec of the .avi.",
)
@click.option("--no-avi", is_flag=True, help="Write no .avi; the store holds the video.")
@click.option(
    "--zarr-format",
    type=click.Choice(["2", "3"]),
    default="3",
    show_default=True,
    help="2 for minian and older readers.",
)
@click.option("--chunk-frames", type=click.IntRange(min=1), help="Frames per chunk of the store.")
@max_frame_pixels
@salvage
@force
@talking
def stitch(
    inputs: tuple[str, ...],
    more_inputs: tuple[str, ...],
    output: str,
    console: Console,
    max_frame_pixels: int | None,
    codec: Literal["rawvideo", "ffv1"],
    no_avi: bool,
    zarr_format: str,
    **choices: Any,
) -> None:
    r"""Stitch recordings of one session, one video per receiver.

    The table of each video (x.csv beside x.avi) must be there. A receiver that recorded in several
    files is one argument: A1.avi,A2.avi

    \b
    Examples:
      miostitch stitch left/rec.avi right/rec.avi -o stitched
      miostitch stitch A1.avi,A2.avi B.avi -o stitched --debug-video
    """
    from miostitch.workflow import StitchOptions, stitch_files

    options = StitchOptions(
        codec=None if no_avi else codec, zarr_format=int(zarr_format), **choices
    )
    if max_frame_pixels:
        options = replace(options, max_frame_pixels=max_frame_pixels)
    names = [*inputs, *more_inputs]

    def run(options: StitchOptions) -> dict[str, Any]:
        with console.progress("stitching") as progress:
            return stitch_files(names, output, options, progress=progress)

    try:
        summary = run(options)
    except MismatchError as error:
        if not console.may_ask:
            raise
        click.echo(printable(str(error)), err=True)
        if not click.confirm("Go on with what matches?", err=True):
            raise
        summary = run(replace(options, salvage=True))
    console.result(summary, _stitch_text)


@main.command()
@inputs
@more_inputs
@max_frame_pixels
@salvage
@talking
def inspect(
    inputs: tuple[str, ...],
    more_inputs: tuple[str, ...],
    max_frame_pixels: int | None,
    salvage: bool,
    console: Console,
) -> None:
    r"""Say what a run would meet: sizes, rates, losses, and everything unusual.

    \b
    Example:
      miostitch inspect A.avi B.avi
    """
    from miostitch.inspecting import inspect_recording
    from miostitch.recording import ReadOptions

    names = [*inputs, *more_inputs]
    if not names:
        raise UsageError("no recording given; name at least one video")
    options = ReadOptions(salvage=salvage, need_table=False)
    if max_frame_pixels:
        options = replace(options, max_frame_pixels=max_frame_pixels)
    found = [inspect_recording(name, options) for name in names]
    console.result({"recordings": found}, _inspect_text)


def simulated(command: Command) -> Command:
    """Add the options of a simulated session."""
    probability = click.FloatRange(0, 1)
    for option in (
        click.option("--width", type=click.IntRange(min=1), help="Pixels."),
        click.option("--height", type=click.IntRange(min=1), help="Pixels."),
        click.option("--resets", type=click.IntRange(min=0), help="Reboots of the device."),
        click.option("--lag", type=int, help="Video frame i + lag belongs to table index i."),
        click.option("--bursts", type=probability, help="Share of faults that start a burst."),
        click.option("--header-flips", type=probability, help="Share of flipped headers."),
        click.option("--overrun", type=probability, help="Share of payloads that run over."),
        click.option("--corruption", type=probability, help="Share of buffers with bit errors."),
        click.option("--frame-loss", type=probability, help="Share of frames lost whole."),
        click.option("--buffer-loss", type=probability, help="Share of buffers lost."),
        click.option("--clock-offset", "clock_offset_s", type=float, help="Seconds per receiver."),
        click.option("--seed", type=click.IntRange(min=0), help="Start of all randomness."),
        click.option("--receivers", type=click.IntRange(min=1), help="Receivers that listen."),
        click.option("--frames", type=click.IntRange(min=1), help="Frames the device makes."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("directory", type=click.Path())
@simulated
@force
@talking
def simulate(directory: str, console: Console, force: bool, **choices: Any) -> None:
    r"""Make a session with known truth: receiver1.avi, receiver2.avi, ..., truth.avi.

    The same options give the same bytes, every time and anywhere.

    \b
    Example:
      miostitch simulate session --frames 1000 --receivers 3 --buffer-loss 0.05 --seed 1
    """
    from miostitch.simulation import SimulationConfig
    from miostitch.simulation import simulate as simulate_session

    config = SimulationConfig(**_given(choices))
    with console.progress("simulating") as progress:
        counted = None if progress is None else _counted(progress, config.frames)
        session = simulate_session(directory, config, force=force, progress=counted)
    videos = [os.fspath(path) for path in session.recordings]
    console.result(
        {"videos": videos, "truth": os.fspath(session.truth_video)},
        lambda made: "\n".join([*made["videos"], f"{made['truth']} (what the device sent)"]),
    )


@main.command()
@click.option(
    "-o",
    "--output",
    default="demo",
    show_default=True,
    type=click.Path(),
    help="Folder of the session and the products.",
)
@force
@talking
def demo(output: str, force: bool, console: Console) -> None:
    """Simulate a session of two receivers, stitch it, and say where to look."""
    from miostitch.simulation import SimulationConfig
    from miostitch.simulation import simulate as simulate_session
    from miostitch.workflow import StitchOptions, stitch_files

    session = simulate_session(Path(output, "session"), SimulationConfig(frames=600), force=force)
    options = StitchOptions(debug_video=True, force=force)
    with console.progress("stitching") as progress:
        names = [os.fspath(path) for path in session.recordings]
        summary = stitch_files(names, Path(output, "stitched"), options, progress=progress)
    console.result(summary, lambda made: f"{_stitch_text(made)}\n\n{_demo_text(made)}")


def _given(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if value is not None}


def _counted(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def count(frames: int) -> None:
        nonlocal done
        done += frames
        progress(done, total)

    return count


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(ctx: click.Context, message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    click.echo(printable(f"miostitch: {message}"), err=True)
    ctx.exit(code)


def _verbosity(ctx: click.Context) -> int:
    return sum(arg.count("v") for arg in sys.argv if arg.strip("v") == "-" and len(arg) > 1)


@contextmanager
def _progress_bar(what: str) -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console as Terminal

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
    )
    began = time.monotonic()
    with bars.Progress(*columns, console=Terminal(stderr=True)) as bar:
        task = bar.add_task(what, total=None, rate="")

        def advance(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - began, 1e-3)
            bar.update(task, completed=done, total=total, rate=f"{rate:,.0f} frames/s")

        yield advance


def _progress_lines(what: str) -> Progress:
    began = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG_SECONDS:
            return
        last = now
        rate = done / (now - began)
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
    if lost:
        lines.append(f"{lost} frames were seen by nobody")
    head = ("recording", "frames", "buffers lost", "chosen", "only here")
    rows = [
        tuple(str(r[k]) for k in ("name", "frames", "buffers_lost", "chosen", "sole"))
        for r in summary["recordings"]
    ]
    lines += ["", *_table([head, *rows]), ""]
    return "\n".join([*lines, *summary["outputs"]])


def _inspect_text(found: dict[str, Any]) -> str:
    lines = []
    for recording in found["recordings"]:
        notices, table = recording.pop("notices"), recording.pop("table") or {}
        lines.append(recording.pop("path"))
        lines += [f"  {name.replace('_', ' ')}: {v}" for name, v in (recording | table).items()]
        lines += [f"  note: {notice}" for notice in notices]
    return "\n".join(lines)


def _demo_text(summary: dict[str, Any]) -> str:
    store = summary["outputs"][0]
    debug = next(path for path in summary["outputs"] if path.endswith("_debug.avi"))
    return (
        "Look at it:\n"
        f"  play {debug} (receiver 1, receiver 2, where they differ)\n"
        f"  python -c \"import xarray; print(xarray.open_zarr('{store}'))\""
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
