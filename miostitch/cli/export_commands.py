"""Commands that hand a recording on: to other tools, and to the clock of another camera."""

from typing import TYPE_CHECKING, Any, Literal

import click
from click import option

from miostitch.cli import options as opt
from miostitch.cli import session, texts
from miostitch.cli.console import Console, talking
from miostitch.execution.results import AlignTimesSummary, ExportSummary

if TYPE_CHECKING:
    from miostitch.export.run import Kind


@click.command()
@click.argument("recording", type=click.Path(), metavar="ZARR|VIDEO|SESSION.yml")
@option(
    "--to",
    "kind",
    type=click.Choice(["tiff", "hdf5", "zarr2", "nwb", "ucla", "avi-segments", "mp4"]),
    required=True,
    help="Format to write.",
)
@opt.output_in(
    required=True, show_default=False, help="Folder to write to, or the file if it is one."
)
@opt.selects
@opt.formats
@opt.describes_session
@opt.lagging
@opt.salvage
@opt.strict
@opt.force
@talking
def export(
    recording: str,
    kind: "Kind",
    output: str,
    lag: int | Literal["auto"] | None,
    salvage: bool,
    strict: bool,
    force: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Export a recording to the format of another tool.

    \b
    tiff: one page a frame, for ImageJ, CaImAn, suite2p; needs the extra tiff
    hdf5: /mov for CaImAn, /data for suite2p; needs the extra hdf5
    zarr2: a Zarr store of format 2, for minian and CaImAn
    nwb: an NWB file with a OnePhotonSeries; needs the extra nwb
    ucla: 0.avi, 1.avi, ..., timeStamps.csv, metaData.json, for roiextractors
    avi-segments: msCam1.avi, msCam2.avi, ..., timestamps.csv, for minian
    mp4: a preview with the contrast stretched and the time of each frame

    \b
    Examples:
      miostitch export stitched/S.zarr --to zarr2 -o minian
      miostitch export stitched/S.zarr --to nwb -o S.nwb --subject-id m1
      miostitch export stitched/S.zarr --to tiff -o S.tif --frames 0-999
    """
    from miostitch.export.plan import ExportOptions
    from miostitch.export.run import export_recording

    recording, described = session.describe_result(recording, kind, choices)
    options = ExportOptions(**opt.given(described))
    reading = opt.reading({"lag": lag, "salvage": salvage, "strict": strict})
    with console.progress("exporting") as progress:
        made = export_recording(
            recording, output, kind, options, reading=reading, force=force, progress=progress
        )
    console.result(ExportSummary.from_json(made), texts.export_text)


@click.command("align-times")
@click.argument("recording", type=click.Path(), metavar="ZARR|VIDEO|SESSION.yml")
@option(
    "--times",
    type=click.Path(),
    metavar="CSV",
    help="Table with the time of each frame of the camera, one a line (default: the tables that "
    "the session file names).",
)
@opt.output_in(
    default=None, show_default=False, help="Folder to write to  [default: that of the recording]"
)
@option(
    "--column",
    metavar="NAME",
    help="Column of the times (default: the only one, or one of a usual name).",
)
@option(
    "--unit",
    type=click.Choice(["s", "ms"]),
    help="Unit of the times (default: ms if the column's name says so, else s).",
)
@option(
    "--events",
    type=click.Path(),
    metavar="CSV",
    help="Times of shared events, recording and camera (default: both have Unix times).",
)
@option(
    "--into-store",
    is_flag=True,
    help="Also make the frames of the camera coordinates of the store that is named (default: no).",
)
@opt.lagging
@opt.salvage
@opt.strict
@opt.force
@talking
def align_times(
    recording: str,
    times: str | None,
    output: str | None,
    into_store: bool,
    force: bool,
    console: Console,
    **choices: Any,
) -> None:
    """Find the nearest frame of a behaviour camera for every frame.

    Writes S_CAM_camera_frames.csv, one line per frame of the recording S, and
    S_CAM_recording_frames.csv, one line per frame of the camera, whose times are in CAM.csv. Of a
    session file all cameras that it names are aligned with the session's result.

    \b
    Examples:
      miostitch align-times stitched/S.zarr --times cam.csv --unit ms
      miostitch align-times session.yml --into-store
      miostitch align-times stitched/S.zarr --times cam.csv --events leds.csv
    """
    from miostitch.session import behaviour

    table: dict[str, Any] = {name: choices.pop(name) for name in ("column", "unit", "events")}
    reading = opt.reading(choices)
    found, cameras = session.find_cameras(recording, times, table)
    for camera in cameras:
        made = behaviour.align_times(
            found, output=output, into_store=into_store, reading=reading, force=force, **camera
        )
        console.result(AlignTimesSummary.from_json(made), texts.align_times_text)


@click.command()
@click.argument("folder", type=click.Path())
@talking
def crate(folder: str, console: Console) -> None:
    """Describe the results in a folder for archives, as an RO-Crate.

    Writes ro-crate-metadata.json into the folder: what each file is, its size and digest, and what
    it was made of. What somebody has added to that file stays. The option --crate of the commands
    that write results does the same at the end of the run.

    \b
    Example:
      miostitch crate stitched
    """
    from miostitch.crates.run import describe_folder

    console.result({"outputs": [describe_folder(folder)]}, texts.crate_text)
