"""Jobs against llama.cpp's server, an engine that is not ours: what it answers is what the rows hold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest
from jsonschema import validate

from tests.real_engine import CONTEXT
from tests.real_engine.engine import KEY, KEY_VARIABLE, TEXT, Engine
from tests.runs import JobFolder, write_rows

GREEDY = {"temperature": 0, "max_completion_tokens": 16}

LABELS = ["bill", "billing", "ship", "shipping"]
SCHEMA = {
    "type": "object",
    "properties": {"sure": {"type": "boolean"}, "label": {"type": "string", "enum": LABELS}},
    "required": ["sure", "label"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": SCHEMA}}
ANY_TICKET = {"temperature": 1, "seed": "{{ n }}", "max_completion_tokens": 200}
"""Answers that differ from row to row, and end: the schema has no text without an end."""


def answers(job: JobFolder, *sets: str, name: str | None = None) -> pl.DataFrame:
    """The results of a submit in which every row is ok."""
    summary = job.submit_here(*sets, name=name)
    failed = (
        pl.read_parquet(summary.results)
        .filter(status="failed")
        .select("row_id", "error", "attempts")
        .to_dicts()
    )
    assert not failed, [row["error"]["message"] for row in failed]
    assert summary.exit_code == 0
    return pl.read_parquet(job.run.with_name(name or "job") / "results" / "*.parquet")


def test_texts_and_usage(tmp_path: Path, engine: Engine) -> None:
    """Each row holds text, however little of the model's bytes was UTF-8, and the engine's own numbers."""
    rows = answers(engine.job(tmp_path, rows=30, request=GREEDY))
    assert rows["completion"].n_unique() > 20
    assert set(rows["finish_reason"]) <= {"length", "stop"}
    usage = rows["usage"].struct.unnest()
    assert usage["prompt_tokens"].min() == usage["prompt_tokens"].max() != 0
    cut = rows["finish_reason"] == "length"
    assert set(usage.filter(cut)["completion_tokens"]) == {16}
    assert (usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]).all()
    assert rows["response_id"].n_unique() == 30


def test_several_answers(tmp_path: Path, engine: Engine) -> None:
    """With n = 3 there are three different ones, the first in `completion`."""
    request = {"n": 3, "temperature": 1, "seed": 5, "max_completion_tokens": 12, "extra_body": TEXT}
    rows = answers(engine.job(tmp_path, rows=5, request=request))
    for completion, choices in rows.select("completion", "choices").iter_rows():
        texts = [choice["completion"] for choice in choices]
        assert texts[0] == completion
        assert len(set(texts)) == 3


def test_stop(tmp_path: Path, engine: Engine) -> None:
    """An answer ends before the first stop text that it would have held."""
    job = engine.job(tmp_path, rows=20, request={**GREEDY, "extra_body": TEXT})
    whole = answers(job)
    stopped = answers(job, 'request.stop=["p", "xt"]', name="stopped")
    expected = [min((text.split(stop)[0] for stop in ("p", "xt")), key=len) for text in whole["completion"]]
    assert stopped["completion"].to_list() == expected
    assert 0 < sum(text != cut for text, cut in zip(whole["completion"], expected, strict=True)) < 20


def test_seed(tmp_path: Path, engine: Engine) -> None:
    """Equal seeds give equal answers, others do not."""
    job = engine.job(tmp_path, rows=10, request={**GREEDY, "temperature": 1, "seed": 1, "extra_body": TEXT})
    first, again = answers(job), answers(job, name="again")
    other = answers(job, "request.seed=2", name="other")
    assert first["completion"].equals(again["completion"])
    assert not any(first["completion"] == other["completion"])


def test_logprobs_with_bytes(tmp_path: Path, engine: Engine) -> None:
    """A greedy answer's tokens are the likeliest of their alternatives, and spell its text in bytes.

    llama.cpp joins the tokens of a character to one, which keeps the alternatives of the last of them.
    """
    request = {**GREEDY, "logprobs": True, "top_logprobs": 5}
    texts = 0
    for completion, tokens in (
        answers(engine.job(tmp_path, rows=30, request=request)).select("completion", "logprobs").iter_rows()
    ):
        spelled = b"".join(bytes(token["bytes"]) for token in tokens)
        texts += "\ufffd" not in completion
        assert "\ufffd" in completion or spelled.decode() == completion
        for token in tokens:
            alternatives = [other["logprob"] for other in token["top_logprobs"]]
            assert len(alternatives) == 5
            assert alternatives == sorted(alternatives, reverse=True)
            assert bytes(token["bytes"]).endswith(bytes(token["top_logprobs"][0]["bytes"]))
            assert math.fsum(map(math.exp, alternatives)) <= 1 + 1e-6
    assert texts


def test_json_schema(tmp_path: Path, engine: Engine) -> None:
    """The engine's grammar holds each answer to the schema that the request carries."""
    request = {**ANY_TICKET, "response_format": RESPONSE_FORMAT}
    rows = answers(engine.job(tmp_path, rows=30, request=request))
    tickets = [json.loads(completion) for completion in rows["completion"]]
    for ticket in tickets:
        validate(ticket, SCHEMA)
    assert {ticket["label"] for ticket in tickets} == set(LABELS)


def test_context_overflow(tmp_path: Path, engine: Engine) -> None:
    """A prompt that is too long is that row's failure alone, asked once."""
    job = engine.job(tmp_path, rows=10, request=GREEDY)
    text = job.rows.read_text().replace("row 000004: please", f"row 000004: {'long ' * CONTEXT} please")
    job.rows.write_text(text)
    assert job.submit_here().exit_code == 1
    failed = job.results().filter(pl.col("status") == "failed")
    assert failed.select("row_id", "error_type").rows() == [("r000004", "context_length")]
    assert len(failed["attempts"][0]) == 1
    assert failed["error"][0]["http_status"] == 400


def test_a_wrong_key(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first refusal ends the run with exit code 4; with the right key it goes on."""
    job = engine.job(tmp_path, rows=10, concurrency=1, request=GREEDY)
    refused = job.submit(env={KEY_VARIABLE: "another"})
    assert refused.code == 4, refused.err
    assert "Invalid API Key" in refused.err
    assert "another" not in refused.err
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert answers(job)["attempts"].list.len().to_list() == [2, *[1] * 9]


def test_greedy_answers_do_not_depend_on_what_else_is_in_flight(tmp_path: Path, engine: Engine) -> None:
    """At 1 and at 16 in flight, where the engine computes many rows at once, they are the same row by row."""
    request = {**GREEDY, "max_completion_tokens": 32, "extra_body": TEXT}
    rows = []
    for concurrency in (1, 16):
        folder = tmp_path / str(concurrency)
        folder.mkdir()
        job = engine.job(folder, rows=150, concurrency=concurrency, request=request)
        rows.append(answers(job).select("row_id", "completion", "finish_reason", "usage"))
    assert rows[0].equals(rows[1])


def test_a_resumed_run_asks_for_new_rows_alone(tmp_path: Path, engine: Engine) -> None:
    """What the engine has answered is not asked again when the table grows."""
    job = engine.job(tmp_path, rows=10, request=GREEDY)
    before = answers(job)
    write_rows(job.rows, 15)
    after = answers(job)
    assert after["response_id"].to_list()[:10] == before["response_id"].to_list()
    assert len(after) == 15
