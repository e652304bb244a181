"""A completion as the server-sent events that `stream: true` asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchrun.codec import dumps
from batchrun.simulator.making.vocabulary import tokens
from batchrun.simulator.rules import Fault, StreamFault

DONE = b"data: [DONE]\n\n"
COMMENT = b": SIMULATOR PROCESSING\n\n"
"""A line that says nothing but that the answer is still coming; gateways send such."""

ERROR = {"message": "Provider disconnected", "type": "server_error", "param": None, "code": 502}


def events(
    completion: Mapping[str, Any], *, include_usage: bool, fault: Fault | None = None
) -> Iterator[bytes]:
    """One event a token, the choices by turns; then the usage if asked for, then `[DONE]`.

    A completion without choices, spoiled by a fault, goes out as one event.
    """
    if "choices" not in completion:
        yield _event(completion)
        return
    found = (_event(chunk) for chunk in _chunks(completion, include_usage))
    match fault:
        case StreamFault(stream="error"):
            whole = list(found)
            yield from whole[: len(whole) // 2]
            yield _event({"error": ERROR})
        case StreamFault(stream="no_done"):
            yield from found
        case StreamFault(stream="comments"):
            for event in found:
                yield COMMENT + event
            yield DONE
        case _:
            yield from found
            yield DONE


def _chunks(completion: Mapping[str, Any], include_usage: bool) -> Iterator[dict[str, Any]]:
    same = {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": completion["model"],
        "service_tier": completion["service_tier"],
        "system_fingerprint": completion["system_fingerprint"],
    }
    usage = {"usage": None} if include_usage else {}
    first = {name: completion[name] for name in ("prompt_token_ids",) if name in completion}
    if not completion["choices"]:
        yield {**same, "choices": completion["choices"]}
    for part in _by_turns([parts(choice) for choice in completion["choices"] or ()]):
        yield {**same, "choices": [part], **usage, **first}
        first = {}
    if include_usage:
        yield {**same, "choices": [], "usage": completion["usage"]}


def _by_turns(choices: Iterable[Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The first part of each, then the second of each, and so on."""
    waiting = list(choices)
    while waiting:
        going = []
        for choice in waiting:
            part = next(choice, None)
            if part is not None:
                going.append(choice)
                yield part
        waiting = going


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


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
