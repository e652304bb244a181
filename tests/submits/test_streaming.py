"""A streamed run gives the rows of one that is not streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.runs import simulated
from tests.submits.test_request_surface import CUSTOM_TEXT, FUNCTION, SCHEMA

OWN = [
    "attempts",
    "latency",
    "ttft",
    "started_at",
    "finished_at",
    "response_id",
]
"""Ids, times and attempts: what two runs cannot share."""

KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "cut text": {"max_completion_tokens": 3},
    "logprobs": {"logprobs": True, "top_logprobs": 4},
    "n": {"n": 3, "logprobs": True, "top_logprobs": 2},
    "tools": {"tools": [FUNCTION], "tool_choice": "required"},
    "custom tool": {"tools": [CUSTOM_TEXT], "tool_choice": "required"},
    "functions": {"functions": [FUNCTION["function"]], "function_call": {"name": "weather"}},
    "json": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    "audio": {"modalities": ["text", "audio"], "audio": {"format": "pcm16", "voice": "alloy"}},
    "search": {"web_search_options": {}},
    "reasoning": {"reasoning_effort": "high"},
    "token ids": {"return_token_ids": True},
}


def rows_of(folder: Path, *, stream: bool, request: dict[str, Any], **config: Any) -> pl.DataFrame:
    """The results of a job of six rows."""
    folder.mkdir()
    sent = {"max_completion_tokens": 120, **request, **({"stream": True} if stream else {})}
    settings = {"seed": 5, "reasoning": "reasoning_content", **config}
    with simulated(folder, rows=6, config=settings, request=sent) as job:
        job.submit_here()
        results = job.results()
    return results.with_columns(pl.col("audio").struct.with_fields(expires_at=None))


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_rows_equal_whole_ones(tmp_path: Path, kind: str) -> None:
    """Every column but ids, times and attempts."""
    whole = rows_of(tmp_path / "whole", stream=False, request=KINDS[kind])
    streamed = rows_of(tmp_path / "streamed", stream=True, request=KINDS[kind])
    assert whole.drop(OWN).to_dicts() == streamed.drop(OWN).to_dicts()
    assert whole["ttft"].to_list() == [None] * 6
    if kind != "cut text":  # whose tokens are all reasoning
        assert streamed["status"].to_list() == ["ok"] * 6


def test_refusals_are_equal_too(tmp_path: Path) -> None:
    """With their logprobs."""
    faults = [{"refusal": "I would rather not say."}]
    request = {"logprobs": True, "top_logprobs": 2}
    whole = rows_of(tmp_path / "whole", stream=False, request=request, faults=faults)
    streamed = rows_of(tmp_path / "streamed", stream=True, request=request, faults=faults)
    assert whole.drop(OWN).to_dicts() == streamed.drop(OWN).to_dicts()
    assert streamed["refusal"].to_list() == ["I would rather not say."] * 6
    assert streamed["error_type"].to_list() == ["refusal"] * 6


def test_the_time_to_the_first_token_is_measured(tmp_path: Path) -> None:
    """From sending to the first piece of the answer, never above the latency."""
    latency = {"kind": "constant", "seconds": 0.05}
    streamed = rows_of(tmp_path / "streamed", stream=True, request={}, latency=latency)
    assert streamed["ttft"].min() >= 0.05  # type: ignore[operator] # a column of floats
    assert (streamed["ttft"] <= streamed["latency"]).all()


def test_usage_is_asked_for(tmp_path: Path) -> None:
    """Without include_usage a stream holds none, so it is set where the job does not say."""
    with simulated(tmp_path, rows=1, config={"bodies": True}, request={"stream": True}) as job:
        assert (job.submit_here().usage["total_tokens"] or 0) > 0
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["stream_options"] == {"include_usage": True}


def test_streaming_is_no_change_of_the_request(tmp_path: Path) -> None:
    """Turning it on or off pays for nothing again."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        job.edit(request={"max_completion_tokens": 20, "stream": True})
        assert job.submit_here().ok == 3
        assert len(job.calls()) == 3


@pytest.mark.parametrize("fault", [{"stream": "error"}, {"close": "mid_body"}, {"reset": "mid_body"}])
def test_a_stream_that_breaks_is_asked_for_again(tmp_path: Path, fault: dict[str, Any]) -> None:
    """What had arrived is no answer; the attempt is counted as sent."""
    retry = {"backoff": {"initial": 0.01, "max": 0.02}}
    config = {"faults": [{**fault, "first": 1}]}
    with simulated(tmp_path, rows=2, config=config, request={"stream": True}, retry=retry) as job:
        assert job.submit_here().ok == 2
        assert len(job.calls()) == 4
        for row in job.results().to_dicts():
            assert [attempt["sent"] for attempt in row["attempts"]] == [True, True]
            assert row["attempts"][0]["error_type"] in ("server", "connection")


@pytest.mark.parametrize("fault", ["no_done", "comments"])
def test_a_stream_without_its_end_mark_or_with_comments_is_whole(tmp_path: Path, fault: str) -> None:
    """As OpenRouter's and others' are."""
    config = {"faults": [{"stream": fault}]}
    with simulated(tmp_path, rows=2, config=config, request={"stream": True}) as job:
        assert job.submit_here().ok == 2
        assert len(job.calls()) == 2


def test_a_stream_that_stops_is_given_up_after_the_idle_timeout(tmp_path: Path) -> None:
    """The silence between two pieces counts, not the whole time."""
    config = {"faults": [{"stall": 30, "at": "mid_body", "first": 1}]}
    retry = {"timeout": {"idle": 0.5}, "backoff": {"initial": 0.01, "max": 0.02}}
    with simulated(tmp_path, rows=1, config=config, request={"stream": True}, retry=retry) as job:
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
    assert [attempt["error_type"] for attempt in row["attempts"]] == ["timeout", None]
