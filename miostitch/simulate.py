"""Sessions with known truth: one simulated device, several simulated receivers.

The device makes a moving image and sends it buffer by buffer; every receiver loses, damages and
misreads buffers of its own and files them as mio does, so that videos and tables show what real
recordings show. All randomness is drawn as raw PCG64 integers from one stream per receiver and
block of frames, and all arithmetic on pixels is on integers: a seed gives the same session on any
machine, and a longer session begins like a shorter one.
"""

import json
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.encoding import VideoWriter
from miostitch.errors import OutputExistsError, UsageError
from miostitch.metadata import TableWriter
from miostitch.schema import COLUMNS, NO_FRAME, chunk_frames

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Raw = NDArray[np.uint64]

RING = 32
HEADER_PIXELS = 48
EPOCH_US = 1_764_712_600_000_000
BOOT_US = 1_500_000
NEURON_PIXELS = 20
TABLE_COLUMNS = tuple(column.name for column in COLUMNS)
TRUTH_ARRAYS = ("video_frame", "corrupted", "short")
FLIPPABLE = (
    ("linked_list", 5),
    ("frame_num", 12),
    ("buffer_count", 15),
    ("frame_buffer_count", 8),
    ("timestamp", 16),
    ("pixel_count", 13),
)
FLIP_RECORD = np.dtype(
    [
        *((name, "<i8") for name in ("receiver", "row", "frame", "buffer", "sent", "received")),
        ("column", "<U24"),
    ]
)
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("frames", "receivers", "height", "width"), (1, 2**31)),
    **dict.fromkeys(("buffer_pixels", "burst_length"), (1, 2**31)),
    **dict.fromkeys(("clock_offset_s", "clock_drift_ppm"), (-1e9, 1e9)),
    "fps": (0.001, 1e6),
    "lag": (-(2**31), 2**31),
    "seed": (0, 2**63),
}


