"""YAML text to plain values that remember their lines.

The values are JSON's: mappings with text keys, lists, text, numbers, booleans, null. Where
YAML 1.1 (which pyyaml reads) would surprise, this reads as YAML 1.2 does or says so:
`1e-3` is a number, `12:30` and `2026-01-31` are text, `017` is refused, a key is always its
text (`on:`, `50256:`), and the unquoted words yes, no, on, off are remembered, so that they
can be refused where they may have been meant as words.
"""

from __future__ import annotations

import errno
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from batchrun.job.document.place import Loc, Problem, dotted
from batchrun.job.document.traps import TEMPLATE, explain

MAX_BYTES = 4_000_000
"""The largest file that a job is made of; above it, it is most likely the prompt table."""

MAX_VALUES = 50_000
"""Values a document may hold once its aliases are written out: stops an alias bomb."""

MAX_DEPTH = 40
"""How deep it may be nested: libyaml's compose overflows the C stack far above that."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a document may be."""

    bytes: int
    values: int
    depth: int


WRITTEN = Bounds(MAX_BYTES, MAX_VALUES, MAX_DEPTH)
"""Of what people write."""

KEPT = Bounds(1000 * MAX_BYTES, 1000 * MAX_VALUES, 2 * MAX_DEPTH)
"""Of the copy of a job that its run folder keeps: the files that the job is made of are in it, each of them
within its own bounds."""

_EVENTS = 4
"""Of YAML for a value, at most: its key, itself, and where a list or a mapping begins and ends."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")

WORDS = {"yes": True, "on": True, "no": False, "off": False}
"""What YAML 1.1 takes for booleans, besides true and false, in any case of letters."""


@dataclass(slots=True)
class Document:
    """A job while it is read: its value, and what is known about the parts of it by their loc."""

    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    """Line, from 1, of each key and each item."""
    words: dict[Loc, str] = field(default_factory=dict)
    """Booleans that were written as an unquoted yes, no, on or off: the word."""
    plain: set[Loc] = field(default_factory=set)
    """Text written without quotes."""
    shell: dict[Loc, str] = field(default_factory=dict)
    """Values that an option of the shell replaced: the option."""
    problems: list[Problem] = field(default_factory=list)


def read_whole(path: Path) -> bytes:
    """The bytes of `path`. Raises OSError when it cannot be read, is a pipe or a device, or is too large."""
    # Without O_NONBLOCK, opening a pipe waits for its other end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES:,} bytes", str(path))
    return data


def read_document(text: str, loc: Loc = (), bounds: Bounds = WRITTEN) -> Document:
    """Read one YAML document whose top is the job's value at `loc`; its problems are in it."""
    document = Document(lines={loc: 1})
    try:
        _refuse_large(text, bounds)
        node = yaml.compose(text, Loader=_LOADER)
        if node is not None:
            document.value = _Builder(document, bounds).build(node, loc)
    except yaml.YAMLError as error:
        trap = explain(error, text)
        document.problems.append(Problem(loc, trap.text, trap.line))
    except _TooLargeError as error:
        document.problems.append(Problem(loc, error.text, error.line))
    return document


class _TooLargeError(Exception):
    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.text = text
        self.line = line


