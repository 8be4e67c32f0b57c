"""The kernels against OpenCV and plain NumPy."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from miostitch import schema
from miostitch.errors import UsageError
from miostitch.kernels import agreement as agreement_kernels
from miostitch.kernels import composition as composing_kernels
from miostitch.kernels import flicker, jit
from miostitch.kernels import scores as kernels
from miostitch.kernels import stripes as filtering_kernels
from miostitch.kernels.jit import Kernel

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 70), st.integers(1, 70))
SMALL = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
# Extremes and near-black values, so that runs, borders and full sums occur.
PIXELS = st.one_of(st.integers(0, 255), st.sampled_from([0, 0, 1, 2, 255]))
FRAMES = hnp.arrays(np.uint8, st.one_of(SMALL, SHAPES), elements=PIXELS, fill=PIXELS)
THRESHOLDS = st.tuples(st.integers(-1, 256), st.integers(0, 80), st.floats(0, 511))


def scores(frames: U8, value: int = 0, run: int = 5, gradient: float = 20.0) -> I64:
    out = np.full((3, len(frames)), -1, np.int64)
    kernels.score_frames(frames, value, run, gradient, out)
    return out


def expected_black(frame: U8, value: int, run: int) -> int:
    w = frame.shape[1]
    run = max(run, 1)
    if run > w:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(frame, run, axis=1)
    return int(w * (windows.max(axis=2).min(axis=1) <= value).sum())


def expected_noisy(frame: U8, gradient: float) -> int:
    w = frame.shape[1]
    if w < 3:
        return 0
    second = np.abs(np.diff(frame.astype(np.int16), n=2, axis=1))
    return int(w * (second.mean(axis=1) > gradient).sum())


def expected_energy(frame: U8) -> int:
    gx = cv2.Sobel(frame, cv2.CV_16S, 1, 0)
    gy = cv2.Sobel(frame, cv2.CV_16S, 0, 1)
    return int(np.abs(gx).sum(dtype=np.int64) + np.abs(gy).sum(dtype=np.int64))


def expected(frames: U8, value: int = 0, run: int = 5, gradient: float = 20.0) -> I64:
    rows = [
        [expected_black(f, value, run), expected_noisy(f, gradient), expected_energy(f)]
        for f in frames
    ]
    return np.array(rows, np.int64).reshape(-1, 3).T


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2514)


@given(FRAMES, THRESHOLDS)
def test_scores_equal_the_references(frames: U8, thresholds: tuple[int, int, float]) -> None:
    np.testing.assert_array_equal(scores(frames, *thresholds), expected(frames, *thresholds))


@given(FRAMES, THRESHOLDS)
def test_scores_without_the_edge_energy_are_the_same(
    frames: U8, thresholds: tuple[int, int, float]
) -> None:
    out = np.empty((2, len(frames)), np.int64)
    kernels.score_frames(frames, *thresholds, out)
    np.testing.assert_array_equal(out, expected(frames, *thresholds)[:2])


def test_scores_stand_in_the_order_of_the_schema() -> None:
    black = np.full((1, 4, 6), 128, np.uint8)
    black[0, 1, :5] = 0
    got = dict(
        zip([v.name for v in schema.PIXEL_SCORES], scores(black, gradient=50)[:, 0], strict=True)
    )
    assert got == {"black_pixels": 6, "noisy_pixels": 0, "edge_energy": expected_energy(black[0])}


@pytest.mark.parametrize("start", range(6))
@pytest.mark.parametrize("run", [0, 1, 4, 5, 9, 10, 11])
def test_a_run_counts_wherever_it_stands(start: int, run: int) -> None:
    frame = np.full((3, 10), 9, np.uint8)
    frame[1, start : start + 5] = 3
    frame[2, :] = 3
    black = scores(frame[None], 3, run)[0, 0]
    assert black == 10 * ((run <= 5) + (run <= 10))


@given(hnp.arrays(np.uint8, st.tuples(st.just(1), st.integers(3, 300)), elements=PIXELS))
def test_noisy_rows_compare_as_numpy_compares(frame: U8) -> None:
    mean = np.abs(np.diff(frame.astype(np.int16), n=2, axis=1)).mean()
    for gradient in (np.nextafter(mean, -1), mean, np.nextafter(mean, 999), np.nan, np.inf):
        noisy = scores(frame[None], gradient=float(gradient))[1, 0]
        assert noisy == frame.size * bool(mean > gradient)


def test_the_mean_is_a_quotient_not_a_product() -> None:
    # A threshold just below 5 / 3, whose product with 3 is rounded up to 5.
    threshold = float(np.nextafter(5 / 3, 0))
    assert threshold < 5 / 3
    assert threshold * 3 == 5
    frame = np.array([[2, 0, 0, 0, 3]], np.uint8)
    assert scores(frame[None], gradient=threshold)[1, 0] == 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 900), (900, 1), (129, 900)])
@pytest.mark.parametrize("pattern", ["diagonal", "stripes", "checks", "ladder"])
def test_the_largest_sums_do_not_overflow(shape: tuple[int, int], pattern: str) -> None:
    y, x = np.indices(shape)
    on = {
        "diagonal": x + y & 2,
        "stripes": x & 1,
        "checks": x + y & 1,
        "ladder": np.where(x % 3 == 1, y & 2, x % 3),  # the largest |gx| + |gy| down a column
    }[pattern]
    frame = np.where(on, 255, 0).astype(np.uint8)[None]
    np.testing.assert_array_equal(scores(frame), expected(frame))


VIEWS: dict[str, Callable[[U8], U8]] = {
    "cropped": lambda f: f[:, 1:-1, 2:],
    "backwards": lambda f: f[::-1, ::-1, ::-1],
    "transposed": lambda f: f.transpose(0, 2, 1),
    "thinned": lambda f: f[::2, ::3, ::2],
    "one plane of colour": lambda f: np.repeat(f[..., None], 3, axis=3)[..., 1],
    "repeated": lambda f: np.broadcast_to(f[:1], (4, *f.shape[1:])),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_views_score_as_their_copies(view: Callable[[U8], U8], rng: np.random.Generator) -> None:
    frames = view(rng.integers(0, 256, (5, 70, 90), np.uint8))
    assert not frames.flags.c_contiguous
    out = np.zeros((3, 2 * len(frames)), np.int64)[:, ::2]
    kernels.score_frames(frames, 20, 2, 85.0, out)
    np.testing.assert_array_equal(out, expected(frames, 20, 2, 85.0))
    different = np.zeros(len(frames), np.int64)
    kernels.differing_pixels(frames, frames.copy(), np.arange(len(frames)), different)
    assert not different.any()


def test_read_only_frames_are_taken(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (2, 8, 9), np.uint8)
    frames.flags.writeable = False
    np.testing.assert_array_equal(scores(frames), expected(frames))


@given(FRAMES, st.data())
def test_differing_pixels_equal_the_reference(a: U8, data: st.DataObject) -> None:
    b = np.where(data.draw(hnp.arrays(np.bool_, a.shape)), a ^ 1, a)
    some = np.array(data.draw(st.permutations(range(len(a))))[:3], np.int64)
    out = np.full(len(some), -1, np.int64)
    kernels.differing_pixels(a, b, some, out)
    np.testing.assert_array_equal(out, (a != b).sum(axis=(1, 2))[some])


@given(FRAMES, st.data())
def test_identical_buffers_equal_the_reference(a: U8, data: st.DataObject) -> None:
    a = np.ascontiguousarray(a[:, :64])  # a row is a buffer
    b = np.where(data.draw(hnp.arrays(np.bool_, a.shape, fill=st.just(False))), a ^ 1, a)
    n, h, w = a.shape
    masks = data.draw(hnp.arrays(np.uint64, n, elements=st.integers(0, 2**h - 1)))
    one, other, bounds = a.reshape(n, h * w), b.reshape(n, h * w), np.arange(h + 1) * w
    out = np.full(n, 99, np.uint64)
    composing_kernels.identical_buffers(one, other, masks, bounds, out)
    bits = np.where((a == b).all(axis=2), np.uint64(1) << np.arange(h, dtype=np.uint64), 0)
    np.testing.assert_array_equal(out, bits.sum(axis=1, dtype=np.uint64) & masks)
    composing_kernels.identical_buffers(one, other, np.ones(n, np.uint64), bounds[[0, -1]], out)
    np.testing.assert_array_equal(out, (a == b).all(axis=(1, 2)))


@pytest.mark.parametrize("h", [254, 255, 256, 600])
def test_differing_pixels_count_tall_frames(h: int) -> None:
    a = np.zeros((2, h, 7), np.uint8)
    out = np.zeros(2, np.int64)
    kernels.differing_pixels(a, ~a, np.arange(2), out)
    assert out.tolist() == [7 * h, 7 * h]


def test_a_wrong_call_is_refused_before_anything_is_written() -> None:
    frames = np.zeros((2, 4, 5), np.uint8)
    out = np.full((3, 2), -1, np.int64)
    with pytest.raises(UsageError, match="score_frames: out"):
        kernels.score_frames(frames, 0, 5, 20.0, out.T)
    with pytest.raises(UsageError, match="score_frames: out"):
        kernels.score_frames(frames, 0, 5, 20.0, out[:1])
    with pytest.raises(UsageError, match="differing_pixels: a and b"):
        kernels.differing_pixels(frames, frames[:1], np.arange(2), out[0])
    with pytest.raises(UsageError, match="differing_pixels: a and b"):
        kernels.differing_pixels(frames, frames, np.arange(2), out[0, :1])
    for absent in (-1, 2):
        with pytest.raises(UsageError, match="differing_pixels: a frame that is not there"):
            kernels.differing_pixels(frames, frames, np.array([absent]), out[0, :1])
    with pytest.raises(TypeError, match="No matching definition"):
        kernels.score_frames(frames.astype(np.int16), 0, 5, 20.0, out)
    assert (out == -1).all()


HOMES = {
    agreement_kernels: {"compare_images"},
    kernels: {"score_frames", "differing_pixels"},
    flicker: {"subtract_flicker"},
    filtering_kernels: {"stripe_profiles", "subtract_frame", "subtract_stripes"},
    composing_kernels: {
        "identical_buffers",
        "presence",
        "spread",
        "tally",
        "compose",
    },
}


@pytest.mark.parametrize("module", HOMES, ids=lambda module: str(module.__name__))
def test_every_kernel_follows_the_policy(module: ModuleType) -> None:
    found = [f.compiled if isinstance(f, Kernel) else f for f in vars(module).values()]
    compiled = [f for f in found if hasattr(f, "nopython_signatures")]
    assert len(compiled) > len(HOMES[module])
    for function in compiled:
        cached = bool(function.stats.cache_path)  # numba's word for a function with files
        assert cached == (function.__name__ in HOMES[module])
        if cached:
            assert len(function.nopython_signatures) == 1
        assert function.targetoptions["nogil"]
        assert not {"parallel", "fastmath"} & {k for k, v in function.targetoptions.items() if v}


def test_a_kernel_is_compiled_once_when_first_called(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def slowly(*_: object, **__: object) -> Callable[[object], Callable[..., int]]:
        time.sleep(0.05)
        made.append(_)
        return lambda function: lambda number: 2 * number

    monkeypatch.setattr(jit, "njit", slowly)
    twice = jit.kernel("signature")(lambda number: number)
    assert not made
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(twice, range(4))] == [0, 2, 4, 6]
    assert len(made) == 1


SMALL_MODULE = """
from numba import types
from miostitch.kernels.jit import kernel

