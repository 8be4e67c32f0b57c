"""Compares the summary of a stitch, and how frames were brought together, with what was found."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.schema import COMPOSITE, EVIDENCE, NO_FRAME, REPAIRED_COLUMNS
from miostitch.verify.findings import LISTED, Kind
from miostitch.verify.result import Result

Ints = NDArray[np.int64]
REPORTED_REPAIRS = 1000
SINGLE = EVIDENCE.index("single")


def check_alignment(result: Result) -> None:
    """Check that every frame of the recordings is in the result or accounted for."""
    number, found = result.frames.get("frame_num"), result.scores.get("source_frame")
    if number is None or found is None:
        return
    for at, recording in enumerate(result.recordings):
        if recording is None:
            continue
        name, frames = result.names[at], found.values[at]
        beyond = found.sound & ((frames >= recording.firsts[-1]) | (frames < NO_FRAME))
        _tell(result, beyond, lambda f, n=name, v=frames: f"{n} has no picture {v[f]}")
        there = np.flatnonzero(found.sound & number.sound & (result.source_frame[at] != NO_FRAME))
        own = np.full(len(frames), NO_FRAME)
        own[there] = recording.facts.frame_num[frames[there]]
        wrong = np.zeros(len(frames), bool)
        wrong[there] = own[there] != number.values[there]
        if result.config.get("align") == "time":  # counters may have started apart
            wrong[there] = own[there] == NO_FRAME
        _tell(
            result,
            wrong,
            lambda f, n=name, v=frames, o=own: (
                f"picture {v[f]} of {n} has frame_num {o[f]}, the frame {number.values[f]}"
            ),
        )
        first = np.zeros(len(frames), bool)
        first[there[np.unique(frames[there], return_index=True)[1]]] = True
        again = np.zeros(len(frames), bool)
        again[there] = ~first[there]
        _tell(result, again, lambda f, n=name, v=frames: f"picture {v[f]} of {n} is used twice")
        _check_left(result, at)
    nobody = found.sound & (found.values == NO_FRAME).all(axis=0)
    _tell(result, nobody, lambda f: "no recording has it")


def _tell(result: Result, wrong: NDArray[np.bool_], message: Any) -> None:
    places = np.flatnonzero(wrong)
    file = result.store.path.name
    for frame in places[:LISTED].tolist():
        result.findings.add(
            Kind.ALIGNMENT, file, message(frame), frame=frame, column="scores/source_frame"
        )
    result.findings.more(Kind.ALIGNMENT, max(0, len(places) - LISTED))


def _check_left(result: Result, at: int) -> None:
    """Look for pictures that should be candidates."""
    recording = result.recordings[at]
    assert recording is not None
    facts, name, file = recording.facts, result.names[at], result.store.path.name
    taken = result.source_frame[at]
    pieces, of = result.pieces[at]
    kept = taken[of]
    better = facts.num_buffers[pieces].astype(int) - facts.num_buffers[kept]
    wrong = (better > 0) | ((better == 0) & (pieces < kept))
    for piece, frame in zip(pieces[wrong][:LISTED].tolist(), of[wrong].tolist(), strict=False):
        told = f"picture {piece} of {name} has more of it than {taken[frame]}"
        result.findings.add(Kind.ALIGNMENT, file, told, frame=frame, column="scores/source_frame")
    known = facts.frame_num >= 0
    dropped = _numbers(result.summary.get("dropped_frame_num"))
    if result.config.get("align") == "time":
        known &= facts.received.any(axis=1)  # without a time a picture is left out
        known &= not len(dropped)  # which counts by another recording's counter
    known[taken[taken != NO_FRAME]] = False
    known[pieces] = False
    known &= ~np.isin(facts.frame_num, dropped)
    for picture in np.flatnonzero(known)[:LISTED].tolist():
        told = f"picture {picture} of {name} (frame_num {facts.frame_num[picture]}) is in no frame"
        result.findings.add(Kind.ALIGNMENT, file, told)
    result.findings.more(Kind.ALIGNMENT, max(0, int(known.sum()) - LISTED))


def _numbers(found: Any) -> Ints:
    return np.array(
        [n for n in found if isinstance(n, int)] if isinstance(found, list) else [], int
    )


def check_summary(result: Result, shared: Ints | None) -> None:
    """Compare ``S.json`` with the store and the recordings."""
    expected: dict[str, Any] = {"frames": result.store.shape[0], "config": result.config}
    frames = {n: r.values for n, r in result.frames.items() if r.sound.all()}
    number = frames.get("frame_num")
    if number is not None and len(number):
        expected["frame_num"] = [int(number[0]), int(number[-1])]
        lost = lost_numbers(result, number)
        if lost is not None:
            expected["lost_frame_num"] = lost
    for name in ("damaged", "unrecoverable", "missing_pixels"):
        if name in frames:
            expected[name] = int(frames[name].sum())
    if "source" in frames:
        expected["composed"] = int((frames["source"] == COMPOSITE).sum())
    if shared is not None:
        expected["shared_buffers"], expected["identical_shared_buffers"] = shared.tolist()
    _compare(result, "", result.summary, expected)
    told = result.told
    if len(told) != len(result.names):
        _wrong(result, "recordings", f"is not a list of {len(result.names)}")
        return
    for at, each in enumerate(told):
        facts = _facts(result, at, frames.get("source"))
        _compare(result, f"recordings[{at}].", each, facts)


def lost_numbers(result: Result, number: Ints) -> list[list[int]] | None:
    """Ranges of ``frame_num`` that nobody saw, boot by boot; None where boots cannot be told."""
    falls = np.flatnonzero(np.diff(number) <= 0) + 1
    if result.config.get("drop_damaged") or (len(falls) and result.config.get("align") == "time"):
        return None
    lost = []
    for part in np.split(number, falls):
        holes = np.flatnonzero(np.diff(part) > 1)
        lost += [[int(part[i]) + 1, int(part[i + 1]) - 1] for i in holes]
    return lost


def _facts(result: Result, at: int, source: NDArray[Any] | None) -> dict[str, Any]:
    """What the summary should say of a recording."""
    found, recording = result.scores.get("source_frame"), result.recordings[at : at + 1]
    expected: dict[str, Any] = {"name": result.names[at]}
    if found is not None and found.sound.all():
        present = found.values != NO_FRAME
        expected["frames"] = int(present[at].sum())
        expected["sole"] = int((present[at] & (present.sum(axis=0) == 1)).sum())
        noisy = result.scores.get("noisy_pixels")
        if noisy is not None and noisy.sound.all():
            _, height, width = result.store.shape
            share = noisy.values[at][present[at]].sum() / max(present[at].sum() * height * width, 1)
            expected["noise_share"] = round(float(share), 6)
    if source is not None:
        expected["chosen"] = int((source == at).sum())
    names = ("buffer_source", "buffer_evidence")
    if result.composed and {*names} <= result.composition.keys():
        gave, evidence = (result.composition[n].values for n in names)
        expected["buffers_given"] = int((gave == at).sum())
        expected["sole_buffers"] = int(((gave == at) & (evidence == SINGLE)).sum())
    if recording and recording[0] is not None:
        facts = recording[0].facts
        expected["unidentified"] = int(((facts.frame_num < 0) & (facts.num_rows > 0)).sum())
        joined = result.config.get("align") == "frame-num"  # across the boots that it counts apart
        if not result.summary.get("dropped_frame_num") and not joined:
            expected["buffers_lost"] = _buffers_lost(result, at)
    if result.complete:
        expected["only_complete"] = _only_complete(result, at)
    return expected | _repairs(result, at)


def _buffers_lost(result: Result, at: int) -> int:
    recording = result.recordings[at]
    assert recording is not None
    frames = np.flatnonzero(result.source_frame[at] != NO_FRAME)
    received = np.zeros((result.store.shape[0], len(result.bounds) - 1), bool)
    received[frames] = recording.facts.received[result.source_frame[at, frames]]
    pieces, of = result.pieces[at]
    np.logical_or.at(received, of, recording.facts.received[pieces])
    return int((~received[frames]).sum())


def _only_complete(result: Result, at: int) -> int:
    whole = np.zeros(result.source_frame.shape, bool)
    for number, (recording, frames) in enumerate(
        zip(result.recordings, result.source_frame, strict=True)
    ):
        assert recording is not None
        there = frames != NO_FRAME
        whole[number, there] = recording.facts.whole[frames[there]].all(axis=1)
    return int((whole[at] & (whole.sum(axis=0) == 1)).sum())


def _repairs(result: Result, at: int) -> dict[str, Any]:
    """What the summary should say of repaired cells."""
    reads = {
        n: result.store.read(f"repairs/{n}") for n in ("recording", "row", "column", "old", "new")
    }
    if "repairs" not in result.store.groups:
        return {"repairs": 0, "repaired_cells": []}
    if not all(read is not None and read.sound.all() for read in reads.values()):
        return {}
    cells = {name: read.values for name, read in reads.items() if read is not None}
    if len({len(values) for values in cells.values()}) > 1:
        return {}
    mine = np.flatnonzero(cells["recording"] == at)
    shown = [
        {
            "row": int(cells["row"][i]),
            "column": REPAIRED_COLUMNS[min(cells["column"][i], len(REPAIRED_COLUMNS) - 1)],
            "old": int(cells["old"][i]),
            "new": int(cells["new"][i]),
        }
        for i in mine[:REPORTED_REPAIRS]
    ]
    return {"repairs": len(mine), "repaired_cells": shown}


def _compare(result: Result, prefix: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        told = found.get(name)
        if name == "repaired_cells" and isinstance(told, list):
            keys = ("row", "column", "old", "new")
            told = [{k: cell.get(k) for k in keys} for cell in told if isinstance(cell, dict)]
        if told != value:
            short = "differ from those in the store" if name == "repaired_cells" else None
            _wrong(result, prefix + name, short or f"is {told!r}, not {value!r}")


def _wrong(result: Result, name: str, message: str) -> None:
    file = result.path(".json").name
    result.findings.add(Kind.SUMMARY, file, f"{name} {message}", column=name)
