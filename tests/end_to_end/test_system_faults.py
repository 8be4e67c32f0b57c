"""Disks, folders, processes and lengths that are not as usual."""

import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pytest
import xarray as xr
import zarr
from numcodecs import Pickle

import miostitch
import miostitch.stitching.run  # before rights are given up: numba looks for a folder for its cache
from miostitch.buffers import parser as table_parser
from miostitch.buffers.table import read_metadata
from miostitch.config.files import parse_config
from miostitch.errors import InputError, MetadataError, ResourceError, VideoError
from miostitch.recording.files import Segment
from miostitch.recording.recording import Recording
from miostitch.video.source import open_video
from tests.faults import case, slow
from tests.sessions import Made
from tests.tables import session as rows
from tests.tables import write as write_table
from tests.video_files import COUNT, Frames, encode


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("session")
    return Made(folder, frames=12, receivers=2, extra_frame=False, seed=4).names


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder in which nothing can be made, by root neither."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="other rights there")
@pytest.mark.parametrize(
    "below",
    [
        case(42, "read-only folder", "exit 5, no input opened", "."),
        case(42, "folder missing in a read-only one", "exit 5, no input opened", "a/b"),
    ],
)
def test_an_output_that_cannot_be_written(
    names: list[str], unwritable: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "miostitch.stitching.run.open_recordings", lambda *_, **__: pytest.fail("read")
    )
    monkeypatch.setattr(
        "miostitch.stitching.run._check_inputs", lambda paths: [*map(Segment, paths)]
    )
    with pytest.raises(ResourceError, match="cannot be written") as refused:
        miostitch.stitch_files(names, unwritable / below)
    assert refused.value.exit_code == 5
    assert os.listdir(unwritable) == []


@pytest.mark.fault(42, "output below a file", "exit 5")
def test_an_output_below_a_file(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="file: is a file, not a folder"):
        miostitch.stitch_files(names, tmp_path / "file" / "out")


class Bad(io.BytesIO):
    """A file on a disk that fails behind some bytes."""

    def __init__(self, data: bytes, sound: int) -> None:
        super().__init__(data)
        self.sound = sound

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.sound:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(min(size or 0, self.sound - self.tell()))


@pytest.mark.fault(44, "EIO on reading a table", "exit 3, file and byte")
def test_a_table_on_a_failing_disk(tmp_path: Path) -> None:
    text = write_table(tmp_path / "a.csv", rows(20)).read_bytes()
    with pytest.raises(MetadataError, match=r"a\.csv: byte 1000: cannot be read: Input/output"):
        list(table_parser.text_blocks("a.csv", Bad(text, 1000)))
    assert len(b"".join(table_parser.text_blocks("a.csv", Bad(text, len(text) + 1)))) == len(text)