@kernel(types.int64(types.int64))
def twice(number):
    return 2 * number

@kernel(types.int64(types.int64, types.int64))
def less(one, other):
    return one - other
"""
SMALL_PROBE = """
import small
functions = small.twice.compiled, small.less.compiled
print(sum(len(f.stats.cache_hits) for f in functions), [small.twice(21), small.less(3, 5)])
"""
PROBE = """
import sys
from importlib import import_module
import numpy as np
from miostitch.kernels import jit
from miostitch.kernels import scores as kernels
out = np.zeros((3, 2), np.int64)
kernels.score_frames(np.arange(2 * 9 * 11, dtype=np.uint8).reshape(2, 9, 11), 5, 3, 1.0, out)
found = vars(import_module(sys.argv[1])).values()
functions = [f.compiled for f in found if isinstance(f, jit.Kernel)]
print(sum(len(f.stats.cache_hits) for f in functions), out.tolist())
"""


def require_shared_cache(folder: Path, probe: str, module: str, count: int, answer: str) -> None:
    """Start two processes at once, then another one; all answer, and the last compiles nothing."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", probe, module]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

    def result(process: subprocess.Popen[str]) -> str:
        found, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return found

    first = [result(process) for process in [start() for _ in range(2)]]
    prefix = module.rpartition(".")[2] + "."
    kept = {path.name for path in (folder / "cache").rglob(f"{prefix}*") if path.is_file()}
    last = result(start())
    assert [text.split(" ", 1)[1].strip() for text in (*first, last)] == [answer] * 3
    # nobody left a temporary file or a second version
    assert int(last.split(" ", 1)[0]) == count
    assert len(kept) == 2 * count


