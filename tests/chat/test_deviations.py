"""Answers as real services give them, not as the reference says: each is read without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchrun.chat.response.completion import Completion, ErrorInside, NoAnswer, read_completion
from batchrun.outcome import Response
from batchrun.policy.judge import judge
from tests.chat.rows import answer_of, row_of


def body(message: Any, choice: dict[str, Any] | None = None, **document: Any) -> bytes:
    """An answer with one choice; nothing else in it is given."""
    return json.dumps({"choices": [{"message": message, **(choice or {})}], **document}).encode()


FUNCTION = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
CALL = {"id": "c1", "type": "function", "name": "f", "arguments": '{"a":1}', "input": None}
CALLED = {"tool_calls": [{**CALL, "parsed_arguments": '{"a":1}'}]}
NO_COUNTS = dict.fromkeys(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens"),
        *("prompt_audio_tokens", "completion_audio_tokens"),
        *("accepted_prediction_tokens", "rejected_prediction_tokens"),
    ]
)

DEVIATIONS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "Groq: no content beside tool calls": (
        body({"role": "assistant", "tool_calls": [FUNCTION]}, {"finish_reason": "tool_calls"}),
        {**CALLED, "finish_reason": "tool_calls"},
    ),
    "OpenAI: no logprobs": (
        body({"role": "assistant", "content": "a"}, {"index": 0, "finish_reason": "stop"}),
        {"completion": "a", "finish_reason": "stop"},
    ),
    "neither role nor index": (body({"content": "a"}), {"completion": "a"}),
    "another role": (body({"role": "model", "content": "a"}), {"completion": "a"}),
    "no index": (
        body({"content": "a"}, {"finish_reason": "stop"}),
        {"completion": "a", "finish_reason": "stop"},
    ),
    "an index that is text": (body({"content": "a"}, {"index": "0"}), {"completion": "a"}),
    "created as a float": (body({"content": "a"}, created=1741569952.4), {"completion": "a"}),
    "an id that is a number": (body({"content": "a"}, id=17), {"completion": "a", "response_id": "17"}),
    "a finish reason of its own": (
        body({"content": "a"}, {"finish_reason": "eos_token"}),
        {"completion": "a", "finish_reason": "eos_token"},
    ),
    "an empty finish reason": (body({"content": "a"}, {"finish_reason": ""}), {"completion": "a"}),
    "finish reason null": (body({"content": "a"}, {"finish_reason": None}), {"completion": "a"}),
    "usage null": (body({"content": "a"}, usage=None), {"completion": "a"}),
    "an empty usage": (body({"content": "a"}, usage={}), {"completion": "a", "usage": NO_COUNTS}),
    "counts as floats": (
        body({"content": "a"}, usage={"prompt_tokens": 5.0, "completion_tokens": 2.0}),
        {"completion": "a", "usage": {**NO_COUNTS, "prompt_tokens": 5, "completion_tokens": 2}},
    ),
    "DeepSeek: the cache's tokens beside the sums": (
        body(
            {"content": "a", "reasoning_content": "hm"},
            usage={"prompt_tokens": 70, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 6},
        ),
        {
            "completion": "a",
            "reasoning": "hm",
            "usage": {**NO_COUNTS, "prompt_tokens": 70, "cached_tokens": 64},
        },
    ),
    "Moonshot: cached_tokens beside the sums": (
        body({"content": "a"}, usage={"prompt_tokens": 70, "cached_tokens": 64}),
        {"completion": "a", "usage": {**NO_COUNTS, "prompt_tokens": 70, "cached_tokens": 64}},
    ),
    "a gateway to Anthropic: input_tokens": (
        body({"content": "a"}, usage={"input_tokens": 7, "output_tokens": 2}),
        {"completion": "a", "usage": {**NO_COUNTS, "prompt_tokens": 7, "completion_tokens": 2}},
    ),
    "OpenRouter: cost, reasoning and its details": (
        body(
            {
                "content": "a",
                "refusal": None,
                "reasoning": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}],
            },
            {"native_finish_reason": "completed", "finish_reason": "stop"},
            provider="Azure",
            usage={"prompt_tokens": 3, "cost": 0.00014, "is_byok": False, "cost_details": {}},
        ),
        {
            "completion": "a",
            "reasoning": "hm",
            "finish_reason": "stop",
            "cost_usd": 0.00014,
            "usage": {**NO_COUNTS, "prompt_tokens": 3},
        },
    ),
    "OpenRouter: reasoning in its details alone": (
        body({"content": "a", "reasoning": None, "reasoning_details": [{"summary": "h"}, {"text": "m"}]}),
        {"completion": "a", "reasoning": "hm"},
    ),
    "Mistral: thinking among the content's parts": (
        body(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
                    {"type": "text", "text": "a"},
                ]
            }
        ),
        {"completion": "a", "reasoning": "hm"},
    ),
    "content as parts": (
        body({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        {"completion": "ab"},
    ),
    "JSON mode: content as an object": (body({"content": {"a": 1}}), {"completion": '{"a":1}'}),
    "Ollama: arguments as an object": (
        body({"content": "", "tool_calls": [{**FUNCTION, "function": {"name": "f", "arguments": {"a": 1}}}]}),
        {"completion": "", **CALLED},
    ),
    "a tool call without id and type": (
        body({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}),
        {"tool_calls": [{**CALLED["tool_calls"][0], "id": None}]},
    ),
    "vLLM: every member of its class": (
        body(
            {
                **dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning")),
                "content": "a",
                "tool_calls": [],
            },
            {"logprobs": None, "stop_reason": None, "token_ids": None, "finish_reason": "stop"},
            prompt_logprobs=None,
            prompt_token_ids=None,
            kv_transfer_params=None,
            service_tier=None,
        ),
        {"completion": "a", "finish_reason": "stop"},
    ),
    "Azure: filter results": (
        body(
            {"content": "a"},
            {"content_filter_results": {"hate": {"filtered": False}}, "finish_reason": "stop"},
            prompt_filter_results=[{"prompt_index": 0}],
        ),
        {"completion": "a", "finish_reason": "stop"},
    ),
    "Gemini: all of it was thinking": (
        body({"role": "assistant"}, {"finish_reason": "length"}),
        {"finish_reason": "length"},
    ),
    "Together: the lists of the legacy API as logprobs": (
        body({"content": "a"}, {"logprobs": {"tokens": ["a"], "token_logprobs": [-0.5], "content": None}}),
        {
            "completion": "a",
            "logprobs": [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}],
        },
    ),
    "logprobs without bytes and alternatives": (
        body({"content": "a"}, {"logprobs": {"content": [{"token": "a", "logprob": 0}]}}),
        {
            "completion": "a",
            "logprobs": [{"token": "a", "logprob": 0.0, "bytes": None, "top_logprobs": []}],
        },
    ),
    "annotations without url_citation": (
        body({"content": "a", "annotations": [{"type": "url_citation", "url": "https://a.b", "title": "T"}]}),
        {
            "completion": "a",
            "annotations": [
                {
                    "type": "url_citation",
                    "url": "https://a.b",
                    "title": "T",
                    "start_index": None,
                    "end_index": None,
                }
            ],
        },
    ),
    "a legacy completion": (
        b'{"object":"text_completion","choices":[{"text":"a","index":0,"finish_reason":"stop"}]}',
        {"completion": "a", "finish_reason": "stop"},
    ),
    "a byte order of lines before the JSON": (
        b"\n\n  " + body({"content": "a"}) + b"\n",
        {"completion": "a"},
    ),
    "a byte order mark before the JSON": (b"\xef\xbb\xbf" + body({"content": "a"}), {"completion": "a"}),
    "reasoning alone": (
        body({"content": None, "reasoning": "hm"}, {"finish_reason": "stop"}, usage={"total_tokens": 9}),
        {"reasoning": "hm", "finish_reason": "stop", "usage": {**NO_COUNTS, "total_tokens": 9}},
    ),
    "an empty error beside the answer": (body({"content": "a"}, error=None), {"completion": "a"}),
    "another object name": (body({"content": "a"}, object="chat.completions"), {"completion": "a"}),
    "a choice that is null": (b'{"choices":[null,{"message":{"content":"a"}}]}', {"completion": "a"}),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_costs_nothing_of_the_answer(name: str) -> None:
    """Every column that the answer fills is named; the row is no failure."""
    data, expected = DEVIATIONS[name]
    assert answer_of(data) == expected
    assert isinstance(read_completion(data), Completion)


def test_there_are_many_of_them() -> None:
    """Of 333 recorded answers of 17 hosts only 51 were as the published schema says."""
    assert len(DEVIATIONS) >= 30


@pytest.mark.parametrize(
    ("data", "error_type"),
    [
        (b'{"choices": null}', "invalid_response"),
        (b'{"choices": []}', "invalid_response"),
        (b'{"choices": [{"message": null, "finish_reason": "stop"}]}', "invalid_response"),
        (b'{"id": "x", "error": {"code": 502, "message": "Provider returned error"}}', "server"),
        (b'{"error": {"code": "429", "message": "Slow down"}, "choices": []}', "rate_limit"),
        (b'{"object": "error", "message": "busy", "code": 503}', "server"),
        (b'{"error": "overloaded"}', "server"),
        (
            b'{"choices":[{"message":{"content":"a"},"finish_reason":"error","error":{"code":502}}]}',
            "server",
        ),
        (b'{"choices":[{"message":{"content":null},"finish_reason":"error"}]}', "server"),
        (b'{"choices":[{"message":{"content":""},"finish_reason":"error"}]}', "server"),
        (b'{"choices":[{"finish_reason":"error"}]}', "server"),
        (b"<html>Bad gateway</html>", "invalid_response"),
        (b"", "invalid_response"),
        (b'"ok"', "invalid_response"),
    ],
)
def test_a_200_that_is_no_answer_says_what_it_is(data: bytes, error_type: str) -> None:
    """Never an empty answer."""
    assert isinstance(read_completion(data), ErrorInside | NoAnswer)
    error = judge(Response(200, {}, data, 0.1)).error
    assert error is not None
    assert error.type == error_type
    assert row_of(data)["completion"] is None
