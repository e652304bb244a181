"""What is compared of each row: the answer, or a field; and what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from batchrun.diff.as_text import text_of, text_of_json
from batchrun.diff.in_json import kinds_of, out_of_json
from batchrun.diff.side import Side
from batchrun.errors import UsageError
from batchrun.show.member import find

_PARSED, _COMPLETION = "parsed", "completion"


@dataclass(frozen=True, slots=True)
class Found:
    """A value of each row as it is, and as the text by which it is compared."""

    value: pl.Expr
    kind: pl.DataType
    text: pl.Expr

    @property
    def code(self) -> pl.Expr:
        """8 bytes that stand for the text."""
        return self.text.map_batches(_codes, return_dtype=pl.UInt64)  # works the text out once


def _codes(texts: pl.Series) -> pl.Series:
    return pl.select(pl.when(texts.is_not_null()).then(texts.hash()).alias(texts.name)).to_series()


@dataclass(frozen=True, slots=True)
class Compared:
    """A value that rows are compared by.

    Attributes:
        path: its dotted path in the results' columns.
        short: what it is called in the names of columns.
        find: finds it in rows of a schema.
    """

    path: str
    short: str
    find: Callable[[pl.Schema], Found]


def answer_of(sides: Sequence[Side]) -> Compared:
    """The answer: `parsed` where every run has it, else `completion` without the space around it."""
    if all(map(_is_parsed, sides)):
        return Compared(_PARSED, _PARSED, _parsed)
    return Compared(_COMPLETION, _COMPLETION, _completion)


def _is_parsed(side: Side) -> bool:
    if side.schema[_PARSED] != pl.String:
        return True
    return any(frame.item() for frame in side.frames(lambda _: [pl.col(_PARSED).is_not_null().any()]))


def _parsed(schema: pl.Schema) -> Found:
    value, kind = pl.col(_PARSED), schema[_PARSED]
    return Found(value, kind, text_of_json(value) if kind == pl.String else text_of(value, kind))


def _completion(_schema: pl.Schema) -> Found:
    """The text; where there is none, what was said aloud, or which functions were called with what."""
    call = pl.element().struct
    given = pl.coalesce(call.field("arguments"), call.field("input"), pl.lit(""))
    calls = pl.col("tool_calls").list.eval(pl.concat_str(call.field("name"), given, separator=" "))
    value = pl.coalesce(
        pl.col(_COMPLETION), pl.col("audio").struct.field("transcript"), calls.list.join("\n")
    )
    return Found(value, pl.String(), value.str.strip_chars())


def field_of(path: str, sides: Sequence[Side]) -> Compared:
    """The member of the results at a dotted path; JSON text is read.

    Raises UsageError where a run has none.
    """
    places = [(side, find(path, side.schema, option="field", run=side.name)) for side in sides]
    kinds = _kinds(path, "field", [(side, found.rest) for side, found in places if found.rest])
    short = path.rpartition(".")[2]
    return Compared(path, short if short != "status" else "value", _finder(path, "field", kinds))


@dataclass(frozen=True, slots=True)
class Truth:
    """The column of the right answers, and the run whose input has it."""

    column: Compared
    side: Side


def truth_of(path: str, sides: Sequence[Side], compared: Compared) -> Truth:
    """What `compared` is held against: a column of the input, as the first run has it that does.

    Raises UsageError where none has it, and where what is compared is more than one value.
    """
    for side in sides:
        _require_one_value(compared, side)
    for side in sides:
        try:
            found = find(path, side.inputs, option="truth", run=side.name)
        except UsageError:
            continue
        kinds = _kinds(path, "truth", [(side, found.rest)] if found.rest else [])
        return Truth(Compared(path, "truth", _finder(path, "truth", kinds)), side)
    named = "; ".join(f"{side.name}: {', '.join(side.inputs) or 'none'}" for side in sides)
    later = "" if all(side.inputs for side in sides) else ". They come with the next publication: submit"
    raise UsageError(
        f"--truth {path}: no run has such a column of its input", hint=f"Columns of inputs: {named}{later}"
    )


def _require_one_value(compared: Compared, side: Side) -> None:
    kind = compared.find(side.schema).kind
    if kind.is_nested():
        names = [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []
        raise UsageError(
            f"--truth: `{compared.path}` of {side.name} is more than one value, and cannot be right or wrong",
            hint=f"Name a member that can: --field {compared.path}.{names[0] if names else 'NAME'}",
        )


def _finder(path: str, option: str, kinds: set[str]) -> Callable[[pl.Schema], Found]:
    def found(schema: pl.Schema) -> Found:
        member = find(path, schema, option=option, run="the run")
        if member.rest:
            member = out_of_json(member, kinds)
        if member.kind == pl.String and path == _PARSED:
            return Found(member.value, member.kind, text_of_json(member.value))
        return Found(member.value, member.kind, text_of(member.value, member.kind))

    return found


def _kinds(path: str, option: str, within: Sequence[tuple[Side, str]]) -> set[str]:
    """The kinds of values that JSON texts hold at a path. Raises UsageError where a run has none there."""
    kinds: set[str] = set()
    for side, rest in within:
        here, ok = set[str](), 0
        for frame in side.frames(partial(_text_at, path)):
            here |= kinds_of(frame["text"], rest)
            ok += int(frame["ok"].sum())
        if ok and not here:
            text = path.removesuffix(f".{rest}")
            raise UsageError(
                f"--{option} {path}: `{text}` of {side.name} is in no row JSON text with a `{rest}`",
                hint=f"See what it holds: `batchrun show {side.run.path} --columns {text.partition('.')[0]}`",
            )
        kinds |= here
    return kinds


def _text_at(path: str, schema: pl.Schema) -> list[pl.Expr]:
    text = find(path, schema, option="field", run="the run").value
    return [text.alias("text"), (pl.col("status") == "ok").alias("ok")]
