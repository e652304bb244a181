"""How far runs agree, every two of them and all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from batchrun.diff.agreement import (
    MOST_LABELS,
    agreement,
    are_labels,
    cohen_kappa,
    fleiss_kappa,
    mean_absolute_difference,
)
from batchrun.diff.aligned import equal, ok_in_all
from batchrun.diff.gathered import Gathered

_GLANCE = 10_000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, by the rows that are ok in both.

    Attributes:
        changed: rows whose answers differ; `agreement` is the share of those that do not.
        cohen_kappa: where what is compared are labels.
        mean_absolute_difference: where they are numbers.
    """

    first: str
    second: str
    rows: int
    changed: int
    agreement: float | None
    cohen_kappa: float | None
    mean_absolute_difference: float | None


@dataclass(frozen=True, slots=True)
class Together:
    """All runs, by the rows that are ok in every one.

    Attributes:
        changed: rows whose answer is not the same in every run; `agreement` is the share of the others.
        labels: how many different ones there are, where what is compared are labels (`are_labels`).
        fleiss_kappa: of more than two runs, where they are.
    """

    rows: int
    changed: int
    agreement: float | None
    labels: int | None
    fleiss_kappa: float | None


def together(found: Gathered, runs: int) -> Together:
    """Compare all runs."""
    codes = _both(found.lines, ok_in_all(runs), [f"code_{number}" for number in range(runs)])
    labels = _labels(codes)
    kappa = fleiss_kappa(codes) if labels and runs > 2 else None
    changed = codes.select((~equal(range(runs))).sum()).item()
    return Together(len(codes), changed, agreement(codes), labels, kappa)


def _labels(codes: pl.DataFrame) -> int | None:
    """How many labels there are, if these are labels; where many rows begin with others, that is enough."""
    if _distinct(codes.head(_GLANCE)) > MOST_LABELS:
        return None
    distinct = _distinct(codes)
    return distinct if are_labels(distinct, len(codes)) else None


def _distinct(codes: pl.DataFrame) -> int:
    return pl.concat([codes[name].alias("code") for name in codes.columns]).n_unique()


def _both(lines: pl.DataFrame, ok: pl.Expr, names: Sequence[str]) -> pl.DataFrame:
    return lines.lazy().filter(ok).select(names).collect()  # lazily, the others are not copied


def pairs(found: Gathered, names: Sequence[str], *, labels: bool) -> Iterator[Pair]:
    """Compare every two runs, those with the first before the others."""
    for first, second in combinations(range(len(names)), 2):
        ok = pl.col(f"ok_{first}") & pl.col(f"ok_{second}")
        codes = _both(found.lines, ok, [f"code_{first}", f"code_{second}"])
        numbers = [f"number_{number}" for number in (first, second)] if found.numbers else []
        yield Pair(
            first=names[first],
            second=names[second],
            rows=len(codes),
            changed=codes.select((~equal([first, second])).sum()).item(),
            agreement=agreement(codes),
            cohen_kappa=cohen_kappa(codes) if labels else None,
            mean_absolute_difference=mean_absolute_difference(*_both(found.lines, ok, numbers))
            if numbers
            else None,
        )
