"""Options that commands share, defined once."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import option
from click.shell_completion import CompletionItem

from miostitch.cli import session
from miostitch.cli.console import Command
from miostitch.config import choices
from miostitch.config.choices import is_session_file
from miostitch.errors import UsageError

if TYPE_CHECKING:
    from miostitch.config.thresholds import ScoreConfig
    from miostitch.recording.files import ReadOptions


MOST = 2**40
"""More than anything that is counted."""

MOST_WORKERS = 1024


class WholeNumber(click.IntRange):
    """An integer that errors call by its name."""

    name = "whole number"

    def __init__(self, least: int = -MOST, most: int = MOST) -> None:
        super().__init__(least, most)


def _read(parse: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    """Make the type of an option whose values ``parse`` reads."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, ZeroDivisionError):
            raise click.BadParameter(f"{text!r}: {wanted}") from None

    return read


def _read_size(text: str) -> int:
    from miostitch.execution.memory import parse_bytes

    return parse_bytes(text)


def _read_lag(text: str) -> int:
    if abs(lag := int(text)) > MOST:
        raise ValueError(text)
    return lag


def _read_numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add several options, to be shown in this order."""

    def add(command: Command) -> Command:
        for each in reversed(options):
            command = each(command)
        return command

    return add


codecs = click.Choice(["rawvideo", "ffv1"])
ways = click.Choice(["frame", "buffer"])
alignments = click.Choice(["auto", "frame-num", "time"])
lags = _read(
    lambda text: text if text == "auto" else _read_lag(text), "give auto or a number of frames"
)
rates = _read(Fraction, "give a number or a ratio, 30000/1001")
times = _read(datetime.fromisoformat, "give a time like 2026-01-31T09:30:00+01:00")
positive: dict[str, Any] = {"type": WholeNumber(1), "metavar": "N"}
whole: dict[str, Any] = {"type": WholeNumber(0), "metavar": "N"}
share: dict[str, Any] = {"type": click.FloatRange(0, 1), "metavar": "P"}


def config_ids(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the id of a configuration, else a file; the first line of each tells its id."""
    shipped = (Path(__file__).parents[1] / "config" / "shipped").glob("*.yml")
    ids = sorted(path.read_text().splitlines()[0].removeprefix("id: ") for path in shipped)
    found = [CompletionItem(name) for name in ids if name.startswith(begun)]
    return [CompletionItem(begun, type="file"), *found]


recordings_too = functools.partial(
    option, "-i", "--input", multiple=True, type=click.Path(), metavar="VIDEO"
)


def takes_videos(command: Command) -> Command:
    """Add the ways to name recordings; the command gets their names."""

    def read(names: list[str], kwargs: dict[str, Any]) -> dict[str, Any]:
        for name in filter(is_session_file, names):
            msg = "is a session file; name the result that this command is to read"
            raise UsageError(f"{name}: {msg}")
        return {"names": names, **kwargs}

    return _takes(command, "VIDEO...", read)


def takes_recordings(command: Command) -> Command:
    """Add the ways to name recordings, or the session file that names them and sets options."""
    return _takes(command, "VIDEO...|SESSION.yml", session.read_names)


def takes_anything(command: Command) -> Command:
    """The same; of a session that has a result, the command gets that; or the present folder."""
    metavar = "[VIDEO...|SESSION.yml|FOLDER]"
    return _takes(command, metavar, session.read_names_or_result, default=".")


def _takes(
    command: Command,
    metavar: str,
    read: Callable[[list[str], dict[str, Any]], dict[str, Any]],
    default: str | None = None,
) -> Command:
    @click.argument("inputs", nargs=-1, type=click.Path(), metavar=metavar)
    @recordings_too("more", help="A recording, as with mio; may be repeated (default: none).")
    @functools.wraps(command)
    def wrapped(*, inputs: tuple[str, ...], more: tuple[str, ...], **kwargs: Any) -> Any:
        names = [*inputs, *more] or ([] if default is None else [default])
        if not names:
            raise UsageError("no recording given; name at least one video")
        return command(**read(names, kwargs))

    return wrapped


