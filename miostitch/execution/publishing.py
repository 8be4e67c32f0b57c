"""What all runs that publish products have in common."""

import json
import os
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from miostitch.errors import ResourceError, UsageError
from miostitch.execution.digests import product_digest
from miostitch.execution.workspace import Workspace

PRODUCTS = (
    ".zarr",
    ".avi",
    ".csv",
    "_timestamps.csv",
    "_scores.csv",
    "_debug.avi",
    "_unrecoverable.avi",
    "_unrecoverable.csv",
    "_report.html",
    ".json",
)
"""Endings of everything a stitch can publish; the summary comes last, as the sign of success."""

NAME_BYTES = 255

VERSIONS = ("miostitch", "av", "zarr", "numcodecs", "numpy")
"""Whose version a result may depend on."""


def used_versions() -> dict[str, str]:
    """Versions of the libraries that decide the products."""
    return {name: version(name) for name in VERSIONS}


def file_states(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """What tells that files are still the same, without reading them.

    Returns: Path, size in bytes and time of the last change in ns, each file once, sorted.
    """
    files: set[Path] = set()
    for path in map(Path, paths):
        files |= {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
    states = ((os.fspath(path), path.stat()) for path in sorted(files))
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in states]


def require_name(stem: str, suffixes: Iterable[str]) -> None:
    """Refuse a stem whose products no file system could name."""
    longest = max(len(os.fsencode(f".{stem}{suffix}")) for suffix in (*suffixes, ".miostitch"))
    if longest > NAME_BYTES:
        raise UsageError(f"{stem}: too long for a file name; rename the recordings")


def require_space(output: Path, needed: int) -> None:
    """Refuse a run that cannot fit: what is written without compression is known beforehand."""
    free = shutil.disk_usage(output).free
    if needed > free:
        unit, size = ("GB", 1e9) if needed >= 1e8 else ("MB", 1e6)
        msg = f"{output}: {needed / size:.1f} {unit} are needed and {free / size:.1f} {unit} free"
        raise ResourceError(f"{msg}; make room")


def write_summary(workspace: Workspace, summary: dict[str, Any]) -> dict[str, Any]:
    """Write the summary of a finished run as JSON, and return it with digests and outputs."""
    last = workspace.suffixes[-1]
    path = workspace.staged(last)
    made = [s for s in workspace.suffixes if s != last and workspace.staged(s).exists()]
    outputs = [os.path.abspath(workspace.final(suffix)) for suffix in (*made, last)]
    try:
        digests = {suffix: product_digest(workspace.staged(suffix)) for suffix in made}
        summary = {**summary, "digests": digests, "outputs": outputs}
        path.write_text(json.dumps(summary, indent=1) + "\n")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error
    return summary
