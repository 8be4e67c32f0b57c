"""Every way in which one thing of a store is not what was written: absent, or of another kind.

A change is named by a text that says all of it, so that one which failed can be tried again.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

Change = Callable[[Path], None]
OTHER_TYPES = ("int64", "float64", "uint8", "bool", "<U3")
OTHER_VALUES: tuple[Any, ...] = (
    None, True, -1, 10**30, 0.5, "x", "\ud800", "", [], [None], ["x"], {}, {"x": None}, [[1]],
)  # fmt: skip
DEEP = 3  # how far values inside values are changed


def every_change(store: Path) -> dict[str, Change]:
    """All changes of a store, by name."""
    found: dict[str, Change] = {}
    for name, member in sorted(zarr.open_group(store, mode="r").members(max_depth=None)):
        found[f"{name} absent"] = partial(_remove, name=name)
        if isinstance(member, zarr.Array):
            found |= dict(_changes_of_array(name, member))
    for file in sorted(store.rglob("zarr.json")):
        attributes = json.loads(file.read_text()).get("attributes") or {}
        for place, value in _places(attributes):
            where = f"{file.relative_to(store)} {place}"
            found[f"{where} absent"] = partial(
                _change_attribute, file=file.relative_to(store), place=place, value=_ABSENT
            )
            for other in OTHER_VALUES:
                if type(other) is not type(value) or other != value:
                    change = partial(
                        _change_attribute, file=file.relative_to(store), place=place, value=other
                    )
                    found[f"{where} {other!r}"] = change
    return found


def _changes_of_array(name: str, array: Any) -> Iterator[tuple[str, Change]]:
    dims = list(array.metadata.dimension_names or [])
    for dtype in OTHER_TYPES:
        if np.dtype(dtype) != array.dtype:
            yield f"{name} {dtype}", partial(_replace, name=name, dtype=dtype)
    shape = array.shape
    for other in ((0, *shape[1:]), (shape[0] + 1, *shape[1:]), shape[1:], (1, *shape), shape[::-1]):
        if other != shape:
            new = partial(_replace, name=name, shape=other, dims=None)
            yield f"{name} of shape {other}", new
    for names in (None, ["x"] * len(dims), [f"{dim}x" for dim in dims], dims[::-1]):
        if names != dims:
            yield f"{name} of dims {names}", partial(_replace, name=name, dims=names)
    values = [np.nan, np.inf, -1e300] if array.dtype.kind == "f" else [0, 1]
    if array.dtype.kind in "iu":
        values += [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max]
    for value in values:
        yield f"{name} all {value}", partial(_replace, name=name, value=value)


_ABSENT, _SAME = object(), object()


def _places(value: Any, depth: int = 0) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Where JSON has values, in values too."""
    if depth == DEEP:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (key,), inner
        if isinstance(inner, dict | list):
            yield from (((key, *rest), found) for rest, found in _places(inner, depth + 1))


def _change_attribute(store: Path, file: Path, place: tuple[str | int, ...], value: object) -> None:
    """Change one value; the root says the same of its arrays a second time."""
    path = store / file
    meta = json.loads(path.read_text())
    inner = meta["attributes"]
    for key in place[:-1]:
        inner = inner[key]
    if value is _ABSENT:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path.write_text(json.dumps(meta))
    _consolidate(store)


def _remove(store: Path, name: str) -> None:
    shutil.rmtree(store / name)
    _consolidate(store)


def _replace(
    store: Path,
    name: str,
    *,
    dtype: str | None = None,
    shape: tuple[int, ...] | None = None,
    dims: Any = _SAME,
    value: object = None,
) -> None:
    """Write an array again that differs in something."""
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    old: Any = group[name]
    data, names = np.asarray(old[...]), old.metadata.dimension_names if dims is _SAME else dims
    if shape is not None:
        data = np.resize(data, shape)
    if value is not None:
        data = np.full_like(data, value)
    data = data.astype(dtype or data.dtype)
    attributes = dict(old.attrs)
    shutil.rmtree(store / name)
    with warnings.catch_warnings():  # about types that other programs do not know
        warnings.simplefilter("ignore")
        new = group.create_array(
            name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=tuple(max(1, size) for size in data.shape),
            dimension_names=names,
            attributes=attributes,
        )
        new[...] = data
    _consolidate(store)


def _consolidate(store: Path) -> None:
    """Let the root say of its members what they say, if it said anything."""
    path = store / "zarr.json"
    root = json.loads(path.read_text())
    if root.get("consolidated_metadata"):
        members = {
            str(file.parent.relative_to(store)): json.loads(file.read_text())
            for file in store.rglob("zarr.json")
            if file != path
        }
        root["consolidated_metadata"]["metadata"] = members
        path.write_text(json.dumps(root))
