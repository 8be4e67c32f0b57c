"""Commands that look at results, check them, and carry them on."""

from typing import TYPE_CHECKING, Any

import click

from miostitch.console import Console, option, talking
from miostitch.options import describes_session, force, given, output_in, salvage
from miostitch.wording import export_text

if TYPE_CHECKING:
    from miostitch.export import Kind


@click.command()
@click.argument("recording", type=click.Path(), metavar="ZARR|VIDEO")
@option(
    "--to",
    "kind",
    type=click.Choice(["ucla", "avi-segments", "nwb", "zarr2"]),
    required=True,
    help="What the other tool reads.",
)
@output_in(required=True, help="Folder, or for nwb and zarr2 also the file.")
@describes_session
@salvage
@force
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
    ucla          0.avi, 1.avi, ..., timeStamps.csv, metaData.json: roiextractors, neuroconv
    avi-segments  msCam1.avi, msCam2.avi, ..., timestamps.csv: minian
    zarr2         a Zarr store of format 2: minian, CaImAn
    nwb           a OnePhotonSeries; needs miostitch[nwb]

    \b
    Examples:
      miostitch export stitched/S.zarr --to zarr2 -o minian
      miostitch export stitched/S.zarr --to nwb -o S.nwb --subject-id m1 --species "Mus musculus"
    """
    from miostitch.export import export_recording
    from miostitch.export_plan import ExportOptions
    from miostitch.opening import ReadOptions

    options = ExportOptions(**given(choices))
    reading = ReadOptions(need_table=False, salvage=salvage)
    with console.progress("exporting") as progress:
        made = export_recording(
            recording, output, kind, options, reading=reading, force=force, progress=progress
        )
    console.result(made, export_text)


commands: tuple[click.Command, ...] = (export,)
