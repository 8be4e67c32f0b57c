"""Puts what is known of a behaviour camera into the store of a result, frame by frame."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from miostitch.crates.run import is_ours, read_crate, write_crate
from miostitch.errors import OutputExistsError, UsageError
from miostitch.execution.digests import store_digest
from miostitch.execution.products import STORE, SUMMARY
from miostitch.execution.results import load_summary, write_summary
from miostitch.execution.workspace import Workspace
from miostitch.schema import (
    CAMERA,
    CAMERA_VARIABLES,
    FRAME_VARIABLES,
    LOST,
    ORIGIN_VARIABLES,
)
from miostitch.store.datasets import coordinates_of
from miostitch.store.layout import PLAIN_NAME, consolidate, create_root, write_group
from miostitch.store.reader import Store
from miostitch.store.renaming import rename
from miostitch.text import printable

TAKEN = {v.name for v in (*FRAME_VARIABLES, *ORIGIN_VARIABLES, LOST)}
"""Names that coordinates of a store have already."""


def require_store(recording: object, camera: str, *, force: bool) -> Store:
    """The store that a camera is to be put into, before anything is aligned."""
    if not isinstance(recording, str | os.PathLike) or not os.fspath(recording).endswith(STORE):
        shown = printable(os.fspath(recording)) if isinstance(recording, os.PathLike) else recording
        msg = f"{shown if isinstance(shown, str) else 'an open recording'}: is no store"
        raise UsageError(f"{msg}; name the .zarr of a result, or leave --into-store out")
    if not PLAIN_NAME.fullmatch(camera) or not TAKEN.isdisjoint(coordinates_of(camera)):
        msg = f"{printable(camera)}: a camera in a store cannot be called that"
        raise UsageError(f"{msg}; rename its table, with letters, digits, _ and -")
    store = Store.open(os.path.abspath(recording))
    if CAMERA + camera in store.groups and not force:
        msg = f"{store.path}: has frames of the camera {camera} already"
        raise OutputExistsError(f"{msg}; replace them with --force")
    return store


def store_camera(
    store: Store, camera: str, columns: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any]
) -> None:
    """Put a camera into a store, and keep what its summary and crate say of the store true.

    The group appears as a whole. A run that is killed after that leaves a store that ``verify``
    finds changed, until this is done again with force.

    ``columns``: the variables of :data:`CAMERA_VARIABLES`, (frame,) each.
    """
    path, group = Path(store.path), CAMERA + camera
    workspace = Workspace(path.parent, path.stem, [SUMMARY])
    with workspace.open([], force=True):
        made = workspace.folder / STORE
        create_root(str(made), store.zarr_format)
        write_group(str(made), group, CAMERA_VARIABLES, columns.__getitem__, attrs)
        if (path / group).exists():
            rename(path / group, workspace.folder / group)
        rename(made / group, path / group)
        consolidate(str(path))
        summary = load_summary(workspace.final(SUMMARY))
        digests = dict(summary.get("digests", {}))  # by endings, one of which is the store's
        for suffix in (each for each in digests if each.endswith(STORE)):
            digests[suffix] = store_digest(path)
            write_summary(workspace.staged(SUMMARY), {**summary, "digests": digests})
            workspace.publish()
    if is_ours(read_crate(path.parent)):
        write_crate(path.parent)
