"""Rows matched with the answers that are there: what a submit would do with each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import polars as pl

from batchrun.index import sharing
from batchrun.index.repeats import repeats
from batchrun.index.sharing import HOLDER, SENDABLE
from batchrun.outcome import NEVER_SENT, PASSING

_SHARE = 40_000
"""Rows, or answers, that are sorted at once, about."""

_LAST = 2**62
"""Above every task number."""


class State(IntEnum):
    """What a submit would do with a row."""

    NEW = 0
    """Never answered: ask."""
    OK = 1
    """Answered for this very request."""
    FAILED = 2
    """Failed for this request, and only a decision can change that."""
    RETRY = 3
    """Failed for a cause that may have passed, or that the user wants tried again: ask."""
    CHANGED = 4
    """Answered for another request: the user chooses."""
    KEPT = 5
    """Answered for another request, and the user chose to keep that answer."""


def match(
    rows: pl.DataFrame,
    answers: pl.DataFrame,
    kept: pl.DataFrame,
    *,
    has_ids: bool,
    retry_failed: Iterable[str] = (),
    shared: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Say for each row what is done: `rows` with `state`, and `part` and `position` of its answer.

    Of `rows` it needs `key` and `hash`; with SENDABLE `row_index`, too.

    `answers` holds finished tasks (`checkpoint.sealed.ANSWERS_SCHEMA`), `kept` the pairs of key and
    hash whose older answer the user keeps. A row is matched with an answer to the same request: by
    key and hash, then by the hash alone, equal requests pairing off: no answer is paid for again because its
    row has another id now (a failure stays with its id). Rows left over are `CHANGED` or `KEPT` when an ok
    answer to another request has their key.

    Where `rows` have SENDABLE, a row that is left without an answer, or has one that failed, shares the
    answer to an equal request, unless its older answer is kept; the column `sharing.HOLDER` says whose.
    `shared` then are the pairs of key and hash that shared one when they were published last: such a row
    had an answer, too.
    """
    if SENDABLE in rows.columns:
        answers = answers.sort(_preference())
    decided = _decided(rows, kept)
    place = pl.repeat(None, len(rows), dtype=pl.UInt32, eager=True)
    place = _pair(place, rows, answers, _both(), "key")
    if not (has_ids and SENDABLE in rows.columns):  # such rows share the answers of others, below
        place = _pair(place, rows, answers, pl.col("hash"), "hash", only_ok=has_ids)
    exact = place.is_not_null()
    place = _pair(place, rows, answers, pl.col("key"), "key", only_ok=True, newest=True)
    own = place.is_not_null()
    if SENDABLE in rows.columns:
        if shared is not None:
            place = sharing.remembered(place, rows["key"], shared, answers)
        equal = _shareable(rows, place, exact, decided, answers)
        taken = equal.is_not_null()
        place, exact, own = equal.zip_with(taken, place), exact | taken, own & ~taken
    again = [*(PASSING - NEVER_SENT), *retry_failed]
    answers = answers.select("part", "position", "ok", "error_type")  # the rest may go before the rows grow
    matched = pl.concat([rows, _chosen(answers, place)], how="horizontal").with_columns(
        _states(exact, place.is_not_null(), decided, again)
    )
    return _with_holders(matched, place, own) if SENDABLE in rows.columns else matched


def _decided(rows: pl.DataFrame, kept: pl.DataFrame) -> pl.Series:
    """For which rows the user keeps an older answer."""
    if kept.is_empty():
        return pl.repeat(False, len(rows), eager=True)  # noqa: FBT003 - a value
    return rows.select(_both().is_in(kept.select(_both()).to_series().implode())).to_series()


def _shareable(
    rows: pl.DataFrame, place: pl.Series, exact: pl.Series, decided: pl.Series, best: pl.DataFrame
) -> pl.Series:
    """The place of the answer that a row takes from an equal request; null where it takes none."""
    equal = sharing.equal_answers(rows["hash"], best)
    kept = decided & place.is_not_null()
    better = best["ok"].gather(equal) & ~best["ok"].gather(place)  # null without an answer of its own
    taken = rows[SENDABLE] & pl.select(pl.when(exact).then(better).otherwise(~kept)).to_series()
    return equal.zip_with(taken, pl.repeat(None, len(rows), dtype=equal.dtype, eager=True))


def _with_holders(matched: pl.DataFrame, place: pl.Series, own: pl.Series) -> pl.DataFrame:
    holder = sharing.holders(place, own, place.is_not_null())
    return matched.with_columns(matched["row_index"].gather(holder).alias(HOLDER))


