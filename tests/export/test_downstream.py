"""Other people's tools, each in an environment of its own, on what we export."""

import json
import os
import subprocess
import venv
from dataclasses import replace
from hashlib import blake2s
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import miostitch
from miostitch.stitching.run import stitch_files

pytestmark = pytest.mark.peer

ENVIRONMENTS = {
    "minian": ["minian==2.0.2", "zarr==2.18.7", "xarray<=2026.4"],
    "roiextractors": ["roiextractors[full]==0.10.0"],
    "judges": ["nwbinspector==0.7.2", "ome-zarr-models==1.7"],
    "dandi": ["dandi==0.81.0", "nwbinspector==0.7.2"],
    "suite2p": ["numpy", "scipy", "h5py", "tifffile", "natsort", "numba", "tqdm"],
    "napari": ["napari==0.9.2", "napari-ome-zarr==0.10.0", "xarray"],
}
"""What is installed where; the how-to pages say the same."""

ALONE = {"suite2p": ["suite2p==1.1.0"]}
"""What is installed besides, without what it requires: its loaders need no torch."""

STEM = "receiver1__receiver2_stitched"

MINIAN = """
import hashlib, json, sys, tempfile
import numpy as np
import zarr
from minian.io import load_videos
from minian.preprocessing import denoise, remove_background
from minian.utilities import open_minian, save_minian

def digest(video):
    return hashlib.blake2s(np.ascontiguousarray(video.values)).hexdigest()

if __name__ == "__main__":
    video = open_minian(sys.argv[1], return_dict=True)["video"]
    assert list(open_minian(sys.argv[1])) == ["video"]
    glow = video.min("frame").compute()
    clean = video - glow
    clean = denoise(clean, method="median", ksize=5)
    clean = remove_background(clean, method="tophat", wnd=10)
    with tempfile.TemporaryDirectory() as folder:
        saved = save_minian(clean.rename("clean"), folder, overwrite=True)
        mean, shape = float(saved.mean().compute()), saved.shape
    # as CaImAn opens a store
    plain = zarr.open(sys.argv[1] + "/" + sys.argv[3] + ".zarr", "r")["video"]
    print(json.dumps({
        "dims": video.dims, "shape": shape, "mean": mean, "glow": int(glow.max()),
        "frame_num": video.frame_num.values.tolist(),
        "store": digest(video.compute()),
        "segments": digest(load_videos(sys.argv[2], dtype=np.uint8).compute()),
        "plain": hashlib.blake2s(plain[:]).hexdigest(),
    }))
"""

ROIEXTRACTORS = """
import hashlib, json, sys
import numpy as np
from roiextractors import MiniscopeImagingExtractor
from roiextractors.extractors.miniscopeimagingextractor.miniscope_utils import (
    get_recording_start_time,
)
found = MiniscopeImagingExtractor(folder_path=sys.argv[1])
video = found.get_series(start_sample=0, end_sample=found.get_num_samples())
print(json.dumps({
    "shape": [found.get_num_samples(), *found.get_image_shape()],
    "rate": found.get_sampling_frequency(),
    "times": found.get_timestamps().tolist(),
    "start": str(get_recording_start_time(sys.argv[1] + "/metaData.json")),
    "video": hashlib.blake2s(np.ascontiguousarray(video)).hexdigest(),
}))
"""

INSPECT = """
import json, sys
from nwbinspector import inspect_all
found = [*inspect_all(sys.argv[1])]
print(json.dumps([[each.importance.name, each.check_function_name] for each in found]))
"""

DANDI = """
import json, sys
from nwbinspector import Importance, inspect_all, load_config
found = [*inspect_all(
    sys.argv[1], config=load_config("dandi"),
    importance_threshold=Importance.BEST_PRACTICE_SUGGESTION, skip_validate=False,
)]
print(json.dumps([[each.importance.name, each.check_function_name] for each in found]))
"""

