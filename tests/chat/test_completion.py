"""Answers of chat completion calls as real servers send them: read leniently, never with an exception."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.chat.response.completion import Audio, Completion, ErrorInside, NoAnswer, read_completion
from batchrun.outcome import Usage


def body(message: Any = None, usage: Any = None, **choice: Any) -> bytes:
    """A completion with one choice."""
    choices = [{"index": 0, "message": message or {"role": "assistant", "content": "hi"}, **choice}]
    return json.dumps({"choices": choices, **({"usage": usage} if usage is not None else {})}).encode()


def read(data: bytes) -> Completion:
    found = read_completion(data)
    assert isinstance(found, Completion), found
    return found


@pytest.mark.parametrize(
    ("message", "members"),
    [
        ({"content": "hi"}, {"content": "hi", "refusal": None, "tool_calls": (), "is_empty": False}),
        ({"content": ""}, {"content": "", "is_empty": True}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}]}, {"content": "ab"}),
        ({"content": {"label": "é"}}, {"content": '{"label":"é"}'}),
        ({"content": 7}, {"content": "7"}),
        ({"content": None, "refusal": "I will not."}, {"refusal": "I will not.", "content": None}),
        ({"content": "4", "reasoning_content": "2+2"}, {"reasoning": "2+2"}),
        ({"content": "4", "reasoning": "2+2"}, {"reasoning": "2+2"}),
        ({"content": "4", "thinking": "2+2"}, {"reasoning": "2+2"}),
        ({"content": "4", "reasoning_content": ""}, {"reasoning": None}),
        (
            {
                "content": "4",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "2"},
                    {"type": "reasoning.encrypted", "data": "x"},
                    {"type": "reasoning.text", "text": "+2"},
                ],
            },
            {"reasoning": "2+2"},
        ),
        (
            {"content": "4", "reasoning": "2+2", "reasoning_details": [{"text": "2+2"}]},
            {"reasoning": "2+2"},
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2+"}, {"text": "2"}, 3]},
                    {"type": "thinking", "thinking": "!"},
                    {"type": "text", "text": "4"},
                    "!",
                    7,
                ]
            },
            {"reasoning": "2+2!", "content": "4!"},
        ),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, {"refusal": "No.", "content": ""}),
        ({"content": "4", "reasoning": None, "reasoning_content": "2+2"}, {"reasoning": "2+2"}),
        (
            {"content": "a", "annotations": [{"type": "url_citation"}, 3]},
            {"annotations": ({"type": "url_citation"},)},
        ),
        ({"content": "a", "annotations": None, "tool_calls": None, "refusal": None}, {"annotations": ()}),
    ],
)
def test_a_message_is_read_in_every_form_servers_give_it(message: Any, members: dict[str, Any]) -> None:
    """Content as text, parts or a value; reasoning under both of its names; nulls for what is not there."""
    choice = read(body(message)).choices[0]
    assert {name: getattr(choice, name) for name in members} == members


@pytest.mark.parametrize(
    ("call", "read_as"),
    [
        (
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            ("c1", "function", "f", '{"a":1}', None),
        ),
        ({"function": {"name": "f", "arguments": {"a": 1}}}, (None, "function", "f", '{"a":1}', None)),
        (
            {"id": "c2", "custom": {"name": "sql", "input": "SELECT 1"}},
            ("c2", "custom", "sql", None, "SELECT 1"),
        ),
        ({"id": 3, "type": "function"}, ("3", "function", None, None, None)),
        ({"id": "", "type": "", "function": {"name": "f"}}, ("", "function", "f", None, None)),
    ],
)
def test_tool_calls_are_an_answer_with_or_without_content(call: Any, read_as: tuple[Any, ...]) -> None:
    """Groq leaves `content` out beside them; Ollama gives arguments as an object."""
    found = read(body({"tool_calls": [call]})).choices[0]
    (tool,) = found.tool_calls
    assert (tool.id, tool.type, tool.name, tool.arguments, tool.input) == read_as
    assert not found.is_empty


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"function_call": {"name": "f", "arguments": "{}"}}, ["f"]),
        ({"function_call": {"name": "f"}, "tool_calls": [{"function": {"name": "g"}}]}, ["g"]),
        ({"content": "a", "function_call": {}}, []),
        ({"content": "a", "function_call": None}, []),
    ],
)
def test_a_legacy_function_call_is_a_tool_call_without_an_id(message: Any, names: list[str]) -> None:
    """Unless the server, for old clients, repeats in it what `tool_calls` says."""
    calls = read(body(message)).choices[0].tool_calls
    assert [call.name for call in calls] == names
    assert all((call.id, call.type) == (None, "function") for call in calls)


SOUND = b64encode(b"RIFF").decode()


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        (
            {"id": "audio_1", "data": SOUND, "transcript": "Hi.", "expires_at": 1729018505},
            Audio("audio_1", b"RIFF", "Hi.", 1729018505),
        ),
        ({"data": SOUND.rstrip("=")}, Audio(None, b"RIFF", None, None)),
        ({"data": "data:audio/wav;base64," + SOUND}, Audio(None, b"RIFF", None, None)),
        ({"data": "?", "transcript": "Hi."}, Audio(None, None, "Hi.", None)),
        ({"data": "é"}, Audio(None, None, None, None)),
        ({"id": "audio_1", "data": None, "expires_at": 1.5e9}, Audio("audio_1", None, None, 1_500_000_000)),
    ],
)
def test_a_spoken_answer_is_decoded(audio: Any, expected: Audio) -> None:
    """It is an answer without any content; sound that is no base64 leaves its transcript."""
    found = read(body({"content": None, "audio": audio})).choices[0]
    assert found.audio == expected
    assert not found.is_empty


@pytest.mark.parametrize("audio", [None, {}, "x"])
def test_no_audio_is_none(audio: Any) -> None:
    """Where servers write every member of their class."""
    assert read(body({"content": "a", "audio": audio})).choices[0].audio is None


@pytest.mark.parametrize("reason", ["stop", None])
@pytest.mark.parametrize(
    ("message", "members"),
    [
        ({"content": None, "reasoning_content": "2+2"}, {"reasoning": "2+2", "unread": False}),
        ({"reasoning": "2+2", "tool_calls": []}, {"reasoning": "2+2", "unread": False}),
        (
            {"content": None, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
            {"reasoning": None, "unread": True},
        ),
        (
            {"content": None, "images": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
            {"reasoning": None, "unread": True},
        ),
    ],
)
def test_reasoning_or_images_alone_are_an_answer(
    message: Any, members: dict[str, Any], reason: str | None
) -> None:
    """They were paid for: the row keeps them instead of asking again for the same."""
    choice = read(body(message, finish_reason=reason)).choices[0]
    assert (choice.content, choice.is_empty) == (None, True)
    assert {name: getattr(choice, name) for name in members} == members


def test_a_byte_order_mark_before_the_document_is_passed_over() -> None:
    """RFC 8259, 8.1: nobody may write one, readers may ignore it."""
    assert read(b"\xef\xbb\xbf" + body({"content": "a\ufeff"})).choices[0].content == "a\ufeff"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_no_content_is_an_answer_where_the_finish_reason_explains_it(reason: str) -> None:
    """All of it was reasoning, or was filtered: paid for, so never an answer that is asked for again."""
    found = read(body({"content": None}, usage={"completion_tokens": 9}, finish_reason=reason))
    assert found.choices[0].is_empty
    assert found.choices[0].finish_reason == reason
    assert found.bill.usage == Usage(completion_tokens=9)


def test_usage_is_read_with_its_details() -> None:
    """Counts that are floats are integers; what is no count is unknown."""
    usage = {
        "prompt_tokens": 9.0,
        "completion_tokens": True,
        "total_tokens": 2**80,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4, "rejected_prediction_tokens": "2"},
    }
    expected = Usage(prompt_tokens=9, cached_tokens=3, prompt_audio_tokens=0, reasoning_tokens=4)
    assert read(body(usage=usage)).bill.usage == expected
    assert read(body(usage={"prompt_tokens_details": None})).bill.usage == Usage()
    assert read(body(usage=[])).bill.usage is None
    assert read(body()).bill.usage is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 5}, Usage(cached_tokens=64)),
        ({"cached_tokens": 7}, Usage(cached_tokens=7)),
        ({"cached_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}}, Usage(cached_tokens=0)),
        (
            {"input_tokens": 3, "cache_read_input_tokens": 40, "output_tokens": 2},
            Usage(prompt_tokens=43, cached_tokens=40, completion_tokens=2),
        ),
        ({"input_tokens": 3, "cache_creation_input_tokens": 10}, Usage(prompt_tokens=13)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 8},
                "output_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=8, reasoning_tokens=4),
        ),
        ({"reasoning_tokens": 6, "completion_tokens_details": None}, Usage(reasoning_tokens=6)),
        ({"prompt_tokens": 0, "input_tokens": 5}, Usage(prompt_tokens=0)),
    ],
)
def test_usage_is_read_under_its_other_names(usage: Any, expected: Usage) -> None:
    """DeepSeek, Moonshot, Anthropic, OpenAI's Responses, and servers that leave the details flat."""
    assert read(body(usage=usage)).bill.usage == expected


