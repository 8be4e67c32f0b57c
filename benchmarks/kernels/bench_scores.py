"""Speed of the kernels on blocks of 200 x 200 pixels, in asv's conventions."""

from time import perf_counter

import numpy as np

from miostitch.denoising import filters as filtering
from miostitch.kernels import scores as kernels

FRAMES, HEIGHT, WIDTH = 200, 200, 200
BUFFER_PIXELS = 5032


def best_rate(call, repeats=20):
    """Frames per second of the fastest of several calls."""

    def seconds():
        start = perf_counter()
        call()
        return perf_counter() - start

    return FRAMES / min(seconds() for _ in range(repeats))


class Kernels:
    """Noise around a gray level with one buffer in nine lost."""

    # Value threshold: nothing black but lost buffers; now and then a black pixel; every other one.
    params = (0, 45, 60)
    param_names = ("value_threshold",)

    def setup(self, value_threshold):
        rng = np.random.default_rng(2514)
        shape = (FRAMES, HEIGHT * WIDTH)
        flat = np.clip(rng.normal(60, 8, shape), 1, 255).astype(np.uint8)
        bounds = np.append(np.arange(0, shape[1], BUFFER_PIXELS), shape[1])
        for i, j in np.argwhere(rng.random((FRAMES, bounds.size - 1)) < 1 / 9):
            flat[i, bounds[j] : bounds[j + 1]] = 0
        self.frames = flat.reshape(FRAMES, HEIGHT, WIDTH)
        self.other = self.frames[::-1].copy()
        self.scores = np.zeros((3, FRAMES), np.int64)
        self.counts = np.zeros(FRAMES, np.int64)
        self.time_score_frames(value_threshold)
        self.time_differing_pixels(value_threshold)

    def time_score_frames(self, value_threshold):
        kernels.score_frames(self.frames, value_threshold, 5, 20.0, self.scores)

    def time_differing_pixels(self, _):
        kernels.differing_pixels(self.frames, self.other, np.arange(FRAMES), self.counts)

    def track_score_frames(self, value_threshold):
        return best_rate(lambda: self.time_score_frames(value_threshold))

    def track_differing_pixels(self, _):
        return best_rate(lambda: self.time_differing_pixels(_))

    track_score_frames.unit = "frames/s"
    track_differing_pixels.unit = "frames/s"


class Filters:
    """The stages of denoising, on a smooth picture with noise and horizontal stripes."""

    def setup(self):
        rng = np.random.default_rng(2514)
        y, x = np.ogrid[:HEIGHT, :WIDTH]
        picture = 90 + 40 * np.sin(x / 30) * np.cos(y / 40)
        stripes = rng.normal(0, 6, (FRAMES, HEIGHT, 1))
        noise = rng.normal(0, 4, (FRAMES, HEIGHT, WIDTH))
        self.frames = np.clip(picture + stripes + noise, 0, 255).astype(np.uint8)
        self.filter = filtering.StripeFilter(HEIGHT, WIDTH, 15, 2)
        self.kept = np.fft.ifftshift(self.filter.mask)
        self.background = filtering.extremes(self.frames)
        self.time_stripes()

    def time_detectors(self):
        filtering.noisy_frames(filtering.flagged_rows(self.frames))

    def time_stripes(self):
        self.filter.apply(self.frames)

    def time_stripes_by_full_transform(self):
        for frame in self.frames:
            left = np.abs(np.fft.ifft2(np.fft.fft2(frame) * self.kept))
            np.clip(left, 0, 255).astype(np.uint8)

    def time_spectrum(self):
        filtering.spectrum(self.frames)

    def time_extremes(self):
        filtering.extremes(self.frames)

    def time_background(self):
        largest = filtering.difference_range(self.background)
        filtering.subtract(self.frames, self.background[0], largest)

    def track_stripes(self):
        return best_rate(self.time_stripes)

    track_stripes.unit = "frames/s"
