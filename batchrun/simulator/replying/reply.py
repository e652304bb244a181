"""The completion that answers a request: pure, the same for the same seed and request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from batchrun.codec import digest, hash64
from batchrun.simulator.config import Prices
from batchrun.simulator.faults import spoil_text
from batchrun.simulator.making.vocabulary import token_id, tokens
from batchrun.simulator.making.written import Text, plain
from batchrun.simulator.reading.request import ChatRequest
from batchrun.simulator.replying import logprobs, tool_calls
from batchrun.simulator.replying.audio import audio_member
from batchrun.simulator.replying.tool_calls import ToolCall
from batchrun.simulator.replying.usage import Spent, cost, usage
from batchrun.simulator.replying.writing import citations, sentences, write
from batchrun.simulator.rules import Fault, OutputFault, RefusalFault

_THOUGHTS = {"minimal": 1, "low": 1, "medium": 2, "high": 3, "xhigh": 4}
"""Sentences of reasoning for each effort."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What decides an answer beside its request."""

    seed: int
    created: int
    """Seconds since the epoch."""
    call_id: str
    """Makes the id unique."""
    room: int | None = None
    """The most tokens that the context window leaves for each choice."""
    reasoning: Literal["reasoning_content", "reasoning"] | None = None
    """The member that shows the reasoning; None hides it."""
    fault: Fault | None = None
    cached: int = 0
    """Tokens of the prompt that were found in the cache."""
    prices: Prices | None = None
    """Prices that the answer's usage shows; None shows none."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """One choice, and what it took."""

    document: dict[str, Any]
    spent: Spent


def completion(request: ChatRequest, setting: Setting) -> dict[str, Any]:
    """The answer to `request` as a `chat.completion` object."""
    choices = [_choice(request, setting, index) for index in range(request.n)]
    spent = [choice.spent for choice in choices]
    used = usage(request.prompt_tokens, request.prompt_audio_tokens, setting.cached, spent)
    if setting.prices is not None:
        used["cost"] = cost(used, setting.prices)
    found = {
        "id": f"chatcmpl-{setting.call_id}",
        "object": "chat.completion",
        "created": setting.created,
        "model": request.model,
        "choices": [choice.document for choice in choices],
        "usage": used,
        "service_tier": request.service_tier,
        "system_fingerprint": f"fp_{hash64(b'%d' % setting.seed) >> 24:010x}",
    }
    if request.prompt_logprobs is not None:
        said, top = tokens(request.prompt), request.prompt_logprobs
        found["prompt_logprobs"] = logprobs.prompt(said, top, setting.seed, request.key)
    if request.token_ids:
        found["prompt_token_ids"] = [token_id(token) for token in tokens(request.prompt)]
    return found


def _choice(request: ChatRequest, setting: Setting, index: int) -> _Choice:
    limits = [limit for limit in (request.max_tokens, setting.room) if limit is not None]
    most = min(limits, default=None)
    thought = _thoughts(request, setting, index)[:most]
    most = None if most is None else most - len(thought)
    broken = isinstance(setting.fault, OutputFault) and setting.fault.output == "invalid"
    if isinstance(setting.fault, RefusalFault):
        found = _refused(request, setting, index, plain(setting.fault.refusal), most)
    elif calls := tool_calls.draw_calls(request, setting.seed, index=index, broken=broken):
        found = _called(request, setting, index, calls, most)
    else:
        text = write(request, setting.seed, index=index, broken=broken)
        found = _said(request, setting, index, text, most)
    if thought and setting.reasoning is not None and request.include_reasoning:
        found.document["message"][setting.reasoning] = "".join(thought)
    return replace(found, spent=replace(found.spent, reasoning=len(thought)))


def _thoughts(request: ChatRequest, setting: Setting, index: int) -> list[str]:
    """The tokens of the reasoning. Where it is shown a model reasons unless told not to."""
    effort = request.reasoning_effort or ("medium" if setting.reasoning else "none")
    count = _THOUGHTS.get(effort, 0)
    return sentences("thought", setting.seed, request.key, count=count, index=index) if count else []


def _said(request: ChatRequest, setting: Setting, index: int, text: Text, most: int | None) -> _Choice:
    """A choice that is text, or sound."""
    spoiled, ending = spoil_text(text, setting.fault, most)
    written, finish_reason = _cut(spoiled, most, request.stop)
    content = str(written)
    message = _message(content)
    spent = Spent(len(written.tokens))
    if request.cites:
        message["annotations"] = citations(content, setting.seed, request.key, index)
    if request.prediction is not None:
        spent = replace(spent, **_predicted(tokens(request.prediction), written.tokens))
    if request.audio_format is not None:
        identity = digest(repr((setting.seed, request.key, index)).encode())[:24]
        sound = audio_member(written.tokens, request.audio_format, setting.created, identity)
        message |= {"content": None, "audio": sound}
        spent = replace(spent, audio=len(written.tokens))
    entries = _logprobs(request, setting, index, written)
    choice = _document(index, message, entries, "content", ending or finish_reason)
    return _Choice(_with_ids(choice, request, written.tokens), spent)


def _refused(request: ChatRequest, setting: Setting, index: int, text: Text, most: int | None) -> _Choice:
    written, finish_reason = _cut(text, most, ())
    entries = _logprobs(request, setting, index, written)
    choice = _document(index, _message(None, str(written)), entries, "refusal", finish_reason)
    return _Choice(_with_ids(choice, request, written.tokens), Spent(len(written.tokens)))


def _called(
    request: ChatRequest, setting: Setting, index: int, calls: Sequence[ToolCall], most: int | None
) -> _Choice:
    spoiled = [spoil_text(call.text, setting.fault, most) for call in calls]
    made = [replace(call, text=text) for call, (text, _) in zip(calls, spoiled, strict=True)]
    kept, whole = tool_calls.cut(made, most)
    message = _message(None)
    finish_reason = "function_call" if request.offer.legacy else "tool_calls"
    if request.offer.legacy:
        message["function_call"] = kept[0].member()["function"] if kept else None
    elif kept:
        message["tool_calls"] = [call.member() for call in kept]
    ending = "length" if not whole else spoiled[0][1]
    choice = _document(index, message, None, "content", ending or finish_reason)
    written = tuple(token for call in kept for token in call.text.tokens)
    return _Choice(_with_ids(choice, request, written), Spent(len(written)))


def _message(content: str | None, refusal: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": refusal, "annotations": []}


def _document(
    index: int,
    message: dict[str, Any],
    entries: list[dict[str, Any]] | None,
    kind: Literal["content", "refusal"],
    finish_reason: str,
) -> dict[str, Any]:
    probabilities = None if entries is None else {"content": None, "refusal": None, kind: entries}
    return {"index": index, "message": message, "logprobs": probabilities, "finish_reason": finish_reason}


def _logprobs(
    request: ChatRequest, setting: Setting, index: int, written: Text
) -> list[dict[str, Any]] | None:
    if request.top_logprobs is None:
        return None
    draw = (setting.seed, request.key, index)
    entries = logprobs.content(written, request.top_logprobs, *draw, greedy=request.greedy)
    return logprobs.with_ids(entries) if request.ids_for_tokens else entries


def _with_ids(choice: dict[str, Any], request: ChatRequest, written: Sequence[str]) -> dict[str, Any]:
    return {**choice, "token_ids": [token_id(token) for token in written]} if request.token_ids else choice


def _cut(written: Text, most: int | None, stop: tuple[str, ...]) -> tuple[Text, str]:
    """Cut at `most` tokens, or before the first stop sequence, whichever comes first."""
    kept = written if most is None else written.first(most)
    text = str(kept) if stop else ""
    found = [place for sequence in stop if (place := text.find(sequence)) >= 0]
    if found:
        return Text(tuple(tokens(text[: min(found)])), kept.picked), "stop"
    return kept, "stop" if len(kept.tokens) == len(written.tokens) else "length"


def _predicted(predicted: Sequence[str], written: Sequence[str]) -> dict[str, int]:
    """How much of a prediction was right: as far as it and the answer begin alike."""
    pairs = zip(predicted, written, strict=False)
    alike = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(predicted), len(written)))
    return {"accepted": alike, "rejected": len(predicted) - alike}
