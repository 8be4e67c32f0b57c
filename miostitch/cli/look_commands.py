"""Commands that look at recordings, results and configurations, check them, and carry them on."""

from typing import TYPE_CHECKING, Any

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli.console import Console, collect_garbage, talking
from miostitch.cli.exit_codes import DIFFERENT, NOT_CHECKED
from miostitch.cli.texts import configs_text, export_text, inspect_text, report_text, view_text
from miostitch.cli.verify_texts import verify_text
from miostitch.execution.results import ExportSummary

if TYPE_CHECKING:
    from miostitch.export.run import Kind


@click.command()
@opt.takes_recordings
@opt.max_frame_pixels
@opt.salvage
@opt.no_products
@talking
def inspect(names: list[str], console: Console, **choices: Any) -> None:
    """Say what a run would meet, without running it.

    \b
    Example:
      miostitch inspect A.avi B.avi
    """
    from miostitch.inspect import inspect_recordings
    from miostitch.recording.files import ReadOptions

    collect_garbage()
    options = ReadOptions(need_table=False, **opt.given(choices))
    console.result(inspect_recordings(names, options), inspect_text)


@click.command()
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
    console.result(report_files(directory, output, force=force), report_text)


@click.command()
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
@opt.max_frame_pixels
@opt.salvage
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
    from miostitch.recording.files import ReadOptions
    from miostitch.viewer.run import ViewOptions, view

    collect_garbage()
    options = ViewOptions(port or 0, marks, folders, browser)
    reading = ReadOptions(need_table=False, **opt.given(choices))
    view(names, options, reading=reading, ready=lambda found: console.result(found, view_text))


@click.command()
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
    console.result(found, verify_text)
    if found["differences"]:
        click.get_current_context().exit(DIFFERENT)
    if found["not_checked"] and not allow_missing:
        click.get_current_context().exit(NOT_CHECKED)


@click.command()
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
    from miostitch.recording.files import ReadOptions

    options = ExportOptions(**opt.given(choices))
    reading = ReadOptions(need_table=False, salvage=salvage)
    with console.progress("exporting") as progress:
        made = export_recording(
            recording, output, kind, options, reading=reading, force=force, progress=progress
        )
    console.result(ExportSummary.from_json(made), export_text)


@click.group()
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
    console.result({"configs": found}, configs_text)


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
