"""How to stitch: the options of a whole run, and those of a lazy result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from miostitch.config.choices import require_name, require_probability
from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError
from miostitch.recording.files import ReadOptions, StrPath, recording_names, stitched_stem
from miostitch.session.session import AlignOptions
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS
from miostitch.video.writer import Codec

NO_RESULT = ("name", "session", "strict", "force", "restart", "memory_limit", "report", "crate")
"""Options that change nothing in the frames and what is known of them."""


@dataclass(frozen=True)
class StitchConfig:
    """How frames are made of their candidates.

    Parameters
    ----------
    score
        Thresholds of the noise scores.
    by
        ``frame``: the best candidate; ``buffer``: composed of all of them.
    select
        By frame, which candidate is the best: ``rule``: that of mio; ``confidence``: the one that
        is exact with the highest probability, and that of the rule where none has a higher one.

    Raises
    ------
    UsageError
        There is no such way, or by buffer something is to be selected.
    """

    score: ScoreConfig = field(default_factory=ScoreConfig)
    by: Literal["frame", "buffer"] = "frame"
    select: Literal["rule", "confidence"] = "rule"

    def __post_init__(self) -> None:
        _require_ways(self.by, self.select)

    @property
    def composed(self) -> bool:
        """Whether frames are composed of several candidates."""
        return self.by == "buffer"


def _require_ways(by: str, select: str) -> None:
    """Refuse ways to stitch that there are not."""
    if by not in ("frame", "buffer"):
        raise UsageError(f"by {by!r}: must be frame or buffer")
    if select not in ("rule", "confidence"):
        raise UsageError(f"select {select!r}: must be rule or confidence")
    if by == "buffer" and select != "rule":
        msg = "by buffer no frame is selected; leave --select out, or stitch with --by frame"
        raise UsageError(msg)


@dataclass(frozen=True)
class StitchOptions:
    """How to stitch.

    Parameters
    ----------
    by
        ``frame``: the best candidate of every frame; ``buffer``: composed of all of them.
    select
        By frame, which candidate is the best; see :class:`StitchConfig`.
    score
        Thresholds of the noise scores.
    align, max_gap
        How frames of the receivers are matched; see :class:`miostitch.AlignOptions`.
    lag
        Frames by which every video lags behind its table; ``auto``: as measured for each, where
        that is conclusive, else 0.
    keep_clocks
        Leave every time on the clock of its own receiver.
    drop_damaged
        Leave damaged frames out.
    min_confidence
        Leave out frames whose confidence, the probability that they are exact, is lower; None
        keeps them all.
    unrecoverable_video
        Also write the frames with pixels that no receiver got, as ``S_unrecoverable.avi``.
    codec
        Codec of ``S.avi``: ``rawvideo`` or ``ffv1``; ``None`` for no video file.
    debug_video
        Write ``S_debug.avi``, the candidates side by side and their difference.
    zarr_format
        3, or 2 for older readers.
    chunk_frames
        Frames per chunk of the store; by default from the frame size.
    max_frame_pixels
        Refuse videos whose frames are declared larger.
    salvage
        Use the part where a table and its video agree, if they do not everywhere.
    repair
        Repair flipped headers where the redundant fields leave no doubt.
    strict
        Refuse what puts the result in doubt, such as receivers that may not belong together.
    report
        Write the quality report, ``S_report.html``.
    crate
        Describe the results of the folder in ``ro-crate-metadata.json``.
    force
        Overwrite existing results, once the new ones are complete.
    restart
        Start from scratch instead of resuming an interrupted run.
    memory_limit
        Memory that this process may use, in bytes; it bounds the threads, never the chunks.
    name
        What the products are called, without ending; by default after the recordings.
    session
        What a session file says of the session, as JSON values, for the store's attributes.
    """

    by: Literal["frame", "buffer"] = "frame"
    select: Literal["rule", "confidence"] = "rule"
    score: ScoreConfig = field(default_factory=ScoreConfig)
    align: Literal["auto", "frame-num", "time"] = "auto"
    max_gap: float | None = None
    lag: int | Literal["auto"] = "auto"
    keep_clocks: bool = False
    drop_damaged: bool = False
    min_confidence: float | None = None
    unrecoverable_video: bool = False
    codec: Codec | None = "rawvideo"
    debug_video: bool = False
    zarr_format: int = 3
    chunk_frames: int | None = None
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    salvage: bool = False
    repair: bool = True
    strict: bool = False
    report: bool = True
    crate: bool = False
    force: bool = False
    restart: bool = False
    memory_limit: int | None = None
    name: str | None = None
    session: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.codec not in {None, *get_args(Codec)}:
            raise UsageError(
                f"codec {self.codec!r}: {', '.join(get_args(Codec))} or None must be given"
            )
        if self.zarr_format not in (2, 3):
            raise UsageError(f"zarr_format {self.zarr_format}: must be 2 or 3")
        if not (self.lag == "auto" or isinstance(self.lag, int)):
            raise UsageError(f"lag {self.lag!r}: must be auto or a number of frames")
        _require_ways(self.by, self.select)
        require_name(self.name)
        require_probability("min_confidence", self.min_confidence)
        for name in ("chunk_frames", "max_frame_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} {value}: at least 1 is needed")

    @property
    def config(self) -> StitchConfig:
        """How frames are made of their candidates."""
        return StitchConfig(self.score, self.by, self.select)

    @property
    def drops(self) -> bool:
        """Whether frames may be left out for what they are."""
        return self.drop_damaged or self.min_confidence is not None

    @property
    def reading(self) -> ReadOptions:
        """How to read the inputs."""
        return ReadOptions(self.salvage, self.max_frame_pixels, repair=self.repair, lag=self.lag)

    @property
    def reading_alone(self) -> ReadOptions:
        """How to read a recording that is not stitched, and the stitched one."""
        return ReadOptions(self.salvage, self.max_frame_pixels, need_table=False)

    @property
    def aligning(self) -> AlignOptions:
        """How to align."""
        return AlignOptions(self.align, self.max_gap, one_clock=not self.keep_clocks)

    def stem(self, inputs: Sequence[StrPath]) -> str:
        """How the products of a stitch of these are called."""
        return stitched_stem(recording_names(inputs), self.name)

    @property
    def provenance(self) -> dict[str, Any]:
        """The options that decide the result, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in NO_RESULT}
