"""Export as NWB: one OnePhotonSeries, its frames in the file or in a video next to it."""

from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from hdmf.common import DynamicTable, VectorData
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.device import Device
from pynwb.file import Subject
from pynwb.ophys import ImagingPlane, OnePhotonSeries, OpticalChannel

from miostitch.config.session_file import Behaviour
from miostitch.errors import InputError, MiostitchError, Notice, ResourceError, UsageError
from miostitch.execution.engine import Output, Products
from miostitch.export.chunks import chunk_writer, compress_chunks, frames_per_chunk
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.ranges import runs
from miostitch.recording.frame_times import time_of_dataset
from miostitch.schema import VIDEO
from miostitch.session.behaviour import AlignedCamera, align_camera
from miostitch.session.camera_times import nearest, read_camera_times
from miostitch.text import amount

NWB = ".nwb"
EXTERNAL = "_external.avi"
SERIES = "OnePhotonSeries"

KEYWORDS = ("miniscope", "one-photon imaging")
"""What archives search for."""

UNKNOWN_AGE = "P0D/"  # NWB has no word for an unknown age, but a range without an upper end


def nwb(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan an NWB file."""
    folder, stem = named(output, NWB, source.stem)
    start, seconds = _times(source, options.session_start)
    cameras = [_align(source, each) for each in options.behaviour]
    if options.session_start is None:
        start, seconds = _begin_with_cameras(start, seconds, source, cameras)
    file = _described(source, start, options)

    def write(path: PathOf, advance: Advance) -> None:
        video = path(EXTERNAL) if options.external else None
        series = _series(source, file, seconds, video)
        file.add_acquisition(series)
        module = file.create_processing_module("ophys", "what the stitched recording knows")
        module.add(_frames(source))
        _add_cameras(file, source, cameras, seconds)
        _add_invalid_times(file, source, seconds)
        try:
            with NWBHDF5IO(path(NWB), "w") as io:
                io.write(file)
                if video is None:
                    data = file.acquisition[SERIES].data.dataset
                    pack = partial(compress_chunks, data.chunks, axes=(0, 2, 1))
                    output = Output(VIDEO.name, pack, partial(chunk_writer, data))
                    products = Products(path(NWB).parent, (output,))
                    chunk = data.chunks[0]  # blocks of whole ones: they are compressed as they come
                    block = chunk * max(1, source.block // chunk)
                    source.write_video(products, advance, block)
        except MiostitchError:  # some are an OSError, too
            raise
        except OSError as error:
            raise ResourceError(f"{path(NWB)}: cannot be written: {error}; free space") from error
        if video is not None:
            output = Output.of(VIDEO.name, source.video_file(video, options.codec))
            source.write_video(Products(video.parent, (output,)), advance)

    needed = source.kept.video.size if options.external else 0
    notices = [notice for _, aligned in cameras for notice in aligned.notices]
    notices += _unnamed_cameras(source, options)
    return Plan(folder, stem, (EXTERNAL, NWB), needed, write, notices)


def _align(source: Source, camera: Behaviour) -> tuple[str, AlignedCamera]:
    """The name of a camera, and its frames on the clock of the recording."""
    elapsed = time_of_dataset(source.dataset)
    if elapsed is None:
        msg = f"{source.path}: has no times, by which a camera could be aligned"
        raise InputError(f"{msg}; export without behaviour")
    times = read_camera_times(camera.timestamps, camera.column, camera.unit)
    return camera.name, align_camera(times, elapsed, camera.events, source.path)


def _unnamed_cameras(source: Source, options: ExportOptions) -> list[Notice]:
    """Say that the session of a result has cameras whose tables are not named here."""
    session = source.dataset.attrs.get("session")
    known = session.get("behaviour") if isinstance(session, dict) else None
    if not known or options.behaviour:
        return []
    text = f"times of {amount(len(known), 'behaviour camera')} of its session are not exported"
    return [Notice(source.path, text, "name the session file instead of its result")]


def _add_cameras(
    file: NWBFile,
    source: Source,
    cameras: list[tuple[str, AlignedCamera]],
    seconds: NDArray[np.float64],
) -> None:
    """Add the times of behaviour cameras, and of each of their frames the nearest of ours."""
    if not cameras:
        return
    module = file.create_processing_module("behavior", "when behaviour cameras made their frames")
    elapsed = time_of_dataset(source.dataset)
    assert elapsed is not None
    ahead = _ahead(source, seconds)
    for name, aligned in cameras:
        frames, error = nearest(aligned.seconds, elapsed.seconds)
        told = "position of the nearest frame of OnePhotonSeries at the time of each camera frame"
        clock = aligned.clock
        how = "its clock and the receiver's both count from 1970"
        if clock is not None:
            how = f"clock ahead by {clock.offset_s:.6g} s, fitted by {clock.events} events"
        module.add(
            TimeSeries(
                name=f"{name}_nearest_frame".replace("/", "_").replace(":", "_"),
                description=f"{told}; {how}",
                comments=f"times of {Path(aligned.camera.path).name}; "
                f"half of them are within {np.median(np.abs(error)):.4g} s of that frame",
                data=H5DataIO(frames, compression="gzip"),
                timestamps=H5DataIO(aligned.seconds + ahead, compression="gzip"),
                unit="n.a.",
                continuity="step",
            )
        )


def _times(source: Source, start: datetime | None) -> tuple[datetime, NDArray[np.float64]]:
    """When the session began, and the time of each frame after that, in s."""
    seconds, first = source.seconds(), source.start
    if first is None:
        if start is None:
            msg = f"{source.path}: no times are known; say when the session began: --session-start"
            raise UsageError(msg)
        return start, seconds
    ahead = 0.0 if start is None else source.unix[0] - start.timestamp()
    if start is not None and ahead < 0:
        msg = f"session start {start.isoformat()}: is after the first frame, {first.isoformat()}"
        raise UsageError(f"{msg}; give an earlier time")
    return start or first, seconds + ahead


def _ahead(source: Source, seconds: NDArray[np.float64]) -> float:
    """How much later times of the session are than those of the recording, in s."""
    elapsed = time_of_dataset(source.dataset)
    return 0.0 if elapsed is None else float(seconds[0] - elapsed.seconds[0])


def _begin_with_cameras(
    start: datetime,
    seconds: NDArray[np.float64],
    source: Source,
    cameras: list[tuple[str, AlignedCamera]],
) -> tuple[datetime, NDArray[np.float64]]:
    """Begin a session with the first frame of whatever camera: no time may be negative."""
    if not cameras:
        return start, seconds
    first = min(aligned.seconds.min() for _, aligned in cameras) + _ahead(source, seconds)
    earlier = timedelta(microseconds=max(0, ceil(-first * 1e6)))
    return start - earlier, seconds + earlier.total_seconds()


def _described(source: Source, start: datetime, options: ExportOptions) -> NWBFile:
    """A file with all but the frames and their times."""
    software = f"miostitch {version('miostitch')}"
    known = (options.indicator, options.location)
    file = NWBFile(
        session_description=options.session_description or f"miniscope recording {source.stem}",
        identifier=str(uuid4()),
        session_start_time=start,
        experimenter=None if options.experimenter is None else [options.experimenter],
        institution=options.institution,
        experiment_description="one-photon imaging with a wireless, head-mounted miniscope",
        keywords=[*KEYWORDS, *(word for word in known if word != "unknown")],
        notes=f"exported from {Path(source.path).name} by {software}",
    )
    file.subject = Subject(
        subject_id=options.subject_id or "unknown",
        species=options.species,
        sex=options.sex or "U",
        age=options.age or UNKNOWN_AGE,
        description="animal with a head-mounted miniscope",
    )
    device = Device(name="Miniscope", description="head-mounted one-photon microscope")
    file.add_device(device)
    channel = OpticalChannel(
        name="OpticalChannel", description="gray images", emission_lambda=np.nan
    )
    file.add_imaging_plane(
        ImagingPlane(
            name="ImagingPlane",
            description="field of view of the miniscope",
            optical_channel=channel,
            device=device,
            excitation_lambda=np.nan,
            imaging_rate=source.rate,
            indicator=options.indicator,
            location=options.location,
        )
    )
    return file


def _series(
    source: Source, file: NWBFile, seconds: NDArray[np.float64], video: Path | None
) -> OnePhotonSeries:
    """The frames and their times; frames in the file are filled in later."""
    count, height, width = source.kept.shape
    timing: dict[str, Any] = {"timestamps": H5DataIO(seconds, compression="gzip")}
    if not source.timed:
        timing = {"starting_time": 0.0, "rate": float(source.kept.fps)}
    if video is None:
        chunk = frames_per_chunk(count, height, width)
        data = H5DataIO(
            shape=(count, width, height),
            dtype=np.dtype(np.uint8),
            chunks=(chunk, width, height),
            compression="gzip",
        )
        content: dict[str, Any] = {"data": data, "unit": "a.u."}
    else:
        content = {
            "external_file": [video.name],
            "starting_frame": [0],
            "format": "external",
            "dimension": [width, height],
            "unit": "a.u.",
        }
        if not source.timed:  # neither frames nor times say how many there are
            content["num_samples"] = count
    return OnePhotonSeries(
        name=SERIES,
        description="; ".join(filter(None, ("gray values from 0 to 255", source.rate_text))),
        imaging_plane=file.imaging_planes["ImagingPlane"],
        **content,
        **timing,
    )


def _add_invalid_times(file: NWBFile, source: Source, seconds: NDArray[np.float64]) -> None:
    """Mark when frames were filled, and gaps between epochs: there is nothing to analyse."""
    if source.filled is None or source.epochs is None:
        return
    half = 0.5 / source.rate
    for first, last in runs(np.flatnonzero(source.filled)).tolist():
        tags = ["filled"]
        file.add_invalid_time_interval(seconds[first] - half, seconds[last] + half, tags=tags)
    for (_, last), (first, _) in pairwise(source.epochs):
        tags = ["not received"]
        file.add_invalid_time_interval(seconds[last] + half, seconds[first] - half, tags=tags)


def _frames(source: Source) -> DynamicTable:
    """What is known per frame besides its time."""
    columns = [
        VectorData(
            name=variable.name,
            description=variable.doc,
            data=H5DataIO(source.dataset[variable.name].to_numpy(), compression="gzip"),
        )
        for variable in source.variables
        if not variable.name.startswith("timestamp")
    ]
    return DynamicTable(
        name="frames", description="what is known of each frame of the series", columns=columns
    )
