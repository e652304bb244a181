"""What the responder answers, as bytes: whole documents, and event streams in pieces."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from tests.benchmarks.shapes import Answer

PIECES = 5
"""In how many pieces a stream arrives: servers send several tokens at once when they are busy."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["delivery", "billing", "account", "other"]},
        "urgent": {"type": "boolean"},
        "summary": {"type": "string"},
    },
    "required": ["label", "urgent", "summary"],
    "additionalProperties": False,
}
"""Of the answer `schema`."""

_TEXT = (
    "The customer says that the parcel is two days late, that the card was charged twice, "
    "and asks for a refund of one of the two payments before the end of this week."
)
_OBJECT = '{"label": "delivery", "urgent": true, "summary": "The parcel is late and was charged twice."}'
_USAGE = {"prompt_tokens": 131, "completion_tokens": 33, "total_tokens": 164}


def whole(answer: Answer) -> bytes:
    """The completion, unstreamed."""
    tokens = _tokens(answer)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(tokens), "refusal": None},
        "logprobs": _logprobs(tokens) if answer == "logprobs" else None,
        "finish_reason": "stop",
    }
    return orjson.dumps({**_head("chat.completion"), "choices": [choice], "usage": _USAGE})


def streamed(answer: Answer) -> list[bytes]:
    """The same as server-sent events, a token each, in `PIECES` pieces."""
    events = [b"data: " + event + b"\n\n" for event in (*_chunks(answer), b"[DONE]")]
    size = -(-len(events) // PIECES)
    return [b"".join(events[at : at + size]) for at in range(0, len(events), size)]


def _chunks(answer: Answer) -> Iterator[bytes]:
    yield _chunk({"role": "assistant", "content": ""})
    for token in _tokens(answer):
        yield _chunk({"content": token}, _logprobs([token]) if answer == "logprobs" else None)
    yield _chunk({}, finish="stop")
    yield orjson.dumps({**_head("chat.completion.chunk"), "choices": [], "usage": _USAGE})


def _chunk(delta: dict[str, str], logprobs: object = None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return orjson.dumps({**_head("chat.completion.chunk"), "choices": [choice], "usage": None})


def _head(kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-0123456789", "object": kind, "created": 1_800_000_000, "model": "small-2026"}


def _tokens(answer: Answer) -> list[str]:
    return re.findall(r"\s?\S{1,7}", _OBJECT if answer == "schema" else _TEXT)


def _logprobs(tokens: Sequence[str]) -> dict[str, object]:
    others = [" the", " a", " of", " and"]
    return {
        "content": [
            {
                **_logprob(token, -0.0131),
                "top_logprobs": list(map(_logprob, [token, *others], itertools.count(-0.0131, -1.7))),
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _logprob(token: str, logprob: float) -> dict[str, object]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
