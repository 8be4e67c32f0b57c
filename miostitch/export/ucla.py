"""Export as a folder as the UCLA Miniscope's software records it (roiextractors, neuroconv)."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.errors import ResourceError, UsageError
from miostitch.export import avi
from miostitch.export.frame_columns import FRAMES, write_frame_columns
from miostitch.export.plan import Advance, ExportOptions, PathOf, Plan, Source
from miostitch.schema import NO_FRAME

UCLA_TIMES = "timeStamps.csv"
UCLA_FACTS = "metaData.json"
NUMBER, MILLISECONDS = "Frame Number", "Time Stamp (ms)"
BUFFER, DAQ_NUMBER, UNIX = "Buffer Index", "DAQ Frame Number", "Unix Time Stamp (ms)"


def ucla(source: Source, output: Path, options: ExportOptions) -> Plan:
    """Plan such a folder."""
    new, old = avi.name_segments(source, output, "{}.avi", first=0)
    others = sorted(p.name for p in output.glob("*.avi") if not re.fullmatch(r"\d+\.avi", p.name))
    if others:
        msg = f"{output}: {others[0]} is there, and readers of this folder take every .avi as a"
        raise UsageError(f"{msg} part of the recording; choose another folder")
    times = _times(source, options.ucla_format)
    start = options.session_start or source.start

    def write(path: PathOf, advance: Advance) -> None:
        avi.write_table(path(UCLA_TIMES), times)
        _write_facts(path(UCLA_FACTS), _facts(source, start, options))
        write_frame_columns(path(FRAMES), source)
        avi.write_segments(source, [path(name) for name in new], options, advance)

    names = (*new, *old, UCLA_TIMES, UCLA_FACTS, FRAMES)
    return Plan(output, "", names, source.kept.video.size, write)


def _times(source: Source, version: int) -> dict[str, NDArray[Any]]:
    """The columns of ``timeStamps.csv``, in the order of the software of that version.

    The device's counter is its frame number: a gap in it is a lost frame, -1 an unknown number.
    """
    seconds, count = source.seconds(), source.count
    columns = {NUMBER: np.arange(count), MILLISECONDS: np.round(1000 * seconds, 3)}
    if version == 1:
        return columns
    unknown = np.full(count, NO_FRAME)
    numbered = "frame_num" in source.dataset.coords
    columns[BUFFER] = np.zeros(count, np.int64)  # of the software's ring, which does not matter
    columns[DAQ_NUMBER] = source.dataset["frame_num"].to_numpy() if numbered else unknown
    if source.timed:
        columns[UNIX] = np.round(1000 * source.unix, 3)
    return columns


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(facts, indent=4) + "\n", encoding="utf-8")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error


def _facts(source: Source, start: datetime | None, options: ExportOptions) -> dict[str, Any]:
    """What the device's ``metaData.json`` says, and when the recording started."""
    _, height, width = source.kept.shape
    facts: dict[str, Any] = {
        "deviceName": "Miniscope",
        "deviceType": "Miniscope",
        "frameRate": f"{source.rate:.6g}FPS",
        "framesPerFile": avi.FRAMES_PER_FILE,
        "compression": {"rawvideo": "None", "ffv1": "FFV1"}[options.codec],
        "ROI": {"height": height, "leftEdge": 0, "topEdge": 0, "width": width},
    }
    if start is not None:
        units = ("year", "month", "day", "hour", "minute", "second")
        facts["recordingStartTime"] = {
            **{unit: getattr(start, unit) for unit in units},
            "msec": start.microsecond // 1000,
            "msecSinceEpoch": int(start.timestamp() * 1000),
        }
    return facts
