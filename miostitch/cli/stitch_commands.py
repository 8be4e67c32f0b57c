"""Commands that make recordings: stitch and workflow, and sessions whose truth is known."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli.console import Console, talking
from miostitch.cli.texts import demo_text, simulate_text, stitch_text, workflow_text
from miostitch.errors import MismatchError, UsageError
from miostitch.execution.progress import counted
from miostitch.execution.results import StitchSummary, WorkflowSummary

if TYPE_CHECKING:
    from miostitch.simulation.receivers import Simulation, SimulationConfig
    from miostitch.stitching.run import StitchOptions


@click.command()
@opt.takes_recordings
@opt.output_in(default="stitched")
@opt.scores_by
@opt.aligns
@option("--drop-damaged", is_flag=True, help="Leave damaged frames out, and list them.")
@option("--unrecoverable-video", is_flag=True, help="Also write what nobody received whole.")
@option("--keep-clocks", is_flag=True, help="Leave times on each receiver's own clock.")
@option("--debug-video", is_flag=True, help="Also write the candidates side by side.")
@option("--codec", type=opt.codecs, help="Of the .avi (default rawvideo).")
@option("--no-avi", is_flag=True, help="Write no .avi; the store holds the video.")
@option("--zarr-format", type=click.Choice([2, 3]), default=3, help="3; 2 for older readers.")
@option("--chunk-frames", help="Frames per chunk of the store.", **opt.positive)
@option("--repair/--no-repair", default=True, help="Flipped headers, where there is no doubt.")
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.memory_limit
@opt.force
@talking
@opt.computes
def stitch(
    names: list[str],
    output: str,
    console: Console,
    codec: Literal["rawvideo", "ffv1"] | None,
    no_avi: bool,
    config: str | None,
    **choices: Any,
) -> None:
    """Stitch recordings of one session, one video per receiver.

    The table of each video (x.csv beside x.avi) must be there. A receiver that recorded in several
    files is one argument: A1.avi,A2.avi

    \b
    Examples:
      miostitch stitch left/rec.avi right/rec.avi -o stitched
      miostitch stitch A1.avi,A2.avi B.avi -o stitched --debug-video
      miostitch stitch A.avi B.avi --by buffer  # each frame from all receivers
    """
    from miostitch.stitching.run import StitchOptions

    if no_avi and codec:
        raise UsageError("--no-avi and --codec exclude each other; give one of them")
    chosen = None if no_avi else codec or "rawvideo"
    options = StitchOptions(codec=chosen, **opt.given({**choices, "score": opt.thresholds(config)}))
    console.result(_stitch(names, output, options, console), stitch_text)


@click.command()
@opt.takes_recordings
@opt.denoises_to
@opt.denoises_by
@opt.trims
@opt.aligns
@opt.max_frame_pixels
@opt.salvage
@opt.restart
@opt.memory_limit
@opt.force
@talking
@opt.computes
def workflow(
    names: list[str],
    output: str | None,
    config: str,
    start: int,
    end: int,
    console: Console,
    **choices: Any,
) -> None:
    """Stitch, trim and denoise in one go.

    The stitched products are those of stitch, the others those of denoise. One recording alone is
    not stitched. Everything is checked before the first frame is written.

    \b
    Example:
      miostitch workflow A.avi B.avi -o out -c denoise_example -s 100 -e 20
    """
    from miostitch.config.files import load_config
    from miostitch.stitching.run import StitchOptions
    from miostitch.workflow import workflow_files

    chosen = load_config(config)
    options = StitchOptions(score=chosen.score_config(), **opt.given(choices))
    with console.progress("workflow") as progress:
        summary = workflow_files(names, chosen, output, (start, end), options, progress=progress)
    console.result(WorkflowSummary.from_json(summary), workflow_text)


@click.command()
@click.argument("directory", type=click.Path())
@opt.simulated
@opt.force
@talking
def simulate(directory: str, console: Console, force: bool, **choices: Any) -> None:
    """Make a session whose truth is known.

    Writes receiver1.avi, receiver2.avi, ... and truth.avi, each with its table. The same options
    give the same bytes, every time and anywhere.

    \b
    Example:
      miostitch simulate session --frames 1000 --buffer-loss 0.05 --seed 1
    """
    from miostitch.simulation.receivers import SimulationConfig

    config = SimulationConfig(**opt.given(choices))
    made = _simulate(Path(directory), config, force, console)
    videos = [os.fspath(path) for path in made.recordings]
    console.result({"videos": videos, "truth": os.fspath(made.truth_video)}, simulate_text)


@click.command()
@opt.output_in(default="demo")
@opt.force
@talking
def demo(output: str, force: bool, console: Console) -> None:
    """Simulate a session, stitch it, say where to look.

    \b
    Example:
      miostitch demo -o demo
    """
    console.result(_make_demo(Path(output), force, console), demo_text)


def _stitch(
    names: list[str], output: str, options: "StitchOptions", console: Console
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
        if not click.confirm("Go on with what matches?", err=True):
            raise
    return _stitch(names, output, replace(options, salvage=True), console)


def _simulate(
    folder: Path, config: "SimulationConfig", force: bool, console: Console
) -> "Simulation":
    from miostitch.simulation.receivers import simulate

    with console.progress("simulating") as progress:
        count = counted(progress, config.frames)
        return simulate(folder, config, force=force, progress=count)


def _make_demo(folder: Path, force: bool, console: Console) -> StitchSummary:
    from miostitch.simulation.receivers import SimulationConfig
    from miostitch.stitching.run import StitchOptions

    made = _simulate(folder / "session", SimulationConfig(frames=600), force, console)
    names = [os.fspath(path) for path in made.recordings]
    options = StitchOptions(debug_video=True, force=force)
    return _stitch(names, os.fspath(folder / "stitched"), options, console)
