"""What a store of this format must hold: every variable of a frame, and attributes of their kinds.

A store that another program changed is refused here, by the name of what is wrong.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import zarr

from miostitch.errors import InputError
from miostitch.schema import (
    CONFIDENCE,
    FORMAT_VERSION,
    FRAME_VARIABLES,
    MEASURED_FPS,
    START_TIME,
    TIME_VARIABLES,
    VIDEO,
)

ADDED_VARIABLES = (*TIME_VARIABLES, CONFIDENCE)
"""What stores of older versions need not have."""

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


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "fps": (_is_rate, "a frame rate such as 20 or 30000/1001, as text"),
    MEASURED_FPS: (_is_number, "a number above 0"),
    START_TIME: (_is_text, "text"),
    "recording": (_is_text, "text"),
    "recordings": (_are_texts, "a list of texts"),
    "origins": (_are_texts, "a list of texts"),
    "inputs": (_are_objects, "a list of objects"),
    "history": (_are_objects, "a list of objects"),
    "config": (_is_object, "an object"),
    "versions": (_is_object, "an object"),
    "session": (_is_object, "an object"),
    "lags": (_is_object, "an object"),
    "stitches": (_is_object, "an object"),
}


def require_contract(path: str, root: zarr.Group) -> None:
    """Refuse a store whose attributes or variables are not those that are written."""
    attrs: dict[str, Any] = dict(root.attrs)
    if "fps" not in attrs:
        raise InputError(f"{path}: the attribute 'fps' is missing; {REMEDY}")
    for name, (is_right, kind) in _KINDS.items():
        if name in attrs and not is_right(attrs[name]):
            raise InputError(f"{path}: the attribute {name!r} must be {kind}; {REMEDY}")
    frames = root[VIDEO.name].shape[0]  # type: ignore[union-attr]
    older = attrs["format_version"] != FORMAT_VERSION
    arrays = dict(root.arrays())
    for variable in FRAME_VARIABLES:
        if variable.name not in arrays and variable in ADDED_VARIABLES and older:
            continue
        if variable.name not in arrays:
            raise InputError(f"{path}: the array {variable.name!r} is missing; {REMEDY}")
        array = arrays[variable.name]
        if array.shape != (frames,) or array.dtype != variable.dtype:
            found = f"{array.dtype} of shape {array.shape}"
            must = f"must be {variable.dtype} of shape ({frames},)"
            raise InputError(
                f"{path}: the array {variable.name!r} is {found}, but {must}; {REMEDY}"
            )
