"""Streamed answers, accumulated into what the server would have sent unstreamed."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchrun.chat.response.completion import Completion, ErrorInside, read_completion
from batchrun.chat.response.server_sent_events import Event, EventReader
from batchrun.chat.response.stream import Accumulator
from batchrun.outcome import Usage
from tests.chat.streaming import DONE, accumulated, chunk, document, event, stop, stream


def events(data: bytes, size: int) -> list[Event]:
    """The events of a stream that arrives in pieces of `size` bytes."""
    reader = EventReader()
    found = [event for at in range(0, len(data), size) for event in reader.feed(data[at : at + size])]
    return [*found, *reader.end()]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\r\n\ndata: b\r\r\n", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", ["a\nb"]),
        (b"data:a\n\ndata:  a\n\n", ["a", " a"]),
        (b"data\n\n", [""]),
        (b": OPENROUTER PROCESSING\n\n: x\ndata: a\n: y\n\n", ["a"]),
        (b"id: 7\nretry: 10\nsomething: else\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"\n\n\ndata: a\n\n\n\n", ["a"]),
        ("data: Käse 🧀\n\n".encode(), ["Käse 🧀"]),
        (b"data: a", ["a"]),
        (b"data: a\n", ["a"]),
        (b'{"error": 1}\n', ['{"error": 1}']),
        (b"", []),
    ],
)
def test_events_are_read_however_their_lines_end_and_are_cut(
    data: bytes, expected: list[str], size: int
) -> None:
    """LF, CR LF and CR, cut between too; comments and other fields are passed over."""
    assert [found.data.decode() for found in events(data, size)] == expected


def test_an_event_has_the_type_the_server_names() -> None:
    """And the next one has its own."""
    found = events(b"event: error\ndata: a\n\ndata: b\n\nevent: ping\n\ndata: c\n\n", 5)
    assert found == [Event("error", b"a"), Event("message", b"b"), Event("message", b"c")]


DETAIL = {"type": "reasoning.text", "index": 0, "text": "2+2", "format": "f", "signature": "s"}


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    """The first choice's message of a stream with these chunks."""
    found: dict[str, Any] = document(stream(*chunks, stop()))["choices"][0]["message"]
    return found


def test_a_document_has_the_members_of_a_whole_answer_in_their_order() -> None:
    """Text in pieces is joined; the usage chunk has no choices; other members are kept."""
    same: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    tier = {"service_tier": "default", "system_fingerprint": "fp", "provider": "x"}
    texts = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}]
    parts = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in texts]
    last: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage: dict[str, Any] = {"choices": [], "usage": {"total_tokens": 3}}
    found = accumulated([stream(*({**same, **tier, **part} for part in [*parts, last, usage]))])
    assert found.document() == (
        b'{"id":"c1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"total_tokens":3},"service_tier":"default","system_fingerprint":"fp","provider":"x"}'
    )


@pytest.mark.parametrize(
    ("deltas", "members"),
    [
        ([{"content": ""}], {"content": ""}),
        ([{"content": None}, {}], {"content": None}),
        ([{"content": "a"}, {"content": None}, {"content": "b"}], {"content": "ab"}),
        ([{"content": ""}, {"refusal": "No"}, {"refusal": "."}], {"content": None, "refusal": "No."}),
        ([{"content": "\ud83d"}, {"content": "\ude00"}], {"content": "😀"}),
        ([{"reasoning_content": "2"}, {"reasoning_content": "+2"}], {"reasoning_content": "2+2"}),
        ([{"reasoning": "2"}, {"reasoning": "+2"}, {"content": "4"}], {"reasoning": "2+2", "content": "4"}),
        (
            [
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2"}]}]},
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "+2"}]}]},
                {"content": "4"},
                {"content": "!"},
            ],
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                    {"type": "text", "text": "4!"},
                ]
            },
        ),
        (
            [
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "2", "format": "f"}]},
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "+2"}]},
                {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s"}]},
                {"reasoning_details": [{"type": "reasoning.summary", "index": 1, "summary": "sum"}]},
            ],
            {
                "reasoning_details": [
                    DETAIL,
                    {"type": "reasoning.summary", "index": 1, "summary": "sum"},
                ]
            },
        ),
        ([{"annotations": [1]}, {"annotations": [2]}], {"annotations": [1, 2]}),
        ([{"role": "assistant"}, {"role": "tool"}, {"other": 1}, {"other": 2}], {"role": "tool", "other": 2}),
        (
            [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
            {"function_call": {"name": "f", "arguments": "{}"}, "content": None},
        ),
    ],
)
def test_the_pieces_of_a_member_are_joined(deltas: list[dict[str, Any]], members: dict[str, Any]) -> None:
    """Texts and lists; an empty content is null where something else is the answer."""
    found = message(*map(chunk, deltas))
    assert {name: found[name] for name in members} == members


