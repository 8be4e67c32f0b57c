"""Every dimension, table column and store variable, stated once.

Validation, Zarr encoding and attributes, and the reference pages of the documentation derive
from this module; nothing else spells out a dtype, a fill value or a unit.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

FORMAT_VERSION = "4"
"""Version of the stores that are written; it rises with every array that is added."""

OLDER_VERSIONS = ("1", "2", "3")
"""Versions that are still read: 3 has neither ``scores/received_buffers`` nor ``scores/complete``,
2 no confidence either, 1 neither times nor ``scores/identical``."""

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
"""No source frame, no ``frame_num`` or no ``reconstructed_frame_index``."""

MAX_RECORDINGS = 127
"""Recordings whose positions ``source`` can hold."""

COMPOSITE = -1
"""Value of ``source`` for a frame that was composed from several recordings."""

CERTAIN = 0.95
"""Confidence of a frame from which it is counted as exact."""

DOUBTFUL = 0.5
"""Confidence below which an intact frame is called doubtful."""

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
"""What a receiver's table has: the columns of mio."""

CORRECTED = Column(
    "buffer_recv_unix_time_corrected", "float64", "s", "the same on the first receiver's clock"
)
"""The last column of every stitched table, which mio has not."""

RECORDED = Column(
    "frame_buffer_count_recorded",
    "int64",
    "1",
    "where in the frame the pixels of a buffer stand whose `frame_buffer_count` was repaired after "
    "the recorder had placed them by it; -1: where `frame_buffer_count` says",
)
"""A column of tables that have such a buffer, which mio has not; such a buffer counts as lost."""

CHECKED = Column(
    "header_crc_ok",
    "str",
    "1",
    "whether the header passed its check; a buffer whose row says False, false or 0 counts as lost",
)
"""A column that some recorders write; it is carried as it is."""

COLUMN_BY_NAME = {column.name: column for column in (*COLUMNS, RECORDED, CORRECTED)}
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


def _frame(name: str, dtype: str, doc: str, unit: str | None = None, **more: Any) -> Variable:
    """What is known of each frame."""
    return Variable(name, (FRAME,), dtype, doc, unit, **more)


def _score(name: str, dtype: str, doc: str, unit: str | None = None, **more: Any) -> Variable:
    """What is known of each candidate for a frame."""
    return Variable(name, (RECORDING, FRAME), dtype, doc, unit, group="/scores", **more)


def _repair(name: str, dtype: str, doc: str, **more: Any) -> Variable:
    """What is known of each repaired cell."""
    return Variable(name, (REPAIR,), dtype, doc, group="/repairs", **more)


_COUNTER = "the device's frame counter, -1 for a frame without a row in the table"
_LIKELY = "probability, NaN if unknown, that the"
_GIVER = "position in the attribute `recordings` of the one that gave"

FRAME_VARIABLES: tuple[Variable, ...] = (
    _frame("frame_num", "int64", _COUNTER, fill=NO_FRAME),
    _frame("timestamp_first", "float64", "reception of the frame's first buffer", "s"),
    _frame("timestamp_last", "float64", "reception of the frame's last buffer", "s"),
    _frame("source", "int8", f"{_GIVER} the frame, -1 for a composite", fill=COMPOSITE),
    _frame("num_buffers", "int16", "distinct buffers received"),
    _frame("missing_pixels", "int32", "pixels not delivered", "pixel"),
    _frame("damaged", "bool", "pixels are missing or the frame is flagged noisy"),
    _frame("unrecoverable", "bool", "pixels are missing that no recording delivered"),
    _frame("confidence", "float32", f"{_LIKELY} frame is exactly what the device sent"),
    _frame("time", "float64", "elapsed time since the first frame, strictly increasing", "s"),
    _frame("time_estimated", "bool", "the time is estimated from those of other frames"),
)

CAMERA = "camera_"
"""How the group of a behaviour camera begins; what follows is the camera's name."""

CAMERA_VARIABLES: tuple[Variable, ...] = (
    _frame("camera_frame", "int64", "frame of the camera that was made nearest in time"),
    _frame("error_s", "float64", "how much later the camera's frame was made", "s"),
)

CONFIDENCE = next(v for v in FRAME_VARIABLES if v.name == "confidence")

TIME_VARIABLES = tuple(v for v in FRAME_VARIABLES if v.name in ("time", "time_estimated"))
"""What is measured of all frames together; see :mod:`miostitch.buffers.elapsed_time`."""

COLUMN_NAME = "column"
"""Attribute of an array of ``buffers``: the column's name, where no array can be called that."""

