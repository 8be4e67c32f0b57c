"""Export as a Zarr store of format 2, for minian and CaImAn."""

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.execution.batches import BlockVideo, write_batches
from miostitch.execution.products import STORE
from miostitch.export.plan import TIMES, Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.schema import FRAME_VARIABLES, VIDEO
from miostitch.store.layout import consolidate, create_store, write_frame_tables


def zarr2(source: Source, output: Path, _: ExportOptions) -> Plan:
    """Plan a store with the video and what is known per frame, and nothing else."""
    folder, stem = named(output, STORE, source.stem)
    return Plan(folder, stem, (STORE,), 0, partial(_write, source))


def _write(source: Source, path: PathOf, advance: Advance) -> None:
    store, kept, attrs = str(path(STORE)), source.kept, source.dataset.attrs
    variables = [each for each in FRAME_VARIABLES if each.name in source.dataset.coords]
    known = ("recordings", "config")
    create_store(
        store,
        shape=kept.shape,
        chunk_frames=kept.block,
        attrs={name: attrs[name] for name in known if name in attrs}
        | {
            "inputs": kept.inputs,
            "fps": str(kept.fps),
            "history": attrs.get("history", []),
            "versions": {"miostitch": version("miostitch")},
        },
        zarr_format=2,
        variables=variables,
    )
    write_batches(
        lambda span: kept.part(kept.video, span).to_dataset(name=VIDEO.name),
        [BlockVideo(VIDEO.name, store, None)],
        source.count,
        kept.block,
        lambda *_: None,
        progress=advance,
    )
    write_frame_tables(store, _tables(source), variables)
    consolidate(store)


def _tables(source: Source) -> Mapping[str, NDArray[Any]]:
    """What is known per frame."""
    times = dict(zip(TIMES, source.timestamps, strict=True))
    coords = source.dataset.coords
    known = {v.name: coords[v.name].to_numpy() for v in FRAME_VARIABLES if v.name in coords}
    return {**known, **times}