def call(index: int | None = 0, id_: str | None = None, name: str | None = None, said: Any = None) -> Any:
    """A delta of a function call; what is None is left out."""
    body = {"name": name, "arguments": said}
    given = {"index": index, "id": id_, "function": {k: v for k, v in body.items() if v is not None}}
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [[call(0, "a", "f", "")], [call(0, said='{"x"')], [call(0, said=":1}")]],
            [("a", "f", '{"x":1}')],
            id="as OpenAI sends it",
        ),
        pytest.param(
            [[call(0, "a", "f", "1")], [call(1, "b", "g", "2")], [call(0, said="3")], [call(1, said="4")]],
            [("a", "f", "13"), ("b", "g", "24")],
            id="in parallel",
        ),
        pytest.param(
            [[call(1, "b", "g", "2")], [call(0, "a", "f", "1")]],
            [("a", "f", "1"), ("b", "g", "2")],
            id="the second first",
        ),
        pytest.param(
            [[call(0, "a", "f", "1")], [call(0, "a", "f", "2")], [call(0, "", "", "3")]],
            [("a", "f", "123")],
            id="id and name repeated",
        ),
        pytest.param(
            [[call(0, "a", "f", "1")], [call(0, "b", None, "2")]],
            [("a", "f", "12")],
            id="an id made anew for each delta",
        ),
        pytest.param(
            [[call(0, "a", "f", "1")], [call(0, "b", "f", "2")]],
            [("a", "f", "1"), ("b", "f", "2")],
            id="all calls at index 0",
        ),
        pytest.param(
            [[call(None, "a", "f", "1"), call(None, "b", "f", "2")]],
            [("a", "f", "1"), ("b", "f", "2")],
            id="no index, whole calls with ids",
        ),
        pytest.param(
            [[call(None, "a", "f", "1")], [call(None, "b", "g", "2")], [call(None, "a", None, "3")]],
            [("a", "f", "13"), ("b", "g", "2")],
            id="no index, pieces by id",
        ),
        pytest.param(
            [[call(None, None, "f", "1")], [call(None, None, None, "2")], [call(None, None, "g", "3")]],
            [(None, "f", "12"), (None, "g", "3")],
            id="neither index nor id",
        ),
        pytest.param([[call(0, "a", "f", {"x": 1})]], [("a", "f", '{"x":1}')], id="arguments as an object"),
        pytest.param([[call(0, "a", "f")]], [("a", "f", "")], id="no arguments"),
    ],
)
def test_tool_calls_are_put_together(deltas: list[Any], expected: list[Any]) -> None:
    """By index where it tells them apart; ids and names once, arguments joined."""
    found = message(chunk({"content": ""}), *(chunk({"tool_calls": delta}) for delta in deltas))
    calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in found["tool_calls"]]
    assert calls == expected
    assert {c["type"] for c in found["tool_calls"]} == {"function"}
    assert found["content"] is None


