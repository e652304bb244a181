"""Which columns the results of a run have, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from batchrun.run_folder.columns.typed import Types


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands in the results beside our own columns.

    `inputs` are the input's columns with their types; `columns` those to carry. `prompts` asks for the
    prompt in `messages`, for rows that are no conversations of several answers. `known` are columns that
    `all` leaves out, because a column of ours holds the same.
    """

    inputs: pa.Schema
    columns: Literal["all", "none"] | tuple[str, ...]
    prompts: bool
    raw: bool
    types: Types = Types()  # noqa: RUF009 - frozen
    known: frozenset[str] = frozenset()

    @property
    def carried(self) -> pa.Schema:
        """The input columns that are carried."""
        if self.columns == "all":
            fields = [field for field in self.inputs if field.name not in self.known]
            return pa.schema(fields) if self.known else self.inputs
        names = () if self.columns == "none" else self.columns
        return pa.schema([self.inputs.field(name) for name in names])

    @property
    def added(self) -> list[pa.Field]:
        """Columns of ours that only some jobs want."""
        return [pa.field(n, pa.string()) for n in ("raw_request", "raw_response")] if self.raw else []

    @property
    def renders(self) -> bool:
        """Whether rows are rendered again for what they were asked."""
        return self.prompts or self.raw

    def schema(self) -> pa.Schema:
        """The results' columns: ours, with the input's after `row_id`."""
        carried = self.carried
        ours = [*self.types.schema(), *self.added]
        names = input_names(carried.names, [f.name for f in ours])
        inputs = [f.with_name(name) for f, name in zip(carried, names, strict=True)]
        return pa.schema([*ours[:2], *inputs, *ours[2:]])


def input_names(names: list[str], ours: list[str]) -> list[str]:
    """Names for input columns in the results: one that equals ours, case ignored, gets `input_`.

    Readers such as DuckDB ignore case in names.
    """
    taken = {name.casefold() for name in ours}
    given = []
    for name in names:
        while name.casefold() in taken:
            name = f"input_{name}"
        taken.add(name.casefold())
        given.append(name)
    return given
