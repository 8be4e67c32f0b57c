"""What this machine and a folder give a run, and what is wrong with them.

Every check does what a run does: the folder is claimed, written and published into by the ordinary
work folder, and the speed is that of the kernel that scores frames.
"""

import os
import platform
import shutil
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from dask.system import CPU_COUNT

from miostitch.errors import MiostitchError
from miostitch.execution.publishing import used_versions
from miostitch.execution.results import DoctorCheck, DoctorSummary
from miostitch.execution.workspace import Workspace
from miostitch.kernels.scores import score_frames
from miostitch.schema import chunk_frames

EXTRAS = {"distributed": "distributed", "nwb": "pynwb"}
"""The package that each extra is about."""

WRITTEN_BYTES = 64 * 2**20
SLOW_DISK = 20e6
"""Bytes per s below which writing takes longer than making what is written, on one core."""

SIZE = 200  # rows and columns of a usual frame
MOUNTS = Path("/proc/self/mounts")


def examine(folder: str | os.PathLike[str] = ".") -> DoctorSummary:
    """Examine this machine, and a folder that results are to go to.

    Nothing is left in the folder; what does not exist of it is not made.
    """
    place = Path(os.path.abspath(folder))
    parts = (_software, _machine, lambda: _folder(place), _kernels, _browser)
    return DoctorSummary([check for part in parts for check in part()])


def _software() -> Iterator[DoctorCheck]:
    python = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield DoctorCheck("Python", python)
    yield DoctorCheck("system", platform.platform())
    versions = {"miostitch": version("miostitch"), **used_versions()}
    yield DoctorCheck(
        "versions", ", ".join(f"{name} {number}" for name, number in versions.items())
    )
    for extra, package in EXTRAS.items():
        try:
            yield DoctorCheck(f"extra {extra}", f"{package} {version(package)}")
        except PackageNotFoundError:
            text = f"not installed; if you need it: pip install 'miostitch[{extra}]'"
            yield DoctorCheck(f"extra {extra}", text)


def _machine() -> Iterator[DoctorCheck]:
    yield DoctorCheck("cores", f"{CPU_COUNT} of {os.cpu_count()}")
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield DoctorCheck("memory", f"{total / 2**30:.1f} GiB")


def _folder(folder: Path) -> Iterator[DoctorCheck]:
    """Claim the folder as a run does, write into it, and publish what was written."""
    name = f"folder {folder}"
    if not folder.is_dir():
        yield DoctorCheck(name, "", "there is no such folder; name one that exists")
        return
    free = shutil.disk_usage(folder).free
    yield DoctorCheck(name, f"{_file_system(folder)}{free / 1e9:,.1f} GB free")
    space = Workspace(folder, "miostitch_doctor", (".tmp",))
    try:
        with space.open([], force=True):
            rate = _write(space.staged(".tmp"))
            [published] = space.publish()
            published.unlink()
    except (MiostitchError, OSError) as error:
        yield DoctorCheck("locks and names", "", f"{error}")
        return
    yield DoctorCheck("locks and names", "files can be locked, and be given their final names")
    slow = "slow; a folder of a disk of this machine is faster" if rate < SLOW_DISK else None
    yield DoctorCheck("writing", f"{rate / 1e6:,.0f} MB/s", slow)


def _write(path: Path) -> float:
    """Write a file to the disk.

    Returns: Bytes per s.
    """
    data = np.random.default_rng(0).bytes(2**20)
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(WRITTEN_BYTES // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return WRITTEN_BYTES / (time.perf_counter() - began)


def _file_system(folder: Path) -> str:
    """Type of the file system that a folder is on, where the system tells."""
    try:
        lines = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    mounts = {line.split()[1]: line.split()[2] for line in lines}
    where = next((each for each in (folder, *folder.parents) if str(each) in mounts), None)
    return f"{mounts[str(where)]}, " if where else ""


def _kernels() -> Iterator[DoctorCheck]:
    """Time the scores of one block, and look whether compiled code is kept."""
    frames = np.zeros((chunk_frames(SIZE, SIZE), SIZE, SIZE), np.uint8)
    scores = np.empty((2, len(frames)), np.int64)

    def score() -> None:
        score_frames(frames, 0, 20, 16, scores)

    began = time.perf_counter()
    compiled = score_frames.compiled  # type: ignore[attr-defined]
    loading = time.perf_counter() - began
    score()
    each = min(_seconds(score) for _ in range(3))
    yield DoctorCheck("speed", f"{len(frames) / each:,.0f} frames/s scored on one core")
    kept = compiled.stats.cache_path
    lost = "compiled code cannot be kept, so every run compiles it again for a minute; set "
    lost += "NUMBA_CACHE_DIR to a folder that can be written"
    text = f"{kept}, loaded in {loading:.1f} s" if kept else ""
    yield DoctorCheck("compiled code", text, None if kept else lost)


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _browser() -> Iterator[DoctorCheck]:
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        text = "none; open the printed address, or a report, in a browser yourself"
        yield DoctorCheck("browser", text)
    else:
        yield DoctorCheck("browser", str(getattr(found, "name", "found")))