@dataclass(frozen=True)
class SimulationConfig:
    """What to simulate.

    Parameters
    ----------
    frames
        Frames the device makes.
    receivers
        Receivers that listen.
    seed
        Start of every random stream.
    height, width
        Size of a frame in pixels.
    buffer_pixels
        Pixels of every buffer but the last of a frame; None for 5032 at 200 x 200 and in proportion
        elsewhere, which makes eight buffers.
    fps
        Frames per second.
    first_frame_num
        ``frame_num`` of the first frame.
    buffer_loss, frame_loss
        Probability that a buffer, or all buffers of a frame, do not arrive.
    corruption
        Probability that a stretch of a buffer's pixels has bit errors.
    truncation
        Probability that a buffer breaks off and is padded with zeros.
    overrun
        Probability that the start of a buffer is not recognised: the buffer is lost and the one
        before runs over (negative padding). Above 0 the last buffer of every frame runs over as
        well, as it does in recordings that show negative padding at all.
    header_flips
        Probability that one or two bits of a buffer's header are flipped.
    bursts
        Probability that a loss or a corruption is the start of a burst.
    burst_length
        Mean length of a burst in buffers, in frames for whole frames.
    late_start_frames, early_end_frames
        Receiver r starts r times the former late, and the receivers before the last end as many
        times the latter early; neither takes more than a quarter of the session.
    resets
        Reboots of the device, evenly spread; all its counters start again from 0.
    lag
        Video frame i + lag belongs to table index i.
    extra_frame
        Whether the last frame of the table is missing from the video, as in real recordings.
    clock_offset_s, clock_drift_ppm
        The clock of receiver r is r times the former ahead, and r times the latter fast.

    Raises
    ------
    UsageError
        A value that no session can have.
    """

    frames: int = 200
    receivers: int = 2
    seed: int = 0
    height: int = 200
    width: int = 200
    buffer_pixels: int | None = None
    fps: Fraction | int = 20
    first_frame_num: int = 2500
    buffer_loss: float = 0.03
    frame_loss: float = 0.01
    corruption: float = 0.01
    truncation: float = 0.002
    overrun: float = 0.002
    header_flips: float = 0.002
    bursts: float = 0.1
    burst_length: int = 6
    late_start_frames: int = 3
    early_end_frames: int = 5
    resets: int = 0
    lag: int = 0
    extra_frame: bool = True
    clock_offset_s: float = 0.35
    clock_drift_ppm: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            low, high = BOUNDS.get(field.name, (0, 1 if kind is float else 2**31))
            kinds = get_args(kind) or ((float, int) if kind is float else (kind,))
            if isinstance(value, kinds) and (value is None or low <= value <= high):
                continue
            names = " or ".join(allowed.__name__ for allowed in kinds)
            msg = f"{field.name}={value!r}: give a number ({names}) from {low} to {high}"
            raise UsageError(msg)
        if max(self.resets, abs(self.lag)) >= self.frames:
            msg = f"{self.frames} frames: too few for {self.resets} resets and a lag of {self.lag}"
            raise UsageError(msg)

    @property
    def edges(self) -> Ints:
        """First pixel of every buffer in the flattened frame, and the end of the last one."""
        pixels = self.height * self.width
        step = self.buffer_pixels or -(-pixels * 5032 // 40000)
        return np.append(np.arange(0, pixels, step), pixels)

    def window(self, receiver: int) -> tuple[int, int]:
        """First frame that a receiver could receive, and the end of the last one.

        Parameters
        ----------
        receiver
            Position of the receiver, from 0.
        """
        most = self.frames // 4
        early = (self.receivers - 1 - receiver) * self.early_end_frames
        return min(receiver * self.late_start_frames, most), self.frames - min(early, most)


DEFAULT_CONFIG = SimulationConfig()


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


def _draw(config: SimulationConfig, shape: tuple[int, ...], *key: int) -> Raw:
    stream = np.random.PCG64(np.random.SeedSequence(config.seed, spawn_key=key))
    return stream.random_raw(math.prod(shape)).reshape(shape)


def _chance(raw: Raw, probability: float) -> Bools:
    return (raw >> np.uint64(1)) < np.uint64(int(probability * 2**63))


def _below(raw: Raw, bound: int | Ints) -> Ints:
    return (raw % np.asarray(bound, np.uint64)).astype(np.int64)


@dataclass(frozen=True)
class _Sent:
    """One block as the device sends it: pixels (frame, pixel), the rest (frame, buffer)."""

    block: int
    first: int
    pixels: Pixels
    header: dict[str, Ints]
    time_us: Ints
    overhang: Ints


class _Device:
    """Makes frames: a vignette with shot noise, and neurons that flash and fade."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.edges = config.edges
        self.block_frames = min(256, chunk_frames(config.height, config.width))
        height, width = config.height, config.width
        y, x = np.ogrid[:height, :width]
        # 110 in the middle, 30 in the corners, in integers that no library rounds its own way
        dy, dx = (2 * y - height + 1) ** 2, (2 * x - width + 1) ** 2
        field = 110 - 40 * dy // height**2 - 40 * dx // width**2
        self.field = field.astype(np.uint8).ravel()
        self.entropy = _draw(config, ((height * width + 2**18) // 8 + 1,), 0).view("<u1")
        self.noise = (self.entropy & 7) + (self.entropy >> 3 & 7)
        side = min(NEURON_PIXELS, height, width)
        # one neuron in each cell of a grid, so that no two add up
        self.cells = [
            (i, j)
            for i in range(0, height - side + 1, side)
            for j in range(0, width - side + 1, side)
        ]
        half = np.arange(side) * 2 - side + 1
        self.footprint = np.maximum(
            64 - 64 * (half[:, None] ** 2 + half**2) // (side * side), 0
        ).astype(np.uint16)
        self.activity = np.zeros(len(self.cells), np.int64)
        # fresh memory for each block would cost more than all that is computed in it
        self.memory = np.empty((self.block_frames, height * width), np.uint8)

    def send(self, block: int) -> _Sent:
        """Make and send one block; blocks come in order."""
        first = block * self.block_frames
        count = min(self.block_frames, self.config.frames - first)
        index = np.arange(first, first + count)
        raw = _draw(self.config, (self.block_frames, 2 + len(self.cells)), 1, block)[:count]
        header, time_us = self._headers(index)
        overhang = np.zeros(time_us.shape, np.int64)
        if self.config.overrun:
            payload = int(self.edges[1])
            overhang[:, -1] = payload * 3 // 4 + _below(raw[:, 1], payload // 16 + 1)
        return _Sent(block, first, self._pixels(raw), header, time_us, overhang)

    def _pixels(self, raw: Raw) -> Pixels:
        size = len(self.field)
        out = self.memory[: len(raw)]
        start = _below(raw[:, 0], len(self.noise) - size + 1)
        for frame, begin in zip(out, start.tolist(), strict=True):
            np.add(self.field, self.noise[begin : begin + size], out=frame)
        spikes = np.where(_chance(raw[:, 2:], 0.01), 40 + _below(raw[:, 2:], 88), 0)
        activity = np.empty(spikes.shape, np.uint16)
        for t, spike in enumerate(spikes):
            self.activity = np.minimum(self.activity - (self.activity + 15) // 16 + spike, 127)
            activity[t] = self.activity
        images = out.reshape(len(raw), self.config.height, self.config.width)
        side = len(self.footprint)
        for (i, j), level in zip(self.cells, activity.T, strict=True):
            light = level[:, None, None] * self.footprint >> 7
            images[:, i : i + side, j : j + side] += light.astype(np.uint8)
        return out

    def _headers(self, index: Ints) -> tuple[dict[str, Ints], Ints]:
        config, buffers = self.config, len(self.edges) - 1
        resets = np.arange(1, config.resets + 1) * config.frames // (config.resets + 1)
        boots = np.searchsorted(resets, index, side="right")
        counted_from = np.append(-config.first_frame_num, resets)[boots]
        num = (index - counted_from)[:, None]
        k = np.arange(buffers)
        period_us = (Fraction(1_000_000) / config.fps).limit_denominator(1000)
        up, down = period_us.numerator, period_us.denominator
        count = buffers * num + k
        header = {
            "linked_list": count % RING,
            "frame_num": num + 0 * k,
            "buffer_count": count,
            "frame_buffer_count": k + 0 * num,
            "write_buffer_count": buffers * num + (k + 1) // 2,
            "dropped_buffer_count": 0 * count,
            # the sensor is read in a third of the period, the radio takes all of it
            "timestamp": (num * up // down + k * up // (3 * buffers * down)) // 1000,
            "pixel_count": np.diff(self.edges) + 0 * num,
            "write_timestamp": 0 * count,
            "battery_voltage_raw": 189 - index[:, None] // 16384 + 0 * k,
            "input_voltage_raw": 108 - index[:, None] // 32768 + 0 * k,
        }
        start_us = EPOCH_US + index * up // down + boots * BOOT_US
        return header, start_us[:, None] + k * up // (buffers * down)


@dataclass(frozen=True)
class _Faults:
    """What happens to one block on its way to one receiver, all (frame, buffer)."""

    lost: Bools
    corrupted: Bools
    short: Bools
    flipped: Bools
    arrived: Ints  # pixels of the payload, those that ran over included
    detail: Raw


class _Air:
    """The way from the device to one receiver; bursts go on from block to block."""

    def __init__(self, config: SimulationConfig, receiver: int, block_frames: int) -> None:
        self.config, self.receiver = config, receiver
        self.sizes = np.diff(config.edges)
        self.shape = (block_frames, len(self.sizes))
        self.burst_left = {"loss": 0, "corruption": 0}

    def send(self, sent: _Sent) -> _Faults:
        """Draw the faults of one block, always for a whole one."""
        config, (frames, buffers) = self.config, self.shape
        raw = _draw(config, (10, frames, buffers), 2, self.receiver, sent.block)
        losses = self._lengths(raw[0], raw[1], config.buffer_loss)
        whole = buffers * self._lengths(raw[2, :, 0], raw[3, :, 0], config.frame_loss)
        losses[:, 0] = np.maximum(losses[:, 0], whole)
        lost = self._covered("loss", losses)
        errors = self._lengths(raw[4], raw[5], config.corruption)
        corrupted = self._covered("corruption", errors)
        unseen = _chance(raw[6], config.overrun)
        unseen[:, 0] = False  # dummy words set the start of a frame apart
        swallowed = np.zeros(self.shape, np.int64)
        for k in reversed(range(buffers - 1)):
            swallowed[:, k] = np.where(unseen[:, k + 1], swallowed[:, k + 1] + 1, 0)
        start, stop = config.window(self.receiver)
        index = np.arange(frames) + sent.first
        lost |= unseen | ((index < start) | (index >= stop))[:, None]
        short = _chance(raw[7], config.truncation) & (self.sizes > 1) & (swallowed == 0)
        cut = 1 + _below(raw[9] >> np.uint64(8), np.maximum(self.sizes - 1, 1))
        arrived = np.where(short, cut, self.sizes + swallowed * (self.sizes[0] + HEADER_PIXELS))
        n = len(sent.pixels)
        arrived[:n] += np.where(short[:n], 0, sent.overhang)
        flipped = _chance(raw[8], config.header_flips)
        corrupted &= ~short
        return _Faults(lost[:n], corrupted[:n], short[:n], flipped[:n], arrived[:n], raw[9, :n])

    def _lengths(self, events: Raw, extent: Raw, probability: float) -> Ints:
        burst = 1 + _below(extent, 2 * self.config.burst_length - 1)
        length = np.where(_chance(extent, self.config.bursts), burst, 1)
        return np.where(_chance(events, probability), length, 0)

    def _covered(self, kind: str, lengths: Ints) -> Bools:
        """Which buffers the events of these lengths cover (0: no event)."""
        index = np.arange(lengths.size)
        reach = np.maximum(index + lengths.ravel(), self.burst_left[kind])
        reach = np.maximum.accumulate(reach)
        self.burst_left[kind] = max(int(reach[-1]) - lengths.size, 0)
        return (reach > index).reshape(self.shape)


@dataclass(frozen=True)
class _Rows:
    """Buffers that arrive in one block: where they come from, and the header as it is read."""

    frame: Ints
    buffer: Ints
    header: dict[str, Ints]
    orphan: Bools
    piece: Ints

    def take(self, keep: Bools) -> "_Rows":
        """Keep the rows of a mask."""
        header = {name: values[keep] for name, values in self.header.items()}
        columns = (self.frame[keep], self.buffer[keep])
        return _Rows(*columns, header, self.orphan[keep], self.piece[keep])


class _Receiver:
    """Files what arrives as mio does.

    A change of the ``frame_num`` that is read ends a picture and begins the next, a *piece*; a
    buffer goes where its header says; places that no buffer took stay zero. The piece under way is
    carried from block to block.
    """

    def __init__(
        self, device: _Device, number: int, video: VideoWriter, table: TableWriter
    ) -> None:
        config = self.config = device.config
        self.device, self.number, self.video, self.table = device, number, video, table
        self.air = _Air(config, number, device.block_frames)
        shape = (config.frames, len(self.air.sizes))
        self.video_frame = np.full(shape, NO_FRAME, np.int32)
        self.corrupted, self.short = np.zeros(shape, bool), np.zeros(shape, bool)
        self.flips = [np.zeros(0, FLIP_RECORD)]
        self.counts = dict.fromkeys(("rows", "orphans", "overruns"), 0)
        self.open_image: Pixels | None = None
        self.memory = np.empty((0, 0), np.uint8)
        self.piece = self.last_num = NO_FRAME
        self.received = self.shown = 0
        self.video_shift, self.table_shift = min(config.lag, 0), max(config.lag, 0)

    def receive(self, sent: _Sent) -> None:
        """Take one block from the air to the files."""
        faults = self.air.send(sent)
        rows = self._read(sent, faults)
        at = sent.first + rows.frame, rows.buffer
        self.corrupted[at] = faults.corrupted[rows.frame, rows.buffer]
        self.short[at] = faults.short[rows.frame, rows.buffer]
        if not rows.orphan.all():
            self._film(sent, faults, rows.take(~rows.orphan))
        self._write_table(sent, faults, rows)

    def finish(self) -> None:
        """Flush the piece under way, which mio never does."""
        position = self.piece + self.video_shift
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

    def _read(self, sent: _Sent, faults: _Faults) -> _Rows:
        frame, buffer = np.nonzero(~faults.lost)
        header = {name: values[frame, buffer] for name, values in sent.header.items()}
        hit = np.flatnonzero(faults.flipped[frame, buffer])
        for shift in (0, 32):  # one or two bits, of one field or two
            bits = _below(faults.detail[frame[hit], buffer[hit]] >> np.uint64(shift), 2**32)
            for number, (name, width) in enumerate(FLIPPABLE):
                own = bits % len(FLIPPABLE) == number
                header[name][hit[own]] ^= 1 << bits[own] // len(FLIPPABLE) % width
        orphan = header["frame_buffer_count"] >= len(self.air.sizes)
        num = header["frame_num"][~orphan]
        new = np.zeros(len(frame), np.int64)
        new[~orphan] = num != np.append(self.last_num, num)[:-1]
        rows = _Rows(frame, buffer, header, orphan, self.piece + np.cumsum(new))
        if self.piece >= 0:
            return rows
        begun = np.logical_or.accumulate(header["frame_buffer_count"] == 0)
        rows = rows.take(begun)  # mio waits for the start of a frame
        return replace(rows, piece=rows.piece - rows.piece[:1])

    def _film(self, sent: _Sent, faults: _Faults, rows: _Rows) -> None:
        """Compose the block's pieces and write all but the one under way."""
        edges, base = self.device.edges, max(self.piece, 0)
        local, slot = rows.piece - base, rows.header["frame_buffer_count"]
        count = int(local[-1]) + 1
        source = np.zeros(count, np.int64)
        source[local[::-1]] = rows.frame[::-1]  # a piece is first taken for its first row's frame
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
        frame, buffer = rows.frame[shown], rows.buffer[shown]
        in_place = buffer == slot[shown]
        whole = ~(faults.corrupted | faults.short)[frame, buffer]
        for row in shown[~(whole & in_place & (frame == source[local[shown]]))].tolist():
            place = images[local[row], edges[slot[row]] : edges[slot[row] + 1]]
            payload = self._payload(sent, faults, int(rows.frame[row]), int(rows.buffer[row]))
            size = min(len(place), len(payload))
            place[:size], place[size:] = payload[:size], 0
        position = np.maximum(rows.piece[shown] + self.video_shift, NO_FRAME)
        self.video_frame[sent.first + frame[in_place], buffer[in_place]] = position[in_place]
        self._write_video(images[max(-self.video_shift - base, 0) : -1])
        self.open_image = images[-1].copy()
        self.piece, self.last_num = base + count - 1, int(rows.header["frame_num"][-1])

    def _payload(self, sent: _Sent, faults: _Faults, frame: int, buffer: int) -> Pixels:
        """Pixels of one buffer as they arrive."""
        edges, entropy = self.device.edges, self.device.entropy
        payload = sent.pixels[frame, edges[buffer] : edges[buffer + 1]].copy()
        if faults.corrupted[frame, buffer]:
            detail, size = int(faults.detail[frame, buffer]), len(payload)
            stretch = payload[detail % size :][: 1 + (detail >> 20) % size]
            begin = (detail >> 40) % (len(entropy) - size)
            errors = entropy[begin : begin + len(stretch)] & entropy[: len(stretch)]
            errors[0] |= 1
            stretch ^= errors
        return payload[: faults.arrived[frame, buffer]]

    def _write_video(self, images: Pixels) -> None:
        if len(images):
            self.shown += len(images)
            self.video.write(images.reshape(-1, self.config.height, self.config.width))

    def _write_table(self, sent: _Sent, faults: _Faults, rows: _Rows) -> None:
        config, at = self.config, (rows.frame, rows.buffer)
        session_us = sent.time_us[at] - EPOCH_US
        wait_us = 1 + min(400, int(500_000 / config.fps / len(self.air.sizes)))
        ahead_us = config.clock_offset_s * 1e6 + session_us * config.clock_drift_ppm / 1e6
        time_us = sent.time_us[at] + _below(faults.detail[at] >> np.uint64(16), wait_us)
        time_us = time_us + np.rint(self.number * ahead_us).astype(np.int64)
        place = self.air.sizes[np.where(rows.orphan, 0, rows.header["frame_buffer_count"])]
        columns = {
            **rows.header,
            "buffer_recv_index": self.received + np.arange(len(rows.frame)),
            "buffer_recv_unix_time": time_us / 1e6,
            "black_padding_px": np.where(rows.orphan, -1, place - faults.arrived[at]),
            "reconstructed_frame_index": np.where(
                rows.orphan, NO_FRAME, rows.piece - self.table_shift
            ),
        }
        keep = rows.piece >= self.table_shift
        self.received += len(rows.frame)
        self._log_flips(sent, rows.take(keep))
        self.table.append(pd.DataFrame(columns)[keep])
        self.counts["rows"] += int(keep.sum())
        self.counts["orphans"] += int(rows.orphan[keep].sum())
        whole = self.air.sizes[rows.buffer] + sent.overhang[at]
        self.counts["overruns"] += int((faults.arrived[at] > whole)[keep].sum())

    def _log_flips(self, sent: _Sent, rows: _Rows) -> None:
        for name, _ in FLIPPABLE:
            true = sent.header[name][rows.frame, rows.buffer]
            changed = np.flatnonzero(rows.header[name] != true)
            record = np.zeros(len(changed), FLIP_RECORD)
            record["receiver"], record["column"] = self.number, name
            record["row"] = self.counts["rows"] + changed
            record["frame"] = sent.first + rows.frame[changed]
            record["buffer"] = rows.buffer[changed]
            record["sent"], record["received"] = true[changed], rows.header[name][changed]
            self.flips.append(record)


def _truth_table(sent: _Sent) -> pd.DataFrame:
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
        ``truth.npz`` and, last, ``truth.json`` (the configuration and the counts of faults).
    config
        What to simulate.
    force
        Replace files of these names.
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
    ResourceError
        A file cannot be written.

    Notes
    -----
    Holds a block of at most 256 frames or 16 MiB and, per frame and receiver, 48 bytes of truth.
    """
    folder = Path(directory)
    stems = [*(f"receiver{number + 1}" for number in range(config.receivers)), "truth"]
    videos, tables = ([folder / f"{stem}{end}" for stem in stems] for end in (".avi", ".csv"))
    arrays, summary = folder / "truth.npz", folder / "truth.json"
    there = [path for path in (*videos, *tables, arrays, summary) if path.exists()]
    if there and not force:
        msg = f"{there[0]}: is there already; choose another directory, or replace it with --force"
        raise OutputExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    summary.unlink(missing_ok=True)
    device = _Device(config)
    with ExitStack() as stack:
        height, width, fps = config.height, config.width, Fraction(config.fps)
        writers = [
            (
                stack.enter_context(VideoWriter(video, width=width, height=height, fps=fps)),
                stack.enter_context(TableWriter(table, TABLE_COLUMNS)),
            )
            for video, table in zip(videos, tables, strict=True)
        ]
        receivers = [_Receiver(device, number, *pair) for number, pair in enumerate(writers[:-1])]
        for block in range(-(-config.frames // device.block_frames)):
            sent = device.send(block)
            writers[-1][0].write(sent.pixels.reshape(-1, height, width))
            writers[-1][1].append(_truth_table(sent))
            for receiver in receivers:
                receiver.receive(sent)
            if progress is not None:
                progress(len(sent.pixels))
        for receiver in receivers:
            receiver.finish()
            if not receiver.shown:
                msg = f"{receiver.video.path}: would show no frame; take more frames or lose less"
                raise UsageError(msg)
    truth = {name: np.stack([getattr(r, name) for r in receivers]) for name in TRUTH_ARRAYS}
    truth["flips"] = np.concatenate([flips for r in receivers for flips in r.flips])
    np.savez(arrays, allow_pickle=False, **truth)
    counts = tuple(receiver.summary() for receiver in receivers)
    content = {"config": {**asdict(config), "fps": str(config.fps)}, "receivers": counts}
    summary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return Simulation(config, tuple(videos[:-1]), videos[-1], tables[-1], arrays, counts)
