"""What a run has spent: calls of a batch at its price, and each call once, whenever a `gc` is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from batchrun import gc
from batchrun.budget import Amounts
from batchrun.job import load_job
from batchrun.job.sections.spending import PriceSpec
from batchrun.outcome import Exchange
from batchrun.prices import Price
from batchrun.prices.table import find_price
from batchrun.run_folder.checkpoint.spend import amounts_of_call, price_for, read_dropped, unfinished_spend
from batchrun.survey.survey import Survey
from tests.run_folder.recorded import EPOCH, answered, body, history, reply, sent
from tests.runs import JobFolder, simulated

STALL = {"match": "row 000000", "first": 1, "stall": 60}
EDITED = {"messages": [{"role": "user", "content": "{{ n }} please"}]}


def price_of(model: str, _named: str) -> Price | None:
    """Of 3 USD a million for prompts and 15 for answers, and of 40% of that in a batch."""
    assert model == "openai/small"
    given = PriceSpec.model_validate({"input": 3, "output": 15, "batch": 0.4})
    return find_price(model, base_urls=[], given=given, now=EPOCH)


class KilledError(Exception):
    """The moment at which a test kills."""


@contextmanager
def left_under_way(folder: Path) -> Iterator[JobFolder]:
    """A job of three rows, killed while its first call had no answer."""
    with simulated(folder, rows=3, config={"faults": [STALL]}, budget={"requests": 100}) as job:
        with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            while not job.calls():
                time.sleep(0.02)
            killed.send_signal(signal.SIGKILL)
        yield job


def collect(job: JobFolder) -> None:
    gc.collect(load_job(job.job, env={}, cwd=job.folder))


def killed_collecting(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gc`, killed once it has kept the sums of what it drops."""

    async def die(_found: Survey) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(gc, "_renew_journal", die)  # the moment between two files cannot be met from outside
        with pytest.raises(KilledError):
            collect(job)
    assert read_dropped(job.checkpoint)


ANSWERS: dict[str, Exchange | None] = {
    "usage": reply(body(usage={"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100})),
    "cost": reply(body(usage={"prompt_tokens": 1_000, "completion_tokens": 100, "cost": 0.25})),
    "nothing": reply(body()),
    "refused": reply(b"{}", 400),
    "unanswered": None,
}


@pytest.mark.parametrize(
    ("kind", "took", "cost"),
    [
        ("usage", Amounts(0.0018, 1_100, 1), 0.0018),
        ("cost", Amounts(0.25, 1_100, 1), 0.25),
        ("nothing", Amounts(0.5, 2_000, 1), None),
        ("refused", Amounts(0.0, 0, 1), None),
        ("unanswered", Amounts(0.5, 2_000, 1), None),
    ],
)
def test_a_call_that_went_by_a_batch_is_recalled_at_the_batchs_price(
    kind: str, took: Amounts, cost: float | None
) -> None:
    """At 40% here. What the server says that it cost stands, as does its bound without an answer."""
    call = replace(sent(1, batch="batch_7"), bound_usd=0.5, bound_tokens=2_000)
    exchange = ANSWERS[kind]
    found = amounts_of_call(call, answered(1, exchange=exchange) if exchange else None, price_of)
    assert found == (took, cost)


def test_a_call_of_its_own_is_recalled_at_the_full_price() -> None:
    """And one of a model without a price at none, by a batch or not."""
    answer = answered(1, exchange=ANSWERS["usage"])
    assert amounts_of_call(sent(1), answer, price_of) == (Amounts(0.0045, 1_100, 1), 0.0045)
    for batch in ("", "batch_7"):
        assert price_for(sent(1, batch=batch), lambda *_: None) is None
        assert amounts_of_call(sent(1, batch=batch), answer, lambda *_: None)[1] is None


def test_unfinished_calls_of_a_batch_count_at_its_price() -> None:
    """What a killed submit had received, and what it had not, at its bound."""
    late = replace(sent(1, 1, batch="batch_7"), bound_usd=0.5, bound_tokens=2_000)
    task = history([sent(1, batch="batch_7"), answered(1, exchange=ANSWERS["usage"]), late])
    (spend,) = unfinished_spend({1: task}, price_of).values()
    assert spend.total() == Amounts(0.5018, 3_100, 2)


def test_a_task_that_gc_was_about_to_drop_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit that made it garbage is taken back, and it is finished after all."""
    with left_under_way(tmp_path) as job:
        before = job.job.read_text(encoding="utf-8")
        job.edit(prompt=EDITED)
        killed_collecting(job, monkeypatch)
        job.job.write_text(before, encoding="utf-8")
        finished = job.submit_here()
        assert (finished.ok, finished.spent["requests"]) == (3, len(job.calls()))
        assert job.submit_here().spent == finished.spent


def test_what_gc_drops_counts_once_when_gc_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls were sent, with an answer or without one, and it has no row any more."""
    with left_under_way(tmp_path) as job:
        job.edit(prompt=EDITED)
        killed_collecting(job, monkeypatch)
        collect(job)
        collect(job)
        finished = job.submit_here(rerun_changed=True)
        assert (finished.ok, finished.spent["requests"]) == (3, len(job.calls()))
