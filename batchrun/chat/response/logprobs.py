"""Log probabilities of tokens, in the one form that the rest reads.

An answer's tokens are `ChatCompletionTokenLogprob` (OpenAI's reference). Together and older
servers give the parallel lists of the legacy Completions API instead. The prompt's tokens are
vLLM's `prompt_logprobs`: an object from token id to `{logprob, rank, decoded_token}` at each place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, TypeAlias

from batchrun.chat.response.lenient import integer, members, number, objects, text

Token: TypeAlias = Mapping[str, Any]
"""A `ChatCompletionTokenLogprob`, as the server gave it."""

PromptToken: TypeAlias = Mapping[str, Any]
"""`token_id`, `token`, `logprob` and `rank` (1 = the likeliest) at a place in the prompt."""

_TOKEN_ID = re.compile(r"-?[0-9]{1,18}")


def read_logprobs(logprobs: Any) -> tuple[tuple[Token, ...] | None, tuple[Token, ...] | None]:
    """The tokens of the content and of the refusal; None where there are none."""
    if not isinstance(logprobs, dict):
        return None, None
    content, refusal = logprobs.get("content"), logprobs.get("refusal")
    if not isinstance(content, list):
        content = _legacy(logprobs)
    return (
        tuple(objects(content)) if content is not None else None,
        tuple(objects(refusal)) if isinstance(refusal, list) else None,
    )


def _legacy(holder: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """`tokens`, `token_logprobs` and `top_logprobs`, parallel lists."""
    tokens = holder.get("tokens")
    if not isinstance(tokens, list):
        return None
    found = (holder.get(name) for name in ("token_logprobs", "top_logprobs"))
    logprobs, tops = (item[: len(tokens)] if isinstance(item, list) else [] for item in found)
    return [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None,
            "top_logprobs": [
                {"token": other, "logprob": value, "bytes": None} for other, value in members(top).items()
            ],
        }
        for token, logprob, top in zip_longest(tokens, logprobs, tops)
    ]


def read_prompt_logprobs(places: Any) -> tuple[tuple[PromptToken, ...] | None, ...] | None:
    """For each token of the prompt the likeliest ones there and its own; None at the first place."""
    if not isinstance(places, list):
        return None
    return tuple(_at_place(place) if isinstance(place, dict) else None for place in places)


def _at_place(place: dict[str, Any]) -> tuple[PromptToken, ...]:
    return tuple(
        {
            "token_id": int(token_id) if _TOKEN_ID.fullmatch(token_id) else None,
            "token": text(held.get("decoded_token")),
            "logprob": number(held.get("logprob")),
            "rank": integer(held.get("rank")),
        }
        for token_id, held in place.items()
        if isinstance(held, dict)
    )


def read_token_ids(ids: Any) -> tuple[int, ...] | None:
    """vLLM's `token_ids`, the ids of tokens; None where it is no list of integers."""
    if not isinstance(ids, list):
        return None
    found = tuple(number for value in ids if (number := integer(value)) is not None)
    return found if len(found) == len(ids) else None
