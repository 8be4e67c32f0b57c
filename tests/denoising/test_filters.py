"""The numbers behind denoise, against full Fourier transforms, plain NumPy, labels and mio."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.denoising import filters
from miostitch.errors import UsageError
from miostitch.kernels.stripes import SLACK, WAVE_UNIT, stripe_profiles, subtract_stripes
from miostitch.stitching.run import stitch_files
from miostitch.video.source import open_video
from tests.end_to_end import test_peers
from tests.video_files import GOLDEN, blake2s_of

U8 = NDArray[np.uint8]
# radius, vertical and horizontal cutoff
SHIPPED = {"denoise_example": (15, 2, 0), "remove_stripe_example": (5, 2, 0)}
SHIPPED |= {"denoise_calcium_imaging": (15, 2, 0), "denoise_patch": (15, 2, 0)}
CUTOFFS = [*sorted(set(SHIPPED.values())), (3, 5, 0), (2, 0, 3), (4, 2, 3), (0, 1, 1), (1, 0, 0)]
SHAPES = [(1, 1), (2, 3), (8, 8), (31, 20), (40, 33), (20, 64)]
# Far above the error of either side, far below the slack.
ERROR = 1e-7


def shares(height: int, width: int) -> st.SearchStrategy[U8]:
    pixels = st.integers(0, 255)
    return hnp.arrays(np.uint8, (2, height, width), elements=pixels, fill=pixels)


@st.composite
def filtered_blocks(draw: st.DrawFn) -> tuple[filters.StripeFilter, U8]:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    cutoffs = draw(st.tuples(*[st.integers(0, 14)] * 3))
    return filters.StripeFilter(height, width, *cutoffs), draw(shares(height, width))


def full_transform(frames: U8, mask: NDArray[Any]) -> NDArray[np.float64]:
    """The modulus of what is left, frame by frame, zero frequency of the mask in the middle."""
    kept = np.fft.ifftshift(mask)
    left = [np.abs(np.fft.ifft2(np.fft.fft2(frame) * kept)) for frame in frames]
    return np.array(left).reshape(frames.shape)


def rounded_down(values: NDArray[np.float64]) -> U8:
    return np.clip(values, 0, 255).astype(np.uint8)


def assert_exact(stripes: filters.StripeFilter, frames: U8) -> None:
    """Equal to the full transform, but for whole numbers that this reaches only almost."""
    value = full_transform(frames, stripes.mask) + SLACK
    got = stripes.apply(frames)
    assert (rounded_down(value - ERROR) <= got).all()
    assert (got <= rounded_down(value + ERROR)).all()


def video(path: Path) -> U8:
    source = open_video(path)
    return source.read(range(source.frame_count))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2514)


def test_rows_are_counted_one_by_one() -> None:
    frames = np.full((3, 6, 10), 90, np.uint8)
    frames[0, 2:4, :5] = 0  # a run at the left border
    frames[1, 1, 5:] = 3
    frames[2, 4, ::2] = 200
    rows = filters.flagged_rows(frames)
    assert rows.black_area.tolist() == [2, 0, 0]
    assert rows.gradient.tolist() == [2, 1, 1]  # an edge of 90 is 2 * 90 / 8 on average
    rows = filters.flagged_rows(frames, ScoreConfig(value_threshold=3, consecutive_threshold=5))
    assert rows.black_area.tolist() == [2, 1, 0]
    assert filters.flagged_rows(frames, ScoreConfig(0, 6)).black_area.tolist() == [0, 0, 0]
    assert filters.flagged_rows(frames, ScoreConfig(0, 5, 22.5)).gradient.tolist() == [0, 0, 1]


def test_frames_are_dropped_by_any_method_that_is_asked() -> None:
    rows = filters.FlaggedRows(gradient=np.array([0, 1, 0, 0]), black_area=np.array([0, 0, 1, 2]))
    assert filters.noisy_frames(rows).tolist() == [False, True, True, True]
    assert filters.noisy_frames(rows, min_rows=2).tolist() == [False, True, False, True]
    assert filters.noisy_frames(rows, ["gradient"], min_rows=2).tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert filters.noisy_frames(rows, ["black_area"]).tolist() == [False, False, True, True]
    assert not filters.noisy_frames(rows, []).any()


def test_senseless_detectors_are_refused() -> None:
    rows = filters.FlaggedRows(np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="method mean: use gradient or black_area"):
        filters.noisy_frames(rows, ["mean"])
    with pytest.raises(UsageError, match="min_rows 0"):
        filters.noisy_frames(rows, min_rows=0)


def test_every_labelled_frame_is_found_and_nothing_else(recordings: Path) -> None:
    truth = recordings / "noise" / "wireless_corrupted_extended.yaml"
    labelled = {int(n) for n in re.findall(r"^\s*- (\d+)", truth.read_text(), re.MULTILINE)}
    assert len(labelled) == 87
    rows = filters.flagged_rows(video(truth.with_suffix(".mp4")), ScoreConfig(value_threshold=16))
    assert set(np.flatnonzero(filters.noisy_frames(rows)).tolist()) == labelled


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_stripes_equal_the_full_transform(
    shape: tuple[int, int], cutoffs: tuple[int, int, int], rng: np.random.Generator
) -> None:
    frames = rng.integers(0, 256, (3, *shape), np.uint8)
    assert_exact(filters.StripeFilter(*shape, *cutoffs), frames)


@given(filtered_blocks())
def test_stripes_equal_the_full_transform_for_any_band(
    case: tuple[filters.StripeFilter, U8],
) -> None:
    assert_exact(*case)


@pytest.mark.parametrize(
    "cutoffs",
    [
        pytest.param(each, marks=pytest.mark.slow if at else [])
        for at, each in enumerate(sorted(set(SHIPPED.values())))
    ],
)
def test_real_frames_are_filtered_as_by_the_full_transform(
    recordings: Path, cutoffs: tuple[int, int, int]
) -> None:
    stripes = filters.StripeFilter(200, 200, *cutoffs)
    for path in sorted(recordings.glob("*/*.avi")):
        frames = video(path)[::5]
        assert_exact(stripes, frames)
        got, want = stripes.apply(frames), rounded_down(full_transform(frames, stripes.mask))
        assert np.abs(got.astype(int) - want).max() <= 1
        assert (got != want).mean() < 1e-4, path.name


def test_the_mask_is_the_one_that_is_drawn() -> None:
    mask = filters.StripeFilter(6, 9, 1, 2, 1).mask
    drawn = ["##....###", "##....###", "....#....", "...###...", "##..#.###", "##....###"]
    assert ["".join(".#"[stays] for stays in row) for row in mask.astype(int)] == drawn


def test_the_modulus_counts_and_not_the_real_part(rng: np.random.Generator) -> None:
    stripes = filters.StripeFilter(32, 32, 3, 2)
    frames = rng.integers(0, 256, (4, 32, 32), np.uint8)
    kept = np.fft.ifftshift(stripes.mask)
    left = np.array([np.fft.ifft2(np.fft.fft2(frame) * kept) for frame in frames])
    assert np.abs(left.imag).max() > 1
    got = stripes.apply(frames)
    assert (got == rounded_down(np.abs(left))).mean() > 0.999
    assert (got == rounded_down(left.real)).mean() < 0.99


@pytest.mark.parametrize("level", [0, 1, 99, 255])
def test_what_has_no_stripes_stays_as_it_is(level: int) -> None:
    frames = np.full((2, 50, 41), level, np.uint8)
    np.testing.assert_array_equal(filters.StripeFilter(50, 41, 4, 2, 2).apply(frames), frames)


def test_a_frame_has_one_result(rng: np.random.Generator) -> None:
    """Whatever block, thread or layout it comes in."""
    stripes = filters.StripeFilter(37, 50, 4, 2, 1)
    frames = rng.integers(0, 256, (23, 37, 50), np.uint8)
    whole = stripes.apply(frames)
    for size in (1, 2, 7, 22):
        blocks = [frames[start : start + size] for start in range(0, 23, size)]
        with ThreadPoolExecutor(4) as threads:
            np.testing.assert_array_equal(
                np.concatenate([*threads.map(stripes.apply, blocks)]), whole
            )
    view = np.asfortranarray(frames)
    view.flags.writeable = False
    np.testing.assert_array_equal(stripes.apply(view), whole)
    np.testing.assert_array_equal(stripes.apply(frames[::-2]), whole[::-2])
    assert stripes.apply(frames[:0]).shape == (0, 37, 50)


def test_the_removed_part_is_of_low_rank() -> None:
    vertical, horizontal = filters.StripeFilter(200, 200, 15, 2)._bands
    assert vertical.real.shape == (5, 200)
    assert vertical.imaginary.shape == (2, 200)
    assert horizontal.source.size == 0


def test_senseless_filters_are_refused() -> None:
    with pytest.raises(UsageError, match="0 x 5 pixels"):
        filters.StripeFilter(0, 5, 1)
    with pytest.raises(UsageError, match="vertical_cutoff -1"):
        filters.StripeFilter(5, 5, 1, -1)
    stripes = filters.StripeFilter(5, 6, 1)
    for wrong in (np.zeros((1, 6, 5), np.uint8), np.zeros((1, 5, 6)), np.zeros((5, 6), np.uint8)):
        with pytest.raises(UsageError, match=re.escape(str(wrong.shape))):
            stripes.apply(wrong)  # type: ignore[arg-type]


def test_kernels_refuse_tables_of_other_shapes() -> None:
    frames, other = np.zeros((2, 4, 6), np.uint8), np.zeros((2, 6, 4), np.uint8)
    vertical, horizontal = filters.StripeFilter(4, 6, 0, 1, 1)._bands
    for wrong in (other, np.zeros((2, 4, 7), np.uint8), np.zeros((2, 5, 6), np.uint8)):
        with pytest.raises(UsageError, match="stripe_profiles"):
            vertical.band(wrong)
    with pytest.raises(UsageError, match="stripe_profiles"):
        stripe_profiles(frames, *vertical[:3], np.zeros((1, vertical.source.size, 4)))
    down, along = vertical.band(frames), horizontal.band(frames.transpose(0, 2, 1))
    with pytest.raises(UsageError, match="subtract_stripes"):
        subtract_stripes(frames, along, down, np.zeros_like(frames))
    with pytest.raises(UsageError, match="subtract_stripes"):
        subtract_stripes(frames, down, along, np.zeros_like(other))


def test_waves_sum_exactly() -> None:
    assert 255 * WAVE_UNIT * 2**15 <= 2**53  # a row of 32,768 pixels, in float64 too
    waves = filters.StripeFilter(8, 200, 1, 3)._bands[0].waves
    assert np.abs(waves).max() == WAVE_UNIT
    np.testing.assert_array_equal(waves[0], WAVE_UNIT)


@pytest.mark.parametrize("cutoffs", sorted(set(SHIPPED.values())))
def test_the_slack_exceeds_the_largest_error_of_the_tables(cutoffs: tuple[int, int, int]) -> None:
    vertical, _ = filters.StripeFilter(200, 200, *cutoffs)._bands
    amount = 255 * 200 * 0.5 / WAVE_UNIT  # a white row, and every entry off by half a unit
    spread = np.abs(vertical.responses[:, :200]).sum(axis=1)
    carrier = np.hypot(vertical.real, np.pad(vertical.imaginary, ((0, 3), (0, 0)))).max(axis=1)
    assert amount * (spread * carrier).sum() < SLACK / 3


def test_a_spectrum_is_a_picture(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (3, 21, 30), np.uint8)
    frames[1] = 0
    frames[2] = 70
    got = filters.spectrum(frames)
    for frame, picture in zip(frames, got, strict=True):
        magnitude = np.log(np.abs(np.fft.fftshift(np.fft.fft2(frame))) + 1)
        want = cv2.normalize(magnitude, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
        assert np.abs(picture - want).max() <= 1 + 1e-9
        assert (picture == want.astype(np.uint8)).mean() > 0.99
    assert got[0].max() == 255
    assert not got[1].any()
    assert np.argwhere(got[2]).tolist() == [[10, 15]]


@given(shares(5, 4), st.lists(st.integers(0, 2), max_size=3))
def test_extremes_do_not_depend_on_blocks(frames: U8, cuts: list[int]) -> None:
    blocks = np.split(frames, sorted(cuts))
    got = filters.combine_extremes(np.stack([filters.extremes(block) for block in blocks]))
    np.testing.assert_array_equal(got, [frames.min(axis=0), frames.max(axis=0)])
    np.testing.assert_array_equal(got, filters.extremes(frames))
    assert filters.difference_range(got) == int((frames - frames.min(axis=0)).max())
    assert (frames - frames.min(axis=0)).min() == 0


def test_no_frames_have_no_range() -> None:
    nothing = filters.extremes(np.zeros((0, 3, 4), np.uint8))
    assert np.unique(nothing[0]).tolist() == [255]
    assert np.unique(nothing[1]).tolist() == [0]
    assert filters.difference_range(nothing) == 0
    assert filters.combine_extremes(nothing[None][:0]).shape == (2, 3, 4)


def test_subtraction_never_wraps_around(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (5, 7, 8), np.uint8)
    minimum, _ = filters.extremes(frames)
    got = filters.subtract(frames, minimum)
    np.testing.assert_array_equal(got, frames.astype(int) - minimum)
    with pytest.raises(UsageError, match="below the background"):
        filters.subtract(frames, np.maximum(minimum, minimum.max()))


def test_values_are_stretched_to_the_whole_range() -> None:
    for largest in range(256):
        values = np.arange(largest + 1, dtype=np.uint8).reshape(1, 1, -1)
        want = [255 * value // max(largest, 1) for value in range(largest + 1)]
        zero = np.zeros((1, largest + 1), np.uint8)
        assert filters.subtract(values, zero, largest).ravel().tolist() == want
    with pytest.raises(UsageError, match="too large"):
        filters.subtract(np.full((1, 1, 1), 10, np.uint8), np.zeros((1, 1), np.uint8), 9)
    with pytest.raises(UsageError, match="do not fit"):
        filters.subtract(np.zeros((1, 2, 1), np.uint8), np.zeros((1, 1), np.uint8))


def grouped_median(values: NDArray[np.int64]) -> float:
    """Median of whole numbers, each of which stands for all from half below to half above it."""
    values = np.sort(values.ravel())
    edges = np.unique(values)
    for level in edges:
        below, here = (values < level).sum(), (values == level).sum()
        if 2 * (below + here) >= len(values):
            return float(level - 0.5 + (0.5 * len(values) - below) / here)
    raise AssertionError("no values")


def corrected(frame: U8, usual: U8, *, rows: bool, frames: bool) -> U8:
    """A frame without the offsets that its rows and pixels share, row by row."""
    apart = frame.astype(np.int64) - usual
    of_rows = [grouped_median(row) for row in apart]
    of_frame = grouped_median(apart)
    out, rest = np.empty_like(frame), 0.0
    for y, of_row in enumerate(of_rows):
        rest += (of_row if rows else of_frame) - (of_frame if rows and not frames else 0.0)
        whole = int(np.floor(rest + 0.5))
        rest -= whole
        out[y] = np.clip(frame[y].astype(int) - whole, 0, 255)
    return out


@given(shares(7, 9), shares(7, 9), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_flicker_is_what_rows_and_frames_share(
    frames: U8, more: U8, which: tuple[bool, bool]
) -> None:
    usual, (rows, whole) = more[0], which
    correction = filters.FlickerCorrection(usual, rows, whole)
    expected = [corrected(frame, usual, rows=rows, frames=whole) for frame in frames]
    np.testing.assert_array_equal(correction.apply(frames), expected)
    turned = np.asfortranarray(frames[::-1])
    np.testing.assert_array_equal(correction.apply(turned), expected[::-1])


@given(hnp.arrays(np.int64, (5, 12), elements=st.integers(-20, 20)), st.integers(0, 9))
def test_any_flicker_of_rows_goes_and_what_covers_less_than_half_of_them_stays(
    offsets: NDArray[np.int64], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    usual = rng.integers(60, 120, (12, 15), np.uint8)
    cells = np.zeros((5, 12, 15), np.int64)
    cells[:, 3:9, 2:8] = rng.integers(20, 60, (5, 1, 1))  # 6 of 15 pixels of these rows
    frames = (usual + cells + offsets[..., None]).astype(np.uint8)
    got = filters.FlickerCorrection(usual).apply(frames)
    # of the pixels beside the cells some half are below the median of all and half at it
    assert np.abs(got.astype(int) - (usual + cells)).max() <= 1


def test_what_is_rounded_off_is_carried_over_to_the_next_row() -> None:
    usual = np.full((40, 10), 50, np.uint8)
    frame = usual.copy()
    frame[:, :5] += 1  # by half a gray level on average, in every row
    got = filters.FlickerCorrection(usual, rows=False).apply(frame[None])[0].astype(int)
    assert got.mean() == usual.mean()
    means = got.mean(axis=1) - 50
    assert np.abs(np.cumsum(means)).max() <= 0.5


def test_nothing_wraps_around_where_flicker_is_subtracted() -> None:
    usual = np.full((2, 9), 100, np.uint8)
    frames = np.full((2, 2, 9), 40, np.uint8)  # 60 are added again
    frames[0, 0, 0], frames[1] = 250, 160
    frames[1, 1, 0] = 10
    got = filters.FlickerCorrection(usual).apply(frames)
    assert got[0, 0, 0] == 255
    assert got[1, 1, 0] == 0
    assert np.unique(got[:, :, 1:]).tolist() == [100]
    with pytest.raises(UsageError, match="shapes do not fit"):
        filters.FlickerCorrection(usual[:1]).apply(frames)


@given(st.integers(1, 2000), st.sampled_from([1, 40_000, 10**6, 10**8]))
def test_the_sample_is_spread_evenly_and_bounded(count: int, pixels: int) -> None:
    chosen = filters.sampled_frames(count, pixels)
    most = max(35, min(255, 2**26 // pixels))
    if count <= most:
        assert chosen.tolist() == [*range(count)]
        return
    assert len(chosen) == most // 5 * 5
    runs = chosen.reshape(-1, 5)
    assert (np.diff(runs) == 1).all()
    assert 0 <= runs[0, 0] <= runs[-1, -1] < count
    steps = np.diff(runs[:, 0])
    assert steps.min() >= 5
    assert np.ptp(steps) <= 1
    assert abs(runs[0, 2] - (count - 1 - runs[-1, 2])) <= 1


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(3), st.just(4))))
def test_the_temporal_median_is_a_value_of_the_pixel(frames: U8) -> None:
    got, middle = filters.temporal_median(frames), np.median(frames, axis=0)
    assert got.dtype == np.uint8
    if len(frames) % 2:
        np.testing.assert_array_equal(got, middle)
    assert ((frames == got).any(axis=0) & (got <= middle)).all()


mio = test_peers.mio

FILTER = """
import sys
from pathlib import Path
import numpy as np
import yaml
import mio
from mio.models.process import DenoiseConfig, FrequencyMaskingConfig
from mio.process.frame_helper import FrequencyMaskHelper, InvalidFrameDetector
from mio.process.zstack_helper import ZStackHelper

