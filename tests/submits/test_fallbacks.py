"""Which model answers, and how the results say so."""

from __future__ import annotations

from pathlib import Path

from tests.runs import simulated


def test_an_answer_that_is_cut_moves_on_with_more_room(tmp_path: Path) -> None:
    """The same model may be its own fallback, with a larger limit; both answers are paid for and shown."""
    with simulated(
        tmp_path,
        rows=6,
        request={"max_completion_tokens": 3},
        fallbacks=[{"model": "local/small", "request": {"max_completion_tokens": 400}}],
        fail_on=["truncated"],
        fallback_on=["truncated"],
    ) as job:
        summary = job.submit_here()
        calls = len(job.calls())
    assert (summary.ok, summary.failed, calls) == (6, 0, 12)
    for row in job.results().to_dicts():
        assert (row["finish_reason"], row["model"], row["model_index"]) == ("stop", "local/small", 1)
        assert [attempt["error_type"] for attempt in row["attempts"]] == ["truncated", None]
        spent = [attempt["usage"]["completion_tokens"] for attempt in row["attempts"]]
        assert row["usage"]["completion_tokens"] == sum(spent)


def test_an_endpoints_own_fallback_is_used_and_the_serving_model_is_recorded(tmp_path: Path) -> None:
    """Lunos's `fallback_model`: one call, answered by another model than the one that was asked."""
    config = {"faults": [{"status": 503, "model": "small", "match": "row 000001"}]}
    with simulated(tmp_path, rows=3, config=config, request={"fallback_model": "steady"}) as job:
        assert job.submit_here().ok == 3
        assert len(job.calls()) == 3
    rows = job.results().select("model", "response_model").rows()
    assert rows == [("local/small", "small"), ("local/small", "steady"), ("local/small", "small")]