def _preference() -> pl.Expr:
    """By what answers are sorted, the best first. Of those that are ok the oldest, so that rows keep theirs
    when equal ones come and go; then of failures the newest, which says how the row stands."""
    return pl.when("ok").then(pl.col("task")).otherwise(_LAST - pl.col("task"))


def _both() -> pl.Expr:
    """Key and request hash in one 64-bit hash (Fibonacci hashing of the key, exclusive or)."""
    golden = pl.lit(0x9E3779B97F4A7C15, pl.UInt64)
    return (pl.col("key") * golden) ^ pl.col("hash")


def _pair(
    place: pl.Series,
    rows: pl.DataFrame,
    answers: pl.DataFrame,
    equal: pl.Expr,
    column: str,
    *,
    only_ok: bool = False,
    newest: bool = False,
) -> pl.Series:
    """Give rows without an answer (null in `place`) one of the equal answers that no row has.

    `place` holds positions in `answers`. What must be `equal` is so only where `column` is. Of several the
    best are taken, with `newest` the last of them. They pair off within a share of all values: what sorting
    takes is bounded by it.
    """
    free = pl.repeat(True, len(answers), eager=True).scatter(place.drop_nulls(), False)  # noqa: FBT003 - a value
    free = free & answers["ok"] if only_ok else free
    if place.null_count() == 0 or not free.any():
        return place
    shares = 1 + max(len(rows), len(answers)) // _SHARE
    wanted_in, offered_in = _shares(rows[column], shares), _shares(answers[column], shares)
    rank = -_preference() if newest else _preference()
    for share in range(shares):
        wanted = (place.is_null() & (wanted_in == share)).arg_true()
        at = (free & (offered_in == share)).arg_true()
        if len(wanted) and len(at):
            sought = rows.select("key", "hash")[wanted].select(equal).to_series()
            best = answers.select("task", "ok", "key", "hash")[at].select(value=equal, rank=rank, at=at)
            found = _paired(sought, best)
            place = place.scatter(wanted.filter(found.is_not_null()), found.drop_nulls())
    return place


def _shares(values: pl.Series, shares: int) -> pl.Series:
    """A number below `shares` for each value, by its low bits: two bytes a row."""
    return values.cast(pl.UInt16, wrap_numerical=True) % shares


def _paired(sought: pl.Series, offered: pl.DataFrame) -> pl.Series:
    """For each value the `at` of an equal one on offer, each once, by `rank`; null where none is left.

    One sort and one search: a join would take several times the memory.
    """
    ordered = offered.sort("value", "rank")
    at = ordered["value"].search_sorted(sought, side="left")
    if repeats(sought):
        occurrence = pl.int_range(pl.len(), dtype=pl.UInt32).over("value")
        at = at + pl.DataFrame({"value": sought}).select(occurrence).to_series()
    last = len(ordered) - 1
    hit = (at <= last) & (ordered["value"].gather(at.clip(upper_bound=last)) == sought)
    return pl.select(pl.when(hit).then(ordered["at"].gather(at.clip(upper_bound=last)))).to_series()


def _chosen(answers: pl.DataFrame, place: pl.Series) -> pl.DataFrame:
    """What the rows say of the answers at `place`; nulls where there is none."""
    if len(answers):
        return answers[place]
    nothing = {
        name: pl.repeat(None, len(place), dtype=kind, eager=True) for name, kind in answers.schema.items()
    }
    return pl.DataFrame(nothing)


def _states(exact: pl.Series, placed: pl.Series, decided: pl.Series, again: list[str]) -> pl.Expr:
    def state(value: State) -> pl.Expr:
        return pl.lit(int(value), pl.UInt8)

    return (
        pl.when(exact & pl.col("ok"))
        .then(state(State.OK))
        .when(exact & pl.col("error_type").is_in(again))
        .then(state(State.RETRY))
        .when(exact)
        .then(state(State.FAILED))
        .when(placed & decided)
        .then(state(State.KEPT))
        .when(placed)
        .then(state(State.CHANGED))
        .otherwise(state(State.NEW))
        .alias("state")
    )


def counts(states: pl.DataFrame) -> dict[State, int]:
    """How many rows are in each state."""
    found: dict[Any, int] = dict(states["state"].value_counts().iter_rows())
    return {state: found.get(int(state), 0) for state in State}
