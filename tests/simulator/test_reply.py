"""The completions that the simulator writes."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.making.vocabulary import tokens
from batchrun.simulator.reading.request import ChatRequest, receive
from batchrun.simulator.replying.reply import Setting, completion
from batchrun.simulator.replying.stream import events
from tests.simulator.wire import body


def request(**members: object) -> ChatRequest:
    found = receive(body(**members), SimulatorConfig()).content
    assert isinstance(found, ChatRequest)
    return found


def reply(*, seed: int = 0, **members: object) -> dict[str, Any]:
    return completion(request(**members), Setting(seed, created=1, call_id="c"))


def text(answer: dict[str, Any]) -> str:
    content = answer["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def test_the_same_request_and_seed_give_the_same_answer() -> None:
    """An answer depends on seed and request alone, and on nothing that only labels the request."""
    assert reply(seed=3) == reply(seed=3, user="somebody")


def test_another_seed_or_request_gives_another_answer() -> None:
    """Of 40 requests hardly any two have the same answer, and another seed changes nearly all."""
    first = [text(reply(user="x", temperature=i / 100)) for i in range(40)]
    second = [text(reply(seed=1, temperature=i / 100)) for i in range(40)]
    assert len(set(first)) > 35
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 35


def test_choices_differ() -> None:
    """n choices are n texts, numbered from 0; their tokens add up in the usage."""
    answer = reply(n=8)
    contents = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(contents)) == 8
    assert list(range(8)) == [choice["index"] for choice in answer["choices"]]
    assert sum(len(tokens(content)) for content in contents) == answer["usage"]["completion_tokens"]


def test_usage_counts_the_tokens_of_the_text() -> None:
    """Prompt and completion add up, as OpenAI reports them."""
    usage = reply()["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert len(tokens(text(reply()))) == usage["completion_tokens"]
    assert request().prompt_tokens == usage["prompt_tokens"] > 0


def test_too_many_tokens_are_cut_off() -> None:
    """The limit on tokens cuts the answer and says so; one that is not reached does not."""
    answer = reply(max_tokens=3)
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 3)
    assert reply(max_tokens=500)["choices"][0]["finish_reason"] == "stop"


def test_the_context_window_cuts_as_well() -> None:
    """What the prompt leaves of the window is the most that is written."""
    answer = completion(request(max_tokens=50), Setting(0, created=1, call_id="c", room=4))
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 4)


@pytest.mark.parametrize("stop", [".", [".", "zzz"], ["zzz", "."], [" ", "."]])
def test_a_stop_sequence_ends_the_text_before_it(stop: str | list[str]) -> None:
    """The first of the stop sequences that comes is left out, with all after it."""
    answer = reply(stop=stop)
    assert not any(sequence in text(answer) for sequence in stop)
    assert text(answer)
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_logprobs_tell_of_every_token() -> None:
    """One entry a token with its bytes; alternatives are distinct and sorted, and add up to less than 1."""
    answer = reply(logprobs=True, top_logprobs=20)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert text(answer) == "".join(entry["token"] for entry in entries)
    for entry in entries:
        assert list(entry["token"].encode()) == entry["bytes"]
        options = entry["top_logprobs"]
        assert {k: entry[k] for k in ("token", "logprob", "bytes")} == options[0]
        assert len({option["token"] for option in options}) == 20
        logprobs = [option["logprob"] for option in options]
        assert sorted(logprobs, reverse=True) == logprobs
        assert sum(math.exp(value) for value in logprobs) <= 1


def test_logprobs_come_without_alternatives() -> None:
    """logprobs alone gives no alternatives; without it there is nothing."""
    assert reply(logprobs=True)["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert reply()["choices"][0]["logprobs"] is None


SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
    },
    {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 4}, "minItems": 3},
    {
        "type": "object",
        "properties": {"n": {"type": "number", "minimum": 5}, "b": {"type": "boolean"}},
        "required": ["n"],
    },
    {
        "$defs": {"L": {"enum": [1, 2]}},
        "type": "object",
        "properties": {"l": {"$ref": "#/$defs/L"}},
        "required": ["l"],
    },
    {"type": ["string", "null"], "maxLength": 5},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"type": "integer", "minimum": 0.5, "maximum": 2.5},
    {"const": {"k": [1]}},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_structured_answers_fit_their_schema(schema: dict[str, Any]) -> None:
    """A JSON Schema is answered with JSON that it accepts, for every choice."""
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    for choice in reply(response_format=asked, n=16)["choices"]:
        jsonschema.validate(json.loads(choice["message"]["content"]), schema)


def test_a_schema_that_refers_to_itself_ends() -> None:
    """Recursion stops at a fixed depth."""
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": node}}
    assert json.loads(text(reply(response_format=asked)))["next"]


def test_json_objects_are_answered_with_an_object() -> None:
    """json_object names no schema, and gets some object."""
    assert {"category", "priority", "summary"} == set(
        json.loads(text(reply(response_format={"type": "json_object"})))
    )


def streamed(answer: dict[str, Any], *, include_usage: bool = False) -> list[dict[str, Any]]:
    *found, done = b"".join(events(answer, include_usage=include_usage)).split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    return [json.loads(event.removeprefix(b"data: ")) for event in found]


def test_a_stream_holds_the_same_answer() -> None:
    """The deltas of each choice add up to its text, its logprobs and its finish_reason."""
    answer = reply(n=2, logprobs=True, top_logprobs=2)
    chunks = streamed(answer)
    for choice in answer["choices"]:
        parts = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert parts[0]["delta"]["role"] == "assistant"
        assert choice["message"]["content"] == "".join(part["delta"].get("content", "") for part in parts)
        entries = [entry for part in parts for entry in (part["logprobs"] or {"content": []})["content"]]
        assert choice["logprobs"]["content"] == entries
        assert [choice["finish_reason"]] == [p["finish_reason"] for p in parts if p["finish_reason"]]
    assert {"chat.completion.chunk"} == {chunk["object"] for chunk in chunks}


def test_a_stream_ends_with_its_usage_when_asked() -> None:
    """include_usage adds one chunk without choices; the others say `usage: null`."""
    *before, last = streamed(reply(), include_usage=True)
    assert ([], reply()["usage"]) == (last["choices"], last["usage"])
    assert {None} == {chunk["usage"] for chunk in before}
    assert "usage" not in streamed(reply())[0]
