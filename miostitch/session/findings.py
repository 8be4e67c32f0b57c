"""What is known of recordings together before a frame is written."""

from collections.abc import Sequence
from itertools import groupby

from miostitch.errors import Notice, Severity
from miostitch.recording.recording import Recording
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
            notices += _describe_duplicates(recording, own)
    return notices


def _describe_duplicates(recording: Recording, duplicates: Sequence[Duplicate]) -> list[Notice]:
    """Say which numbers occur in several frames of each video, and which frame is used."""
    remedy = "the frame listed first has most buffers and is used"
    notices = []
    in_order = sorted(duplicates, key=lambda each: each.kept)
    for path, own in groupby(in_order, lambda each: recording.locate(each.kept)[0]):
        found = [_describe_duplicate(recording, each) for each in own]
        more = len(found) - REPORTED_DUPLICATES
        rest = f"; and {amount(more, 'number')} more" if more > 0 else ""
        text = f"frame_num {'; '.join(found[:REPORTED_DUPLICATES])}{rest}"
        notices.append(Notice(path, text, remedy, Severity.NOTE))
    return notices


def _describe_duplicate(recording: Recording, duplicate: Duplicate) -> str:
    path, kept = recording.locate(duplicate.kept)
    places = [recording.locate(frame) for frame in duplicate.dropped]
    others = [f"{at}" if of == path else f"{at} of {of}" for of, at in places]
    return f"{duplicate.frame_num} occurs in frames {kept} and {', '.join(others)}"
