"""One choice of a completion as the parts that a stream brings it in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.simulator.making.tokenizer import tokens

SOUND_PIECE = 1024
"""Characters of base64 in a piece of sound: a multiple of 4, so that each can be decoded by itself."""


def parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The `choices` items of successive chunks; put together they are `choice`."""
    message, finish_reason = choice["message"], choice["finish_reason"]
    if message is None:
        yield _part(choice, None, finish_reason=finish_reason)
        return
    content = None if message["content"] is None else ""
    yield _part(choice, {"role": "assistant", "content": content, "refusal": None})
    for name in ("reasoning_content", "reasoning"):
        for token in tokens(message.get(name) or ""):
            yield _part(choice, {name: token})
    ids = list(choice.get("token_ids") or ())
    yield from _texts(choice, ids)
    for delta in (*_calls(message), *_sound(message.get("audio"))):
        yield _part(choice, delta)
    if message.get("annotations"):
        yield _part(choice, {"annotations": message["annotations"]})
    rest = {"token_ids": ids} if ids else {}
    yield {**_part(choice, {}, finish_reason=finish_reason), **rest}


def _part(
    choice: Mapping[str, Any],
    delta: dict[str, Any] | None,
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    return {"index": choice["index"], "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _texts(choice: Mapping[str, Any], ids: list[int]) -> Iterator[dict[str, Any]]:
    """Content and refusal, token by token with their log probabilities; takes from `ids` what it brings."""
    for name in ("content", "refusal"):
        entries = (choice["logprobs"] or {}).get(name)
        for place, token in enumerate(tokens(choice["message"].get(name) or "")):
            logprobs = {"content": None, "refusal": None, name: [entries[place]]} if entries else None
            part = _part(choice, {name: token}, logprobs)
            yield {**part, "token_ids": [ids.pop(0)]} if ids else part


def _calls(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each tool call: id, type and name first, then its arguments or input in pieces."""
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind = call["type"]
        said = "input" if kind == "custom" else "arguments"
        begun = {"name": call[kind]["name"], said: ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": kind, kind: begun}]}
        for piece in tokens(call[kind][said]):
            yield {"tool_calls": [{"index": index, kind: {said: piece}}]}
    if call := message.get("function_call"):
        yield {"function_call": {"name": call["name"], "arguments": ""}}
        for piece in tokens(call["arguments"]):
            yield {"function_call": {"arguments": piece}}


def _sound(audio: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    if audio is None:
        return
    yield {"audio": {"id": audio["id"]}}
    for token in tokens(audio["transcript"]):
        yield {"audio": {"transcript": token}}
    for start in range(0, len(audio["data"]), SOUND_PIECE):
        yield {"audio": {"data": audio["data"][start : start + SOUND_PIECE]}}
    yield {"audio": {"expires_at": audio["expires_at"]}}
