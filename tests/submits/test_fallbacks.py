"""Which model answers, and how the results say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runs import JobFolder, simulated, write_rows
from tests.scripted import Answer, answering, completion

NO_CREDIT = 402, b'{"error": {"message": "insufficient credits", "code": "insufficient_credits"}}'


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


def test_a_row_whose_models_are_closed_to_it_stops_no_other(tmp_path: Path) -> None:
    """It would not do what the first said, and the second closes before its next turn: it stays pending."""
    asked_of_second = 0

    def act(body: dict[str, Any]) -> Answer:
        nonlocal asked_of_second
        if body["model"] == "first":
            refuses = "row 000000" in body["messages"][0]["content"]
            message = {"role": "assistant", "content": None, "refusal": "no"}
            refused = completion(choices=[{"index": 0, "finish_reason": "stop", "message": message}])
            return 200, refused if refuses else completion()
        asked_of_second += 1
        return (200, completion()) if asked_of_second == 1 else NO_CREDIT

    job = JobFolder(tmp_path)
    write_rows(job.rows, 6)
    with answering(act) as (url, _seen):
        job.write(
            url,
            prompt={"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "and?"}]},
            model="local/first",
            fallbacks=["other/second"],
            fallback_on=["quota", "refusal"],
            endpoints={"local": {"base_url": url, "limits": {"concurrency": 1}}, "other": {"base_url": url}},
        )
        summary = job.submit_here()
    assert (summary.ok, summary.pending, summary.exit_code) == (5, 1, 3)
    assert "no model is left to ask: other" in str(summary.stopped_by)


def test_a_model_that_is_out_of_reach_is_waited_for_where_the_next_may_not_be_left(tmp_path: Path) -> None:
    """The second is closed for a reason that leads no further, so that the third is not asked."""

    def act(body: dict[str, Any]) -> Answer:
        return NO_CREDIT if body["model"] == "second" else (200, completion())

    job = JobFolder(tmp_path)
    write_rows(job.rows, 12)
    with answering(act) as (url, seen):
        job.write(
            url,
            model="gone/first",
            fallbacks=["local/second", "other/third"],
            fallback_on=["connection", "server", "timeout"],
            endpoints={
                "gone": {"base_url": "http://127.0.0.1:9/v1"},
                "local": {"base_url": url},
                "other": {"base_url": url},
            },
            retry={"max_attempts": 2, "backoff": {"initial": "10ms", "max": "20ms"}},
        )
        ended = job.submit()
    assert ended.code == 3, ended.err
    assert "no model is left to ask: gone" in ended.err
    assert {body["model"] for body in seen} == {"second"}
