"""Models of the denoise configuration: every setting with its meaning, range and default.

Keys, values and header are those of mio 0.12.1, so that its files load unchanged;
``flicker_correction`` is ours. Unknown keys, values of another type and values out of range, which
mio ignores, are refused.
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from miostitch.config.thresholds import THRESHOLDS, ScoreConfig

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Detector = Literal["gradient", "black_area"]
Detectors = Annotated[tuple[Detector, ...], Field(strict=False, min_length=1)]
Index = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=0, le=65_535)]

_SPELLINGS = {"output_min_proj": "output_min_projection"}
"""Keys that mio's files spell otherwise than its own model does."""

NO_EFFECT = "Accepted for mio's files; has no effect here."
MAX_SHOWN = 60  # Most characters of a wrong value or key in a message


class Block(BaseModel):
    """Settings that belong together; immutable, and strict about names, types and ranges."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _an_empty_block_is_the_default(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        return default if value is None and isinstance(default, Block) else value


class Header(Block):
    """What identifies a configuration that can stand in a file of its own."""

    id: str | None = Field(default=None, description="Name of this configuration.")
    mio_model: str | None = Field(
        default=None, description="What mio calls this kind of configuration."
    )
    mio_version: str | None = Field(default=None, description="Version of mio it was made with.")
    description: str | None = Field(default=None, description="What it is for, in one line.")

    @field_validator("mio_model")
    @classmethod
    def _this_kind(cls, value: str | None) -> str | None:
        if value is not None and kind(value) != cls.__name__:
            msg = f"this is another kind of configuration; a {cls.__name__} is needed"
            raise ValueError(msg)
        return value


class GradientDetectorConfig(Block):
    """Detector of scattered pixels."""

    threshold: float = Field(
        default=ScoreConfig.gradient_threshold,
        ge=THRESHOLDS["gradient_threshold"][0],
        description="A row whose mean absolute second difference exceeds this is noisy.",
    )


class BlackAreaDetectorConfig(Block):
    """Detector of runs of black pixels."""

    consecutive_threshold: int = Field(
        default=ScoreConfig.consecutive_threshold,
        ge=THRESHOLDS["consecutive_threshold"][0],
        description="A row with a run of at least this many black pixels is black.",
    )
    value_threshold: int = Field(
        default=ScoreConfig.value_threshold,
        ge=THRESHOLDS["value_threshold"][0],
        le=THRESHOLDS["value_threshold"][1],
        description="A pixel at or below this gray value is black.",
    )
    min_rows: int = Field(
        default=1,
        ge=1,
        description="A frame with at least this many black rows is noisy; "
        "about 10 where the field itself is dark in places.",
    )


class NoisePatchConfig(Block):
    """Stage 1: leave out frames that look damaged."""

    enable: bool = Field(default=True, description="Whether the stage is on.")
    method: Detectors = Field(
        default=("gradient", "black_area"), description="Detectors; one that says noisy is enough."
    )
    output_result: bool = Field(default=False, description="Write the frames that were kept.")
    output_noise_patch: bool = Field(default=False, description="Write a video of the noisy rows.")
    output_noisy_frames: bool = Field(
        default=True, description="Write the frames that were left out."
    )
    gradient_config: GradientDetectorConfig = Field(
        default=GradientDetectorConfig(), description="Rows of scattered pixels."
    )
    black_area_config: BlackAreaDetectorConfig = Field(
        default=BlackAreaDetectorConfig(), description="Rows with runs of black pixels."
    )

    def score_config(self) -> ScoreConfig:
        """Thresholds of the noise scores."""
        return ScoreConfig(
            value_threshold=self.black_area_config.value_threshold,
            consecutive_threshold=self.black_area_config.consecutive_threshold,
            gradient_threshold=self.gradient_config.threshold,
        )


class FlickerCorrectionConfig(Block):
    """Stage 2: subtract what all pixels of a frame, or of a row, change by; mio has none such."""

    enable: bool = Field(default=True, description="Whether the stage is on.")
    rows: bool = Field(
        default=True, description="Correct the brightness of every row against its frame's."
    )
    frames: bool = Field(default=True, description="Correct the brightness of every frame.")
    output_result: bool = Field(default=False, description="Write the corrected frames.")

    @field_validator("frames")
    @classmethod
    def _something_to_correct(cls, value: bool, info: ValidationInfo) -> bool:
        if info.data.get("enable") and not (value or info.data.get("rows")):
            msg = "rows or frames must be true; to turn the stage off, set enable: false"
            raise ValueError(msg)
        return value


class FrequencyMaskingConfig(Header):
    """Stage 3: filter stripes, which are lines through the centre of a frame's spectrum."""

    enable: bool = Field(default=True, description="Whether the stage is on.")
    cast_float32: bool = Field(default=True, description=NO_EFFECT)
    spatial_LPF_cutoff_radius: Pixels = Field(
        default=15,
        description="Frequencies up to this radius, in pixels of the spectrum, "
        "pass in spite of the two bands below.",
    )
    vertical_BEF_cutoff: Pixels = Field(
        default=5,
        description="Half the width, in pixels of the spectrum, of the vertical band taken out.",
    )
    horizontal_BEF_cutoff: Pixels = Field(
        default=0,
        description="Half the height, in pixels of the spectrum, of the horizontal band taken out.",
    )
    output_result: bool = Field(default=False, description="Write the filtered frames.")
    output_mask: bool = Field(
        default=False, description="Write the mask of the spectrum as an image."
    )
    output_freq_domain: bool = Field(default=False, description="Write the spectra as a video.")


