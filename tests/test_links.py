"""Links lead somewhere: those of the built pages, and those of files that are read in the clone."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+(?:\([^()\s]*\))?)\)|\]:\s+(\S+)")
FILES = sorted({*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md"), *ROOT.glob("docs/**/*.md")})


@pytest.fixture(scope="module")
def check_links() -> ModuleType:
    path = ROOT / "docs" / "_ext" / "check_links.py"
    spec = importlib.util.spec_from_file_location("check_links", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", without_blocks(text))


def links_of(path: Path) -> list[str]:
    return [one or two for one, two in LINK.findall(without_code(path.read_text("utf-8")))]


def anchors_of(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub and MyST make them; one is repeated with a number."""
    text = without_blocks(path.read_text("utf-8"))
    headings = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings)
    found: list[str] = []
    for slug in slugs:
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each) is not None for each in found)
        found.append(f"{slug}-{number}" if number else slug)
    return {*found}


def wrong_links(path: Path) -> Iterator[str]:
    for link in links_of(path):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if (
                parts.scheme not in ("https", "mailto")
                or " " in link
                or not parts.path + parts.netloc
            ):
                yield f"{link}: is no complete address that begins with https"
            continue
        target = path.parent / parts.path if parts.path else path
        if not target.exists():
            yield f"{link}: no such file"
        elif parts.fragment and parts.fragment not in anchors_of(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_file_lead_somewhere(path: Path) -> None:
    assert [*wrong_links(path)] == []


def test_wrong_links_of_a_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# One `two`: three\n# Same\n# Same\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "# Here\n[x](b.md) [x](#here) [x](b.md#one-two-three) [x](b.md#same-1) `[x](no.md)`\n"
        "[x](https://example.org/a) [x](no.md) [x](b.md#two) [x](#there) [x](b.md#no-heading)\n"
        "[x](http://example.org)\n"
    )
    found = [each.split(":")[0] for each in wrong_links(tmp_path / "a.md")]
    assert found == ["no.md", "b.md#two", "#there", "b.md#no-heading", "http"]


def test_wrong_links_of_built_pages_are_found(check_links: ModuleType, tmp_path: Path) -> None:
    pages, other = tmp_path / "html", tmp_path / "html" / "how-to"
    other.mkdir(parents=True)
    (tmp_path / "outside.html").write_text("")
    (other / "b.html").write_text(
        '<h1 id="one">x</h1><a name="old">x</a><a href="../a.html#x">x</a>'
    )
    right = [
        *("how-to/b.html#one", "how-to/b.html#old", "how-to/b%2Ehtml", "#", "#here", "p.png"),
        *("https://example.org/x?y#z", "mailto:a@example.org", "data:image/png;base64,AA=="),
    ]
    wrong = [
        *("how-to/c.html", "how-to/b.html#two", "#there", "../outside.html", "q.png", "how-to/"),
        *("https://example", "htp://example.org", "https://[x", "file:///etc/hosts"),
    ]
    links = "".join(f'<a href="{link}">x</a>' for link in (*right, *wrong))
    (pages / "p.png").write_bytes(b"")
    (pages / "a.html").write_text(f'<p id="here">{links}<img src="no.png">')
    found = [*check_links.wrong_links(pages)]
    expected = [f"a.html: link to {link}: " for link in (*wrong, "no.png")]
    expected.append("how-to/b.html: link to ../a.html#x: ")
    assert [each[: len(start)] for each, start in zip(found, expected, strict=True)] == expected
