"""The command ``miostitch``, and the commands that write recordings.

Every command parses, makes one call of the library and prints.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli import texts
from miostitch.cli.batch_commands import batch, init
from miostitch.cli.console import Console, talking
from miostitch.cli.exit_codes import Group
from miostitch.cli.export_commands import align_times, crate, export
from miostitch.cli.look_commands import config, doctor, inspect, report, verify, view
from miostitch.errors import MismatchError, UsageError
from miostitch.execution.progress import counted
from miostitch.execution.results import (
    DenoiseSummary,
    ScoreSummary,
    StitchSummary,
    WorkflowSummary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xarray import Dataset

    from miostitch.editing.regular import Fill
    from miostitch.recording.files import StrPath
    from miostitch.simulation.receivers import Simulation, SimulationConfig
    from miostitch.stitching.options import StitchOptions


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="miostitch")
def main() -> None:
    """Turn several receivers' recordings of one miniscope session into one clean recording.

    \b
    Start here:
      miostitch demo                            # make, stitch and show a session
      miostitch inspect A.avi B.avi             # check the recordings first
      miostitch stitch A.avi B.avi -o stitched  # stitch two recordings
      miostitch init raw                        # describe sessions in a folder
      miostitch batch raw                       # run them all
    """


@main.command()
@opt.takes_recordings
@opt.output_in(default="stitched")
@opt.scores_by
@opt.aligns
@option(
    "--drop-damaged",
    is_flag=True,
    help="Leave damaged frames out, and list them (default: keep them).",
)
@opt.min_confidence
@option(
    "--unrecoverable-video",
    is_flag=True,
    help="Also write a video of the frames that no receiver got complete (default: no).",
)
@option(
    "--keep-clocks",
    is_flag=True,
    help="Keep times on each receiver's own clock (default: on the first one's).",
)
@option(
    "--debug-video",
    is_flag=True,
    help="Also write a video of the receivers side by side (default: no).",
)
@option("--codec", type=opt.codecs, help="Codec of the .avi (default: rawvideo).")
@option(
    "--no-avi", is_flag=True, help="Write no .avi; the store has the frames (default: write it)."
)
@option(
    "--zarr-format",
    type=click.Choice([2, 3]),
    default=3,
    help="Version of the store's format; 2 for minian or CaImAn (default: 3).",
)
@option(
    "--chunk-frames",
    help="Frames per chunk of the store (default: 16 MiB of frames).",
    **opt.positive,
)
@option(
    "--repair/--no-repair",
    default=True,
    help="Correct bit errors in buffer headers where that is certain (default: yes).",
)
@opt.stitches
@talking
@opt.computes
def stitch(
    names: "list[StrPath]",
    output: str,
    console: Console,
    codec: Literal["rawvideo", "ffv1"] | None,
    no_avi: bool,
    config: str | None,
    **choices: Any,
) -> None:
    """Stitch recordings of one session, one video per receiver.

    Next to each video must be its table: x.csv for x.avi. A receiver that recorded in several
    files is one argument, its files separated by commas: A1.avi,A2.avi

    \b
    Examples:
      miostitch stitch left/rec.avi right/rec.avi -o stitched
      miostitch stitch A1.avi,A2.avi B.avi -o stitched --debug-video
      miostitch stitch A.avi B.avi --by buffer  # combine all receivers
      miostitch stitch session.yml              # as init wrote it
    """
    from miostitch.stitching.options import StitchOptions

    if no_avi and codec:
        raise UsageError("--no-avi and --codec exclude each other; give one of them")
    chosen = None if no_avi else codec or "rawvideo"
    options = StitchOptions(codec=chosen, **opt.given({**choices, "score": opt.thresholds(config)}))
    console.result(_stitch(names, output, options, console), texts.stitch_text)


@main.command()
@opt.takes_recordings
@opt.denoises_to
@opt.works_by
@opt.trims
@opt.aligns
@opt.min_confidence
@opt.stitches
@talking
@opt.computes
def workflow(
    names: "list[StrPath]",
    output: str | None,
    config: str | None,
    start: int,
    end: int,
    console: Console,
    no_avi: bool = False,
    **choices: Any,
) -> None:
    """Stitch, trim and denoise in one step.

    Writes the results of stitch and of denoise. A single recording is not stitched. Everything is
    checked before the first frame is written.

    \b
    Examples:
      miostitch workflow A.avi B.avi -o out -c denoise_example -s 100 -e 20
      miostitch workflow session.yml
    """
    from miostitch.config.files import load_config
    from miostitch.stitching.options import StitchOptions
    from miostitch.workflow import workflow_files

    if config is None:
        raise UsageError(
            "no configuration given; name one with -c, or in the session file: denoise"
        )
    chosen = load_config(config)
    options = StitchOptions(score=chosen.score_config(), **opt.given(choices))
    options = replace(options, codec=None) if no_avi else options
    with console.progress("workflow") as progress:
        summary = workflow_files(names, chosen, output, (start, end), options, progress=progress)
    console.result(WorkflowSummary.from_json(summary), texts.workflow_text)


@main.command()
@click.argument("directory", type=click.Path())
@opt.simulated
@opt.force
@talking
def simulate(directory: str, console: Console, force: bool, **choices: Any) -> None:
    """Simulate a session with known ground truth.

    Writes receiver1.avi, receiver2.avi, ... and truth.avi, each with its table. The same options
    always give the same files.

    \b
    Example:
      miostitch simulate session --frames 1000 --buffer-loss 0.05 --seed 1
    """
    from miostitch.simulation.receivers import SimulationConfig

    config = SimulationConfig(**opt.given(choices))
    made = _simulate(Path(directory), config, force, console)
    videos = [os.fspath(path) for path in made.recordings]
    console.result({"videos": videos, "truth": os.fspath(made.truth_video)}, texts.simulate_text)


@main.command()
@opt.output_in(default="demo")
@opt.force
@talking
def demo(output: str, force: bool, console: Console) -> None:
    """Simulate a session, stitch it and list the results.

    \b
    Example:
      miostitch demo -o demo
    """
    from miostitch.simulation.receivers import SimulationConfig
    from miostitch.stitching.options import StitchOptions

    made = _simulate(Path(output, "session"), SimulationConfig(frames=600), force, console)
    names = [os.fspath(path) for path in made.recordings]
    options = StitchOptions(debug_video=True, force=force)
    by_frame = _stitch(names, os.path.join(output, "stitched"), options, console)
    options = StitchOptions(by="buffer", force=force)
    by_buffer = _stitch(names, os.path.join(output, "by_buffer"), options, console)
    console.result((by_frame, by_buffer), texts.demo_text)


@main.command()
@opt.takes_videos
@opt.output_in(default="stitched", help="Folder to write to, or a file ending in .avi or .zarr.")
@opt.trims
@opt.edits
@opt.force
@talking
def trim(names: list[str], start: int, end: int, **choices: Any) -> None:
    """Remove frames from the start and the end.

    Files next to the video are trimmed with it: table, timestamps, scores, store.

    \b
    Example:
      miostitch trim stitched/S.avi -s 100 -e 20 -o trimmed
    """
    from miostitch.editing import operations as editing

    if not (start or end):
        raise UsageError("nothing to trim; give a number of frames with -s, -e or both")
    _edit(_only_one(names), lambda parts: editing.trim(parts[0], start, end), "_trimmed", **choices)


@main.command("remove-frames")
@opt.takes_videos
@opt.output_in(default="stitched", help="Folder to write to, or a file ending in .avi or .zarr.")
@option(
    "-f",
    "--frames",
    multiple=True,
    required=True,
    metavar="LIST",
    help="Positions of the frames, from 0, as 0,5,10-20; may be repeated.",
)
@opt.edits
@opt.force_only
@talking
def remove_frames(names: list[str], frames: tuple[str, ...], **choices: Any) -> None:
    """Remove individual frames.

    Files next to the video are edited with it: table, timestamps, scores, store. As with mio, -f
    names the frames here; only --force overwrites.

    \b
    Example:
      miostitch remove-frames stitched/S.avi -f 0,5,10-20 -o cleaned
    """
    from miostitch.editing import operations as editing

    listed = ",".join(frames)
    _edit(_only_one(names), lambda p: editing.remove_frames(p[0], listed), "_removed", **choices)


@main.command()
@opt.takes_videos
@opt.output_in(
    required=True, show_default=False, help="Folder to write to, or a file ending in .avi or .zarr."
)
@opt.edits
@opt.force
@talking
def concat(names: list[str], **choices: Any) -> None:
    """Concatenate recordings in the given order.

    The device's counters are kept, so the result can be stitched with those of other receivers.

    \b
    Example:
      miostitch concat A1.avi A2.avi A3.avi -o joined/A.avi
    """
    from miostitch.editing import operations as editing

    _edit(names, editing.concat, "_combined", **choices)


@main.command()
@opt.takes_videos
@opt.output_in(default="stitched", help="Folder to write to, or a file ending in .avi or .zarr.")
@option(
    "--fill",
    type=click.Choice(["previous", "linear", "zero"]),
    default="previous",
    help="What a frame that no receiver has becomes (default: previous).",
)
@option(
    "--max-fill",
    default=20,
    help="Frames of a gap that are filled at most; others split epochs (default: 20).",
    **opt.whole,
)
@opt.edits
@opt.force
@talking
@opt.computes
def regularize(names: list[str], fill: "Fill", max_fill: int, **choices: Any) -> None:
    """Have one frame per tick of the device's counter, at equal intervals.

    Writes S_regular.zarr, .avi and tables. Frames that no receiver has are filled and marked as
    filled: by the frame before (previous), interpolated (linear) or black (zero).

    \b
    Example:
      miostitch regularize stitched/S.zarr -o regular --fill linear
    """
    from miostitch.editing.regularizing import regularize

    _edit(
        _only_one(names), lambda parts: regularize(parts[0], fill, max_fill), "_regular", **choices
    )


@main.command()
@opt.takes_recordings
@opt.output_in(default="stitched")
@opt.scores_by
@opt.lagging
@opt.reads
@opt.strict
@opt.force
@talking
def score(
    names: "list[StrPath]",
    output: str,
    config: str | None,
    force: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Count the noisy and black pixels of every frame.

    Writes a table NAME_noise.csv for each recording NAME.avi, which needs no table of its own.

    \b
    Example:
      miostitch score A.avi B.avi -o noise -c denoise_example
    """
    from miostitch.config.files import load_config
    from miostitch.denoising.noise_table import score_files

    patch = load_config(config).noise_patch if config else None
    reading = opt.reading(choices)
    with console.progress("scoring") as progress:
        found = score_files(names, output, patch, reading=reading, force=force, progress=progress)
    console.result(ScoreSummary.from_json(found), texts.score_text)


