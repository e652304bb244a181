"""What published results add up to."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchrun.run_folder.results.totals import read_totals
from tests.run_folder.answering import Work, failed
from tests.run_folder.recorded import LOST, UNREACHED, answered, body, done, reply, sent


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A job of ten rows."""
    return Work(tmp_path).write([{"text": f"t{n}"} for n in range(10)])


def test_before_anything_is_published_there_is_nothing(work: Work) -> None:
    """Neither without results nor with empty ones."""
    nothing = read_totals(work.run.results)
    assert set(nothing.usage.values()) == {None}
    assert (nothing.cost_usd, nothing.errors, nothing.possibly_paid) == (None, {}, 0)
    assert nothing.latency == {"p50": None, "p95": None, "p99": None}
    work.publish()
    assert read_totals(work.run.results) == nothing


def test_tokens_cost_and_errors_are_added_up(work: Work) -> None:
    """Over ok and failed rows; what nobody says stays null."""
    paid = body(usage={"prompt_tokens": 3, "completion_tokens": 1, "cost": 0.25})
    work.answer([0, 1], lambda task: [sent(task), answered(task, exchange=reply(paid)), done(task)])
    work.answer(
        [2],
        lambda task: [
            sent(task),
            answered(task, exchange=reply(paid)),
            done(task, "refusal", errors=("refusal",)),
        ],
    )
    work.answer([3, 4], failed)
    work.answer([5])
    work.publish()
    totals = read_totals(work.run.results)
    assert totals.usage["prompt_tokens"] == 9
    assert totals.usage["completion_tokens"] == 3
    assert totals.usage["total_tokens"] is None
    assert totals.cost_usd == 0.75
    assert list(totals.errors.items()) == [("invalid_request", 2), ("refusal", 1)]


def test_only_calls_that_were_sent_and_got_no_reply_are_possibly_paid(work: Work) -> None:
    """A refused connection is not; a reply of any status is none either; an unanswered call is."""
    work.answer([0], lambda task: [sent(task), answered(task, exchange=LOST), done(task, "timeout")])
    work.answer([1], lambda task: [sent(task), answered(task, exchange=UNREACHED), done(task, "connection")])
    work.answer([2], failed)
    work.answer([3], lambda task: [done(task, "render")])
    work.answer([4], lambda task: [sent(task), sent(task, 1), answered(task, 1), done(task)])
    work.publish()
    assert read_totals(work.run.results).possibly_paid == 2


def test_latency_is_that_of_the_answers(work: Work) -> None:
    """Timeouts do not count as slow answers."""
    work.answer([0, 1, 2])
    work.answer([3], lambda task: [sent(task), answered(task, exchange=LOST), done(task, "timeout")])
    work.publish()
    assert read_totals(work.run.results).latency == {"p50": 0.25, "p95": 0.25, "p99": 0.25}
