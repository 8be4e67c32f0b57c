"""Export as HDF5, as CaImAn (``/mov``) and suite2p (``/data``) read it."""

from functools import partial
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

from miostitch.errors import MiostitchError, ResourceError
from miostitch.execution.engine import Output, Products
from miostitch.export.chunks import LEVEL, chunk_writer, compress_chunks, frames_per_chunk
from miostitch.export.frame_columns import described_columns, frame_columns
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.schema import VIDEO

SUFFIXES = (".h5", ".hdf5")
CAIMAN, SUITE2P = "mov", "data"
COLUMNS = "frames"


def hdf5(source: Source, output: Path, _: ExportOptions) -> Plan:
    """Plan a file with the frames once, under the names that both programs look for."""
    suffix = output.suffix if output.suffix in SUFFIXES else SUFFIXES[0]
    folder, stem = named(output, suffix, source.stem)

    def write(path: PathOf, advance: Advance) -> None:
        target = path(suffix)
        try:
            with h5py.File(target, "w") as file:
                _write_columns(file, source)
                data = _begin_video(file, source)
                chunk = data.chunks[0]
                pack = partial(compress_chunks, data.chunks)
                frames = Output(VIDEO.name, pack, partial(chunk_writer, data))
                block = chunk * max(1, source.block // chunk)
                source.write_video(Products(target.parent, (frames,)), advance, block)
        except MiostitchError:  # some are an OSError, too
            raise
        except OSError as error:
            raise ResourceError(f"{target}: cannot be written: {error}; free space") from error

    return Plan(folder, stem, (suffix,), 0, write)


def _begin_video(file: h5py.File, source: Source) -> h5py.Dataset:
    """The dataset of the frames, which are filled in later."""
    count, height, width = source.kept.shape
    chunks = (frames_per_chunk(count, height, width), height, width)
    data = file.create_dataset(
        CAIMAN,
        shape=(count, height, width),
        dtype=np.uint8,
        chunks=chunks,
        compression="gzip",
        compression_opts=LEVEL,
    )
    data.attrs.update({"fr": source.rate, "start_time": 0.0, "file_name": source.stem})
    file[SUITE2P] = data  # one dataset of two names
    file.attrs["software"] = f"miostitch {version('miostitch')}"
    return data


def _write_columns(file: h5py.File, source: Source) -> None:
    group, known = file.create_group(COLUMNS), described_columns(source)
    for name, values in frame_columns(source).items():
        column = group.create_dataset(name, data=values, compression="gzip")
        column.attrs.update({k: v for k, v in known[name].attrs.items() if isinstance(v, str)})
