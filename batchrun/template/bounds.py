"""What one template may ask of the process: depth of its syntax, size of its filters' results.

minijinja's fuel counts steps. It knows nothing of an expression so long that dropping its syntax tree
overflows the stack, nor of one step that builds a gigabyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import minijinja

from batchrun.template.values import to_read

MAX_OPERATORS = 1_000
"""Operators in one tag: at some 30,000, dropping minijinja's syntax tree overflows a stack of 8 MB."""

MAX_BRANCHES = 500
"""`elif`s of one template, which nest within one another: at some 5,000, as above."""

MAX_TEXT = 64_000_000
"""Characters of one rendered text."""

MAX_ARGUMENT = 10_000
"""The largest number that a filter which lays out text or lists may be given."""

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_STRING = re.compile(_QUOTED, re.DOTALL)
_TAG = re.compile(
    r"\{#.*?#\}"
    r"|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    rf"|(?P<tag>\{{[{{%](?>{_QUOTED}|(?![}}%]\}}).)*+(?:[}}%]\}})?)",
    re.DOTALL,
)
_DEEP = re.compile(r"(?:(?:\bnot\b|[-(\[{])\s*){100}")
"""What opens a hundred levels at once: far above, reading an expression overflows minijinja's stack."""
_OPERATOR = re.compile(
    r"\b(?:and|or|not|is|in|if|else)\b|\*\*|//|[=!<>]=|[-+*/%~|<>]|\.\s*(?=[A-Za-z_])|(?<=[\w)\]'\"])\s*[(\[]"
)
_ELIF = re.compile(r"\{%[-+]?\s*elif\b")
_FORMAT_METHOD = re.compile(r"\.\s*format\s*\(")
_WIDE = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\d{5}|\d*\.\d{5})|\{[^{}:]*:[^{}]*?\d{5}")
"""A width or precision above MAX_ARGUMENT in what `format` reads."""


class UnboundedError(ValueError):
    """A template or a filter that asks for too much. `line` counts within the template, from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def check_syntax(source: str) -> None:
    """Raises UnboundedError for a template that must not reach minijinja."""
    branches = 0
    for match in _TAG.finditer(source):
        if (tag := match["tag"]) is None:
            continue
        branches += _ELIF.match(tag) is not None
        if reason := _unbounded(tag, branches):
            raise UnboundedError(reason, source.count("\n", 0, match.start()) + 1)


def _unbounded(tag: str, branches: int) -> str | None:
    bare = _STRING.sub("''", tag)
    if _DEEP.search(bare):
        return "an expression is nested more than 100 levels deep"
    if sum(1 for _ in _OPERATOR.finditer(bare)) > MAX_OPERATORS:
        return f"an expression has more than {MAX_OPERATORS:,} operators"
    if branches > MAX_BRANCHES:
        return f"more than {MAX_BRANCHES} `elif`: look the value up in a mapping instead"
    if _FORMAT_METHOD.search(bare) and any(_WIDE.search(text) for text in _STRING.findall(tag)):
        return f"`format` is given a width of more than {MAX_ARGUMENT:,}"
    return None


def check_text(text: str) -> str:
    """The text itself. Raises UnboundedError where it is too long to be a prompt."""
    if len(text) > MAX_TEXT:
        raise UnboundedError(f"the text has {len(text):,} characters, and may have {MAX_TEXT:,}")
    return text


def check_argument(name: str, number: Any) -> None:
    """Raises UnboundedError for a number that a filter would build too much from."""
    if isinstance(number, int | float) and not abs(number) <= MAX_ARGUMENT:
        raise UnboundedError(f"{name}: {number:,} is more than {MAX_ARGUMENT:,}")


class BoundedFilters:
    """minijinja's own filters that build more than they are given, with bounds on what they are given."""

    def __init__(self) -> None:
        self._own = minijinja.Environment(undefined_behavior="strict")

    def add_to(self, environment: minijinja.Environment) -> None:
        """Put them in the place of an environment's own."""
        for name in ("indent", "batch", "slice", "format"):
            environment.add_filter(name, getattr(self, f"_{name}"))

    def _indent(self, value: Any, *arguments: Any, **named: Any) -> Any:
        width = next(_numbers(arguments, named), 4)
        if isinstance(value, str) and value.count("\n") * abs(width) > MAX_TEXT:
            raise UnboundedError(f"indent: the text would have more than {MAX_TEXT:,} characters")
        return self._call("indent", value, arguments, named)

    def _batch(self, value: Any, *arguments: Any, **named: Any) -> Any:
        return self._call("batch", value, arguments, named)

    def _slice(self, value: Any, *arguments: Any, **named: Any) -> Any:
        return self._call("slice", value, arguments, named)

    def _format(self, value: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(value, str) and _WIDE.search(value):
            raise UnboundedError(f"format: a width of more than {MAX_ARGUMENT:,}")
        if None in arguments:  # minijinja gives an undefined name as None too
            raise UnboundedError("format: a value is null or undefined")
        return self._apply("format", value, arguments, named)

    def _call(self, name: str, value: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if value is None:  # also what minijinja gives for an undefined name
            raise UnboundedError(f"{name}: the value is null or undefined")
        for number in _numbers(arguments[:1], named):
            check_argument(name, number)
        return to_read(self._apply(name, value, arguments, named))

    def _apply(self, name: str, value: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        spelled = [f"a[{at}]" for at in range(len(arguments))] + [f"{key}=k.{key}" for key in named]
        return self._own.eval_expr(f"value | {name}({', '.join(spelled)})", value=value, a=arguments, k=named)


def _numbers(arguments: tuple[Any, ...], named: dict[str, Any]) -> Iterator[Any]:
    for value in (*arguments, *named.values()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value
