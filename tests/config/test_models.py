"""Configurations: what loads, what is refused with which words, and what comes back unchanged."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import miostitch
from miostitch import cli
from miostitch.config.files import config_text, load_config, parse_config, shipped_configs
from miostitch.config.models import Block, DenoiseConfig, FrequencyMaskingConfig, settings
from miostitch.config.strict_yaml import MAX_BYTES
from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import ConfigError

IDS = ["denoise_calcium_imaging", "denoise_example", "denoise_flicker", "denoise_patch"]
IDS += ["remove_stripe_example"]
STAGES = ["noise_patch", "frequency_masking", "minimum_projection"]
OURS = "flicker_correction"  # the stage that mio does not have

# every key that mio's files have, its misspelled one among them
AS_MIO_WRITES = """\
id: as_mio_writes
mio_model: mio.models.process.DenoiseConfig
mio_version: 0.8.2.dev54+gd5d835d7.d20251205
noise_patch:
  enable: true
  method:
  - gradient
  - black_area
  gradient_config:
    threshold: 21
  black_area_config:
    consecutive_threshold: 31
    value_threshold: 1
    min_rows: 11
  output_result: yes
  output_noise_patch: true
  output_noisy_frames: no
frequency_masking:
  id: its_filter
  mio_model: mio.models.process.FrequencyMaskingConfig
  mio_version: 0.6.1
  enable: true
  cast_float32: true
  spatial_LPF_cutoff_radius: 14
  vertical_BEF_cutoff: 3
  horizontal_BEF_cutoff: 1
  output_mask: true
  output_result: true
  output_freq_domain: true
minimum_projection:
  enable: true
  normalize: false
  output_result: true
  output_min_proj: true
interactive_display: # a comment
  show_videos: false
  start_frame: 40
  end_frame: 140
  display_freq_mask: false