class MinimumProjectionConfig(Block):
    """Stage 4: subtract the background, the minimum of every pixel over all frames."""

    enable: bool = Field(default=True, description="Whether the stage is on.")
    normalize: bool = Field(default=True, description="Stretch the result to gray values 0 to 255.")
    output_result: bool = Field(default=False, description="Write the frames without background.")
    output_min_projection: bool = Field(
        default=False,
        validation_alias=AliasChoices("output_min_projection", *_SPELLINGS),
        description="Write the background as an image; output_min_proj, as mio's files "
        "spell it, is the same.",
    )


class InteractiveDisplayConfig(Block):
    """Windows that mio opens while it runs; miostitch opens none."""

    show_videos: bool = Field(default=False, description=NO_EFFECT)
    start_frame: Index | None = Field(default=None, description=NO_EFFECT)
    end_frame: Annotated[int, Field(ge=-1)] | None = Field(default=None, description=NO_EFFECT)
    display_freq_mask: bool = Field(default=False, description=NO_EFFECT)


class DenoiseConfig(Header):
    """How to denoise a recording; a stage that is not named, or is null, is off."""

    end_frame: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Last frame to process, counted from 0; -1 or null: to the end."
    )
    output_result: bool = Field(default=True, description="Write the result of all stages.")
    output_dir: str | None = Field(
        default=None, min_length=1, description="Folder to write to; the option -o wins."
    )
    noise_patch: NoisePatchConfig = Field(
        default=NoisePatchConfig(enable=False),
        description="Stage 1: leave out frames that look damaged.",
    )
    flicker_correction: FlickerCorrectionConfig = Field(
        default=FlickerCorrectionConfig(enable=False),
        description="Stage 2: subtract changes of brightness that a frame or a row shares.",
    )
    frequency_masking: FrequencyMaskingConfig = Field(
        default=FrequencyMaskingConfig(enable=False), description="Stage 3: filter stripes."
    )
    minimum_projection: MinimumProjectionConfig = Field(
        default=MinimumProjectionConfig(enable=False),
        description="Stage 4: subtract the background.",
    )
    interactive_display: InteractiveDisplayConfig = Field(
        default=InteractiveDisplayConfig(), description=NO_EFFECT
    )

    @property
    def notices(self) -> list[str]:
        """Effects that these values do not have, though a user may expect them."""
        shown = self.interactive_display
        found = [
            f"interactive_display.{name} has no effect: miostitch opens no windows"
            for name in ("show_videos", "display_freq_mask")
            if getattr(shown, name)
        ]
        if self.end_frame == 0:
            found.append("end_frame 0 is the first frame alone, where mio takes all; -1: all")
        return found

    def score_config(self) -> ScoreConfig:
        """Thresholds of the noise scores, also where the stage itself is off."""
        return self.noise_patch.score_config()


class Setting(NamedTuple):
    """One line of a configuration; of a block, ``value`` is the block itself."""

    key: tuple[str, ...]
    value: Any
    default: Any
    allowed: str
    doc: str


class Problem(NamedTuple):
    """A wrong value or key, and its path."""

    key: tuple[str | int, ...]
    what: str


AnyBlock = TypeVar("AnyBlock", bound=Block)


