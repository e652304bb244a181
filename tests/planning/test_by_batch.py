"""What a plan says of rows that go by a provider's batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchrun.run_folder.checkpoint.with_providers import Batch
from tests.batches.batched import PRICES, batched
from tests.commands import batchrun
from tests.planning.planning import asking, job_of, planned
from tests.runs import JobFolder

ENGINE = {"kind": "provider_batch"}
ROWS = [{"id": f"r{number}", "text": "x" * 40} for number in range(100)]


def priced(folder: Path, **sections: Any) -> JobFolder:
    folder.mkdir(exist_ok=True)
    return job_of(folder, ROWS, **{"prices": PRICES, "engine": ENGINE, **sections})


def likely(job: JobFolder) -> float:
    cost = planned(job).forecast.cost_usd
    assert cost is not None
    return cost.likely


@pytest.mark.parametrize(
    ("sections", "share"),
    [
        ({}, 0.5),
        ({"prices": {"local/small": {"input": 1.0, "output": 1.0, "batch": 0.25}}}, 0.25),
        ({"canary": 20}, 0.6),
        ({"canary": 500}, 1.0),
    ],
)
def test_the_price_is_that_of_a_batch(tmp_path: Path, sections: dict[str, Any], share: float) -> None:
    """But for the canary's rows, which go in realtime."""
    full = likely(priced(tmp_path / "full", engine={"kind": "local"}))
    assert likely(priced(tmp_path / "batch", **sections)) == pytest.approx(share * full)


@pytest.mark.parametrize("more", [{"finish_by": "5h"}, {"engine": {**ENGINE, "leftovers": "realtime"}}])
def test_what_batches_leave_may_cost_the_full_price(tmp_path: Path, more: dict[str, Any]) -> None:
    """At the high end, where the job has it asked in realtime."""
    full = planned(priced(tmp_path / "full", engine={"kind": "local"})).forecast.cost_usd
    plain = planned(priced(tmp_path / "plain")).forecast.cost_usd
    found = planned(priced(tmp_path / "more", **more)).forecast.cost_usd
    assert full
    assert plain
    assert found
    assert full.high is not None
    assert plain.high == pytest.approx(full.high / 2)
    assert (found.likely, found.high) == (plain.likely, full.high)


@pytest.mark.parametrize(
    ("sections", "number", "rows"),
    [
        ({}, 1, 100),
        ({"engine": {**ENGINE, "max_lines": 30}}, 4, 30),
        ({"engine": {**ENGINE, "max_lines": 30}, "canary": 10}, 3, 30),
        ({"engine": {**ENGINE, "enqueued_tokens": 220}}, 5, 20),
        ({"canary": 100}, 0, 0),
    ],
)
def test_how_many_batches_there_are(tmp_path: Path, sections: dict[str, Any], number: int, rows: int) -> None:
    """By what one may hold in lines, bytes and tokens."""
    found = planned(priced(tmp_path, **sections)).forecast.batches
    assert found is not None
    assert (found.number, found.rows) == (number, rows)


