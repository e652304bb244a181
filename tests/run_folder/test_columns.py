"""The results' columns: their declared types, and their values from bodies that real servers send."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from batchrun.outcome import Completed, Error, Failed, Response
from batchrun.run_folder.columns.columns import RESULT_SCHEMA, earlier_askings
from batchrun.run_folder.columns.values import result_table
from batchrun.run_folder.journal.lines import decode, encode
from batchrun.run_folder.journal.records import Record
from tests.run_folder.recorded import (
    EPOCH,
    LOST,
    UNREACHED,
    answered,
    asked,
    body,
    done,
    history,
    reply,
    request_hash,
    sent,
)

TYPES = {
    "row_index": "int64",
    "row_id": "string",
    "status": "string",
    "repaired": "bool",
    "stale": "bool",
    "duplicate_of": "string",
    "completion": "string",
    "parsed": "string",
    "confidence": "double",
    "probabilities": "string",
    "messages": "string",
    "refusal": "string",
    "reasoning": "string",
    "finish_reason": "string",
    "cost_usd": "double",
    "model": "string",
    "response_model": "string",
    "endpoint": "string",
    "batch_id": "string",
    "model_index": "int32",
    "error_type": "string",
    "error": "struct<type: string, code: string, http_status: int32, message: string>",
    "latency": "double",
    "ttft": "double",
    "started_at": "timestamp[us, tz=UTC]",
    "finished_at": "timestamp[us, tz=UTC]",
    "response_id": "string",
    "system_fingerprint": "string",
    "service_tier": "string",
    "request_hash": "string",
}
USAGE = (
    "struct<prompt_tokens: int64, completion_tokens: int64, total_tokens: int64, cached_tokens: int64, "
    "reasoning_tokens: int64, prompt_audio_tokens: int64, completion_audio_tokens: int64, "
    "accepted_prediction_tokens: int64, rejected_prediction_tokens: int64>"
)
TOKEN = "token: string, logprob: double, bytes: list<{}: int64>"
MEMBERS = {
    "tool_calls": ["id", "type", "name", "arguments", "input", "parsed_arguments"],
    "logprobs": ["token", "logprob", "bytes", "top_logprobs"],
    "refusal_logprobs": ["token", "logprob", "bytes", "top_logprobs"],
    "choices": [
        *("index", "completion", "parsed", "refusal", "reasoning", "finish_reason", "tool_calls"),
        *("logprobs", "refusal_logprobs", "token_ids", "annotations", "audio"),
    ],
    "annotations": ["type", "url", "title", "start_index", "end_index"],
    "attempts": [
        *("model", "endpoint", "started_at", "latency", "http_status", "error_type"),
        *("request_id", "usage", "sent", "batch_id"),
    ],
}


def test_every_column_has_its_declared_type() -> None:
    """The contract with readers; names and order too."""
    found = {field.name: field.type for field in RESULT_SCHEMA}
    assert {name: str(found[name]) for name in TYPES} == TYPES
    assert str(found["usage"]) == USAGE
    assert {name: [f.name for f in found[name].value_type] for name in MEMBERS} == MEMBERS
    assert list(found) == ORDER
    assert {*TYPES, *MEMBERS, "usage", "prompt_logprobs", "token_ids", "audio"} == {*ORDER}
    prompt_token = found["prompt_logprobs"].value_type.value_type
    assert str(prompt_token) == "struct<token_id: int64, token: string, logprob: double, rank: int64>"
    assert found["token_ids"].value_type == pa.int64()
    assert str(found["audio"]) == (
        "struct<id: string, data: binary, transcript: string, expires_at: int64, format: string>"
    )


ORDER = [
    *("row_index", "row_id", "status", "repaired", "stale", "duplicate_of", "completion", "parsed"),
    *("refusal", "reasoning", "finish_reason", "tool_calls", "logprobs", "confidence", "probabilities"),
    *("choices", "messages"),
    *("prompt_logprobs", "refusal_logprobs", "token_ids", "annotations", "audio", "usage", "cost_usd"),
    *("model", "response_model", "endpoint", "batch_id", "model_index", "error_type", "error", "attempts"),
    *("latency", "ttft", "started_at", "finished_at", "response_id", "system_fingerprint", "service_tier"),
    "request_hash",
]


NEVER_SENT: list[Record] = [done(1, "render")]
FULL = {
    "id": "chatcmpl-1",
    "model": "small-2026",
    "system_fingerprint": "fp",
    "service_tier": "flex",
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.5},
}


@pytest.mark.parametrize(
    "tasks", [[], [NEVER_SENT], [asked(2, body(**FULL))], [NEVER_SENT, asked(2, body(**FULL))]]
)
def test_the_types_are_the_same_however_many_nulls_there_are(tasks: list[list[Record]]) -> None:
    """A part of failed rows, a part of none, a full one: all read as one table."""
    table = result_table([history(records) for records in tasks])
    assert table.schema.equals(RESULT_SCHEMA)
    assert table.num_rows == len(tasks)
    table.validate(full=True)


def row_of(data: bytes) -> dict[str, Any]:
    """The results' row of a task that this body answered."""
    row: dict[str, Any] = result_table([history(asked(1, data))]).to_pylist()[0]
    return row