def _refuse_large(text: str, bounds: Bounds) -> None:
    """Look at the events first, which needs no stack, so that compose cannot overflow its own."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if number > _EVENTS * bounds.values:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise _TooLargeError(f"more than {bounds.values:,} values: is this the prompt table?", line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > bounds.depth:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise _TooLargeError(f"nested more than {bounds.depth} levels deep: write it flatter", line)


class _Builder:
    """Builds values from pyyaml's nodes; an alias becomes a copy of its own."""

    def __init__(self, document: Document, bounds: Bounds) -> None:
        self.document = document
        self.bounds = bounds
        self.count = 0

    def build(self, node: yaml.Node, loc: Loc, depth: int = 0) -> Any:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(loc, line)
        self.count += 1
        if self.count > self.bounds.values or depth > self.bounds.depth:
            raise _TooLargeError(
                "aliases (*name) that repeat too much, or contain themselves: write the values out", line
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            return self._wrong(loc, f"YAML's tag {node.tag} has no place in a job", node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc, depth)
        return [self.build(item, (*loc, index), depth + 1) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, loc: Loc, depth: int) -> Any:
        if len(node.value) == 1 and isinstance(node.value[0][0], yaml.MappingNode):
            return self._wrong(loc, TEMPLATE, node)
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for _, value in (pair for pair in node.value if pair[0].tag == f"{_TAG}merge"):
            merged.update(self._merge(value, loc, depth))
        for key, value in (pair for pair in node.value if pair[0].tag != f"{_TAG}merge"):
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(loc, "a key must be one word or a quoted text", key)
            else:
                self._member(own, key, value, loc, depth)
        return {**merged, **own}

    def _member(
        self, into: dict[str, Any], key: yaml.ScalarNode, value: yaml.Node, loc: Loc, depth: int
    ) -> None:
        name, here = key.value, (*loc, key.value)
        line = key.start_mark.line + 1
        if name in into:
            first = self.document.lines[here]
            text = f"{dotted(here)} is given twice, first on line {first}: keep one"
            self.document.problems.append(Problem(here, text, line))
            return
        self.document.lines[here] = line
        into[name] = self.build(value, here, depth + 1)

    def _merge(self, node: yaml.Node, loc: Loc, depth: int) -> dict[str, Any]:
        """Read `<<: *anchor` or `<<: [*a, *b]`, where the first of a list wins (YAML merge keys)."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for item in reversed(nodes):
            if not isinstance(item, yaml.MappingNode):
                self._wrong(loc, "<< merges mappings only: write the keys out", item)
                continue
            merged.update(self.build(item, loc, depth + 1))
        return merged

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if node.tag == tag:
            return self._wrong(
                loc, f"a value that begins with ! is a tag in YAML, and {tag} is none: quote it", node
            )
        if node.style and tag == "str":  # in quotes or a block: text, whatever it looks like
            return text
        if not node.style and tag in ("str", "timestamp", "value"):
            self.document.plain.add(loc)
        if tag == "bool" and text.lower() in WORDS:
            self.document.words[loc] = text
        try:
            return scalar(text, tag)
        except ValueError as error:
            return self._wrong(loc, str(error), node)

    def _wrong(self, loc: Loc, text: str, node: yaml.Node) -> None:
        sentence = f"{dotted(loc)}: {text}" if loc else text
        self.document.problems.append(Problem(loc, sentence, node.start_mark.line + 1))


def scalar(text: str, tag: str | None = None) -> Any:
    """Read an unquoted scalar; `tag` is the type that YAML 1.1 gives it, found here when None.

    Raises ValueError, with a sentence, for what has no JSON value or misleads.
    """
    if tag is None:
        tag = _LOADER("").resolve(yaml.ScalarNode, text, (True, False)).removeprefix(_TAG)
    if tag in ("int", "float") and ":" in text:
        return text  # base 60 in YAML 1.1
    if tag == "null":
        return None
    if tag == "bool":
        return WORDS.get(text.lower(), text.lower() == "true")
    if tag == "int":
        return _integer(text)
    if tag == "float" or (tag == "str" and EXPONENT.fullmatch(text)):
        return _float(text)
    if tag in ("str", "timestamp", "value"):
        return text
    raise ValueError(f"YAML's !!{tag} has no place in a job: quote the value")


def _integer(text: str) -> int:
    if _OCTAL.fullmatch(text):
        raise ValueError(f'{text} is the octal number {int(text, 8)} in YAML: write "{text}" for text')
    if len(text) > 100:
        raise ValueError("a number of more than 100 digits: quote it if it is text")
    return int(text.replace("_", ""), 0)


def _float(text: str) -> float:
    try:
        number = float(text.replace("_", ""))
    except ValueError:  # .inf and .nan
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that JSON can hold: quote it if it is text")
    return number