def test_xai_counts_the_cost_in_ticks() -> None:
    """Ten thousand million of them are one USD; a cost in USD beside them counts."""
    assert read(body(usage={"cost_in_usd_ticks": 37_756_000})).bill.cost_usd == 0.0037756
    assert read(body(usage={"cost": 1, "cost_in_usd_ticks": 5})).bill.cost_usd == 1
    assert read(body(usage={"cost_in_usd_ticks": "5"})).bill.cost_usd is None


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.25, 0.25),
        (0, 0.0),
        (True, None),
        ("0.1", None),
        (None, None),
        (10**400, None),
        (float("inf"), None),
    ],
)
def test_the_cost_is_what_the_server_says(cost: Any, expected: float | None) -> None:
    """OpenRouter's `usage.cost`; a figure that is none is unknown."""
    assert read(body(usage={"cost": cost})).bill.cost_usd == expected


def test_every_choice_is_read() -> None:
    """With n > 1; a choice without a message is left out."""
    choices = [
        {"message": {"content": "a"}},
        {"index": 1},
        {"message": {"content": "b"}, "finish_reason": "stop"},
    ]
    found = read(json.dumps({"choices": choices}).encode())
    assert [choice.content for choice in found.choices] == ["a", "b"]


def test_choices_are_in_the_order_of_their_index() -> None:
    """However the server lists them; without an index the place in the list counts."""
    choices = [
        {"index": 2, "message": {"content": "c"}},
        {"index": 0, "message": {"content": "a"}},
        {"index": 1, "message": {"content": "b"}},
        {"message": {"content": "d"}},
    ]
    found = read(json.dumps({"choices": choices}).encode())
    assert [choice.content for choice in found.choices] == ["a", "b", "c", "d"]
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]