@pytest.mark.parametrize("size", [2_000, 5_000])
def test_the_estimated_size_is_that_of_the_files(tmp_path: Path, size: int) -> None:
    """Within a tenth; files that are too large for their bytes are counted."""
    with batched(tmp_path, rows=50, engine={"max_bytes": size}, batches={"seconds": 600}) as job:
        found = planned(job).forecast.batches
        summary = job.submit_here(wait=False)
    assert found is not None
    assert 0.8 * size < found.bytes <= size
    assert len(summary.batches) == pytest.approx(found.number, rel=0.1)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, "within 24 hours (engine.completion_window), often much sooner"),
        ({"engine": {**ENGINE, "completion_window": "7d"}}, "within 7 days (engine.completion_window)"),
        ({"finish_by": "5h"}, "within 5 hours (finish_by): in realtime what batches leave"),
        (
            {"prompt": {**asking("{{ text }}"), "turns": [{"role": "user", "content": "And?"}]}},
            "within 24 hours for each answer of a row (engine.completion_window)",
        ),
    ],
)
def test_the_time_is_what_is_promised(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    """A day, not a pace by the limits of calls."""
    job = priced(tmp_path, **sections)
    out = batchrun("plan", "job.yaml", cwd=tmp_path).out
    assert f"  time        {said}" in out
    assert "calls at once" not in next(line for line in out.splitlines() if "  time  " in line)
    assert planned(job).forecast.held_by == "completion window"


def test_a_price_in_a_batch_that_is_not_known_is_told(tmp_path: Path) -> None:
    """The full one is counted then; here of a list that knows no batches of the model."""
    model, unknown = "groq/llama-3.3-70b-versatile", {"base_url": "https://api.groq.com/openai/v1"}
    found = planned(priced(tmp_path, model=model, endpoints={"groq": unknown}, prices={}))
    (note,) = [note for note in found.forecast.notes if "in a batch" in note]
    assert note.startswith(f"what {model} costs in a batch is not known, and the full price is counted")
    assert "per million tokens, from" in batchrun("plan", "job.yaml", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"request": {"stream": True}}, "request.stream has no effect in a batch"),
        (
            {"prompt": {**asking("{{ text }}"), "turns": [{"role": "user", "content": "And?"}]}},
            "prompt.turns: each answer of a row takes a batch of its own",
        ),
        (
            {"schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}},
            "retry.reask: an answer that does not fit",
        ),
        (
            {"endpoints": {"local": {"base_url": ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]}}},
            "names several servers, and a batch is one's",
        ),
    ],
)
def test_what_is_likely_not_meant_is_told(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    """Of jobs by batches, and of them alone."""
    (tmp_path / "realtime").mkdir()
    by_batch = planned(priced(tmp_path / "batch", **sections)).warnings
    realtime = planned(priced(tmp_path / "realtime", **{**sections, "engine": {"kind": "local"}})).warnings
    assert [said in warning for warning in by_batch].count(True) == 1
    assert [warning for warning in realtime if said in warning] == []


def test_leftovers_in_realtime_need_no_warning(tmp_path: Path) -> None:
    """Further answers of a row then come at once."""
    turns = {**asking("{{ text }}"), "turns": [{"role": "user", "content": "And?"}]}
    found = planned(priced(tmp_path, prompt=turns, engine={**ENGINE, "leftovers": "realtime"}))
    assert [warning for warning in found.warnings if "prompt.turns" in warning] == []


def test_rows_that_are_with_the_provider_are_not_counted_again(tmp_path: Path) -> None:
    """Neither as rows to ask nor in the cost; what they may cost is held of the budget."""
    budget = {"cost_usd": 1.0}
    with batched(tmp_path, rows=30, batches={"seconds": 600}, budget=budget) as job:
        before = planned(job)
        job.submit_here(wait=False, limit=20)
        found = planned(job)
        said = batchrun("plan", "job.yaml", cwd=job.folder).out
        job.submit_here(wait=False)
        handed_over = planned(job)
        next_step = batchrun("plan", "job.yaml", cwd=job.folder).out
    assert (found.to_do, found.with_provider, [one.rows for one in found.batches]) == (10, 20, [20])
    assert isinstance(found.batches[0], Batch)
    assert found.forecast.rows == 10
    assert found.left["cost_usd"] < before.left["cost_usd"]
    assert "10 new: asked" in said
    assert "20 with the provider already, in 1 batch: fetched, not asked again" in said
    assert (handed_over.to_do, handed_over.exit_code) == (0, 0)
    assert "next        batchrun submit job.yaml\n" in next_step


def test_an_edit_of_rows_that_are_with_the_provider_is_told(tmp_path: Path) -> None:
    """As submit would refuse it."""
    with batched(tmp_path, rows=5, batches={"seconds": 600}) as job:
        job.submit_here(wait=False)
        job.edit(prompt=asking("Please: {{ text }}"))
        found = planned(job)
    assert found.exit_code == 2
    assert "5 rows are with a provider in 1 batch, and 5 of them ask something else now" in found.obstacles[0]


@pytest.mark.parametrize(("first", "then", "factor"), [("batch", "local", 2.0), ("local", "batch", 0.5)])
def test_answers_of_one_way_price_the_other(tmp_path: Path, first: str, then: str, factor: float) -> None:
    """What rows cost in realtime says what they would in a batch, and the other way around."""
    engines: dict[str, dict[str, Any]] = {
        "batch": {"kind": "provider_batch", "poll": 0.05},
        "local": {"kind": "local"},
    }
    with batched(tmp_path, rows=40) as job:
        job.edit(engine=engines[first])
        done = job.submit_here(limit=20)
        job.edit(engine=engines[first])
        same = likely(job)
        job.edit(engine=engines[then])
        other = likely(job)
        assert planned(job).forecast.sampled == 20
    assert same == pytest.approx(done.cost_usd)
    assert other == pytest.approx(factor * same)


def test_what_a_batch_took_is_no_time_of_a_call(tmp_path: Path) -> None:
    """Nor is the speed of a submit by batches that of one in realtime."""
    with batched(tmp_path, rows=300, batches={"seconds": 2}) as job:
        job.submit_here(limit=150)
        job.edit(engine={"kind": "local"})
        found = planned(job).forecast
    assert (found.sampled, found.reached) == (150, False)
    assert found.seconds.likely < 30


def test_a_key_that_is_missing_is_told_before_rows_are_handed_over(tmp_path: Path) -> None:
    """By plan and by submit."""
    with batched(tmp_path, rows=3) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "api_key_env": "NO_SUCH_KEY"}})
        (obstacle,) = planned(job).obstacles
        ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert "no API key: the environment lacks NO_SUCH_KEY" in obstacle
    assert ended.code == 2
    assert "no API key: the environment lacks NO_SUCH_KEY" in ended.err
