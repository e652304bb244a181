"""Which Arrow type each column gets: declared by the file, asked for by the job, or inferred.

Inference sees every row and loses nothing: a type is taken only when it holds every value that was
seen exactly. bool, int64, float64 (for integers too, when all are within 2^53), string, lists and
structs, recursively. Everything else becomes a string of JSON text, in which every value is
spelled as JSON, a plain string in quotes: kinds that differ, integers beyond 64 bits, objects that
never have a member, lists that never have an item, and structs beyond `MAX_KEYS` keys or
`MAX_DEPTH` levels. A column that is always null is a string.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from typing import Any

import pyarrow as pa

from batchrun.codec import encodable
from batchrun.errors import InputError
from batchrun.source.batch import Batch
from batchrun.source.overrides import forced_fields, marked, missing_column

MAX_COLUMNS = 10_000
MAX_KEYS = 1000
"""Different keys of one struct, over all rows."""
MAX_DEPTH = 20
MAX_FIELDS = 20_000
"""Members of all structs together: what bounds the memory of inference."""

_EXACT = 2**53


class ColumnTypes:
    """The column types of an input, from a pass over its batches.

    `declared` is the schema of a format that has one (CSV, Parquet); `overrides` is `input.types`;
    `usual` has types, as `overrides` names them, that a column gets where nothing else is said.
    Raises InputError when an override names no type.
    """

    def __init__(
        self,
        declared: pa.Schema | None = None,
        overrides: Mapping[str, str] | None = None,
        usual: Mapping[str, str] | None = None,
    ) -> None:
        self._declared = declared
        self._forced = forced_fields(overrides or {})
        self._usual = forced_fields(usual or {})
        self._check = pa.schema(list(self._forced.values()))
        self._shapes: dict[str, _Shape] = {}
        self._budget = _Budget(MAX_FIELDS)

    def observe(self, batch: Batch) -> None:
        """Take in the rows of `batch`, read with all columns.

        Raises InputError for a value that does not fit its override, naming the line, and for an
        input of more than `MAX_COLUMNS` columns.
        """
        if self._forced:
            batch.arrow(self._check)
        if self._declared is not None:
            return
        for name, values in _columns([row.values for row in batch.rows]).items():
            shape = self._shapes.get(name)
            if shape is None:
                shape = self._shapes[name] = _Shape(self._budget)
            if name not in self._usual:
                shape.see(values, 1)
        if len(self._shapes) > MAX_COLUMNS:
            raise InputError(
                f"{batch.rows[-1].location}: more than {MAX_COLUMNS:,} different keys: they look like data",
                hint='put them below one key, {"scores": {…}}, which then becomes one column of JSON text',
            )

    @property
    def names(self) -> list[str]:
        """The columns seen so far, in the order in which they first appeared."""
        return list(self._shapes) if self._declared is None else self._declared.names

    def schema(self) -> pa.Schema:
        """The final types. Raises InputError for an override of a column the input does not have."""
        for name in self._forced:
            if name not in self.names:
                raise missing_column(name, self.names, "input.types")
        if self._declared is not None:
            return pa.schema([self._forced.get(field.name, field) for field in self._declared])
        said = self._usual | self._forced
        return pa.schema([said.get(name) or shape.field(name) for name, shape in self._shapes.items()])


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return columns


class _Budget:
    """How many more struct members may be told apart."""

    def __init__(self, left: int) -> None:
        self.left = left


class _Json:
    """Stands as the kind of a value that only JSON text can hold."""


class _Shape:
    """What was seen of one column, or of one place inside it."""

    __slots__ = ("_budget", "_fields", "_high", "_item", "_kind", "_low")

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._kind: type | None = None
        self._low = self._high = 0
        self._item: _Shape | None = None
        self._fields: dict[str, _Shape] = {}

    def see(self, values: list[Any], depth: int) -> None:
        """Take in some values of this place, which lies `depth` levels deep."""
        kinds = set(map(type, values))
        kinds.discard(type(None))
        if not kinds or self._kind is _Json:
            return
        self._kind = _joined(kinds if self._kind is None else kinds | {self._kind})
        if self._kind in (list, dict) and depth > MAX_DEPTH:
            self._kind = _Json
        if int in kinds and self._kind is not _Json:
            self._see_integers(values)
        elif self._kind is list:
            self._see_items(values, depth)
        elif self._kind is dict:
            self._see_members(values, depth)
        if self._kind is _Json:
            self._item, self._fields = None, {}

    def _see_integers(self, values: list[Any]) -> None:
        integers = [value for value in values if type(value) is int]
        self._low = min(self._low, *integers)
        self._high = max(self._high, *integers)

    def _see_items(self, values: list[Any], depth: int) -> None:
        self._item = self._item or _Shape(self._budget)
        self._item.see(list(chain.from_iterable(filter(None, values))), depth + 1)

    def _see_members(self, values: list[Any], depth: int) -> None:
        for name, members in _columns([value for value in values if value]).items():
            shape = self._fields.get(name)
            if shape is None:
                if len(self._fields) == MAX_KEYS or not self._budget.left or not encodable(name):
                    self._kind = _Json
                    return
                self._budget.left -= 1
                shape = self._fields[name] = _Shape(self._budget)
            shape.see(members, depth + 1)

    def field(self, name: str) -> pa.Field:
        """The Arrow field for this place, marked where it holds JSON text."""
        kind = self._type()
        return marked(name, "json") if kind is None else pa.field(name, kind)

    def _type(self) -> pa.DataType | None:
        """The Arrow type that holds every value seen, or None when only JSON text does."""
        if self._kind is None or self._kind is str:
            return pa.string()
        if self._kind is bool:
            return pa.bool_()
        if self._kind is int:
            return pa.int64() if self._low >= -(2**63) and self._high < 2**63 else None
        if self._kind is float:
            return pa.float64() if self._low >= -_EXACT and self._high <= _EXACT else None
        if self._item and self._item._kind:
            return pa.list_(self._item.field("item"))
        if self._fields:
            return pa.struct([shape.field(name) for name, shape in self._fields.items()])
        return None


def _joined(kinds: set[type]) -> type:
    if kinds == {int, float}:
        return float
    return next(iter(kinds)) if len(kinds) == 1 else _Json
