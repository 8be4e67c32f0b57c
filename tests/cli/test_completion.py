"""Completion: what the command answers, and what each shell makes of it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from miostitch import cli
from miostitch.cli import options
from miostitch.config.files import shipped_configs
from tests.commands import COMMAND

select = pytest.importorskip("select")
termios = pytest.importorskip("termios", reason="Windows has no pseudo-terminals")
on_a_terminal = pytest.importorskip("tests.terminals").on_a_terminal

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-in-scripts.md"
"""Says which line each shell needs, and in which file."""

SHOW = {
    "bash": "miostitch() { printf '<%s>' \"$@\"; echo; }",
    "zsh": "miostitch() { printf '<%s>' \"$@\"; echo; }",
    # its file is read at the first Tab
    "fish": "complete -C 'miostitch ' >/dev/null\n"
    "function miostitch; printf '<%s>' $argv; echo; end",
}
"""Makes the command show its arguments instead of running."""


@contextmanager
def typing_into(shell: str, folder: Path) -> Iterator[int]:
    """A terminal of a shell that works in a folder."""
    home = folder / "home"
    [(name, line)] = re.findall(
        rf"^# {shell}.* in ~/(\S+).*\n(.+)$", PAGE.read_text(), re.MULTILINE
    )
    settings = home / name
    settings.parent.mkdir(parents=True)
    before = "autoload -Uz compinit && compinit -D\n" if shell == "zsh" else ""
    settings.write_text(before + line + "\n")
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    with on_a_terminal([shell, "-i"], env, folder) as (process, terminal):
        termios.tcsetwinsize(terminal, (40, 200))
        os.write(terminal, f"{SHOW[shell]}\necho rea''dy\n".encode())
        shown_by(terminal, "ready")
        yield terminal
        process.kill()


def shown_by(terminal: int, pattern: str) -> str:
    """What matches first of that which is shown within a minute."""
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1.0)[0]:
            shown += os.read(terminal, 4096)
        if found := re.search(pattern, shown.decode(errors="replace")):
            return found.group()
    raise AssertionError(shown.decode(errors="replace"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(
            shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"no {shell} here")
        )
        for shell in SHOW
    ],
)
def test_pressing_tab(shell: str, tmp_path: Path) -> None:
    (tmp_path / "left receiver.avi").touch()
    (tmp_path / "left receiver.csv").touch()
    with typing_into(shell, tmp_path) as terminal:
        for typed, expected in (
            ("st\t", ["stitch"]),
            ("stitch --ke\t", ["stitch", "--keep-clocks"]),
            ("stitch --by b\t", ["stitch", "--by", "buffer"]),
            ("config sh\tdenoise_c\t", ["config", "show", "denoise_calcium_imaging"]),
            ("denoise -c denoise_c\t", ["denoise", "-c", "denoise_calcium_imaging"]),
            ("stitch lef\ta\t", ["stitch", "left receiver.avi"]),
            ("stitch -i lef\ta\t", ["stitch", "-i", "left receiver.avi"]),
        ):
            os.write(terminal, f"miostitch {typed}\n".encode())
            shown = shown_by(terminal, r"(<[^<>\x1b]*>)+(?=\r?\n)")
            assert shown == "".join(f"<{word}>" for word in expected)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("miostitch st", "plain,stitch"),
        ("miostitch stitch --ke", "plain,--keep-clocks"),
        ("miostitch stitch --by ", "plain,frame plain,buffer"),
        ("miostitch stitch A.a", "file,A.a"),
        ("miostitch stitch -i A.a", "file,A.a"),
        ("miostitch denoise A.avi -c denoise_e", "file,denoise_e plain,denoise_example"),
        ("miostitch config show denoise_e", "file,denoise_e plain,denoise_example"),
    ],
)
def test_shells_complete_and_import_nothing_heavy(words: str, completed: str) -> None:
    code = (
        "import sys; from miostitch.cli.main import main\n"
        "try: main(prog_name='miostitch')\n"
        "finally: print(sorted({'numba', 'dask', 'xarray', 'av', 'zarr', 'pandas', 'numpy', 'rich',"
        " 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    last = len(words.split(" ")) - 1
    env = {"_MIOSTITCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(last)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | env,
        check=False,
    )
    assert done.stdout.split() == [*completed.split(), "[]"], done.stderr


def test_every_configuration_can_be_completed() -> None:
    context = click.Context(cli.main)
    found = options.config_ids(context, cli.main.params[0], "")
    assert {item.value for item in found if item.type == "plain"} == {*shipped_configs()}
