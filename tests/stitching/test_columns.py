"""Columns that the schema does not know, whatever they are called, are carried through a run."""

import csv
from pathlib import Path

import pandas as pd
import pytest

import miostitch
from miostitch.editing.operations import trim
from miostitch.editing.run import edit_files
from miostitch.stitching.run import stitch_files
from miostitch.store.reader import Store
from miostitch.verify.run import verify_files

ODD = ["", "a/b", "..", "zarr.json", "receiver", "x" * 300, "index", "buffer", "Note", "note",
       "FRAME_NUM", "%41", "température", "c", "nul", "a:b", ".zarray"]  # fmt: skip


def cells(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    return dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.fault(65, "seventeen odd names", "carried through stitch, store, trim and verify")
@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_odd_columns_are_carried(tmp_path: Path, by: str) -> None:
    config = miostitch.SimulationConfig(
        frames=10, receivers=2, height=20, width=20, late_start_frames=0
    )
    videos = miostitch.simulate(tmp_path / "s", config).recordings
    for number, video in enumerate(videos):
        table = pd.read_csv(video.with_suffix(".csv"), dtype=str)
        for place, name in enumerate(ODD):
            table.insert(place, name, [f"{number}.{place}.{row}" for row in range(len(table))])
        table.to_csv(video.with_suffix(".csv"), index=False)
    out = tmp_path / "out"
    stitch_files(videos, out, by=by, report=False)  # type: ignore[arg-type]
    [stitched] = out.glob("*_stitched.csv")
    found = cells(stitched)
    assert [name for name in found if name in ODD] == ODD
    places = [[cell.split(".")[1] for cell in found[name]] for name in ODD]
    assert places == [[str(place)] * len(found[""]) for place in range(len(ODD))]
    origins = [[cell.split(".")[::2] for cell in found[name]] for name in ODD]
    assert all(origin == origins[0] for origin in origins)
    [store] = out.glob("*.zarr")
    opened = Store.open(str(store))
    assert {*ODD} <= {*opened.buffer_columns}
    edit_files([store], tmp_path / "cut", lambda parts: trim(parts[0], 2, 0), "_trimmed")
    cut = cells(next((tmp_path / "cut").glob("*_trimmed.csv")))
    first = next(at for at, f in enumerate(found["reconstructed_frame_index"]) if f == "2")
    assert {name: cut[name] for name in ODD} == {name: found[name][first:] for name in ODD}
    [result] = verify_files(out)["results"]
    assert result["findings"] == []
