"""A function's docstring: what it says of the function, and of each parameter (Google's style)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Attributes|Returns?|Yields?|Raises|Examples?|Notes?|Warnings?|See Also):\s*"
)
_PARAMETERS = ("Args", "Arguments", "Parameters")
_ENTRY = re.compile(r"(?P<name>\w+)\s*(\([^)]*\))?:\s*(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Docstring:
    """`description` is what stands before the first section; `parameters` the texts of `Args:`."""

    description: str
    parameters: dict[str, str]


def read_docstring(text: str | None) -> Docstring:
    """Read a docstring as `inspect.getdoc` gives it. Never fails: what is no section is description."""
    lines = (text or "").splitlines()
    starts = [at for at, line in enumerate(lines) if _SECTION.fullmatch(line)]
    description = "\n".join(lines[: starts[0]] if starts else lines).strip()
    parameters: dict[str, str] = {}
    for start, end in pairwise([*starts, len(lines)]):
        if lines[start].partition(":")[0] in _PARAMETERS:
            parameters |= dict(_entries(lines[start + 1 : end]))
    return Docstring(description, parameters)


def _entries(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each parameter with its text; lines that are indented further go on with the one before."""
    indent = min((_indent(line) for line in lines if line.strip()), default=0)
    name, words = "", list[str]()
    for line in lines:
        entry = _ENTRY.fullmatch(line.strip()) if _indent(line) == indent else None
        if entry:
            if name:
                yield name, " ".join(words)
            name, words = entry["name"], [entry["text"]] if entry["text"] else []
        elif line.strip():
            words.append(line.strip())
    if name:
        yield name, " ".join(words)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
