"""Flipped bits of pixels on the way to one receiver: single ones, and bursts of noise."""

from dataclasses import dataclass

import numpy as np

from miostitch.arrays import U8
from miostitch.simulation.device import SimulationConfig, below, chance, draw, own_value

STREAM = 3  # random numbers of this kind, one stream per receiver and frame
THINNED = 3  # a burst flips one bit in 2, in 4 or in 8


@dataclass
class BitErrors:
    """Bit errors of one receiver, frame by frame; a burst continues in the next frame."""

    config: SimulationConfig
    receiver: int
    burst_left: int = 0  # Bits of the last burst that are still to come
    thinning: int = 0  # How often its noise is thinned

    def __post_init__(self) -> None:
        self.flip_rate = own_value(self.config.bit_errors, self.receiver)
        self.burst_rate = own_value(self.config.noise_bursts, self.receiver) / 1e6
        self.pixels = self.config.height * self.config.width

    def draw(self, first: int, count: int) -> U8 | None:
        """Draw the bits flipped in some frames, uint8 (frame, pixel); None: there are none."""
        if not (self.flip_rate or self.burst_rate):
            return None
        return np.stack([self._draw_frame(first + frame) for frame in range(count)])

    def _draw_frame(self, frame: int) -> U8:
        raw = draw(self.config, (2, self.pixels), STREAM, self.receiver, frame)
        hit = chance(raw[0], min(8 * self.flip_rate, 1.0))
        flipped = np.where(hit, 1 << below(raw[0], 8), 0).astype(np.uint8)
        begun = np.flatnonzero(chance(raw[1], min(8 * self.burst_rate, 1.0)))
        bursts = [(0, self.burst_left, self.thinning)] if self.burst_left else []
        for pixel in begun.tolist():
            detail = int(raw[1, pixel])
            length = 1 + (detail >> 8) % (2 * self.config.noise_bits - 1)
            bursts.append((8 * pixel + detail % 8, length, (detail >> 4) % THINNED))
        self.burst_left = 0
        for number, (begin, length, thinning) in enumerate(bursts):
            end = begin + length
            noise = self._make_noise(frame, number, thinning)[begin // 8 : -(-end // 8)]
            noise[0] &= 0xFF >> begin % 8
            if end <= 8 * self.pixels and end % 8:
                noise[-1] &= 0xFF << 8 - end % 8 & 0xFF
            flipped[begin // 8 : begin // 8 + len(noise)] ^= noise
            if end - 8 * self.pixels > self.burst_left:
                self.burst_left, self.thinning = end - 8 * self.pixels, thinning
        return flipped

    def _make_noise(self, frame: int, number: int, thinning: int) -> U8:
        shape = (1 + thinning, -(-self.pixels // 8))
        raw = draw(self.config, shape, STREAM, self.receiver, frame, 1 + number)
        noise: U8 = np.bitwise_and.reduce(raw.astype("<u8")).view(np.uint8)[: self.pixels]
        return noise
