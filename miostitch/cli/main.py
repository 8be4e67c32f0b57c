"""The command ``miostitch``: every command parses, makes one call of the library and prints."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli import texts
from miostitch.cli.console import Console, collect_garbage, talking
from miostitch.cli.exit_codes import DIFFERENT, NOT_CHECKED, Group
from miostitch.errors import MismatchError, UsageError
from miostitch.execution.progress import counted
from miostitch.execution.results import (
    DenoiseSummary,
    ExportSummary,
    StitchSummary,
    WorkflowSummary,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from xarray import Dataset

    from miostitch.export.run import Kind
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
@opt.stitches
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
    console.result(_stitch(names, output, options, console), texts.stitch_text)


@main.command()
@opt.takes_recordings
@opt.denoises_to
@opt.denoises_by
@opt.trims
@opt.aligns
@opt.stitches
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
    console.result(WorkflowSummary.from_json(summary), texts.workflow_text)


@main.command()
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
    console.result({"videos": videos, "truth": os.fspath(made.truth_video)}, texts.simulate_text)


@main.command()
@opt.output_in(default="demo")
@opt.force
@talking
def demo(output: str, force: bool, console: Console) -> None:
    """Simulate a session, stitch it, say where to look.

    \b
    Example:
      miostitch demo -o demo
    """
    from miostitch.simulation.receivers import SimulationConfig
    from miostitch.stitching.run import StitchOptions

    made = _simulate(Path(output, "session"), SimulationConfig(frames=600), force, console)
    names = [os.fspath(path) for path in made.recordings]
    options = StitchOptions(debug_video=True, force=force)
    stitched = _stitch(names, os.path.join(output, "stitched"), options, console)
    console.result(stitched, texts.demo_text)


@main.command()
@opt.takes_recordings
@opt.output_in(default="stitched", help="Folder, or file ending in .avi or .zarr.")
@opt.trims
@opt.edits
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


@main.command("remove-frames")
@opt.takes_recordings
@opt.output_in(default="stitched", help="Folder, or file ending in .avi or .zarr.")
@option(
    "-f",
    "--frames",
    multiple=True,
    required=True,
    metavar="LIST",
    help="Positions from 0: 0,5,10-20; repeatable.",
)
@opt.edits
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

    listed = ",".join(frames)
    _edit(_only_one(names), lambda p: editing.remove_frames(p[0], listed), "_removed", **choices)


@main.command()
@opt.takes_recordings
@opt.output_in(required=True, show_default=False, help="File ending in .avi or .zarr, or folder.")
@opt.edits
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


@main.command()
@opt.takes_recordings
@opt.output_in(default="stitched")
@opt.scores_by
@opt.reads
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

    patch = load_config(config).noise_patch if config else None
    reading = opt.reading(choices)
    with console.progress("scoring") as progress:
        found = score_files(names, output, patch, reading=reading, force=force, progress=progress)
    console.result(found, texts.score_text)


@main.command()
@opt.takes_recordings
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

    [name], chosen = _only_one(names), load_config(config)
    reading = opt.reading(choices)
    with console.progress("denoising") as progress:
        summary = denoise_files(
            name, chosen, output, reading=reading, force=force, restart=restart, progress=progress
        )
    console.result(DenoiseSummary.from_json(summary), texts.denoise_text)


@main.command()
@opt.takes_recordings
@opt.reads
@opt.no_products
@talking
def inspect(names: list[str], console: Console, **choices: Any) -> None:
    """Say what a run would meet, without running it.

    \b
    Example:
      miostitch inspect A.avi B.avi
    """
    from miostitch.inspect import inspect_recordings

    collect_garbage()
    console.result(inspect_recordings(names, opt.reading(choices)), texts.inspect_text)


@main.command()
@click.argument("directory", type=click.Path())
@opt.output_in(default=None, show_default=False, help="Folder of the reports  [default: DIRECTORY]")
@opt.force
@talking
def report(directory: str, output: str | None, force: bool, console: Console) -> None:
    """Write the quality reports of a folder of results.

    DIRECTORY is a folder of products, or one store. The report is the file S_report.html that a
    stitch writes; make it anew after a stitch without one, or for an edited recording. The
    receivers' videos may be gone; then the page shows the result alone.

    \b
    Example:
      miostitch report stitched
    """
    from miostitch.report.run import report_files

    collect_garbage()
    console.result(report_files(directory, output, force=force), texts.report_text)


@main.command()
@opt.takes_recordings
@option("--port", type=click.IntRange(1024, 65535), metavar="N", help="Default: any free one.")
@option("--browser/--no-browser", default=True, help="Open the page, or only say where it is.")
@option("--marks", type=click.Path(), help="File to save marked frames to, for remove-frames.")
@option(
    "--inputs",
    "folders",
    multiple=True,
    type=click.Path(),
    metavar="FOLDER",
    help="Where a result's recordings are, if they were moved; repeatable.",
)
@opt.lagging
@opt.reads
@opt.no_products
@talking
def view(
    names: list[str],
    port: int | None,
    browser: bool,
    marks: str | None,
    folders: tuple[str, ...],
    console: Console,
    **choices: Any,
) -> None:
    """Look at recordings and results in the browser.

    Shows a store beside the recordings it was made of, or any videos and stores side by side.
    Only browsers of this machine that know the printed address get an answer.

    \b
    Examples:
      miostitch view stitched/S.zarr --marks marks.txt
      miostitch view A.avi B.avi
    """
    from miostitch.viewer.run import ViewOptions, view

    collect_garbage()
    options = ViewOptions(port or 0, marks, folders, browser)
    ready = partial(console.result, text=texts.view_text)
    view(names, options, reading=opt.reading(choices), ready=ready)


@main.command()
@click.argument("path", metavar="DIR", type=click.Path())
@opt.recordings_too(
    "recordings", help="Where a recording is now; in the order of the run, one for each."
)
@click.option("--allow-missing", is_flag=True, help="Exit with 0 although an input is not there.")
@opt.no_products
@talking
def verify(path: str, recordings: tuple[str, ...], allow_missing: bool, console: Console) -> None:
    """Check results against what they were made of.

    Re-reads every output: checksums, counts, every frame, row and score, against the recordings, or
    the files that were edited. DIR is a folder of results, or the .zarr or .json of one. Exit code
    1: there are differences; 7: there are none, but an input is not there or not readable.

    \b
    Examples:
      miostitch verify stitched
      miostitch verify stitched/S.zarr -i moved/A.avi -i moved/B.avi
    """
    from miostitch.verify.run import verify_files

    with console.progress("verifying") as progress:
        found: dict[str, Any] = verify_files(path, recordings, progress=progress)
    console.result(found, texts.verify_text)
    if found["differences"]:
        click.get_current_context().exit(DIFFERENT)
    if found["not_checked"] and not allow_missing:
        click.get_current_context().exit(NOT_CHECKED)


@main.command()
@click.argument("recording", type=click.Path(), metavar="ZARR|VIDEO")
@option(
    "--to",
    "kind",
    type=click.Choice(["ucla", "avi-segments", "nwb", "zarr2"]),
    required=True,
    help="What the other tool reads.",
)
@opt.output_in(
    required=True, show_default=False, help="Folder, or for nwb and zarr2 also the file."
)
@opt.describes_session
@opt.salvage
@opt.force
@talking
def export(
    recording: str,
    kind: "Kind",
    output: str,
    salvage: bool,
    force: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Carry a recording into other tools.

    \b
    ucla: 0.avi, 1.avi, ..., timeStamps.csv, metaData.json, for roiextractors
    avi-segments: msCam1.avi, msCam2.avi, ..., timestamps.csv, for minian
    zarr2: a Zarr store of format 2, for minian and CaImAn
    nwb: a OnePhotonSeries; needs miostitch[nwb]

    \b
    Examples:
      miostitch export stitched/S.zarr --to zarr2 -o minian
      miostitch export stitched/S.zarr --to nwb -o S.nwb --subject-id m1
    """
    from miostitch.export.plan import ExportOptions
    from miostitch.export.run import export_recording

    options = ExportOptions(**opt.given(choices))
    reading = opt.reading({"salvage": salvage})
    with console.progress("exporting") as progress:
        made = export_recording(
            recording, output, kind, options, reading=reading, force=force, progress=progress
        )
    console.result(ExportSummary.from_json(made), texts.export_text)


@main.group()
def config() -> None:
    """The configurations of denoise and workflow.

    \b
    Example:
      miostitch config show denoise_example
    """


@config.command("list")
@opt.no_products
@talking
def list_configs(console: Console) -> None:
    """List the shipped configurations.

    \b
    Example:
      miostitch config list
    """
    from miostitch.config.files import shipped_configs

    found = [{"id": i, "description": c.description} for i, c in shipped_configs().items()]
    console.result({"configs": found}, texts.configs_text)


@config.command("show")
@click.argument("name", metavar="ID|PATH", shell_complete=opt.config_ids)
@opt.no_products
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
        return simulate(folder, config, force=force, progress=counted(progress, config.frames))


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

    reading = opt.reading(choices)
    with console.progress("writing") as progress:
        options = RunOptions(force, restart, progress)
        summary = edit_files(names, output, edit, ending, reading=reading, options=options)
    console.result(summary, texts.edit_text)


def _only_one(names: list[str]) -> list[str]:
    if len(names) > 1:
        raise UsageError(f"{names[1]}: one recording at a time; concat joins several")
    return names
