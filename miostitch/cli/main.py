"""The command line: parse, make one library call, print."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from miostitch.cli import edit_commands, look_commands
from miostitch.cli.console import Console, Group, option, talking
from miostitch.cli.options import (
    brings_together,
    codecs,
    computes,
    config_ids,
    denoises_by,
    denoises_to,
    force,
    given,
    max_frame_pixels,
    memory_limit,
    no_products,
    output_in,
    positive,
    restart,
    salvage,
    scores_by,
    simulated,
    takes_recordings,
    thresholds,
    trims,
)
from miostitch.cli.texts import (
    configs_text,
    demo_text,
    inspect_text,
    simulate_text,
    stitch_text,
    workflow_text,
)
from miostitch.errors import MismatchError, UsageError
from miostitch.execution.progress import counted
from miostitch.execution.results import StitchSummary, WorkflowSummary

if TYPE_CHECKING:
    from miostitch.simulation.receivers import Simulation, SimulationConfig
    from miostitch.stitching.run import StitchOptions


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="miostitch")
def main() -> None:
    """Turn several receivers' recordings of one miniscope session into one clean recording.

    \b
    Start here:
      miostitch demo                            # make, stitch and show a session
      miostitch inspect A.avi B.avi             # what a run would meet
      miostitch stitch A.avi B.avi -o stitched  # stitch two recordings
    """


@main.command()
@takes_recordings
@output_in(default="stitched")
@scores_by
@brings_together
@option("--drop-damaged", is_flag=True, help="Leave damaged frames out, and list them.")
@option("--unrecoverable-video", is_flag=True, help="Also write what nobody received whole.")
@option("--keep-clocks", is_flag=True, help="Leave times on each receiver's own clock.")
@option("--debug-video", is_flag=True, help="Also write the candidates side by side.")
@option("--codec", type=codecs, help="Of the .avi (default rawvideo).")
@option("--no-avi", is_flag=True, help="Write no .avi; the store holds the video.")
@option("--zarr-format", type=click.Choice([2, 3]), default=3, help="3; 2 for older readers.")
@option("--chunk-frames", help="Frames per chunk of the store.", **positive)
@option("--repair/--no-repair", default=True, help="Flipped headers, where there is no doubt.")
@max_frame_pixels
@salvage
@restart
@memory_limit
@force
@talking
@computes
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
    options = StitchOptions(codec=chosen, **given({**choices, "score": thresholds(config)}))
    console.result(_stitch(names, output, options, console), stitch_text)


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
    from miostitch.inspect import inspect_recordings
    from miostitch.recording.files import ReadOptions

    options = ReadOptions(need_table=False, **given(choices))
    console.result(inspect_recordings(names, options), inspect_text)


@main.command()
@takes_recordings
@denoises_to
@denoises_by
@trims
@brings_together
@max_frame_pixels
@salvage
@restart
@memory_limit
@force
@talking
@computes
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
    options = StitchOptions(score=chosen.score_config(), **given(choices))
    with console.progress("workflow") as progress:
        summary = workflow_files(names, chosen, output, (start, end), options, progress=progress)
    console.result(WorkflowSummary.from_json(summary), workflow_text)


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
    from miostitch.simulation.receivers import SimulationConfig

    config = SimulationConfig(**given(choices))
    made = _simulate(Path(directory), config, force, console)
    videos = [os.fspath(path) for path in made.recordings]
    console.result({"videos": videos, "truth": os.fspath(made.truth_video)}, simulate_text)


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
    console.result(_make_demo(Path(output), force, console), demo_text)


for command in (*edit_commands.commands, *look_commands.commands):
    main.add_command(command)


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
    from miostitch.config.files import shipped_configs

    found = [{"id": i, "description": c.description} for i, c in shipped_configs().items()]
    console.result({"configs": found}, configs_text)


@config.command("show")
@click.argument("name", metavar="ID|PATH", shell_complete=config_ids)
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
    from miostitch.config.files import config_text, load_config
    from miostitch.config.models import described

    chosen = load_config(name)
    console.result(described(chosen), lambda _: config_text(chosen))


def _stitch(
    names: list[str], output: str, options: "StitchOptions", console: Console
) -> StitchSummary:
    """Stitch; where table and video disagree and somebody is there, ask once whether to go on."""
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
