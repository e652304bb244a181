"""JSON in and out, and the hashes made of it.

orjson does the work; the standard library takes over where orjson refuses a document
that people's data really holds (NaN, a lone surrogate) or would change a value silently
(it reads an integer beyond 64 bits as a float).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_DIGITS_AND_POINTS = bytes(byte if byte == 46 else _DIGITS[byte] for byte in range(256))
_LONG = b"0" * 19
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(data: bytes) -> Any:
    """Read one JSON document without changing a value.

    Raises ValueError, with the reason, when `data` is no JSON or is nested too deeply.
    """
    if _LONG in data.translate(_DIGITS) and _holds_long_integer(data):
        return _loads_exact(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_exact(data)


def _holds_long_integer(data: bytes) -> bool:
    """Whether there are 19 digits or more that follow no decimal point: fractions often have so many.

    Takes a tenth of a regular expression's time.
    """
    return b" " + _LONG in (b" " + data).translate(_DIGITS_AND_POINTS)


def _loads_exact(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", errors="strict"), parse_float=_float)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {data[error.start]:#04x} at offset {error.start}") from None


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def dumps(value: Any) -> bytes:
    """Write `value` as compact JSON, in the order its keys have.

    NaN and the infinities, which JSON has no form for, become null. Raises TypeError for a value
    that is none of JSON's, ValueError for one that is nested too deeply (some hundred levels).
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        with _bounded_nesting():
            return _dumps_exact(_without_nan(value), sort_keys=False)


def canonical(value: Any) -> bytes:
    """Write `value` as compact JSON with sorted keys: equal values give equal bytes, others never do.

    `loads` reads them back exactly, NaN and the infinities too. Raises as `dumps`.
    """
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        with _bounded_nesting():
            return _dumps_exact(value, sort_keys=True)
    if data.rfind(b"null") >= 0 and _holds_nan(value):  # which orjson writes as null
        return _dumps_exact(value, sort_keys=True)
    return data


@contextmanager
def _bounded_nesting() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _holds_nan(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return not math.isfinite(value)
    if kind is dict:
        return any(map(_holds_nan, value.values()))
    return (kind is list or kind is tuple) and any(map(_holds_nan, value))


def _without_nan(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_nan(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_without_nan(item) for item in value]
    return None if type(value) is float and not math.isfinite(value) else value


def _dumps_exact(value: Any, *, sort_keys: bool) -> bytes:
    text = json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: only an escape can carry it
        return json.dumps(value, sort_keys=sort_keys, separators=(",", ":")).encode()


def digest(data: bytes) -> str:
    """The 128-bit BLAKE2b hash of `data`, as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_of(value: Any) -> str:
    """The same of a value's canonical form."""
    return digest(canonical(value))


def hash_prefix(request_hash: str) -> int:
    """The first 64 bits of a request hash: beside the row's key, enough to tell requests apart."""
    return int(request_hash[:16], 16)


def hash64(data: bytes) -> int:
    """The 64-bit BLAKE2b hash of `data`, as an unsigned integer."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def scrubbed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which UTF-8 cannot carry."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def encodable(text: str) -> bool:
    """Whether `text` has a UTF-8 form: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
