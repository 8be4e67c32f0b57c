"""Time what a lab does with a result, beside programs that move the same bytes.

``python benchmarks/end_to_end/exports.py [--frames N] [--runs N] [--folder DIR]`` stitches a
simulated pair of 200x200 frames and prints a table in Markdown, medians of whole processes that
take turns: ``regularize`` beside ``trim``, both from the store; ``export --to tiff`` beside
``ffmpeg``, which copies the video's frames into one raw file or into one TIFF each;
``export --to hdf5`` beside ``h5repack``, which packs its frames again in the same way (left out
where there is no ``h5repack``); and a preview of 30 s as ``mp4``.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from peers import FAULTS, HERE, Program, alternating, describe_machine, run


def programs(store: Path, folder: Path) -> dict[str, Program]:
    miostitch = Path(sys.executable).with_name("miostitch")
    quiet = ("-q", "--no-progress")
    video = store.with_suffix(".avi")

    def export(kind: str, name: str, *more: str) -> Program:
        out = folder / kind
        command = (miostitch, "export", store, "--to", kind, "-o", out / name, *more, *quiet)
        return Program(out, command)

    def shell(name: str, words: str) -> Program:
        out = folder / name
        return Program(out, ("sh", "-c", f"mkdir -p {out}; {words.format(out=out)}"))

    edit = ("-o", folder / "trim", *quiet)
    found = {
        "trim": Program(folder / "trim", (miostitch, "trim", "-i", store, "-s", "1", *edit)),
        "regularize": Program(
            folder / "regular", (miostitch, "regularize", store, "-o", folder / "regular", *quiet)
        ),
        "export --to tiff": export("tiff", "S.tif"),
        "ffmpeg, raw frames": shell(
            "ffmpeg", f"ffmpeg -v error -i {video} -f rawvideo -pix_fmt gray {{out}}/S.raw"
        ),
        "ffmpeg, one TIFF a frame": shell(
            "images",
            f"ffmpeg -v error -i {video} -pix_fmt gray -compression_algo raw {{out}}/S_%05d.tif",
        ),
        "export --to hdf5": export("hdf5", "S.h5"),
        "preview of 30 s": export("mp4", "S.mp4", "--frames", "0-599"),
    }
    if shutil.which("h5repack"):
        run(*export("hdf5", "S.h5").command)
        source = (folder / "hdf5").rename(folder / "source") / "S.h5"
        found["h5repack"] = shell("h5repack", f"h5repack -f mov:GZIP=1 {source} {{out}}/S.h5")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "exports")
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    miostitch = Path(sys.executable).with_name("miostitch")
    size = ("--frames", str(options.frames), "--seed", "1", *FAULTS)
    subprocess.run([miostitch, "simulate", folder / "session", *size, "-q"], check=True)
    videos = [folder / "session" / f"receiver{n}.avi" for n in (1, 2)]
    quiet = ("-q", "--no-report", "--no-progress", "--name", "S")
    subprocess.run([miostitch, "stitch", *videos, "-o", folder / "out", *quiet], check=True)
    shutil.rmtree(folder / "session")
    chosen = programs(folder / "out" / "S.zarr", folder)
    print("| what | wall | CPU | peak memory |\n|---|---|---|---|")
    for name, each in alternating(chosen, options.runs).items():
        cells = f"{each.seconds:.2f} s | {each.cpu_seconds:.2f} s | {each.peak_mib:,.0f} MiB"
        print(f"| {name} | {cells} |")
    print(f"\n{options.frames:,} frames; {describe_machine()}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
