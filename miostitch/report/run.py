"""The quality report of a stitched recording, made from its store and its summary."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.errors import MissingInputError, ResourceError
from miostitch.execution.products import REPORT, STORE
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import JSON, load_summary
from miostitch.execution.workspace import Workspace
from miostitch.recording.provenance import find_originals
from miostitch.recording.recording import Recording
from miostitch.report import tables
from miostitch.report.data import ReportData, read_data, read_repairs
from miostitch.report.page import render, timeline
from miostitch.report.statistics import (
    describe_recordings,
    distributions,
    heat_maps,
    losses,
    rescued_frames,
    worst_frames,
)
from miostitch.report.thumbnails import MARKS, FrameImages, show_frames
from miostitch.store.reader import Store
from miostitch.text import printable

WORST, RESCUED = 3, 1  # frames shown as images


def report_files(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Write the report of every stitched recording in a folder.

    Parameters
    ----------
    path
        A folder with products, or one store.
    output
        Folder of the reports; by default that of the products.
    force
        Replace existing reports.

    Returns
    -------
    dict
        ``reports``: for each its ``store``, the ``output`` written and the ``verdict``.

    Raises
    ------
    MissingInputError
        There is no store.
    InputError
        A store or a summary cannot be read.
    OutputExistsError
        A report exists and ``force`` is not given.
    ResourceError
        A report cannot be written.
    """
    reports = []
    for store in _stores(Path(os.path.abspath(path))):
        summary = load_summary(store.with_suffix(".json"))
        folder = store.parent if output is None else Path(os.path.abspath(output))
        workspace = Workspace(folder, store.stem + REPORT.removesuffix(".html"), (".html",))
        with publish_run(workspace, [], RunOptions(force=force)):
            inputs = find_originals(str(store)) if _is_stitched(summary) else []
            verdict = write_report(store, store.name, summary, workspace.staged(".html"), inputs)
        made = str(workspace.final(".html"))
        reports.append({"store": str(store), "output": made, "verdict": verdict})
    return {"reports": [{k: printable(v) for k, v in each.items()} for each in reports]}


def write_report(
    store: Path,
    name: str,
    summary: JSON,
    path: Path,
    inputs: Sequence[Recording | str],
    *,
    frames: Mapping[str, NDArray[Any]] | None = None,
) -> str:
    """Write the report of one store, which will be called ``name``.

    ``inputs``: the recordings of a stitch, or why one is not available; of their videos, too, only
    the frames that are shown are read. Less than 200 bytes per frame are held for two recordings.
    """
    opened = Store.open(str(store))
    page = _page(opened, name, read_data(opened, frames), summary, inputs)
    try:
        path.write_text(render(page), "utf-8")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error
    verdict: tables.Verdict = page["verdict"]
    return verdict.sentence


def _is_stitched(summary: JSON) -> bool:
    """Whether a summary tells of receivers."""
    return bool(summary.get("recordings"))


def _page(
    store: Store, name: str, data: ReportData, summary: JSON, inputs: Sequence[Recording | str]
) -> dict[str, Any]:
    """Everything that the page says: the variables of its template."""
    summaries = summary.get("recordings", [])
    if len(summaries) != len(data.names):  # that of an edit has none of receivers
        summaries = []
    known = describe_recordings(data, summaries)
    lost, scores, config = losses(data), distributions(data), store.attrs.get("config", {})
    return {
        "stem": printable(name.removesuffix(STORE)),
        "stored": printable(name),
        "summary": summary,
        "by": config.get("by", ""),
        "verdict": tables.verdict(data, summary, known),
        "data": data,
        "recordings": tables.recordings_table(known),
        "parts": tables.parts_table(data),
        "losses": tables.losses_table(lost),
        "shared": summary.get("shared_buffers", 0),
        "identical": summary.get("identical_shared_buffers", 0),
        "evidence": tables.evidence_table(data),
        "shown": _shown(store.path, data, inputs),
        "marks": MARKS,
        "inputs_missing": sorted({each for each in inputs if isinstance(each, str)}),
        "inputs_known": bool(inputs),
        "unrecoverable": tables.unrecoverable_tables(data, summary),
        "removals": tables.removal_lists(data),
        "lags": tables.lag_table(summary) if summaries else None,
        "resets": tables.resets_table(data),
        "repairs": tables.repairs_tables(read_repairs(store), data.names),
        "distribution": tables.distribution_table(**scores) if scores else None,
        "config": tables.named_values(config),
        "versions": tables.named_values(summary.get("versions", store.attrs.get("versions", {}))),
        "history": [tables.named_values(step) for step in store.attrs.get("history", [])],
        "files": tables.inputs_table(store.attrs.get("inputs", [])),
        "count": tables.count,
        "percent": tables.percent,
        "moment": tables.moment,
        "figures": {  # what the plots show, as JSON values
            "timeline": timeline(data),
            "lengths": tables.padded_lengths(lost),
            "labels": [tables.length_label(n) for n in range(64)],
            "heat": heat_maps(data),
            "distributions": {name: asdict(each) for name, each in scores.items()},
        },
    }


def _shown(
    store: str, data: ReportData, inputs: Sequence[Recording | str]
) -> list[tuple[str, list[FrameImages]]]:
    """The frames that are shown as images, under their headings."""
    worst, rescued = worst_frames(data, WORST), rescued_frames(data, RESCUED)
    made = [*show_frames(store, data, inputs, [*worst, *rescued])]
    groups = (("The worst frames", worst), ("Rescued frames", rescued))
    found = [(title, [each for each in made if each.frame in group]) for title, group in groups]
    return [(title, each) for title, each in found if each]


def _stores(path: Path) -> list[Path]:
    """The stores of a folder, or the one that was named."""
    if path.suffix == STORE:
        return [path]
    if not path.is_dir():
        raise MissingInputError(f"{path}: no such folder; name the folder of the products")
    found = sorted(each for each in path.glob("*" + STORE) if each.is_dir())
    if not found:
        raise MissingInputError(
            f"{path}: no store ({STORE}) in it; name the folder of the products"
        )
    return found
