"""Where two tables differ: the row that is named is that of the file."""

from pathlib import Path

import pytest

from miostitch.verify.findings import Findings
from miostitch.verify.tables import compare_tables

HEAD = "frame_num,frame_buffer_count,reconstructed_frame_index"
ROWS = [f"{2500 + n // 8},{n % 8},{n // 8}" for n in range(40)]


def compared(tmp_path: Path, lines: list[str]) -> list[dict[str, object]]:
    found, expected = tmp_path / "x.csv", tmp_path / "expected.csv"
    expected.write_text("\n".join([HEAD, *ROWS, ""]))
    found.write_text("\n".join([HEAD, *lines, ""]))
    findings = Findings()
    compare_tables(found, expected, findings)
    return findings.listed


@pytest.mark.parametrize("at", [0, 17, 39])
def test_the_row_of_a_changed_cell_is_that_of_the_file(tmp_path: Path, at: int) -> None:
    lines = [*ROWS]
    lines[at] = "1" + lines[at]
    [found] = compared(tmp_path, lines)
    assert (found["row"], found["column"], found["frame"]) == (at, "frame_num", at // 8)


def test_a_blank_line_is_a_row_too_many_where_it_stands(tmp_path: Path) -> None:
    lines = [*ROWS[:10], "", *ROWS[10:30], "7,7,7", *ROWS[31:]]
    [found] = compared(tmp_path, lines)
    assert found["row"] == 10
    assert "1 row too many from here on" in str(found["message"])
