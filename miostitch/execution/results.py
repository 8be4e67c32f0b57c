"""What runs found and did: the types of ``S.json`` and of what ``--json`` prints.

What a field means is said next to it, and nowhere else: ``docs/reference/summary.md`` shows it. A
field with a default is left out of the JSON where it has that value.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_type_hints

from miostitch.errors import InputError, ResourceError

JSON = Mapping[str, Any]
"""A JSON object as it was read, or as it is passed through."""

Span = tuple[int, int]

OWN_DIGEST = "digest"
"""Key of the last field of a summary: BLAKE2 of its text with this field empty."""


class Result:
    """Something that is told as a JSON object; its subclasses are frozen dataclasses."""

    def to_json(self) -> dict[str, Any]:
        """All fields in their order, as JSON values."""
        values = {each: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]
        return {f.name: _to_json(value) for f, value in values.items() if value != f.default}

    @classmethod
    def from_json(cls, found: JSON) -> Self:
        """Read what :meth:`to_json` gave."""
        hints = get_type_hints(cls)
        known = {name: value for name, value in found.items() if name in hints}
        try:
            return cls(**{name: _from_json(hints[name], value) for name, value in known.items()})
        except TypeError as error:
            raise InputError(f"this is no {cls.__name__}: {error}") from error


def _to_json(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _to_json(each) for name, each in value.items()}
    return [*map(_to_json, value)] if isinstance(value, list | tuple) else value


def _from_json(hint: Any, value: Any) -> Any:
    """Make results of the objects in a value that should be of a type."""
    if isinstance(value, list):
        return [_from_json(hint, each) for each in value]
    made = next((each for each in _classes(hint) if issubclass(each, Result)), None)
    return made.from_json(value) if made and isinstance(value, Mapping) else value


def _classes(hint: Any) -> list[type]:
    """All classes that a type is built of."""
    parts = [part for argument in get_args(hint) for part in _classes(argument)]
    return [hint, *parts] if isinstance(hint, type) else parts


@dataclass(frozen=True)
class LostFrames(Result):
    """Frames that are left out because files are damaged."""

    file: Annotated[str, "the file that is damaged"]
    frames: Annotated[Span, "first and last position in the video"]
    frame_num: Annotated[Span | None, "of these two; null: not known"]
    byte: Annotated[int | None, "where in the file the damage begins; null: unknown"]
    why: Annotated[str, "what happened to them"]


Notices = Annotated[list[str], "what a user should know, most severe first"]
Errors = Annotated[list[str], "what a stitch would refuse"]
Notes = Annotated[list[str], "what is usual; `stitch` prints it with `-v`"]
Fps = Annotated[str | None, "frame rate of the video file, as `20` or `30000/1001`"]
MeasuredFps = Annotated[
    float | None, "frames per s by the device's counter and the clock; absent: unknown"
]
RunSpans = Annotated[
    list[Span], "of each run of the device between restarts: its lowest and highest `frame_num`"
]
Lost = Annotated[list[LostFrames], "with `--salvage`: what is left out as damaged"]
Resumed = Annotated[int, "blocks that an interrupted run had finished, not computed again"]
Versions = Annotated[JSON, "versions of miostitch and of the libraries that write files"]
Digests = Annotated[JSON, "of every other product, by its ending: `digest` and `size`; see below"]
Outputs = Annotated[list[str], "full paths of all files and folders written"]
FilledFrames = Annotated[
    int | None, "frames of a regular time base that no receiver has; absent: it is not regular"
]
Epochs = Annotated[
    list[Span] | None, "of the same: first and last frame of each part that has every tick"
]
OwnDigest = Annotated[str | None, "BLAKE2b of the text of this file with an empty digest here"]


@dataclass(frozen=True)
class RepairedCell(Result):
    """A header cell that was repaired."""

    table: Annotated[str, "path of the table"]
    row: Annotated[int, "from 0, without the header line"]
    column: Annotated[str, "name of the column"]
    old: Annotated[int, "value as recorded"]
    new: Annotated[int, "value after repair"]
    evidence: Annotated[str, "who voted for the new value"]


@dataclass(frozen=True)
class DroppedLine(Result):
    """A faulty line of a table."""

    table: Annotated[str, "path of the table"]
    line: Annotated[int, "from 1"]
    why: Annotated[str, "what is wrong with it"]


@dataclass(frozen=True)
class InputPlace(Result):
    """Where an input is."""

    path: Annotated[str, "the full path"]
    relative_path: Annotated[str, "the same from the folder of the result"]


@dataclass(frozen=True)
class RecordingSummary(Result):
    """What a recording gave to a stitch."""

    path: Annotated[str, "its video, or the first of its segments: the full path"]
    relative_path: Annotated[str, "the same from the folder of the result"]
    segments: Annotated[list[InputPlace], "where each of its videos is, in their order"]
    name: Annotated[str, "the name that stands in the store"]
    frames: Annotated[int, "frames of the result that it has a candidate for"]
    unidentified: Annotated[int, "frames of its video whose rows have no valid `frame_num`"]
    buffers_lost: Annotated[int, "buffers of these `frames` that it did not receive"]
    lag: Annotated[int, "the lag that was applied"]
    measured_lag: Annotated[int | None, "the lag that was measured; null: inconclusive"]
    lag_evidence: Annotated[str, "what the measured lag rests on"]
    repairs: Annotated[int, "header cells repaired"]
    repaired_cells: Annotated[list[RepairedCell], "the first 1000 of them"]
    lost_frames: Lost
    dropped_rows: Annotated[int, "rows of its tables that were dropped as faulty"]
    dropped_lines: Annotated[list[DroppedLine], "the first 1000 of them"]
    offset_s: Annotated[float | None, "s that its clock is ahead of the first one's; null: unknown"]
    offset_at_s: Annotated[float | None, "when that was so, on its own clock; a drift changes it"]
    drift_ppm: Annotated[float | None, "how much faster its clock runs, in millionths"]
    noise_share: Annotated[float, "share of the pixels of its candidates that lie in noisy rows"]
    chosen: Annotated[int, "frames of the result that are this recording's bit for bit; see below"]
    sole: Annotated[int, "frames of the result that it alone has"]
    only_complete: Annotated[int, "frames of the result that it alone received completely"]
    complete: Annotated[int, "of `frames`, those of which it received every buffer completely"]
    buffers_given: Annotated[int | None, "by buffer: those taken from it, all or most of it"] = None
    sole_buffers: Annotated[int | None, "by buffer: of these, those that it alone has"] = None
    fps: Fps = None
    measured_fps: MeasuredFps = None
    tables: Annotated[
        list[InputPlace] | None, "where its tables are, if not next to its videos under their names"
    ] = None


@dataclass(frozen=True)
class StitchSummary(Result):
    """``S.json`` of a stitch."""

    frames: Annotated[int, "frames of the result"]
    frame_num: Annotated[Span, "`frame_num` of the first and of the last frame"]
    intact: Annotated[int, "frames that are complete and not noisy"]
    incomplete: Annotated[int, "frames with missing pixels"]
    noisy: Annotated[int, "complete frames with noisy rows"]
    damaged: Annotated[int, "frames that are incomplete or noisy"]
    unrecoverable: Annotated[int, "frames with buffers that no receiver got complete"]
    not_received: Annotated[int, "frames of which no receiver got anything"]
    missing_pixels: Annotated[int, "missing pixels of all frames"]
    lost_frame_num: Annotated[list[Span], "`frame_num` not received, run by run: first, last"]
    dropped_frame_num: Annotated[
        list[int], "frames left out by `--drop-damaged` and `--min-confidence`"
    ]
    composed: Annotated[int, "frames that equal no single recording's frame; 0 by frame"]
    shared_buffers: Annotated[int, "buffers that several receivers got complete"]
    identical_shared_buffers: Annotated[int, "of these, those that are the same bit for bit"]
    recordings: Annotated[list[RecordingSummary], "one for each recording, in the order given"]
    warnings: Notices
    notes: Notes
    resumed_blocks: Resumed
    config: Annotated[JSON, "the options that decide the result, as `StitchOptions` names them"]
    versions: Versions
    digests: Digests
    outputs: Outputs
    digest: OwnDigest = field(default=None, kw_only=True)
    reused: Annotated[bool, "of a workflow: true where it was an earlier run that stitched"] = False
    fps: Fps = None
    measured_fps: MeasuredFps = None
    frame_num_runs: RunSpans | None = None
    certain: Annotated[int | None, "frames with a confidence of at least 0.95"] = None
    doubtful: Annotated[int | None, "intact frames with a confidence below 0.5"] = None
    dropped_uncertain: Annotated[
        int, "of the frames left out, those by `--min-confidence` alone; absent: none"
    ] = 0

    @property
    def by_frame(self) -> bool:
        """Whether each frame is that of one receiver."""
        return bool(self.config["by"] == "frame")


@dataclass(frozen=True)
class OriginSummary(Result):
    """A file that frames of an edit are from."""

    path: Annotated[str, "a video or a store: the full path"]
    relative_path: Annotated[str, "the same from the folder of the result"]
    frames: Annotated[int, "how many it has"]
    lag: Annotated[int, "the lag that was applied"]
    repair: Annotated[bool, "false: flipped headers of its table were left as received"] = True
    table: Annotated[InputPlace | None, "its table, if not next to it under its name"] = None


@dataclass(frozen=True)
class HistoryStep(Result):
    """A step of a history, but for those of denoising."""

    step: Annotated[
        str,
        "`stitch`, `lag`, `trim`, `remove_frames`, `select` (by `isel` or `sel`: runs of frames), "
        "`concat`, `regularize` or `export`",
    ]
    parameters: Annotated[JSON, "how; of a stitch as `config` above"]
    recordings: Annotated[list[str] | None, "of a stitch: their names"] = None
    frames_before: Annotated[int | None, "but of a stitch: frames before the step"] = None
    frames_after: Annotated[int | None, "but of a stitch: frames after it"] = None


@dataclass(frozen=True)
class EditSummary(Result):
    """``S.json`` of an edit."""

    frames: Annotated[int, "frames of the result"]
    history: Annotated[list[JSON], "every step since the recording was made; see below"]
    origins: Annotated[list[OriginSummary], "every file that frames are from"]
    origin_frames: Annotated[
        list[list[int]],
        "runs of the frames that were taken: number in `origins`, first, last",
    ]
    inputs: Annotated[list[JSON], "`name`, `size` in bytes, `digest` of every recorded file"]
    lost_frames: Lost
    warnings: Notices
    resumed_blocks: Resumed
    versions: Versions
    digests: Digests
    outputs: Outputs
    filled_frames: FilledFrames = field(default=None, kw_only=True)
    epochs: Epochs = field(default=None, kw_only=True)
    regular_frames: Annotated[
        list[Span] | None,
        "of `regularize`: first and last position in the time base, of each run of frames",
    ] = field(default=None, kw_only=True)
    digest: OwnDigest = field(default=None, kw_only=True)


@dataclass(frozen=True)
class DenoiseSummary(EditSummary):
    """``S_denoised.json``: that of an edit, and what denoising did."""

    frames_before: Annotated[int, "frames up to `end_frame`, if any, without lost ones"]
    dropped_frames: Annotated[list[int], "positions, in what was denoised, of frames left out"]
    dropped_frame_num: Annotated[list[int], "their `frame_num`, of those that have one"]
    kept_frame_num: Annotated[list[Span], "runs of `frame_num` that were kept: first and last"]
    config: Annotated[JSON, "the configuration with all its defaults"]
    dropped_as: Annotated[
        JSON | None,
        "frames left out for `noise`, for `black areas`, for `both`; absent: no stage",
    ] = field(default=None, kw_only=True)
    notices: Annotated[list[str], "settings of the configuration that do not do what one may think"]


@dataclass(frozen=True)
class TrimStep(Result):
    """The step ``trim`` of a workflow, which is not written on its own."""

    start: Annotated[int, "frames left out at the start"]
    end: Annotated[int, "frames left out at the end"]
    frames_before: Annotated[int, "frames before trimming"]
    frames: Annotated[int, "frames after it"]
    warnings: Annotated[list[str], "none"]
    outputs: Annotated[list[str], "none"]


@dataclass(frozen=True)
class WorkflowSummary(Result):
    """What a workflow did."""

    frames: Annotated[int, "frames of the result"]
    steps: Annotated[list[JSON], "the summaries of the steps, each with its name as `step`"]
    warnings: Annotated[list[str], "those of all steps"]
    outputs: Annotated[list[str], "those of all steps"]


@dataclass(frozen=True)
class ReceiverOutcome(Result):
    """What a receiver gave to a session of a batch."""

    name: Annotated[str, "its name"]
    lag: Annotated[int, "the lag that was applied"]
    lost: Annotated[float | None, "share of the buffers of all frames that it lacks; null: unknown"]


@dataclass(frozen=True)
class SessionOutcome(Result):
    """What became of a session of a batch."""

    name: Annotated[str, "name of the session"]
    file: Annotated[str, "its session file: the full path"]
    state: Annotated[str, "`done`, `unchanged`, `failed`, `interrupted` or `not begun`"]
    exit_code: Annotated[int, "that of the same run on its own"]
    error: Annotated[str | None, "why it failed"] = None
    start: Annotated[str | None, "when its first frame was made, in UTC"] = None
    duration_s: Annotated[float | None, "from the first to the last frame, in s"] = None
    frames: Annotated[int | None, "frames of the stitched result"] = None
    intact: Annotated[int | None, "frames that are complete and not noisy"] = None
    doubtful: Annotated[int | None, "intact frames of which it is doubtful"] = None
    damaged: Annotated[int | None, "frames that are incomplete or noisy"] = None
    not_received: Annotated[int | None, "frames of which no receiver got anything"] = None
    denoised: Annotated[int | None, "frames of the denoised result"] = None
    agreement: Annotated[float | None, "share of the shared buffers that are identical"] = None
    receivers: Annotated[list[ReceiverOutcome] | None, "one for each receiver"] = None
    battery: Annotated[int | None, "battery voltage at the end, as the device sent it"] = None
    warnings: Annotated[list[str] | None, "those of its run"] = None
    report: Annotated[str | None, "its quality report: the full path"] = None

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.exit_code or self.warnings)


@dataclass(frozen=True)
class BatchSummary(Result):
    """What became of a batch."""

    sessions: Annotated[list[SessionOutcome], "one for each session, in their order"]
    attention: Annotated[int, "sessions that failed or have warnings"]
    outputs: Annotated[list[str], "paths of `batch.csv` and `batch.html`"]


@dataclass(frozen=True)
class LagEvidence(Result):
    """What a measured lag rests on: missing buffers that are black, or shared identical ones."""

    compared_with: Annotated[str | None, "the recording that shares buffers"] = None
    shared_buffers: Annotated[int | None, "buffers that both have"] = None
    identical_at_that_lag: Annotated[int | None, "of these, identical at the lag"] = None
    identical_at_lag_0: Annotated[int | None, "and at lag 0"] = None
    missing_buffers: Annotated[int | None, "buffers that the table lacks"] = None
    black_at_that_lag: Annotated[int | None, "of these, black at the lag"] = None
    black_at_lag_0: Annotated[int | None, "and at lag 0"] = None


@dataclass(frozen=True)
class InspectedTable(Result):
    """What a table says; ``rows`` and ``frame_num`` alone where no ``frame_num`` is valid."""

    rows: Annotated[int, "its rows"]
    frame_num: Annotated[Span | None, "the least and the greatest; null: none is valid"]
    frame_num_runs: RunSpans | None = None
    orphan_rows: Annotated[int | None, "rows that belong to no frame"] = None
    lost_frames: Annotated[int | None, "numbers that are missing in these runs"] = None
    repeated_frames: Annotated[int | None, "frames whose number another has too"] = None
    buffers_per_frame: Annotated[int | None, "buffers that make a frame"] = None
    received_frames: Annotated[int | None, "frames received, each counted once"] = None
    incomplete_frames: Annotated[int | None, "of these, those not received completely"] = None
    buffers_lost: Annotated[int | None, "buffers of these frames that were not received"] = None
    repairable_cells: Annotated[int | None, "flipped header cells that a run repairs"] = None
    padded_pixels: Annotated[int | None, "zeros appended to short buffers"] = None


@dataclass(frozen=True)
class InspectedRecording(Result):
    """What a recording is."""

    path: Annotated[str, "its video, or the first of its segments"]
    segments: Annotated[int, "the number of its files"]
    frames: Annotated[int, "frames of the video"]
    height: Annotated[int, "rows of a frame"]
    width: Annotated[int, "columns of a frame"]
    fps: Annotated[str, "frame rate, as `20` or `30000/1001`"]
    duration_s: Annotated[float, "of the video, in s"]
    codec: Annotated[str, "how frames are stored"]
    lossy: Annotated[bool, "whether pixels are not exactly those that were recorded"]
    lag: Annotated[int | None, "frames by which the video is behind its table; null: unknown"]
    lag_evidence: Annotated[LagEvidence, "what that rests on"]
    table: Annotated[InspectedTable | None, "what the table says; null: there is none"]
    errors: Errors
    warnings: Notices
    notes: Notes


@dataclass(frozen=True)
class SessionMember(Result):
    """A recording among the others."""

    path: Annotated[str, "its video, or the first of its segments"]
    frames: Annotated[int, "frames of the result that it has"]
    only_here: Annotated[int, "frames that it alone has"]
    offset_s: Annotated[float | None, "how far its clock is ahead of the first recording's, in s"]
    drift_ppm: Annotated[float | None, "how much faster its clock runs, in millionths"]


@dataclass(frozen=True)
class InspectedSession(Result):
    """What recordings are to each other."""

    frames: Annotated[int, "frames that a stitch would give"]
    seen_by_all: Annotated[int, "those that every recording has"]
    lost_frame_num: Annotated[int, "numbers that no recording has"]
    repeated_frame_num: Annotated[int, "numbers that stand in several frames of a recording"]
    boots: Annotated[int, "runs of the device, from one restart to the next"]
    frame_num_runs: RunSpans
    recordings: Annotated[list[SessionMember], "one for each recording"]
    errors: Errors
    warnings: Notices
    notes: Notes


@dataclass(frozen=True)
class FailedSession(Result):
    """Recordings that cannot be stitched."""

    error: Annotated[str, "why"]


@dataclass(frozen=True)
class InspectSummary(Result):
    """What a run would meet."""

    recordings: Annotated[list[InspectedRecording], "one for each recording"]
    session: Annotated[InspectedSession | FailedSession | None, "null: one alone, or no table"]

    @property
    def usable(self) -> bool:
        """Whether no error was found, of one recording or of all together."""
        if isinstance(self.session, FailedSession) or any(r.errors for r in self.recordings):
            return False
        return self.session is None or not self.session.errors


@dataclass(frozen=True)
class DoctorCheck(Result):
    """Something that a run needs of a machine."""

    name: Annotated[str, "what was looked at"]
    found: Annotated[str, "what it is like"]
    problem: Annotated[str | None, "what is wrong with it, and what to do; absent: nothing"] = None


@dataclass(frozen=True)
class DoctorSummary(Result):
    """What a machine and a folder give a run."""

    checks: Annotated[list[DoctorCheck], "one for each thing that was looked at"]


@dataclass(frozen=True)
class NoiseSummary(Result):
    """What a noise table counts."""

    path: Annotated[str, "the video or the store"]
    frames: Annotated[int, "its frames"]
    noisy_frames: Annotated[int, "frames with a noisy row"]
    black_frames: Annotated[int, "frames with at least `min_rows` black rows"]
    lost_frames: Lost
    output: Annotated[str, "the table"]


@dataclass(frozen=True)
class ScoreSummary(Result):
    """The noise tables of recordings."""

    recordings: Annotated[list[NoiseSummary], "one for each recording"]
    config: Annotated[JSON, "the thresholds"]


@dataclass(frozen=True)
class ExportSummary(Result):
    """What was exported."""

    kind: Annotated[str, "what `--to` named"]
    frames: Annotated[int, "frames that were exported"]
    duration_s: Annotated[float, "between the first and the last of them"]
    lost_frames: Lost
    warnings: Notices
    notes: Annotated[list[str], "what is exported otherwise than the files say"]
    outputs: Outputs
    filled_frames: FilledFrames = None
    epochs: Epochs = None


@dataclass(frozen=True)
class AlignTimesSummary(Result):
    """How the frames of a recording and of a behaviour camera belong together."""

    frames: Annotated[int, "frames of the recording"]
    camera_frames: Annotated[int, "frames of the camera"]
    offset_s: Annotated[float | None, "by which the camera's clock is ahead; null: no events"]
    drift_ppm: Annotated[float | None, "how much faster it runs; null: fewer than two events"]
    events: Annotated[int, "shared events that were fitted"]
    worst_event_s: Annotated[float | None, "distance of the worst event from the fit"]
    median_error_s: Annotated[float, "median distance of a frame from its nearest camera frame"]
    worst_error_s: Annotated[float, "largest such distance"]
    frames_outside: Annotated[int, "frames made before the camera's first or after its last one"]
    warnings: Notices
    outputs: Outputs


def write_summary(path: Path, summary: Result | JSON) -> str:
    """Write a summary as JSON, and a digest of its own text as the last field.

    Returns: The digest.
    """
    facts = summary.to_json() if isinstance(summary, Result) else summary
    text = json.dumps({**facts, OWN_DIGEST: ""}, indent=1) + "\n"
    digest = blake2b(text.encode()).hexdigest()
    try:
        path.write_bytes(_with_digest(text.encode(), "", digest))
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error
    return digest


def is_as_written(text: bytes, summary: JSON) -> bool:
    """Whether the text of a summary is what was written, by the digest that it has.

    Older summaries have none; then at least no field may be unknown.
    """
    if OWN_DIGEST not in summary:
        kinds = (StitchSummary, EditSummary, DenoiseSummary)
        return summary.keys() <= {each.name for kind in kinds for each in fields(kind)}
    digest = summary[OWN_DIGEST]
    if not isinstance(digest, str) or not digest.isalnum():
        return False
    return blake2b(_with_digest(text, digest, "")).hexdigest() == digest


def _with_digest(text: bytes, old: str, new: str) -> bytes:
    """The text of a summary with another digest in its last field."""
    before, found, after = text.rpartition(f'"{OWN_DIGEST}": "{old}"'.encode())
    return found and before + f'"{OWN_DIGEST}": "{new}"'.encode() + after


def load_summary(path: Path) -> JSON:
    """Read a summary of whatever run; nothing where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}; restore or remove it") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no summary of ours; restore or remove it")
    return found


def read_summary(product: str) -> JSON:
    """The summary next to a product; nothing where there is none that can be read."""
    with suppress(InputError):
        found = load_summary(Path(product).with_suffix(".json"))
        if _is_ours(found):  # any other program may have written a .json
            return found
    return {}


def _is_ours(found: JSON) -> bool:
    """Whether a summary has the form of ours, as far as it is believed without being checked."""
    outputs, recordings = found.get("outputs"), found.get("recordings", [])
    history, config = found.get("history", []), found.get("config", {})
    steps: list[Any] = history if isinstance(history, list) else [None]
    return (
        isinstance(outputs, list)
        and all(isinstance(each, str) for each in outputs)
        and isinstance(config, dict)
        and isinstance(recordings, list)
        and ("config" not in found or "history" in found or "recordings" in found)
        and all(isinstance(r, dict) and isinstance(r.get("name", ""), str) for r in recordings)
        and all(isinstance(step, dict) and isinstance(step.get("step"), str) for step in steps)
        and all(isinstance(step.get("parameters", {}), dict) for step in steps)
    )
