"""Commands that show what there is: recordings, results and configurations."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli import session, texts
from miostitch.cli.console import Console, collect_garbage, talking
from miostitch.cli.exit_codes import DIFFERENT, NOT_CHECKED, RESOURCES
from miostitch.errors import InputError, UsageError

if TYPE_CHECKING:
    from miostitch.recording.files import StrPath


@click.command()
@opt.takes_recordings
@opt.reads
@talking
def inspect(names: "list[StrPath]", console: Console, **choices: Any) -> None:
    """Check recordings before stitching, without writing anything.

    Exit code 3: a recording cannot be used as it is, or the recordings cannot be stitched; what is
    wrong is printed as an error among what was found.

    \b
    Example:
      miostitch inspect A.avi B.avi
    """
    from miostitch.inspect.recordings import inspect_recordings

    collect_garbage()
    found = inspect_recordings(names, opt.reading(choices))
    console.result(found, texts.inspect_text)
    if not found.usable:
        click.get_current_context().exit(InputError.exit_code)


@click.command()
@click.argument("directory", type=click.Path())
@opt.output_in(default=None, show_default=False, help="Folder to write to  [default: DIRECTORY]")
@opt.force
@talking
def report(directory: str, output: str | None, force: bool, console: Console) -> None:
    """Write the quality reports of a folder of results.

    DIRECTORY is a folder of results, or one store. The report is the page NAME_report.html that
    stitch writes, too. Makes those that are missing, as after a stitch without one, or for an
    edited recording; those that exist are named and skipped, with --force replaced. If the
    receivers' videos are gone, the page shows frames of the result only.

    \b
    Example:
      miostitch report stitched
    """
    from miostitch.report.run import report_files

    collect_garbage()
    console.result(report_files(directory, output, force=force), texts.report_text)


@click.command()
@opt.takes_anything
@option(
    "--port",
    type=click.IntRange(1024, 65535),
    metavar="N",
    help="Port to serve the page on (default: any free one).",
)
@option(
    "--browser/--no-browser",
    default=True,
    help="Open the page, or only print its address (default: open it).",
)
@option(
    "--marks",
    type=click.Path(),
    help="File for the frames that you mark, for remove-frames (default: none).",
)
@option(
    "--inputs",
    "folders",
    multiple=True,
    type=click.Path(),
    metavar="FOLDER",
    help="Folder of a result's recordings, if they were moved; may be repeated (default: none).",
)
@opt.lagging
@opt.reads
@talking
def view(
    names: "list[StrPath]",
    port: int | None,
    browser: bool,
    marks: str | None,
    folders: tuple[str, ...],
    console: Console,
    **choices: Any,
) -> None:
    """Look at recordings and results in the browser.

    Shows a store next to the recordings it was made from, or any videos and stores side by side;
    of a session file its result, or its recordings before that is stitched. Of a folder, by
    default the present one, a start page: it lists the sessions and results in it, inspects and
    runs sessions, opens results and reports, and tries thresholds of denoise.
    Only browsers of this machine that know the printed address are answered.

    \b
    Examples:
      miostitch view stitched/S.zarr --marks marks.txt
      miostitch view A.avi B.avi
      miostitch view session.yml
      miostitch view raw
    """
    from miostitch.viewer.run import ViewOptions, view

    collect_garbage()
    options = ViewOptions(port or 0, marks, folders, browser)
    ready = partial(console.result, text=texts.view_text)
    view(names, options, reading=opt.reading(choices), ready=ready)


@click.command()
@click.argument("paths", metavar="DIR|SESSION.yml", type=click.Path(), nargs=-1, required=True)
@opt.recordings_too(
    "recordings",
    help="Where a recording is now; one for each, in the order of the run (default: search).",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Exit with code 0 even if an input is missing (default: no).",
)
@talking
def verify(
    paths: tuple[str, ...],
    recordings: tuple[str, ...],
    allow_missing: bool,
    console: Console,
) -> None:
    """Check results against the original recordings.

    Reads every output again: checksums, counts, every frame, row and score are compared with the
    recordings, or with the files that were edited. DIR is a folder of results, or the .zarr or
    .json of one; of a session file it is the session's result. Exit code 1: there are differences;
    7: none, but an input is missing or cannot be read.

    \b
    Examples:
      miostitch verify stitched
      miostitch verify stitched/S.zarr -i moved/A.avi -i moved/B.avi
    """
    from miostitch.verify.run import verify_files

    if len(paths) > 1:
        raise UsageError(f"{paths[1]}: one result at a time; name its recordings with -i")
    path, originals = session.find_result(paths[0], recordings)
    with console.progress("verifying") as progress:
        found: dict[str, Any] = verify_files(path, originals, progress=progress)
    console.result(found, texts.verify_text)
    if found["differences"]:
        click.get_current_context().exit(DIFFERENT)
    if found["not_checked"] and not allow_missing:
        click.get_current_context().exit(NOT_CHECKED)


@click.command()
@click.argument("folder", type=click.Path(), default=".", required=False)
@talking
def doctor(folder: str, console: Console) -> None:
    """Check this machine, and a folder for results.

    Shows versions, cores, memory, the file system, locks, the speed of the disk and of one core,
    and whether compiled code is kept. What is wrong is said with what to do, and the exit code is
    5. Paste what it prints into a report of a problem. Writes 64 MiB into FOLDER (default: the
    present folder) and removes them.

    \b
    Example:
      miostitch doctor stitched
    """
    from miostitch.inspect.machine import examine

    collect_garbage()
    found = examine(folder)
    console.result(found, texts.doctor_text)
    if any(check.problem for check in found.checks):
        click.get_current_context().exit(RESOURCES)


@click.group()
def config() -> None:
    """List and show the configurations of denoise and workflow.

    \b
    Example:
      miostitch config show denoise_example
    """


@config.command("list")
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
@talking
def show_config(name: str, console: Console) -> None:
    """Show a configuration with the meaning and range of every setting.

    What it prints is a valid configuration, to be saved and changed.

    \b
    Examples:
      miostitch config show denoise_example
      miostitch config show mine.yml --json
    """
    from miostitch.config.files import config_text, load_config
    from miostitch.config.models import described

    chosen = load_config(name)
    console.result(described(chosen), lambda _: config_text(chosen))
