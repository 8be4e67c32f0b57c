"""The simulated device, and the radio channels from it to its receivers.

All randomness is drawn as raw PCG64 integers from one stream per receiver and block of frames, and
all arithmetic on pixels is on integers: a seed gives the same session on any machine, and a longer
session begins like a shorter one.
"""

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TypeAlias, get_args

import numpy as np

from miostitch.arrays import I64, U8, U64, Bools
from miostitch.errors import UsageError
from miostitch.schema import chunk_frames
from miostitch.text import amount

RING = 32
HEADER_PIXELS = 48
EPOCH_US = 1_764_712_600_000_000
BOOT_US = 1_500_000
NEURON_PIXELS = 20
OwnValues: TypeAlias = float | tuple[float, ...]
"""One value for all receivers, or one for each."""

BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("frames", "receivers", "height", "width"), (1, 2**31)),
    **dict.fromkeys(("buffer_pixels", "burst_length", "noise_bits"), (1, 2**31)),
    "noise_bursts": (0, 1e5),
    **dict.fromkeys(("clock_offset_s", "clock_drift_ppm"), (-1e9, 1e9)),
    "fps": (0.001, 1e6),
    "lag": (-(2**31), 2**31),
    "seed": (0, 2**63),
}


@dataclass(frozen=True)
class SimulationConfig:
    """A session to simulate.

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
        Probability that a buffer, or all buffers of a frame, do not arrive; the former may differ
        between receivers: then it is a tuple, one for each.
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
        Mean length of a burst in buffers, in frames for complete frames.
    bit_errors
        Probability that a bit of a pixel is flipped, independently of all others; a tuple: one for
        each receiver.
    noise_bursts
        Bursts of noise per million bits; a tuple: one for each receiver.
    noise_bits
        Mean length of such a burst in bits. It flips one bit in 2, in 4 or in 8, and reaches
        into the next buffers.
    failed_headers
        Probability that the check of a buffer's header fails. Above 0 the tables have the column
        ``header_crc_ok``; the pixels of such a buffer are zero, and it begins no frame.
    late_start_frames, early_end_frames
        Receiver r starts r times the former late, and the receivers before the last end as many
        times the latter early; neither takes more than a quarter of the session.
    resets
        Restarts of the device, evenly spread; all its counters start again from 0.
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
    buffer_loss: OwnValues = 0.03
    frame_loss: float = 0.01
    corruption: float = 0.01
    truncation: float = 0.002
    overrun: float = 0.002
    header_flips: float = 0.002
    bursts: float = 0.1
    burst_length: int = 6
    bit_errors: OwnValues = 0.0
    noise_bursts: OwnValues = 0.0
    noise_bits: int = 4000
    failed_headers: float = 0.0
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
            share = kind is float or kind == OwnValues
            low, high = BOUNDS.get(field.name, (0, 1 if share else 2**31))
            if kind == OwnValues:
                self._require_own(field.name, value, low, high)
                continue
            kinds = get_args(kind) or ((float, int) if kind is float else (kind,))
            if isinstance(value, kinds) and (value is None or low <= value <= high):
                continue
            names = " or ".join(allowed.__name__ for allowed in kinds)
            msg = f"{field.name}={value!r}: give a number ({names}) from {low} to {high}"
            raise UsageError(msg)
        if max(self.resets, abs(self.lag)) >= self.frames:
            msg = f"{amount(self.frames, 'frame')}: too few for {amount(self.resets, 'reset')}"
            raise UsageError(f"{msg} and a lag of {self.lag}")

    def _require_own(self, name: str, values: object, low: float, high: float) -> None:
        """Refuse values of which some receiver has none, or one that it cannot have."""
        each = values if isinstance(values, tuple) else (values,)
        wrong = [v for v in each if not (isinstance(v, float | int) and low <= v <= high)]
        if wrong or len(each) not in (1, self.receivers):
            msg = f"{name}={values!r}: give a number (float or int) from {low} to {high}"
            raise UsageError(f"{msg}, or one for each of {amount(self.receivers, 'receiver')}")

    @property
    def edges(self) -> I64:
        """First pixel of every buffer in the flattened frame, and the end of the last one."""
        pixels = self.height * self.width
        step = self.buffer_pixels or -(-pixels * 5032 // 40000)
        return np.append(np.arange(0, pixels, step), pixels)

    def window(self, receiver: int) -> tuple[int, int]:
        """First frame that a receiver, from 0, could receive, and the end of the last one."""
        most = self.frames // 4
        early = (self.receivers - 1 - receiver) * self.early_end_frames
        return min(receiver * self.late_start_frames, most), self.frames - min(early, most)


def own_value(values: OwnValues, receiver: int) -> float:
    """The value of one receiver."""
    if not isinstance(values, tuple):
        return values
    return values[receiver if len(values) > 1 else 0]


def draw(config: SimulationConfig, shape: tuple[int, ...], *key: int) -> U64:
    """Draw raw integers from the stream that `key` names."""
    stream = np.random.PCG64(np.random.SeedSequence(config.seed, spawn_key=key))
    return stream.random_raw(math.prod(shape)).reshape(shape)


def chance(raw: U64, probability: float) -> Bools:
    """Turn raw integers into events that happen with a probability."""
    return (raw >> np.uint64(1)) < np.uint64(int(probability * 2**63))


def below(raw: U64, bound: int | I64) -> I64:
    """Turn raw integers into integers from 0 up to `bound`, exclusive."""
    return (raw % np.asarray(bound, np.uint64)).astype(np.int64)


@dataclass(frozen=True)
class Sent:
    """One block as the device sends it: pixels (frame, pixel), the rest (frame, buffer)."""

    block: int
    first: int
    pixels: U8
    header: dict[str, I64]
    time_us: I64
    overhang: I64


class Device:
    """Makes frames: a vignette with shot noise, and neurons that flash and fade."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.edges = config.edges
        self.block_frames = min(256, chunk_frames(config.height, config.width))
        height, width = config.height, config.width
        y, x = np.ogrid[:height, :width]
        # 110 in the middle, 30 in the corners, in integers, which every library rounds alike
        dy, dx = (2 * y - height + 1) ** 2, (2 * x - width + 1) ** 2
        field = 110 - 40 * dy // height**2 - 40 * dx // width**2
        self.field = field.astype(np.uint8).ravel()
        self.entropy = draw(config, ((height * width + 2**18) // 8 + 1,), 0).view("<u1")
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

    def send(self, block: int) -> Sent:
        """Make and send one block; blocks come in order."""
        first = block * self.block_frames
        count = min(self.block_frames, self.config.frames - first)
        index = np.arange(first, first + count)
        raw = draw(self.config, (self.block_frames, 2 + len(self.cells)), 1, block)[:count]
        header, time_us = self._make_headers(index)
        overhang = np.zeros(time_us.shape, np.int64)
        if self.config.overrun:
            payload = int(self.edges[1])
            overhang[:, -1] = payload * 3 // 4 + below(raw[:, 1], payload // 16 + 1)
        return Sent(block, first, self._make_pixels(raw), header, time_us, overhang)

    def _make_pixels(self, raw: U64) -> U8:
        size = len(self.field)
        out = self.memory[: len(raw)]
        start = below(raw[:, 0], len(self.noise) - size + 1)
        for frame, begin in zip(out, start.tolist(), strict=True):
            np.add(self.field, self.noise[begin : begin + size], out=frame)
        spikes = np.where(chance(raw[:, 2:], 0.01), 40 + below(raw[:, 2:], 88), 0)
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

    def _make_headers(self, index: I64) -> tuple[dict[str, I64], I64]:
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
class Faults:
    """Faults of one block on its way to one receiver, all (frame, buffer)."""

    lost: Bools
    failed: Bools  # The check of the header failed
    corrupted: Bools
    short: Bools
    flipped: Bools
    arrived: I64  # Pixels of the payload, those that ran over included
    detail: U64


class Air:
    """Radio channel from the device to one receiver; bursts continue from block to block."""

    def __init__(self, config: SimulationConfig, receiver: int, block_frames: int) -> None:
        self.config, self.receiver = config, receiver
        self.sizes = np.diff(config.edges)
        self.shape = (block_frames, len(self.sizes))
        self.burst_left = {"loss": 0, "corruption": 0}

    def send(self, sent: Sent) -> Faults:
        """Draw the faults of one block, always for a whole one."""
        config, (frames, buffers) = self.config, self.shape
        raw = draw(config, (10, frames, buffers), 2, self.receiver, sent.block)
        losses = self._draw_lengths(raw[0], raw[1], own_value(config.buffer_loss, self.receiver))
        whole = buffers * self._draw_lengths(raw[2, :, 0], raw[3, :, 0], config.frame_loss)
        losses[:, 0] = np.maximum(losses[:, 0], whole)
        lost = self._find_covered("loss", losses)
        errors = self._draw_lengths(raw[4], raw[5], config.corruption)
        corrupted = self._find_covered("corruption", errors)
        unseen = chance(raw[6], config.overrun)
        unseen[:, 0] = False  # dummy words set the start of a frame apart
        swallowed = np.zeros(self.shape, np.int64)
        for k in reversed(range(buffers - 1)):
            swallowed[:, k] = np.where(unseen[:, k + 1], swallowed[:, k + 1] + 1, 0)
        start, stop = config.window(self.receiver)
        index = np.arange(frames) + sent.first
        lost |= unseen | ((index < start) | (index >= stop))[:, None]
        short = chance(raw[7], config.truncation) & (self.sizes > 1) & (swallowed == 0)
        cut = 1 + below(raw[9] >> np.uint64(8), np.maximum(self.sizes - 1, 1))
        arrived = np.where(short, cut, self.sizes + swallowed * (self.sizes[0] + HEADER_PIXELS))
        n = len(sent.pixels)
        arrived[:n] += np.where(short[:n], 0, sent.overhang)
        flipped = chance(raw[8], config.header_flips)
        corrupted &= ~short
        checks = draw(config, self.shape, 4, self.receiver, sent.block)
        failed = chance(checks, config.failed_headers)
        return Faults(
            lost[:n], failed[:n], corrupted[:n], short[:n], flipped[:n], arrived[:n], raw[9, :n]
        )

    def _draw_lengths(self, events: U64, extent: U64, probability: float) -> I64:
        burst = 1 + below(extent, 2 * self.config.burst_length - 1)
        length = np.where(chance(extent, self.config.bursts), burst, 1)
        return np.where(chance(events, probability), length, 0)

    def _find_covered(self, kind: str, lengths: I64) -> Bools:
        """Find the buffers that events of these lengths (0: none) cover."""
        index = np.arange(lengths.size)
        reach = np.maximum(index + lengths.ravel(), self.burst_left[kind])
        reach = np.maximum.accumulate(reach)
        self.burst_left[kind] = max(int(reach[-1]) - lengths.size, 0)
        return (reach > index).reshape(self.shape)
