"""How answers of a real engine are read: streamed like whole ones, with a schema, with probabilities."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.real_engine.engine import TEXT, Engine
from tests.real_engine.test_answers import ANY_TICKET, GREEDY, LABELS, SCHEMA, answers

CALLS_OWN = ["response_id", "started_at", "finished_at", "latency", "ttft", "attempts"]
"""Columns that differ from call to call, however it is answered."""

ONE_CHOICE = "usage"
"""With n > 1 llama.cpp counts the tokens of one answer alone: the first, or in a stream the last to end."""


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({}, id="text"),
        pytest.param({"logprobs": True, "top_logprobs": 3}, id="logprobs"),
        pytest.param({"temperature": 1, "seed": "{{ n }}", "n": 3}, id="several"),
        pytest.param({"stop": ["k"]}, id="stop"),
        pytest.param({"stop": ["{", "p"]}, id="nothing before the stop"),
    ],
)
def test_streamed_rows_equal_whole_ones(tmp_path: Path, engine: Engine, request_: dict[str, Any]) -> None:
    """`stream: true` changes no column but those of the call itself, and measures the first token."""
    # one at a time: with others in flight the engine rounds the last digits of a logprob otherwise
    request = {**GREEDY, "extra_body": TEXT, **request_}
    job = engine.job(tmp_path, rows=20, concurrency=1, request=request, retry={"max_attempts": 3})
    whole = answers(job)
    streamed = answers(job, "request.stream=true", name="streamed")
    for column in set(whole.columns).difference(CALLS_OWN, [ONE_CHOICE] if "n" in request else []):
        told = [values[column].to_list() for values in (whole, streamed)]
        if column == "logprobs":
            told = [[_texts_own(tokens) for tokens in rows] for rows in told]
        assert told[1] == told[0], column
    assert streamed.filter(pl.col("completion") != "")["ttft"].null_count() == 0
    assert (streamed["ttft"] <= streamed["latency"]).all()
    assert whole["ttft"].null_count() == 20


def _texts_own(tokens: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Without the token that ends the answer, which llama.cpp leaves out of streams."""
    return tokens and [token for token in tokens if token["bytes"]]


def test_a_schema_gives_typed_values(tmp_path: Path, engine: Engine) -> None:
    """`schema:` holds the engine to it and types `parsed`, which is what the text says."""
    rows = answers(engine.job(tmp_path, rows=30, request=ANY_TICKET, schema=SCHEMA))
    assert rows.schema["parsed"] == pl.Struct({"sure": pl.Boolean, "label": pl.String})
    assert rows["parsed"].to_list() == [json.loads(completion) for completion in rows["completion"]]
    assert set(rows["parsed"].struct.field("label")) == set(LABELS)
    assert not rows["repaired"].any()


def test_a_schema_that_the_answer_has_no_room_for(tmp_path: Path, engine: Engine) -> None:
    """A text cut in the middle is `truncated` after its re-asks, and its paid text is kept."""
    request = {**ANY_TICKET, "max_completion_tokens": 6}
    job = engine.job(tmp_path, rows=5, request=request, schema=SCHEMA, retry={"reask": 1})
    assert job.submit_here().exit_code == 1
    rows = job.results()
    assert set(rows["error_type"]) == {"truncated"}
    assert rows["parsed"].null_count() == 5
    assert rows["attempts"].list.len().to_list() == [2] * 5


def test_a_label_has_probabilities_or_none(tmp_path: Path, engine: Engine) -> None:
    """They add up to 1; where 20 alternatives of a model without sense cannot tell, there are none."""
    request = {**ANY_TICKET, "logprobs": True, "top_logprobs": 20}
    rows = answers(engine.job(tmp_path, rows=60, request=request, schema=SCHEMA))
    found = 0
    for confidence, by_label, parsed in rows.select("confidence", "probabilities", "parsed").iter_rows():
        if confidence is not None:
            found += 1
            assert math.fsum(by_label.values()) == pytest.approx(1)
            assert confidence == by_label[parsed["label"]]
    assert found < 60


def test_an_answer_of_one_token_has_its_tokens_confidence(tmp_path: Path, engine: Engine) -> None:
    """exp(logprob), with the alternatives that the engine gave."""
    request = {**GREEDY, "max_completion_tokens": 1, "logprobs": True, "top_logprobs": 20, "extra_body": TEXT}
    rows = answers(engine.job(tmp_path, rows=20, request=request))
    for confidence, tokens in rows.select("confidence", "logprobs").iter_rows():
        answer = tokens[0]["token"].strip()
        same = [other for other in tokens[0]["top_logprobs"] if other["token"].strip() == answer]
        assert confidence == pytest.approx(math.fsum(math.exp(other["logprob"]) for other in same))
