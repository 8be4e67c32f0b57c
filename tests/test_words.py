"""What users read is plain English of the field: no help, message or page has the words below."""

import ast
import inspect
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

import miostitch
from miostitch.cli.main import main
from miostitch.recording.accessor import RecordingAccessor
from miostitch.recording.run_result import RunResult

ROOT = Path(miostitch.__file__).parents[1]
PACKAGE = ROOT / "miostitch"

REPLACED = {
    r"told|tells?": "reports",
    r"go(es)? on|going on": "resume",
    r"cut off": "interrupted",
    r"whole(?! number)|sound": "complete, intact",
    r"anew": "again",
    r"beside": "next to",
    r"pictures?": "frame, image",
    r"pieces?": "fragment",
    r"seams?": "boundary",
    r"(is|are) meant": "must be",
    r"nobody": "no receiver",
    r"puts? that right": "corrects",
    r"(bring|brings|bringing|brought)( \w+){0,2} together": "align",
    r"(re)?boot(s|ed)?": "restart, run of the device",
    r"heard|seen by (no|all|every)\w*": "received",
    r"beware": "error, warning",
}
OF_CODE = re.compile(
    r"``[^`]*``|`[^`]*`|^```.*?^```|^ {4}.*?$|https?://\S+|[\w-]+\.(md|py|png)", re.M | re.S
)
"""What of a page is no sentence."""

PLACES = re.compile(r"\.\.\.|`|\b(?:[ABNM]|[AB]\.(?:avi|csv))\b|\(|\)")
"""What stands for files and numbers where messages are explained."""

OF_EXAMPLES = re.compile(r"``[^`]*``|`[^`]*`|^\s*(>>>|\.\.\.) .*$", re.M)
"""What of a docstring is none: parameters are described in indented lines."""


def words(text: str) -> list[str]:
    """The words of a text that have a better one."""
    found = (re.finditer(rf"\b({word})\b", text, re.IGNORECASE) for word in REPLACED)
    return [match.group() for each in found for match in each]


def strings(path: Path) -> list[str]:
    """All strings of a module."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    found = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [value for value in found if isinstance(value, str)]


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module that are sentences, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in bare:
            continue
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def test_messages_that_are_explained_are_messages() -> None:
    """What the page on messages explains stands in the package word for word."""
    said = "\n".join(text for path in PACKAGE.rglob("*.py") for text in strings(path))
    page = (ROOT / "docs" / "how-to" / "messages.md").read_text("utf-8")
    explained = re.findall(r"^\*\*(.*?)\*\*$", page, re.MULTILINE)
    assert len(explained) > 80
    parts = [part for message in explained for part in message.split(";")]
    fixed = [max((p.strip(" ,.") for p in PLACES.split(part)), key=len) for part in parts]
    assert [words for words in fixed if words not in said] == []


class Shown(HTMLParser):
    """The text of a page, and what its attributes say."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        self.text += [value for name, value in attrs if name in ("title", "aria-label") and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(re.sub(r"{[{%#].*?[}%#]}", "", data))


def test_the_list_is_tried() -> None:
    assert words("The whole picture was told anew, beside a whole number.") == [
        "told", "whole", "anew", "beside", "picture",
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_messages(path: Path) -> None:
    assert [(line, text) for line, text in messages(path) if words(text)] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.html")), ids=lambda path: path.name)
def test_pages_of_report_and_viewer(path: Path) -> None:
    page = Shown()
    page.feed(path.read_text("utf-8"))
    assert [text for text in page.text if words(text)] == []


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("[!_]*.md"))], ids=lambda p: p.stem
)
def test_documents(path: Path) -> None:
    if "_build" not in path.parts:
        assert words(OF_CODE.sub("", path.read_text("utf-8"))) == []


def documented() -> Iterator[tuple[str, str]]:
    """The docstrings of the API page: public names, and the members of those that are classes."""
    names = [getattr(miostitch, name) for name in dir(miostitch) if not name.startswith("_")]
    for each in [*names, RecordingAccessor, RunResult]:
        members = vars(each).items() if isinstance(each, type) else ()
        shown = [(name, member) for name, member in members if not name.startswith("_")]
        for name, member in [("", each), *shown]:
            if (callable(member) or isinstance(member, property)) and member.__doc__:
                yield f"{each.__name__}.{name}", inspect.cleandoc(member.__doc__)


def test_docstrings_of_public_names() -> None:
    texts = dict(documented())
    assert len(texts) > len(dir(miostitch)) / 2
    found = {name: words(OF_EXAMPLES.sub("", text)) for name, text in texts.items()}
    assert {name: each for name, each in found.items() if each} == {}


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        yield f"{path}{name}", command


@pytest.mark.parametrize(("name", "command"), [*commands(main)])
def test_help(name: str, command: click.Command) -> None:
    """Every option says what it does and what it is by default, unless it must be given."""
    assert words(command.help or "") == []
    for option in command.params:
        if isinstance(option, click.Option):
            text = option.help or ""
            assert words(text) == [], option.opts
            says = "default" in text.lower() or option.show_default or option.required
            assert says, (option.opts, text)
            assert text[:1].isupper() or text.startswith(("nwb:", "frame:")), text
