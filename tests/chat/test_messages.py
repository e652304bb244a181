"""Messages: strict as a job spells them, lenient where a row brings its own."""

from __future__ import annotations

import copy
import json
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from batchrun.chat.request.message_models import AnyMessage, as_spelled
from batchrun.chat.request.messages import check_messages

ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)

PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "{{ a }}"},
    {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "high"}},
    {"type": "image_url", "image_url": {"url": "{{ photo }}", "detail": "{{ detail }}"}, "uuid": "u"},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}},
    {"type": "file", "file": {"file_data": "{{ data }}", "filename": "{{ name }}"}},
    {"type": "refusal", "refusal": "no"},
    {"type": "audio_url", "audio_url": {"url": "https://x.example/a.mp3"}},
    {"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}},
    {"type": "image_embeds", "image_embeds": "QQ==", "uuid": None},
    {"type": "audio_embeds", "audio_embeds": {"a": "QQ=="}},
    {"type": "thinking", "thinking": "hm", "closed": True},
]
CALLS: list[dict[str, Any]] = [
    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "2", "type": "custom", "custom": {"name": "g", "input": "x"}},
]
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be {{ tone }}."},
    {"role": "developer", "content": [{"type": "text", "text": "x"}], "name": "ann"},
    {"role": "user", "content": PARTS, "name": "bob"},
    {"role": "assistant", "content": "hi", "reasoning": "hm"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "assistant", "refusal": "no"},
    {"role": "assistant", "content": [PARTS[0], PARTS[6], PARTS[11]]},
    {"role": "assistant", "audio": {"id": "audio_1"}},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "tool", "content": "4", "tool_call_id": "1"},
    {"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_call_id": "1"},
    {"role": "function", "content": "4", "name": "f"},
    {"role": "function", "content": None, "name": "f"},
]


@pytest.mark.parametrize("message", MESSAGES, ids=json.dumps)
def test_every_documented_message_is_sent_as_it_is_spelled(message: dict[str, Any]) -> None:
    """Neither a default is added nor a null dropped."""
    assert ADAPTER.validate_python(message).plain() == message
    assert as_spelled(message) == message
    assert check_messages([message]) is None


def test_what_an_endpoint_adds_is_merged_in() -> None:
    """In a message, a part and a call; only there, not in data that happens to have a member of that name."""
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a", "extra_body": {"cache_control": {"type": "ephemeral"}}}],
        "tool_calls": [{**CALLS[0], "extra_body": {"index": 0}}],
        "extra_body": {"prefix": True, "extra_body": 1},
    }
    sent = ADAPTER.validate_python(message).plain()
    assert as_spelled(sent) == message
    assert sent == {
        "role": "assistant",
        "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        "tool_calls": [{**CALLS[0], "index": 0}],
        "prefix": True,
        "extra_body": 1,
    }


