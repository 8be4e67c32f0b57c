"""Checks every link of the built pages: a file that is there, an anchor that is on its page.

Sphinx checks references, not addresses that Markdown or HTML states. An address of another site
must be complete; whether it answers is asked by ``make docs-links``, which needs the net.
"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

GENERATED = ("_modules/", "_sources/", "_static/", "gallery/")
"""Folders whose pages are not ours: sources, and reports, which tests of their own check."""


class Page(HTMLParser):
    """The links of a page, and the anchors that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is not None and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value is not None and name in ("href", "src"):
                self.links.append(value)


def wrong_links(folder: Path) -> Iterator[str]:
    """Say of every link of the pages in a folder that leads nowhere on which page it is."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        if name.startswith(GENERATED):
            continue
        for link in dict.fromkeys(page.links):
            if why := _what_is_wrong(link, path, folder, pages):
                yield f"{name}: link to {link}: {why}"


def _what_is_wrong(link: str, path: Path, folder: Path, pages: dict[Path, Page]) -> str:
    try:
        parts = urlsplit(link)
    except ValueError as error:
        return str(error)
    if parts.scheme in ("data", "mailto"):
        return ""
    if parts.scheme or parts.netloc:
        complete = parts.scheme in ("http", "https") and "." in parts.netloc and " " not in link
        return "" if complete else "is no complete address"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(folder.resolve()):
        return "leads out of the pages"
    if not target.is_file():
        return "no such page or file"
    page = pages.get(folder / target.relative_to(folder.resolve()))
    if page is not None and unquote(parts.fragment) not in page.anchors:
        return "no such anchor on that page"
    return ""


def setup(app: Any) -> dict[str, bool]:
    from sphinx.errors import SphinxError  # noqa: PLC0415

    def check(app: Any, error: Exception | None) -> None:
        if error is None and app.builder.format == "html":
            wrong = [*wrong_links(Path(app.outdir))]
            if wrong:
                raise SphinxError("\n".join(["links that lead nowhere:", *wrong]))

    app.connect("build-finished", check, priority=900)  # after all that writes files then
    return {"parallel_read_safe": True, "parallel_write_safe": True}
