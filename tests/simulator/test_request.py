"""What the simulator takes as a request, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.keys import Keys
from batchrun.simulator.making.vocabulary import tokens
from batchrun.simulator.reading.request import ChatRequest, Received, receive
from batchrun.simulator.refusal import Refusal
from tests.simulator.wire import PROMPT, QUESTION, body


def received(content: bytes, authorization: str = "", **config: Any) -> Received:
    settings = SimulatorConfig(**config)
    return receive(content, settings, api_key_ok=Keys(settings).take(authorization))


def refused(content: bytes, authorization: str = "", **config: Any) -> Refusal:
    content_or_refusal = received(content, authorization, **config).content
    assert isinstance(content_or_refusal, Refusal)
    return content_or_refusal


def read(**members: object) -> ChatRequest:
    request = received(body(**members)).content
    assert isinstance(request, ChatRequest), request
    return request


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    """Cutting a text into tokens loses nothing."""
    assert text == "".join(tokens(text))


def test_a_request_is_read() -> None:
    """The members that decide the answer arrive in the request."""
    request = read(n=2, max_tokens=7, stop="END", logprobs=True, top_logprobs=3)
    assert (
        request.model,
        request.question,
        request.n,
        request.max_tokens,
        request.stop,
        request.top_logprobs,
    ) == ("m-1", QUESTION, 2, 7, ("END",), 3)


def test_the_newer_name_of_the_token_limit_wins() -> None:
    """max_completion_tokens replaced max_tokens."""
    assert read(max_tokens=9, max_completion_tokens=5).max_tokens == 5


def test_the_question_is_the_last_user_message() -> None:
    """Earlier questions, and answers after it, do not count as the question."""
    roles = ["user", "assistant", "user", "assistant"]
    turns = [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]
    assert read(messages=turns).question == "user 2"
    assert received(body(messages=turns, n=0)).question == "user 2"


def test_content_parts_count_by_their_text() -> None:
    """A message made of parts is the text of its text parts."""
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert read(messages=[{"role": "user", "content": parts}]).question == "one"


def test_the_estimate_is_bytes_and_the_most_that_may_be_written() -> None:
    """A token limit counts bytes / 4, rounded up, and the maximum of every choice."""
    request = read(messages=[{"role": "user", "content": "é" * 5}], n=3, max_tokens=10)
    assert request.estimate == 3 + 30


@pytest.mark.parametrize("member", ["stream", "stream_options", "user", "metadata", "store"])
def test_members_that_do_not_change_the_answer_are_not_in_the_key(member: str) -> None:
    """The same question has the same key however it is to be delivered, labelled or stored."""
    value = {"stream": True, "stream_options": {}, "user": "u", "metadata": {"a": "b"}, "store": True}[member]
    assert received(body()).key == received(body(**{member: value})).key


def test_the_order_of_members_is_not_in_the_key() -> None:
    """Two spellings of one JSON object are one request."""
    backwards = json.dumps({"messages": PROMPT, "model": "m-1"}, indent=1).encode()
    assert received(body()).key == received(backwards).key


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [*PROMPT, {"content": "x"}]}, "messages[2].role"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, object], param: str) -> None:
    """A request that OpenAI refuses is refused in its words: 400, the type, and the member at fault."""
    refusal = refused(body(**members))
    assert (400, "invalid_request_error", param) == (refusal.status, refusal.type, refusal.param)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(content: bytes) -> None:
    """Whatever the bytes are, the answer is a 400 with OpenAI's error object."""
    refusal = refused(content)
    assert refusal.status == 400
    assert {"message", "type", "param", "code"} == set(json.loads(refusal.body())["error"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_no_value_of_a_member_breaks_the_reader(value: object) -> None:
    """Any JSON in any place is either a request or a refusal."""
    for name in ("model", "messages", "n", "stop", "temperature", "response_format", "stream_options"):
        assert received(json.dumps({"model": "m", "messages": PROMPT, name: value}).encode()).key


def test_only_listed_models_exist() -> None:
    """With an allow-list, another model is a 404 with OpenAI's code."""
    refusal = refused(body(model="gpt-9"), models=("m-1",))
    assert (refusal.status, refusal.code) == (404, "model_not_found")
    assert "gpt-9" in refusal.message


def test_prompt_and_completion_must_fit_the_context() -> None:
    """One token more than the window is a 400 with OpenAI's code; exactly the window is fine."""
    size = read().prompt_tokens
    refusal = refused(body(max_tokens=11), context_window=size + 10)
    assert (refusal.status, refusal.code) == (400, "context_length_exceeded")
    assert isinstance(received(body(max_tokens=10), context_window=size + 10).content, ChatRequest)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer sk-other", "Basic sk-right", "sk-right", "Bearer ключ"]
)
def test_another_key_is_refused_before_anything_else(authorization: str) -> None:
    """A wrong key is a 401, even with a body that is wrong too, and the message repeats no key."""
    for content in (body(), b"{"):
        refusal = refused(content, authorization, api_key="sk-right")
        assert (refusal.status, refusal.code) == (401, "invalid_api_key")
        assert "sk-" not in refusal.message


def test_the_right_key_is_taken() -> None:
    """The scheme's case does not matter, RFC 9110 section 11.1."""
    assert received(body(), "bearer sk-right", api_key="sk-right").api_key_ok
    assert received(body(), "", api_key=None).api_key_ok