def settings(block: Block, key: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Go through a block and the blocks inside it, in the order of a file."""
    allowed = _allowed_in(type(block))
    for name, about in type(block).model_fields.items():
        value = getattr(block, name)
        doc = str(about.description)
        yield Setting((*key, name), value, about.default, allowed[name], doc)
        if isinstance(value, Block):
            yield from settings(value, (*key, name))


def described(config: DenoiseConfig) -> dict[str, Any]:
    """Describe a configuration and its settings as JSON values."""
    about = [
        {"key": ".".join(key), "default": default, "allowed": allowed, "description": doc}
        for key, value, default, allowed, doc in settings(config)
        if not isinstance(value, Block)
    ]
    return {"config": config.model_dump(), "settings": about, "notices": config.notices}


def kind(mio_model: object) -> str:
    """Name of the kind of configuration, without that of mio's module."""
    return str(mio_model).rpartition(".")[2]


def checked(model: type[AnyBlock], value: dict[str, Any]) -> AnyBlock | list[Problem]:
    """Make a block of plain values, or list what is wrong with them."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
    # a list whose only item is wrong counts as empty, too
    around = {each["loc"][:end] for each in found for end in range(len(each["loc"]))}
    problems = [
        Problem(each["loc"], _problem(model, each)) for each in found if each["loc"] not in around
    ]
    return [*{each.what: each for each in problems}.values()]


def _problem(model: type[Block], error: "ErrorDetails") -> str:
    *around, name = _key_of(model, error["loc"])
    block = model
    for part in around:
        block = type(block.model_fields[part].default)
    if error["type"] == "extra_forbidden":
        if (field := _SPELLINGS.get(name)) in block.model_fields:
            return f"key {name!r} is another spelling of {field!r}; keep one"
        return f"unknown key {_shown(name)}{_suggest(model, block, name)}"
    if error["type"] == "value_error":
        wrong = str(error["ctx"]["error"])
    else:
        allowed = _allowed_in(block)[_SPELLINGS.get(name, name)]
        quotes = "text" in allowed and isinstance(error["input"], int | float)
        wrong = f"{allowed} is needed{'; put it in quotes' if quotes else ''}"
    return f"{'.'.join([*around, name])}: {_shown(error['input'])}: {wrong}"


def _key_of(model: type[Block], location: tuple[str | int, ...]) -> list[str]:
    """The names in the place of an error, up to the setting that has it: unions add their kinds."""
    key: list[str] = []
    block: type[Block] | None = model
    for part in location:
        if block is None or not isinstance(part, str):
            continue
        key.append(part)
        field = block.model_fields.get(part)
        block = type(field.default) if field and isinstance(field.default, Block) else None
    return key


def _suggest(model: type[Block], block: type[Block], name: str) -> str:
    """Suggest for an unknown key the block that has it, or a key of nearly that name."""
    homes = [each.key[:-1] for each in settings(model()) if each.key[-1] == name]
    if homes:
        return f"; it belongs {' or '.join(_place(h) for h in homes)}"
    return did_you_mean(name, [*block.model_fields])


def _place(block: tuple[str, ...]) -> str:
    return f"in {'.'.join(block)}" if block else "at the top"


def did_you_mean(name: str, known: list[str]) -> str:
    """Suggest the most similar known name, or else all."""
    close = get_close_matches(name[:MAX_SHOWN], known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


@cache
def _allowed_in(block: type[Block]) -> dict[str, str]:
    """Allowed values of each key of a block, in words."""
    schemas = block.model_json_schema()["properties"]
    return {name: _allowed(schema) for name, schema in schemas.items()}


def _allowed(schema: dict[str, Any]) -> str:
    """Describe in words what a JSON schema allows."""
    match schema:
        case {"anyOf": list(options)}:
            # in an order of their own: Python knows unions that were named before in another one
            return " or ".join(
                sorted(map(_allowed, options), key=lambda each: (each == "null", each))
            )
        case {"enum": list(names)}:
            return " or ".join(map(str, names))
        case {"const": value}:
            return str(value)
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "null"}:
            return "null"
        case {"type": "string", "minLength": _}:
            return "text that is not empty"
        case {"type": "string"}:
            return "text"
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"a whole number from {least} to {most}"
        case {"type": "integer", "minimum": least}:
            return f"a whole number >= {least}"
        case {"type": "integer"}:
            return "a whole number"
        case {"type": "object"}:
            return "a block of names"
        case {"type": "number", "minimum": least}:
            return f"a finite number >= {least:g}"
        case {"type": "array", "items": {"enum": list(names)}}:
            return f"a list of {', '.join(names)}"
        case {"type": "array"}:
            return "a list"
    return "a block of keys"
