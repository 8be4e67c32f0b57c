"""Code of the pages that their build does not run: commands parse, blocks of Python run."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import miostitch
from miostitch.cli import main
from miostitch.config.models import checked
from miostitch.config.session_file import SessionModel
from tests.commands import run

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/[!_]*.md"))]
FENCE = re.compile(r"^( *)(`{3,}|:{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)

SHOWN = {"", "text"}
"""Languages that nothing runs: layouts and what commands print."""

OTHERS = {
    "git": "gets the clone; the address is not known here",
    "make": "targets of the Makefile, which .ci/run calls",
    "cd": "of the shell",
    "source": "of the shell",
    "python": "makes an environment, or runs a script of the benchmarks",
    "python3": "makes an environment",
    "pip": "installs packages from the net",
    "ssh": "logs in somewhere else",
    "dask": "starts a scheduler or a worker; tests/execution/test_cluster.py does",
    "dandi": "tests/export/test_downstream.py runs it",
    "nwbinspector": "tests/export/test_downstream.py runs it",
    "napari": "opens a window; tests/export/test_downstream.py runs it without one",
}
"""Programs of console blocks, and why they are not run here."""

NOT_RUN = {
    "import caiman": "CaImAn is not on PyPI",
    "import suite2p": "its loaders are run in an environment of their own",
    "from roiextractors": "tests/export/test_downstream.py runs it",
    "import napari": "tests/export/test_downstream.py runs it",
    "from minian": "tests/export/test_downstream.py runs it",
    "from mio.": "tests/denoising/test_filters.py runs it",
    "remote_cluster": "needs a scheduler; tests/execution/test_cluster_network.py has one",
}
"""What Python blocks contain that are not run, and why."""


class Code(NamedTuple):
    """A block of code of a page."""

    page: Path
    line: int
    language: str
    text: str


def blocks(path: Path) -> Iterator[Code]:
    text = path.read_text("utf-8")
    for _, _, language, body in FENCE.findall(text):
        if not language.startswith("{"):  # what the build of the pages knows
            yield Code(path, text[: text.index(body)].count("\n"), language.strip(), body)


CODE = [code for path in PAGES for code in blocks(path)]


def of(language: str) -> list[Any]:
    found = [code for code in CODE if code.language == language]
    return [pytest.param(code, id=f"{code.page.stem}-{code.line}") for code in found]


def commands(text: str) -> list[list[str]]:
    """Commands of a console block, each split as a shell does; those of a pipe one by one."""
    joined = text.replace("\\\n", " ")
    lines = re.findall(r"^ *[a-z]*\$ (.*)$", joined, re.MULTILINE)  # server$ says where
    words = [shlex.split(line, comments=True) for line in lines]
    return [part for line in words for part in split_at(line, {"|", "&&", ";", "&", "||"}) if part]


def split_at(words: list[str], ends: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        if word in ends:
            yield part
            part = []
        elif ">" not in (word, before):  # nor the file that the output goes to
            part.append(word)
    yield part


def leaves(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from leaves(command)
        else:
            yield command


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line, which parses and does nothing."""
    for command in leaves(main):
        monkeypatch.setattr(command, "callback", lambda **_: None)
    return CliRunner()


def require_parsed(parser: CliRunner, words: list[str]) -> None:
    done = parser.invoke(main, words[1:])
    assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"


def test_no_language_of_a_block_escapes() -> None:
    known = {"console", "python", "yaml", "json", "bash", "powershell"}
    assert {code.language for code in CODE} - SHOWN <= known
    assert not [code for code in CODE if code.language in SHOWN and "$ miostitch" in code.text]


@pytest.mark.parametrize("code", of("console"))
def test_commands_of_the_pages_parse(code: Code, parser: CliRunner) -> None:
    found = commands(code.text)
    assert found, "a console block has commands, each after a $"
    for words in found:
        program = Path(words[0]).name
        if program == "miostitch":
            require_parsed(parser, words)
        else:
            assert program in OTHERS, words


