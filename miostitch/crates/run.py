"""Write the RO-Crate of an output folder, and keep it true while runs publish there.

One crate describes the folder, for a program that opens a crate looks for one file of one name in
its root. Everything in it follows from the summaries of the results, so it is written again as a
whole after each run: a lost race or an interrupted run costs no more than that it is old.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from miostitch.crates.description import OURS, Described, Entity, compact, describe_results
from miostitch.errors import InputError, OutputLockedError, ResourceError, UsageError
from miostitch.execution.products import SUMMARY
from miostitch.execution.publishing import Run, RunOptions, publish_run
from miostitch.execution.workspace import Workspace

STEM = "ro-crate-metadata"
CRATE = STEM + SUMMARY
ROOT = "./"
"""Id of the folder itself."""
VERSION = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TIMES = ("startTime", "endTime")
"""What only the crate knows of a run."""

STATED = {"description", "isBasedOn", "agent", "affiliation", "contentSize", "identifier", *TIMES}
"""Properties that miostitch states or leaves out, so that an old value must not stay."""

PATIENCE_S = 60.0
"""How long another run may be writing the crate, which takes milliseconds."""


@contextmanager
def publish_result(
    workspace: Workspace, inputs: Sequence[str], options: RunOptions
) -> Iterator[Run]:
    """Publish a result as :func:`publish_run` does, and describe its folder if that is wanted.

    A crate that describes results of this folder is kept true even if it is not asked for.
    """
    folder = workspace.output
    begun, asked = _now(), options.crate
    if asked:
        read_crate(folder)  # what could not be extended is refused before any work
    with publish_run(workspace, inputs, options, resumable=True) as run:
        yield run
    if asked or _is_described(folder):
        try:
            summary = workspace.final(workspace.suffixes[-1])
            write_crate(folder, {summary.stem: begun})
        except ResourceError as error:
            msg = f"{error}; the result is complete, but {CRATE} does not describe it"
            raise ResourceError(f"{msg}: run miostitch crate {folder}") from error


def describe_folder(folder: str | os.PathLike[str]) -> str:
    """Describe the results of a folder as an RO-Crate, or bring the one that is there up to date.

    Returns: The path of the file.
    """
    path = Path(folder)
    if not describe_results(path):
        msg = f"{path}: no result with a summary in it; name the folder of a result"
        raise InputError(msg)
    return os.fspath(write_crate(path))


def write_crate(folder: Path, begun: Mapping[str, str] | None = None) -> Path:
    """Describe all results of a folder; ``begun``: when the run of one of them that ends began."""
    workspace = Workspace(folder, STEM, [SUMMARY])
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            with publish_run(workspace, [], RunOptions(force=True)):
                # read while it is locked: what others have published until now is in it
                crate = _merge(folder, read_crate(folder), begun or {})
                text = json.dumps(crate, indent=1, ensure_ascii=False) + "\n"
                # what no encoding has stays as it is escaped in JSON
                workspace.staged(SUMMARY).write_bytes(text.encode("utf-8", "backslashreplace"))
        except OutputLockedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return workspace.final(SUMMARY)


def read_crate(folder: Path) -> dict[str, Entity]:
    """Entities of the crate of a folder, by their ids; none where there is no crate."""
    path = folder / CRATE
    try:
        return {each["@id"]: each for each in _read(path)["@graph"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path}: is no RO-Crate that can be extended; move it away") from error


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def is_ours(crate: Mapping[str, Entity]) -> bool:
    """Whether a crate describes results of miostitch."""
    return any(name.startswith(OURS) for name in crate)


def holds(value: Any, links: Sequence[Entity]) -> bool:
    """Whether a property of an entity has all of some links."""
    return all(link in _listed(value) for link in links)


def _listed(value: Any) -> list[Any]:
    """The values of a property, of which there may be one, several or none."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_described(folder: Path) -> bool:
    with suppress(UsageError):
        return is_ours(read_crate(folder))
    return False  # what cannot be read was not written by miostitch, or not left as it was


def _merge(folder: Path, old: Mapping[str, Entity], begun: Mapping[str, str]) -> dict[str, Any]:
    """The crate of a folder; what somebody else has put into the old one stays."""
    described = describe_results(folder)
    new = {name: entity for each in described.values() for name, entity in each.entities.items()}
    for stem, each in described.items():
        action = new[each.root["mentions"][0]["@id"]]
        known = {name: old.get(action["@id"], {}).get(name) for name in TIMES}
        if stem in begun:
            known = dict(zip(TIMES, (begun[stem], _now()), strict=True))
        action.update({name: value for name, value in known.items() if value})
    gone = _ours(old) - new.keys()
    kept = {name: each for name, each in old.items() if name not in gone | {ROOT, CRATE}}
    for name in kept.keys() & new.keys():  # also what somebody has added to an entity of ours
        added = {key: value for key, value in kept[name].items() if key not in STATED}
        new[name] = {**added, **new[name]}
    merged = {**kept, **new}
    root = _root(folder, old.get(ROOT, {}), gone, [*described.values()])
    head = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": VERSION},
        "about": {"@id": ROOT},
        **old.get(CRATE, {}),
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate"}
    graph = [head, root, {**profile, "version": "0.5"}]
    graph += [each for name, each in merged.items() if name != PROFILE]
    terms = _read(folder / CRATE).get("@context") if old else None
    return {"@context": terms or f"{VERSION}/context", "@graph": graph}


def _root(folder: Path, old: Entity, gone: set[str], described: Sequence[Described]) -> Entity:
    """The folder itself; what somebody has written about it wins, lists are joined."""
    facts = [each.facts["description"] for each in described if "description" in each.facts]
    about = "; ".join(dict.fromkeys(facts)) or "Recordings of a wireless miniscope"
    root: Entity = {
        "@id": ROOT,
        "@type": "Dataset",
        "name": os.path.basename(os.path.abspath(folder)) or "results",
        "description": f"{about}; made by miostitch, which describes each result in its .json",
        "conformsTo": {"@id": PROFILE},
        **old,
        "datePublished": _now(),
    }
    for name in dict.fromkeys(name for each in described for name in each.root):
        stays = [each for each in _listed(root.get(name)) if not _is_link(each, gone)]
        stays += [link for each in described for link in each.root[name] if link not in stays]
        root[name] = stays
    return compact(root)


def _is_link(value: Any, names: set[str]) -> bool:
    return isinstance(value, dict) and value.get("@id") in names


def _ours(crate: Mapping[str, Entity]) -> set[str]:
    """Ids of all that miostitch has put into a crate."""
    ours = {name for name in crate if name.startswith(OURS)}
    results = [link for name in ours for link in _listed(crate[name].get("result"))]
    return ours | {link["@id"] for link in results}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