NAPARI = """
import json, sys
import xarray as xr
from napari.components import ViewerModel
from napari_ome_zarr import napari_get_reader
viewer = ViewerModel()
video = xr.open_zarr(sys.argv[1]).video
viewer.add_image(video.data, name="stitched", contrast_limits=(0, 255), axis_labels=video.dims)
viewer.dims.set_point(0, 7)
[(data, about, kind)] = napari_get_reader(sys.argv[1])(sys.argv[1])
layer = viewer.add_image(data, **about)
levels = data if isinstance(data, list) else [data]
print(json.dumps({
    "kind": kind, "labels": viewer.layers[0].axis_labels, "shapes": [v.shape for v in levels],
    "same": bool((levels[0][5].compute() == video[5].values).all()),
    "shown": int(viewer.layers[0].get_value((7, 3, 4))), "value": int(video[7, 3, 4]),
}))
"""


SUITE2P = """
import hashlib, importlib.util, json, sys, types
from pathlib import Path
# its loaders alone: the packages themselves load torch, which these do not need
[found] = importlib.util.find_spec("suite2p").submodule_search_locations
for name, folder in (("suite2p", found), ("suite2p.io", found + "/io")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
import numpy as np
from suite2p.io.binary import BinaryFile
from suite2p.io.h5 import h5py_to_binary
from suite2p.io.tiff import tiff_to_binary
from suite2p.io.utils import init_dbs

def load(kind, folder, loader, **more):
    db = {
        "nplanes": 1, "nchannels": 1, "functional_chan": 1, "keep_movie_raw": False,
        "save_path0": sys.argv[2] + kind, "save_folder": "suite2p", "fast_disk": None,
        "batch_size": 300, "force_sktiff": True, "input_format": kind, "data_path": [folder],
        "look_one_level_down": False, "subfolders": None, "ignore_files": None, "file_list": None,
        **more,
    }
    files = sorted(str(path) for path in Path(folder).iterdir() if path.suffix != ".csv")
    db |= {"file_list": files, "first_files": np.array([True] + [False] * (len(files) - 1))}
    dbs = init_dbs(db)
    with open(dbs[0]["reg_file"], "wb") as binary:
        loader(dbs, {"run": {"do_registration": 1}}, [binary], [])
    ly, lx = (int(n) for n in dbs[0]["meanImg"].shape)
    with BinaryFile(ly, lx, dbs[0]["reg_file"]) as made:
        video = made.data.astype(np.uint8)
    return {
        "shape": video.shape, "video": hashlib.blake2s(video.tobytes()).hexdigest(),
        "mean": float(dbs[0]["meanImg"].mean()), "files": len(files),
    }

print(json.dumps({
    "tiff": load("tif", sys.argv[1] + "/tiff", tiff_to_binary),
    "hdf5": load("h5", sys.argv[1] + "/hdf5", h5py_to_binary, h5py_key="data"),
}))
"""


