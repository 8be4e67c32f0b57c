"""The file that describes one session: its receivers, options, animal and other cameras.

Strict as configurations are: an unknown key, a value of another type and a value out of range are
errors that name the line. Paths are relative to the file.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from miostitch.config.choices import require_name
from miostitch.config.files import MAX_PROBLEMS
from miostitch.config.models import AnyBlock, Block, Problem, checked
from miostitch.config.strict_yaml import MAX_BYTES, Document, read_yaml
from miostitch.errors import ConfigError, MissingInputError, UsageError

OUTPUT = "stitched"
VERSION = 1


class Trim(Block):
    """Frames to remove before denoising."""

    start: int = Field(default=0, ge=0, description="Frames to remove from the start.")
    end: int = Field(default=0, ge=0, description="Frames to remove from the end.")


class SessionOptions(Block):
    """Options of the command line; those that are given there win."""

    by: Literal["frame", "buffer"] | None = Field(
        default=None,
        description="frame: the best receiver's frame; buffer: combined from all receivers.",
    )
    select: Literal["rule", "confidence"] | None = Field(
        default=None,
        description="By frame, which frame is the best: by the rule of mio, or by confidence.",
    )
    lag: Literal["auto"] | int | None = Field(
        default=None, description="Frames by which each video is behind its table."
    )
    align: Literal["auto", "frame-num", "time"] | None = Field(
        default=None, description="How frames of the receivers are matched."
    )
    max_gap: float | None = Field(
        default=None, ge=0, description="With align: time, largest time difference of a match in s."
    )
    denoise: str | None = Field(
        default=None,
        min_length=1,
        description="Configuration to denoise with: an id of config list, or a file. Its noise "
        "thresholds are also those of stitching.",
    )
    trim: Trim = Field(default=Trim(), description="Frames to remove before denoising.")
    drop_damaged: bool | None = Field(default=None, description="Leave damaged frames out.")
    min_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Leave out frames that are exact with a lower probability.",
    )
    unrecoverable_video: bool | None = Field(
        default=None, description="Also write a video of the frames that no receiver got complete."
    )
    keep_clocks: bool | None = Field(
        default=None, description="Keep times on each receiver's own clock."
    )
    debug_video: bool | None = Field(
        default=None, description="Also write a video of the receivers side by side."
    )
    codec: Literal["rawvideo", "ffv1"] | None = Field(
        default=None, description="Codec of the .avi."
    )
    no_avi: bool | None = Field(
        default=None, description="Write no .avi; the store has the frames."
    )
    zarr_format: Literal[2, 3] | None = Field(
        default=None, description="Version of the store's format; 2 for minian or CaImAn."
    )
    chunk_frames: int | None = Field(
        default=None, ge=1, description="Frames per chunk of the store."
    )
    max_frame_pixels: int | None = Field(
        default=None, ge=1, description="Refuse videos with larger frames."
    )
    salvage: bool | None = Field(
        default=None, description="Use the part where video and table agree, if not everywhere."
    )
    repair: bool | None = Field(
        default=None, description="Correct bit errors in buffer headers where that is certain."
    )
    strict: bool | None = Field(
        default=None, description="Stop with exit code 3 if the result is in doubt."
    )
    report: bool | None = Field(default=None, description="Write the quality report.")
    crate: bool | None = Field(
        default=None, description="Describe the results in ro-crate-metadata.json."
    )


class Subject(Block):
    """The animal, in NWB's words."""

    subject_id: str | None = Field(default=None, min_length=1, description="Id of the animal.")
    species: str | None = Field(default=None, min_length=1, description="Its species in Latin.")
    sex: Literal["M", "F", "U", "O"] | None = Field(
        default=None, description="Its sex, U if unknown."
    )
    age: str | None = Field(default=None, min_length=1, description="Its age, as P90D.")