output_in = functools.partial(
    option, "-o", "--output", type=click.Path(), show_default=True, help="Folder to write to."
)
denoises_to = output_in(
    show_default=False, help="Folder to write to  [default: the config's output_dir, or stitched]"
)
named_config = functools.partial(
    option, "-c", "--config", metavar="ID|PATH", shell_complete=config_ids
)
denoises_by = named_config(required=True, help="Configuration: an id of config list, or a file.")
works_by = named_config(
    help="Configuration: an id of config list, or a file (default: denoise of the session file)."
)
scores_by = named_config(help="Configuration with the noise thresholds (default: those of mio).")
replacing = functools.partial(
    option,
    is_flag=True,
    help="Overwrite existing results, once the new ones are complete (default: no).",
)
force = replacing("-f", "--force")
force_only = replacing("--force")
salvage = option(
    "--salvage",
    is_flag=True,
    help="Use what is certain of damaged files, and where video and table differ (default: no).",
)
strict = option(
    "--strict", is_flag=True, help="Stop with exit code 3 if the result is in doubt (default: no)."
)
lagging = option(
    "--lag",
    type=lags,
    metavar="auto|N",
    help="Frames by which each video is behind its table; auto measures it (default: auto).",
)
reads = together(
    option(
        "--max-frame-pixels",
        help="Refuse videos with larger frames (default: 268435456).",
        **positive,
    ),
    salvage,
)
restart = option(
    "--restart",
    is_flag=True,
    help="Start from scratch instead of resuming an interrupted run (default: no).",
)
crate = option(
    "--crate",
    is_flag=True,
    help="Describe the results of the folder in ro-crate-metadata.json (default: no).",
)
edits = together(lagging, reads, strict, restart, crate)
stitches = together(
    reads,
    strict,
    restart,
    crate,
    option(
        "--memory-limit",
        type=_read_size,
        metavar="SIZE",
        help="Memory to use at most, as 2GB; fewer threads then run (default: no limit).",
    ),
    force,
)
trims = together(
    option(
        "-s",
        "--trim-start",
        "start",
        default=0,
        help="Frames to remove from the start (default: 0).",
        **whole,
    ),
    option(
        "-e",
        "--trim-end",
        "end",
        default=0,
        help="Frames to remove from the end (default: 0).",
        **whole,
    ),
)
aligns = together(
    option("--name", metavar="NAME", help="Name of the products (default: after the recordings)."),
    option(
        "--by",
        type=ways,
        help="frame: the best receiver's frame (default); buffer: combined from all receivers.",
    ),
    option(
        "--select",
        type=click.Choice(["rule", "confidence"]),
        help="By frame, which frame is the best: by the rule of mio (default), or by confidence.",
    ),
    option(
        "--align", type=alignments, help="How frames of the receivers are matched (default: auto)."
    ),
    option(
        "--max-gap",
        type=float,
        metavar="S",
        help="With --align time: largest time difference of a match (default: half a frame).",
    ),
    lagging,
    option(
        "--report/--no-report",
        default=True,
        help="Write the quality report, an HTML page (default: yes).",
    ),
)
own_values = _read(
    lambda text: next(iter(each)) if len(each := _read_numbers(text)) == 1 else each,
    "give a number, or one for each receiver with commas in between",
)
simulated = together(
    option("--frames", help="Frames that the device records (default: 200).", **positive),
    option("--receivers", help="Receivers (default: 2).", type=WholeNumber(1, 127), metavar="N"),
    option("--seed", help="Seed of the random numbers (default: 0).", **whole),
    option("--width", help="Width of a frame in pixels (default: 200).", **positive),
    option("--height", help="Height of a frame in pixels (default: 200).", **positive),
    option(
        "--fps",
        type=rates,
        metavar="RATE",
        help="Frames per second, as 20 or 30000/1001 (default: 20).",
    ),
    option(
        "--buffer-loss",
        type=own_values,
        metavar="P[,P...]",
        help="Share of buffers that are lost, for all or for each receiver (default: 0.03).",
    ),
    option(
        "--frame-loss", help="Share of frames that are lost completely (default: 0.01).", **share
    ),
    option("--corruption", help="Share of buffers with bit errors (default: 0.01).", **share),
    option("--truncation", help="Share of buffers that are cut short (default: 0.002).", **share),
    option(
        "--overrun",
        help="Share of buffers that run into the previous one (default: 0.002).",
        **share,
    ),
    option("--header-flips", help="Share of headers with flipped bits (default: 0.002).", **share),
    option(
        "--bursts", help="Share of faults that start a burst of faults (default: 0.1).", **share
    ),
    option(
        "--bit-errors",
        type=own_values,
        metavar="P[,P...]",
        help="Share of bits that are flipped, for all or for each receiver (default: 0).",
    ),
    option(
        "--noise-bursts",
        type=own_values,
        metavar="N[,N...]",
        help="Bursts of noise per million bits, for all or for each receiver (default: 0).",
    ),
    option("--noise-bits", help="Mean length of a burst of noise (default: 4000).", **positive),
    option(
        "--failed-headers",
        help="Share of buffers whose header fails its check (default: 0).",
        **share,
    ),
    option(
        "--late-start",
        "late_start_frames",
        help="Frames by which each receiver starts late (default: 3).",
        **whole,
    ),
    option(
        "--early-end",
        "early_end_frames",
        help="Frames by which each receiver ends early (default: 5).",
        **whole,
    ),
    option("--reset", "--resets", "resets", help="Restarts of the device (default: 0).", **whole),
    option(
        "--lag",
        type=WholeNumber(),
        metavar="N",
        help="Frames by which each video is behind its table (default: 0).",
    ),
    option(
        "--extra-frame/--no-extra-frame",
        default=True,
        help="Whether the table has one frame more than the video (default: yes).",
    ),
    option(
        "--clock-offset",
        "clock_offset_s",
        type=float,
        help="Seconds by which each next receiver's clock is ahead (default: 0.35).",
    ),
    option(
        "--clock-drift",
        "clock_drift_ppm",
        type=float,
        help="Drift of each next receiver's clock, in ppm (default: 5).",
    ),
)
min_confidence = option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Leave out frames that are exact with a lower probability, as 0.95 (default: none).",
)
selects = together(
    option(
        "--frames",
        metavar="A-B",
        help="Frames to export, from 0, as 100-399 or 0,5,10-20 (default: all).",
    ),
    option(
        "--bin",
        "binning",
        help="Export the mean of every N x N pixels (default: 1, every pixel).",
        **positive,
    ),
    option("--drop-damaged", is_flag=True, help="Leave damaged frames out (default: export them)."),
    min_confidence,
    option(
        "--fill",
        type=click.Choice(["previous", "linear", "zero"]),
        help="One frame per tick: fill frames that no receiver has (default: leave them out).",
    ),
    option(
        "--max-fill",
        help="Frames of a gap that --fill fills at most; others split epochs (default: 20).",
        **whole,
    ),
)
formats = together(
    option("--per-file", help="TIFF: frames of each file (default: all in one).", **positive),
    option(
        "--ucla-format",
        type=click.Choice([1, 2]),
        help="UCLA: version of the Miniscope's software, for its table of times (default: 2).",
    ),
    option(
        "--speed",
        type=float,
        metavar="X",
        help="MP4: how many times as fast as recorded it plays (default: 1).",
    ),
    option(
        "--receivers",
        is_flag=True,
        help="MP4: show the receivers' frames next to the result (default: no).",
    ),
    option("--codec", type=codecs, help="Codec of .avi files (default: rawvideo)."),
)
describes_session = together(
    option(
        "--session-start",
        type=times,
        metavar="TIME",
        help="Start, as 2026-01-31T09:30:00+01:00 (default: the first frame's time).",
    ),
    option(
        "--external",
        is_flag=True,
        help="nwb: keep the frames in an .avi next to the file (default: inside).",
    ),
    option(
        "--session-description",
        metavar="TEXT",
        help="nwb: what was done (default: a general sentence).",
    ),
    option("--subject-id", metavar="ID", help="nwb: id of the animal (default: unknown)."),
    option("--species", metavar="NAME", help="nwb: its species in Latin (default: Mus musculus)."),
    option(
        "--sex",
        type=click.Choice(["M", "F", "U", "O"]),
        help="nwb: its sex, U if unknown (default: U).",
    ),
    option("--age", metavar="DURATION", help="nwb: its age, as P90D (default: unknown)."),
    option(
        "--indicator", metavar="NAME", help="nwb: the indicator, as GCaMP6f (default: unknown)."
    ),
    option("--location", metavar="NAME", help="nwb: the brain area, as CA1 (default: unknown)."),
    option("--experimenter", metavar="NAME", help="nwb: who recorded (default: unknown)."),
    option("--institution", metavar="NAME", help="nwb: where (default: unknown)."),
)


