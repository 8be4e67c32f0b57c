"""Text that any file or terminal takes."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

# Half of a character, which JSON may hold; those that stand for a byte of a file name are kept.
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# All but tabs and line ends: they steer a terminal.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Replace by ``\x`` escapes what UTF-8 cannot hold, and what would steer a terminal.

    File names may have both: bytes of other encodings, and control characters.

    >>> printable("caf\udce9.avi"), printable("\x1b[31mred")
    ('caf\\xe9.avi', '\\x1b[31mred')
    """
    text = _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    held = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", held)


def amount(number: int, noun: str) -> str:
    """A number of things.

    >>> amount(1, "frame"), amount(2345, "frame")
    ('1 frame', '2,345 frames')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tell_apart(paths: Sequence[str]) -> list[str]:
    """The names of files; their paths where several have one name.

    >>> tell_apart(["left/1.avi", "left/2.avi"]), tell_apart(["left/1.avi", "right/1.avi"])
    (['1.avi', '2.avi'], ['left/1.avi', 'right/1.avi'])
    """
    names = [os.path.basename(path) for path in paths]
    pairs = zip(names, paths, strict=True)
    return [name if names.count(name) == 1 else path for name, path in pairs]


def describe_reasons(counts: Mapping[str, int]) -> str:
    """Why some frames were removed, as words to add to how many.

    >>> describe_reasons({"noise": 7, "black areas": 0, "both": 1})
    ' (7 for noise, 1 for both)'
    """
    said = [f"{number:,} for {reason}" for reason, number in counts.items() if number]
    return f" ({', '.join(said)})" if said else ""


def from_here(text: str) -> str:
    """Write paths below the working folder in a text as they are typed from there.

    >>> from_here(f"{os.path.join(os.getcwd(), 'out', 'S.avi')}: exists")
    'out/S.avi: exists'
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # the folder was removed meanwhile
        return text
    if folder == os.path.dirname(folder):  # the root: every path is below it
        return text
    here = os.path.join(folder, "")
    # where a path begins, not inside of a longer one
    return re.sub(rf"(?<![^\s'\"(,=]){re.escape(here)}(?=[^\s/])", "", text)


def show_facts(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Write facts below a title, one a line.

    >>> print(show_facts("recording a", [("frames", "3"), ("duration", "0:00:01")]))
    recording a
      frames     3
      duration   0:00:01
    """
    wide = max((len(name) for name, _ in facts), default=0)
    return "\n".join([title, *(f"  {name:{wide}}   {text}" for name, text in facts)])


def show_facts_html(title: str, facts: Sequence[tuple[str, str]], image: str = "") -> str:
    r"""Write the same as a table of HTML, next to an image that is a data URI.

    >>> show_facts_html("<a>", [("frames", "3")])  # doctest: +ELLIPSIS
    '<table><caption>&lt;a&gt;</caption><tr><th style="text-align:left">frames</th>...</table>'
    """
    rows = [
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in facts
    ]
    table = f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>"
    if not image:
        return table
    picture = f'<img src="{escape(image)}" alt="a frame" style="image-rendering:pixelated">'
    return f'<div style="display:flex;gap:1em;align-items:center">{picture}{table}</div>'


def clock(seconds: float, digits: int = 1) -> str:
    """Elapsed time as hours, minutes and seconds, cut to some digits.

    >>> clock(3650.04), clock(59.99), clock(14.65, 3)
    ('1:00:50.0', '0:00:59.9', '0:00:14.650')
    """
    full, part = divmod(int(seconds * 10**digits + 1e-6), 10**digits)
    return f"{full // 3600}:{full // 60 % 60:02}:{full % 60:02}.{part:0{digits}}"


def utc_text(unix: float, digits: int = 1) -> str:
    """A Unix time in UTC, cut to some digits.

    >>> utc_text(1772361000.26), utc_text(1772361000.26, 3)
    ('2026-03-01 10:30:00.2', '2026-03-01 10:30:00.260')
    """
    try:
        moment = datetime.fromtimestamp(unix, UTC)
    except (OverflowError, ValueError, OSError):  # a clock that was never set
        return f"{unix:.{digits}f} s"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 10 ** (6 - digits):0{digits}}"
