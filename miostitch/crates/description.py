"""What the results of a folder are, as entities of an RO-Crate, by what their summaries say."""

import mimetypes
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from miostitch.errors import InputError
from miostitch.execution.products import DENOISED_STEM, PRODUCTS, STORE, SUMMARY
from miostitch.execution.results import JSON, OWN_DIGEST, read_summary
from miostitch.origins.provenance import listed_objects
from miostitch.store.reader import Store
from miostitch.text import printable

Entity = dict[str, Any]

OURS = "#miostitch/"
"""What the ids of everything but files and licenses begin with."""

WHAT = {product.suffix: product.what for product in PRODUCTS}
FORMATS = {
    STORE: "application/vnd.zarr",
    ".avi": "video/vnd.avi",
    ".csv": "text/csv",
    ".json": "application/json",
}
"""Media types that systems know under different names, or not at all."""


@dataclass(frozen=True)
class Described:
    """One result: its entities by their ids, and which of them the root of the crate names."""

    entities: Mapping[str, Entity]
    root: Mapping[str, list[Entity]]  # Links of the root, by property
    facts: Mapping[str, str]  # What a session file says of the recording


def describe_results(folder: Path) -> dict[str, Described]:
    """Describe every result of a folder that has a summary, by its stem."""
    found = {path.stem: read_summary(str(path)) for path in sorted(folder.glob(f"*{SUMMARY}"))}
    summaries = {stem: each for stem, each in found.items() if _object(each.get("digests"))}
    products = {stem: _products(folder, stem, each) for stem, each in summaries.items()}
    known = {entity["name"]: entity["@id"] for each in products.values() for entity in each}
    return {
        stem: _describe(folder, stem, summary, products[stem], known)
        for stem, summary in summaries.items()
    }


def _describe(
    folder: Path, stem: str, summary: JSON, products: list[Entity], known: Mapping[str, str]
) -> Described:
    """Describe a result; ``known``: ids of the products of all results, by their names."""
    attrs = _store_attrs(folder / f"{stem}{STORE}")
    session = _object(attrs.get("session"))
    facts, animal = _texts(session.get("recording")), _texts(session.get("subject"))
    recorded = [_recorded(each) for each in listed_objects({**attrs, **summary}, "inputs")]
    origins = [_origin(each, known) for each in listed_objects(summary, "origins")]
    if origins and recorded:  # what was read is one thing, what was recorded in the end another
        for product in products:
            product["isBasedOn"] = links(recorded)
    software, person = _software(summary), _people(facts)
    action = {
        "@id": f"{OURS}run/{_short(summary.get(OWN_DIGEST) or stem)}",
        "@type": "CreateAction",
        "name": f"{_kind(summary)} {stem}",
        "description": f"options, history and findings are in {stem}{SUMMARY}",
        "instrument": {"@id": software["@id"]},
        "object": links(origins or recorded),
        "result": links(products),
    }
    if person:
        action["agent"] = {"@id": person[0]["@id"]}
    subject, terms = _subject(animal), _license(facts)
    entities = [*products, action, software, *recorded, *origins, *subject, *person, *terms]
    return Described(
        # an origin that is a product is described where it was made
        {each["@id"]: compact(each) for each in entities if len(each) > 1},
        {
            "hasPart": links(products),
            "mentions": links([action]),
            "about": links(subject),
            "author": links(person[:1]),
            "license": links(terms),
        },
        facts,
    )


def links(entities: Iterable[Entity]) -> list[Entity]:
    """References to entities, each once."""
    return [{"@id": name} for name in dict.fromkeys(each["@id"] for each in entities)]


def compact(entity: Entity) -> Entity:
    """An entity as RO-Crate has it: one value stands alone, and none is left out."""
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in entity.items()
        if value != []
    }


