"""Tables made from the code they describe, so that a page cannot drift away from it.

``{schema-table} columns`` is the columns of a metadata table; ``index``, ``frame``, ``video``,
``scores``, ``composition``, ``repairs`` and ``camera`` are the arrays of a store,
``flags.evidence`` and so on the codes in them; ``errors`` is the exceptions and their exit codes;
``rooms`` is the rooms of the package in the order that ``tests/test_layers.py`` enforces;
``config`` is the settings at the top of a configuration, ``config.noise_patch`` and so on those of
a block of it; ``session``, ``session.options`` and so on are those of a session file; ``shipped``
is the shipped configurations; ``products`` is the products of a result, and ``StitchSummary`` and
so on are the objects of ``S.json`` and of ``--json``.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

from docutils.nodes import Node
from room_picture import room_order
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from miostitch import errors, schema
from miostitch.config import models as config
from miostitch.config import session_file
from miostitch.config.files import shipped_configs
from miostitch.config.strict_yaml import scalar_text
from miostitch.execution import products, results

ROOT = Path(__file__).parents[2]
Row = tuple[object, ...]

JSON_TYPES = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    NoneType: "null",
    results.Span: "two integers",
}
JSON_LISTS = {int: "integers", str: "strings", results.Span: "pairs"}


def columns() -> Iterator[Row]:
    yield "column", "dtype", "unit", "needed", "meaning"
    for column in (*schema.COLUMN_BY_NAME.values(), schema.CHECKED):
        needed = "yes" if column.required else ""
        yield code(column.name), column.dtype, column.unit, needed, column.doc


def variables(chosen: Iterable[schema.Variable]) -> Iterator[Row]:
    yield "array", "dimensions", "dtype", "unit", "absent", "meaning"
    for variable in chosen:
        absent = "" if variable.fill is None else code(variable.fill)
        dims = f"({', '.join(variable.dims)})"
        unit = variable.unit or ""
        yield code(variable.name), dims, variable.dtype, unit, absent, variable.doc


def flags(name: str) -> Iterator[Row]:
    yield "value", "name"
    found = [*schema.COMPOSITION_VARIABLES, *schema.REPAIR_VARIABLES]
    attrs = next(each for each in found if each.name == name).attrs
    values = attrs.get("flag_values") or attrs["flag_masks"]
    yield from zip(values, map(code, attrs["flag_meanings"].split()), strict=True)


def error_classes() -> Iterator[Row]:
    yield "exit code", "exception", "also a", "meaning"
    named = [value for value in vars(errors).values() if isinstance(value, type)]
    classes = [each for each in named if issubclass(each, errors.MiostitchError)]
    for each in sorted(classes, key=lambda each: (each.exit_code, classes.index(each))):
        parents = ", ".join(code(base.__name__) for base in each.__bases__)
        yield each.exit_code, code(each.__name__), parents, each.__doc__.splitlines()[0]


def config_settings(
    block: tuple[str, ...], model: type[config.Block] = config.DenoiseConfig
) -> Iterator[Row]:
    yield "key", "allowed", "default", "meaning"
    for key, value, default, allowed, doc in config.settings(model()):
        is_here = key[:1] == block if block else len(key) == 1
        if is_here and not isinstance(value, config.Block):
            shown = "" if default in ("", {}) else code(scalar_text(default))
            yield code(".".join(key[len(block) :])), allowed, shown, doc


def product_files() -> Iterator[Row]:
    yield "name", "what it is"
    for product in products.PRODUCTS:
        yield code(f"S{product.suffix}"), product.what


def result_fields(result: type) -> Iterator[Row]:
    """The fields of a result, without those of the result that it builds on."""
    yield "key", "type", "meaning"
    inherited = {name for base in result.__bases__ for name in get_type_hints(base)}
    hints = get_type_hints(result, include_extras=True)
    for field in (each for each in fields(result) if each.name not in inherited):
        kind, meaning = get_args(hints[field.name])
        shown = json_type(kind)
        if field.default is not MISSING:
            shown = f"{shown.removesuffix(' or null')}, or absent"
        yield code(field.name), shown, meaning


def json_type(kind: object) -> str:
    """What JSON has for a type."""
    if get_origin(kind) is list:
        return f"list of {JSON_LISTS.get(get_args(kind)[0], 'objects')}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(json_type, get_args(kind))))
    return JSON_TYPES.get(kind, "object")


def shipped() -> Iterator[Row]:
    yield "id", "what it is for", "stages that are on"
    for name, each in shipped_configs().items():
        stages = (code(stage) for stage in type(each).model_fields if is_on(getattr(each, stage)))
        yield code(name), each.description, ", ".join(stages)


def is_on(value: object) -> bool:
    return getattr(value, "enable", False)


def rooms() -> Iterator[Row]:
    yield "room", "what it is", "modules"
    package = ROOT / "miostitch"
    for name in room_order():
        is_room = (package / name).is_dir()
        file = package / name / "__init__.py" if is_room else package / f"{name}.py"
        summary = ast.get_docstring(parse(file)).splitlines()[0].removeprefix("miostitch: ")
        modules = sorted(p.stem for p in (package / name).glob("*.py") if p.stem != "__init__")
        yield code(name), summary, " ".join(map(code, modules))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def code(value: object) -> str:
    return f"`{value}`"


TABLES = {
    "columns": columns,
    "index": lambda: variables(schema.INDEX_VARIABLES),
    "video": lambda: variables([schema.VIDEO]),
    "frame": lambda: variables(schema.FRAME_VARIABLES),
    "scores": lambda: variables(schema.SCORE_VARIABLES),
    "composition": lambda: variables(schema.COMPOSITION_VARIABLES),
    "repairs": lambda: variables(schema.REPAIR_VARIABLES),
    "camera": lambda: variables(schema.CAMERA_VARIABLES),
    **{f"flags.{name}": partial(flags, name) for name in ("buffer_evidence", "column", "evidence")},
    "errors": error_classes,
    "rooms": rooms,
    "shipped": shipped,
    "config": lambda: config_settings(()),
    "products": product_files,
}
TABLES |= {
    each.__name__: partial(result_fields, each)
    for each in vars(results).values()
    if is_dataclass(each) and issubclass(each, results.Result)
}
TABLES |= {
    f"config.{name}": partial(config_settings, (name,))
    for name, value in config.DenoiseConfig()
    if isinstance(value, config.Block)
}


TABLES |= {
    ".".join(["session", *block]): partial(config_settings, block, session_file.SessionModel)
    for block in ((), ("options",), ("subject",), ("recording",))
}
TABLES["session.behaviour"] = partial(config_settings, (), session_file.Behaviour)


class SchemaTable(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[Node]:
        header, *rows = TABLES[self.arguments[0]]()
        for source in (schema, errors, config, session_file, products, results):
            self.env.note_dependency(source.__file__)
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join(f"| {' | '.join(map(escape, line))} |" for line in lines)
        return self.parse_text_to_nodes(text)


def escape(cell: object) -> str:
    return str(cell).replace("|", r"\|")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("schema-table", SchemaTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
