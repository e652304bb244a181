"""JSON text put together from parts that are JSON texts already, so that no part is kept as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from batchrun import codec


def value(item: Any) -> bytes:
    """The item as JSON, `null` where it is nested too deeply to be written."""
    try:
        return codec.dumps(item)
    except ValueError:
        return b"null"


def exact_value(item: Any) -> bytes:
    """As `value`, but a NaN or an infinity stays one; keys are sorted."""
    try:
        return codec.canonical(item)
    except ValueError:
        return b"null"


def array(items: Iterable[bytes]) -> bytes:
    """A JSON array."""
    return b"[" + b",".join(items) + b"]"


def object_(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A JSON object, its members in the order given."""
    return b"{" + b",".join(codec.dumps(name) + b":" + text for name, text in members) + b"}"
