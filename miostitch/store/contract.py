"""What a store of this format must hold: every variable of a frame, and attributes of their kinds.

A store that another program changed is refused here, by the name of what is wrong.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from miostitch.errors import InputError
from miostitch.schema import (
    BUFFER,
    COLUMN_BY_NAME,
    COLUMN_NAME,
    COMPOSITION_VARIABLES,
    CONFIDENCE,
    FORMAT_VERSION,
    FRAME,
    FRAME_VARIABLES,
    INDEX_VARIABLES,
    MEASURED_FPS,
    RECORDING,
    REPAIR_VARIABLES,
    REQUIRED_COLUMNS,
    SCORE_VARIABLES,
    START_TIME,
    TIME_VARIABLES,
    VIDEO,
    Variable,
)
from miostitch.store.layout import dimension_names
from miostitch.store.nodes import Array, Group, arrays_of

ADDED_VARIABLES = (*TIME_VARIABLES, CONFIDENCE)
"""What stores of older versions need not have."""

ROOT_VARIABLES = (VIDEO, *INDEX_VARIABLES, *FRAME_VARIABLES)
GROUP_VARIABLES = {
    variables[0].group.strip("/"): {variable.name: variable for variable in variables}
    for variables in (SCORE_VARIABLES, COMPOSITION_VARIABLES, REPAIR_VARIABLES)
}
BUFFERS, SCORES = "buffers", "scores"

ADDED_IN_GROUPS = {"identical", "confidence", "received_buffers", "complete"}
"""What groups of stores of older versions need not have, nor of what was made of them."""

REMEDY = "copy the store again, or stitch again"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_rate(value: object) -> bool:
    try:
        return isinstance(value, str) and Fraction(value) > 0
    except (ValueError, ZeroDivisionError):
        return False


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0  # type: ignore[arg-type,operator]


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_inputs(value: object) -> bool:
    return _are_objects(value) and all(_is_input(each) for each in value)  # type: ignore[attr-defined]


def _is_input(value: Mapping[str, object]) -> bool:
    size = value.get("size")
    is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return is_size and all(isinstance(value.get(name), str) for name in ("name", "digest"))


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "fps": (_is_rate, "a frame rate such as 20 or 30000/1001, as text"),
    MEASURED_FPS: (_is_number, "a number above 0"),
    START_TIME: (_is_text, "text"),
    "recording": (_is_text, "text"),
    "recordings": (_are_texts, "a list of texts"),
    "origins": (_are_texts, "a list of texts"),
    "inputs": (_are_inputs, "a list of objects with name, size and digest"),
    "history": (_are_objects, "a list of objects"),
    "config": (_is_object, "an object"),
    "versions": (_is_object, "an object"),
    "session": (_is_object, "an object"),
    "lags": (_is_object, "an object"),
    "stitches": (_is_object, "an object"),
}


def require_contract(
    path: str, attrs: dict[str, Any], arrays: Mapping[str, Array], groups: Mapping[str, Group]
) -> None:
    """Refuse a store whose attributes or variables are not those that are written."""
    if "fps" not in attrs:
        raise InputError(f"{path}: the attribute 'fps' is missing; {REMEDY}")
    for name, (is_right, kind) in _KINDS.items():
        if name in attrs and not is_right(attrs[name]):
            raise InputError(f"{path}: the attribute {name!r} must be {kind}; {REMEDY}")
    older = attrs["format_version"] != FORMAT_VERSION
    optional = ADDED_VARIABLES if older else ()
    for variable in FRAME_VARIABLES:
        if variable.name not in arrays and variable not in optional:
            raise InputError(f"{path}: the array {variable.name!r} is missing; {REMEDY}")
    sizes = dict(zip(VIDEO.dims, arrays[VIDEO.name].shape, strict=False))
    _require_arrays(path, arrays, {v.name: v for v in ROOT_VARIABLES}, sizes)
    for name, group in groups.items():
        members = arrays_of(group)
        lengths = {FRAME: sizes[FRAME]}
        if name == SCORES and "recordings" in attrs:
            lengths[RECORDING] = len(attrs["recordings"])
        if name == BUFFERS:
            known, needed, lengths = _columns(members), {*REQUIRED_COLUMNS}, {}
        else:
            known = GROUP_VARIABLES.get(name, {})
            needed = known.keys() - ADDED_IN_GROUPS
        for missing in sorted(needed - members.keys()):
            raise InputError(f"{path}: the array '{name}/{missing}' is missing; {REMEDY}")
        _require_arrays(path, members, known, lengths)


def _columns(arrays: Mapping[str, Array]) -> dict[str, Variable]:
    """What the arrays of rows must be; columns that are not of the schema hold text."""
    columns = {}
    for name, array in arrays.items():
        column = COLUMN_BY_NAME.get(str(array.attrs.get(COLUMN_NAME, name)))
        dtype = column.dtype if column else ""
        columns[name] = Variable(name, (BUFFER,), dtype, "", group=f"/{BUFFERS}")
    return columns


def _require_arrays(
    path: str, arrays: Mapping[str, Array], known: Mapping[str, Variable], sizes: dict[str, int]
) -> None:
    """Refuse arrays of another kind than they are written as; others are none of ours.

    ``sizes``: length of the dimensions that are known before; of others all arrays have one.
    """
    for name, array in arrays.items():
        variable = known.get(name)
        if variable is None:
            continue
        dims = dimension_names(array)
        if len(dims) != array.ndim:
            dims = tuple(map(str, range(array.ndim)))
        named = dict(zip(dims, array.shape, strict=True))
        shape = tuple(sizes.get(dim, named.get(dim, "any")) for dim in variable.dims)
        for dim in dims:
            sizes.setdefault(dim, named[dim])
        if (
            dims != variable.dims
            or array.shape != shape
            or array.dtype != (variable.dtype or array.dtype)
        ):
            where = f"{variable.group}/{name}".lstrip("/")
            found = f"{array.dtype} of shape {array.shape} and dimensions {dims}"
            kind = f"{variable.dtype or 'text'} of shape {shape} and dimensions {variable.dims}"
            msg = f"{path}: the array {where!r} is {found}, but must be {kind}"
            raise InputError(f"{msg}; {REMEDY}")
