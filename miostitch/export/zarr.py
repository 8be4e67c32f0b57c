"""Export as a Zarr store of format 2, for minian and CaImAn."""

from functools import partial
from importlib.metadata import version
from pathlib import Path

from miostitch.execution.engine import Products
from miostitch.execution.products import STORE
from miostitch.export.plan import TIMES, Advance, ExportOptions, PathOf, Plan, Source, named
from miostitch.schema import EPOCHS, MEASURED_FPS, START_TIME
from miostitch.store.layout import consolidate, create_store, write_frame_tables


def zarr2(source: Source, output: Path, _: ExportOptions) -> Plan:
    """Plan a store with the video and what is known per frame, and nothing else."""
    folder, stem = named(output, STORE, source.stem)
    return Plan(folder, stem, (STORE,), 0, partial(_write, source))


def _write(source: Source, path: PathOf, advance: Advance) -> None:
    store, kept, attrs = str(path(STORE)), source.kept, source.dataset.attrs
    known = ("recordings", "config", START_TIME)
    create_store(
        store,
        shape=kept.shape,
        chunk_frames=source.block,
        attrs={name: attrs[name] for name in known if name in attrs}
        | {
            "inputs": kept.inputs,
            "fps": str(kept.fps),
            "history": attrs.get("history", []),
            "versions": {"miostitch": version("miostitch")},
            **({} if source.measured_fps is None else {MEASURED_FPS: source.measured_fps}),
            **({} if source.epochs is None else {EPOCHS: source.epochs}),
        },
        zarr_format=2,
        variables=source.variables,
    )
    source.write_video(Products(path(STORE).parent, store=store), advance)
    columns = {each.name: source.dataset[each.name].to_numpy() for each in source.variables}
    columns |= dict(zip(TIMES, source.timestamps, strict=True))
    write_frame_tables(store, columns, source.variables)
    consolidate(store)