def test_a_legacy_text_is_content() -> None:
    """Of servers that answer as the old Completions API did."""
    assert read(b'{"choices":[{"text":"hi","finish_reason":"stop"}]}').choices[0].content == "hi"
    assert isinstance(read_completion(b'{"choices":[{"text":7}]}'), NoAnswer)


def test_vllm_s_prompt_logprobs_are_lists_of_candidates() -> None:
    """An object by token id at each place, null at the first; what is no candidate is left out."""
    places = [None, {"9": {"logprob": -1, "rank": 2, "decoded_token": "a"}, "x": {}, "3": None}]
    document = {"choices": [{"message": {"content": "a"}}], "prompt_logprobs": places}
    found = read(json.dumps(document).encode()).prompt_logprobs
    assert found == (
        None,
        (
            {"token_id": 9, "token": "a", "logprob": -1.0, "rank": 2},
            {"token_id": None, "token": None, "logprob": None, "rank": None},
        ),
    )


@pytest.mark.parametrize(
    ("ids", "expected"), [([5, 6], (5, 6)), ([], ()), (None, None), ([5, "6"], None), ("5", None)]
)
def test_token_ids_are_those_of_the_choice(ids: Any, expected: Any) -> None:
    """vLLM's `return_token_ids`."""
    choices = [{"message": {"content": "a"}, "token_ids": ids}]
    found = read(json.dumps({"choices": choices}).encode())
    assert found.choices[0].token_ids == expected


