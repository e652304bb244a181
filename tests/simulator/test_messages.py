"""Which lists of messages are taken, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.asking import refusal, request

USER = {"role": "user", "content": "What is the weather?"}


def call(number: int = 1) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": "{}"}
    return {"id": f"call_{number}", "type": "function", "function": function}


def calling(*calls: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(number: int = 1, content: object = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": content}


CUSTOM = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "ls"}}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "Be brief.", "name": "dev"}, USER],
        [USER, {"role": "assistant", "content": "Sunny."}, USER],
        [USER, {"role": "assistant", "refusal": "I cannot say."}, USER],
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER],
        [USER, {"role": "assistant", "audio": {"id": "audio_1"}}, USER],
        [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}, USER],
        [USER, calling(call()), result()],
        [USER, calling(call(1), call(2)), result(2), result(1), USER],
        [USER, calling(call()), result(), calling(call()), result()],
        [USER, calling(CUSTOM), result(content=[{"type": "text", "text": "a.txt"}])],
        [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}],
        [USER, {"role": "function", "name": "f", "content": None}],
        [{"role": "user", "content": ["a bare string"]}],
    ],
    ids=str,
)
def test_a_right_conversation_is_taken(messages: list[Any]) -> None:
    """Messages of every role, in the orders that OpenAI takes."""
    assert request(messages=messages).messages == messages


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([USER, {"role": "assistant"}], "messages[1].content"),
        ([USER, {"role": "assistant", "audio": {"name": "x"}}], "messages[1].audio.id"),
        ([{"role": "user", "content": "a", "name": 3}], "messages[0].name"),
        ([USER, {"role": "function", "content": "a"}], "messages[1].name"),
        ([USER, {"role": "tool", "content": "a"}], "messages[1].tool_call_id"),
        ([USER, result()], "messages[1].tool_call_id"),
        ([USER, calling(call(1)), result(2)], "messages[2].tool_call_id"),
        ([USER, calling(call(1)), result(1), result(1)], "messages[3].tool_call_id"),
        ([USER, calling(call(1)), result(1), USER, result(1)], "messages[4].tool_call_id"),
        ([USER, calling(call(1))], "messages[1].tool_calls"),
        ([USER, calling(call(1), call(2)), result(1), USER], "messages[1].tool_calls"),
        ([USER, calling({"id": "a", "type": "function"})], "messages[1].tool_calls[0].function.name"),
        ([USER, calling({"id": "a", "type": "magic"})], "messages[1].tool_calls[0].type"),
        ([USER, calling({**call(), "id": None})], "messages[1].tool_calls[0].id"),
        (
            [USER, calling({"id": "a", "function": {"name": "f", "arguments": {}}})],
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            [USER, {"role": "assistant", "function_call": {"name": "f"}}],
            "messages[1].function_call.arguments",
        ),
    ],
    ids=str,
)
def test_a_wrong_conversation_is_refused(messages: list[Any], param: str) -> None:
    """With 400 and the place, as OpenAI does; calls without results and results without calls too."""
    found = refusal(messages=messages)
    assert (found.status, found.type, found.param) == (400, "invalid_request_error", param)


def test_the_refusal_names_the_open_calls() -> None:
    """Whoever forgot a result learns which."""
    found = refusal(messages=[USER, calling(call(1), call(2)), result(1)])
    assert found.message.endswith("did not have response messages: call_2")