class RecordingFacts(Block):
    """What was recorded, in NWB's words."""

    start: str | None = Field(
        default=None, min_length=1, description="Start, as 2026-01-31T09:30:00+01:00."
    )
    description: str | None = Field(default=None, min_length=1, description="What was done.")
    indicator: str | None = Field(
        default=None, min_length=1, description="The indicator, as GCaMP6f."
    )
    location: str | None = Field(default=None, min_length=1, description="The brain area, as CA1.")
    experimenter: str | None = Field(
        default=None, min_length=1, description="Who recorded, as Last, First."
    )
    institution: str | None = Field(default=None, min_length=1, description="Where.")
    license: str | None = Field(
        default=None,
        min_length=1,
        description="License of the data, as CC-BY-4.0 (an id of the SPDX list) or its URL; stands "
        "in ro-crate-metadata.json.",
    )

    @field_validator("start")
    @classmethod
    def _a_time_with_its_zone(cls, value: str | None) -> str | None:
        try:
            zone = value is None or datetime.fromisoformat(value).tzinfo
        except ValueError:
            zone = None
        if not zone:
            msg = "a time with its offset from UTC is needed, as 2026-01-31T09:30:00+01:00"
            raise ValueError(msg)
        return value


class Behaviour(Block):
    """The timestamps of another camera or device."""

    name: str = Field(default="", min_length=1, description="How it is called; needed.")
    timestamps: str = Field(
        default="", min_length=1, description="Table with the time of each of its frames; needed."
    )
    column: str | None = Field(
        default=None,
        min_length=1,
        description="Column of the times (default: the only one, or one of a usual name).",
    )
    unit: Literal["s", "ms"] = Field(default="s", description="Unit of the times.")
    events: str | None = Field(
        default=None,
        min_length=1,
        description="Table of shared events, as align-times takes it (default: Unix times).",
    )

    @property
    def files(self) -> dict[str, str]:
        """The tables that it names, by their keys."""
        named = {"timestamps": self.timestamps, "events": self.events}
        return {key: path for key, path in named.items() if path is not None}


class SessionModel(Block):
    """All keys of a session file."""

    miostitch: Literal[1] = Field(default=1, description="Version of this format; needed.")
    name: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the products (default: that of the file; of session.yml, its folder).",
    )
    receivers: dict[str, Any] = Field(
        default={},
        description="For each receiver its name and its segments in order: each the path of a "
        "video, or video: and table:.",
    )
    output: str = Field(default=OUTPUT, min_length=1, description="Folder of the results.")
    options: SessionOptions = Field(default=SessionOptions(), description="How to stitch.")
    subject: Subject = Field(default=Subject(), description="The animal.")
    recording: RecordingFacts = Field(default=RecordingFacts(), description="What was recorded.")
    behaviour: list[Any] = Field(
        default=[], description="Timestamps of other cameras: a list of blocks."
    )


@dataclass(frozen=True)
class SessionSegment:
    """A video of a receiver, and its table where that is named."""

    video: str
    table: str = ""


@dataclass(frozen=True)
class SessionFile:
    """A session as its file describes it; paths are complete."""

    path: str
    name: str
    receivers: Mapping[str, tuple[SessionSegment, ...]]
    output: str
    options: SessionOptions
    subject: Subject
    recording: RecordingFacts
    behaviour: tuple[Behaviour, ...]

    @property
    def choices(self) -> dict[str, Any]:
        """The options that are given, as the command line calls them."""
        found = self.options.model_dump(exclude_none=True, exclude={"trim", "denoise"})
        trim = {name: value for name, value in self.options.trim if value}
        denoise = self.options.denoise
        return found | trim | ({} if denoise is None else {"config": denoise})

    @property
    def stems(self) -> list[str]:
        """Its results without an ending: the stitched one and, where asked for, the denoised."""
        stem = str(Path(self.output, self.name))
        trimmed = "_trimmed" if any(frames for _, frames in self.options.trim) else ""
        return [stem, *([f"{stem}{trimmed}_denoised"] if self.options.denoise else [])]

    @property
    def facts(self) -> dict[str, Any]:
        """What it says of the session besides files and options, as JSON values."""
        blocks = {"subject": self.subject, "recording": self.recording}
        found = {name: block.model_dump(exclude_none=True) for name, block in blocks.items()}
        behaviour = [
            each.model_dump(exclude_none=True)
            | {k: os.path.relpath(p, os.path.dirname(self.path)) for k, p in each.files.items()}
            for each in self.behaviour
        ]
        return {"name": self.name} | {
            name: value for name, value in {**found, "behaviour": behaviour}.items() if value
        }


