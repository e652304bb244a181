"""Event streams written by hand, and whole answers cut into chunks as servers cut them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from batchrun.chat.response.stream import Accumulator

DONE = b"data: [DONE]\n\n"


def event(value: Any, *, newline: str = "\n") -> bytes:
    return f"data: {json.dumps(value)}{newline}{newline}".encode()


def chunk(delta: Any = None, *, index: int | None = 0, **choice: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    place = {} if index is None else {"index": index}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [{**place, "delta": delta, **choice}]}


def stop(index: int = 0, reason: str = "stop") -> dict[str, Any]:
    return chunk({}, index=index, finish_reason=reason)


def stream(*chunks: Any, done: bool = True) -> bytes:
    return b"".join(map(event, chunks)) + (DONE if done else b"")


def accumulated(pieces: Iterable[bytes]) -> Accumulator:
    found = Accumulator()
    for piece in pieces:
        found.feed(piece)
    found.end()
    return found


def document(data: bytes) -> dict[str, Any]:
    """What a stream accumulates to; whole, and the same however it is cut into bytes."""
    whole = accumulated([data])
    assert whole.finished, whole.arrived
    by_byte = accumulated(data[at : at + 1] for at in range(len(data)))
    assert by_byte.document() == whole.document()
    found: dict[str, Any] = json.loads(whole.document())
    return found


Cut: TypeAlias = Callable[[int], Sequence[int]]
"""Gives the places at which something of a length is cut."""


def pieces(held: Any, cut: Cut) -> list[Any]:
    """A text, bytes or a list in pieces, none of them empty."""
    places = [0, *sorted(set(cut(len(held)))), len(held)]
    return [held[a:b] for a, b in pairwise(places) if a < b]


def deltas(message: dict[str, Any], cut: Cut) -> Iterator[dict[str, Any]]:
    """The deltas of a message: its role first, then each member in pieces."""
    yield {"role": message["role"], "content": None if message.get("content") is None else ""}
    for name, held in message.items():
        if name == "tool_calls":
            for index, call in enumerate(held):
                yield from ({"tool_calls": [{"index": index, **part}]} for part in _call(call, cut))
        elif name == "function_call":
            yield {name: {"name": held["name"], "arguments": ""}}
            yield from ({name: {"arguments": piece}} for piece in pieces(held["arguments"], cut))
        elif name == "audio":
            yield from ({name: part} for part in _sound(held, cut))
        elif name == "annotations" or (isinstance(held, str) and name != "role"):
            yield from ({name: piece} for piece in pieces(held, cut))


def _sound(audio: dict[str, Any], cut: Cut) -> Iterator[dict[str, Any]]:
    """Audio, its data cut as bytes: each piece is base64 on its own."""
    yield {"id": audio["id"], "transcript": ""}
    yield from ({"transcript": piece} for piece in pieces(audio["transcript"], cut))
    yield from ({"data": b64encode(piece).decode()} for piece in pieces(b64decode(audio["data"]), cut))
    yield {"expires_at": audio["expires_at"]}


def _call(call: dict[str, Any], cut: Cut) -> Iterator[dict[str, Any]]:
    kind, said = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
    yield {**call, kind: {"name": call[kind]["name"], said: ""}}
    yield from ({kind: {said: piece}} for piece in pieces(call[kind][said], cut))


def chunks(answer: dict[str, Any], cut: Cut) -> list[dict[str, Any]]:
    """A whole answer as the chunks that OpenAI would send, choice after choice."""
    same = {name: answer[name] for name in answer if name not in ("choices", "usage", "object")}
    same["object"] = "chat.completion.chunk"
    found = []
    for choice in answer["choices"]:
        index = choice["index"]
        parts: list[dict[str, Any]] = [{"delta": delta} for delta in deltas(choice["message"], cut)]
        for name, held in (choice["logprobs"] or {}).items():
            cuts = pieces(held, cut) or [[]] if held is not None else []
            parts += [{"delta": {}, "logprobs": {"content": None, name: piece}} for piece in cuts]
        if "token_ids" in choice:
            parts += [{"delta": {}, "token_ids": ids} for ids in pieces(choice["token_ids"], cut) or [[]]]
        parts.append({"delta": {}, "finish_reason": choice["finish_reason"]})
        for part in parts:
            found.append({**same, "choices": [{"index": index, "finish_reason": None, **part}]})
    return [*found, {**same, "choices": [], "usage": answer["usage"]}]
