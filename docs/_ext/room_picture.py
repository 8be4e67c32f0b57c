"""A picture of the rooms of the package, drawn from the code when the pages are built.

``{room-picture}`` draws every room of ``tests/test_layers.py`` as a line: its name, what it is for,
a bar as long as its code, and a dot under every room that it imports. Since a room imports rooms
above it only, all dots lie left of the diagonal.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "miostitch"
STEP, HEAD, NAMES, BARS = 22, 96, 96, 110
"""Height of a line, room for the slanted names, for the names, and for the longest bar, in px."""


@dataclass(frozen=True)
class Room:
    """A room, the lines of its code, and the rooms that it imports."""

    name: str
    lines: int
    imports: frozenset[str]


def room_order() -> list[str]:
    """All rooms from the ground up, as the test of the layers has them."""
    body = ast.parse((ROOT / "tests/test_layers.py").read_text("utf-8")).body
    table = next(n.value for n in body if isinstance(n, ast.Assign) and n.targets[0].id == "ROOMS")
    return [name for name in " ".join(ast.literal_eval(table)).split() if name != "__init__"]


def imported(source: str) -> Iterator[str]:
    """Rooms that some code imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("miostitch"):
            parts = node.module.split(".")[1:]
            yield from parts[:1] or (alias.name for alias in node.names)


def read_room(name: str) -> Room:
    """Read the code of a room."""
    files = [*(PACKAGE / name).rglob("*.py")] or [PACKAGE / f"{name}.py"]
    sources = [file.read_text("utf-8") for file in files]
    imports = frozenset(room for source in sources for room in imported(source)) - {name}
    return Room(name, sum(source.count("\n") for source in sources), imports)


def picture(rooms: list[Room]) -> str:
    """Draw the rooms as SVG, in the colours of the page's text."""
    left = NAMES + BARS + 20
    width, height = left + STEP * len(rooms) + 60, HEAD + STEP * len(rooms) + 8
    longest = max(room.lines for room in rooms)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" class="room-picture" '
        'style="max-width: 100%; font: 12px sans-serif" fill="currentColor">',
        "<title>Rooms of the package, and which room imports which</title>",
    ]
    for line, room in enumerate(rooms):
        y = HEAD + STEP * line
        x = left + STEP * line + STEP // 2
        bar = BARS * room.lines / longest
        parts += [
            f'<rect x="0" y="{y}" width="{width}" height="{STEP}" '
            f'fill-opacity="{0.05 * (line % 2)}"/>',
            f'<text x="4" y="{y + 15}">{escape(room.name)}</text>',
            f'<rect x="{NAMES}" y="{y + 6}" width="{bar:.0f}" height="10" rx="2" '
            f'fill-opacity="0.35"><title>{room.lines} lines</title></rect>',
            f'<text x="{NAMES + bar + 4:.0f}" y="{y + 15}" font-size="9" fill-opacity="0.7">'
            f"{room.lines}</text>",
            f'<text transform="translate({x + 4} {HEAD - 6}) rotate(-60)">'
            f"{escape(room.name)}</text>",
            f'<rect x="{x - 6}" y="{y + 5}" width="12" height="12" fill-opacity="0.15"/>',
        ]
        parts += [
            f'<circle cx="{left + STEP * place + STEP // 2}" cy="{y + 11}" r="5" fill="#0a7fa3">'
            f"<title>{escape(room.name)} imports {escape(other.name)}</title></circle>"
            for place, other in enumerate(rooms)
            if other.name in room.imports
        ]
    return "\n".join([*parts, "</svg>"])


class RoomPicture(SphinxDirective):
    """The directive."""

    def run(self) -> list[Node]:
        """Draw the rooms as they are now; the page is built again when a module changes."""
        for file in PACKAGE.rglob("*.py"):
            self.env.note_dependency(str(file))
        svg = picture([read_room(name) for name in room_order()])
        return [nodes.raw("", svg, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("room-picture", RoomPicture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
