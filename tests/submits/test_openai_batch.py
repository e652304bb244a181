"""Files of whole requests, as OpenAI's Batch API and `vllm run-batch` take them, run as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from batchrun.errors import InputError
from batchrun.run_folder.checkpoint.sealed import histories, sealed_parts
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import decode, encode
from batchrun.run_folder.journal.records import Done, Header
from tests.runs import JobFolder, simulated

BODY: dict[str, Any] = {
    "model": "small",
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0.2,
    "max_completion_tokens": 9,
    "an_endpoint_s_own": [1, {"a": None}],
}


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {**BODY, **body},
    }


def batch(job: JobFolder, *lines: Any, **sections: Any) -> None:
    """Write the lines, and a job that runs them."""
    job.rows.write_text("".join(json.dumps(item) + "\n" for item in lines))
    document = json.loads(job.job.read_text())
    document.pop("prompt")
    document.pop("request")
    own = {"input": {"path": "rows.jsonl", "format": "openai-batch"}, "model": "local/*"}
    job.job.write_text(json.dumps({**document, **own, **sections}))


def test_bodies_are_sent_unchanged(tmp_path: Path) -> None:
    """Members that we do not know too; rows are named by their custom_id, and each names its model."""
    with simulated(tmp_path, rows=0, config={"bodies": True}) as job:
        batch(job, line("a"), line("b", model="large", messages=[{"role": "user", "content": "other"}]))
        assert job.submit_here().ok == 2
        bodies = {call.model: call.body for call in job.calls()}
        rows = job.results().to_dicts()
    assert bodies["small"] == BODY
    assert bodies["large"] == {**BODY, "model": "large", "messages": [{"role": "user", "content": "other"}]}
    assert [row["row_id"] for row in rows] == ["a", "b"]
    assert [row["response_model"] for row in rows] == ["small", "large"]
    assert [row["model"] for row in rows] == ["local/*", "local/*"]
    assert json.loads(rows[0]["body"]) == BODY


def test_the_jobs_own_parameters_lie_over_the_rows(tmp_path: Path) -> None:
    """A null takes one out; the job's model replaces the row's."""
    with simulated(tmp_path, rows=0, config={"bodies": True}) as job:
        batch(job, line("a"), model="local/mine", request={"temperature": 1, "max_completion_tokens": None})
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    wanted = {**BODY, "model": "mine", "temperature": 1}
    del wanted["max_completion_tokens"]
    assert call.body == wanted


def test_the_jobs_limit_of_tokens_replaces_the_rows_by_either_name(tmp_path: Path) -> None:
    """`max_tokens` is the older name of `max_completion_tokens`: both together would be refused."""
    with simulated(tmp_path, rows=0, config={"bodies": True}) as job:
        batch(job, line("a"), request={"max_tokens": 5})
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["max_tokens"] == 5
    assert "max_completion_tokens" not in call.body


def test_the_members_of_extra_body_are_the_bodys_own(tmp_path: Path) -> None:
    """They are sent beside the others, and are the same request; the job's own parameters lie over them."""
    extra = {"n": 2, "seed": 1, "max_tokens": 50, "an_endpoint_s_own": 1}
    spelled = {**BODY, **extra}
    del spelled["max_completion_tokens"]
    request = {"max_completion_tokens": 5, "seed": None, "extra_body": {"another_s": 2}}
    with simulated(tmp_path, rows=0, config={"bodies": True}) as job:
        batch(job, line("a", extra_body=extra), {**line("b"), "body": spelled}, request=request)
        assert job.submit_here().ok == 2
        sent = [call.body for call in job.calls()]
        hashes = job.results()["request_hash"]
    wanted = {**BODY, "n": 2, "max_completion_tokens": 5, "an_endpoint_s_own": 1, "another_s": 2}
    assert sent == [wanted, wanted]
    assert hashes.n_unique() == 1