def test_a_custom_tool_s_input_is_joined() -> None:
    """And what a server adds to a call is kept (Gemini's thought signature)."""
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SEL"}, "extra": 1}
    then = {"index": 0, "custom": {"input": "ECT 1"}}
    found = message(chunk({"tool_calls": [first]}), chunk({"tool_calls": [then]}))
    custom = {"name": "sql", "input": "SELECT 1"}
    assert found["tool_calls"] == [{"id": "a", "type": "custom", "custom": custom, "extra": 1}]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([b64encode(b"RI").decode(), b64encode(b"FF").decode()], id="each base64"),
        pytest.param(["UklG", "Rg=="], id="each base64, unpadded within"),
        pytest.param(["Uk", "lGR", "g=="], id="cuts of one"),
    ],
)
def test_the_sound_of_audio_deltas_is_one(data: list[str]) -> None:
    """Its transcript is joined, id and expiry are kept."""
    first = {"id": "audio_1", "transcript": "He"}
    deltas = [first, *({"data": piece} for piece in data), {"transcript": "y"}, {"expires_at": 9}]
    found = message(chunk({"content": None}), *(chunk({"audio": delta}) for delta in deltas))
    assert found["audio"] == {"id": "audio_1", "expires_at": 9, "data": "UklGRg==", "transcript": "Hey"}
    assert found["content"] is None


def test_logprobs_are_joined() -> None:
    """Content and refusal on their own; an infinity, which some servers send, stays one."""
    one, two = {"token": "a", "logprob": -1.5}, {"token": "b", "logprob": float("-inf")}
    found = document(
        stream(
            chunk({"content": "a"}, logprobs={"content": [one], "refusal": None}),
            chunk({"content": "b"}, logprobs={"content": [two]}),
            chunk({}, logprobs=None),
            chunk({}, logprobs=-0.5),
            chunk({}, index=1, logprobs={"content": [], "refusal": [one]}),
            stop(),
            stop(1),
        )
    )
    assert found["choices"][0]["logprobs"] == {"content": [one, two], "refusal": None}
    assert found["choices"][1]["logprobs"] == {"content": [], "refusal": [one]}


def test_choices_are_told_apart_and_ordered() -> None:
    """Interleaved as they come; a choice without an index is the one at its place."""
    both = {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    found = document(stream(chunk({"content": "c"}, index=2), both, stop(2), stop(0, "length"), stop(1)))
    assert [choice["message"]["content"] for choice in found["choices"]] == ["a", "b", "c"]
    assert [choice["finish_reason"] for choice in found["choices"]] == ["length", "stop", "stop"]


def test_what_vllm_adds_is_joined() -> None:
    """`token_ids` are those of the delta, `prompt_token_ids` stand in the first chunk."""
    first = {**chunk({"content": "a"}, token_ids=[5]), "prompt_token_ids": [1, 2]}
    found = document(stream(first, chunk({"content": "b"}, token_ids=[6, 7]), stop()))
    assert found["choices"][0]["token_ids"] == [5, 6, 7]
    assert found["prompt_token_ids"] == [1, 2]


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "usage": {"total_tokens": 3}},
        {"choices": [{"index": 0, "delta": {}, "usage": {"total_tokens": 3}}]},
        {"choices": [{"index": 0, "delta": {}}], "x_groq": {"id": "r", "usage": {"total_tokens": 3}}},
        {"usage": {"total_tokens": 3}},
    ],
)
def test_the_usage_is_found_where_servers_put_it(last: dict[str, Any]) -> None:
    """In a chunk without choices, in Moonshot's choice, in Groq's own member; the last one counts."""
    running = {**chunk({"content": "a"}), "usage": {"total_tokens": 2}}
    found = document(stream(running, stop(), last, {"choices": [], "usage": None}))
    assert found["usage"] == {"total_tokens": 3}
    assert [choice["finish_reason"] for choice in found["choices"]] == ["stop"]


