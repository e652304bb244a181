"""A value in a row, by its dotted path through the members of structs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from batchrun.errors import UsageError


@dataclass(frozen=True, slots=True)
class Member:
    """A value of each row and its type; `rest` is the path that goes on within it, where it is text."""

    value: pl.Expr
    kind: pl.DataType
    rest: str = ""


def find(path: str, schema: Mapping[str, pl.DataType], *, option: str, run: str) -> Member:
    """The member at `path` of rows with this schema: a column's name, and members after dots.

    Names may hold dots themselves: the longest that fits counts. Raises UsageError, which names the option
    and the run, with what there is instead.
    """
    for name, rest in splits(path):
        if name in schema:
            column = cs.by_name(name).as_expr()  # pl.col takes * and ^…$ for patterns
            return _inside(Member(column, schema[name], rest), name, f"--{option} {path}", run)
    raise UsageError(
        f"--{option} {path}: {run} has no column `{path.partition('.')[0]}`",
        hint=f"Columns: {', '.join(schema)}",
    )


def _inside(found: Member, name: str, option: str, run: str) -> Member:
    if not found.rest or found.kind == pl.String:
        return found
    if not isinstance(found.kind, pl.Struct):
        kind = "a list" if found.kind.is_nested() else "one value"
        raise UsageError(
            f"{option}: `{name}` of {run} is {kind} and has no members", hint=f"Name {name} itself."
        )
    members = [field.name for field in found.kind.fields]
    for member, rest in splits(found.rest):
        if member in members:
            number = members.index(member)
            numbered = found.value.struct.rename_fields([str(n) for n in range(len(members))])
            inside = found.kind.fields[number].dtype
            assert isinstance(inside, pl.DataType)
            inner = Member(numbered.struct.field(str(number)), inside, rest)  # its name may be a pattern, too
            return _inside(inner, f"{name}.{member}", option, run)
    raise UsageError(
        f"{option}: `{name}` of {run} has no member `{found.rest.partition('.')[0]}`",
        hint=f"Members: {', '.join(members)}",
    )


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Every way to take a name off the front of a dotted path, the longest name first."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        yield ".".join(parts[:count]), ".".join(parts[count:])
