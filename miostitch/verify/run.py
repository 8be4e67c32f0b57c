"""The command: every result of a folder is compared with what it was made of."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from miostitch.errors import InputError, MissingInputError
from miostitch.execution.products import STORE, TABLE, VIDEO
from miostitch.execution.progress import Progress
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.products import (
    Result,
    check_attrs,
    check_crate,
    check_digests,
    check_stitched_files,
)
from miostitch.verify.stitched import check_stitched
from miostitch.verify.store import check_chunks, check_files, check_layout, open_store

SUMMARY_KEYS = frozenset(("outputs", "digests"))
"""Keys of every summary: one of them may be damaged."""


def verify_files(
    path: str | os.PathLike[str],
    recordings: Sequence[str | os.PathLike[str]] = (),
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Verify the results in a folder.

    Parameters
    ----------
    path
        A folder, or the ``.zarr`` or ``.json`` of one result in it.
    recordings
        Where the recordings are now, one for each in the order of the run, segments separated by
        commas; by default they are looked for next to the results and where the summary says.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        ``path``; ``results``: of each its ``stem``, ``kind``, ``frames``, the number of
        ``differences`` and of parts ``not_checked``, ``counts`` by kind, and the first
        ``findings`` of every kind; ``differences`` and ``not_checked`` of all.

    Raises
    ------
    MissingInputError
        There is no such folder, or no result in it.

    Notes
    -----
    Streams block by block on all cores. Some 150 bytes per frame and recording are held, and on
    each thread a block of every video. Tables are made again in the folder for temporary files.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.stitch_files([str(p) for p in session.recordings], folder.name + "/out")
    >>> miostitch.verify_files(folder.name + "/out")["differences"]
    0
    >>> folder.cleanup()
    """
    folder, stems = _stems(Path(path))
    results = [_verify(folder, stem, recordings, progress) for stem in stems]
    totals = {n: sum(each[n] for each in results) for n in ("differences", "not_checked")}
    return {"path": os.fspath(path), "results": results, **totals}


def _stems(path: Path) -> tuple[Path, list[str]]:
    """The folder, and the stems of its results."""
    if path.suffix in (STORE, ".json") and path.exists():
        return path.parent, [path.stem]
    if path.is_file():
        msg = f"{path}: is a recording, an exported file or a single product, which is not checked"
        remedy = "name the folder of a result, or its .zarr or .json, and recordings with --input"
        raise InputError(f"{msg}; {remedy}")
    if not path.is_dir():
        raise MissingInputError(f"{path}: no such folder; name the folder of a result")
    found = {each.stem for each in path.glob(f"*{STORE}") if not each.name.startswith(".")}
    found |= {each.stem for each in path.glob("*.json") if _is_of_result(each)}
    if not found:
        raise MissingInputError(f"{path}: no result in it; a result has a .zarr or a .json")
    return path, sorted(found)


def _is_of_result(path: Path) -> bool:
    """Whether a JSON is the summary of a result, or was one before it was damaged."""
    if path.name.startswith("."):
        return False
    if summary := _summary(path):
        return not SUMMARY_KEYS.isdisjoint(summary)
    return any(path.with_suffix(suffix).exists() for suffix in (VIDEO, TABLE))


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _compare(
    result: Result,
    recordings: Sequence[str | os.PathLike[str]],
    progress: Progress | None,
    *,
    edited: bool,
) -> dict[str, Any]:
    """Compare a result with what is made again."""
    with TemporaryDirectory(prefix="miostitch-verify-") as made:
        if result.store is not None:
            check_layout(result.store, Path(made))
            check_attrs(result, result.store)
        if edited:
            from miostitch.verify.edits import check_edit  # xarray, which stitches do not need

            return check_edit(result, Path(made), progress)
        check_stitched_files(result)
        return check_stitched(result, recordings, Path(made), progress)


def _verify(
    folder: Path, stem: str, recordings: Sequence[str | os.PathLike[str]], progress: Progress | None
) -> dict[str, Any]:
    """Verify one result."""
    path, findings = folder / f"{stem}{STORE}", Findings()
    store = open_store(path, findings) if path.is_dir() else None
    result = Result(folder, stem, findings, _summary(folder / f"{stem}.json"), store)
    edited = "origins" in result.summary or (store is not None and "history" in store.attrs)
    if store is not None:
        check_files(store)
    if store is not None and store.is_older:  # all else is of another kind by now
        check_chunks(store)
        facts = {"kind": "edit" if edited else "stitch", "frames": store.shape[0]}
    else:
        facts = _compare(result, recordings, progress, edited=edited)
    check_digests(result)
    check_crate(result)
    return {
        "stem": stem,
        **facts,
        "differences": findings.differences,
        "not_checked": findings.counts[Kind.NOT_CHECKED],
        "counts": {k.value: findings.counts[k] for k in Kind if findings.counts[k]},
        "findings": findings.listed,
    }