def test_empty_members_of_a_chunk_do_not_hide_the_answer_s() -> None:
    """Azure's first and last chunk carry filter results, and empty names."""
    azure = {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{}]}
    full = {**chunk({"content": "a"}), "created": 7, "model": "m"}
    found = document(stream(azure, full, stop(), {**azure, "id": "c2"}))
    assert (found["id"], found["model"], found["created"]) == ("c1", "m", 7)
    assert found["prompt_filter_results"] == [{}]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (
            stream(chunk({"content": "a"}), {"error": {"code": 502, "message": "x"}}),
            {"code": 502, "message": "x"},
        ),
        (stream({"error": "overloaded"}, done=False), "overloaded"),
        (b'event: error\ndata: {"message": "x", "code": 1}\n\n', {"message": "x", "code": 1}),
        (b'event: error\ndata: {"error": {"message": "x"}}\n\n', {"message": "x"}),
        (b"event: error\ndata: overloaded\n\n", {"message": "overloaded"}),
        (b'{"error": {"message": "x"}}\n\n', {"message": "x"}),
        (stream({"object": "error", "message": "x"}), {"object": "error", "message": "x"}),
        (stream({"choices": [], "x_groq": {"error": "over_capacity"}}), "over_capacity"),
    ],
)
def test_an_error_in_the_stream_is_the_document_s(data: bytes, error: Any) -> None:
    """Whatever follows; what had arrived stands beside."""
    found = document(data + stream(chunk({"content": "z"}), {"error": {"message": "second"}}))
    assert found["error"] == error
    assert next(iter(found)) == "error"
    assert isinstance(read_completion(json.dumps(found).encode()), ErrorInside)
    assert "z" not in json.dumps(found["choices"])


def test_a_stream_that_ends_with_the_reason_error_before_any_text_is_an_error() -> None:
    """As the same answer is unstreamed."""
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    found = document(stream(chunk({"role": "assistant", "content": ""}), stop(reason="error"), usage))
    read = read_completion(json.dumps(found).encode())
    assert isinstance(read, ErrorInside)
    assert read.bill.usage == Usage(total_tokens=3)


def test_what_arrived_before_an_error_is_kept() -> None:
    """It was paid for, and the raw answer shows it."""
    last = {**chunk({"content": "lo"}, finish_reason="error"), "error": {"code": 502}}
    found = document(stream(chunk({"content": "Hel"}), last))
    assert found["choices"][0]["message"]["content"] == "Hello"


def test_an_event_that_is_no_json_is_an_error_that_quotes_it() -> None:
    """A proxy's page within the stream."""
    found = document(event(chunk({"content": "a"})) + b"data: <html>502\n\n")
    assert "no JSON" in found["error"]["message"]
    assert "<html>502" in found["error"]["message"]


def test_chunks_without_empty_lines_between_are_read() -> None:
    """Some proxies end each line once."""
    data = stream(chunk({"content": "a"}), chunk({"content": "b"}), stop()).replace(b"\n\n", b"\n")
    assert document(data)["choices"][0]["message"]["content"] == "ab"
    assert document(data + b"\n")["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize(
    "pause", [b": keep-alive\n\n", b"data:\n\n", b"data: {}\n\n", b"data: null\n\n", b"\n"]
)
def test_keep_alives_say_nothing(pause: bytes) -> None:
    """Comments and empty events, before, between and after."""
    parts = [event(chunk({"content": "a"})), event(chunk({"content": "b"})), event(stop()), DONE]
    assert document(pause + pause.join(parts) + pause) == document(b"".join(parts))


@pytest.mark.parametrize(
    ("data", "finished"),
    [
        (b"", False),
        (b": ping\n\n", False),
        (stream(chunk({"content": "a"}), done=False), False),
        (stream(chunk({"content": "a"}), stop(), done=False), True),
        (stream(chunk({"content": "a"})), True),
        (stream(chunk({"content": "a"}), stop(), chunk({"content": "b"}, index=1), done=False), False),
        (stream(stop(), stop(1), done=False), True),
        (stream(chunk({}, finish_reason=""), done=False), False),
        (event(chunk({"content": "a"})) + b"data: [DONE]", True),
        (event(chunk({"content": "a"})) + b"data: [DO", False),
        (event(chunk({"content": "a"})) + event(stop())[:-1], True),
        (event(chunk({"content": "a"})) + event(stop())[:-9], False),
        (DONE, True),
    ],
)
def test_an_answer_is_whole_at_done_or_when_each_choice_has_its_reason(data: bytes, finished: bool) -> None:
    """A missing `[DONE]` costs nothing; a stream that breaks off is not whole."""
    assert accumulated([data]).finished is finished


