"""A completion as the server-sent events that `stream: true` asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.codec import dumps
from batchrun.simulator.request import tokens

DONE = b"data: [DONE]\n\n"


def events(completion: Mapping[str, Any], *, include_usage: bool) -> Iterator[bytes]:
    """One event a token, choice after choice; then the usage if asked for, then `[DONE]`.

    A completion without choices, spoiled by a fault, goes out as one event.
    """
    if "choices" not in completion:
        yield _event(completion)
        return
    same = {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": completion["model"],
        "service_tier": completion["service_tier"],
        "system_fingerprint": completion["system_fingerprint"],
    }
    if not completion["choices"]:
        yield _event({**same, "choices": completion["choices"]})
    for choice in completion["choices"] or ():
        for part in _parts(choice):
            usage = {"usage": None} if include_usage else {}
            yield _event({**same, "choices": [{"index": choice["index"], **part}], **usage})
    if include_usage:
        yield _event({**same, "choices": [], "usage": completion["usage"]})
    yield DONE


def _parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    message = choice["message"]
    if message is None:
        yield {"delta": None, "logprobs": None, "finish_reason": choice["finish_reason"]}
        return
    yield _part({"role": "assistant", "content": "", "refusal": None})
    entries = (choice["logprobs"] or {}).get("content")
    for place, token in enumerate(tokens(message["content"] or "")):
        yield _part({"content": token}, [entries[place]] if entries else None)
    if message["refusal"] is not None:
        yield _part({"refusal": message["refusal"]})
    yield {"delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}


def _part(delta: dict[str, Any], entries: list[Any] | None = None) -> dict[str, Any]:
    logprobs = {"content": entries, "refusal": None} if entries else None
    return {"delta": delta, "logprobs": logprobs, "finish_reason": None}


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"
