"""Times in the job file: numbers of seconds, and texts with units."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from batchrun.job.sections.fields import Duration, PositiveDuration

SECONDS: TypeAdapter[float] = TypeAdapter(Duration)
PATTERN = next(kind["pattern"] for kind in SECONDS.json_schema()["anyOf"] if "pattern" in kind)
UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        ("90s", 90),
        ("500ms", 0.5),
        ("6h", 21_600),
        ("1h30m", 5_400),
        ("2d12h", 216_000),
        ("1m500ms", 60.5),
        ("1d2h3m4s5ms", 93_784.005),
        ("1.5h", 5_400),
    ],
)
def test_a_time_is_a_number_of_seconds_or_a_sum_of_units(written: Any, seconds: float) -> None:
    """The larger unit first, as one says it."""
    assert SECONDS.validate_python(written) == pytest.approx(seconds)
    assert isinstance(written, int) or re.search(PATTERN, written), "the schema says the same"


@pytest.mark.parametrize("written", ["", "h", "1h1h", "30m1h", "1h30", "1 h", "1.h", "-1h", "1w", "1h-30m"])
def test_what_is_no_time_is_refused(written: str) -> None:
    """By the job file and by its schema, with examples."""
    with pytest.raises(ValidationError, match=r"must be a time: .* 1h30m"):
        SECONDS.validate_python(written)
    assert not re.search(PATTERN, written)


def test_a_sum_of_nothing_is_not_above_zero() -> None:
    """Where a time above 0 is needed."""
    with pytest.raises(ValidationError, match="must be a time above 0"):
        TypeAdapter(PositiveDuration).validate_python("0h0m")


@given(st.dictionaries(st.sampled_from([*UNITS]), st.integers(0, 10_000), min_size=1))
def test_every_sum_in_falling_order_is_read(parts: dict[str, int]) -> None:
    """As it is spelled, and by the schema's pattern too."""
    written = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    total = sum(amount * UNITS[unit] for unit, amount in parts.items())
    assert SECONDS.validate_python(written) == pytest.approx(total)
    assert re.search(PATTERN, written)