def _object(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else, as any program may have written it."""
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> Mapping[str, str]:
    """The texts in a JSON object."""
    return {name: each for name, each in _object(value).items() if isinstance(each, str)}


def _short(digest: Any) -> str:
    """The start of a digest, which tells files of a folder apart."""
    return _quoted(str(digest)[:16])


def _kind(summary: JSON) -> str:
    """What a run did: that of an edit is the last step of its history."""
    if "dropped_frames" in summary:
        return "denoise"
    steps = [str(step.get("step")) for step in listed_objects(summary, "history")]
    return steps[-1] if steps else "stitch" if "recordings" in summary else "write"


def _store_attrs(path: Path) -> Mapping[str, Any]:
    """Attributes of a store; nothing where there is none that can be read."""
    with suppress(InputError):
        return Store.open(str(path)).attrs if path.is_dir() else {}
    return {}


def _products(folder: Path, stem: str, summary: JSON) -> list[Entity]:
    """The products of a run that are there, the summary last."""
    base = stem.removesuffix(DENOISED_STEM) if "dropped_frames" in summary else stem
    own = folder / f"{stem}{SUMMARY}"
    facts = {f"{base}{suffix}": (suffix, each) for suffix, each in summary["digests"].items()}
    facts[own.name] = SUMMARY, {"size": own.stat().st_size, "digest": summary.get(OWN_DIGEST)}
    return [
        _product(folder / name, suffix.removeprefix(DENOISED_STEM), digest)
        for name, (suffix, digest) in facts.items()
        if (folder / name).exists() and isinstance(digest, dict)
    ]


def _product(path: Path, suffix: str, digest: Mapping[str, Any]) -> Entity:
    kind = FORMATS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    entity = {
        "@id": quote(os.fsencode(path.name)) + ("/" if path.is_dir() else ""),
        "@type": "Dataset" if path.is_dir() else "File",
        "name": printable(path.name),
        "encodingFormat": kind or "application/octet-stream",
        **_extent(digest),
    }
    return entity | ({"description": WHAT[suffix]} if suffix in WHAT else {})


def _extent(facts: Mapping[str, Any]) -> Entity:
    """Size and digest, as far as they are known."""
    found = {"contentSize": str(facts["size"])} if "size" in facts else {}
    return found | ({"identifier": f"blake2b:{facts['digest']}"} if facts.get("digest") else {})


def _recorded(facts: Mapping[str, Any]) -> Entity:
    """A recorded file, which is not in the folder: an entity of the context."""
    name = str(facts.get("name"))
    return {
        "@id": f"{OURS}input/{_short(facts.get('digest') or name)}",
        "@type": "CreativeWork",
        "name": name,
        "description": "recorded by a receiver",
        **_extent(facts),
    }


def _origin(facts: Mapping[str, Any], known: Mapping[str, str]) -> Entity:
    """A file that frames are from: a product of this folder, or what is somewhere else."""
    place = str(facts.get("relative_path"))
    if place in known:
        return {"@id": known[place]}
    return {
        "@id": f"{OURS}origin/{_quoted(place)}",
        "@type": "CreativeWork",
        "name": os.path.basename(place),
        "description": f"{place} from this folder, {facts.get('frames')} frames",
    }


def _software(summary: JSON) -> Entity:
    used = str(_object(summary.get("versions")).get("miostitch"))
    return {
        "@id": f"{OURS}software/{_quoted(used)}",
        "@type": "SoftwareApplication",
        "name": "miostitch",
        "version": used,
    }


def _quoted(text: str) -> str:
    """A text as a part of an id, whatever a summary has in it."""
    return quote(text, errors="surrogatepass")


def _people(facts: Mapping[str, str]) -> list[Entity]:
    """Who recorded, and where; nothing that no session file says."""
    place = facts.get("institution")
    where = {
        "@id": f"{OURS}institution/{_quoted(place or '')}",
        "@type": "Organization",
        "name": place,
    }
    if "experimenter" not in facts:
        return [where] if place else []
    name = facts["experimenter"]
    person: Entity = {
        "@id": f"{OURS}person/{_quoted(name)}",
        "@type": "Person",
        "name": name,
    }
    return [person | {"affiliation": {"@id": where["@id"]}}, where] if place else [person]


def _subject(facts: Mapping[str, str]) -> list[Entity]:
    """The animal."""
    if not facts:
        return []
    name = facts.get("subject_id", "unknown")
    told = ", ".join(facts[key] for key in ("species", "sex", "age") if key in facts)
    entity = {"@id": f"{OURS}subject/{_quoted(name)}", "@type": "Thing", "name": name}
    return [entity | ({"description": told} if told else {})]


def _license(facts: Mapping[str, str]) -> list[Entity]:
    """The license of the data: a URL, or the id of the SPDX list."""
    name = facts.get("license")
    if not name:
        return []
    url = name if "://" in name else f"https://spdx.org/licenses/{_quoted(name)}"
    return [{"@id": url, "@type": "CreativeWork", "name": name, "description": f"license {name}"}]
