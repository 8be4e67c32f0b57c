"""Imports only ever point to a higher room, and heavy libraries stay at home."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "miostitch"
ROOMS = (
    "text",
    "errors arrays",
    "schema ranges",
    "kernels",
    "config",
    "video",
    "store",
    "buffers",
    "execution",
    "fitting",
    "recording",
    "origins",
    "crates",
    "session",
    "simulation",
    "composing",
    "report",
    "stitching",
    "editing",
    "denoising",
    "workflow inspect",
    "batch",
    "export",
    "viewer",
    "verify",
    "cli",
    "__init__",
)
"""From the ground up; a room imports rooms of the lines above its own, and its own modules."""

LINE_OF = {room: line for line, rooms in enumerate(ROOMS) for room in rooms.split()}
HOMES = {
    "av": "video",
    "bokeh": "report",
    "click": "cli",
    "distributed": "execution",
    "filelock": "execution",
    "h5py": "export",
    "hdmf": "export",
    "isal": "video export",
    "jinja2": "report",
    "numba": "kernels",
    "PIL": "video",
    "pyarrow": "buffers execution",
    "pydantic": "config",
    "pynwb": "export",
    "rich": "cli",
    "tifffile": "export",
    "tornado": "viewer",
    "yaml": "config",
    "zarr": "store verify",
}
"""The rooms that may import a library; of all others that import dask and xarray."""

LABELLED = (
    "execution recording origins session stitching editing denoising workflow inspect export "
    "viewer verify"
)
HOMES |= {"dask": LABELLED, "xarray": f"{LABELLED} store report"}
STARTS = {"cli", "export.run", "config.choices", "recording.files", "verify.run"}
"""What may import inside functions: start-up time, and packages that are extras."""

BAD = """stitching.selection: from miostitch.export.plan import plan
schema: import miostitch.store.layout
schema: from . import cli
schema: from miostitch import __version__
stitching.scoring: import av.error
session.alignment: def f(): import miostitch.errors
recording.recording: if TYPE_CHECKING: from miostitch.cli.main import main
workflow: from miostitch.inspect.recordings import inspect_recording"""


def violations(module: str, source: str) -> Iterator[str]:
    room = module.split(".")[0]
    nodes = [*ast.walk(ast.parse(source))]
    functions = {n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    hidden = {child for function in functions for child in ast.walk(function)}
    ifs = [n for n in nodes if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    types = {child for node in ifs for child in node.body}
    for node in (n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)):
        origin = ["miostitch"] * getattr(node, "level", 0) + [getattr(node, "module", None) or ""]
        for name in (".".join(filter(None, [*origin, alias.name])) for alias in node.names):
            package, target = f"{name}.".split(".")[:2]
            if (
                package == "miostitch"
                and target != room
                and LINE_OF.get(target, 99) >= LINE_OF[room]
            ):
                yield f"{module}: {name} is in no higher room"
            if room not in HOMES.get(package, room).split() and node not in types:
                yield f"{module}: the home of {name} is {HOMES[package]}"
            known = package in HOMES or package == "miostitch"
            if node in hidden and known and not {room, module} & STARTS:
                yield f"{module}: {name} is imported inside a function"


def modules() -> dict[str, str]:
    paths = {path.relative_to(PACKAGE).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    return {".".join(path.parts): file.read_text("utf-8") for path, file in paths.items()}


def test_imports_point_up() -> None:
    sources = modules()
    rooms = {module.split(".")[0] for module in sources}
    assert rooms == LINE_OF.keys(), "give the new room a line"
    assert [wrong for source in sources.items() for wrong in violations(*source)] == []


def test_bad_imports_are_found() -> None:
    for module, source in (line.split(": ", 1) for line in BAD.splitlines()):
        assert len([*violations(module, source)]) == 1, source


def test_rooms_are_small() -> None:
    rooms: dict[str, list[int]] = {}
    for module, source in modules().items():
        rooms.setdefault(module.split(".")[0], []).append(source.count("\n"))
    top = [room for room in rooms if not (PACKAGE / room).is_dir()]
    assert len(top) <= 8
    assert {room for room, lines in rooms.items() if len(lines) > 13} == set()  # 12 and __init__
    assert {room for room, lines in rooms.items() if sum(lines) > 3000} == set()
    assert {room for room, lines in rooms.items() if max(lines) > 600} == set()
