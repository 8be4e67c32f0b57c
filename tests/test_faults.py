"""Every fault has a test."""

import re
from pathlib import Path

from tests.faults import FAULTS

MARK = re.compile(r"\b(?:mark\.fault|case)\(\s*(\d+),")


def test_every_fault_is_injected_somewhere() -> None:
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.rglob("test_*.py")]
    injected = {int(row) for text in texts for row in MARK.findall(text)}
    assert injected == FAULTS.keys()