def message(choice: dict[str, Any] | None = None, **members: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", **members}, **(choice or {})}]}).encode()


TOOL = {
    "id": None,
    "type": "function",
    "name": None,
    "arguments": None,
    "input": None,
    "parsed_arguments": None,
}
CITATION: dict[str, Any] = {
    "type": "url_citation",
    "url": "https://a.b",
    "title": None,
    "start_index": 0,
    "end_index": 4,
}


TYPED_CITATION = {"type": "url_citation", "url_citation": {**CITATION, "title": 3}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            body("hi"),
            {"completion": "hi", "refusal": None, "tool_calls": None, "logprobs": None, "usage": None},
        ),
        (body("hi", **FULL), {"response_id": "chatcmpl-1", "response_model": "small-2026", "cost_usd": 0.5}),
        (body("hi", **FULL), {"system_fingerprint": "fp", "service_tier": "flex"}),
        (
            message(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            {"completion": "ab"},
        ),
        (message({"finish_reason": "stop"}, content="a"), {"finish_reason": "stop", "choices": None}),
        (message(content=None, refusal="No."), {"completion": None, "refusal": "No."}),
        (message(content="4", reasoning_content="2+2"), {"reasoning": "2+2"}),
        (message(content="4", reasoning="2+2"), {"reasoning": "2+2"}),
        (
            message(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": '{ "a": 1 }'}}]),
            {
                "completion": None,
                "tool_calls": [
                    TOOL | {"id": "c", "name": "f", "arguments": '{ "a": 1 }', "parsed_arguments": '{"a":1}'}
                ],
            },
        ),
        (
            message(tool_calls=[{"type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]),
            {"tool_calls": [TOOL | {"type": "custom", "name": "sql", "input": "SELECT 1"}]},
        ),
        (
            message(tool_calls=[{"function": {"arguments": '{"a": '}}]),
            {"tool_calls": [TOOL | {"arguments": '{"a": '}]},
        ),
        (
            message(content="a", annotations=[TYPED_CITATION, {}]),
            {"annotations": [CITATION, dict.fromkeys(CITATION)]},
        ),
        (
            message(content="a", annotations=[{"url_citation": {"start_index": 2**70, "end_index": True}}]),
            {"annotations": [dict.fromkeys(CITATION)]},
        ),
        (
            message(
                {
                    "logprobs": {
                        "content": [
                            {
                                "token": "a",
                                "logprob": -1,
                                "bytes": [97],
                                "top_logprobs": [{"token": "b", "logprob": -2.5}],
                            },
                            {"token": 3, "logprob": 10**400, "bytes": [2**70], "top_logprobs": None},
                        ]
                    }
                },
                content="a",
            ),
            {
                "logprobs": [
                    {
                        "token": "a",
                        "logprob": -1.0,
                        "bytes": [97],
                        "top_logprobs": [{"token": "b", "logprob": -2.5, "bytes": None}],
                    },
                    {"token": None, "logprob": None, "bytes": None, "top_logprobs": []},
                ]
            },
        ),
        (
            b'{"choices":[{"message":{"content":"x"},"logprobs":{"content":[{"token":"a","logprob":-Infinity}]}}]}',
            {"logprobs": [{"token": "a", "logprob": float("-inf"), "bytes": None, "top_logprobs": []}]},
        ),
        (b'{"choices":[{"message":{"content":"a\\ud800"}}]}', {"completion": "a\ufffd", "repaired": True}),
        (body("a"), {"repaired": False, "stale": False, "ttft": None}),
        (
            body("a"),
            {"parsed": None, "confidence": None, "probabilities": None, "messages": None, "audio": None},
        ),
        (
            message(content="a", annotations=[{"type": "url_citation", "url": "https://a.b"}]),
            {"annotations": [{**dict.fromkeys(CITATION), "type": "url_citation", "url": "https://a.b"}]},
        ),
        (
            message(
                content=None, audio={"id": "a1", "data": "UklGRg==", "transcript": "Hi", "expires_at": 9}
            ),
            {
                "audio": {"id": "a1", "data": b"RIFF", "transcript": "Hi", "expires_at": 9, "format": None},
                "completion": None,
            },
        ),
        (message({"token_ids": [3, 4]}, content="a"), {"token_ids": [3, 4], "prompt_logprobs": None}),
        (
            message({"logprobs": {"refusal": [{"token": "N", "logprob": -1}]}}, refusal="N"),
            {
                "logprobs": None,
                "refusal_logprobs": [{"token": "N", "logprob": -1.0, "bytes": None, "top_logprobs": []}],
            },
        ),
        (
            body("a", prompt_logprobs=[None, {"5": {"logprob": -2.5, "rank": 1, "decoded_token": "x"}}]),
            {"prompt_logprobs": [None, [{"token_id": 5, "token": "x", "logprob": -2.5, "rank": 1}]]},
        ),
    ],
)
def test_values_come_from_what_the_server_sent(data: bytes, expected: dict[str, Any]) -> None:
    """Members that are missing or of another type are null, and never cost the row."""
    row = row_of(data)
    assert {name: row[name] for name in expected} == expected
    assert row["status"] == "ok"


@pytest.mark.parametrize(
    ("status", "shown"), [(2**40, 2**31 - 1), (-(2**40), -(2**31)), (True, 1), (599, 599), (None, None)]
)
def test_a_journal_with_a_status_beyond_32_bits_can_be_sealed(status: Any, shown: int | None) -> None:
    """One that an older version took from a batch's line."""
    call = answered(1, exchange=Response(status, {}, b"{}", 0.25)) if status is not None else answered(1)
    records: list[Record] = [sent(1), call, done(1, Failed(Error("server", "no", None, status)))]
    read = [decode(encode(record)[:-1]) for record in records]
    (row,) = result_table([history(read)]).to_pylist()
    assert row["error"]["http_status"] == shown
    assert row["attempts"][0]["http_status"] == (200 if status is None else shown)


def test_all_choices_are_kept_when_there_are_several() -> None:
    """The columns beside are the first one's."""
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in "abc"]
    row = row_of(json.dumps({"choices": choices}).encode())
    assert row["completion"] == "a"
    assert [choice["completion"] for choice in row["choices"]] == ["a", "b", "c"]
    assert row["choices"][2]["finish_reason"] == "stop"


def read_row(data: bytes, reading: dict[str, Any], *, ttft: float | None = None) -> dict[str, Any]:
    """The results' row of a task, with what the job made of its answer."""
    answer = answered(1, exchange=Response(200, {}, data, 0.25, ttft))
    records: list[Record] = [sent(1), answer, replace(done(1), reading=reading)]
    row: dict[str, Any] = result_table([history(records)]).to_pylist()[0]
    return row


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ({"parsed": {"b": 1, "a": [None]}}, {"parsed": '{"b":1,"a":[null]}', "repaired": False}),
        ({"parsed": None, "repaired": True}, {"parsed": "null", "repaired": True}),
        ({"parsed": "\ud800"}, {"parsed": '"\\ud800"'}),
        (
            {"confidence": 0.75, "probabilities": {"a": 0.75, "b": 0.25}},
            {"confidence": 0.75, "probabilities": '{"a":0.75,"b":0.25}', "parsed": None},
        ),
        ({"transcript": [{"role": "user"}]}, {"messages": '[{"role":"user"}]'}),
    ],
)
def test_what_the_job_made_of_an_answer_is_json_text(
    reading: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A null that was parsed is `null`; what was not parsed is a null."""
    row = read_row(body("hi"), reading)
    assert {name: row[name] for name in expected} == expected


def test_the_reading_holds_for_choices_tool_calls_and_audio() -> None:
    """Each choice has its own `parsed`; arguments read by their schema come before plainly parsed ones."""
    call = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    audio = {"id": "a1"}
    choices = [
        {"index": 1, "message": {"content": "2", "tool_calls": [call]}},
        {"index": 0, "message": {"content": "1", "tool_calls": [call, call], "audio": audio}},
    ]
    reading = {"choices_parsed": [{"x": 1}, None], "tool_arguments": ['{"a":1,"b":2}', None]}
    row = read_row(json.dumps({"choices": choices}).encode(), {**reading, "audio_format": "wav"})
    assert [call["parsed_arguments"] for call in row["tool_calls"]] == ['{"a":1,"b":2}', '{"a":1}']
    assert row["audio"]["format"] == "wav"
    assert [(choice["index"], choice["parsed"]) for choice in row["choices"]] == [(0, '{"x":1}'), (1, None)]
    assert row["choices"][0]["tool_calls"] == row["tool_calls"]
    assert row["choices"][1]["tool_calls"][0]["parsed_arguments"] == '{"a":1}'


def test_a_failed_row_without_an_answer_keeps_what_was_made_of_it() -> None:
    """Its transcript, with `output.messages`."""
    records: list[Record] = [sent(1), replace(done(1, "timeout"), reading={"transcript": []})]
    row = result_table([history(records)]).to_pylist()[0]
    assert (row["messages"], row["completion"], row["repaired"]) == ("[]", None, False)


def test_ttft_is_that_of_the_call_that_answered() -> None:
    """Seconds; null where the answer was not streamed. The journal keeps it."""
    record = answered(1, exchange=Response(200, {}, body(), 0.25, 0.125))
    assert decode(encode(record)[:-1]) == record
    assert read_row(body(), {}, ttft=0.125)["ttft"] == 0.125
    assert read_row(body(), {})["ttft"] is None


def test_usage_details_have_columns_of_their_own() -> None:
    """Cached and reasoning tokens are what cost estimates need."""
    usage = {
        "prompt_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    found = row_of(body(usage=usage))["usage"]
    assert {name: count for name, count in found.items() if count is not None} == {
        "prompt_tokens": 9,
        "cached_tokens": 4,
        "reasoning_tokens": 5,
    }


def test_a_row_tells_all_its_attempts() -> None:
    """In the order of the calls: refused, never reached, lost on the way, unanswered, answered."""
    records: list[Record] = [
        sent(1, 0),
        answered(1, 0, reply(b"{}", 429, x_request_id="q0")),
        sent(1, 1),
        answered(1, 1, UNREACHED),
        sent(1, 2),
        answered(1, 2, LOST),
        sent(1, 3),
        sent(1, 4, model="vllm/large", index=1),
        answered(1, 4, reply(body(usage={"prompt_tokens": 2}))),
        done(1, Completed(4), errors=("rate_limit", "connection", "timeout"), index=1),
    ]
    row = result_table([history(records)]).to_pylist()[0]
    seen = [
        tuple(
            attempt[name] for name in ("model", "http_status", "error_type", "request_id", "latency", "sent")
        )
        for attempt in row["attempts"]
    ]
    assert seen == [
        ("openai/small", 429, "rate_limit", "q0", 0.25, True),
        ("openai/small", None, "connection", None, 0.01, False),
        ("openai/small", None, "timeout", None, 600.0, True),
        ("openai/small", None, None, None, None, True),
        ("vllm/large", 200, None, None, 0.25, True),
    ]
    assert row["attempts"][4]["endpoint"] == "vllm"
    assert row["attempts"][4]["usage"]["prompt_tokens"] == 2
    assert (row["model"], row["endpoint"], row["model_index"], row["latency"]) == (
        "vllm/large",
        "vllm",
        1,
        0.25,
    )
    assert row["started_at"] == datetime.fromtimestamp(EPOCH + 1, tz=UTC)
    assert row["finished_at"] == datetime.fromtimestamp(EPOCH + 2, tz=UTC)
    assert (row["row_id"], row["request_hash"]) == ("r1", request_hash(1))


def test_a_row_says_which_batch_its_answer_came_by() -> None:
    """Of the call that decided it; each attempt says it of its own. Null for calls of their own."""
    refused: list[Record] = [sent(1, 0, batch="batch_7"), answered(1, 0, reply(b"{}", 429))]
    for batch in ("batch_8", ""):
        records: list[Record] = [*refused, sent(1, 1, batch=batch), answered(1, 1), done(1, Completed(1))]
        row = result_table([history(records)]).to_pylist()[0]
        assert row["batch_id"] == (batch or None)
        assert [attempt["batch_id"] for attempt in row["attempts"]] == ["batch_7", batch or None]


def test_a_row_without_an_answer_says_the_batch_of_its_last_call() -> None:
    """As it says the endpoint; one that was never sent has none."""
    expired: list[Record] = [sent(1, batch="batch_7"), done(1, "timeout", errors=("timeout",))]
    table = result_table([history(expired), history(NEVER_SENT), history([answered(1), done(1)])])
    assert table["batch_id"].to_pylist() == ["batch_7", None, None]


@pytest.mark.parametrize("batch", [{}, {"batch_id": None}, {"batch_id": "batch_7"}])
def test_attempts_of_an_earlier_asking_have_their_batch(batch: dict[str, str | None]) -> None:
    """Where its record does not say, they were calls of their own: nothing else was there."""
    before = dict.fromkeys(["http_status", "error_type", "request_id", "usage", "latency"])
    before |= {"model": "openai/small", "endpoint": "openai", "started_at": EPOCH, "sent": True}
    earlier = {"attempts": [before | batch], "usage": None, "cost_usd": None}
    records: list[Record] = [sent(1, batch="batch_8"), answered(1), replace(done(1), earlier=earlier)]
    row = result_table([history(records)]).to_pylist()[0]
    assert [attempt["batch_id"] for attempt in row["attempts"]] == [batch.get("batch_id"), "batch_8"]
    again = {**earlier_askings(row), "usage": None}
    assert [attempt["batch_id"] for attempt in again["attempts"]] == [batch.get("batch_id"), "batch_8"]


def test_usage_and_cost_are_those_of_all_attempts() -> None:
    """A refused first answer was paid for too; what no attempt says stays null."""
    first = body(usage={"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.25})
    second = body(
        usage={"prompt_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3}, "cost": 0.5}
    )
    records: list[Record] = [
        sent(1, 0),
        answered(1, 0, reply(first)),
        sent(1, 1),
        answered(1, 1, LOST),
        sent(1, 2),
        answered(1, 2, reply(second)),
        done(1, Completed(2), errors=("refusal", "timeout", None)),
    ]
    row = result_table([history(records)]).to_pylist()[0]
    known = {name: count for name, count in row["usage"].items() if count is not None}
    assert known == {"prompt_tokens": 12, "completion_tokens": 1, "reasoning_tokens": 3}
    assert row["cost_usd"] == 0.75


NO_ANSWERS: dict[str, dict[str, Any]] = {
    "an error": {"error": {"message": "overloaded"}},
    "no choices": {"choices": []},
    "an empty message": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
    "the reason error": {"choices": [{"message": {"content": None}, "finish_reason": "error"}]},
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_a_200_without_an_answer_counts_in_usage_and_cost(kind: str) -> None:
    """In its attempt and in the row's sums, whether another call answers or none."""
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.25}
    first = json.dumps({**NO_ANSWERS[kind], "usage": usage}).encode()
    lost: list[Record] = [sent(1, 0), answered(1, 0, reply(first))]
    priced = reply(body(usage={"prompt_tokens": 7, "cost": 0.5}))
    second: list[Record] = [sent(1, 1), answered(1, 1, priced)]
    row = result_table(
        [history([*lost, *second, done(1, Completed(1), errors=("server", None))])]
    ).to_pylist()[0]
    assert (row["usage"]["prompt_tokens"], row["usage"]["completion_tokens"]) == (12, 1)
    assert [attempt["usage"]["prompt_tokens"] for attempt in row["attempts"]] == [5, 7]
    assert (row["cost_usd"], row["completion"]) == (0.75, "hi")
    row = result_table([history([*lost, done(1, "server", errors=("server",))])]).to_pylist()[0]
    assert (row["usage"]["prompt_tokens"], row["cost_usd"]) == (5, 0.25)


def test_a_failed_row_keeps_the_answer_it_was_paid_for() -> None:
    """And says why it failed, also flat."""
    outcome = Failed(Error("refusal", "I will not.", "policy", 200), 0)
    answer = answered(1, 0, reply(message(content=None, refusal="I will not.")))
    row = result_table([history([sent(1), answer, done(1, outcome, errors=("refusal",))])]).to_pylist()[0]
    assert (row["status"], row["error_type"], row["refusal"]) == ("failed", "refusal", "I will not.")
    assert row["error"] == {"type": "refusal", "code": "policy", "http_status": 200, "message": "I will not."}


def test_a_failed_row_without_an_answer_says_what_its_last_call_did() -> None:
    """Where it was sent and how long it took."""
    records: list[Record] = [sent(1), answered(1, 0, LOST), done(1, "timeout", errors=("timeout",))]
    row = result_table([history(records)]).to_pylist()[0]
    assert (row["status"], row.get("completion"), row["latency"], row["model"]) == (
        "failed",
        None,
        600.0,
        "openai/small",
    )


@pytest.mark.parametrize(
    "outcome", [Failed(Error("render", "a\ud800")), Failed(Error("server", "x", code="\udfff")), "render"]
)
def test_text_that_utf_8_cannot_carry_does_not_stop_a_part_from_being_written(outcome: Any) -> None:
    """A server's message or a row's id may hold a lone surrogate: it becomes U+FFFD."""
    record = done(1, outcome)
    records = [
        type(record)(**{**{n: getattr(record, n) for n in record.__dataclass_fields__}, "row_id": "\ud800"})
    ]
    row = result_table([history(records)]).to_pylist()[0]
    assert row["row_id"] == "\ufffd"
    assert "\ud800" not in row["error"]["message"]


def test_an_answer_without_its_sent_record_is_still_the_rows() -> None:
    """Damage cost that record alone."""
    row = result_table([history([answered(1), done(1)])]).to_pylist()[0]
    assert (row["status"], row["completion"], row["attempts"]) == ("ok", "hi", [])


@pytest.mark.parametrize("as_text", [True, False])
def test_tool_arguments_nested_deeply_do_not_stop_a_part_from_being_written(as_text: bool) -> None:
    """Text stays as it came; what nobody can parse or write so deeply (some Pythons can) is null."""
    deep = '{"a":' * 900 + "1" + "}" * 900
    arguments = json.dumps(deep) if as_text else deep
    message = f'{{"tool_calls": [{{"function": {{"name": "f", "arguments": {arguments}}}}}]}}'
    table = result_table([history(asked(1, f'{{"choices": [{{"message": {message}}}]}}'.encode()))])
    (call,) = table["tool_calls"][0].as_py()
    assert call["name"] == "f"
    assert call["arguments"] in ((deep,) if as_text else (deep, None))
    assert call["parsed_arguments"] in (deep, None)