@pytest.mark.fault(44, "EIO on reading a coded video", "exit 3, file, frame and byte")
def test_a_coded_video_on_a_failing_disk(
    tmp_path: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.avi"
    encode(path, frames, "ffv1", "gray", {"g": "1"})
    source = open_video(path)
    place = int(source.index.position[20])  # type: ignore[union-attr]
    sound = open

    def failing(name: Any, mode: str = "r") -> BinaryIO:
        file: Any = sound(name, mode)
        if str(name) != str(path):
            return file  # type: ignore[no-any-return]
        with file:
            return Bad(file.read(), place)

    monkeypatch.setattr("builtins.open", failing)
    with pytest.raises(VideoError, match=rf"a\.avi: frame 20 \(byte {place}\) cannot be read"):
        source.read(range(COUNT))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        case(54, "20000 levels", "exit 2 with line, under 100 MB more", "'[' * 20000", True),
        case(54, "aliases of aliases", "exit 2 with line, under 100 MB more",
             "'a: &a [x]\\n' + ''.join(f'{n}: &{n} [*a, *a]\\n' for n in 'bcdefghi')", True),
        case(54, "100 MB of keys", "exit 2, under 100 MB more", "'a: b\\n' * 20_000_000", False),
    ],
)  # fmt: skip
def test_a_hostile_configuration_takes_no_memory(text: str, line: bool) -> None:
    code = f"""
import resource
from miostitch.config.files import parse_config
from miostitch.errors import ConfigError
text = ({text}).encode()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 100 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    parse_config(text, "f.yml")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("f.yml: line 1: " if line else "f.yml: larger than")


def test_a_sound_configuration_is_read() -> None:
    assert parse_config(b"id: x", "f.yml").id == "x"


LOSSES = ("buffer_loss", "frame_loss", "bursts", "truncation", "overrun")
NOTHING_LOST: Any = dict.fromkeys(LOSSES, 0.0)


@pytest.mark.parametrize(
    "options",
    [
        case(58, "1 frame", "works", {"frames": 1, "receivers": 1}),
        slow(case(58, "2 frames, 2 receivers", "works", {"frames": 2, "receivers": 2})),
        slow(case(58, "1 receiver", "works", {"frames": 9, "receivers": 1})),
        case(58, "8 receivers", "works", {"frames": 9, "receivers": 8}),
    ],
)
def test_few_and_many(tmp_path: Path, options: dict[str, Any]) -> None:
    config = miostitch.SimulationConfig(
        **options,
        height=20,
        width=30,
        extra_frame=False,
        late_start_frames=0,
        early_end_frames=0,
        **NOTHING_LOST,
    )
    made = miostitch.simulate(tmp_path, config)
    ways: tuple[Literal["frame", "buffer"], ...] = ("frame", "buffer")
    for by in ways:
        summary = miostitch.stitch_files(
            [str(path) for path in made.recordings],
            tmp_path / by,
            miostitch.StitchOptions(by=by, report=by == "frame"),
        )
        assert summary["frames"] == options["frames"]
        assert len(summary["recordings"]) == options["receivers"]
        with xr.open_zarr(next((tmp_path / by).glob("*.zarr"))) as store:
            assert store.sizes["frame"] == options["frames"]


@pytest.mark.slow
@pytest.mark.fault(58, "10^6 frames of 4 x 4", "works")
def test_a_million_frames(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=10**6, receivers=1, height=12, width=12, buffer_pixels=144, corruption=0
    )
    made = miostitch.simulate(tmp_path, config)
    summary = miostitch.stitch_files([str(made.recordings[0])], tmp_path / "out")
    assert summary["frames"] > 0.9 * 10**6


SCRIPT = """
import multiprocessing, sys
import miostitch
{guard}miostitch.stitch_files([sys.argv[1]], sys.argv[2], report=False)
"""
GUARD = "if __name__ == '__main__': "
CHILD = """
import multiprocessing, sys
import miostitch
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    run, told = miostitch.stitch_files, ([sys.argv[1]], sys.argv[2])
    child = context.Process(target=run, args=told, kwargs={{"report": False}})
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize(
    "script",
    [
        slow(case(60, "python -c, no __main__ guard", "works", SCRIPT.format(guard=""))),
        slow(case(60, "script with a guard", "works", SCRIPT.format(guard=GUARD))),
        case(60, "in a forked process", "works", CHILD.format(method="fork")),
        slow(case(60, "in a spawned process", "works", CHILD.format(method="spawn"))),
    ],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_ways_to_start(names: list[str], tmp_path: Path, script: str) -> None:
    path = tmp_path / "script.py"
    path.write_text(script)
    out = tmp_path / "out"
    # a spawned process imports the script again, for which it needs a file
    how = [str(path)] if "get_context" in script else ["-c", script]
    command = [sys.executable, *how, names[0], str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert next(out.glob("*.json")).exists()


def test_reading_needs_no_output(names: list[str]) -> None:
    assert Recording.open(names[0]).exact
    assert len(read_metadata(names[0].replace(".avi", ".csv")).frames)


@pytest.fixture(scope="module")
def old_store(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result in the format that knows pickles."""
    folder = tmp_path_factory.mktemp("format 2")
    options = miostitch.StitchOptions(zarr_format=2, codec=None, report=False)
    miostitch.stitch_files([names[0]], folder, options)
    return next(folder.glob("*.zarr"))


@pytest.mark.fault(61, "object array with a pickle codec in a store", "exit 3, nothing unpickled")
@pytest.mark.parametrize("where", ["frame_num", "buffers/note"])
def test_no_pickle_is_loaded(old_store: Path, tmp_path: Path, where: str) -> None:
    store = shutil.copytree(old_store, tmp_path / old_store.name)
    miostitch.open_recording(store)
    trap = tmp_path / "trap"
    group = zarr.open_group(store, mode="r+")
    if where in group:
        del group[where]
    (store / where).mkdir(parents=True)
    array = store / where / ".zarray"
    array.write_text(
        '{"shape": [1], "chunks": [1], "dtype": "|O", "fill_value": null, "order": "C", '
        '"filters": [{"id": "pickle", "protocol": 5}], "compressor": null, "zarr_format": 2}'
    )
    (store / where / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["frame"]}')
    payload = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(trap)
    (store / where / "0").write_bytes(payload)
    assert Pickle.codec_id == "pickle"
    with pytest.raises(InputError, match="no plain array"):
        miostitch.open_recording(store)
    assert not trap.exists()
