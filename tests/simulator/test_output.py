"""What answers hold beside text: sound, reasoning, predictions; and output that is wrong on purpose."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from batchrun.simulator import Running
from batchrun.simulator.faults import Conversations
from tests.simulator.asking import choice, reply, request
from tests.simulator.playing import play
from tests.simulator.test_tools import PLACE, WEATHER
from tests.simulator.wire import PROMPT, ask, body

WANTED = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}


def sound(form: str) -> dict[str, Any]:
    return {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": form}}


def test_an_answer_can_be_heard() -> None:
    """The content is null, the transcript has the text, and a WAV plays."""
    found = reply(**sound("wav"))
    message, usage = found["choices"][0]["message"], found["usage"]
    assert message["content"] is None
    assert message["audio"]["transcript"].endswith(".")
    assert message["audio"]["expires_at"] == found["created"] + 3600
    with wave.open(io.BytesIO(base64.b64decode(message["audio"]["data"]))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.getnframes() == 80 * usage["completion_tokens_details"]["audio_tokens"]


@pytest.mark.parametrize(
    ("form", "start"), [("mp3", b"ID3"), ("flac", b"fLaC"), ("opus", b"OggS"), ("aac", b"\xff")]
)
def test_other_sounds_begin_like_their_format(form: str, start: bytes) -> None:
    """They are no more than bytes, the same ones every time."""
    data = choice(**sound(form))["message"]["audio"]["data"]
    assert base64.b64decode(data).startswith(start)
    assert data == choice(**sound(form))["message"]["audio"]["data"]


def test_raw_samples_are_the_wav_without_its_header() -> None:
    """pcm16 is what a WAV holds, for the same text."""
    data = base64.b64decode(choice(**sound("pcm16"))["message"]["audio"]["data"])
    assert len(data) % 160 == 0
    assert not data.startswith(b"RIFF")


def test_reasoning_is_counted_and_shown_when_told_to() -> None:
    """An effort costs tokens; the option shows what they were, and then it needs no effort."""
    counts = []
    for effort in ("none", "low", "medium", "high"):
        found = reply(reasoning_effort=effort)
        counts.append(found["usage"]["completion_tokens_details"]["reasoning_tokens"])
        assert set(found["choices"][0]["message"]) == {"role", "content", "refusal", "annotations"}
    assert counts[0] == 0
    assert sorted(set(counts)) == counts
    shown = reply(reasoning="reasoning_content")
    assert shown["choices"][0]["message"]["reasoning_content"].endswith(".")
    assert shown["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    assert "reasoning" not in choice(reasoning="reasoning", reasoning_effort="none")["message"]
    assert "reasoning" not in choice(reasoning="reasoning", include_reasoning=False)["message"]


def test_reasoning_can_use_up_the_tokens() -> None:
    """Then the text is empty, and the reason is the length."""
    found = reply(reasoning_effort="high", max_completion_tokens=5)
    assert (found["choices"][0]["message"]["content"], found["choices"][0]["finish_reason"]) == ("", "length")
    assert found["usage"]["completion_tokens"] == 5


def test_a_prediction_is_compared_with_the_answer() -> None:
    """It does not change the answer; what is right of it is accepted, the rest is rejected and paid for."""
    plain = reply()
    text = plain["choices"][0]["message"]["content"]
    right = reply(prediction={"type": "content", "content": text})
    wrong = reply(prediction={"type": "content", "content": "The zebra"})
    details = [found["usage"]["completion_tokens_details"] for found in (right, wrong)]
    assert right["choices"] == plain["choices"]
    assert details[0]["accepted_prediction_tokens"] == plain["usage"]["completion_tokens"]
    assert details[1]["rejected_prediction_tokens"] > 0
    assert wrong["usage"]["completion_tokens"] > plain["usage"]["completion_tokens"]


def test_the_service_tier_is_the_one_asked_for() -> None:
    """auto becomes the default one."""
    assert [reply(service_tier=tier)["service_tier"] for tier in ("auto", "flex")] == ["default", "flex"]


@pytest.mark.parametrize(
    ("output", "start", "end", "finish_reason"),
    [
        ("fence", "```json\n{", "}\n```", "stop"),
        ("preface", "Here is", "}", "stop"),
        ("postscript", "{", "anything else.", "stop"),
        ("truncated", "{", "", "length"),
        ("whitespace", "{", "\n\n\n", "length"),
    ],
)
def test_output_can_be_wrong(output: str, start: str, end: str, finish_reason: str) -> None:
    """In the ways that models get structured output wrong; the good JSON is inside, or cut."""
    good = choice(response_format=WANTED)["message"]["content"]
    found = choice(response_format=WANTED, fault={"output": output})
    said = found["message"]["content"]
    assert said.startswith(start)
    assert said.endswith(end)
    assert found["finish_reason"] == finish_reason
    assert (good in said) is (finish_reason == "stop")


def test_output_can_break_its_schema() -> None:
    """JSON of the wrong form, a label that is none, arguments that the tool does not take."""
    wrong = choice(response_format=WANTED, fault={"output": "invalid"})["message"]["content"]
    labels = choice(structured_outputs={"choice": ["a", "b"]}, fault={"output": "invalid"})
    call = choice(tools=[WEATHER], fault={"output": "invalid"})["message"]["tool_calls"][0]
    for text in (wrong, call["function"]["arguments"]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(text), PLACE)
    assert labels["message"]["content"] not in ("a", "b")


def test_arguments_can_be_truncated() -> None:
    """Half of the arguments, and finish_reason length."""
    found = choice(tools=[WEATHER], fault={"output": "truncated"})
    assert found["finish_reason"] == "length"
    assert not found["message"]["tool_calls"][0]["function"]["arguments"].endswith("}")


def again(messages: list[Any], said: str = "wrong") -> list[Any]:
    """The messages, an answer, and asking again."""
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": "Try again."}]


def statuses(rule: dict[str, Any], *asked: bytes) -> list[int]:
    """What a fault of status 500 makes of some calls."""
    found = []

    async def scene(running: Running) -> None:
        found.extend([(await ask(running.base_url, content)).status for content in asked])

    play(scene, faults=[{**rule, "status": 500}])
    return found


def test_a_fault_can_strike_the_first_of_a_conversation() -> None:
    """Once wrong, then right, for each conversation by itself, whatever few-shot examples they share."""
    shots = again([{"role": "user", "content": "Example?"}], "Example.")[:2]
    first, second = ([*shots, {"role": "user", "content": text}] for text in ("one", "two"))
    calls = [body(messages=m) for m in (first, second, again(first), again(again(first)), again(second))]
    rule = {"first": 1, "per": "conversation"}
    assert statuses(rule, *calls) == [500, 500, 200, 200, 200]
    assert statuses({"first": 1}, *calls) == [500] * 5
    assert statuses({"first": 2, "per": "conversation"}, *calls) == [500, 500, 500, 200, 500]


def test_a_fault_can_follow_a_conversation() -> None:
    """`mentions` looks at every message, so asking again is struck too; `match` only at the last."""
    calls = [body(messages=m) for m in (PROMPT, again(list(PROMPT)))]
    assert statuses({"mentions": "parcel"}, *calls) == [500, 500]
    assert statuses({"match": "parcel"}, *calls) == [500, 200]
    assert statuses({"mentions": "invoice"}, *calls) == [200, 200]


def test_conversations_are_not_followed_unless_asked() -> None:
    """Requests are counted either way."""
    seen = Conversations(follow=False)
    first, second = request(), request(messages=again(list(PROMPT)))
    assert [seen.count(one) for one in (first, second, first)] == [(1, 1), (1, 1), (2, 2)]


def test_faults_of_streams_spare_the_others() -> None:
    """A call that is not streamed meets the next rule."""
    rule = [{"stream": "no_done"}, {"status": 503}]
    found = []

    async def scene(running: Running) -> None:
        found.extend([await ask(running.base_url, body(stream=stream)) for stream in (True, False)])

    play(scene, faults=rule)
    assert [answer.status for answer in found] == [200, 503]
    assert b"[DONE]" not in found[0].body


@pytest.mark.parametrize("bodies", [True, False])
def test_bodies_are_kept_when_told_to(bodies: bool, tmp_path: Path) -> None:
    """The ledger then holds each request unchanged, also one that is refused; else none."""
    sent = [body(metadata={"a": "é"}, n=2), body(n=0), b"{"]

    async def scene(running: Running) -> None:
        for content in sent:
            await ask(running.base_url, content)

    calls = play(scene, tmp_path / "ledger.jsonl", bodies=bodies)
    expected = [json.loads(sent[0]), json.loads(sent[1]), None] if bodies else [None] * 3
    assert [call.body for call in calls] == expected
