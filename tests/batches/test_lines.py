"""The lines of batch files, and what is found in those that come back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec
from batchrun.batches.arrived import Arrived
from batchrun.batches.lines import custom_id, read_line, request_line
from batchrun.batches.quotas import spoken_limit
from batchrun.outcome import NoResponse, Response

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(1, 10**12), st.integers(0, 10**4), HASHES)
def test_an_id_fits_every_provider(task: int, call: int, request_hash: str) -> None:
    """64 characters are the most that any of them takes."""
    assert len(custom_id(task, call, request_hash)) <= 64


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=5))
def test_a_request_is_one_line_that_holds_its_body(body: dict[str, Any]) -> None:
    """Whatever stands in it, line breaks in texts included; `stream` alone is left out."""
    line = request_line("1-0-ab", codec.dumps(body))
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert (read["custom_id"], read["method"], read["url"]) == ("1-0-ab", "POST", "/v1/chat/completions")
    assert read["body"] == {
        key: value for key, value in body.items() if key not in ("stream", "stream_options")
    }


def test_a_text_that_speaks_of_streams_stays() -> None:
    """Only the request's own member goes."""
    body = {"messages": [{"role": "user", "content": '{"stream": true}', "x": {"stream": 1}}], "stream": True}
    read = json.loads(request_line("1-0-ab", codec.dumps(body)))
    assert read["body"] == {"messages": body["messages"]}


@pytest.mark.parametrize(
    ("line", "exchange"),
    [
        (
            {"response": {"status_code": 200, "request_id": "req_1", "body": {"id": "x"}}, "error": None},
            Response(200, {"x-request-id": "req_1"}, b'{"id":"x"}', 9.0),
        ),
        (
            {"response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None},
            Response(400, {}, b'{"error":{"message":"no"}}', 9.0),
        ),
        (
            {"response": None, "error": {"code": "batch_expired", "message": "late"}},
            NoResponse(
                "timeout", "the batch expired before this request was answered", sent=False, latency=9.0
            ),
        ),
        (
            {"response": None, "error": {"code": "batch_cancelled", "message": "gone"}},
            NoResponse(
                "timeout", "the batch was cancelled before this request was answered", sent=False, latency=9.0
            ),
        ),
        (
            {"response": None, "error": {"code": "server_error", "message": "oops"}},
            Response(500, {}, b'{"error":{"code":"server_error","message":"oops"}}', 9.0),
        ),
        ({}, Response(500, {}, b'{"error":{"message":"a line without an answer"}}', 9.0)),
    ],
)
def test_a_line_that_comes_back_is_what_a_call_would_have_met(
    line: dict[str, Any], exchange: Response | NoResponse
) -> None:
    """So that rows of a batch are judged, counted and retried like any others."""
    found = read_line(json.dumps({"custom_id": "a", **line}).encode(), 9.0)
    assert found is not None
    assert found.exchange == exchange


@pytest.mark.parametrize("status", [2**32, 2**40, 99, 600, 0, -200, True, 200.0, "200", None])
def test_a_status_that_is_none_of_http_is_no_answer(status: object) -> None:
    """The columns of results have no room for any number."""
    line = {"custom_id": "a", "response": {"status_code": status, "body": {"id": "x"}}, "error": None}
    found = read_line(json.dumps(line).encode(), 9.0)
    assert found is not None
    assert found.exchange == Response(500, {}, b'{"error":{"message":"a line without an answer"}}', 9.0)


@given(st.binary(max_size=60))
def test_no_line_is_an_error(line: bytes) -> None:
    """What is no answer is None."""
    found = read_line(line, 1.0)
    assert found is None or isinstance(found.custom_id, str)


def test_answers_are_found_by_their_ids_in_whatever_order_they_stand(tmp_path: Path) -> None:
    """In two files; of a line that stands twice the first counts, and what is no answer is counted."""
    names = [f"{number}-0-ab" for number in range(200)]
    lines = [
        json.dumps({"custom_id": name, "response": {"status_code": 200, "body": {"n": name}}})
        for name in names
    ]
    random.Random(1).shuffle(lines)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("\n".join([*lines[:150], "{broken", "[]", lines[0].replace("200", "500")]) + "\n")
    bad.write_text("\n".join(lines[150:]))  # without a line break at its end
    with Arrived([good, bad], 3.0) as arrived:
        for name in names:
            exchange = arrived.of(name)
            assert isinstance(exchange, Response)
            assert json.loads(exchange.body) == {"n": name}
        assert arrived.strange == 3
        missing = arrived.of("777-0-ab")
        assert isinstance(missing, NoResponse)
        assert missing.sent


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Enqueued token limit reached for gpt-4o. Limit: 2,000,000 enqueued tokens.", 2_000_000),
        (
            "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment",
            30_000,
        ),
        ("limit: 90000 tokens", 90_000),
        ("limit of 5M tokens", 5_000_000),
        ("Limit: 1.35B enqueued tokens", 1_350_000_000),
        ("Too many batches in progress. Limit: 100", 0),
        ("limit of 12 tokens", 12),
        ("try again later", 0),
    ],
)
def test_a_refusal_tells_the_quota(message: str, limit: int) -> None:
    """As OpenAI and Azure word it."""
    assert spoken_limit(message) == limit
