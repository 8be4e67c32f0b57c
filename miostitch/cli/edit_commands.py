"""Commands that change recordings: cut, join, clean, and say what would be cleaned."""

from typing import TYPE_CHECKING, Any

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli.console import Console, talking
from miostitch.cli.texts import denoise_text, edit_text, score_text
from miostitch.errors import UsageError
from miostitch.execution.results import DenoiseSummary

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarray import Dataset


@click.command()
@opt.takes_recordings
@opt.output_in(**opt.writes_to)
@opt.trims
@opt.lagging
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.force
@talking
def trim(names: list[str], start: int, end: int, **choices: Any) -> None:
    """Leave frames out at the start and the end.

    Everything that stands beside the video goes along: table, time stamps, scores, store.

    \b
    Example:
      miostitch trim stitched/S.avi -s 100 -e 20 -o trimmed
    """
    from miostitch.editing import operations as editing

    _edit(_only_one(names), lambda parts: editing.trim(parts[0], start, end), "_trimmed", **choices)


@click.command("remove-frames")
@opt.takes_recordings
@opt.output_in(**opt.writes_to)
@option(
    "-f",
    "--frames",
    multiple=True,
    required=True,
    metavar="LIST",
    help="Positions from 0: 0,5,10-20; repeatable.",
)
@opt.lagging
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.force_only
@talking
def remove_frames(names: list[str], frames: tuple[str, ...], **choices: Any) -> None:
    """Leave single frames out.

    Everything that stands beside the video goes along: table, time stamps, scores, store. As in
    mio, -f names the frames here; only --force replaces products.

    \b
    Example:
      miostitch remove-frames stitched/S.avi -f 0,5,10-20 -o cleaned
    """
    from miostitch.editing import operations as editing

    _edit(
        _only_one(names),
        lambda parts: editing.remove_frames(parts[0], ",".join(frames)),
        "_removed",
        **choices,
    )


@click.command()
@opt.takes_recordings
@opt.output_in(required=True, show_default=False, help="File ending in .avi or .zarr, or folder.")
@opt.lagging
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.force
@talking
def concat(names: list[str], **choices: Any) -> None:
    """Join recordings, one behind the other.

    The device's counters stay as received, so that the result can be stitched with what other
    receivers recorded.

    \b
    Example:
      miostitch concat A1.avi A2.avi A3.avi -o joined/A.avi
    """
    from miostitch.editing import operations as editing

    _edit(names, editing.concat, "_combined", **choices)


@click.command()
@opt.takes_recordings
@opt.output_in(default="stitched")
@opt.scores_by
@opt.max_frame_pixels
@opt.salvage
@opt.force
@talking
def score(
    names: list[str], output: str, config: str | None, force: bool, console: Console, **choices: Any
) -> None:
    """Count the noisy and black pixels of every frame.

    Writes a table {stem}_noise.csv per recording. The videos need no table.

    \b
    Example:
      miostitch score A.avi B.avi -o noise -c denoise_example
    """
    from miostitch.config.files import load_config
    from miostitch.denoising.noise_table import score_files
    from miostitch.recording.files import ReadOptions

    patch = load_config(config).noise_patch if config else None
    reading = ReadOptions(need_table=False, **opt.given(choices))
    with console.progress("scoring") as progress:
        found = score_files(names, output, patch, reading=reading, force=force, progress=progress)
    console.result(found, score_text)


@click.command()
@opt.takes_recordings
@opt.denoises_to
@opt.denoises_by
@opt.lagging
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.force
@talking
@opt.computes
def denoise(
    names: list[str],
    output: str | None,
    config: str,
    force: bool,
    restart: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Drop noisy frames, filter stripes, subtract the background.

    What is done and written says the configuration; see config show. Everything that stands beside
    the video goes along: table, time stamps, scores, store.

    \b
    Example:
      miostitch denoise stitched/S.avi -c denoise_calcium_imaging -o denoised
    """
    from miostitch.config.files import load_config
    from miostitch.denoising.run import denoise_files
    from miostitch.recording.files import ReadOptions

    [name], chosen = _only_one(names), load_config(config)
    reading = ReadOptions(need_table=False, **opt.given(choices))
    with console.progress("denoising") as progress:
        summary = denoise_files(
            name,
            chosen,
            output,
            reading=reading,
            force=force,
            restart=restart,
            progress=progress,
        )
    console.result(DenoiseSummary.from_json(summary), denoise_text)


def _edit(
    names: list[str],
    edit: "Callable[[list[Dataset]], Dataset]",
    ending: str,
    *,
    output: str,
    force: bool,
    restart: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Edit recordings and write the result."""
    from miostitch.editing.run import edit_files
    from miostitch.execution.publishing import RunOptions
    from miostitch.recording.files import ReadOptions

    reading = ReadOptions(need_table=False, **opt.given(choices))
    with console.progress("writing") as progress:
        options = RunOptions(force, restart, progress)
        summary = edit_files(names, output, edit, ending, reading=reading, options=options)
    console.result(summary, edit_text)


def _only_one(names: list[str]) -> list[str]:
    if len(names) > 1:
        raise UsageError(f"{names[1]}: one recording at a time; concat joins several")
    return names