@pytest.mark.parametrize(
    ("delta", "started"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "refusal": None}, False),
        ({"content": "a"}, True),
        ({"content": [{"type": "thinking", "thinking": "a"}]}, True),
        ({"refusal": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}, True),
        ({"tool_calls": [call(0, "a", "f", "")]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a"}}, False),
        ({"audio": {"transcript": "a"}}, True),
        ({"audio": {"data": "UklG"}}, True),
    ],
)
def test_an_answer_has_started_with_the_first_piece_of_it(delta: dict[str, Any], started: bool) -> None:
    """Which is what `ttft` counts to: a role alone is not one."""
    found = Accumulator()
    assert not found.started
    found.feed(event(chunk(delta)))
    assert found.started is started


def test_what_had_arrived_is_told() -> None:
    """For the message of a call that broke off."""
    found = accumulated([stream(chunk({"content": "Hel"}), chunk({"content": "lo"}), done=False)])
    assert found.arrived == "2 events with 5 characters of the answer"


@pytest.mark.parametrize("delta", [None, 3, {"content": 7}, {"tool_calls": [None, 3]}, {"audio": 3}, []])
def test_deltas_of_another_type_do_not_stop_the_stream(delta: Any) -> None:
    """Whatever a server sends there, the rest is read."""
    found = document(stream(chunk(delta), chunk({"refusal": "b"}), stop(), {"choices": None}, 7, [stop(1)]))
    assert found["choices"][0]["message"]["refusal"] == "b"
    assert found["choices"][1]["message"]["content"] is None


def test_a_choice_without_any_delta_has_no_message() -> None:
    """As the same server says unstreamed: `message: null`."""
    assert document(stream(chunk(None, finish_reason="stop")))["choices"][0]["message"] is None


@pytest.mark.parametrize("depth", [300, 900, 1100])
@pytest.mark.parametrize("name", ["content", "tool_calls", "reasoning_details", "other", "audio", "refusal"])
def test_deep_nesting_never_raises(name: str, depth: int) -> None:
    """What is nested too deeply to be written again is left out."""
    deep = '{"thinking":[' * (depth // 2) + "1" + "]}" * (depth // 2)
    for value in (deep, f"[{deep}]"):
        choice = f'{{"index":0,"delta":{{"{name}":{value}}},"logprobs":{{"content":[{value}]}}}}'
        data = f'data: {{"choices":[{choice}]}}\n\n'.encode()
        found = accumulated([data, event(stop()), DONE])
        assert found.finished
        read_completion(found.document())


DELTAS = st.dictionaries(
    st.sampled_from(["content", "refusal", "tool_calls", "index", "audio", "data", "function", "text"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["function", "name", "index", "id", "data", "text"]), inner)
        ),
        max_leaves=6,
    ),
)


@example([{"audio": {"data": "é"}}], b"", 1)
@given(st.lists(DELTAS, max_size=4), st.binary(max_size=20), st.integers(1, 40))
def test_no_bytes_make_it_raise(deltas: list[dict[str, Any]], rest: bytes, size: int) -> None:
    """And what it makes of them is always a JSON document."""
    data = stream(*map(chunk, deltas), done=False) + rest
    found = accumulated(data[at : at + size] for at in range(0, len(data), size))
    read_completion(found.document())
    assert json.loads(found.document())["object"] == "chat.completion"


def test_the_work_is_linear_in_the_bytes() -> None:
    """Eight times the text takes about eight times as long, in tiny pieces too."""

    def seconds(tokens: int) -> float:
        data = event(chunk({"tool_calls": [call(0, said="x" * 8)], "content": "y" * 8})) * tokens
        started = time.process_time()
        found = accumulated(data[at : at + 16] for at in range(0, len(data), 16))
        found.document()
        return time.process_time() - started

    seconds(100)
    assert min(seconds(4000) for _ in range(2)) < 30 * min(seconds(500) for _ in range(3))


def test_one_long_line_in_small_pieces_is_linear_too() -> None:
    """Two million bytes of one event, eight at a time."""
    data = event(chunk({"content": "x" * 2_000_000}))
    started = time.process_time()
    found = accumulated(data[at : at + 8] for at in range(0, len(data), 8))
    assert time.process_time() - started < 3
    assert isinstance(read_completion(found.document()), Completion)