def computes(command: Command) -> Command:
    """Add where blocks are computed; the command runs there and does not see it."""

    @option(
        "--workers",
        help="Processes of this machine to use instead of threads (default: threads).",
        type=WholeNumber(1, MOST_WORKERS),
        metavar="N",
    )
    @option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a running dask cluster to use (default: none).",
    )
    @functools.wraps(command)
    def wrapped(*, workers: int | None, scheduler: str | None, **kw: Any) -> Any:
        if (workers or scheduler) and kw.get("memory_limit"):
            msg = "--memory-limit bounds threads; leave it out with --workers or --scheduler"
            raise UsageError(msg)
        with _cluster(workers, scheduler):
            return command(**kw)

    return wrapped


def _cluster(workers: int | None, scheduler: str | None) -> AbstractContextManager[object]:
    """Compute by threads, by processes, or on a cluster."""
    if workers and scheduler:
        raise UsageError("--workers and --scheduler exclude each other; give one of them")
    if not (workers or scheduler):
        return nullcontext()
    try:
        from miostitch.execution.cluster import local_cluster, remote_cluster
    except ImportError as error:
        msg = f"a cluster needs distributed ({error}); pip install miostitch[distributed]"
        raise UsageError(msg) from error
    return remote_cluster(scheduler) if scheduler else local_cluster(workers or 1)


def given(choices: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; the others keep the library's defaults."""
    return {name: value for name, value in choices.items() if value is not None}


def reading(choices: dict[str, Any]) -> "ReadOptions":
    """How to read recordings whose tables are not needed."""
    from miostitch.recording.files import ReadOptions

    return ReadOptions(need_table=False, **given(choices))


def thresholds(config: str | None) -> "ScoreConfig | None":
    """The thresholds of a configuration, if one was named."""
    return None if config is None else choices.thresholds(config)
