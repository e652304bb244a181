"""One condition in SQL: read, refused where polars must not see it, and applied to rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from batchrun.predicate.columns import Asked, MixedKindsError, Path, Types, series, with_typed_nulls

MAX_OPERATORS = 200
"""AND, OR, + and their kin in one condition: 300 take polars two seconds, 3,000 more than a minute."""

_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`""")
"""Doubled quotes need no care: what they divide are two quoted texts side by side."""

_OTHER_QUOTES = re.compile(r"\$|\b(?:e|n|nq|q|r|u&)['\"]", re.IGNORECASE)
"""`$$…$$`, `E'…\\'…'` and their kin, which end elsewhere than they seem to."""

_COMMENT = re.compile(r"--|/\*")
_LIST = re.compile(r"\(\s*[^()\s,]+\s*(?:,\s*[^()\s,]+\s*)+\)")
_OPERATOR = re.compile(r"\b(?:and|or|not)\b|[-+*/%|^&]", re.IGNORECASE)
_ACROSS = re.compile(r'(?<!\\)"(?:Agg|Over|Window|Len)"')
"""What polars' spelling of an expression calls aggregates and windows; quotes within texts are escaped."""
_READER = re.compile(r"\b((?:read|scan)_\w+)\s*\(", re.IGNORECASE)
_TOKEN = re.compile(r"\w+|\S")
_FROM_WITHIN = frozenset({"extract", "trim", "substring", "substr"})
"""Functions whose arguments are divided by FROM."""

_COMPARING = frozenset({"is", "in", "not", "like", "ilike", "rlike", "regexp", "between", "and", "or"})


class PredicateError(ValueError):
    """A predicate that is no SQL expression, or that does not fit the rows' values."""


class Predicate:
    """One SQL condition over columns, for example `lang = 'en' AND stars < 3`.

    Raises PredicateError when the text cannot be read as SQL, or holds a query of its own: polars
    would read files and web addresses for it.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        shown = _shown(sql)
        if reason := _refused(sql):
            raise PredicateError(f"`{shown}` {reason}")
        try:
            self._expression = pl.sql_expr(sql)
        except (pl.exceptions.PolarsError, OSError, UnicodeEncodeError) as error:  # a shell may pass no text
            raise PredicateError(f"`{shown}` is no SQL condition: {_shown(_first_line(error))}") from error
        if self._expression.meta.has_multiple_outputs():
            raise PredicateError(
                f"`{shown}` is no SQL condition: `*` and `^…$` stand for several columns, also where one is "
                "called like that"
            )
        spelled = self._expression.meta.serialize(format="json")
        self.looks_at_one_row = _ACROSS.search(spelled) is None
        """Whether it says the same of a row whichever others stand beside it, unlike `stars > avg(stars)`."""
        self.paths: tuple[Path, ...] = tuple(dict.fromkeys(_paths(json.loads(spelled))))
        """The columns that it looks at, and of structs the members where it names them."""
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(self._expression.meta.root_names()))
        self._asked = Asked.of(self.paths).members

    def choose(self, rows: Sequence[Mapping[str, Any]], types: Types | None = None) -> list[bool]:
        """For each row, whether the condition is true; a column or a member that the row lacks is null.

        `types` are those of the columns, where they are known. Raises PredicateError when the condition
        cannot be applied to these values.
        """
        types = types or {}
        columns = {
            name: self._series(name, [row.get(name) for row in rows], types.get(name))
            for name in self.columns
        }
        frame = pl.DataFrame(columns or {"": [None] * len(rows)})
        try:
            return self.choose_from(frame)
        except PredicateError:
            for typed in with_typed_nulls(frame, self.paths):
                with suppress(PredicateError):
                    return self.choose_from(typed)
            raise

    def _series(self, name: str, values: list[Any], kind: pl.DataType | None) -> pl.Series:
        try:
            return series(name, values, self._asked.get(name, Asked(whole=True)), kind)
        except (TypeError, ValueError, OverflowError, RuntimeError, pl.exceptions.PolarsError) as error:
            kinds = {type(value).__name__ for value in values if value is not None}
            found = str(error) if isinstance(error, MixedKindsError) else ", ".join(sorted(kinds))
            reason = "mixes kinds of values" if "," in found else "holds values that no column of polars has"
            raise PredicateError(f"`{_shown(self.sql)}`: column `{name}` {reason} ({found})") from error

    def choose_from(self, frame: pl.DataFrame) -> list[bool]:
        """The same over a data frame. Raises PredicateError."""
        try:
            chosen = frame.select(self._expression.alias("chosen"))["chosen"]
        except (pl.exceptions.PolarsError, OSError) as error:
            raise PredicateError(
                f"`{_shown(self.sql)}` does not fit the rows: {_first_line(error)}"
            ) from error
        if chosen.dtype not in (pl.Boolean, pl.Null):
            raise PredicateError(f"`{_shown(self.sql)}` gives {chosen.dtype}, not true or false")
        if len(chosen) == 1 != frame.height:  # a condition over constants only
            chosen = chosen.new_from_index(0, frame.height)
        return chosen.cast(pl.Boolean).fill_null(value=False).to_list()


def _paths(node: Any) -> Iterator[Path]:
    """The columns that an expression names, in polars' JSON of it, each with the members that follow."""
    if path := _path(node):
        yield path
    elif isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _paths(inner)


