"""The quality report of a stitched recording, made from its store and its summary."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.errors import MissingInputError, ResourceError
from miostitch.execution.products import REPORT, STORE
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import load_summary
from miostitch.execution.workspace import Workspace
from miostitch.report import tables as text
from miostitch.report.data import read_repairs, read_tables
from miostitch.report.page import render, timeline
from miostitch.report.statistics import (
    Tables,
    describe_recordings,
    distributions,
    evidence_counts,
    heat_maps,
    rescued_frames,
    worst_frames,
)
from miostitch.report.thumbnails import MARKS, Input, Shown, find_inputs, show_frames
from miostitch.store.layout import StoreFacts, store_facts
from miostitch.text import printable

WORST, RESCUED = 3, 1
"""Frames shown as pictures."""

Summary = Mapping[str, Any]


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
            verdict = write_report(store, store, summary, workspace.staged(".html"))
        made = str(workspace.final(".html"))
        reports.append({"store": str(store), "output": made, "verdict": verdict})
    return {"reports": [{k: printable(v) for k, v in each.items()} for each in reports]}


def write_report(
    store: Path,
    final: Path,
    summary: Summary,
    path: Path,
    *,
    frames: Mapping[str, NDArray[Any]] | None = None,
) -> str:
    """Write the report of one store.

    Of the video only the frames that are shown are read. Less than 200 bytes per frame are held
    for two recordings.
    """
    facts = store_facts(str(store))
    tables = read_tables(str(store), facts, frames)
    page = _facts(store, final, facts, tables, summary)
    try:
        path.write_text(render(page, _figures(tables)), "utf-8")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error
    sentence: str = page["verdict"].sentence
    return sentence


def _facts(
    store: Path, final: Path, facts: StoreFacts, tables: Tables, summary: Summary
) -> dict[str, Any]:
    """Everything that the page says."""
    told = summary.get("recordings", [])
    known = describe_recordings(tables)
    if len(told) == len(known):  # of one that was edited the summary does not speak of receivers
        known = [{**each, **_told(said)} for each, said in zip(known, told, strict=True)]
    inputs = find_inputs(str(final), facts.attrs, told) if len(told) == len(known) else []
    shared, same = (summary.get(k, 0) for k in ("shared_buffers", "identical_shared_buffers"))
    shown = _shown(store, tables, inputs)
    return {
        "stem": printable(final.stem),
        "stored": printable(final.name),
        "summary": summary,
        "by": facts.attrs.get("config", {}).get("by", ""),
        "verdict": text.verdict(tables, summary, known),
        "names": tables.names,
        "tables": tables,
        "recordings": text.recordings_table(known, tables),
        "parts": text.parts_table(tables),
        "losses": text.losses_table(tables)[0],
        "shared": shared,
        "same": text.percent(same, shared) if shared else "",
        "identical": same,
        "evidence": evidence_counts(tables),
        "shown": shown,
        "marks": MARKS,
        "inputs_missing": sorted({each.why_not for each in inputs if each.why_not}),
        "inputs_known": bool(inputs),
        "hopeless": text.hopeless_tables(tables, summary),
        "removals": text.removal_lists(tables),
        "lags": text.lag_table(summary) if len(told) == len(known) and told else None,
        "resets": text.resets_table(tables),
        "repairs": text.repairs_tables(read_repairs(str(store), facts), tables.names),
        "distribution": text.distribution_table(distributions(tables)) if tables.scores else None,
        "config": text.named_values(facts.attrs.get("config", {})),
        "versions": text.named_values(summary.get("versions", facts.attrs.get("versions", {}))),
        "history": [text.named_values(step) for step in facts.attrs.get("history", [])],
        "files": text.inputs_table(facts.attrs.get("inputs", [])),
        "count": text.count,
        "percent": text.percent,
        "moment": text.moment,
    }


def _told(said: Mapping[str, Any]) -> dict[str, Any]:
    """What only the summary knows of a recording: it saw the pieces, too."""
    names = ("buffers_lost", "only_complete")
    return {name: said[name] for name in names if name in said}


def _shown(store: Path, tables: Tables, inputs: Sequence[Input]) -> list[tuple[str, list[Shown]]]:
    worst, rescued = worst_frames(tables, WORST), rescued_frames(tables, RESCUED)
    made = [*show_frames(str(store), tables, inputs, [*worst, *rescued])]
    groups = (("The worst frames", worst), ("Rescued frames", rescued))
    found = [(title, [each for each in made if each.frame in group]) for title, group in groups]
    return [(title, each) for title, each in found if each]


def _figures(tables: Tables) -> dict[str, Any]:
    """Everything that the plots show."""
    return {
        "timeline": timeline(tables),
        "lengths": text.losses_table(tables)[1],
        "labels": [text.length_label(n) for n in range(64)],
        "heat": heat_maps(tables),
        "distributions": distributions(tables),
    }


def _stores(path: Path) -> list[Path]:
    """The stores that are meant."""
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
