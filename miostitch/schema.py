"""Every dimension, table column and store variable, stated once.

Validation, Zarr encoding and attributes, and the reference pages of the documentation derive
from this module; nothing else spells out a dtype, a fill value or a unit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from miostitch.errors import MetadataError

FORMAT_VERSION = "1"

FRAME = "frame"
HEIGHT = "height"
WIDTH = "width"
RECORDING = "recording"
BUFFER = "buffer"
POSITION = "position"
REPAIR = "repair"
SCORE = "score"
BLOCK = "block"

NO_FRAME = -1
"""Absence of a source frame, of a ``frame_num`` or of a ``reconstructed_frame_index``."""

COMPOSITE = -1
"""Value of ``source`` for a frame that was composed from several recordings."""

CHUNK_BYTES = 16 * 2**20
"""Target size of one chunk of ``video`` in bytes; see :func:`chunk_frames`."""


@dataclass(frozen=True)
class Column:
    """One column of a metadata table (``{stem}.csv``, one row per received buffer)."""

    name: str
    dtype: str
    unit: str
    doc: str
    required: bool = False


COLUMNS: tuple[Column, ...] = (
    Column("linked_list", "int64", "1", "position of the buffer in the device's ring"),
    Column("frame_num", "int64", "1", "the device's frame counter: the frame's identity", True),
    Column("buffer_count", "int64", "1", "the device's buffer counter", True),
    Column("frame_buffer_count", "int64", "1", "position of the buffer in its frame", True),
    Column("write_buffer_count", "int64", "1", "buffers the device had written out"),
    Column("dropped_buffer_count", "int64", "1", "buffers the device had dropped"),
    Column("timestamp", "int64", "ms", "the device's clock"),
    Column("pixel_count", "int64", "pixel", "pixels of the buffer's payload", True),
    Column("write_timestamp", "int64", "ms", "the device's clock when the buffer was written out"),
    Column("battery_voltage_raw", "int64", "ADC count", "battery voltage"),
    Column("input_voltage_raw", "int64", "ADC count", "input voltage"),
    Column("buffer_recv_index", "int64", "1", "the receiver's own buffer counter"),
    Column("buffer_recv_unix_time", "float64", "s", "the receiver's clock at reception", True),
    Column(
        "black_padding_px",
        "int64",
        "pixel",
        "zeros appended to a short payload; negative where the payload ran over",
    ),
    Column(
        "reconstructed_frame_index",
        "int64",
        "1",
        "position of the buffer's frame in the video, from 0; -1 for a buffer of no frame",
        True,
    ),
)
COLUMN_BY_NAME = {column.name: column for column in COLUMNS}
REQUIRED_COLUMNS = tuple(column.name for column in COLUMNS if column.required)


@dataclass(frozen=True)
class Variable:
    """One array of a store; `flags` says what its values, or their `bits`, mean."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    doc: str
    unit: str | None = None
    fill: float | bool | None = None
    group: str = "/"
    flags: tuple[str, ...] = ()
    bits: bool = False

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes, as written to the store."""
        attrs: dict[str, Any] = {"long_name": self.doc}
        if self.unit is not None:
            attrs["units"] = self.unit
        if self.flags:
            codes = range(len(self.flags))
            name = "flag_masks" if self.bits else "flag_values"
            attrs[name] = [1 << code if self.bits else code for code in codes]
            attrs["flag_meanings"] = " ".join(flag.replace(" ", "_") for flag in self.flags)
        return attrs


VIDEO = Variable("video", (FRAME, HEIGHT, WIDTH), "uint8", "gray images", unit="1")

INDEX_VARIABLES: tuple[Variable, ...] = (
    Variable(FRAME, (FRAME,), "int64", "position of the frame in the video"),
    Variable(HEIGHT, (HEIGHT,), "int64", "row of the image", unit="pixel"),
    Variable(WIDTH, (WIDTH,), "int64", "column of the image", unit="pixel"),
)

FRAME_VARIABLES: tuple[Variable, ...] = (
    Variable(
        "frame_num",
        (FRAME,),
        "int64",
        "the device's frame counter, -1 for a picture without a row in the table",
        fill=NO_FRAME,
    ),
    Variable(
        "timestamp_first", (FRAME,), "float64", "reception of the frame's first buffer", unit="s"
    ),
    Variable(
        "timestamp_last", (FRAME,), "float64", "reception of the frame's last buffer", unit="s"
    ),
    Variable(
        "source",
        (FRAME,),
        "int8",
        "position in the attribute `recordings` of the one that gave the frame, -1 for a composite",
        fill=COMPOSITE,
    ),
    Variable("num_buffers", (FRAME,), "int16", "distinct buffers received"),
    Variable("missing_pixels", (FRAME,), "int32", "pixels not delivered", unit="pixel"),
    Variable("damaged", (FRAME,), "bool", "pixels are missing or the frame is flagged noisy"),
    Variable("unrecoverable", (FRAME,), "bool", "pixels are missing that no recording delivered"),
)

ORIGIN_VARIABLES: tuple[Variable, ...] = (
    Variable(
        "origin", (FRAME,), "int16", "position in the attribute `origins` of the frame's file"
    ),
    Variable("origin_frame", (FRAME,), "int64", "position of the frame in that file"),
)
"""Coordinates of an open recording that no store has; see :mod:`miostitch.recording.datasets`."""

LOST = Variable("lost", (FRAME,), "bool", "the picture cannot be read, or no row tells of it")
"""Coordinate of a recording that was opened to be salvaged, or with a lag."""

PIXEL_SCORES: tuple[Variable, ...] = (
    Variable(
        "black_pixels",
        (RECORDING, FRAME),
        "int64",
        "pixels of rows with a run of black pixels",
        unit="pixel",
        group="/scores",
    ),
    Variable(
        "noisy_pixels",
        (RECORDING, FRAME),
        "int64",
        "pixels of rows with a large mean second difference",
        unit="pixel",
        group="/scores",
    ),
    Variable(
        "edge_energy",
        (RECORDING, FRAME),
        "int64",
        "sum of |gx| + |gy| of the 3x3 Sobel operator",
        group="/scores",
    ),
)

SCORE_VARIABLES: tuple[Variable, ...] = (
    Variable(
        "source_frame",
        (RECORDING, FRAME),
        "int64",
        "frame of the recording's video, -1 where the recording lacks the frame",
        fill=NO_FRAME,
        group="/scores",
    ),
    Variable(
        "num_buffers", (RECORDING, FRAME), "int16", "distinct buffers received", group="/scores"
    ),
    Variable(
        "black_padding",
        (RECORDING, FRAME),
        "int64",
        "zeros appended to short buffers",
        unit="pixel",
        group="/scores",
    ),
    *PIXEL_SCORES,
)


class Evidence(IntEnum):
    """Why a composed buffer is what it is."""

    NOBODY = 0
    SINGLE = 1
    IDENTICAL = 2
    MAJORITY = 3
    STRETCHES = 4


EVIDENCE = tuple(evidence.name.lower() for evidence in Evidence)

COMPOSITION_VARIABLES: tuple[Variable, ...] = (
    Variable(
        "buffer_source",
        (FRAME, POSITION),
        "int8",
        "position in the attribute `recordings` of the one that gave the buffer, or most of what "
        "its copies differ in; -1 nobody",
        fill=NO_FRAME,
        group="/composition",
    ),
    Variable(
        "buffer_evidence",
        (FRAME, POSITION),
        "uint8",
        "why the buffer is what it is",
        group="/composition",
        flags=EVIDENCE,
    ),
)

REPAIRED_COLUMNS = (
    "buffer_count", "frame_num", "frame_buffer_count", "linked_list", "pixel_count",
)  # fmt: skip
WITNESSES = (
    "buffer_count", "frame_num", "frame_buffer_count", "linked_list", "row before", "row after",
    "size of the position", "no place between its neighbours",
)  # fmt: skip
"""Who can vote in a repair; see :mod:`miostitch.buffers.repair`."""

REPAIR_VARIABLES: tuple[Variable, ...] = (
    Variable(
        "recording",
        (REPAIR,),
        "int64",
        "position in the attribute `recordings` of the one repaired",
        group="/repairs",
    ),
    Variable("segment", (REPAIR,), "int64", "which of its tables, from 0", group="/repairs"),
    Variable("row", (REPAIR,), "int64", "data row of the table, from 0", group="/repairs"),
    Variable(
        "column",
        (REPAIR,),
        "uint8",
        "column of the cell",
        group="/repairs",
        flags=REPAIRED_COLUMNS,
    ),
    Variable("old", (REPAIR,), "int64", "value as recorded", group="/repairs"),
    Variable("new", (REPAIR,), "int64", "value after repair", group="/repairs"),
    Variable(
        "evidence",
        (REPAIR,),
        "uint8",
        "who voted for the new value",
        group="/repairs",
        flags=WITNESSES,
        bits=True,
    ),
)


def chunk_frames(height: int, width: int) -> int:
    """Frames per chunk of ``video``.

    Derived from the size of a frame alone, so that the bytes of a store never depend on the
    machine that wrote it.
    """
    return max(1, CHUNK_BYTES // (height * width))


def check_columns(names: Iterable[str], where: str) -> None:
    """Check the header of a metadata table."""
    found = list(names)
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    if missing:
        msg = (
            f"{where}: missing columns {', '.join(missing)}; found {', '.join(found)}; "
            f"one row per received buffer with at least {', '.join(REQUIRED_COLUMNS)} is needed"
        )
        raise MetadataError(msg)
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        msg = f"{where}: the header names {', '.join(twice)} twice; keep one column of each name"
        raise MetadataError(msg)
