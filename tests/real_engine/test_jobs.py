"""The jobs that ship with batchrun, asked of an engine that is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from batchrun.job import load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Summary
from tests.real_engine.engine import KEY_VARIABLE, TEXT, Engine
from tests.runs import Silent

JOBS = Path(__file__).parents[2] / "jobs"


def run(engine: Engine, folder: Path, name: str, *sets: str, concurrency: int = 8) -> Summary:
    """Submit twenty rows of a shipped job to the engine, into `folder`."""
    endpoint = f"{{base_url: {engine.base_url}, api_key_env: {KEY_VARIABLE}"
    endpoint += f", limits: {{concurrency: {concurrency}}}}}"
    model = "engine/*" if name == "batch" else "engine/random"
    sets = (f"endpoints.engine={endpoint}", f"output.path={folder}", *sets)
    job = load_job(JOBS / f"{name}.yaml", sets=sets, model=model, env=dict(os.environ), cwd=Path.cwd())
    return submit(job, Options(limit=20), env=dict(os.environ), progress=Silent())


def rows(summary: Summary) -> pl.DataFrame:
    return pl.read_parquet(summary.results)


@pytest.mark.parametrize("name", ["quickstart", "fewshot", "turns", "chats"])
def test_jobs_for_text_are_answered(tmp_path: Path, engine: Engine, name: str) -> None:
    """Prompts from columns and files, conversations of turns, streams of the rows' own messages."""
    grammar = f"request.extra_body.grammar={TEXT['grammar']!r}"
    summary = run(engine, tmp_path / "run", name, grammar, "request.max_completion_tokens=20")
    found = rows(summary)
    assert summary.failed == 0, found["error"].to_list()
    assert found["completion"].str.len_chars().min() > 0  # type: ignore[operator] # a column of lengths
    if name == "turns":
        assert found["messages"].list.len().to_list() == [6] * len(found)
    if name == "chats":
        assert found["ttft"].null_count() == 0


@pytest.mark.parametrize("name", ["classify", "labels", "extract"])
def test_jobs_with_a_schema_are_answered_in_it(tmp_path: Path, engine: Engine, name: str) -> None:
    """The engine's grammar keeps to it. A model without sense goes on and on in free texts, which is told
    as truncated, and writes bytes that are no text, which the engine answers with a 500."""
    summary = run(engine, tmp_path / "run", name, "retry.reask=0", "retry.max_attempts=2")
    found = rows(summary)
    assert set(found["error_type"].drop_nulls()) <= {"truncated", "server", "invalid_output"}
    ok = found.filter(pl.col("status") == "ok")
    assert ok["parsed"].null_count() == 0
    assert not ok["repaired"].any()
    if name == "labels":
        assert summary.ok == 20
        assert found["logprobs"].null_count() == 0


def test_a_batch_file_runs_as_it_is(tmp_path: Path, engine: Engine) -> None:
    """Bodies with tools, formats and several choices; the engine calls itself what it likes."""
    summary = run(engine, tmp_path / "run", "batch", "request.max_completion_tokens=10")
    found = rows(summary)
    assert summary.ok + summary.failed == 20
    assert set(found["error_type"].drop_nulls()) <= {"invalid_output", "invalid_response", "truncated"}
    assert summary.ok > 10


def test_functions_are_offered_to_the_engine(tmp_path: Path, engine: Engine) -> None:
    """A model without sense calls none, or wrongly: either is an answer that the row can be told by."""
    summary = run(engine, tmp_path / "run", "tools", "request.max_completion_tokens=20")
    assert summary.ok + summary.failed == 20
    assert set(rows(summary)["error_type"].drop_nulls()) <= {"invalid_output", "truncated", "server"}
