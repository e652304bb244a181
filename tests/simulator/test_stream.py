"""Streams: whatever an answer holds, its chunks put together are the answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.replying.stream import COMMENT, DONE, events
from tests.simulator.asking import reply
from tests.simulator.test_tools import SHELL, TIME, WEATHER

SOUND: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


def chunks(answer: dict[str, Any], *, include_usage: bool = True) -> list[dict[str, Any]]:
    """The events of a whole stream but the last, as JSON."""
    *found, done = b"".join(events(answer, include_usage=include_usage)).split(b"\n\n")[:-1]
    assert done + b"\n\n" == DONE
    return [json.loads(event.removeprefix(b"data: ")) for event in found]


def add(found: dict[str, Any], delta: dict[str, Any]) -> None:
    """Put a delta into a message: texts grow, lists grow or are filled by index, the rest is set."""
    for name, value in delta.items():
        if isinstance(value, dict):
            add(found.setdefault(name, {}), value)
        elif name == "tool_calls":
            for call in value:
                calls = found.setdefault(name, [])
                if call["index"] == len(calls):
                    calls.append({})
                add(calls[call["index"]], {key: part for key, part in call.items() if key != "index"})
        elif isinstance(value, str) and isinstance(found.get(name), str):
            found[name] += value
        else:
            found[name] = value


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One choice, put together from its parts of the chunks."""
    message: dict[str, Any] = {}
    logprobs: dict[str, Any] = {"content": None, "refusal": None}
    ids: list[int] = []
    for part in parts:
        add(message, part["delta"])
        ids += part.get("token_ids", [])
        for name, entries in (part["logprobs"] or {}).items():
            logprobs[name] = [*(logprobs[name] or ()), *entries] if entries else logprobs[name]
    found = {"index": parts[0]["index"], "message": {"annotations": [], **message}}
    found["logprobs"] = logprobs if any(logprobs.values()) else None
    found["finish_reason"] = parts[-1]["finish_reason"]
    return {**found, "token_ids": ids} if ids else found


ANSWERS: dict[str, dict[str, Any]] = {
    "text": {},
    "three choices": {"n": 3, "logprobs": True, "top_logprobs": 2},
    "cut off": {"max_tokens": 3},
    "nothing": {"stop": "T"},
    "tools": {"tools": [WEATHER, TIME, SHELL], "messages": [{"role": "user", "content": "get_time shell"}]},
    "tools of two choices": {"tools": [WEATHER], "n": 2, "return_token_ids": True},
    "function": {"functions": [WEATHER["function"]]},
    "refusal": {"fault": {"refusal": "I will not."}, "logprobs": True, "top_logprobs": 1, "n": 2},
    "sound": {**SOUND, "logprobs": False},
    "search": {"web_search_options": {}},
    "reasoning": {"reasoning": "reasoning_content"},
    "reasoning elsewhere": {"reasoning": "reasoning", "tools": [WEATHER]},
    "token ids": {"return_token_ids": True, "n": 2, "logprobs": True, "top_logprobs": 0},
    "structured": {"structured_outputs": {"choice": ["a b", "c"]}, "logprobs": True, "top_logprobs": 5},
    "fence": {"fault": {"output": "fence"}, "response_format": {"type": "json_object"}, "logprobs": True},
    "whitespace": {
        "fault": {"output": "whitespace"},
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "max_tokens": 40,
    },
}


@pytest.mark.parametrize("name", ANSWERS)
def test_chunks_put_together_are_the_answer(name: str) -> None:
    """Every choice, the usage and what stands beside them, for each thing that an answer can hold."""
    answer = reply(**ANSWERS[name])
    *found, last = chunks(answer)
    assert (last["choices"], last["usage"]) == ([], answer["usage"])
    assert found[0].get("prompt_token_ids") == answer.get("prompt_token_ids")
    for choice in answer["choices"]:
        parts = [p for chunk in found for p in chunk["choices"] if p["index"] == choice["index"]]
        assert parts[0]["delta"]["role"] == "assistant"
        assert [part["finish_reason"] for part in parts[:-1]] == [None] * (len(parts) - 1)
        expected = {**choice, "message": dict(choice["message"])}
        assert joined(parts) == expected


def test_choices_come_by_turns() -> None:
    """The chunks of several choices are mixed, as those of real services are."""
    found = [chunk["choices"][0]["index"] for chunk in chunks(reply(n=3), include_usage=False)]
    assert found[:9] == [0, 1, 2] * 3


def test_arguments_come_in_pieces() -> None:
    """The first delta of a call names it, the others bring only text."""
    parts = [c["choices"][0]["delta"] for c in chunks(reply(tools=[WEATHER]), include_usage=False)]
    calls = [delta["tool_calls"][0] for delta in parts if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert len(calls) > 3
    assert {tuple(call) for call in calls if "id" not in call} == {("index", "function")}


def test_each_piece_of_sound_can_be_decoded() -> None:
    """Pieces of base64 are whole by themselves; together they are a WAV."""
    deltas = [c["choices"][0]["delta"] for c in chunks(reply(**SOUND), include_usage=False)]
    pieces = [delta["audio"]["data"] for delta in deltas if "data" in delta.get("audio", {})]
    assert len(pieces) > 1
    assert b"".join(base64.b64decode(piece, validate=True) for piece in pieces).startswith(b"RIFF")


def spoiled(kind: str) -> bytes:
    faults = SimulatorConfig.model_validate({"faults": [{"stream": kind}]}).faults
    return b"".join(events(reply(), include_usage=True, fault=faults[0]))


def test_a_stream_may_end_in_an_error() -> None:
    """Half of the events come, then an error object, and no [DONE]."""
    *before, last = spoiled("error").split(b"\n\n")[:-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == 502
    assert 0 < len(before) < len(chunks(reply()))


def test_a_stream_may_lack_its_end() -> None:
    """All chunks come, the [DONE] does not."""
    whole = b"".join(events(reply(), include_usage=True))
    assert spoiled("no_done") + DONE == whole


def test_a_stream_may_hold_comments() -> None:
    """Without them it is what it would have been."""
    whole = b"".join(events(reply(), include_usage=True))
    assert spoiled("comments").startswith(COMMENT)
    assert spoiled("comments").replace(COMMENT, b"") == whole
