"""The text of a template, before any row is seen: its markup, what it includes, which names it may read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from batchrun.codec import encodable

_MARKUP = re.compile(r"\{[{%#]")
_INCLUDE = re.compile(r"\{%(?P<left>-?)\s*include\s+(['\"])(?P<name>[^'\"]+)\2\s*(?P<right>-?)%\}")
_LOADING = re.compile(r"\{%[-+]?\s*(?:include|import|from|extends)\b")
_WORD = re.compile(r"[^\s!-/:-@\[-^`{-~]+")
"""What stands between white space and ASCII's punctuation: among others, every name."""

_ANY_COLUMN = frozenset({"row", "debug"})
"""Words of a template that may show columns which it does not name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset({"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "self"})
"""Words that a template does not read as names."""
_UNQUOTABLE = re.compile(r"\\|[{%#]\}|\{[{%#]|\}\}")
"""What a quoted name must not hold: an escape, or a mark that begins or ends a tag."""

_COLUMN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
LITERALS = frozenset({"true", "false", "none", "True", "False", "None"})


def has_markup(value: Any) -> bool:
    """Whether a value of any shape holds a string that is a template."""
    if isinstance(value, str):
        return _MARKUP.search(value) is not None
    if isinstance(value, list):
        return any(map(has_markup, value))
    return isinstance(value, Mapping) and any(map(has_markup, value.values()))


def column_name(column: str, columns: Collection[str]) -> str | None:
    """How a template names one of a row's `columns`: `subject`, `row["unit price"]`; None where it cannot."""
    if _NAME.fullmatch(column) and column.lower() not in _RESERVED:
        return column
    quote = next((mark for mark in ('"', "'") if mark not in column), None)
    if quote is None or not column.isprintable() or _UNQUOTABLE.search(column) or "row" in columns:
        return None
    return f"row[{quote}{column}{quote}]"


def included_names(source: str) -> Iterator[tuple[str, int]]:
    """The files that a template includes by a literal name, each with its line, from 1."""
    for match in _INCLUDE.finditer(source):
        yield match["name"], source.count("\n", 0, match.start()) + 1


def inline_includes(source: str, files: Mapping[str, str]) -> str:
    """Replace each `{% include 'name' %}` whose file is in `files` by that file's text."""

    def text(match: re.Match[str]) -> str:
        if match["name"] not in files:
            return match[0]
        inner = inline_includes(files[match["name"]], files)
        # an empty comment trims the white space beside it as `{%-` and `-%}` do
        return ("{#- #}" if match["left"] else "") + inner + ("{# -#}" if match["right"] else "")

    return _INCLUDE.sub(text, source)


def loads_others(source: str) -> bool:
    """Whether a template without its literal includes (`inline_includes`) brings in others still."""
    return _LOADING.search(source) is not None


def words(source: str, files: Mapping[str, str]) -> frozenset[str] | None:
    """A set that holds every name which a template can read, those of included `files` too.

    None where it may read names that it does not spell: by `row[…]`, or in a file found per row.
    """
    whole = inline_includes(source, files)
    found = frozenset(_WORD.findall(whole))
    return None if found & _ANY_COLUMN or loads_others(whole) else found


def joined(source: str) -> Callable[[Mapping[str, Any]], str | None] | None:
    """What gives the text of a template that is nothing but text and `{{ column }}`; None for any other.

    For a row it gives None where a column is missing, or is no text that UTF-8 can carry. It spares such a
    template minijinja, which takes a microsecond or two, and copies a long text several times.
    """
    pieces = _COLUMN.split(source)
    texts, names = pieces[::2], pieces[1::2]
    if any(_MARKUP.search(text) or text.endswith("{") for text in texts) or LITERALS & set(names):
        return None
    rest = list(zip(names, texts[1:], strict=True))

    def join(values: Mapping[str, Any]) -> str | None:
        found = texts[0]
        for name, text in rest:
            value = values.get(name)
            if type(value) is not str:
                return None
            found += value + text
        return found if found.isascii() or encodable(found) else None

    return join
