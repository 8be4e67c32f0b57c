"""What a recording's two clocks say: the device's counter and the receiver's time of reception."""

from dataclasses import dataclass

import numpy as np

from miostitch.arrays import F64, I64
from miostitch.buffers.device_counter import LEAST_FRAMES
from miostitch.buffers.elapsed_time import ElapsedTime, measured_rate
from miostitch.schema import MEASURED_FPS

_SIGMA = 1.4826  # standard deviation of a normal distribution in median absolute deviations
_CERTAIN = 8.0  # standard deviations by which a correlation stands out from all chance
_MEASURABLE = 5.0  # standard errors from which on a drift is one
_MAD_FLOOR_S = 1e-7  # time of day in float64 resolves no less


@dataclass(frozen=True)
class Clock:
    """A receiver's clock against the first recording's."""

    # How far the clock is ahead at `middle_s`, in s: the median over shared frames, without their
    # drift; NaN without any.
    offset_s: float = np.nan
    # How much faster the clock runs; None where it cannot be told from the scatter, or where the
    # offset changes by steps rather than steadily.
    drift_ppm: float | None = None
    frames: int = 0  # Shared frames that this rests on
    middle_s: float = 0.0  # Median time of the shared frames on this clock, in s


def time_attrs(elapsed: ElapsedTime, frame_num: I64) -> dict[str, str | float]:
    """The attributes of a store that its times give."""
    rate = measured_rate(frame_num, np.where(elapsed.estimated, np.nan, elapsed.seconds))
    return elapsed.attrs | ({} if rate is None else {MEASURED_FPS: rate})


def device_time(frame_num: I64, time: F64, interval: float) -> F64:
    """The number, with fractions, that a frame of one boot received at each time has, (frame,).

    The numbers of the 25 frames around set it and not its own, so that a wrong number does not
    matter, nor do offset, drift and steps of the receiver's clock.
    """
    elapsed = (time - time[:1]) / interval
    lead = frame_num - elapsed
    for stride in (1, 5):
        padded = np.pad(lead, 2 * stride, mode="reflect" if len(lead) > 2 * stride else "edge")
        shifted = [padded[k * stride : k * stride + len(lead)] for k in range(5)]
        lead = np.median(np.stack(shifted, axis=1), axis=1, overwrite_input=True)
    return lead + elapsed


def counter_shift(first: tuple[I64, F64], second: tuple[I64, F64], interval: float) -> int | None:
    """What to add to the numbers of a second counter so that they mean the same frame as the first.

    The device's frames come a little early or late; both receivers see that, and the correlation
    of these irregularities tells it. None unless one shift is twice as good as any other.
    """
    patterns = [_irregularities(frame_num, time, interval) for frame_num, time in (first, second)]
    if any(len(pattern) < LEAST_FRAMES for _, pattern in patterns):
        return None
    (start, one), (other_start, other) = patterns
    size = 1 << (len(one) + len(other)).bit_length()
    products = _correlation(one, other, size)
    pairs = np.rint(_correlation((one != 0).astype(float), (other != 0).astype(float), size))
    scale = float(np.sqrt(np.mean(one[one != 0] ** 2) * np.mean(other[other != 0] ** 2)))
    score = np.where(pairs >= 8 * LEAST_FRAMES, products / np.sqrt(pairs.clip(1)) / scale, 0)
    best = int(score.argmax())
    value = float(score[best])
    score[best] = 0
    if value < _CERTAIN or value < 2 * float(score.max()):
        return None
    lag = best if best < len(one) else best - size
    return start - other_start + lag


def estimate_clock(time: F64, reference: F64) -> Clock:
    """Compare a receiver's clock with the first recording's, by the times of shared frames."""
    ahead = time - reference
    known = np.isfinite(ahead)
    time, ahead = time[known], ahead[known]
    if not time.size:
        return Clock()
    offset, middle = float(np.median(ahead)), float(np.median(time))
    clock = Clock(offset, None, time.size, middle)
    third = time.size // 3
    if third < LEAST_FRAMES:
        return clock
    early, late = slice(0, third), slice(time.size - third, None)
    lever = float(np.median(time[late]) - np.median(time[early]))
    if lever <= 0:
        return clock
    drift = float(np.median(ahead[late]) - np.median(ahead[early])) / lever
    scatter = _scatter(np.diff(ahead)) / np.sqrt(2)
    error = 1.25 * scatter * np.sqrt(2 / third) / lever
    level = ahead - drift * (time - middle)
    if abs(drift) <= _MEASURABLE * error or _scatter(level) > 3 * scatter:
        return clock
    return Clock(float(np.median(level)), drift * 1e6, time.size, middle)


def to_first_clock(times: F64, clock: Clock) -> F64:
    """Take a receiver's offset and, where it was measured, drift out of its times.

    >>> to_first_clock(np.array([100.0, 200.0]), Clock(3.0, 100.0, 50, 100.0)).round(6).tolist()
    [97.0, 196.99]
    """
    if not clock.frames:
        return times
    return times - clock.offset_s - (clock.drift_ppm or 0.0) * 1e-6 * (times - clock.middle_s)


def _scatter(values: F64) -> float:
    return max(_SIGMA * float(np.median(np.abs(values - np.median(values)))), _MAD_FLOOR_S)


def _irregularities(frame_num: I64, time: F64, interval: float) -> tuple[int, F64]:
    """First number, and how late each next frame came, in standard deviations; 0: unknown."""
    follows = np.flatnonzero(np.diff(frame_num) == 1)
    late = time[follows + 1] - time[follows] - interval
    number = frame_num[follows + 1]
    # wrong numbers must not stretch the axis
    near = np.isfinite(late) & (np.abs(number - np.median(number)) <= 4 * len(number))
    late, number = late[near], number[near]
    if not late.size:
        return 0, late
    late = late - np.median(late)
    limit = 3 * _scatter(late)  # a few very late frames are the receiver's own
    start = int(number.min())
    pattern = np.zeros(int(number.max()) - start + 1)
    pattern[number - start] = late.clip(-limit, limit) / limit
    return start, pattern


def _correlation(one: F64, other: F64, size: int) -> F64:
    """Sum of ``one[i + lag] * other[i]`` for each lag, negative ones counted from the end."""
    spectrum = np.fft.rfft(one, size)
    spectrum *= np.fft.rfft(other, size).conj()
    return np.fft.irfft(spectrum, size)