def test_the_refusal_has_logprobs_of_its_own() -> None:
    """Beside those of the content."""
    logprobs = {"content": None, "refusal": [{"token": "No", "logprob": -0.5}]}
    choice = read(body({"content": None, "refusal": "No"}, logprobs=logprobs)).choices[0]
    assert (choice.logprobs, choice.refusal_logprobs) == (None, ({"token": "No", "logprob": -0.5},))


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ({"content": [{"token": "a", "logprob": -0.1}, None]}, ({"token": "a", "logprob": -0.1},)),
        ({"content": []}, ()),
        ({"content": None}, None),
        ({"tokens": ["a"]}, ({"token": "a", "logprob": None, "bytes": None, "top_logprobs": []},)),
        (
            {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1], "top_logprobs": [{"a": -0.5, "c": -2}]},
            (
                {
                    "token": "a",
                    "logprob": -0.5,
                    "bytes": None,
                    "top_logprobs": [
                        {"token": "a", "logprob": -0.5, "bytes": None},
                        {"token": "c", "logprob": -2, "bytes": None},
                    ],
                },
                {"token": "b", "logprob": -1, "bytes": None, "top_logprobs": []},
            ),
        ),
        ({"tokens": "a"}, None),
        (-0.25, None),
        (None, None),
    ],
)
def test_logprobs_are_those_of_the_content(logprobs: Any, expected: Any) -> None:
    """As the server gave them, or made from the legacy API's lists; None where there are none."""
    assert read(body(logprobs=logprobs)).choices[0].logprobs == expected


@pytest.mark.parametrize(
    ("text", "content", "repaired"),
    [
        (rb"a\ud800b", "a\ufffdb", True),
        (rb"\ude00\ud83d", "\ufffd\ufffd", True),
        (rb"\ud83d\ude00", "😀", False),
        (rb"\\ud800", "\\ud800", False),
        ("\ufffd".encode(), "\ufffd", False),
    ],
)
def test_a_lone_surrogate_is_replaced_and_told(text: bytes, content: str, repaired: bool) -> None:
    """Parquet's text is UTF-8, which has no form for it."""
    found = read(b'{"choices":[{"message":{"content":"%b"}}]}' % text)
    assert (found.choices[0].content, found.repaired) == (content, repaired)


@pytest.mark.parametrize(
    ("error", "inside"),
    [
        ({"message": "overloaded", "code": 529}, {"message": "overloaded", "code": 529}),
        ("overloaded", {"message": "overloaded"}),
        (["x"], {"message": "['x']"}),
    ],
)
def test_an_error_inside_a_200_is_found(error: Any, inside: dict[str, Any]) -> None:
    """Even beside choices."""
    document = {"error": error, "choices": [{"message": {"content": "x"}}]}
    assert read_completion(json.dumps(document).encode()) == ErrorInside(inside)


def test_an_error_in_a_choice_is_found() -> None:
    """OpenRouter, when the provider fails after the first token."""
    error = {"code": 502, "message": "Upstream idle"}
    choices = [{"message": {"content": "x"}, "finish_reason": "error", "error": error}]
    assert read_completion(json.dumps({"choices": choices}).encode()) == ErrorInside(error)


NOTHING = [{"content": None}, {"content": ""}, {"role": "assistant"}, {"content": None, "reasoning": "2+"}]


@pytest.mark.parametrize("choice", [*({"message": message} for message in NOTHING), {"message": None}, {}])
def test_the_finish_reason_error_without_an_answer_is_an_error(choice: dict[str, Any]) -> None:
    """An upstream failure that the server does not explain; what it took is kept."""
    document = {"choices": [{**choice, "finish_reason": "error"}], "usage": {"prompt_tokens": 4}}
    found = read_completion(json.dumps(document).encode())
    assert isinstance(found, ErrorInside)
    assert "the finish reason is error" in found.error["message"]
    assert found.bill.usage == Usage(prompt_tokens=4)


