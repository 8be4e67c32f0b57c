"""Commands that look at results, check them, and carry them on."""

import click

from miostitch.console import Console, talking
from miostitch.options import force, output_in
from miostitch.wording import report_text


@click.command()
@click.argument("directory", type=click.Path())
@output_in(default=None, show_default=False, help="Folder of the reports  [default: DIRECTORY]")
@force
@talking
def report(directory: str, output: str | None, force: bool, console: Console) -> None:
    """Write the quality report of what was stitched into a folder.

    DIRECTORY is a folder of products, or one store. The report is the file S_report.html that a
    stitch writes; make it anew after a stitch without one, or for an edited recording. The
    receivers' videos may be gone; then the page shows the result alone.

    \b
    Example:
      miostitch report stitched
    """
    from miostitch.report import report_files

    console.result(report_files(directory, output, force=force), report_text)


commands: tuple[click.Command, ...] = (report,)
