"""Examples in the help of a command, set as code in the reference of the command line.

In the help, click leaves a block that begins with a backspace as it is. sphinx-click makes line
blocks of such blocks; indented lines in them are commands, and become a code block here.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

BAR = "| "
EXAMPLE = re.compile(r"\|  +\S")


def with_code(lines: list[str]) -> Iterator[str]:
    """Replace runs of indented lines of line blocks by code blocks."""
    for is_example, run in groupby(lines, lambda line: bool(EXAMPLE.match(line))):
        if is_example:
            yield from ("", ".. code-block:: console", "")
            yield from (f"   $ {line.removeprefix(BAR).strip()}" for line in run)
            yield ""
        else:
            yield from run


def set_as_code(_app: Any, _context: Any, lines: list[str]) -> None:
    """Change the description of a command in place."""
    lines[:] = with_code(lines)


def setup(app: Any) -> dict[str, bool]:
    """Add the step to sphinx-click."""
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-description", set_as_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
