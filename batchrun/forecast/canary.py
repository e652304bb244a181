"""How a submit begins that has a canary: some rows first, which show whether the others are worth asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from batchrun.index import State
from batchrun.index.sharing import HOLDER
from batchrun.job import Job
from batchrun.policy.breaker import Breaker


@dataclass(frozen=True, slots=True)
class Canary:
    """How a submit begins that has a canary.

    Attributes:
        rows: how many go first; None without `canary`, and where as many have been judged already.
        failed: why nothing more is sent: too many of them have failed since the job was edited last. Rows
            that a submit asks again by itself do not count.
    """

    rows: int | None = None
    failed: str | None = None


def canary(job: Job, states: Callable[[], pl.DataFrame], *, retrying: bool = False) -> Canary:
    """What `states` (see `index.match`) say of the job's canary; `retrying`: failed rows are asked again."""
    if not job.canary:
        return Canary()
    ok, reasons = _finished(states())
    failed = sum(reasons.values())
    if ok >= job.canary:
        return Canary()
    if retrying or ok + failed < job.canary:
        return Canary(job.canary)
    breaker = Breaker(job.stop_when.failed, job.stop_when.after)
    return Canary(failed=breaker.fails_canary(failed, ok + failed, reasons))


def _finished(states: pl.DataFrame) -> tuple[int, dict[str, int]]:
    """Rows that are ok for the job as it stands, and by their reasons those that failed for good."""
    own = states.filter(pl.col(HOLDER).is_null()) if HOLDER in states.columns else states
    ok = own.filter(pl.col("state") == State.OK).height
    failed = own.filter(pl.col("state") == State.FAILED)
    return ok, dict(failed["error_type"].cast(pl.String).value_counts().iter_rows())
