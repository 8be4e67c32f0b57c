"""A session file is read strictly, and says in one go what is wrong with it."""

from pathlib import Path

import pytest

from miostitch.cli.main import main
from miostitch.config.session_file import SessionFile, SessionOptions, SessionSegment, load_session
from miostitch.errors import ConfigError, MissingInputError

GOOD = """
miostitch: 1
receivers:
  left: [a.avi, {video: b.avi, table: other/c.csv}]
  right: d.avi
options: {by: buffer, lag: 1, trim: {start: 3}, denoise: denoise_example}
subject: {subject_id: m1}
recording: {start: "2026-01-31T09:30:00Z"}
behaviour: [{name: cam, timestamps: cam.csv, unit: ms}]
"""


def load(folder: Path, text: str, name: str = "session.yml") -> SessionFile:
    (folder / name).write_text(text)
    return load_session(folder / name)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "m1").mkdir()
    found = load(tmp_path / "m1", GOOD)
    here = str(tmp_path / "m1")
    assert found.name == "m1"  # of its folder
    assert found.output == f"{here}/stitched"
    left = (SessionSegment(f"{here}/a.avi"), SessionSegment(f"{here}/b.avi", f"{here}/other/c.csv"))
    assert found.receivers == {"left": left, "right": (SessionSegment(f"{here}/d.avi"),)}
    assert found.choices == {"by": "buffer", "lag": 1, "start": 3, "config": "denoise_example"}
    assert found.facts == {
        "name": "m1",
        "subject": {"subject_id": "m1"},
        "recording": {"start": "2026-01-31T09:30:00Z"},
        "behaviour": [{"name": "cam", "timestamps": "cam.csv", "unit": "ms"}],
    }
    assert load(tmp_path, GOOD, "day1.yml").name == "day1"


@pytest.mark.parametrize(
    ("line", "instead", "problem"),
    [
        ("miostitch: 1", "", "line 1: miostitch: is missing"),
        ("miostitch: 1", "miostitch: 2", "line 2: miostitch: 2: 1 is needed"),
        ("  right: d.avi", "  right: []", "line 5: receivers.right: a name and a segment"),
        ("  right: d.avi", "  right: [{table: x}]", "line 5: receivers.right: a segment must be"),
        ("  right: d.avi", "  right: [5]", "line 5: receivers.right: a segment must be"),
        ("by: buffer", "by: buffers", "line 6: options.by: 'buffers': frame or buffer or null"),
        ("lag: 1", "lag: one", "line 6: options.lag: 'one': a whole number or auto or null"),
        ("start: 3", "start: -3", "line 6: options.trim.start: -3: a whole number >= 0"),
        (", denoise: denoise_example", "", "line 6: options.trim: trims what is denoised"),
        ("denoise: denoise", "denose: denoise", "unknown key 'denose'; did you mean 'denoise'?"),
        ("subject_id", "subject_name", "line 7: unknown key 'subject_name'"),
        ("T09:30:00Z", "", "line 8: recording.start: '2026-01-31': a time with its offset"),
        ("unit: ms", "unit: h", "line 9: behaviour: unit: 'h': s or ms is needed"),
        ("name: cam, ", "", "line 9: behaviour: each needs name: and timestamps:"),
        (
            "\nsubject",
            "\nname: a/b\nsubject",
            "line 7: name 'a/b': must be a file name",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, line: str, instead: str, problem: str
) -> None:
    assert line in GOOD
    with pytest.raises(ConfigError) as error:
        load(tmp_path, GOOD.replace(line, instead, 1))
    assert problem in str(error.value)


def test_no_receivers_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="receivers: name one at least"):
        load(tmp_path, "miostitch: 1")
    with pytest.raises(ConfigError, match="keys with values are needed"):
        load(tmp_path, "- a")
    with pytest.raises(MissingInputError, match="no such session file; miostitch init"):
        load_session(tmp_path / "none.yml")


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, GOOD.replace("lag: 1", "lag: x").replace("m1}", "m1, sex: Q}"))
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["line 6", "line 7"]


def test_every_option_of_stitching_can_be_in_the_file() -> None:
    """By its name on the command line, but for those that concern one run alone."""
    of_a_run = {"output", "force", "restart", "memory_limit", "workers", "scheduler", "name"}
    of_talking = {"as_json", "quiet", "verbose", "no_progress"}
    names = {
        each.name for command in ("stitch", "workflow") for each in main.commands[command].params
    }
    names -= {"inputs", "more", "config", "start", "end", *of_a_run, *of_talking}
    assert names == SessionOptions.model_fields.keys() - {"denoise", "trim"}
