"""``{fault-table}``: what the marks of the tests say, so that the table cannot drift away.

pytest collects the tests that carry the mark ``fault``, in a process of its own in which this
module is a plugin. The directive's argument is a range of rows: ``{fault-table} 1-17``.
"""

import json
import os
import subprocess
import sys
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
TARGET = "MIOSTITCH_FAULTS"


def pytest_collection_finish(session: Any) -> None:
    """Write the marks of all collected tests (as a plugin of pytest)."""
    found = [
        {"test": item.nodeid.split("[")[0], "mark": list(mark.args)}
        for item in session.items
        for mark in item.iter_markers("fault")
    ]
    Path(os.environ[TARGET]).write_text(json.dumps(found))


@cache
def marks() -> list[dict[str, Any]]:
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if is_marked(path)]
    with TemporaryDirectory() as folder:
        target = Path(folder, "marks.json")
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "fault_table", *files],
            cwd=ROOT,
            env=os.environ | {TARGET: str(target), "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads(target.read_text())


def is_marked(path: Path) -> bool:
    text = path.read_text("utf-8")
    return "mark.fault(" in text or "import case" in text or "case(" in text


def lines(first: int, last: int) -> list[str]:
    sys.path.insert(0, str(ROOT))
    from tests.faults import FAULTS  # noqa: PLC0415

    found = [(tuple(each["mark"]), each["test"]) for each in marks()]
    table = ["| row | fault | injected how | times | outcome | test |", "|---|---|---|---|---|---|"]
    for (mark, test), same in groupby(sorted(found)):
        row, how, outcome = mark
        if first <= row <= last:
            name = test.removeprefix("tests/").replace("::", " ")
            times = len([*same])
            cells = (row, FAULTS[row], how, times, outcome, f"`{name}`")
            table.append(
                f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
            )
    return table


def setup(app: Any) -> dict[str, bool]:
    from sphinx.util.docutils import SphinxDirective  # noqa: PLC0415

    class FaultTable(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[Any]:
            first, last = self.arguments[0].split("-")
            for path in (ROOT / "tests").rglob("*.py"):
                self.env.note_dependency(str(path))
            return self.parse_text_to_nodes("\n".join(lines(int(first), int(last))))

    app.add_directive("fault-table", FaultTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