@main.command()
@opt.takes_videos
@opt.denoises_to
@opt.denoises_by
@opt.edits
@opt.force
@talking
@opt.computes
def denoise(
    names: list[str],
    output: str | None,
    config: str,
    force: bool,
    restart: bool,
    crate: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Remove noisy frames, flicker, stripes and the background, as configured.

    The configuration defines what is done and written; see config show. Files next to the video
    are carried along: table, timestamps, scores, store.

    \b
    Example:
      miostitch denoise stitched/S.avi -c denoise_calcium_imaging -o denoised
    """
    from miostitch.config.files import load_config
    from miostitch.denoising.run import denoise_files

    [name], chosen = _only_one(names), load_config(config)
    reading = opt.reading(choices)
    with console.progress("denoising") as progress:
        summary = denoise_files(
            name,
            chosen,
            output,
            reading=reading,
            force=force,
            restart=restart,
            crate=crate,
            progress=progress,
        )
    console.result(DenoiseSummary.from_json(summary), texts.denoise_text)


for each in (init, batch, inspect, report, view, verify, doctor, config):
    main.add_command(each)
for each in (export, align_times, crate):
    main.add_command(each)


def _stitch(
    names: "Sequence[StrPath]", output: str, options: "StitchOptions", console: Console
) -> StitchSummary:
    """Stitch; where table and video disagree, ask a user once whether to continue."""
    from miostitch.stitching.run import run_stitch

    try:
        with console.progress("stitching") as progress:
            return run_stitch(names, output, options, progress=progress)
    except MismatchError as error:
        if options.salvage or not console.may_ask:
            raise
        console.tell(str(error))
        if not click.confirm("Continue with the part where they agree?", err=True):
            raise
    return _stitch(names, output, replace(options, salvage=True), console)


def _simulate(
    folder: Path, config: "SimulationConfig", force: bool, console: Console
) -> "Simulation":
    from miostitch.simulation.receivers import simulate

    with console.progress("simulating") as progress:
        return simulate(folder, config, force=force, progress=counted(progress, config.frames))


def _edit(
    names: list[str],
    edit: "Callable[[list[Dataset]], Dataset]",
    ending: str,
    *,
    output: str,
    force: bool,
    restart: bool,
    crate: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Edit recordings and write the result."""
    from miostitch.editing.run import edit_files
    from miostitch.execution.publishing import RunOptions

    reading = opt.reading(choices)
    with console.progress("writing") as progress:
        options = RunOptions(force, restart, progress, crate)
        summary = edit_files(names, output, edit, ending, reading=reading, options=options)
    console.result(summary, texts.edit_text)


def _only_one(names: list[str]) -> list[str]:
    if len(names) > 1:
        raise UsageError(f"{names[1]}: only one recording at a time; concat joins several")
    return names
