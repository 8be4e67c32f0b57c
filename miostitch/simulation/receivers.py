"""Simulated receivers: sessions of one device whose truth is known.

The device makes a moving image and sends it buffer by buffer. Every receiver loses, damages and
misreads buffers of its own and writes them as mio does.
"""

import json
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.arrays import U8
from miostitch.buffers.csv_files import TableWriter
from miostitch.errors import ResourceError, UsageError
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.workspace import Workspace
from miostitch.schema import COLUMNS, NO_FRAME
from miostitch.simulation.bit_errors import BitErrors
from miostitch.simulation.device import (
    EPOCH_US,
    Air,
    Device,
    Faults,
    Sent,
    SimulationConfig,
    below,
)
from miostitch.video.writer import VideoWriter

__all__ = ["DEFAULT_CONFIG", "Simulation", "SimulationConfig", "simulate"]

DEFAULT_CONFIG = SimulationConfig()
TABLE_COLUMNS = tuple(column.name for column in COLUMNS)
FLAGS = (("orphan", "?"), ("failed", "?"))
CHECKED = "header_crc_ok"
"""Column of whether the check of a buffer's header succeeded."""

TRUTH_ARRAYS = ("video_frame", "corrupted", "short")
FILES = (".avi", ".csv")
RECEIVER = re.compile(r"receiver[0-9]+\.(avi|csv)")
ARRAYS, SUMMARY = "truth.npz", "truth.json"
FLIPPABLE = (
    ("linked_list", 5),
    ("frame_num", 12),
    ("buffer_count", 15),
    ("frame_buffer_count", 8),
    ("timestamp", 16),
    ("pixel_count", 13),
)
Rows: TypeAlias = NDArray[np.void]
"""Buffers that arrive: frame and buffer as sent, header as read, fragment, and orphan or not."""

FLIP_RECORD = np.dtype(
    [
        *((name, "<i8") for name in ("receiver", "row", "frame", "buffer", "sent", "received")),
        ("column", "<U24"),
    ]
)


@dataclass(frozen=True)
class Simulation:
    """A simulated session on disk.

    Parameters
    ----------
    config
        What was simulated.
    recordings
        Every receiver's video; its table lies beside it.
    truth_video, truth_table
        Every frame the device made and every buffer it sent.
    truth_arrays
        What became of each buffer, as :meth:`load_arrays` returns it.
    counts
        Per receiver, how often each fault happened.
    """

    config: SimulationConfig
    recordings: tuple[Path, ...]
    truth_video: Path
    truth_table: Path
    truth_arrays: Path
    counts: tuple[dict[str, int], ...]

    def load_arrays(self) -> dict[str, NDArray[Any]]:
        """Read the truth about every receiver.

        Returns
        -------
        dict
            ``video_frame`` int32 (receiver, frame, buffer): the frame of the receiver's video that
            shows the buffer at its own place, -1 where none does; ``corrupted`` and ``short`` bool
            of the same shape: the buffer arrived with bit errors, or broke off; ``flips``, one
            record per changed header cell that is in a table: receiver, data row of its table,
            frame, buffer, value sent, value received, column.
        """
        with np.load(self.truth_arrays) as arrays:
            return dict(arrays)


