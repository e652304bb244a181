"""How far raters agree: statistics on labels, as pure functions.

Labels are equal or not; they have no order and no distance. Null is a label like any other.
"""

from __future__ import annotations

from itertools import combinations

import polars as pl

MOST_LABELS = 50
"""Distinct values that are taken for labels, at most."""


def agreement(labels: pl.DataFrame) -> float | None:
    """The share of rows in which all columns hold the same label; None without rows."""
    first, *others = labels.columns
    same = pl.all_horizontal(pl.col(first).eq_missing(pl.col(other)) for other in others)
    share: float | None = labels.select(same.mean()).item()
    return share


def cohen_kappa(labels: pl.DataFrame) -> float | None:
    """Cohen's kappa of two columns: agreement beyond what their own frequencies of labels make likely.

    1 is full agreement, 0 what chance gives. None without rows, and where every row has the same one label:
    there is nothing that chance could have made differ. Cohen, A coefficient of agreement for nominal
    scales, Educational and Psychological Measurement 20 (1960).
    """
    shares = [_shares(labels[name]) for name in labels.columns]
    both = shares[0].join(shares[1], on="label", nulls_equal=True)
    return _beyond_chance(agreement(labels), float((both["share"] * both["share_right"]).sum()))


def fleiss_kappa(labels: pl.DataFrame) -> float | None:
    """Fleiss' kappa of any number of columns: chance draws from the frequencies of all of them together.

    None as with `cohen_kappa`. Fleiss, Measuring nominal scale agreement among many raters, Psychological
    Bulletin 76 (1971); the share of pairs of raters that agree on a row, averaged over the rows, is the
    agreement of each pair averaged over the pairs.
    """
    pairs = [agreement(labels.select(pair)) for pair in combinations(labels.columns, 2)]
    if labels.is_empty():
        return None
    likely = _shares(pl.concat([labels[name].alias("label") for name in labels.columns]))["share"]
    observed = [share for share in pairs if share is not None]
    return _beyond_chance(sum(observed) / len(observed), float((likely * likely).sum()))


def _shares(labels: pl.Series) -> pl.DataFrame:
    counted = labels.alias("label").to_frame().group_by("label").len()
    return counted.select("label", share=pl.col("len") / len(labels))


def _beyond_chance(observed: float | None, likely: float) -> float | None:
    if observed is None or likely > 1 - 1e-12:
        return None
    return (observed - likely) / (1 - likely)


def mean_absolute_difference(first: pl.Series, second: pl.Series) -> float | None:
    """Of the pairs in which both are numbers; None where there is none."""
    apart = (first - second).abs().drop_nulls().drop_nans()
    return float(apart.sum()) / len(apart) if len(apart) else None


def are_labels(distinct: int, rows: int) -> bool:
    """Whether so few values stand in so many rows that each is more than a text of its own."""
    return 0 < 2 * distinct <= rows and distinct <= MOST_LABELS