@pytest.fixture(scope="session")
def python() -> Any:
    """Python of an environment, made when it is first wanted and kept between runs."""

    def find(name: str) -> Path:
        folder = Path(__file__).parents[2] / ".envs" / name
        if not (folder / "done").exists():
            venv.create(folder, with_pip=True, clear=True)
            packages = ENVIRONMENTS[name]
            pip = [str(folder / "bin" / "pip"), "install", "-q"]
            subprocess.run([*pip, *packages], check=True)
            if alone := ALONE.get(name):
                subprocess.run([*pip, "--no-deps", *alone], check=True)
            (folder / "done").touch()
        return folder / "bin" / "python"

    return find


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result, and all that can be exported of it, each in a folder named by its kind."""
    folder = tmp_path_factory.mktemp("made")
    config = miostitch.SimulationConfig(frames=1100, seed=4, height=60, width=80)
    names = [str(path) for path in miostitch.simulate(folder / "in", config).recordings]
    stitch_files(names, folder / "stitched")
    store = folder / "stitched" / f"{STEM}.zarr"
    miostitch.export_recording(store, folder / "ucla", "ucla")
    miostitch.export_recording(store, folder / "segments", "avi-segments")
    miostitch.export_recording(store, folder / "zarr2", "zarr2")
    miostitch.export_recording(store, folder / "nwb", "nwb")
    several = miostitch.ExportOptions(per_file=400)
    miostitch.export_recording(store, folder / "tiff" / "S.tif", "tiff", several)
    miostitch.export_recording(store, folder / "hdf5" / "S.h5", "hdf5")
    known = miostitch.open_recording(store)
    start = np.datetime64(known.attrs["start_time"][:26]).astype("datetime64[us]").astype(int) / 1e6
    times = start + np.arange(0, float(known.time[-1]), 0.03)
    np.savetxt(folder / "cam.csv", times, header="time", comments="", fmt="%.6f")
    options = miostitch.ExportOptions(
        external=True,
        subject_id="m1",
        species="Mus musculus",
        location="CA1",
        behaviour=(miostitch.Behaviour(name="cam", timestamps=str(folder / "cam.csv")),),
        fill="linear",
    )
    miostitch.export_recording(store, folder / "external", "nwb", options)
    return folder


@pytest.fixture(scope="module")
def dandiset(made: Path) -> Path:
    """A folder as the archive DANDI wants it: as received, on a regular time base, external."""
    folder = made / "dandiset"
    (folder / "sub-m1").mkdir(parents=True)
    (folder / "dandiset.yaml").write_text("identifier: DANDI:000001\nname: a\ndescription: b\n")
    store = made / "stitched" / f"{STEM}.zarr"
    known = miostitch.open_recording(store)
    # begins before the recording
    times = float(known.timestamp_first[0]) - 2 + np.arange(2000) / 30
    np.savetxt(made / "early.csv", times, header="time", comments="", fmt="%.6f")
    camera = miostitch.Behaviour(name="cam", timestamps=str(made / "early.csv"))
    told = miostitch.ExportOptions(
        subject_id="m1", species="Mus musculus", sex="F", age="P90D", location="CA1",
        indicator="GCaMP6f", experimenter="Doe, Jane", institution="A lab",
        session_description="running on a wheel",
    )  # fmt: skip
    kept = known.isel(frame=[*range(300), *range(302, 500), *range(600, known.sizes["frame"])])
    for number, recording, more in (
        (1, store, {"behaviour": (camera,)}),
        (2, kept, {"fill": "linear", "max_fill": 20}),
        (3, kept, {"fill": "previous", "external": True, "behaviour": (camera,)}),
        (4, store, {}),
    ):
        target = folder / "sub-m1" / f"sub-m1_ses-{number}.nwb"
        miostitch.export_recording(recording, target, "nwb", replace(told, **more))
    return folder


def said_by(python: Path, script: str, folder: Path, *arguments: object) -> Any:
    """What a script prints last, as JSON; minian wants a file it can import again."""
    file = folder / "script.py"
    file.write_text(script)
    command = [str(python), "-W", "ignore", str(file), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def digest(video: np.ndarray) -> str:
    return blake2s(video.tobytes()).hexdigest()


def test_minian_opens_and_preprocesses(python: Any, made: Path, tmp_path: Path) -> None:
    arguments = (made / "zarr2", made / "segments", STEM)
    found = said_by(python("minian"), MINIAN, tmp_path, *arguments)
    expected = miostitch.open_recording(made / "stitched" / f"{STEM}.zarr").load()
    assert found["dims"] == ["frame", "height", "width"]
    assert found["shape"] == [*expected.video.shape]
    assert found["frame_num"] == expected.frame_num.to_numpy().tolist()
    assert {found[name] for name in ("store", "segments", "plain")} == {
        digest(expected.video.to_numpy())
    }
    assert found["glow"] == int(expected.video.min("frame").max())
    assert 0 < found["mean"] < float(expected.video.mean())


def test_roiextractors_reads_the_ucla_folder(python: Any, made: Path, tmp_path: Path) -> None:
    found = said_by(python("roiextractors"), ROIEXTRACTORS, tmp_path, made / "ucla")
    expected = miostitch.open_recording(made / "stitched" / f"{STEM}.zarr").load()
    assert found["shape"] == [*expected.video.shape]
    assert found["video"] == digest(expected.video.to_numpy())
    assert found["rate"] == pytest.approx(20, rel=0.01)
    first = expected.timestamp_first.to_numpy()
    np.testing.assert_allclose(found["times"], first - first[0], atol=6e-7)
    assert found["start"].startswith("2025-12-02 21:56:40")


def test_suite2p_loads_tiff_and_hdf5(python: Any, made: Path, tmp_path: Path) -> None:
    found = said_by(python("suite2p"), SUITE2P, tmp_path, made, tmp_path / "of-")
    expected = miostitch.open_recording(made / "stitched" / f"{STEM}.zarr").load().video.to_numpy()
    assert (found["tiff"]["files"], found["hdf5"]["files"]) == (3, 1)
    for loaded in found.values():
        assert loaded["shape"] == [*expected.shape]
        assert loaded["video"] == digest(expected)
        assert loaded["mean"] == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["nwb", "external"])
def test_nwbinspector_finds_nothing_critical(
    kind: str, python: Any, made: Path, tmp_path: Path
) -> None:
    found = said_by(python("judges"), INSPECT, tmp_path, made / kind)
    assert {importance for importance, _ in found} <= {
        "BEST_PRACTICE_VIOLATION",
        "BEST_PRACTICE_SUGGESTION",
    }
    violations = {name for importance, name in found if importance == "BEST_PRACTICE_VIOLATION"}
    # nobody told the species of the first
    assert violations == ({"check_subject_species_exists"} if kind == "nwb" else set())


def test_nwbinspector_has_nothing_to_suggest_for_dandi(
    python: Any, dandiset: Path, tmp_path: Path
) -> None:
    with h5py.File(dandiset / "sub-m1" / "sub-m1_ses-2.nwb") as file:
        assert len(file["intervals/invalid_times/start_time"]) > 1
    assert said_by(python("dandi"), DANDI, tmp_path, dandiset) == []


def test_dandi_accepts_what_we_export(python: Any, dandiset: Path, tmp_path: Path) -> None:
    command = [str(python("dandi").with_name("dandi")), "validate", "-f", "json", str(dandiset)]
    quiet = {**os.environ, "DANDI_NO_ET": "1", "HOME": str(tmp_path), "NO_ET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
    # and it would have found a file of another name
    (dandiset / "sub-m1" / "sub-m1_ses-4.nwb").rename(dandiset / "sub-m1" / "other.nwb")
    done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    (dandiset / "sub-m1" / "other.nwb").rename(dandiset / "sub-m1" / "sub-m1_ses-4.nwb")
    assert done.returncode == 1
    assert "other.nwb" in done.stdout


def test_ome_zarr_models_accept_our_stores(python: Any, made: Path) -> None:
    command = [python("judges").with_name("ome-zarr-models"), "validate"]
    store = made / "stitched" / f"{STEM}.zarr"
    done = subprocess.run([*command, store], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Valid OME-Zarr" in done.stdout


def test_napari_shows_a_store(python: Any, made: Path, tmp_path: Path) -> None:
    store = made / "stitched" / f"{STEM}.zarr"
    found = said_by(python("napari"), NAPARI, tmp_path, store)
    assert found["kind"] == "image"
    assert found["labels"] == ["frame", "height", "width"]
    assert found["shapes"] == [[*miostitch.open_recording(store).video.shape]]
    assert found["same"]
    assert found["shown"] == found["value"]
