"""Answers as messages of the conversation that goes on, and messages as entries of the results."""

from __future__ import annotations

from typing import Any

import pytest

from batchrun import codec
from batchrun.chat.response.completion import Choice, Completion, read_completion
from batchrun.chat.transcript import assistant_message, flattened, result_messages


def choice(message: dict[str, Any]) -> Choice:
    """The choice that a server's message is read into."""
    read = read_completion(codec.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert isinstance(read, Completion)
    return read.choices[0]


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"content": "hi"}, {"role": "assistant", "content": "hi"}),
        (
            {"content": None, "refusal": "no"},
            {"role": "assistant", "content": None, "refusal": "no"},
        ),
        (
            {"content": None, "tool_calls": [CALL, CUSTOM]},
            {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM]},
        ),
        (
            {"content": None, "tool_calls": [{**CALL, "id": None}]},
            {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": "call_0"}]},
        ),
    ],
    ids=["text", "refusal", "tool calls", "a call without id"],
)
def test_an_answer_becomes_an_assistant_message(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """As `ChatCompletionAssistantMessageParam` wants it; a missing id is made up, and used by the result."""
    assert assistant_message(choice(answer)) == expected


def test_results_name_the_calls_they_answer() -> None:
    """A tool message for each call, in their order."""
    calls = choice({"content": None, "tool_calls": [CALL, {**CALL, "id": None}]}).tool_calls
    assert result_messages(calls, ["one", "two"]) == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_1", "content": "two"},
    ]


def test_the_deprecated_form_is_answered_in_kind() -> None:
    """`function_call` goes back as such, and its result as a function message."""
    answer = choice({"content": None, "function_call": {"name": "f", "arguments": "{}"}})
    message = assistant_message(answer, legacy=True)
    assert message == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }
    assert result_messages(answer.tool_calls, ["r"], legacy=True) == [
        {"role": "function", "name": "f", "content": "r"}
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {"data": "a" * 300, "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "x"}},
                ],
            },
            {
                "role": "user",
                "content": "what is it?",
                "parts": [
                    {"type": "text", "text": "what is it?", "source": None},
                    {"type": "image_url", "text": None, "source": "data:image/png;base64 (26 characters)"},
                    {"type": "input_audio", "text": None, "source": "aaaaaaaaaaaaaaaaaaaa… (300 characters)"},
                    {"type": "file", "text": None, "source": "a.pdf"},
                ],
            },
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM]},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "type": "function", "name": "f", "arguments": '{"a":1}', "input": None},
                    {"id": "c2", "type": "custom", "name": "g", "arguments": None, "input": "x"},
                ],
            },
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ),
    ],
    ids=["text", "parts", "tool calls", "result"],
)
def test_a_message_becomes_an_entry_of_the_results(message: dict[str, Any], expected: dict[str, Any]) -> None:
    """Text as text, other parts by what they are and where they come from, never by their data."""
    assert {name: value for name, value in flattened(message).items() if value is not None} == expected