MEASURED_FPS = "measured_fps"
"""Attribute: frames per s by the device's counter and the clock; absent if not measurable."""

START_TIME = "start_time"
"""Attribute: when the first frame was made, in UTC (ISO 8601); absent if no time is known."""

MOST_BUFFERS = "valid_max"
"""Attribute of ``num_buffers`` of an open recording: the buffers that make a frame."""

RECEIVED = _frame("received", "uint64", "bit k is set: buffer k was received")
"""Coordinate of an open recording: which buffers of the frame came, of the first 64."""

ORIGIN_VARIABLES: tuple[Variable, ...] = (
    _frame("origin", "int16", "position in the attribute `origins` of the frame's file"),
    _frame("origin_frame", "int64", "position of the frame in that file"),
)
"""Coordinates of an open recording that no store has; see :mod:`miostitch.recording.datasets`."""

LOST = _frame("lost", "bool", "the frame cannot be read, or has no row")
"""Coordinate of a recording that was opened with salvage or with a lag."""

FILLED = _frame("filled", "bool", "no receiver has the frame: it is made of those around it")
"""What every frame of a regular time base has besides."""

REGULAR_FRAME = _frame("regular_frame", "int64", "position of the frame in its time base")
"""Coordinate of a regular time base that is not written; see :mod:`miostitch.editing.regular`."""

REGULAR = "regular"
"""Attribute of such a Dataset: how it was filled, and of which frames it is made."""

EPOCHS = "epochs"
"""Attribute of a regular time base: first and last frame of each part that has every tick."""

PIXEL_SCORES: tuple[Variable, ...] = (
    _score("black_pixels", "int64", "pixels of rows with a run of black pixels", "pixel"),
    _score("noisy_pixels", "int64", "pixels of rows with a large mean second difference", "pixel"),
    _score("edge_energy", "int64", "sum of |gx| + |gy| of the 3x3 Sobel operator"),
)

_ANYWHERE = "in the frame or in fragments that a flipped header split off"
_CANDIDATE = "frame of the recording's video, -1 where the recording lacks the frame"

RECEPTION_SCORES: tuple[Variable, ...] = (
    _score("received_buffers", "int16", f"distinct buffers received {_ANYWHERE}", fill=NO_FRAME),
    _score("complete", "bool", f"every buffer was received completely {_ANYWHERE}"),
)
"""What a recording received of a frame, whatever its candidate has of it."""

SCORE_VARIABLES: tuple[Variable, ...] = (
    _score("source_frame", "int64", _CANDIDATE, fill=NO_FRAME),
    _score("num_buffers", "int16", "distinct buffers received"),
    _score("black_padding", "int64", "zeros appended to short buffers", "pixel"),
    *PIXEL_SCORES,
    _score("identical", "bool", "all pixels of the recording's frame are those of the result"),
    *RECEPTION_SCORES,
)


class Evidence(IntEnum):
    """Why a composed buffer is what it is; see :mod:`miostitch.composing.composition`."""

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
        f"{_GIVER} the buffer, or most of what its copies differ in; -1: no receiver",
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
    Variable(
        "confidence",
        (FRAME, POSITION),
        "float32",
        f"{_LIKELY} buffer is exactly what the device sent",
        group="/composition",
    ),
)

REPAIRED_COLUMNS = (
    "buffer_count", "frame_num", "frame_buffer_count", "linked_list", "pixel_count",
)  # fmt: skip
WITNESSES = (
    "buffer_count", "frame_num", "frame_buffer_count", "linked_list", "row before", "row after",
    "size of the position", "no place between its neighbours",
)  # fmt: skip
"""Evidence for a repair; see :mod:`miostitch.buffers.repair`."""

REPAIR_VARIABLES: tuple[Variable, ...] = (
    _repair("recording", "int64", "position in the attribute `recordings` of the one repaired"),
    _repair("segment", "int64", "which of its tables, from 0"),
    _repair("row", "int64", "data row of the table, from 0"),
    _repair("column", "uint8", "column of the cell", flags=REPAIRED_COLUMNS),
    _repair("old", "int64", "value as recorded"),
    _repair("new", "int64", "value after repair"),
    _repair("evidence", "uint8", "who voted for the new value", flags=WITNESSES, bits=True),
)


def chunk_frames(height: int, width: int) -> int:
    """Frames per chunk of ``video``.

    Derived from the size of a frame alone, so that the bytes of a store never depend on the
    machine that wrote it.
    """
    return max(1, CHUNK_BYTES // (height * width))
