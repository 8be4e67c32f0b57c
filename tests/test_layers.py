"""Imports only ever point to a lower layer, and heavy dependencies stay at home."""

import ast
from collections.abc import Iterator
from pathlib import Path

LAYERS = (
    "schema errors avi frame_lists text runs losses clocks memory jit thresholds progress png"
    " frame_cache raw_avi",
    "kernels composing_kernels filtering_kernels frame_readers boots frame_table"
    " table_parser repair safe_yaml store_metadata config",
    "alignment selection compositing damage filtering plan config_files report_facts"
    " lags video encoding sinks transmission metadata table_writer store stored_blocks staging"
    " journal verify_composition verify_findings",
    "opening verify_store verify_inputs verify_rows report_tables report_text",
    "session_lags verify_result verify_layout verify_steps",
    "recording stored_groups accessor verify_blocks verify_buffers verify_lines",
    "session datasets picking known_frames report_pictures verify_frames verify_summary",
    "computing scoring gather composing denoise_stages rows buffer_table companions"
    " stored_tables summary publishing report_page simulation viewing originals",
    "writing ordered",
    "beside edited_tables kept_frames report verify_products verify_origins",
    "export_plan",
    "export_avi export_nwb export_zarr",
    "cluster stitching products inspecting scenes editing saving noise denoising export"
    " verify_edits",
    "workflow view_server console wording verify verify_wording",
    "pipeline viewer options",
    "edit_commands look_commands backend",
    "cli",
    "__init__",
)
LAYER_OF = {module: layer for layer, modules in enumerate(LAYERS) for module in modules.split()}
LAYER_OF["errors"] = -1  # the schema may raise them
[HUB] = (layer for layer, modules in enumerate(LAYERS) if modules.startswith("recording "))
GRAPHS = " ".join([*LAYERS[HUB:-3], "backend"])
HOMES = dict(numba="jit kernels composing_kernels filtering_kernels")
HOMES |= dict(av="frame_readers video encoding raw_avi")
HOMES |= dict(pyarrow="memory table_parser table_writer")
HOMES |= dict(zarr="store stored_blocks verify_store verify_layout verify_steps")
HOMES |= dict(filelock="staging", distributed="cluster", yaml="safe_yaml", pydantic="config")
HOMES |= dict(dask=GRAPHS, xarray=GRAPHS, pynwb="export_nwb", hdmf="export_nwb")
HOMES |= dict(isal="export_nwb")
HOMES |= dict(
    bokeh="report_page",
    jinja2="report_page",
    tornado="view_server",
    click="cli edit_commands look_commands console options",
    rich="console",
    miostitch=" ".join(LAYERS),
)
STARTS = {"cli", "edit_commands", "look_commands", "console", "options", "__init__"}
STARTS |= {"export"}  # pynwb is an extra
BAD = """selection: from miostitch.alignment import align
schema: import miostitch.store
schema: from . import cli
schema: from miostitch import __version__
scoring: import av.error
alignment: def f(): import miostitch.errors
recording: if TYPE_CHECKING: from miostitch.cli import main"""


def violations(module: str, source: str) -> Iterator[str]:
    nodes = [*ast.walk(ast.parse(source))]
    functions = {n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    hidden = {child for function in functions for child in ast.walk(function)}
    ifs = [n for n in nodes if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    types = {child for node in ifs for child in node.body}
    for node in (n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)):
        origin = ["miostitch"] * getattr(node, "level", 0) + [getattr(node, "module", None) or ""]
        for name in (".".join(filter(None, [*origin, alias.name])) for alias in node.names):
            package, target = f"{name}.".split(".")[:2]
            if package == "miostitch" and LAYER_OF.get(target, 99) >= LAYER_OF[module]:
                yield f"{module}: {name} is in no lower layer"
            if module not in HOMES.get(package, module).split() and node not in types:
                yield f"{module}: the home of {name} is {HOMES[package]}"
            if node in hidden and package in HOMES and module not in STARTS:
                yield f"{module}: {name} is imported inside a function"


def test_imports_point_down() -> None:
    sources = {p.stem: p.read_text() for p in Path(__file__).parents[1].glob("miostitch/**/*.py")}
    assert sources.keys() <= LAYER_OF.keys(), "give the new module a layer"
    assert [wrong for source in sources.items() for wrong in violations(*source)] == []


def test_bad_imports_are_found() -> None:
    for module, source in (line.split(": ", 1) for line in BAD.splitlines()):
        assert len([*violations(module, source)]) == 1, source
