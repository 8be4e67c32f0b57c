"""Export as NWB: one OnePhotonSeries, its frames in the file or in a video next to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from hdmf.common import DynamicTable, VectorData
from isal import isal_zlib
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile
from pynwb.device import Device
from pynwb.file import Subject
from pynwb.ophys import ImagingPlane, OnePhotonSeries, OpticalChannel

from miostitch.errors import MiostitchError, ResourceError, UsageError
from miostitch.execution.engine import Output, Products
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.ranges import spans
from miostitch.schema import VIDEO
from miostitch.video.writer import Append, Packed

NWB = ".nwb"
EXTERNAL = "_external.avi"
SERIES = "OnePhotonSeries"

CHUNK_BYTES = 2**20  # HDF5 keeps a chunk of this size in its cache
LEVEL = 2  # Of ISA-L's deflate: four times as fast as zlib's level 1 or more, and some 5 % larger
UNKNOWN_AGE = "P0D/"  # NWB has no word for an unknown age, but a range without an upper end


def nwb(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan an NWB file."""
    folder, stem = named(output, NWB, source.stem)
    start, seconds = _times(source, options.session_start)
    file = _described(source, start, options)

    def write(path: PathOf, advance: Advance) -> None:
        video = path(EXTERNAL) if options.external else None
        series = _series(source, file, seconds, video)
        file.add_acquisition(series)
        module = file.create_processing_module("ophys", "what the stitched recording knows")
        module.add(_frames(source))
        try:
            with NWBHDF5IO(path(NWB), "w") as io:
                io.write(file)
                if video is None:
                    data = file.acquisition[SERIES].data.dataset
                    pack = partial(compress_chunks, data.chunks)
                    output = Output(VIDEO.name, pack, partial(chunk_writer, data))
                    products = Products(path(NWB).parent, (output,))
                    chunk = data.chunks[0]  # blocks of whole ones: they are compressed as they come
                    block = chunk * max(1, source.kept.block // chunk)
                    source.write_video(products, advance, block)
        except MiostitchError:  # some are an OSError, too
            raise
        except OSError as error:
            raise ResourceError(f"{path(NWB)}: cannot be written: {error}; free space") from error
        if video is not None:
            output = Output.of(VIDEO.name, source.video_file(video, options.codec))
            source.write_video(Products(video.parent, (output,)), advance)

    needed = source.kept.video.size if options.external else 0
    return Plan(folder, stem, (EXTERNAL, NWB), needed, write)


def compress_chunks(
    chunks: tuple[int, int, int], first: int, frames: NDArray[np.uint8]
) -> list[bytes]:
    """Chunks (time, width, height) of frames, as HDF5's own filter would have made them.

    Its zlib takes longer than all the rest. ``frames``: whole chunks, but at the end.
    """
    packed = []
    for span in spans(len(frames), chunks[0]):
        part = frames[span]
        chunk = np.zeros(chunks, np.uint8)  # the last one reaches beyond the end
        chunk[: len(part)] = part.transpose(0, 2, 1)
        packed.append(isal_zlib.compress(chunk, LEVEL))
    return packed


@contextmanager
def chunk_writer(data: Any, count: int) -> Iterator[Append]:
    """Take compressed chunks into a dataset (time, width, height)."""

    def append(first: int, packed: Packed) -> None:
        for number, chunk in enumerate(packed):
            data.id.write_direct_chunk((first + number * data.chunks[0], 0, 0), chunk)

    yield append


def _times(source: Source, start: datetime | None) -> tuple[datetime, NDArray[np.float64]]:
    """When the session began, and the time of each frame after that, in s."""
    seconds, first = source.seconds(), source.start
    if first is None:
        if start is None:
            msg = f"{source.path}: no times are known; say when the session began: --session-start"
            raise UsageError(msg)
        return start, seconds
    ahead = 0.0 if start is None else source.timestamps[0, 0] - start.timestamp()
    if start is not None and ahead < 0:
        msg = f"session start {start.isoformat()}: is after the first frame, {first.isoformat()}"
        raise UsageError(f"{msg}; give an earlier time")
    return start or first, seconds + ahead


def _described(source: Source, start: datetime, options: ExportOptions) -> NWBFile:
    """A file with all but the frames and their times."""
    software = f"miostitch {version('miostitch')}"
    file = NWBFile(
        session_description=options.session_description or f"miniscope recording {source.stem}",
        identifier=str(uuid4()),
        session_start_time=start,
        experimenter=None if options.experimenter is None else [options.experimenter],
        institution=options.institution,
        notes=f"exported from {Path(source.path).name} by {software}",
    )
    file.subject = Subject(
        subject_id=options.subject_id or "unknown",
        species=options.species,
        sex=options.sex or "U",
        age=options.age or UNKNOWN_AGE,
        description="unknown" if options.subject_id is None else None,
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
        chunk = min(count, max(1, CHUNK_BYTES // (height * width)))
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