end_frame: -1 #all
output_result: false
output_dir: user_data/output"""

STRIPES = """\
id: stripes
mio_model: mio.models.process.FrequencyMaskingConfig
mio_version: 0.6.1
enable: true
vertical_BEF_cutoff: 7
"""


def parsed(text: str) -> DenoiseConfig:
    return parse_config(text.encode(), "f.yml")


def on(config: DenoiseConfig) -> list[str]:
    return [stage for stage in (*STAGES, OURS) if getattr(config, stage).enable]


def refused(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as error:
        parse_config(text if isinstance(text, bytes) else text.encode(), "f.yml")
    return str(error.value)


def test_what_is_shipped() -> None:
    assert list(shipped_configs()) == IDS
    calcium, example, flicker, patch, stripe = map(load_config, IDS)
    assert on(calcium) == on(example) == STAGES
    assert on(patch) == ["noise_patch"]
    assert on(stripe) == ["frequency_masking"]
    assert on(flicker) == ["noise_patch", OURS]
    assert flicker.flicker_correction.rows
    assert flicker.flicker_correction.frames
    black = [c.noise_patch.black_area_config for c in (calcium, example, patch)]
    assert [b.consecutive_threshold for b in black] == [30, 5, 200]
    assert [b.min_rows for b in black] == [10, 1, 1]
    radii = [c.frequency_masking.spatial_LPF_cutoff_radius for c in (calcium, example, stripe)]
    assert radii == [15, 15, 5]
    assert (example.output_dir, calcium.output_dir) == ("user_data/output", None)
    assert [c.output_result for c in (calcium, example, patch)] == [True, True, False]
    assert all(config.description for config in shipped_configs().values())


def test_files_of_mio_load_unchanged() -> None:
    config = parsed(AS_MIO_WRITES)
    theirs: dict[str, Any] = yaml.safe_load(AS_MIO_WRITES)
    theirs["minimum_projection"]["output_min_projection"] = theirs["minimum_projection"].pop(
        "output_min_proj"
    )
    assert not config.flicker_correction.enable
    for setting in settings(config):
        if setting.key[0] == OURS:
            continue
        given: Any = theirs
        for name in setting.key:
            given = {} if name == "description" else given[name]
        if not isinstance(setting.value, Block) and setting.key[-1] != "description":
            value = [*setting.value] if isinstance(setting.value, tuple) else setting.value
            assert value == given, setting.key


def test_the_header_is_optional() -> None:
    lines = [
        line for line in AS_MIO_WRITES.splitlines() if "mio_" not in line and "id:" not in line
    ]
    assert on(parsed("\n".join(lines))) == STAGES


@pytest.mark.parametrize("text", [STRIPES, "vertical_BEF_cutoff: 7", "id: x\n" + STRIPES[12:]])
def test_the_stripe_filter_alone_is_that_stage_alone(text: str) -> None:
    config = parsed(text)
    assert on(config) == ["frequency_masking"]
    assert config.frequency_masking.vertical_BEF_cutoff == 7
    assert config.id == config.frequency_masking.id


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "---\n", "null", "noise_patch:", "\ufeffnoise_patch:"]
)
def test_what_is_not_said_is_off(text: str) -> None:
    assert parsed(text) == DenoiseConfig()
    assert on(parsed(text)) == []


def test_a_named_stage_has_its_defaults() -> None:
    config = parsed("noise_patch: {}\nfrequency_masking: {}\nminimum_projection: {enable: no}")
    assert on(config) == STAGES[:2]
    empty = parsed("noise_patch:\n  black_area_config:\n  gradient_config:\ninteractive_display:")
    assert empty.noise_patch == config.noise_patch


def test_a_flicker_correction_that_corrects_nothing_is_refused() -> None:
    assert on(parsed("flicker_correction: {}")) == [OURS]
    for only in ("rows", "frames"):
        other = {"rows": "frames", "frames": "rows"}[only]
        stage = parsed(f"flicker_correction: {{{other}: false}}").flicker_correction
        assert getattr(stage, only)
        assert not getattr(stage, other)
    said = refused("flicker_correction:\n  rows: false\n  frames: false")
    assert said == (
        "f.yml: line 3: flicker_correction.frames: false: rows or frames must be true; "
        "to turn the stage off, set enable: false"
    )
    assert on(parsed("flicker_correction: {enable: no, rows: no, frames: no}")) == []


def test_thresholds_of_the_scores() -> None:
    assert parsed(AS_MIO_WRITES).score_config() == ScoreConfig(1, 31, 21.0)
    assert DenoiseConfig().score_config() == ScoreConfig()


def test_notices_are_about_what_would_be_missed() -> None:
    assert [config.notices for config in shipped_configs().values()] == [[]] * len(IDS)
    shown = parsed("interactive_display: {show_videos: true}\nend_frame: 0")
    windows, first = shown.notices
    assert "show_videos" in windows
    assert "-1" in first


def test_configurations_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DenoiseConfig().output_result = False


@pytest.mark.fault(55, "unknown keys", "exit 2 with line and suggestion")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "noise_patch:\n  gradient_config:\n    treshold: 3",
            "f.yml: line 3: unknown key 'treshold'; did you mean 'threshold'?",
        ),
        (
            "noise_patch:\ngradient_config:\n  threshold: 3",
            "f.yml: line 2: unknown key 'gradient_config'; it belongs in noise_patch",
        ),
        (
            "noise_patch:\n  output_dir: x",
            "f.yml: line 2: unknown key 'output_dir'; it belongs at the top",
        ),
        (
            "minimum_projection:\n  frobnicate: 1",
            "f.yml: line 2: unknown key 'frobnicate'; known here: "
            "enable, normalize, output_result, output_min_projection",
        ),
        (
            "minimum_projection:\n  output_min_proj: true\n  output_min_projection: true",
            "f.yml: line 2: key 'output_min_proj' is another spelling of "
            "'output_min_projection'; keep one",
        ),
        (
            STRIPES + "vertical_cutoff: 3",
            "f.yml: line 6: unknown key 'vertical_cutoff'; did you mean 'vertical_BEF_cutoff'?",
        ),
    ],
)
def test_unknown_keys(text: str, message: str) -> None:
    assert refused(text) == message


@pytest.mark.fault(
    55, "NaN, no, 12:30, values out of range", "exit 2 with line and what is allowed"
)
@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("noise_patch.gradient_config.threshold", ".nan", "a finite number >= 0"),
        ("noise_patch.gradient_config.threshold", ".inf", "a finite number >= 0"),
        ("noise_patch.gradient_config.threshold", "1e999", "a finite number >= 0"),
        ("noise_patch.gradient_config.threshold", "-0.5", "a finite number >= 0"),
        ("noise_patch.gradient_config.threshold", "true", "a finite number >= 0"),
        ("noise_patch.gradient_config.threshold", '"20"', "a finite number >= 0"),
        ("noise_patch.black_area_config.value_threshold", "256", "a whole number from 0 to 255"),
        ("noise_patch.black_area_config.value_threshold", "1.0", "a whole number from 0 to 255"),
        ("noise_patch.black_area_config.min_rows", "12:30", "a whole number >= 1"),
        ("noise_patch.black_area_config.min_rows", "010", "a whole number >= 1"),
        ("noise_patch.black_area_config.min_rows", "9" * 30, "a whole number >= 1"),
        ("noise_patch.black_area_config.consecutive_threshold", "0", "a whole number >= 1"),
        ("noise_patch.method", "[gradient, mean]", "a list of gradient, black_area"),
        ("noise_patch.method", "[]", "a list of gradient, black_area"),
        ("noise_patch.enable", "1", "true or false"),
        ("noise_patch", "[1]", "a block of keys"),
        ("minimum_projection.output_min_proj", "2", "true or false"),
        ("frequency_masking.vertical_BEF_cutoff", "-1", "a whole number from 0 to 65535"),
        ("frequency_masking.mio_model", "mio.DenoiseConfig", "a FrequencyMaskingConfig"),
        ("mio_model", "mio.models.stream.StreamDevConfig", "a DenoiseConfig"),
        ("end_frame", "-2", "a whole number >= -1 or null"),
        ("output_dir", "no", "text that is not empty or null"),
        ("id", "0.5", "text or null"),
    ],
)
def test_wrong_values(key: str, value: str, allowed: str) -> None:
    *blocks, name = key.split(".")
    lines = [f"{'  ' * depth}{block}:" for depth, block in enumerate(blocks)]
    message = refused("\n".join([*lines, f"{'  ' * len(blocks)}{name}: {value}"]))
    assert message.startswith(f"f.yml: line {len(lines) + 1}: {key}: ")
    assert f"{allowed} is needed" in message
    assert ("put it in quotes" in message) == ("text" in allowed)
    assert len(message) < 200


def test_one_mistake_is_told_once() -> None:
    said = "f.yml: line 1: noise_patch.method: 'foo': a list of gradient, black_area is needed"
    assert refused("noise_patch: {method: [foo]}") == said
    assert refused("noise_patch: {method: [foo, gradient]}") == said
    assert len(refused("noise_patch: {method: [foo, bar], enable: 3}").splitlines()) == 3
    assert "[]: a list of" in refused("noise_patch: {method: []}")


def test_all_that_is_wrong_is_told_in_order() -> None:
    lines = refused("end_frame: x\noutput_result: 1\nfoo: 2").splitlines()
    assert [line.split(":")[1] for line in lines] == [" line 1", " line 2", " line 3"]
    many = refused("".join(f"key{n}: {n}\n" for n in range(30))).splitlines()
    assert len(many) == 11
    assert many[-1] == "f.yml: and 20 more"


BOMB = "a: &a [x]\n" + "".join(f"{n}: &{n} [*a, *a]\n" for n in "bcdefg")


@pytest.mark.fault(
    54, "tags, alias bomb, 20000 levels, duplicate keys", "exit 2 with line, in under 1 s"
)
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BOMB, 1, "anchors and aliases"),
        ("id: x\noutput_dir: *x", 2, "anchors and aliases"),
        ("id: x\n*x : 1", 2, "anchors and aliases"),
        ("id: x\nid: y", 2, "'id' stands here and on line 1"),
        ("noise_patch:\n  enable: true\n  enable: true", 3, "'enable' stands here and on line 2"),
        ("id: !!python/object/apply:os.system [ls]", 1, "tags"),
        ("id: !x y", 1, "tags"),
        ("a:\n  !!str b: 1", 2, "tags"),
        ("id: x\n1: 2", 2, "key that is not text"),
        ("id: x\nno: 2", 2, "key that is not text"),
        ("id: x\n? [a]\n: 2", 2, "key that is not text"),
        ("{" * 20000, 1, "key that is not text"),
        ("[" * 20000, 1, "nested deeper"),
        ("- " * 20000, 1, "nested deeper"),
        ("id: x\n---\nid: y", 2, "second document"),
        ("- id", 1, "keys with values"),
        ("id", 1, "keys with values"),
        ("id: x\nb: [", 2, "no YAML"),
        ("noise_patch:\n\tenable: true", 2, "no YAML"),
        ('id: x\nb: "\\U00110000"', 1, "no YAML"),
        ("%YAML 1." + "1" * 5000 + "\n---\nid: x", 1, "no YAML"),
        ("id: x\nb: \x01", 2, "character 0x1"),
        (b"id: x\nb: \xff", 2, "UTF-8"),
    ],
)
def test_yaml_that_is_refused(text: str | bytes, line: int, words: str) -> None:
    began = time.process_time()
    message = refused(text)
    assert time.process_time() - began < 1
    assert message.startswith(f"f.yml: line {line}: ")
    assert words in message


@pytest.mark.fault(54, "file of 1 TiB", "exit 2, 64 KiB read")
def test_large_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        load_config(path)
    assert parse_config(b"#" * MAX_BYTES, "f.yml") == DenoiseConfig()


def test_a_file_wins_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("denoise_patch").write_text("id: mine")
    Path("denoise_example").mkdir()
    assert load_config("denoise_patch").id == "mine"
    assert load_config("denoise_example").id == "denoise_example"
    for name, words in (
        ("", "'': no such file"),
        ("denoise_exampel", "did you mean 'denoise_example'"),
        ("\0", "known here"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_config(name)


def values(schema: dict[str, Any], blocks: dict[str, Any]) -> st.SearchStrategy[Any]:
    """All that a JSON schema of a model allows."""
    match schema:
        case {"$ref": str(ref)}:
            return values(blocks[ref.rpartition("/")[2]], blocks)
        case {"allOf": [dict(only)]}:  # pydantic 2.8
            return values(only, blocks)
        case {"properties": dict(inner)}:
            drawn = {name: values(each, blocks) for name, each in inner.items()}
            drawn |= {"mio_model": st.none()} if "mio_model" in drawn else {}
            return st.fixed_dictionaries({}, optional=drawn)
        case {"anyOf": list(options)}:
            return st.one_of([values(option, blocks) for option in options])
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "null"}:
            return st.none()
        case {"type": "string"}:
            texts = st.text() | st.sampled_from(
                ["no", "1e3", "0x1", "~", "<<", "a b", "a: b", "1_0"]
            )
            return texts.filter(lambda text: len(text) >= schema.get("minLength", 0))
        case {"type": "integer"}:
            return st.integers(schema["minimum"], schema.get("maximum", 10**18 - 1))
        case {"type": "number"}:
            return st.floats(schema["minimum"], allow_infinity=False)
        case {"type": "array"}:
            return st.lists(st.sampled_from(schema["items"]["enum"]), min_size=1, max_size=5)
    raise AssertionError(schema)


def corrects_something(value: dict[str, Any]) -> bool:
    """Whether a flicker correction that is on has rows or frames to correct."""
    stage = {"rows": True, "frames": True, "enable": True} | value.get(OURS, {})
    return not stage["enable"] or stage["rows"] or stage["frames"]


SCHEMA = DenoiseConfig.model_json_schema()
configs = (
    values(SCHEMA, SCHEMA["$defs"]).filter(corrects_something).map(DenoiseConfig.model_validate)
)


@given(configs)
def test_round_trips(config: DenoiseConfig) -> None:
    assert parsed(config_text(config)) == config
    assert DenoiseConfig.model_validate_json(config.model_dump_json()) == config
    assert DenoiseConfig.model_validate(config.model_dump()) == config


def loads_or_is_refused(data: bytes) -> None:
    try:
        config = parse_config(data, "f.yml")
    except ConfigError:
        return
    assert parsed(config_text(config)) == config


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    loads_or_is_refused(data)


WORDS = r"""
id noise_patch enable method : - { } [ ] , &a *a !!int ! %YAML 1.1 --- ... ' " \ \x \U
| > ? # << . e9 true null ~
"""
tokens = st.sampled_from([*WORDS.split(), *"\n\t \ufeff\x85\u2028é", ": ", "- ", "\n  "])


@given(st.lists(tokens, max_size=40).map("".join))
def test_any_tokens(text: str) -> None:
    loads_or_is_refused(text.encode())


keys = st.sampled_from([*{each.key[-1] for each in settings(DenoiseConfig())}, "output_min_proj"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(keys, trees, max_size=5))
def test_any_values_of_any_keys(value: dict[str, Any]) -> None:
    loads_or_is_refused(yaml.safe_dump(value, allow_unicode=True).encode())


def test_every_setting_is_documented() -> None:
    for setting in settings(DenoiseConfig()):
        assert setting.doc.endswith("."), setting.key
        is_block = isinstance(setting.value, Block)
        assert (setting.allowed == "a block of keys") == is_block, setting.key
        assert f"# {setting.doc[:40]}" in config_text(DenoiseConfig())
    assert FrequencyMaskingConfig().vertical_BEF_cutoff == 5


def test_config_list() -> None:
    text = CliRunner().invoke(cli.main, ["config", "list"]).stdout
    assert [line for line in text.splitlines() if not line.startswith("  ")] == IDS
    assert max(map(len, text.splitlines())) <= 80
    found = json.loads(CliRunner().invoke(cli.main, ["config", "list", "--json"]).stdout)
    assert [each["id"] for each in found["configs"]] == IDS


@pytest.mark.parametrize("name", IDS)
def test_what_config_show_prints_is_a_configuration(name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.main, ["config", "show", name])
    (tmp_path / "mine.yml").write_text(done.stdout)
    assert load_config(tmp_path / "mine.yml") == load_config(name)
    answer = CliRunner().invoke(cli.main, ["config", "show", str(tmp_path / "mine.yml"), "--json"])
    shown = json.loads(answer.stdout)
    assert DenoiseConfig.model_validate(shown["config"]) == load_config(name)
    blocks = [each for each in settings(load_config(name)) if isinstance(each.value, Block)]
    assert len(shown["settings"]) == len([*settings(load_config(name))]) - len(blocks)


def test_config_show_notes_and_refuses(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("end_frame: 0")
    assert (
        "# note: end_frame 0" in CliRunner().invoke(cli.main, ["config", "show", str(path)]).stdout
    )
    path.write_text("end_frme: 0")
    done = CliRunner().invoke(cli.main, ["config", "show", str(path)])
    assert done.exit_code == 2
    assert "line 1: unknown key 'end_frme'; did you mean 'end_frame'?" in done.stderr


def test_stitching_does_not_wait_for_pydantic() -> None:
    code = "import sys, miostitch.stitching.run; print('pydantic' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_public_names() -> None:
    assert miostitch.load_config("denoise_patch") == load_config("denoise_patch")
    assert miostitch.DenoiseConfig is DenoiseConfig