def load_session(path: str | os.PathLike[str]) -> SessionFile:
    """Read a session file.

    Raises
    ------
    MissingInputError
        There is none.
    ConfigError
        It is not what it should be.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise MissingInputError(f"{name}: no such session file; miostitch init writes one")
    with open(name, "rb") as file:
        document = read_yaml(file.read(MAX_BYTES + 1), name)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{name}: line 1: keys with values are needed, such as 'receivers:'")
    return _Reader(document).read(document.value)


class _Reader:
    """Checks a document block by block, and collects all that is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.folder = os.path.dirname(os.path.abspath(document.name))
        self.problems: list[Problem] = []

    def read(self, value: dict[str, Any]) -> SessionFile:
        """The session, or all problems at once."""
        top = self._check(SessionModel, value, ())
        if "miostitch" not in value:
            self._refuse((), "miostitch: is missing; write miostitch: 1 at the top")
        receivers = dict(self._receivers(value.get("receivers")))
        behaviour = [*self._behaviour(value.get("behaviour"))]
        name = (top.name if top else None) or self._default_name()
        try:
            require_name(name)
        except UsageError as error:
            self._refuse(("name",), str(error))
        if self.problems or top is None:
            raise ConfigError(self._listed())
        options = top.options
        if options.denoise and os.path.exists(self._path(options.denoise)):
            options = options.model_copy(update={"denoise": self._path(options.denoise)})
        if any(value for _, value in options.trim) and options.denoise is None:
            line = self.document.line(("options", "trim"))
            msg = "options.trim: trims what is denoised; name a configuration as denoise"
            raise ConfigError(f"{self.document.name}: line {line}: {msg}")
        return SessionFile(
            os.path.abspath(self.document.name),
            name,
            receivers,
            self._path(top.output),
            options,
            top.subject,
            top.recording,
            tuple(behaviour),
        )

    def _check(
        self, model: type[AnyBlock], value: dict[str, Any], key: tuple[str | int, ...]
    ) -> AnyBlock | None:
        found = checked(model, value)
        if not isinstance(found, list):
            return found
        where = f"{key[0]}: " if key else ""
        self.problems += [Problem((*key, *each.key), where + each.what) for each in found]
        return None

    def _refuse(self, key: tuple[str | int, ...], what: str) -> None:
        self.problems.append(Problem(key, what))

    def _path(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.folder, os.path.expanduser(path)))

    def _default_name(self) -> str:
        stem = Path(self.document.name).stem
        return os.path.basename(self.folder) or stem if stem == "session" else stem

    def _receivers(self, value: Any) -> Iterator[tuple[str, tuple[SessionSegment, ...]]]:
        if not isinstance(value, dict) or not value:
            self._refuse(
                ("receivers",), "receivers: name one at least, and the list of its segments"
            )
            return
        for name, segments in value.items():
            key = ("receivers", name)
            listed = segments if isinstance(segments, list) else [segments]
            found = [self._segment(each, (*key, n)) for n, each in enumerate(listed)]
            if not name.strip() or not found:
                self._refuse(key, f"receivers.{name}: a name and a segment at least are needed")
            yield name, tuple(each for each in found if each is not None)

    def _segment(self, value: Any, key: tuple[str | int, ...]) -> SessionSegment | None:
        """A path, or the paths of a video and of its table."""
        parts = {"video": value} if isinstance(value, str) else value
        if isinstance(parts, dict) and "video" in parts and parts.keys() <= {"video", "table"}:
            paths = {name: path for name, path in parts.items() if isinstance(path, str) and path}
            if len(paths) == len(parts):
                return SessionSegment(**{name: self._path(path) for name, path in paths.items()})
        where = ".".join(map(str, key[:2]))
        self._refuse(key, f"{where}: a segment must be the path of a video, or video: and table:")
        return None

    def _behaviour(self, value: Any) -> Iterator[Behaviour]:
        for number, each in enumerate(value if isinstance(value, list) else []):
            key = ("behaviour", number)
            if not isinstance(each, dict) or not {"name", "timestamps"} <= each.keys():
                self._refuse(key, "behaviour: each needs name: and timestamps:")
            elif found := self._check(Behaviour, each, key):
                files = {name: self._path(path) for name, path in found.files.items()}
                yield found.model_copy(update=files)

    def _listed(self) -> str:
        name = self.document.name
        lines = [
            f"{name}: line {line}: {what}"
            for line, what in sorted((self.document.line(p.key), p.what) for p in self.problems)
        ]
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS:] = [f"{name}: and {len(lines) - MAX_PROBLEMS} more"]
        return "\n".join(lines)
