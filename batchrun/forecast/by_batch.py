"""What asking by a provider's batches makes different: how many there are, the price, and the time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from statistics import fmean

from batchrun.forecast.estimate import Range
from batchrun.forecast.sampling import RequestSample
from batchrun.forecast.taken import Taken
from batchrun.job import Job
from batchrun.prices import Price

_UNITS = {"h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Batches:
    """The first batches of a submit.

    Attributes:
        number: how many.
        rows: of the largest one, which takes `bytes`, as estimated.
        canary: rows that go first, in realtime and at the full price.
        window: seconds within which the provider answers one.
        finish_by: seconds after which rows that have no answer go on in realtime; None for never.
        answers: of a row, of which each takes a batch.
        knows_price: whether it is known what they cost; else the full price is counted.
    """

    number: int
    rows: int
    bytes: int
    canary: int
    window: float
    finish_by: float | None
    answers: Range
    knows_price: bool

    @property
    def seconds(self) -> Range:
        """Until all rows are done, as far as anybody promises."""
        most = None if self.answers.high is None else self.window * self.answers.high
        found = Range(0.0, self.window, most)
        return found if self.finish_by is None else found.at_most(self.finish_by)


def batches_of(
    job: Job, sample: RequestSample, canary: int | None, answers: Range, price: Price | None
) -> Batches:
    """How the rows of `sample` are divided; `price` is that of a call of its own."""
    rows = sample.rows
    engine, first = job.engine, min(canary or 0, rows)
    left = rows - first
    line = max(1.0, fmean(sample.lines)) if sample.lines else 1.0
    tokens = sample.size / rows if rows else 0.0
    by = [float(engine.max_lines), engine.max_bytes / line]
    if engine.enqueued_tokens is not None and tokens:
        by.append(engine.enqueued_tokens / tokens)
    most = max(1, math.floor(min(by)))
    rounds = answers if engine.leftovers == "batch" else Range(1.0, 1.0, 1.0)
    return Batches(
        number=max(math.ceil(left / most), min(left, len(sample.names))),
        rows=min(left, most),
        bytes=round(min(left, most) * line),
        canary=first,
        window=_seconds(engine.completion_window),
        finish_by=job.finish_by,
        answers=rounds,
        knows_price=price is not None and price.knows_batch,
    )


def priced(job: Job, batched: Taken, full: Taken, rows: int, found: Batches, answers: Range) -> Taken:
    """What rows take of which some do not go by batch: `batched` if all did, `full` if none."""
    if batched.cost is None or full.cost is None or not rows:
        return batched
    first = found.canary / rows
    realtime = job.engine.leftovers == "realtime"
    later = 1 - 1 / answers.likely if realtime and answers.likely > 1 else 0.0
    share = first + (1 - first) * later
    cost = batched.cost.times(1 - share).plus(full.cost.times(share))
    if realtime or job.finish_by is not None:  # what fails, expires or comes too late is asked again so
        cost = replace(cost, high=full.cost.high)
    return replace(batched, cost=cost)


def _seconds(window: str) -> float:
    parts = re.fullmatch(r"([0-9]+)([hd])", window)
    assert parts is not None, "the job file's check"
    return int(parts[1]) * _UNITS[parts[2]]
