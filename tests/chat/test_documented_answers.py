"""Every documented example of an answer, whole and streamed, and the row that it must give."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chat.rows import answer_of, row_of, streamed, whole
from tests.chat.streaming import document, stream

ZEROS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}


def answer(*choices: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A `ChatCompletion` with what every documented one has."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741569952,
        **members,
        "choices": [*choices],
    }


def choice(
    finish_reason: str = "stop", logprobs: Any = None, index: int = 0, **message: Any
) -> dict[str, Any]:
    return {
        "index": index,
        "message": {"role": "assistant", **message},
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def counts(prompt: int, completion: int, prompt_details: Any = None, details: Any = None) -> dict[str, Any]:
    found = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    given = {"prompt_tokens_details": prompt_details, "completion_tokens_details": details}
    return found | {name: value for name, value in given.items() if value is not None}


def usage_column(prompt: int, completion: int, **known: int) -> dict[str, int | None]:
    names = [
        *("cached_tokens", "reasoning_tokens", "prompt_audio_tokens", "completion_audio_tokens"),
        *("accepted_prediction_tokens", "rejected_prediction_tokens"),
    ]
    sums = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return {**sums, **{name: known.get(name) for name in names}}


ALL_ZERO = dict.fromkeys(usage_column(0, 0), 0)
HELLO = "Hello! How can I assist you today?"


def token(text: str, logprob: float, octets: list[int] | None, *top: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"token": text, "logprob": logprob, "bytes": octets}
    return {**found, "top_logprobs": [*top]} if top else found


HELLO_TOKENS = [
    token(
        "Hello",
        -0.31725305,
        [72, 101, 108, 108, 111],
        token("Hello", -0.31725305, [72, 101, 108, 108, 111]),
        token("Hi", -1.3190403, [72, 105]),
    ),
    token(
        " How",
        -0.000054669687,
        [32, 72, 111, 119],
        token(" How", -0.000054669687, [32, 72, 111, 119]),
        token("<|end|>", -10.953937, None),
    ),
]
REFUSAL_TOKENS = [token("I", -0.25, [73], token("I", -0.25, [73]))]


def call(
    id_: str | None, name: str, arguments: str | None, parsed: str | None, **other: Any
) -> dict[str, Any]:
    """An entry of the `tool_calls` column."""
    known = {"type": "function", "name": name, "arguments": arguments, "input": None}
    return {"id": id_, **known, "parsed_arguments": parsed, **other}


WEATHER = '{\n"location": "Boston, MA"\n}'
CITATION = {"start_index": 0, "end_index": 5, "url": "https://example.com/a", "title": "A"}
SOUND = b"RIFF\x24\x00\x00\x00WAVE"

DOCUMENTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai, default": (
        answer(
            choice(content=HELLO, refusal=None, annotations=[]),
            model="gpt-5.4",
            usage=counts(19, 10, {"cached_tokens": 0, "audio_tokens": 0}, ZEROS),
            service_tier="default",
        ),
        {
            "completion": HELLO,
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "response_model": "gpt-5.4",
            "service_tier": "default",
            "usage": {**ALL_ZERO, "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
        },
    ),
    "openai, image": (
        answer(
            choice(content="The image shows a wooden boardwalk.", refusal=None, annotations=[]),
            model="gpt-5.4",
            usage=counts(1117, 46, {"cached_tokens": 0, "audio_tokens": 0}, ZEROS),
            service_tier="default",
        ),
        {
            "completion": "The image shows a wooden boardwalk.",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "response_model": "gpt-5.4",
            "service_tier": "default",
            "usage": {**ALL_ZERO, "prompt_tokens": 1117, "completion_tokens": 46, "total_tokens": 1163},
        },
    ),
    "openai, functions": (
        answer(
            choice(
                "tool_calls",
                content=None,
                tool_calls=[
                    {
                        "id": "call_abc123",
                        "type": "function",
                        "function": {"name": "get_current_weather", "arguments": WEATHER},
                    }
                ],
            ),
            model="gpt-4o-mini",
            usage=counts(82, 17, None, {name: 0 for name in ZEROS if name != "audio_tokens"}),
        ),
        {
            "finish_reason": "tool_calls",
            "tool_calls": [call("call_abc123", "get_current_weather", WEATHER, '{"location":"Boston, MA"}')],
            "response_id": "chatcmpl-1",
            "response_model": "gpt-4o-mini",
            "usage": usage_column(
                82, 17, reasoning_tokens=0, accepted_prediction_tokens=0, rejected_prediction_tokens=0
            ),
        },
    ),
    "openai, logprobs": (
        answer(
            choice(content="Hello How", logprobs={"content": HELLO_TOKENS}),
            model="gpt-4o-mini",
            usage=counts(9, 9),
            system_fingerprint=None,
        ),
        {
            "completion": "Hello How",
            "finish_reason": "stop",
            "logprobs": HELLO_TOKENS,
            "response_id": "chatcmpl-1",
            "response_model": "gpt-4o-mini",
            "usage": usage_column(9, 9),
        },
    ),
    "lunos, a joke": (
        answer(
            choice(content="Why did the scarecrow win?"), model="openai/gpt-4.1-mini", usage=counts(12, 16)
        ),
        {
            "completion": "Why did the scarecrow win?",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "response_model": "openai/gpt-4.1-mini",
            "usage": usage_column(12, 16),
        },
    ),
    "custom tool": (
        answer(
            choice(
                "tool_calls",
                content=None,
                tool_calls=[
                    {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            ),
            usage=None,
        ),
        {
            "finish_reason": "tool_calls",
            "response_id": "chatcmpl-1",
            "tool_calls": [
                call("c1", "sql", None, None, type="custom", input="SELECT 1"),
                call("c2", "f", "{}", "{}"),
            ],
        },
    ),
    "refusal": (
        answer(
            choice(
                content=None,
                refusal="I cannot help with that.",
                logprobs={"content": None, "refusal": REFUSAL_TOKENS},
            ),
            usage=None,
        ),
        {
            "refusal": "I cannot help with that.",
            "refusal_logprobs": REFUSAL_TOKENS,
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
        },
    ),
    "web search, with annotations": (
        answer(
            choice(content="Hello", annotations=[{"type": "url_citation", "url_citation": CITATION}]),
            usage=None,
        ),
        {
            "completion": "Hello",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "annotations": [{"type": "url_citation", **CITATION}],
        },
    ),
    "audio": (
        answer(
            choice(
                content=None,
                refusal=None,
                audio={
                    "id": "audio_abc",
                    "data": b64encode(SOUND).decode(),
                    "expires_at": 1729018505,
                    "transcript": "Yes.",
                },
            ),
            usage=counts(17, 30, {"cached_tokens": 0, "audio_tokens": 5}, {"audio_tokens": 25}),
        ),
        {
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "audio": {
                "id": "audio_abc",
                "data": SOUND,
                "transcript": "Yes.",
                "expires_at": 1729018505,
                "format": None,
            },
            "usage": usage_column(17, 30, cached_tokens=0, prompt_audio_tokens=5, completion_audio_tokens=25),
        },
    ),
    "function_call, deprecated": (
        answer(
            choice("function_call", content=None, function_call={"name": "f", "arguments": '{"a": 1}'}),
            usage=None,
        ),
        {
            "finish_reason": "function_call",
            "response_id": "chatcmpl-1",
            "tool_calls": [call(None, "f", '{"a": 1}', '{"a":1}')],
        },
    ),
    "prediction": (
        answer(
            choice(content="a"),
            usage=counts(5, 9, None, {"accepted_prediction_tokens": 4, "rejected_prediction_tokens": 3}),
        ),
        {
            "completion": "a",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "usage": usage_column(5, 9, accepted_prediction_tokens=4, rejected_prediction_tokens=3),
        },
    ),
    "prompt caching": (
        answer(choice(content="a"), usage=counts(2000, 1, {"cached_tokens": 1920})),
        {
            "completion": "a",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "usage": usage_column(2000, 1, cached_tokens=1920),
        },
    ),
    "reasoning model": (
        answer(
            choice("length", content="", reasoning_content="Let me think."),
            usage=counts(9, 64, None, {"reasoning_tokens": 64}),
        ),
        {
            "completion": "",
            "reasoning": "Let me think.",
            "finish_reason": "length",
            "response_id": "chatcmpl-1",
            "usage": usage_column(9, 64, reasoning_tokens=64),
        },
    ),
    "structured output": (
        answer(choice(content='{"name":"Science Fair"}', refusal=None), usage=None),
        {"completion": '{"name":"Science Fair"}', "finish_reason": "stop", "response_id": "chatcmpl-1"},
    ),
    "lightcone, ids and logprobs of tokens": (
        answer(
            {**choice(content="Hi"), "token_ids": [13048, 2]},
            usage=None,
            prompt_token_ids=[1, 5],
            prompt_logprobs=[None, {"5": {"logprob": -0.5, "rank": 1, "decoded_token": "!"}}],
        ),
        {
            "completion": "Hi",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
            "token_ids": [13048, 2],
            "prompt_logprobs": [None, [{"token_id": 5, "token": "!", "logprob": -0.5, "rank": 1}]],
        },
    ),
}


def halves(length: int) -> list[int]:
    return [length // 2]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_answer_gives_its_row(name: str) -> None:
    """Columns that are not named are null."""
    answered, expected = DOCUMENTED[name]
    assert answer_of(whole(answered)) == expected


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_answer_gives_the_same_row_streamed(name: str) -> None:
    """Every column, whatever the pieces it comes in."""
    answered, expected = DOCUMENTED[name]
    assert answer_of(streamed(answered, halves)) == expected
    assert answer_of(streamed(answered, lambda length: range(length), size=1)) == expected


def test_three_choices_are_all_in_the_row() -> None:
    """The columns are the first one's, and each has its own tokens, calls and sound."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    three = answer(
        choice(content="a", logprobs={"content": HELLO_TOKENS, "refusal": None}),
        choice("tool_calls", index=1, content=None, tool_calls=calls),
        choice(index=2, content=None, refusal="No.", logprobs={"content": None, "refusal": REFUSAL_TOKENS}),
        usage=counts(3, 9),
    )
    row = row_of(whole(three))
    assert [(c["index"], c["completion"], c["refusal"], c["finish_reason"]) for c in row["choices"]] == [
        (0, "a", None, "stop"),
        (1, None, None, "tool_calls"),
        (2, None, "No.", "stop"),
    ]
    assert row["choices"][1]["tool_calls"] == [call("c", "f", "{}", "{}")]
    assert row["choices"][2]["refusal_logprobs"] == REFUSAL_TOKENS
    assert (row["completion"], row["logprobs"]) == ("a", HELLO_TOKENS)
    assert row_of(streamed(three, halves)) == row


