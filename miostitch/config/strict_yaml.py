"""YAML as plain values and the lines they stand on, without anything that could surprise.

Of YAML only what a configuration needs is taken: one document of blocks, lists and scalars.
Anchors, aliases, tags, duplicate keys, keys that are no text, deep nesting and large files are
refused.
Plain scalars mean what they seem to mean: ``12:30`` and ``010`` are text, not 750 and 8.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from miostitch.errors import ConfigError

MAX_BYTES = 64 * 1024
"""Configurations have about one kilobyte; this many are parsed within a second."""

MAX_DEPTH = 16

Key = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_YES, _NO = (
    {spelled for word in words for spelled in (word, word.capitalize(), word.upper())}
    for words in (("true", "yes", "on"), ("false", "no", "off"))
)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")


@dataclass(frozen=True)
class Document:
    """What a YAML file says."""

    name: str  # The file, for messages
    value: Any = None  # Dicts, lists, text, numbers, booleans and ``None``
    # Line (from 1) of every key and list item, by its path from the top.
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int:
        """Line of a key, or of the innermost block around it that the file names."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read_yaml(data: bytes, name: str) -> Document:
    """Read a YAML document."""
    if len(data) > MAX_BYTES:
        msg = f"{name}: larger than {MAX_BYTES // 1024} KiB; that is no configuration"
        raise ConfigError(msg)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}: line {line}: this is no UTF-8 text") from None
    return _Reader(text, name).document()


def scalar_text(value: object) -> str:
    """Write a scalar, or a list of scalars, as YAML that :func:`read_yaml` reads back.

    >>> [scalar_text(value) for value in (None, True, 20.0, "rec/a", "no", ("a", "b"))]
    ['null', 'true', '20.0', 'rec/a', '"no"', '[a, b]']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(scalar_text, value))}]"
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and isinstance(_meaning(value), str):
            return value
        return yaml.safe_dump(value, default_style='"', width=float("inf")).rstrip("\n")
    return repr(value)


def _meaning(text: str) -> str | float | bool | None:
    """What a scalar without quotes stands for."""
    if text in _NULL:
        return None
    if text in _YES | _NO:
        return text in _YES
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


class _Reader:
    """Builds values from the events of PyYAML's parser, which follows nothing."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.events = yaml.parse(text, Loader=yaml.SafeLoader)
        self.lines: dict[Key, int] = {}

    def document(self) -> Document:
        try:
            return Document(self.name, self._document(), self.lines)
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            self._refuse(line, f"character {error.character:#x} is not allowed")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            self._refuse(line, f"this is no YAML: {error.problem or error.context}")
        except (ValueError, OverflowError) as error:  # \U00110000 and %YAML of 5000 digits
            if isinstance(error, ConfigError):
                raise
            self._refuse(1, f"this is no YAML: {error}")

    def _document(self) -> Any:
        next(self.events)  # start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self.events), ())
        next(self.events)  # end of the document
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(_line(after), "a second document begins; one is meant")
        return value

    def _value(self, event: yaml.Event, key: Key) -> Any:
        self._check(event, len(key))
        if isinstance(event, yaml.MappingStartEvent):
            return self._block(key)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(key)
        return _scalar(event)

    def _list(self, key: Key) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            inner = (*key, len(values))
            self.lines[inner] = _line(event)
            values.append(self._value(event, inner))
        return values

    def _block(self, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            self._check(event, len(key))
            line, name = _line(event), _scalar(event)
            if not isinstance(name, str):
                self._refuse(line, "a key that is no text; put it in quotes if it is meant")
            inner = (*key, name)
            if name in values:
                first = self.lines[inner]
                self._refuse(line, f"key {name!r} stands here and on line {first}; keep one")
            self.lines[inner] = line
            values[name] = self._value(next(self.events), inner)
        return values

    def _check(self, event: yaml.Event, depth: int) -> None:
        line = _line(event)
        # of a node: what is named, and the class to make of it
        if getattr(event, "anchor", None) is not None:
            self._refuse(line, "anchors and aliases (&, *) are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            self._refuse(line, "tags (!) are not allowed; leave it out")
        if depth > MAX_DEPTH:
            self._refuse(line, f"nested deeper than {MAX_DEPTH} levels; that is no configuration")

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise ConfigError(f"{self.name}: line {line}: {problem}") from None


def _scalar(event: yaml.Event) -> str | float | bool | None:
    """Value of a scalar; None also where a list or a block stands."""
    if not isinstance(event, yaml.ScalarEvent):
        return None
    return _meaning(event.value) if event.implicit[0] else event.value


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
