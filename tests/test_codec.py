"""JSON in and out: no value changes on the way, and different values never share their canonical bytes."""

from __future__ import annotations

import json
import math
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec


def paired(text: str) -> str:
    """No JSON document gives a pair of surrogates as two characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


# any Unicode text with lone surrogates among it, and numbers beyond 64 bits
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8).map(paired)
NUMBERS = st.integers() | st.integers(-(2**300), 2**300) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, NaN to NaN and -0.0 not to 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) if not isinstance(one, float) else repr(one) == repr(other)


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(JSON)
def test_a_value_comes_back_from_its_canonical_bytes(value: Any) -> None:
    """Also integers beyond 64 bits, NaN, the infinities and lone surrogates."""
    assert same(codec.loads(codec.canonical(value)), value)


@given(JSON)
def test_what_is_written_is_strict_json_of_the_same_value(value: Any) -> None:
    """NaN and the infinities become null, wherever they stand: a server refuses a body that holds them."""
    written = codec.dumps(value)
    assert same(codec.loads(written), finite(value))
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} in {written!r}"))


@given(st.dictionaries(TEXT, JSON, max_size=6), st.randoms(use_true_random=False))
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(value: dict[str, Any], random: Any) -> None:
    """Two equal mappings have one hash."""
    items = list(value.items())
    random.shuffle(items)
    assert codec.canonical({"a": dict(items)}) == codec.canonical({"a": value})


@given(JSON, JSON)
def test_different_values_have_different_canonical_bytes(one: Any, other: Any) -> None:
    """1 and 1.0, NaN and null are different values."""
    assert (codec.canonical(one) == codec.canonical(other)) == same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (math.nan, None),
        (math.inf, None),
        (math.inf, -math.inf),
        ([{"a": math.nan}], [{"a": None}]),
        ((math.nan,), (None,)),
        ({"a": math.nan, "b": None}, {"a": None, "b": math.nan}),
        (2**64, float(2**64)),
        ("\ud800", "\\ud800"),
        ("null", None),
    ],
)
def test_values_that_look_alike_are_told_apart(one: Any, other: Any) -> None:
    """What orjson alone would write alike."""
    assert codec.canonical({"a": one}) != codec.canonical({"a": other})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"id": 123456789012345678901}', {"id": 123456789012345678901}),
        (b"18446744073709551616", 2**64),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"[0.1234567890123456789012]", [0.1234567890123456789012]),
        (b"0.00012313062325119972", 0.00012313062325119972),
        (b"-12345678901234567890", -12345678901234567890),
        (b"[0.1234567890123456789, 12345678901234567890]", [0.1234567890123456789, 12345678901234567890]),
        (b"[12345678901234567890.5]", [12345678901234567890.5]),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\ude00"', "\ude00"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b" [1] ", [1]),
    ],
)
def test_documents_that_orjson_refuses_or_changes_are_read_exactly(text: bytes, value: Any) -> None:
    """Integers beyond 64 bits stay integers; a lone surrogate stays itself."""
    assert same(codec.loads(text), value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"[1,]", "Expecting value"),
        (b'"\xff"', "not UTF-8: byte 0xff at offset 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1e999", "the number 1e999 is too large"),
        (b"[1e5] x", "Extra data"),
        (b"1" * 5000, "4300 digits"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    """Always as ValueError, never as RecursionError."""
    with pytest.raises(ValueError, match=reason):
        codec.loads(text)


@pytest.mark.parametrize("value", [b"x", Decimal("1.5"), {"a": {1, 2}}, {"a": b"x", "big": 2**70}])
@pytest.mark.parametrize("write", [codec.dumps, codec.canonical])
def test_a_value_that_is_none_of_jsons_is_refused(write: Any, value: Any) -> None:
    """Nothing is written by way of repr."""
    with pytest.raises(TypeError):
        write(value)


def test_dates_are_written_as_iso_8601_text() -> None:
    """Parquet has them; JSON has no other form."""
    assert codec.dumps(date(2026, 1, 31)) == b'"2026-01-31"'


def test_hashes_are_blake2b_and_never_change() -> None:
    """They are on people's disks."""
    assert codec.digest(b"batchrun") == "e61c7ca472b060ba0ad1f17c88d5e098"
    assert codec.hash64(b"batchrun") == 1075889234253895549


@pytest.mark.parametrize(
    ("write", "depth"), [(codec.dumps, 600), (codec.dumps, 5000), (codec.canonical, 5000)]
)
def test_what_is_nested_too_deeply_is_refused(write: Any, depth: int) -> None:
    """Also a value that `loads` still gives: with ValueError, never with RecursionError."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        write(value)
