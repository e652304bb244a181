"""Identical requests of one run, asked once (`dedupe: true`): who shares whose answer, and who is asked.

Rows of the index then say whether there is a request to send for them (SENDABLE). Rows whose
requests have equal hashes, and only those, share an answer.
"""

from __future__ import annotations

import polars as pl

SENDABLE = "sendable"
"""Column of the index, present where identical requests are asked once: whether the row has a request."""

HOLDER = "holder"
"""Column of the matched rows, present likewise: for a row without an answer of its own the `row_index` of
the row that stands for the one it shows. That row itself where the row that was asked is gone."""


def equal_answers(hashes: pl.Series, best: pl.DataFrame) -> pl.Series:
    """For each request hash the place in `best` of the first answer to that request, null where none is.

    `best` is in the order of preference.
    """
    ordered = pl.DataFrame({"hash": best["hash"], "at": pl.arange(0, len(best), dtype=pl.UInt32, eager=True)})
    ordered = ordered.sort("hash", maintain_order=True)
    if ordered.is_empty():
        return pl.repeat(None, len(hashes), dtype=pl.UInt32, eager=True)
    at = ordered["hash"].search_sorted(hashes, side="left").clip(upper_bound=len(ordered) - 1)
    found = pl.DataFrame({"at": ordered["at"].gather(at), "hit": ordered["hash"].gather(at) == hashes})
    return found.select(pl.when("hit").then("at")).to_series()


def remembered(place: pl.Series, keys: pl.Series, shared: pl.DataFrame, best: pl.DataFrame) -> pl.Series:
    """Give rows without an answer (null in `place`) the ok one that they shared for an earlier request.

    `shared` has the pairs of key and hash of earlier publications, oldest first.
    """
    last = shared.unique("key", keep="last", maintain_order=True)
    bare = pl.DataFrame({"row": place.is_null().arg_true()})
    found = bare.with_columns(key=keys.gather(bare["row"])).join(last, on="key")
    at = equal_answers(found["hash"], best.filter("ok"))  # those that are ok come first in `best`
    return place.scatter(found["row"].filter(at.is_not_null()), at.drop_nulls())


def holders(place: pl.Series, own: pl.Series, shown: pl.Series) -> pl.Series:
    """For each row without an answer of its `own` the position of the row that stands for the one it has.

    That is the shown row that has it for its own, else the first shown row that shares it. Null where
    a row has its own, or is not shown.
    """
    rows = pl.DataFrame({"place": place, "own": own, "shown": shown}).with_row_index("row").filter("shown")
    sharing = rows.filter(~pl.col("own"))
    first = (
        rows.join(sharing, on="place", how="semi")
        .sort("own", "row", descending=[True, False])
        .unique("place", keep="first", maintain_order=True)
        .select("place", pl.col("row").alias(HOLDER))
    )
    found = sharing.join(first, on="place")
    return pl.repeat(None, len(place), dtype=pl.UInt32, eager=True).scatter(found["row"], found[HOLDER])


def asked_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Of equal requests among `rows` the one to ask, in input order: the first that was asked before, else
    the first. What an earlier task took is that row's own."""
    order = [pl.col(HOLDER).is_not_null(), pl.col("row_index")]
    once = rows.filter(SENDABLE).sort(order).unique("hash", keep="first", maintain_order=True)
    return pl.concat([once, rows.filter(~pl.col(SENDABLE))]).sort("row_index")
