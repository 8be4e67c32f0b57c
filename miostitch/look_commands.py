"""Commands that look at results, check them, and carry them on."""

from typing import Any

import click

from miostitch.console import Console, option, talking
from miostitch.options import no_products
from miostitch.verify_wording import verify_text

DIFFERENT = 1
"""Exit code where differences were found."""


@click.command()
@click.argument("path", metavar="DIR", type=click.Path())
@option(
    "-i",
    "--input",
    "recordings",
    multiple=True,
    metavar="VIDEO",
    help="Where a recording is now; in the order of the run, one for each.",
)
@no_products
@talking
def verify(path: str, recordings: tuple[str, ...], console: Console) -> None:
    """Check results against what they were made of.

    Re-reads every output: checksums, counts, every frame, row and score, against the recordings, or
    the files that were edited. DIR is a folder of results, or the .zarr or .json of one. Exit code
    1: there are differences.

    \b
    Examples:
      miostitch verify stitched
      miostitch verify stitched/S.zarr -i moved/A.avi -i moved/B.avi
    """
    from miostitch.verify import verify_files

    with console.progress("verifying") as progress:
        found: dict[str, Any] = verify_files(path, recordings, progress=progress)
    console.result(found, verify_text)
    if found["differences"]:
        click.get_current_context().exit(DIFFERENT)


commands: tuple[click.Command, ...] = (verify,)
