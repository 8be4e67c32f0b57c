"""Strict YAML: one document of blocks, lists and scalars, as plain values with line numbers.

Refused are anchors, aliases, tags, duplicate keys, keys that are no text, deep nesting and large
files. Plain scalars are what they look like: ``12:30`` and ``010`` are text, not 750 and 8.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from miostitch.errors import ConfigError

MAX_BYTES = 64 * 1024  # A configuration has about one kilobyte; this much is parsed within a second
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
    """Content of a YAML file."""

    name: str  # Name of the file, for messages
    value: Any  # Dicts, lists, text, numbers, booleans and None
    lines: dict[Key, int]  # Line, from 1, of every key and list item by its path from the top

    def line(self, key: Key) -> int:
        """Line of a key, or of the innermost block around it that the file names."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read_yaml(data: bytes, name: str) -> Document:
    """Parse one document; `name` is that of the file."""
    if len(data) > MAX_BYTES:
        msg = f"{name}: larger than {MAX_BYTES // 1024} KiB; that is no configuration"
        raise ConfigError(msg)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}: line {line}: this is no UTF-8 text") from None
    lines: dict[Key, int] = {}
    try:
        node = yaml.compose(text, Loader=_Composer)
        return Document(name, _value(node, (), lines), lines)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character {error.character:#x} is not allowed"
    except _RefusedError as error:
        line, problem = error.line, str(error)
    except yaml.composer.ComposerError as error:  # without aliases there is no other
        line, problem = (
            _line(error.problem_mark),
            "a second document begins; a configuration is one document",
        )
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        problem = f"this is no YAML: {error.problem or error.context}"
    except (ValueError, OverflowError) as error:  # \U00110000 and %YAML of 5000 digits
        line, problem = 1, f"this is no YAML: {error}"
    raise ConfigError(f"{name}: line {line}: {problem}")


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


class _RefusedError(Exception):
    """YAML that is valid and refused nevertheless; never leaves this module."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _Composer(yaml.SafeLoader):
    """Refuses a node before it is composed, as PyYAML recurses into it and follows aliases."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = _line(event.start_mark)
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        if event.anchor is not None:
            msg = "anchors and aliases (&, *) are not allowed; write the value out"
            raise _RefusedError(line, msg)
        if event.tag is not None:
            raise _RefusedError(line, "tags (!) are not allowed; leave it out")
        if is_key and not (isinstance(event, yaml.ScalarEvent) and isinstance(_scalar(event), str)):
            raise _RefusedError(line, "a key that is not text; put it in quotes")
        if self.depth > MAX_DEPTH and not is_key:
            msg = f"nested deeper than {MAX_DEPTH} levels; that is no configuration"
            raise _RefusedError(line, msg)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _value(node: yaml.Node | None, key: Key, lines: dict[Key, int]) -> Any:
    """Value of a node, None without one; enters the lines of all that is in it."""
    if isinstance(node, yaml.SequenceNode):
        lines |= {(*key, n): _line(item.start_mark) for n, item in enumerate(node.value)}
        return [_value(item, (*key, n), lines) for n, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node) if node else None
    values: dict[str, Any] = {}
    for name, value in node.value:
        inner, line = (*key, _scalar(name)), _line(name.start_mark)
        if inner in lines:
            msg = f"key {inner[-1]!r} stands here and on line {lines[inner]}; keep one"
            raise _RefusedError(line, msg)
        lines[inner] = line
        values[inner[-1]] = _value(value, inner, lines)
    return values


def _scalar(node: Any) -> Any:
    """Value of a scalar, given as node or event; one in quotes is always text."""
    return node.value if node.style else _meaning(node.value)


def _line(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1
