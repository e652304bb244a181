"""A completion as the server-sent events that `stream: true` asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchrun.codec import dumps
from batchrun.simulator.replying.deltas import parts
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
