"""Session files for the sessions that were found; nothing that exists is written over."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, Self

from miostitch.batch.discovery import FoundSession, Receiver, discover
from miostitch.batch.files import Pair
from miostitch.config.choices import is_session_file
from miostitch.config.session_file import load_session
from miostitch.config.strict_yaml import scalar_text
from miostitch.errors import ConfigError, OutputExistsError, ResourceError, UsageError
from miostitch.text import printable

FILE = "session.yml"
WIDTH = 96
REST = """output: stitched
options: {}
# options: {by: buffer, denoise: denoise_example, trim: {start: 100, end: 20}}
"""
ABOUT = """# recording:
#   start: "2026-01-31T09:30:00+01:00"
#   description: what was done
#   indicator: GCaMP6f
#   location: CA1
#   experimenter: Last, First
#   institution: where
# behaviour:
#   - {name: camera, timestamps: camera.csv, column: time, unit: ms}
"""


@dataclass(frozen=True)
class Proposal:
    """A session file for a session, and whether it was written."""

    path: str
    session: FoundSession
    text: str
    state: str  # ``written``, ``proposed`` or ``exists``

    @property
    def as_written(self) -> Self:
        """The same once it is written."""
        return replace(self, state="written") if self.state == "proposed" else self


def propose(
    folders: Sequence[str], output: str | None = None, *, dry_run: bool = False
) -> dict[str, Any]:
    """Find the sessions in folders and write a file for each; see ``miostitch init``."""
    made, notes = find_proposals(folders, output)
    for each in made:
        if each.state == "proposed" and not dry_run:
            write_new(each.path, each.text)
    written = [each if dry_run else each.as_written for each in made]
    return {"sessions": [*map(_to_json, written)], "left_out": [*map(printable, notes)]}


def find_proposals(
    folders: Sequence[str], output: str | None = None
) -> tuple[list[Proposal], list[str]]:
    """Find the sessions in folders, with a file for each that has none; and what is left out."""
    sessions, notes = discover(folders)
    known = _described_videos(folders)
    new = [session for session in sessions if not _is_described(session, known)]
    if output is not None and is_session_file(output) and len(new) > 1:
        msg = f"{output}: {len(new)} sessions were found, and a file describes one"
        raise UsageError(f"{msg}; leave -o out, or name a folder")
    if output is not None and is_session_file(output) and os.path.lexists(output):
        raise OutputExistsError(f"{output}: exists; choose another name, or edit that file")
    paths = dict(zip(map(id, new), _places(new, output), strict=True))
    made = []
    for session in sessions:
        path = paths.get(id(session))
        if path is None:
            where = next(f for f, videos in known.items() if videos & _videos(session))
            made.append(Proposal(where, session, "", "exists"))
        else:
            text = session_text(session, os.path.dirname(path))
            made.append(Proposal(path, session, text, "proposed"))
    return made, notes


def session_text(session: FoundSession, folder: str) -> str:
    """A session file, with what to check as comments."""
    lines = ["# Proposed by miostitch init; check it, then: miostitch batch THIS_FILE"]
    for question in session.questions:
        lines += [f"# {line}" for line in wrap(f"question: {question}", WIDTH)]
    lines += ["miostitch: 1", f"name: {scalar_text(session.name)}", "receivers:"]
    for receiver in session.receivers:
        lines += [f"  {scalar_text(receiver.name)}:", *_segment_lines(receiver, folder)]
    text = "\n".join(lines) + "\n" + REST
    if session.subject:
        text += f"subject: {{subject_id: {_quoted(session.subject)}}}\n"
    else:
        text += "# subject: {subject_id: m1, species: Mus musculus, sex: F, age: P90D}\n"
    return text + ABOUT


def _segment_lines(receiver: Receiver, folder: str) -> list[str]:
    lines = []
    for pair in receiver.segments:
        video, table = (_quoted(os.path.relpath(p, folder)) for p in (pair.video, pair.table))
        if pair.is_near:
            lines += [f"    # {line}" for line in wrap(f"question: {pair.question}", WIDTH)]
            lines.append(f"    - {{video: {video}, table: {table}}}")
        else:
            lines.append(f"    - {video}")
    return lines


def _quoted(text: str) -> str:
    """A text as YAML, whatever it looks like."""
    return scalar_text(text)


def _videos(session: FoundSession) -> set[str]:
    return {os.path.realpath(pair.video) for pair in session.pairs}


def _is_described(session: FoundSession, known: dict[str, set[str]]) -> bool:
    return any(videos & _videos(session) for videos in known.values())


def _described_videos(folders: Sequence[str]) -> dict[str, set[str]]:
    """The videos of each session file that is there already."""
    found = {}
    for folder in folders:
        for path in find_session_files(folder):
            try:
                session = load_session(path)
            except ConfigError:
                continue  # which batch will report
            segments = [each for part in session.receivers.values() for each in part]
            found[path] = {os.path.realpath(each.video) for each in segments}
    return found


def find_session_files(folder: str) -> list[str]:
    """The session files below a folder: YAML that says that it is one."""
    found = []
    for place, below, names in os.walk(folder):
        below[:] = sorted(n for n in below if not n.startswith(".") and not n.endswith(".zarr"))
        for name in sorted(filter(is_session_file, names)):
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                head = file.read(4096)
            if any(line.startswith(b"miostitch:") for line in head.splitlines()):
                found.append(path)
    return found


def _places(sessions: Sequence[FoundSession], output: str | None) -> list[str]:
    """Where each file goes: next to its recordings, by its name where several would meet."""
    if output is not None and is_session_file(output):
        return [os.path.abspath(output) for _ in sessions]
    folders = [os.path.abspath(output or session.folder) for session in sessions]
    paths = []
    for session, folder in zip(sessions, folders, strict=True):
        path = os.path.join(folder, FILE)
        if folders.count(folder) > 1 or os.path.lexists(path) or output is not None:
            path = os.path.join(folder, f"{session.name}.yml")
        number = 2
        while os.path.lexists(path) or path in paths:
            path = os.path.join(folder, f"{session.name}_{number}.yml")
            number += 1
        paths.append(path)
    return paths


def write_new(path: str, text: str) -> None:
    """Write a file that must not be there yet."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except FileExistsError as error:
        raise OutputExistsError(f"{path}: exists; choose another name, or edit it") from error
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error


def _to_json(made: Proposal) -> dict[str, Any]:
    session = made.session
    return {
        "path": printable(made.path),
        "state": made.state,
        "name": printable(session.name),
        "subject": printable(session.subject) or None,
        "start": session.start.isoformat(timespec="seconds"),
        "duration_s": round(session.duration_s, 1),
        "receivers": [
            {
                "name": printable(receiver.name),
                "segments": [_pair_json(pair) for pair in receiver.segments],
                "frames": receiver.frames,
            }
            for receiver in session.receivers
        ],
        "questions": [*map(printable, session.questions)],
        "text": made.text,
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {"video": printable(pair.video), "table": printable(pair.table), "near": pair.is_near}
