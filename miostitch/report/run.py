"""The quality report of a stitched recording, made from its store and its summary."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import MissingInputError, ResourceError
from miostitch.execution.products import REPORT, STORE
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import JSON, load_summary
from miostitch.execution.workspace import Workspace
from miostitch.origins.provenance import find_originals, find_stitch_summary
from miostitch.recording.recording import Recording
from miostitch.report import tables
from miostitch.report.data import ReportData, pixels_changed, read_data, read_repairs
from miostitch.report.headline import Headline, describe_result
from miostitch.report.over_time import describe_over_time
from miostitch.report.page import render, timeline
from miostitch.report.statistics import (
    describe_recordings,
    distributions,
    heat_maps,
    losses,
    rescued_frames,
    worst_frames,
)
from miostitch.report.thumbnails import MARKS, FrameImages, mean_image, show_frames
from miostitch.store.reader import Store
from miostitch.text import printable

WORST, RESCUED = 3, 1  # frames shown as images


def report_files(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Write the report of every result in a folder that has none.

    Parameters
    ----------
    path
        A folder with products, or one store.
    output
        Folder of the reports; by default that of the products.
    force
        Write all reports, and replace existing ones.

    Returns
    -------
    dict
        ``reports``: for each that was written its ``store``, the ``output`` and the ``verdict``;
        ``skipped``: reports that were there already.

    Raises
    ------
    MissingInputError
        There is no store.
    InputError
        A store or a summary cannot be read.
    ResourceError
        A report cannot be written.
    """
    reports, skipped = [], []
    for store in _stores(Path(os.path.abspath(path))):
        summary = load_summary(store.with_suffix(".json"))
        folder = store.parent if output is None else Path(os.path.abspath(output))
        workspace = Workspace(folder, store.stem + REPORT.removesuffix(".html"), (".html",))
        if workspace.final(".html").exists() and not force:
            skipped.append(printable(str(workspace.final(".html"))))
            continue
        with publish_run(workspace, [], RunOptions(force=force)):
            path = workspace.staged(".html")
            verdict = write_report(store, store.name, summary, path, _find_inputs(store))
        output_path = str(workspace.final(".html"))
        reports.append({"store": str(store), "output": output_path, "verdict": verdict})
    made = [{name: printable(text) for name, text in each.items()} for each in reports]
    return {"reports": made, "skipped": skipped}


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
    headline: Headline = page["headline"]
    return headline.sentence


def _find_inputs(store: Path) -> list[Recording | str]:
    """The recordings that a result was stitched from, or why one is not available."""
    known = "scores" in Store.open(str(store)).groups  # else nothing says which frames are used
    return find_originals(str(store)) if known else []


def _page(
    store: Store, name: str, data: ReportData, summary: JSON, inputs: Sequence[Recording | str]
) -> dict[str, Any]:
    """Everything that the page says: the variables of its template."""
    stitch = find_stitch_summary(store.path, summary)  # that of an edit has none of receivers
    if len(stitch.get("recordings", [])) != len(data.names):
        stitch = {}
    known = describe_recordings(data)
    history = store.attrs.get("history", [])
    config = _stitch_config(store.attrs, history)
    headline = describe_result(data, summary, stitch, config, history)
    return {
        "stem": printable(name.removesuffix(STORE)),
        "stored": printable(name),
        "summary": summary,
        "by": config.get("by", ""),
        "data": data,
        "headline": headline,
        "recordings": tables.recordings_table(known),
        "marks": MARKS,
        "inputs_missing": sorted({each for each in inputs if isinstance(each, str)}),
        "inputs_known": bool(inputs),
        "unrecoverable": tables.unrecoverable_tables(data, summary),
        "removals": tables.removal_lists(data),
        "lags": tables.lag_table(stitch) if stitch else None,
        "device_runs": tables.device_runs_table(data),
        "epochs": tables.epochs_table(data),
        "repairs": tables.repairs_tables(read_repairs(store), data.names),
        "config": tables.named_values(config),
        "versions": tables.named_values(summary.get("versions", store.attrs.get("versions", {}))),
        "history": [tables.named_values(step) for step in history],
        "files": tables.inputs_tables(store.attrs.get("inputs", []), len(data.names)),
        "count": tables.count,
        "percent": tables.percent,
        **_agreement(data, summary),
        **_images(store, data, inputs, _noise_threshold(config)),
        **_plots(store, data),
    }


def _stitch_config(attrs: JSON, history: Sequence[JSON]) -> JSON:
    """The options of the stitch that a result is from."""
    steps = (each.get("parameters", {}) for each in history if each.get("step") == "stitch")
    found: JSON = attrs.get("config") or next(steps, {})
    return found


def _agreement(data: ReportData, summary: JSON) -> dict[str, Any]:
    """How far the receivers agree."""
    return {
        "shared": summary.get("shared_buffers", 0),
        "identical": summary.get("identical_shared_buffers", 0),
        "evidence": tables.evidence_table(data),
    }


def _noise_threshold(config: JSON) -> float:
    """The mean second difference from which on a received row is noisy."""
    chosen = config.get("score")
    known = chosen if isinstance(chosen, Mapping) else {}
    return float(known.get("gradient_threshold", ScoreConfig().gradient_threshold))


def _images(
    store: Store, data: ReportData, inputs: Sequence[Recording | str], noisy: float
) -> dict[str, Any]:
    """Frames as images, and the mean of the intact ones."""
    return {
        "shown": _shown(store, data, inputs, noisy),
        "filtered": pixels_changed(store),
        "mean": mean_image(store, data.frames.damaged),
    }


def _plots(store: Store, data: ReportData) -> dict[str, Any]:
    """The figures of the plots, and the tables below them."""
    lost, scores, over_time = losses(data), distributions(data), describe_over_time(store, data)
    return {
        "parts": tables.parts_table(data),
        "losses": tables.losses_table(lost),
        "over_time": over_time,
        "over_time_table": tables.over_time_table(over_time, data),
        "distribution": tables.distribution_table(**scores) if scores else None,
        "figures": {  # what the plots show, as JSON values
            "timeline": timeline(data),
            "over_time": asdict(over_time),
            "lengths": tables.padded_lengths(lost),
            "labels": [tables.length_label(n) for n in range(64)],
            "heat": heat_maps(data),
            "distributions": {name: asdict(each) for name, each in scores.items()},
        },
    }


def _shown(
    store: Store, data: ReportData, inputs: Sequence[Recording | str], noisy: float
) -> list[tuple[str, list[FrameImages]]]:
    """The frames that are shown as images, under their headings."""
    worst, rescued = worst_frames(data, WORST), rescued_frames(data, RESCUED)
    made = [*show_frames(store, data, inputs, [*worst, *rescued], noisy)]
    groups = (("Worst frames", worst), ("Recovered frames", rescued))
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
