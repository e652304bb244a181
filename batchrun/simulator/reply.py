"""The completion that answers a request: pure, the same for the same seed and request."""

from __future__ import annotations

from typing import Any

from batchrun.codec import dumps, hash64
from batchrun.simulator import logprobs, structured
from batchrun.simulator.draws import numbers
from batchrun.simulator.request import ChatRequest, tokens
from batchrun.simulator.vocabulary import TOKENS


def completion(
    request: ChatRequest, *, seed: int, created: int, call_id: str, room: int | None = None
) -> dict[str, Any]:
    """The answer to `request` as a `chat.completion` object.

    `created` is in seconds since the epoch, `call_id` makes the id unique. `room` is the most tokens that
    the context window leaves for each choice.
    """
    limits = [limit for limit in (request.max_tokens, room) if limit is not None]
    choices, used = [], 0
    for index in range(request.n):
        choice, count = _choice(request, seed, index, min(limits, default=None))
        choices.append(choice)
        used += count
    return {
        "id": f"chatcmpl-{call_id}",
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": choices,
        "usage": _usage(request.prompt_tokens, used),
        "service_tier": "default",
        "system_fingerprint": f"fp_{hash64(b'%d' % seed) >> 24:010x}",
    }


def _choice(request: ChatRequest, seed: int, index: int, most: int | None) -> tuple[dict[str, Any], int]:
    """One choice, and the tokens it has."""
    written, finish_reason = _cut(_text(request, seed, index), most, request.stop)
    wanted = request.top_logprobs
    probabilities = None
    if wanted is not None:
        entries = logprobs.content(written, wanted, seed, request.key, index)
        probabilities = {"content": entries, "refusal": None}
    choice = {
        "index": index,
        "message": {"role": "assistant", "content": "".join(written), "refusal": None, "annotations": []},
        "logprobs": probabilities,
        "finish_reason": finish_reason,
    }
    return choice, len(written)


def _text(request: ChatRequest, seed: int, index: int) -> list[str]:
    """The tokens of choice `index` before anything cuts it."""
    match request.response_format.get("type"):
        case "json_object":
            return tokens(_json(structured.PLAIN_OBJECT, seed, request.key, index))
        case "json_schema":
            named = request.response_format.get("json_schema")
            schema = named.get("schema") if isinstance(named, dict) else None
            return tokens(_json(schema or structured.PLAIN_OBJECT, seed, request.key, index))
    chance = numbers(len(TOKENS), "text", seed, request.key)
    picked: list[str] = []
    for place, sentences in enumerate(TOKENS):
        # Each place has its own stride, so that the choices of one answer differ in more than one sentence.
        picked += sentences[(chance[place] + index * (1 + 2 * place)) % len(sentences)]
    return picked


def _json(schema: Any, *draw: object) -> str:
    return dumps(structured.value(schema, schema, *draw)).decode()


def _cut(written: list[str], most: int | None, stop: tuple[str, ...]) -> tuple[list[str], str]:
    """Cut at `most` tokens, or before the first stop sequence, whichever comes first."""
    kept = written if most is None else written[:most]
    text = "".join(kept) if stop else ""
    found = [place for sequence in stop if (place := text.find(sequence)) >= 0]
    if found:
        return tokens(text[: min(found)]), "stop"
    return kept, "stop" if len(kept) == len(written) else "length"


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