def test_the_finish_reason_error_beside_an_answer_is_a_finish_reason() -> None:
    """Its text was paid for."""
    assert read(body({"content": "a"}, finish_reason="error")).choices[0].finish_reason == "error"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"error": {"message": "overloaded"}}, ErrorInside),
        ({"object": "error", "message": "overloaded"}, ErrorInside),
        ({"choices": [{"message": {"content": "a"}, "error": {"code": 502}}]}, ErrorInside),
        ({"choices": []}, NoAnswer),
        ({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}, NoAnswer),
    ],
)
def test_a_call_without_an_answer_has_its_usage_and_cost(document: dict[str, Any], kind: type) -> None:
    """A provider bills it all the same."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0.5}
    found, bare = (
        read_completion(json.dumps(read).encode()) for read in ({**document, "usage": usage}, document)
    )
    assert isinstance(found, ErrorInside | NoAnswer)
    assert isinstance(bare, ErrorInside | NoAnswer)
    assert type(found) is kind
    assert (found.bill.usage, found.bill.cost_usd) == (Usage(prompt_tokens=7, completion_tokens=2), 0.5)
    assert (bare.bill.usage, bare.bill.cost_usd) == (None, None)


def test_an_error_may_be_the_document() -> None:
    """Older vLLM."""
    error = {"object": "error", "message": "too long", "code": 400}
    assert read_completion(json.dumps(error).encode()) == ErrorInside(error)


@pytest.mark.parametrize("error", [None, "", {}, False])
def test_an_empty_error_is_none(error: Any) -> None:
    """Servers that write every member of their class."""
    assert read(json.dumps({"error": error, "choices": [{"message": {"content": "x"}}]}).encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"<html>502</html>", "the body is no JSON"),
        (b'{"choices": [', "the body is no JSON"),
        (b"\xff", "the body is no JSON: not UTF-8"),
        (b"[" * 5000, "the body is no JSON"),
        (b"[]", "the body is no JSON object"),
        (b"null", "the body is no JSON object"),
        (b"{}", "the answer has no choices"),
        (b'{"choices": []}', "the answer has no choices"),
        (b'{"choices": {"0": 1}}', "the answer has no choices"),
        (b'{"choices": [{}]}', "the answer's choice has no message"),
        (b'{"choices": [null]}', "the answer's choice has no message"),
        (b'{"choices": [{"message": "hi"}]}', "the answer's choice has no message"),
        (b'{"choices": [{"message": {}, "finish_reason": "stop"}]}', "neither content, nor a refusal"),
        (
            b'{"choices": [{"message": {"content": null, "reasoning": "", "images": []}}]}',
            "neither content, nor a refusal",
        ),
        (
            b'{"choices": [{"message": {"content": null, "tool_calls": []}}]}',
            "neither content, nor a refusal",
        ),
    ],
)
def test_a_body_without_an_answer_says_why(data: bytes, reason: str) -> None:
    """The reason is the row's error message."""
    found = read_completion(data)
    assert isinstance(found, NoAnswer)
    assert reason in found.reason


MEMBERS = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "text",
        "tool_calls",
        "function",
        "custom",
        "usage",
        "cost",
        "error",
        "prompt_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "logprobs",
        "annotations",
        "finish_reason",
        "audio",
        "data",
        "function_call",
        "thinking",
        "reasoning_details",
        "index",
        "token_ids",
        "prompt_logprobs",
        "tokens",
        "top_logprobs",
        "0",
    ]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(MEMBERS, DOCUMENTS, max_size=3), DOCUMENTS)
def test_no_document_makes_it_raise(document: dict[str, Any], message: Any) -> None:
    """Any JSON, with the members it looks for in any place and of any type."""
    document.setdefault("choices", [{"message": message}])
    assert isinstance(read_completion(json.dumps(document).encode()), Completion | ErrorInside | NoAnswer)


@pytest.mark.parametrize("depth", [300, 900, 1020])
@pytest.mark.parametrize(
    "place",
    [b'{"id":%b,"choices":[{"message":{"content":"x"}}]}', b'{"choices":[{"message":{"content":%b}}]}'],
)
def test_deep_nesting_is_bounded(place: bytes, depth: int) -> None:
    """What can be read need not be written again."""
    read_completion(place % (b'{"a":' * depth + b"1" + b"}" * depth))


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Whatever a server, or a proxy in front of it, sends."""
    assert isinstance(read_completion(data), Completion | ErrorInside | NoAnswer)