def test_extra_body_passes_no_cap(tmp_path: Path) -> None:
    """It can neither name a dearer model than the one that is priced, nor lift the job's limit of tokens."""
    prices = {"local/small": {"input": 1, "output": 1}, "local/large": {"input": 1000, "output": 1000}}
    job_has = {"model": "local/small", "request": {"max_completion_tokens": 5, "n": 1}, "prices": prices}
    extra = {"n": 4, "max_completion_tokens": 900}
    with simulated(tmp_path, rows=0, config={"bodies": True}) as job:
        lines = line("a", extra_body={"model": "large"}), line("b", extra_body=extra)
        batch(job, *lines, budget={"cost_usd": 0.01}, **job_has)
        summary = job.submit_here()
        assert (summary.ok, summary.errors) == (1, {"render": 1})
        (call,) = job.calls()
    assert call.body is not None
    assert (call.body["model"], call.body["n"], call.body["max_completion_tokens"]) == ("small", 1, 5)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"temperature": 3}, "render", "body.temperature: must be at most 2"),
        ({"messages": []}, "render", "body.messages"),
        ({"messages": [{"role": "user"}]}, "render", "body.messages[0].content"),
        ({"model": None}, "render", "body.model"),
        ({"top_logprobs": 2}, "render", "top_logprobs: needs logprobs"),
        ({"extra_body": "x"}, "render", "body.extra_body: must be a mapping"),
        ({"extra_body": {"n": 0}}, "render", "body.n: must be at least 1"),
        ({"extra_body": {"model": "large"}}, "render", "body.extra_body.model: must not be given"),
        ({"extra_body": {"messages": []}}, "render", "body.extra_body.messages: must not be given"),
        ({"extra_body": {"extra_body": {}}}, "render", "body.extra_body.extra_body: must not be given"),
    ],
)
def test_a_wrong_body_is_its_rows_failure(
    tmp_path: Path, wrong: dict[str, Any], error: str, message: str
) -> None:
    """The rule is named, nothing is sent for it, and the others go on."""
    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a", **wrong), line("b"))
        assert (job.submit_here().failed, len(job.calls())) == (1, 1)
        row = job.results().to_dicts()[0]
    assert row["error_type"] == error
    assert message in row["error"]["message"]


def test_a_line_that_is_no_request_is_a_bad_row(tmp_path: Path) -> None:
    """An embedding request among them, say."""
    with simulated(tmp_path, rows=0) as job:
        batch(job, {**line("a"), "url": "/v1/embeddings"}, line("b"))
        assert job.submit_here().failed == 1
        row = job.results().to_dicts()[0]
    assert row["error_type"] == "bad_row"
    assert "/v1/embeddings" in row["error"]["message"]


def test_a_custom_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Before any call, naming both lines."""
    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a"), line("a", temperature=0))
        with pytest.raises(InputError, match=r"rows\.jsonl:1 and rows\.jsonl:2"):
            job.submit_here()
        assert job.calls() == []


def test_a_model_that_is_not_there_fails_its_row_alone(tmp_path: Path) -> None:
    """The row named it: it says nothing about the models of the others."""
    with simulated(tmp_path, rows=0, config={"models": ["small"]}) as job:
        batch(job, line("a", model="gone"), line("b"), line("c"))
        summary = job.submit_here()
        assert (summary.ok, summary.errors) == (2, {"model_not_found": 1})


def test_tools_and_streams_of_a_body_are_read(tmp_path: Path) -> None:
    """What the body asks for comes back in the columns."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with simulated(tmp_path, rows=0) as job:
        batch(
            job,
            line("a", tools=[tool], tool_choice="required", max_completion_tokens=99),
            line("b", stream=True),
        )
        assert job.submit_here().ok == 2
        first, second = job.results().to_dicts()
    assert first["tool_calls"][0]["name"] == "f"
    assert second["ttft"] is not None


def test_what_an_earlier_submit_received_is_priced_by_the_model_that_the_row_names(tmp_path: Path) -> None:
    """Killed between the answers and the rows' outcomes: no call is sent again, and each has its price."""
    priced = {"prices": {"local/small": {"input": 1, "output": 2}}, "budget": {"cost_usd": 1}}
    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a"), line("b"), **priced)
        first = job.submit_here()
        costs = job.results()["cost_usd"].to_list()
        without_outcomes(job.checkpoint)
        again = job.submit_here()
        assert (again.ok, again.submit["calls"], len(job.calls())) == (2, 0, 2)
        assert job.results()["cost_usd"].to_list() == costs
        assert costs[0] > 0
    assert again.spent == first.spent


def without_outcomes(checkpoint: Path) -> None:
    """Leave the calls of the only sealed part in a journal, as a kill does before their rows' outcomes."""
    (part,) = sealed_parts(checkpoint).values()
    found = list(histories(pq.read_table(part)))
    part.unlink()
    lines = [line for one in found for line in one.lines if not isinstance(decode(line[:-1]), Done)]
    journal = checkpoint / "journal-000001.log"
    journal.write_bytes(encode(Header(FORMAT_VERSION)) + b"".join(lines))