frames = np.load(sys.argv[1])
height, width = frames.shape[1:]
result = {}
for path in (Path(mio.__file__).parent / "data" / "config" / "process").glob("*.yml"):
    config = yaml.safe_load(path.read_text())
    name, kept, bands = config["id"], list(frames), config
    if "noise_patch" in config:
        config = DenoiseConfig(**config)
        detector = InvalidFrameDetector(config.noise_patch)
        dropped = np.array([detector.find_invalid_area(frame)[0] for frame in frames])
        result[name + ".dropped"] = dropped
        kept, bands = list(frames[~dropped]), config.frequency_masking.model_dump()
    helper = FrequencyMaskHelper(FrequencyMaskingConfig(**bands), height=height, width=width)
    result[name + ".mask"] = helper.freq_mask
    result[name + ".stripes"] = np.array([helper.process(f) for f in frames])
    if kept:
        minimum = ZStackHelper.get_minimum_projection(kept)
        stretched = ZStackHelper.normalize_video_stack([f - minimum for f in kept])
        result[name + ".stretched"] = np.array(stretched)
result["spectrum"] = np.array([helper.freq_domain(f) for f in frames[:10]])
np.savez(sys.argv[2], **result)
"""
# run, min_rows
DETECTORS = {"denoise_example": (5, 1), "denoise_calcium_imaging": (30, 10)}
DETECTORS |= {"denoise_patch": (200, 1)}
# Frames that ``denoise_patch`` drops and mio does not, as it misses runs that start at column 0.
MISSED = {
    "video1": [16, 17, 18, 29, 31, 32],
    "video2": [],
    "stitched": [],
    "receiver1": [50, 61, 75],
    "receiver2": [51, 53, 54, 59, 60, 63, 67, 109, 110],
    "receiver3": [8, 13, 31, 56, 58],
    "truth": [
        *(7, 8, 13, 31, 34, 42, 45, 50, 51, 53, 54, 56),
        *(58, 59, 60, 61, 63, 66, 67, 75, 76, 109, 110),
    ],
}


class Compared(NamedTuple):
    """A recording, and what mio makes of it by ``CONFIG.what``."""

    name: str
    frames: U8
    theirs: dict[str, NDArray[Any]]


def pictures(recordings: Path, name: str, folder: Path) -> U8:
    if name == "stitched":
        names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
        stitch_files(names, folder)
        stitched = video(folder / "video1__video2_stitched.avi")
        assert blake2s_of(stitched) == GOLDEN  # so it is mio's as well
        return stitched
    return video(next(recordings.glob(f"*/{name}.avi")))


@pytest.fixture(scope="module", params=MISSED)
def compared(
    request: pytest.FixtureRequest,
    mio: Path,
    recordings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Compared:
    folder = tmp_path_factory.mktemp("mio")
    frames = pictures(recordings, request.param, folder)
    given, result = folder / "frames.npy", folder / "result.npz"
    np.save(given, frames)
    subprocess.run([mio, "-W", "ignore", "-c", FILTER, given, result], check=True)
    with np.load(result) as arrays:
        return Compared(request.param, frames, dict(arrays))


@pytest.mark.peer
def test_frames_come_out_as_of_mio(compared: Compared) -> None:
    _, frames, theirs = compared
    for config, cutoffs in SHIPPED.items():
        stripes = filters.StripeFilter(200, 200, *cutoffs)
        np.testing.assert_array_equal(stripes.mask, theirs[f"{config}.mask"])
        apart = np.abs(stripes.apply(frames).astype(int) - theirs[f"{config}.stripes"])
        assert apart.max() <= 1
        assert apart.mean() < 3e-5
    apart = np.abs(filters.spectrum(frames[:10]).astype(int) - theirs["spectrum"])
    assert apart.max() <= 1
    assert apart.mean() < 1e-3


@pytest.mark.peer
def test_frames_are_dropped_and_stretched_as_by_mio(compared: Compared) -> None:
    name, frames, theirs = compared
    for config, (run, min_rows) in DETECTORS.items():
        limits = ScoreConfig(consecutive_threshold=run)
        rows = filters.flagged_rows(frames, limits)
        behind = filters.flagged_rows(frames[:, :, 1:], limits)
        dropped = filters.noisy_frames(rows, min_rows=min_rows)
        seen = filters.noisy_frames(rows._replace(black_area=behind.black_area), min_rows=min_rows)
        np.testing.assert_array_equal(theirs[f"{config}.dropped"], seen)
        missed = np.flatnonzero(dropped & ~seen).tolist()
        assert missed == (MISSED[name] if config == "denoise_patch" else [])

        kept = frames[~seen]
        projections = filters.extremes(kept)
        largest = filters.difference_range(projections)
        stretched = filters.subtract(kept, projections[0], largest)
        np.testing.assert_array_equal(stretched, theirs[f"{config}.stretched"])
