"""Options that commands share, defined once."""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

import click

from miostitch.console import Command, option
from miostitch.errors import UsageError

codecs = click.Choice(["rawvideo", "ffv1"])
positive: dict[str, Any] = {"type": click.IntRange(min=1), "metavar": "N"}
whole: dict[str, Any] = {"type": click.IntRange(min=0), "metavar": "N"}
share: dict[str, Any] = {"type": click.FloatRange(0, 1), "metavar": "P"}


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
writes_to: dict[str, Any] = {
    "default": "stitched",
    "help": "Folder, or file ending in .avi or .zarr.",
}
denoises_to = option(
    "-o",
    "--output",
    type=click.Path(),
    help="Folder to write to  [default: the config's output_dir, or stitched]",
)
denoises_by = option(
    "-c", "--config", required=True, metavar="ID|PATH", help="Configuration; see config list."
)
force_only = option("--force", is_flag=True, help="Replace products once the new ones are whole.")


def trims(command: Command) -> Command:
    """Add how many frames to leave out at both ends."""
    about = "Frames to leave out at the {}.".format
    add_end = option("-e", "--trim-end", "end", default=0, help=about("end"), **whole)
    add_start = option("-s", "--trim-start", "start", default=0, help=about("start"), **whole)
    return add_start(add_end(command))


def lag(text: str) -> int | Literal["auto"]:
    """Read a lag."""
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: give auto or a number of frames") from None


def brings_together(command: Command) -> Command:
    """Add how frames of several recordings become one."""
    options = (
        option(
            "--by",
            type=click.Choice(["frame", "buffer"]),
            help="Choose frames (default) or compose them.",
        ),
        option(
            "--align",
            type=click.Choice(["auto", "frame-num", "time"]),
            help="Which frames are one (default auto).",
        ),
        option(
            "--max-gap", type=float, metavar="S", help="By time: most between times of one frame."
        ),
        option("--lag", type=lag, metavar="auto|N", help="Video frame i + N is table index i."),
        option("--report/--no-report", default=True, help="The quality report, a page of HTML."),
    )
    return _with(command, options)


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add options, to be shown in this order."""
    for add in reversed(options):
        command = add(command)
    return command


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
    return _with(command, options)


def given(choices: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; the others keep the library's defaults."""
    return {name: value for name, value in choices.items() if value is not None}