def test_the_documented_stream_gives_the_row_of_its_text() -> None:
    """Chunks as OpenAI's create page prints them."""
    same = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1694268190}
    same |= {"model": "gpt-4o-mini", "system_fingerprint": "fp_44709d6fcb"}
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hello"}, {}]
    reasons = [None, None, "stop"]
    chunks = [
        {**same, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        for delta, reason in zip(deltas, reasons, strict=True)
    ]
    assert answer_of(json.dumps(document(stream(*chunks))).encode()) == {
        "completion": "Hello",
        "finish_reason": "stop",
        "response_id": "chatcmpl-123",
        "response_model": "gpt-4o-mini",
        "system_fingerprint": "fp_44709d6fcb",
    }


def test_a_stored_completion_is_read_like_a_fresh_one() -> None:
    """What `retrieve` gives has members of its own: metadata, the request's settings."""
    stored = answer(
        {**choice(content="Silent circuits hum"), "seed": 4},
        usage=counts(9, 4),
        metadata={"user_id": "u"},
        request_id="req_1",
        tool_choice=None,
        temperature=1.0,
    )
    assert answer_of(whole(stored))["completion"] == "Silent circuits hum"


TEXT = st.text(max_size=12)
TOKENS = st.lists(
    st.builds(
        lambda text, logprob, octets: token(text, logprob, octets, token(text, logprob, octets)),
        st.text(max_size=3),
        st.floats(-20, 0) | st.just(float("-inf")),
        st.none() | st.lists(st.integers(0, 255), max_size=3),
    ),
    max_size=3,
)
CALLS = st.lists(
    st.builds(
        lambda name, said, custom: {
            "id": f"call_{name}",
            "type": "custom" if custom else "function",
            **({"custom": {"name": name, "input": said}} if custom else {}),
            **({} if custom else {"function": {"name": name, "arguments": said}}),
        },
        st.text("abc", min_size=1, max_size=3),
        TEXT,
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
SOUNDS = st.builds(
    lambda data, transcript: {
        "id": "audio_1",
        "data": b64encode(data).decode(),
        "transcript": transcript,
        "expires_at": 9,
    },
    st.binary(min_size=1, max_size=12),
    TEXT,
)
FUNCTION_CALLS = st.builds(lambda said: {"name": "f", "arguments": said}, TEXT)
MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {"content": TEXT},
        optional={
            "reasoning_content": st.text(min_size=1, max_size=12),
            "annotations": st.lists(st.just({"type": "url_citation", "url_citation": CITATION}), max_size=2),
        },
    ),
    st.fixed_dictionaries({"content": st.none(), "refusal": st.text(min_size=1, max_size=12)}),
    st.fixed_dictionaries({"content": st.none() | st.text(min_size=1), "tool_calls": CALLS}),
    st.fixed_dictionaries({"content": st.none(), "audio": SOUNDS}),
    st.fixed_dictionaries(
        {
            "content": st.none(),
            "function_call": st.builds(lambda said: {"name": "f", "arguments": said}, TEXT),
        }
    ),
)
LOGPROBS = st.none() | st.fixed_dictionaries({"content": st.none() | TOKENS, "refusal": st.none() | TOKENS})
CHOICES = st.builds(
    lambda message, reason, logprobs, ids: {
        **choice(reason, logprobs, **message),
        **({} if ids is None else {"token_ids": ids}),
    },
    MESSAGES,
    st.sampled_from(["stop", "length", "tool_calls", "eos_token"]),
    LOGPROBS,
    st.none() | st.lists(st.integers(0, 2**20), max_size=4),
)
ANSWERS = st.builds(
    lambda choices, counted: answer(
        *({**one, "index": index} for index, one in enumerate(choices)),
        usage=counts(3, 4, {"cached_tokens": 1}) if counted else None,
        model="m",
    ),
    st.lists(CHOICES, min_size=1, max_size=3),
    st.booleans(),
)


@given(ANSWERS, st.data(), st.integers(1, 200))
@settings(max_examples=150)
def test_any_answer_gives_the_same_row_streamed(
    answered: dict[str, Any], data: st.DataObject, size: int
) -> None:
    """However its texts, lists and sounds are cut into chunks, and the chunks into bytes."""

    def cut(length: int) -> list[int]:
        return data.draw(st.lists(st.integers(0, length), max_size=3))

    assert row_of(streamed(answered, cut, size=size)) == row_of(whole(answered))