def _members(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all mappings inside a message."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [found for key, item in items for found in _members(item, (*way, key))]
    return [way, *below] if isinstance(value, dict) else below


STRICT = [(at, way) for at, message in enumerate(MESSAGES) for way in _members(message)]


@pytest.mark.parametrize(("at", "way"), [(at, way) for at, way in STRICT if way[-1:] != ("audio_embeds",)])
def test_an_unknown_member_is_wrong_in_a_job_and_passes_in_data(at: int, way: tuple[Any, ...]) -> None:
    """At every depth."""
    message = copy.deepcopy(MESSAGES[at])
    here: Any = message
    for key in way:
        here = here[key]
    here["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        ADAPTER.validate_python(message)
    assert check_messages([message]) is None


DATA: list[Any] = [
    [{"role": "critic", "content": "x"}],
    [{"role": "critic"}],
    [{"role": "user", "content": ["plain", {"image_url": "https://x.example/a.png"}]}],
    [{"role": "user", "content": [{"type": "hologram", "hologram": 3}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x.example/a.png"}]}],
    [{"role": "user", "content": [{"type": "text", "text": "x", "image_url": None}], "tool_calls": None}],
    [{"role": "assistant", "reasoning_content": "hm"}],
    [{"role": "assistant", "content": ""}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "{{ not a template }}"}],
]


@pytest.mark.parametrize("messages", DATA, ids=json.dumps)
def test_rows_may_bring_what_only_their_endpoint_knows(messages: Any) -> None:
    """Unknown roles and parts, simple forms, and the nulls of a Parquet struct."""
    assert check_messages(messages) is None


WRONG: list[tuple[Any, str]] = [
    (None, "messages: must be a list of at least one message; found null"),
    ([], "messages: must be a list of at least one message; found an empty list"),
    ("hi", "messages: must be a list of at least one message; found text"),
    ([{"role": "user", "content": "x"}, "hi"], "messages[1]: must be a mapping; found text"),
    ([{"content": "x"}], "messages[0].role: must be text, as user; found null"),
    ([{"role": 3, "content": "x"}], "messages[0].role: must be text, as user; found a number"),
    ([{"role": "", "content": "x"}], "messages[0].role: must be text, as user; found an empty text"),
    ([{"role": "user"}], "messages[0].content: must be given for the role user; found null"),
    (
        [{"role": "user", "content": 3}],
        "messages[0].content: must be text or a list of parts; found a number",
    ),
    (
        [{"role": "user", "content": True}],
        "messages[0].content: must be text or a list of parts; found a bool",
    ),
    (
        [{"role": "user", "content": {}}],
        "messages[0].content: must be text or a list of parts; found a mapping",
    ),
    ([{"role": "user", "content": []}], "messages[0].content: must be text or a list of at least one part"),
    ([{"role": "user", "content": [3]}], "messages[0].content[0]: must be a mapping; found a number"),
    ([{"role": "user", "content": [{}]}], "messages[0].content[0]: must have a type; found an empty mapping"),
    (
        [{"role": "user", "content": [{"type": 1}]}],
        "messages[0].content[0].type: must be text; found a number",
    ),
    (
        [{"role": "user", "content": ["a", {"type": "text"}]}],
        "messages[0].content[1].text: must be text; found null",
    ),
    (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        "messages[0].content[0].image_url.url: must be text; found null",
    ),
    (
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}],
        "messages[0].content[0].input_audio.format: must be text; found null",
    ),
    (
        [{"role": "user", "content": [{"type": "file", "file": {}}]}],
        "messages[0].content[0].file: must have file_d",
    ),
    ([{"role": "assistant"}], "messages[0].content: must be given for an assistant without tool_calls"),
    (
        [{"role": "assistant", "content": None, "name": "a"}],
        "messages[0].content: must be given for an assistant",
    ),
    ([{"role": "assistant", "tool_calls": 3}], "messages[0].tool_calls: must be a list; found a number"),
    (
        [{"role": "assistant", "tool_calls": [3]}],
        "messages[0].tool_calls[0]: must be a mapping; found a number",
    ),
    (
        [{"role": "assistant", "tool_calls": [{}]}],
        "messages[0].tool_calls[0].id: must be text, which the tool's",
    ),
    (
        [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}]}],
        "messages[0].tool_calls[0].function.arguments: must be JSON text; found a mapping",
    ),
    (
        [{"role": "tool", "content": "x"}],
        "messages[0].tool_call_id: must be text for the role tool; found null",
    ),
    (
        [{"role": "function", "content": "x"}],
        "messages[0].name: must be text for the role function; found null",
    ),
]


@pytest.mark.parametrize(("messages", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_what_no_endpoint_would_take_is_named(messages: Any, reason: str) -> None:
    """With its place, and what was found there."""
    found = check_messages(messages)
    assert found is not None
    assert found.startswith(reason)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "id", "image_url"]),
            inner | st.sampled_from(["user", "assistant", "tool", "text", "image_url", "function"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_ANYTHING)
def test_any_data_gets_an_answer(messages: Any) -> None:
    """A reason or none, never an exception; and nothing is changed."""
    before = repr(messages)
    assert isinstance(check_messages(messages), str | None)
    assert repr(messages) == before


def test_plain_conversations_cost_microseconds() -> None:
    """It runs for every row: 3 messages take 2 µs here, and may take 30."""
    messages = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    best = min(timeit.repeat(lambda: check_messages(messages), number=200, repeat=20))
    assert best / 200 < 30e-6
