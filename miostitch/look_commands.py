"""Commands that look at results, check them, and carry them on."""

from typing import Any

import click

from miostitch.console import Console, option, talking
from miostitch.options import (
    given,
    lag,
    max_frame_pixels,
    no_products,
    salvage,
    takes_recordings,
)
from miostitch.wording import view_text


@click.command()
@takes_recordings
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
@option("--lag", type=lag, metavar="auto|N", help="Video frame i + N is table index i.")
@max_frame_pixels
@salvage
@no_products
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
    from miostitch.opening import ReadOptions
    from miostitch.viewer import ViewOptions, view

    options = ViewOptions(port or 0, marks, folders, browser)
    reading = ReadOptions(need_table=False, **given(choices))
    view(names, options, reading=reading, ready=lambda found: console.result(found, view_text))


commands: tuple[click.Command, ...] = (view,)
