"""Session files on the command line: what a command gets instead of names and options."""

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from miostitch.config.choices import is_session_file
from miostitch.errors import MissingInputError, UsageError
from miostitch.execution.products import STORE, SUMMARY

if TYPE_CHECKING:
    from miostitch.config.session_file import SessionFile
    from miostitch.recording.files import StrPath


def read_names(names: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """What a command is called with: the names, or what the session file says in their place."""
    if not any(map(is_session_file, names)):
        return {"names": [*names], **given}
    session = _open(names)
    return {"names": _recordings(session), **fill_in(session, given)}


def read_names_or_result(names: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    """The same; of a session that has a result, its store."""
    found = read_names(names, given)
    if any(map(is_session_file, names)):
        stores = (stem + STORE for stem in _open(names).stems)
        store = next(filter(os.path.isdir, stores), None)
        found |= {} if store is None else {"names": [store]}
    return found


def fill_in(session: "SessionFile", given: dict[str, Any]) -> dict[str, Any]:
    """The options of a command; those that are not on the command line are the file's."""
    from miostitch.stitching.options import StitchOptions

    said = session.choices | {"name": session.name, "output": session.output}
    source = click.get_current_context().get_parameter_source
    here = {
        name: value
        for name, value in said.items()
        if name in given and source(name) != ParameterSource.COMMANDLINE
    }
    if "name" in given:  # it stitches: also what the command has no option for
        known = {field.name for field in fields(StitchOptions)} | {"no_avi"}
        here |= {name: each for name, each in said.items() if name in known - given.keys()}
        here["session"] = session.facts
    return {**given, **here}


def find_result(path: str, recordings: "Sequence[StrPath]") -> "tuple[str, Sequence[StrPath]]":
    """The result that a session file names, and the recordings it was made of."""
    if not is_session_file(path):
        return path, recordings
    session = _open([path])
    stems = session.stems
    paths = (stem + suffix for stem in stems for suffix in (SUMMARY, STORE))
    found = next(filter(os.path.exists, paths), None)
    if found is None:
        raise MissingInputError(f"{path}: {_no_result(stems[0] + SUMMARY, path)}")
    return found, recordings or _recordings(session)


def describe_result(path: str, kind: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The store of a session file that is exported, and what the file says for that."""
    if not is_session_file(path):
        return path, given
    session = _open([path])
    stores = [stem + STORE for stem in reversed(session.stems)]
    found = next(filter(os.path.isdir, stores), None)
    if found is None:
        raise MissingInputError(f"{path}: {_no_result(stores[-1], path)}")
    from miostitch.export.plan import describe_session

    described = describe_session(session.facts, kind)
    if kind == "nwb":
        described["behaviour"] = session.behaviour
    return found, described | {name: each for name, each in given.items() if each is not None}


def find_cameras(
    path: str, times: str | None, table: dict[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    """A recording, and the tables of the cameras that are aligned with it, as keywords."""
    if not is_session_file(path):
        if times is None:
            raise UsageError(f"{path}: which camera? name the table of its times with --times")
        return path, [{"times": times, **table}]
    if times is not None or any(table.values()):
        msg = f"{path}: names its cameras and their tables"
        raise UsageError(f"{msg}; leave --times, --column, --unit and --events out")
    session = _open([path])
    stores = [stem + STORE for stem in reversed(session.stems)]
    found = next(filter(os.path.isdir, stores), None)
    if found is None:
        raise MissingInputError(f"{path}: {_no_result(stores[-1], path)}")
    if not session.behaviour:
        raise UsageError(f"{path}: names no camera; add some as behaviour, or use --times")
    keys = ("name", "column", "unit", "events")
    cameras = session.behaviour
    return found, [
        {"times": each.timestamps, **{key: getattr(each, key) for key in keys}} for each in cameras
    ]


def _open(names: Sequence[str]) -> "SessionFile":
    from miostitch.config.session_file import load_session

    if len(names) > 1:
        msg = f"{names[0]} and {names[1]}: a session file comes alone"
        raise UsageError(f"{msg}; miostitch batch takes several")
    return load_session(names[0])


def _recordings(session: "SessionFile") -> "list[StrPath]":
    from miostitch.recording.files import recordings_of

    return [*recordings_of(session)]


def _no_result(result: str, path: str) -> str:
    return f"its result {result} is missing; run miostitch batch {path}"
