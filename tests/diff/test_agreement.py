"""Agreement statistics: what the literature's worked examples say, and what must hold of any labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.diff.agreement import (
    MOST_LABELS,
    agreement,
    are_labels,
    cohen_kappa,
    fleiss_kappa,
    mean_absolute_difference,
)

DIAGNOSES = """
444444 222555 233335 555555 222444 113333 333355 113334 114444 555555
144444 124444 222333 144444 224445 333335 111455 111112 224444 133555
555555 244444 224555 114444 144445 222224 111155 224444 133333 555555
"""
"""What six psychiatrists said of 30 patients: Fleiss, Psychological Bulletin 76 (1971), table 1."""

RATINGS = [
    *((0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1)),
    *((7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7)),
]
"""How many of 14 raters put each of ten subjects into each of five categories: Wikipedia, Fleiss' kappa."""


def frame(rows: Sequence[Sequence[object]]) -> pl.DataFrame:
    """A column for each rater, a row for each subject."""
    return pl.DataFrame([list(column) for column in zip(*rows, strict=True)], strict=False)


def of_counts(table: Sequence[Sequence[int]]) -> pl.DataFrame:
    """Two raters' labels with this table of counts."""
    cells = [(a, b) for a, row in enumerate(table) for b, count in enumerate(row) for _ in range(count)]
    return frame(cells)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        (((20, 5), (10, 15)), 0.4),  # Wikipedia, Cohen's kappa: grant proposals
        (((45, 15), (25, 15)), 0.1304),  # the same page: equal agreement, other margins
        (((25, 35), (5, 35)), 0.2593),
        (((0, 4, 1), (0, 8, 0), (0, 1, 5)), 0.4842),  # SAS, PROC FREQ, Tests and Measures of Agreement
    ],
)
def test_cohens_kappa_of_worked_examples(table: tuple[tuple[int, ...], ...], kappa: float) -> None:
    """Two raters, as they are printed there."""
    assert cohen_kappa(of_counts(table)) == pytest.approx(kappa, abs=5e-5)


def test_fleiss_kappa_of_worked_examples() -> None:
    """Six raters, 0.430 in the article (R's irr prints 0.4302445); fourteen, 0.210."""
    assert fleiss_kappa(frame(DIAGNOSES.split())) == pytest.approx(0.4302445, abs=5e-8)
    ratings = [[label for label, times in enumerate(row) for _ in range(times)] for row in RATINGS]
    assert fleiss_kappa(frame(ratings)) == pytest.approx(0.210, abs=5e-4)


LABELS = st.sampled_from(["a", "b", "c", None])


@st.composite
def labelled(draw: st.DrawFn, *, raters: int | None = None) -> pl.DataFrame:
    """Labels of some raters for some rows."""
    width = raters or draw(st.integers(2, 4))
    rows = draw(st.lists(st.tuples(*[LABELS] * width), min_size=1, max_size=30))
    return pl.DataFrame(rows, schema={f"r{n}": pl.String for n in range(width)}, orient="row")


@settings(deadline=None)  # the machine may be busy
@given(labelled(raters=2))
def test_two_raters_agree_with_each_other_alike(labels: pl.DataFrame) -> None:
    """Neither is the first; names of labels do not matter."""
    turned = labels.select("r1", "r0")
    assert agreement(turned) == agreement(labels)
    for kappa in (cohen_kappa, fleiss_kappa):
        assert kappa(turned) == pytest.approx(kappa(labels))
        assert kappa(labels.select(pl.all() + "!")) == pytest.approx(kappa(labels))


@settings(deadline=None)  # the machine may be busy
@given(labelled())
def test_agreement_is_a_share_and_kappa_is_at_most_one(labels: pl.DataFrame) -> None:
    """And full agreement of all is kappa 1."""
    share = agreement(labels)
    assert share is not None
    assert 0 <= share <= 1
    kappa = fleiss_kappa(labels)
    assert kappa is None or -1 <= kappa <= 1 + 1e-12
    if kappa is not None:
        assert (share == 1) == math.isclose(kappa, 1)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(LABELS, min_size=1, max_size=30), st.integers(2, 4))
def test_kappa_of_the_same_labels_is_one(labels: list[str | None], raters: int) -> None:
    """Null is a label; where all are the same one, chance explains everything and kappa is none."""
    same = pl.DataFrame(
        {f"r{n}": labels for n in range(raters)}, schema={f"r{n}": pl.String for n in range(raters)}
    )
    expected = pytest.approx(1) if len(set(labels)) > 1 else None
    assert agreement(same) == 1
    assert fleiss_kappa(same) == expected
    assert cohen_kappa(same.select("r0", "r1")) == expected


def test_nothing_agrees_with_nothing() -> None:
    """Without rows there is no figure."""
    nothing = pl.DataFrame(schema={"a": pl.UInt64, "b": pl.UInt64})
    assert agreement(nothing) is cohen_kappa(nothing) is fleiss_kappa(nothing) is None
    assert mean_absolute_difference(nothing["a"].cast(pl.Float64), nothing["b"].cast(pl.Float64)) is None


def test_the_mean_absolute_difference_is_of_numbers() -> None:
    """A null or NaN on either side leaves the pair out."""
    first = pl.Series([1.0, 2.0, None, float("nan"), 5.0])
    assert mean_absolute_difference(first, pl.Series([3.0, 2.0, 1.0, 1.0, None])) == 1


@pytest.mark.parametrize(
    ("distinct", "rows", "expected"),
    [
        (3, 6, True),
        (3, 5, False),
        (MOST_LABELS, 1000, True),
        (MOST_LABELS + 1, 1000, False),
        (1, 2, True),
        (0, 0, False),
    ],
)
def test_labels_are_few(distinct: int, rows: int, expected: bool) -> None:
    """And stand in two rows each, on average: texts that are all different are no labels."""
    assert are_labels(distinct, rows) is expected
