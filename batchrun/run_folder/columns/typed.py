"""The results' columns whose types depend on the job: JSON text in the checkpoint, typed when published.

The text is what was read in the answer when it arrived. An answer kept from an older job may not fit
the types of this one: what does not fit is null.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.columns.parsed import arrow_array, loaded, values_behind
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import write_atomically

_TEXT = pa.string()
_FILE = "types.arrow"
_OLD = b"\xff\xff\xff\xff"
"""What the file begins with that has no checksum: Arrow's mark of a message."""

MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", _TEXT),
            ("content", _TEXT),
            ("parts", pa.list_(pa.struct([("type", _TEXT), ("text", _TEXT), ("source", _TEXT)]))),
            ("name", _TEXT),
            ("tool_call_id", _TEXT),
            (
                "tool_calls",
                pa.list_(pa.struct([(n, _TEXT) for n in ("id", "type", "name", "arguments", "input")])),
            ),
            ("refusal", _TEXT),
            ("reasoning", _TEXT),
        ]
    )
)

ANY_LABELS = pa.list_(pa.struct([("label", _TEXT), ("probability", pa.float64())]))
"""`probabilities` where the job does not say which labels there are: those of the tokens' alternatives."""


@dataclass(frozen=True, slots=True)
class Types:
    """The types of `parsed` (text where the job has no schema, or one without an Arrow form) and
    `probabilities`; `messages` always has the same."""

    parsed: pa.DataType = _TEXT
    probabilities: pa.DataType = ANY_LABELS

    def schema(self) -> pa.Schema:
        """RESULT_SCHEMA with these types."""
        return pa.schema([self.field(field) for field in RESULT_SCHEMA])

    def field(self, field: pa.Field) -> pa.Field:
        """A field of RESULT_SCHEMA as it is published."""
        types = {"parsed": self.parsed, "probabilities": self.probabilities, "messages": MESSAGES}
        return field.with_type(types.get(field.name, field.type))

    def column(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        """A column of the checkpoint as it is published."""
        if name not in _READ:
            return column
        wanted = self.field(RESULT_SCHEMA.field(name)).type
        if column.null_count == len(column):
            return pa.nulls(len(column), wanted)
        return _READ[name]([loaded(text) for text in column.to_pylist()], wanted)

    def again(self, name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
        """Such a column from its values in results that were published with another type, `kind`."""
        return _READ[name](values_behind(values, kind), self.field(RESULT_SCHEMA.field(name)).type)

    def save(self, checkpoint: Path) -> None:
        """Remember the types, for whoever reads the run before it is published."""
        fields = [("parsed", self.parsed), ("probabilities", self.probabilities)]
        data = _checked(pa.schema(fields).serialize().to_pybytes())
        path = checkpoint / _FILE
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)


def read_types(checkpoint: Path) -> Types:
    """The types that the last submit published with, or would have. Raises RunFolderError when damaged."""
    path = checkpoint / _FILE
    with suppress(FileNotFoundError), readable(path):
        schema = pa.ipc.read_schema(pa.py_buffer(_unchecked(path.read_bytes())))
        return Types(schema.field("parsed").type, schema.field("probabilities").type)
    return Types()


def _checked(data: bytes) -> bytes:
    """A schema with its CRC-32 before it."""
    return b"crc32 %08x\n%b" % (zlib.crc32(data), data)


def _unchecked(file: bytes) -> bytes:
    """The schema in a file. Raises ValueError where it is not as it was written."""
    if file.startswith(_OLD):
        return file
    data = file[15:]
    if file != _checked(data):
        raise ValueError("its checksum does not fit")
    return data


def probabilities_type(labels: Sequence[str] | None) -> pa.DataType:
    """A member for each label, where the job says which there are."""
    return pa.struct([(label, pa.float64()) for label in labels]) if labels else ANY_LABELS


def _probabilities(values: list[Any], wanted: pa.DataType) -> pa.Array:
    values = [
        {item["label"]: item["probability"] for item in value} if isinstance(value, list) else value
        for value in values
    ]
    if pa.types.is_struct(wanted):
        return pa.array(values, wanted)
    listed = [
        None if value is None else [{"label": key, "probability": p} for key, p in value.items()]
        for value in values
    ]
    return pa.array(listed, wanted)


_READ: dict[str, Callable[[list[Any], pa.DataType], pa.Array]] = {
    "parsed": arrow_array,
    "probabilities": _probabilities,
    "messages": lambda values, wanted: pa.array(values, wanted),
}

DECIDED = frozenset(_READ)
"""The columns whose types the job decides."""