@pytest.mark.parametrize("command", [*leaves(main)], ids=lambda command: str(command.name))
def test_examples_of_the_help_parse(command: click.Command, parser: CliRunner) -> None:
    examples = re.findall(r"^ +(miostitch .*)$", command.help or "", re.MULTILINE)
    for example in examples:
        require_parsed(parser, shlex.split(example, comments=True))


def test_a_command_that_does_not_parse_is_found(parser: CliRunner) -> None:
    for wrong in ("miostitch stitch a.avi --no-such", "miostitch nothing", "miostitch trim a -s x"):
        with pytest.raises(AssertionError):
            require_parsed(parser, wrong.split())
    text = "$ miostitch stitch a \\\n   -o b  # as a line\nprinted\n$ miostitch view a | head\n"
    assert commands(text) == [
        ["miostitch", "stitch", "a", "-o", "b"],
        ["miostitch", "view", "a"],
        ["head"],
    ]


@pytest.mark.parametrize("code", of("bash"))
def test_bash_blocks_have_no_wrong_syntax(code: Code) -> None:
    done = subprocess.run(["bash", "-n"], input=code.text, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", of("yaml"))
def test_yaml_blocks_are_what_they_say(code: Code) -> None:
    value = yaml.safe_load(code.text)
    if "distributed" in value:  # a configuration of dask
        assert value["distributed"]["comm"]["tls"]
        return
    found = checked(SessionModel, {"miostitch": 1, **value})
    assert isinstance(found, SessionModel), found


@pytest.mark.parametrize("code", of("json"))
def test_json_blocks_are_json(code: Code) -> None:
    json.loads(code.text)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the pages name."""
    folder = tmp_path_factory.mktemp("lab")
    config = miostitch.SimulationConfig(frames=2600, height=20, width=20, seed=2)
    made = miostitch.simulate(folder, config)
    for number, side in ((1, "left"), (2, "right")):
        (folder / side).mkdir()
        for suffix in (".avi", ".csv"):
            video = made.recordings[number - 1].with_suffix(suffix)
            shutil.copy(video, folder / side / f"rec{suffix}")
            video.rename(folder / f"video{number}{suffix}")
    videos = [folder / f"video{number}.avi" for number in (1, 2)]
    miostitch.stitch_files(videos, folder / "stitched", by="buffer")
    for name in ("S", "left-rec__right-rec_stitched"):
        miostitch.stitch_files(videos, folder / "stitched", name=name, by="buffer")
    known = miostitch.open_recording(folder / "stitched" / "S.zarr")
    times = float(known.timestamp_first[0]) + np.arange(2000) / 15
    np.savetxt(folder / "cam.csv", times, header="time", comments="", fmt="%.6f")
    run("align-times", str(folder / "stitched" / "S.zarr"), "--times", str(folder / "cam.csv"),
        "-o", str(folder / "stitched"), "--into-store")  # fmt: skip
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what a page makes may be cached or closed later
@pytest.mark.parametrize("page", sorted({code.page for code in CODE if code.language == "python"}),
                         ids=lambda page: page.stem)  # fmt: skip
def test_python_blocks_of_a_page_run(
    page: Path, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, with the names of those before; without lines that draw a plot."""
    folder = tmp_path / "lab"
    shutil.copytree(lab, folder)
    if page.stem == "memory":  # which stitches into a new folder
        shutil.rmtree(folder / "stitched")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in (code for code in blocks(page) if code.language == "python"):
        text = "\n".join(line for line in code.text.splitlines() if ".plot" not in line)
        compiled = compile(text, f"{page.name}:{code.line}", "exec")
        if not any(word in text for word in NOT_RUN):
            exec(compiled, names)


def test_every_reason_is_needed() -> None:
    texts = [code.text for code in CODE if code.language == "python"]
    assert [word for word in NOT_RUN if not any(word in text for text in texts)] == []
    used = {Path(w[0]).name for c in CODE if c.language == "console" for w in commands(c.text)}
    assert OTHERS.keys() - used == set()