def _path(node: Any) -> Path:
    """The way that `column.member.member` leads; () for any other expression."""
    match node:
        case {"Column": str(name)}:
            return (name,)
        case {"Function": {"input": [inner], "function": {"StructExpr": {"FieldByName": str(name)}}}}:
            path = _path(inner)
            return (*path, name) if path else ()
    return ()


def _refused(sql: str) -> str | None:
    """Why polars must not see a condition."""
    bare = _QUOTED.sub("''", sql)
    if _OTHER_QUOTES.search(_QUOTED.sub(lambda text: text[0][0] * 2, sql)):
        return "quotes text in another way than 'text': write a quote within it twice"
    if _COMMENT.search(bare):
        return "is no SQL condition: it holds a comment"
    if word := _query(bare):
        return f"is no SQL condition: it holds a query ({word}), and a condition looks at the row alone"
    if sum(1 for _ in _OPERATOR.finditer(_LIST.sub("", bare))) > MAX_OPERATORS:
        return f"has more than {MAX_OPERATORS} operators; many values of one column go into `column IN (…)`"
    return None


def _query(bare: str) -> str | None:
    """The word that makes a query of a part of a condition, whose quoted texts are taken out."""
    for reader in _READER.findall(bare):
        return str(reader)
    words: list[str] = [word.lower() for word in _TOKEN.findall(bare)]
    around: list[str] = []
    for at, word in enumerate(words):
        before, after = words[at - 1] if at else "", words[at + 1] if at + 1 < len(words) else ""
        if word == "(":
            around.append(before)
        elif word == ")" and around:
            around.pop()
        elif _asks(word, before, after, within=around[-1] if around else ""):
            return word.upper()
    return None


def _asks(word: str, before: str, after: str, *, within: str) -> bool:
    if word == "select":
        return True
    if word == "with":
        return after != "time"  # TIMESTAMP WITH TIME ZONE
    if word == "from":
        return before not in ("distinct", ".") and (before == "(" or within not in _FROM_WITHIN)
    starts = before in ("(", "") and (after == "(" or after[:1].isalnum() or after[:1] in ("'", "_"))
    return word in ("table", "values") and starts and after not in _COMPARING


def _shown(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _first_line(error: Exception) -> str:
    if isinstance(error, pl.exceptions.StructFieldNotFoundError):  # its text is the name alone
        return f"no struct in it has a member `{error}`"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
