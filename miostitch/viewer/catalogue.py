"""What lies in a folder: sessions that files describe or that were found, and results.

Everything that is listed has a number, by which the page asks for it: it never sends a path.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from miostitch.batch.discovery import FoundSession
from miostitch.batch.proposal import Proposal, find_proposals, find_session_files, write_new
from miostitch.batch.session import stitch_options
from miostitch.config.session_file import SessionFile, load_session
from miostitch.errors import InputError, MiostitchError, MissingInputError
from miostitch.execution.products import REPORT, STORE, SUMMARY
from miostitch.execution.results import read_summary
from miostitch.recording.files import (
    ReadOptions,
    RecordingFiles,
    Segment,
    StrPath,
    recordings_of,
    segment_paths,
)
from miostitch.store.reader import Store
from miostitch.text import printable

LISTED = ("frames", "intact", "damaged", "doubtful", "not_received")  # of the summary of a result


@dataclass(frozen=True)
class ListedSession:
    """A session that a file describes, or one that was found and has none yet."""

    path: str  # Its session file, or where one would be written
    name: str
    recordings: Sequence[RecordingFiles]
    reading: ReadOptions
    file: SessionFile | None = None
    found: FoundSession | None = None
    text: str = ""  # Of the session file that is proposed
    problem: str = ""  # Why its file cannot be used

    @classmethod
    def described(cls, path: str) -> "ListedSession":
        """The session of a session file."""
        unread = ReadOptions(need_table=False)
        try:
            file = load_session(path)
            reading = replace(stitch_options(file).reading, need_table=False)
        except MiostitchError as error:
            name = os.path.basename(os.path.dirname(path))
            return cls(path, name, (), unread, problem=printable(str(error)))
        return cls(path, file.name, recordings_of(file), reading, file)

    @classmethod
    def proposed(cls, made: Proposal) -> "ListedSession":
        """A session that no file describes."""
        recordings = [
            RecordingFiles(tuple(Segment(p.video, p.table) for p in each.segments), each.name)
            for each in made.session.receivers
        ]
        unread = ReadOptions(need_table=False)
        return cls(made.path, made.session.name, recordings, unread, None, made.session, made.text)


@dataclass(frozen=True)
class ListedRecording:
    """A recording of a session."""

    session: ListedSession
    files: RecordingFiles


@dataclass(frozen=True)
class ListedResult:
    """A store, and the report next to it."""

    path: str

    @property
    def report(self) -> str | None:
        """Its quality report, if there is one."""
        path = self.path.removesuffix(STORE) + REPORT
        return path if os.path.isfile(path) else None


Listed = ListedSession | ListedRecording | ListedResult


class Catalogue:
    """The sessions and results in a folder, each with a number that it keeps."""

    def __init__(self, folder: str) -> None:
        if not os.path.isdir(folder):
            raise MissingInputError(f"{folder}: no such folder; check the path")
        self.folder = os.path.abspath(folder)
        self._listed: dict[int, Listed] = {}
        self._numbers: dict[tuple[str, ...], int] = {}
        self._lock = Lock()

    def __getitem__(self, number: int) -> Listed:
        """What was listed under a number.

        Raises
        ------
        MissingInputError
            Nothing was.
        """
        with self._lock:
            if number in self._listed:
                return self._listed[number]
        raise MissingInputError("this is not listed any more; look at the folder again")

    def look(self) -> dict[str, Any]:
        """List what there is now, as JSON values."""
        sessions, notes = self._find_sessions()
        stems = [stem for each in sessions if each.file for stem in each.file.stems]
        stores = {stem + STORE for stem in stems if os.path.isdir(stem + STORE)}
        paths = sorted({*stores, *_find_stores(self.folder)})
        results = [each for path in paths if (each := self._describe_result(path))]
        with self._lock:
            return {
                "folder": printable(self.folder),
                "sessions": [self._describe_session(each) for each in sessions],
                "results": results,
                "notes": [*map(printable, notes)],
            }

    def files(self, number: int) -> tuple[list[StrPath], ReadOptions]:
        """What is opened of something listed, and how it is read."""
        match self[number]:
            case ListedSession() as session:
                return [*session.recordings], session.reading
            case ListedRecording(session, files):
                return [files], session.reading
            case ListedResult(path):
                return [path], ReadOptions(need_table=False)

    def write_file(self, number: int) -> ListedSession:
        """Write the session file that is proposed for a session."""
        session = self[number]
        if not isinstance(session, ListedSession) or session.found is None:
            raise MissingInputError("only a session without a session file can get one")
        write_new(session.path, session.text)
        return session

    def name_within(self, path: str) -> str:
        """A path as it is seen from the folder, complete where it is outside."""
        inside = path.startswith(os.path.join(self.folder, ""))
        return printable(os.path.relpath(path, self.folder) if inside else path)

    def _find_sessions(self) -> tuple[list[ListedSession], list[str]]:
        described = [ListedSession.described(path) for path in find_session_files(self.folder)]
        try:
            made, notes = find_proposals([self.folder])
        except InputError as error:
            return described, [] if described else [str(error)]
        new = [ListedSession.proposed(each) for each in made if each.state == "proposed"]
        return [*described, *new], notes

    def _number(self, listed: Listed, *key: str) -> int:
        number = self._numbers.setdefault(key, len(self._numbers))
        self._listed[number] = listed
        return number

    def _describe_session(self, session: ListedSession) -> dict[str, Any]:
        number = self._number(session, "session", session.path)
        about = {
            "id": number,
            "name": printable(session.name),
            "file": self.name_within(session.path),
            "described": session.found is None,
            "problem": session.problem,
            "receivers": [
                {
                    "id": self._number(
                        ListedRecording(session, files), "recording", session.path, files.name
                    ),
                    "name": printable(files.name),
                    "segments": len(files.segments),
                }
                for files in session.recordings
            ],
        }
        if session.file is not None:
            options = session.file.options
            about["by"], about["denoise"] = options.by or "frame", options.denoise
            about["output"] = printable(session.file.output)
            about["finished"] = os.path.isfile(session.file.stems[-1] + SUMMARY)
        if session.found is not None:
            about["questions"] = [*map(printable, session.found.questions)]
            about["start"] = session.found.start.isoformat(timespec="seconds")
            about["duration_s"] = round(session.found.duration_s, 1)
        return about

    def _describe_result(self, path: str) -> dict[str, Any] | None:
        """What is known of a store; None if it is none of ours."""
        try:
            store = Store.open(path)
        except MiostitchError:
            return None
        summary = read_summary(path)
        result = ListedResult(path)
        with self._lock:
            number = self._number(result, "result", path)
        return {
            "id": number,
            "name": printable(Path(path).name.removesuffix(STORE)),
            "path": self.name_within(path),
            "warnings": len(summary.get("warnings", [])),
            "report": result.report is not None,
            **{name: summary[name] for name in LISTED if name in summary},
            "frames": store.frames,
            "size": f"{store.width} x {store.height}",
        }


def file_state(names: Sequence[StrPath]) -> list[tuple[int, int]]:
    """What changes when one of some files or stores is replaced."""
    try:
        found = [os.stat(path) for name in names for path in segment_paths(name)]
    except OSError as error:
        raise MissingInputError(f"{error.filename}: cannot be opened: {error.strerror}") from error
    return [(each.st_ino, each.st_mtime_ns) for each in found]


def _find_stores(folder: str) -> Iterator[str]:
    for place, below, _ in os.walk(folder):
        yield from (os.path.join(place, name) for name in below if name.endswith(STORE))
        below[:] = [n for n in below if not n.startswith(".") and not n.endswith(STORE)]