def test_processes_may_compile_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SMALL_MODULE)
    require_shared_cache(tmp_path, SMALL_PROBE, "small", 2, "[42, -2]")


@pytest.mark.fault(60, "package and home read-only: no cache for numba", "works, compiles again")
@pytest.mark.skipif(sys.platform == "win32", reason="other limits there")
@pytest.mark.parametrize("cache", ["none", "full"])
def test_without_a_cache_every_process_compiles(tmp_path: Path, cache: str) -> None:
    (tmp_path / "small.py").write_text(SMALL_MODULE)
    env = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    env |= {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    if cache == "none":  # rights bind nobody who is root
        (tmp_path / "__pycache__").touch()
        env["HOME"] = os.devnull
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    limit += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    probe = limit * (cache == "full") + SMALL_PROBE
    command = [sys.executable, "-c", probe, "small"]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert made.stderr == ""
    assert made.stdout.split(" ", 1) == ["0", "[42, -2]\n"]


@pytest.mark.slow
@pytest.mark.parametrize("module", [kernels, composing_kernels], ids=lambda m: str(m.__name__))
def test_processes_may_compile_every_kernel_at_the_same_time(
    module: ModuleType, tmp_path: Path
) -> None:
    frames = np.arange(2 * 9 * 11, dtype=np.uint8).reshape(2, 9, 11)
    answer = str(expected(frames, 5, 3, 1.0).tolist())
    require_shared_cache(tmp_path, PROBE, module.__name__, len(HOMES[module]), answer)


def test_real_recording_scores_as_opencv_says(recordings: Path) -> None:
    video = cv2.VideoCapture(str(recordings / "stitch" / "video1.avi"))
    grabbed = []
    while (read := video.read())[0]:
        grabbed.append(read[1][..., 0])
    video.release()
    frames = np.stack(grabbed).astype(np.uint8)
    assert frames.shape == (50, 200, 200)
    got = scores(frames, gradient=8.0)
    np.testing.assert_array_equal(got, expected(frames, gradient=8.0))
    assert (got.sum(axis=1) > 0).all()