class _Receiver:
    """Writes what arrives as mio does.

    Whenever the ``frame_num`` that is read changes, a video frame, a *fragment*, begins. A buffer
    goes where its header says; what no buffer fills stays zero. The last fragment is carried from
    block to block.
    """

    def __init__(self, device: Device, number: int, video: VideoWriter, table: TableWriter) -> None:
        config = self.config = device.config
        self.device, self.number, self.video, self.table = device, number, video, table
        self.air = Air(config, number, device.block_frames)
        self.bit_errors = BitErrors(config, number)
        # Bits flipped in the block at hand, (frame, pixel), and its buffers that have some.
        self.flipped_bits: U8 | None = None
        self.noisy = np.zeros((0, 0), bool)
        shape = (config.frames, len(self.air.sizes))
        self.video_frame = np.full(shape, NO_FRAME, np.int32)
        self.corrupted, self.short = np.zeros(shape, bool), np.zeros(shape, bool)
        self.flips = [np.zeros(0, FLIP_RECORD)]
        self.counts = dict.fromkeys(("rows", "orphans", "failed", "overruns"), 0)
        self.open_image: U8 | None = None
        self.memory = np.empty((0, 0), np.uint8)
        self.fragment = self.last_num = NO_FRAME
        self.received = self.shown = 0
        self.video_shift, self.table_shift = min(config.lag, 0), max(config.lag, 0)

    def receive(self, sent: Sent) -> None:
        """Receive one block, and write it to the files."""
        faults = self.air.send(sent)
        self.flipped_bits = self.bit_errors.draw(sent.first, len(sent.pixels))
        if self.flipped_bits is not None:
            flipped = np.maximum.reduceat(self.flipped_bits, self.device.edges[:-1], axis=1) > 0
            self.noisy = flipped & ~(faults.short | faults.corrupted)
            faults = replace(faults, corrupted=faults.corrupted | self.noisy)
        rows = self._read(sent, faults)
        arrived = rows["frame"], rows["buffer"]
        at = sent.first + rows["frame"], rows["buffer"]
        self.corrupted[at] = faults.corrupted[arrived]
        self.short[at] = faults.short[arrived]
        named = ~(rows["orphan"] | rows["failed"])
        if named.any():
            self._write_fragments(sent, faults, rows[named])
        self._write_table(sent, faults, rows)

    def finish(self) -> None:
        """Write the last fragment, which mio never does."""
        position = self.fragment + self.video_shift
        if self.config.extra_frame:
            self.video_frame[self.video_frame == position] = NO_FRAME
        elif self.open_image is not None and position >= 0:
            self._write_video(self.open_image[None])

    def summary(self) -> dict[str, int]:
        """How often each fault happened."""
        hidden = self.video_frame == NO_FRAME
        return {
            **self.counts,
            "frames_not_in_video": int(hidden.all(axis=1).sum()),
            "buffers_not_in_video": int(hidden.sum()),
            "corrupted": int(self.corrupted.sum()),
            "short": int(self.short.sum()),
            "header_flips": sum(map(len, self.flips)),
        }

    def _read(self, sent: Sent, faults: Faults) -> Rows:
        at = np.nonzero(~faults.lost)
        numbers = ("frame", "buffer", "fragment", *sent.header)
        rows = np.zeros(len(at[0]), [*((name, "<i8") for name in numbers), *FLAGS])
        rows["frame"], rows["buffer"] = at
        for name, values in sent.header.items():
            rows[name] = values[at]
        hit = np.flatnonzero(faults.flipped[at])
        for shift in (0, 32):  # one or two bits, of one field or two
            bits = below(faults.detail[at][hit] >> np.uint64(shift), 2**32)
            for number, (name, width) in enumerate(FLIPPABLE):
                own = bits % len(FLIPPABLE) == number
                rows[name][hit[own]] ^= 1 << bits[own] // len(FLIPPABLE) % width
        rows["failed"] = faults.failed[at]
        named = (rows["frame_buffer_count"] < len(self.air.sizes)) & ~rows["failed"]
        num, new = rows["frame_num"][named], np.zeros(len(rows), np.int64)
        new[named] = num != np.append(self.last_num, num)[:-1]
        rows["orphan"] = ~(named | rows["failed"])
        rows["fragment"] = self.fragment + np.cumsum(new)
        if self.fragment < 0:  # mio waits for the start of a frame
            rows = rows[np.logical_or.accumulate(named & (rows["frame_buffer_count"] == 0))]
            rows["fragment"] -= rows["fragment"][:1]
        return rows

    def _write_fragments(self, sent: Sent, faults: Faults, rows: Rows) -> None:
        """Make the frames of the block's fragments, and write all but the last."""
        edges, base = self.device.edges, max(self.fragment, 0)
        local, slot = rows["fragment"] - base, rows["frame_buffer_count"]
        count = int(local[-1]) + 1
        source = np.zeros(count, np.int64)
        # a fragment is first taken for the frame of its first row
        source[local[::-1]] = rows["frame"][::-1]
        if len(self.memory) < count:
            self.memory = np.empty((count + count // 4, sent.pixels.shape[1]), np.uint8)
        images = np.take(sent.pixels, source, axis=0, out=self.memory[:count], mode="clip")
        taken_by = np.full((count, len(self.air.sizes)), -1)
        taken_by[local, slot] = np.arange(len(local))  # of several the last one stays
        missing = taken_by < 0
        if self.open_image is not None:
            images[0] = self.open_image
            source[0] = NO_FRAME
            for k in np.flatnonzero(~missing[0]).tolist():  # what stood there is overwritten
                column = self.video_frame[:, k]
                column[column == base + self.video_shift] = NO_FRAME
            missing[0] = False
        for k, empty in enumerate(missing.T):
            images[empty, edges[k] : edges[k + 1]] = 0
        shown = taken_by[taken_by >= 0]
        frame, buffer = rows["frame"][shown], rows["buffer"][shown]
        in_place = buffer == slot[shown]
        whole = ~(faults.corrupted | faults.short)[frame, buffer]
        for row in shown[~(whole & in_place & (frame == source[local[shown]]))].tolist():
            place = images[local[row], edges[slot[row]] : edges[slot[row] + 1]]
            payload = self._payload(sent, faults, int(rows["frame"][row]), int(rows["buffer"][row]))
            size = min(len(place), len(payload))
            place[:size], place[size:] = payload[:size], 0
        position = np.maximum(rows["fragment"][shown] + self.video_shift, NO_FRAME)
        self.video_frame[sent.first + frame[in_place], buffer[in_place]] = position[in_place]
        self._write_video(images[max(-self.video_shift - base, 0) : -1])
        self.open_image = images[-1].copy()
        self.fragment, self.last_num = base + count - 1, int(rows["frame_num"][-1])

    def _payload(self, sent: Sent, faults: Faults, frame: int, buffer: int) -> U8:
        """Pixels of one buffer as they arrive."""
        edges, entropy = self.device.edges, self.device.entropy
        payload = sent.pixels[frame, edges[buffer] : edges[buffer + 1]].copy()
        if self.flipped_bits is not None and self.noisy[frame, buffer]:
            payload ^= self.flipped_bits[frame, edges[buffer] : edges[buffer + 1]]
        elif faults.corrupted[frame, buffer]:
            detail, size = int(faults.detail[frame, buffer]), len(payload)
            stretch = payload[detail % size :][: 1 + (detail >> 20) % size]
            begin = (detail >> 40) % (len(entropy) - size)
            errors = entropy[begin : begin + len(stretch)] & entropy[: len(stretch)]
            errors[0] |= 1
            stretch ^= errors
        return payload[: faults.arrived[frame, buffer]]

    def _write_video(self, images: U8) -> None:
        if len(images):
            self.shown += len(images)
            self.video.write(images.reshape(-1, self.config.height, self.config.width))

    def _write_table(self, sent: Sent, faults: Faults, rows: Rows) -> None:
        config, at = self.config, (rows["frame"], rows["buffer"])
        session_us = sent.time_us[at] - EPOCH_US
        wait_us = 1 + min(400, int(500_000 / config.fps / len(self.air.sizes)))
        ahead_us = config.clock_offset_s * 1e6 + session_us * config.clock_drift_ppm / 1e6
        time_us = sent.time_us[at] + below(faults.detail[at] >> np.uint64(16), wait_us)
        time_us = time_us + np.rint(self.number * ahead_us).astype(np.int64)
        known = rows["frame_buffer_count"] < len(self.air.sizes)
        place = self.air.sizes[np.where(known, rows["frame_buffer_count"], 0)]
        columns = {
            **{name: rows[name] for name in sent.header},
            "buffer_recv_index": self.received + np.arange(len(rows["frame"])),
            "buffer_recv_unix_time": time_us / 1e6,
            "black_padding_px": np.where(
                rows["orphan"], -1, np.where(rows["failed"], 0, place - faults.arrived[at])
            ),
            "reconstructed_frame_index": np.where(
                rows["orphan"], NO_FRAME, rows["fragment"] - self.table_shift
            ),
        }
        if CHECKED in self.table.columns:
            columns[CHECKED] = np.where(rows["failed"], "False", "True")
        keep = rows["fragment"] >= self.table_shift
        self.received += len(rows["frame"])
        self._log_flips(sent, rows[keep])
        self.table.append(pd.DataFrame(columns)[keep])
        self.counts["rows"] += int(keep.sum())
        self.counts["orphans"] += int(rows["orphan"][keep].sum())
        self.counts["failed"] += int(rows["failed"][keep].sum())
        whole = self.air.sizes[rows["buffer"]] + sent.overhang[at]
        self.counts["overruns"] += int((faults.arrived[at] > whole)[keep].sum())

    def _log_flips(self, sent: Sent, rows: Rows) -> None:
        for name, _ in FLIPPABLE:
            true = sent.header[name][rows["frame"], rows["buffer"]]
            changed = np.flatnonzero(rows[name] != true)
            record = np.zeros(len(changed), FLIP_RECORD)
            record["receiver"], record["column"] = self.number, name
            record["row"] = self.counts["rows"] + changed
            record["frame"] = sent.first + rows["frame"][changed]
            record["buffer"] = rows["buffer"][changed]
            record["sent"], record["received"] = true[changed], rows[name][changed]
            self.flips.append(record)


def _truth_table(sent: Sent) -> pd.DataFrame:
    """Every buffer of a block as sent."""
    frames, buffers = sent.time_us.shape
    frame = np.repeat(np.arange(sent.first, sent.first + frames), buffers)
    return pd.DataFrame(
        {
            **{name: values.ravel() for name, values in sent.header.items()},
            "buffer_recv_index": sent.first * buffers + np.arange(len(frame)),
            "buffer_recv_unix_time": sent.time_us.ravel() / 1e6,
            "black_padding_px": -sent.overhang.ravel(),
            "reconstructed_frame_index": frame,
        }
    )


def simulate(
    directory: str | os.PathLike[str],
    config: SimulationConfig = DEFAULT_CONFIG,
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Simulate a session and write it, block by block.

    Parameters
    ----------
    directory
        Where to write ``receiver1.avi``, ``receiver1.csv`` and so on, ``truth.avi``, ``truth.csv``,
        ``truth.npz`` and ``truth.json`` (the configuration and the counts of faults).
    config
        What to simulate.
    force
        Overwrite an existing session, with all its receivers, once the new one is complete.
    progress
        Called with the number of frames done since the last call.

    Returns
    -------
    Simulation
        What was written, and where.

    Raises
    ------
    UsageError
        A receiver gets so little that its video would have no frame.
    OutputExistsError
        A file of such a name is there and `force` is not set.
    OutputLockedError
        Another run is writing there.
    ResourceError
        A file cannot be written.

    Notes
    -----
    Files get their names when all are complete. Holds a block of at most 256 frames or 16 MiB and,
    per frame and receiver, 48 bytes of truth.
    """
    folder = Path(directory)
    stems = [*(f"receiver{number + 1}" for number in range(config.receivers)), "truth"]
    names = [stem + end for stem in stems for end in FILES]
    # a receiver left from the session before would pass for one of this
    older = [name for name in _earlier_receivers(folder) if name not in names]
    workspace = Workspace(folder, "", [*older, *names, ARRAYS, SUMMARY])
    with publish_run(workspace, [], RunOptions(force=force)):
        receivers = _transmit(config, [workspace.staged(stem) for stem in stems], progress)
        for name, receiver in zip(stems, receivers, strict=False):
            if not receiver.shown:
                msg = f"{folder / name}.avi: would show no frame; take more frames or lose less"
                raise UsageError(msg)
        counts = tuple(receiver.summary() for receiver in receivers)
        try:
            _write_truth(workspace.staged(ARRAYS), receivers)
            content = {"config": {**asdict(config), "fps": str(config.fps)}, "receivers": counts}
            workspace.staged(SUMMARY).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        except OSError as error:
            msg = f"{folder}: cannot be written ({error.strerror}); free space or check rights"
            raise ResourceError(msg) from error
    *videos, truth = (workspace.final(f"{stem}.avi") for stem in stems)
    arrays = workspace.final(ARRAYS)
    return Simulation(config, tuple(videos), truth, truth.with_suffix(".csv"), arrays, counts)


def _earlier_receivers(folder: Path) -> list[str]:
    """Find the files of the receivers of an earlier session."""
    try:
        there = os.listdir(folder)
    except OSError:  # the workspace makes it, or says what is wrong
        return []
    return sorted(filter(RECEIVER.fullmatch, there)) if SUMMARY in there else []


def _transmit(
    config: SimulationConfig, stems: list[Path], progress: Callable[[int], None] | None
) -> list[_Receiver]:
    """Write videos and tables; the last stem is the truth's."""
    device = Device(config)
    height, width, fps = config.height, config.width, Fraction(config.fps)
    with ExitStack() as stack:
        videos = [
            stack.enter_context(VideoWriter(f"{stem}.avi", width=width, height=height, fps=fps))
            for stem in stems
        ]
        own = (*TABLE_COLUMNS, CHECKED) if config.failed_headers else TABLE_COLUMNS
        tables = [stack.enter_context(TableWriter(f"{stem}.csv", own)) for stem in stems[:-1]]
        tables.append(stack.enter_context(TableWriter(f"{stems[-1]}.csv", TABLE_COLUMNS)))
        files = zip(range(config.receivers), videos, tables, strict=False)
        receivers = [_Receiver(device, *each) for each in files]
        for block in range(-(-config.frames // device.block_frames)):
            sent = device.send(block)
            videos[-1].write(sent.pixels.reshape(-1, height, width))
            tables[-1].append(_truth_table(sent))
            for receiver in receivers:
                receiver.receive(sent)
            if progress is not None:
                progress(len(sent.pixels))
        for receiver in receivers:
            receiver.finish()
    return receivers


def _write_truth(path: Path, receivers: list[_Receiver]) -> None:
    truth = {name: np.stack([getattr(r, name) for r in receivers]) for name in TRUTH_ARRAYS}
    truth["flips"] = np.concatenate([flips for r in receivers for flips in r.flips])
    np.savez(path, allow_pickle=False, **truth)
