"""What a run would meet, without running it."""

import os
from typing import Any

import numpy as np

from miostitch.damage import lost_buffers
from miostitch.recording import ReadOptions, Recording, load_recording, table_path


def inspect_recording(
    spec: str | os.PathLike[str], options: ReadOptions | None = None
) -> dict[str, Any]:
    """Describe a recording from its index and its table; no picture is read.

    Parameters
    ----------
    spec
        A video with or without a table, or segments separated by commas.
    options
        How to read; a missing table is no fault here.

    Returns
    -------
    dict
        JSON values: size, rate and codec of the video, what the table says was received and
        lost, and everything worth a notice.

    Raises
    ------
    InputError
        The files cannot be read.
    """
    recording = load_recording(spec, options or ReadOptions(need_table=False))
    frames, height, width = recording.shape
    video = recording.videos[0]
    return {
        "path": recording.path,
        "segments": len(recording.videos),
        "frames": frames,
        "height": height,
        "width": width,
        "fps": str(video.fps),
        "duration_s": round(float(frames / video.fps), 3),
        "codec": video.codec,
        "lossy": video.lossy,
        "table": _describe_table(recording) if recording.tables else None,
        "notices": [*recording.notices, *_missing_table(recording)],
    }


def _missing_table(recording: Recording) -> list[str]:
    if recording.tables:
        return []
    return [f"no table {table_path(recording.path)}; stitching needs one beside the video"]


def _describe_table(recording: Recording) -> dict[str, Any]:
    table = recording.frames
    frame_num = np.unique(table.frame_num[table.frame_num >= 0])
    if not len(frame_num):
        return {"rows": sum(t.row_count for t in recording.tables), "frame_num": None}
    # the usual number: one flipped position must not raise it
    expected = int(np.bincount(table.num_buffers[table.frame_num >= 0]).argmax())
    jumps = np.diff(frame_num)
    return {
        "rows": sum(t.row_count for t in recording.tables),
        "orphan_rows": sum(t.orphan_rows for t in recording.tables),
        "frame_num": [int(frame_num[0]), int(frame_num[-1])],
        "lost_frames": int((jumps - 1).sum()),
        "repeated_frames": int((table.frame_num >= 0).sum()) - len(frame_num),
        "buffers_per_frame": expected,
        "incomplete_frames": int((table.num_buffers[table.frame_num >= 0] < expected).sum()),
        "buffers_lost": lost_buffers(table.frame_num, table.buffers, expected),
        "repairable_cells": sum(len(t.repairs) for t in recording.tables),
        "padded_pixels": int(table.black_padding.sum()),
    }
