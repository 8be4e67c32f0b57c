"""What is known of recordings together before a frame is written."""

from collections.abc import Sequence

from miostitch.errors import Notice, Severity
from miostitch.session.alignment import Duplicate
from miostitch.session.session import Session
from miostitch.text import amount

REPORTED_DUPLICATES = 20
"""Numbers in several frames that a note lists."""


def find_session_notices(session: Session) -> list[Notice]:
    """What is known of recordings together, besides what is known of each."""
    notices = [*session.alignment.notices]
    rates = {str(video.fps): video.path for r in session.recordings for video in r.videos}
    if len(rates) > 1:
        found = ", ".join(f"{path}: {rate} frames/s" for rate, path in rates.items())
        notices.append(Notice("", f"frame rates differ ({found})", "the first is used"))
    for number, recording in enumerate(session.recordings):
        own = [each for each in session.alignment.duplicates if each.recording == number]
        if own:
            notices.append(_describe_duplicates(recording.path, own))
    return notices


def _describe_duplicates(path: str, duplicates: Sequence[Duplicate]) -> Notice:
    """Say which numbers occur in several frames of a recording, and which frame is used."""
    shown = [
        f"{each.frame_num} occurs in frames {each.kept} and {', '.join(map(str, each.dropped))}"
        for each in duplicates[:REPORTED_DUPLICATES]
    ]
    more = len(duplicates) - len(shown)
    rest = f"; and {amount(more, 'number')} more" if more else ""
    remedy = "the frame listed first has most buffers and is used"
    return Notice(path, f"frame_num {'; '.join(shown)}{rest}", remedy, Severity.NOTE)
