"""`input.types`: the column types a job can ask for, and how a value of a text format becomes one.

A value that fits only by changing it is refused: a job that asks for `int64` gets exactly the
numbers in its file or a message that names the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from batchrun.codec import dumps
from batchrun.errors import InputError

_EXACT = 2**53
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|[+-]?Infinity")
_BEYOND_MICROSECONDS = re.compile(r"[.,][0-9]{6}0*[1-9]")


def json_text(value: Any) -> str:
    """`value` as JSON text; what JSON cannot spell (NaN) stands as Python's json module reads it back."""
    text = dumps(value)
    if b"null" not in text:
        return text.decode()
    # orjson writes NaN as null: look again, exactly.
    exact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.decode() if "NaN" not in exact and "Infinity" not in exact else _escaped(value, exact)


def _escaped(value: Any, exact: str) -> str:
    try:
        exact.encode()
    except UnicodeEncodeError:  # a lone surrogate: only an escape can carry it
        return json.dumps(value, separators=(",", ":"))
    return exact


def _int64(value: Any) -> int:
    if type(value) is str and _INTEGER.fullmatch(value):
        value = int(value)
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if type(value) is not int:
        raise ValueError("is no integer")
    if not -(2**63) <= value < 2**63:
        raise ValueError("is beyond 64 bits")
    return value


def _float64(value: Any) -> float:
    if type(value) is str and _NUMBER.fullmatch(value):
        return float(value)
    if type(value) is int:
        if abs(value) > _EXACT:
            raise ValueError("is an integer beyond 2^53, which float64 would round")
        return float(value)
    if type(value) is not float:
        raise ValueError("is no number")
    return value


def _bool(value: Any) -> bool:
    if type(value) is str and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if type(value) is not bool:
        raise ValueError("is neither true nor false")
    return value


def _string(value: Any) -> str:
    return value if type(value) is str else json_text(value)


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("is no ISO 8601 date such as 2026-03-31") from None


def _timestamp(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("is no ISO 8601 timestamp such as 2026-03-31T12:00:00Z") from None
    if _BEYOND_MICROSECONDS.search(value):
        raise ValueError("has digits beyond microseconds")
    return moment


OVERRIDES: dict[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "int64": (pa.int64(), _int64),
    "float64": (pa.float64(), _float64),
    "bool": (pa.bool_(), _bool),
    "string": (pa.string(), _string),
    "json": (pa.string(), json_text),
    "date": (pa.date32(), _date),
    "timestamp": (pa.timestamp("us", tz="UTC"), _timestamp),
}
"""Name in `input.types` → Arrow type and the conversion of one value, which raises ValueError.

`string` keeps strings and writes every other value as JSON text; `json` writes every value as
JSON text, strings in quotes; `timestamp` takes one without an offset as UTC.
"""

_MARK = b"input_type"


def marked(name: str, kind: str) -> pa.Field:
    """The field of column `name` under the override `kind`; its metadata keep the conversion's name."""
    return pa.field(name, OVERRIDES[kind][0], metadata={_MARK: kind.encode()})


def mark(field: pa.Field) -> str | None:
    """The override that made `field`, if one did."""
    kind = (field.metadata or {}).get(_MARK)
    return kind.decode() if kind else None


def forced_fields(overrides: Mapping[str, str]) -> dict[str, pa.Field]:
    """The fields of `input.types`. Raises InputError for a type of another name."""
    for name, kind in overrides.items():
        if kind not in OVERRIDES:
            near = get_close_matches(kind, OVERRIDES, n=1)
            raise InputError(
                f"input.types.{name}: unknown type {kind!r}; the types are {', '.join(OVERRIDES)}",
                hint=f"did you mean {near[0]}?" if near else "name one of them",
            )
    return {name: marked(name, kind) for name, kind in overrides.items()}


def missing_column(name: str, names: Iterable[str], setting: str) -> InputError:
    """The error for a `setting` of the job that names a column the input does not have."""
    known = list(names)
    near = get_close_matches(name, known, n=1)
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return InputError(
        f"{setting}: the input has no column {name!r}; it has {listed or 'no columns'}",
        hint=f"did you mean {near[0]}?" if near else "name one that it has",
    )
