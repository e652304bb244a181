"""The columns that one choice of an answer fills: their types, and their values.

The first choice has them as columns of the results, each one as a struct of `choices`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from batchrun import codec
from batchrun.chat.completion import Choice, ToolCall
from batchrun.chat.lenient import is_integer, members, number, objects
from batchrun.chat.logprobs import Token

TEXT = pa.string()
_TOKEN = [("token", TEXT), ("logprob", pa.float64()), ("bytes", pa.list_(pa.int64()))]
LOGPROBS = pa.list_(pa.struct([*_TOKEN, ("top_logprobs", pa.list_(pa.struct(_TOKEN)))]))
PROMPT_LOGPROBS = pa.list_(
    pa.list_(
        pa.struct(
            [("token_id", pa.int64()), ("token", TEXT), ("logprob", pa.float64()), ("rank", pa.int64())]
        )
    )
)
"""For each token of the prompt the candidates there; null at the first."""

TOKEN_IDS = pa.list_(pa.int64())
TOOL_CALLS = pa.list_(
    pa.struct([(name, TEXT) for name in ("id", "type", "name", "arguments", "input", "parsed_arguments")])
)
ANNOTATIONS = pa.list_(
    pa.struct(
        [
            ("type", TEXT),
            ("url", TEXT),
            ("title", TEXT),
            ("start_index", pa.int64()),
            ("end_index", pa.int64()),
        ]
    )
)
AUDIO = pa.struct(
    [
        ("id", TEXT),
        ("data", pa.binary()),
        ("transcript", TEXT),
        ("expires_at", pa.int64()),
        ("format", TEXT),
    ]
)
CHOICES = pa.list_(
    pa.struct(
        [
            ("index", pa.int64()),
            ("completion", TEXT),
            ("parsed", TEXT),
            ("refusal", TEXT),
            ("reasoning", TEXT),
            ("finish_reason", TEXT),
            ("tool_calls", TOOL_CALLS),
            ("logprobs", LOGPROBS),
            ("refusal_logprobs", LOGPROBS),
            ("token_ids", TOKEN_IDS),
            ("annotations", ANNOTATIONS),
            ("audio", AUDIO),
        ]
    )
)


def choice_values(
    choice: Choice, *, audio_format: str | None, arguments: Sequence[str | None] = ()
) -> dict[str, Any]:
    """The values of the columns of one choice, but `parsed`.

    `arguments` are those of its tool calls that were read by their schema, as JSON texts.
    """
    return {
        "completion": choice.content,
        "refusal": choice.refusal,
        "reasoning": choice.reasoning,
        "finish_reason": choice.finish_reason,
        "tool_calls": _tool_calls(choice.tool_calls, arguments),
        "logprobs": _logprobs(choice.logprobs),
        "refusal_logprobs": _logprobs(choice.refusal_logprobs),
        "token_ids": choice.token_ids,
        "annotations": [_annotation(item) for item in choice.annotations] or None,
        "audio": {**asdict(choice.audio), "format": audio_format} if choice.audio else None,
    }


def _tool_calls(calls: Sequence[ToolCall], arguments: Sequence[str | None]) -> list[dict[str, Any]] | None:
    read = [*arguments, *[None] * len(calls)]
    return [
        asdict(call) | {"parsed_arguments": read[place] or _parsed(call.arguments)}
        for place, call in enumerate(calls)
    ] or None


def _parsed(arguments: str | None) -> str | None:
    """Tool arguments as compact JSON, where they are JSON."""
    try:
        return codec.dumps(codec.loads(arguments.encode())).decode() if arguments else None
    except ValueError:
        return None


def _logprobs(tokens: Sequence[Token] | None) -> list[dict[str, Any]] | None:
    if tokens is None:
        return None
    return [
        _token(item) | {"top_logprobs": [_token(other) for other in objects(item.get("top_logprobs"))]}
        for item in tokens
    ]


def _token(item: Token) -> dict[str, Any]:
    token, octets = item.get("token"), item.get("bytes")
    return {
        "token": token if isinstance(token, str) else None,
        "logprob": number(item.get("logprob")),
        "bytes": octets if isinstance(octets, list) and all(map(is_integer, octets)) else None,
    }


def _annotation(item: Mapping[str, Any]) -> dict[str, Any]:
    """One citation; its members are OpenAI's `url_citation`, or flat."""
    citation = members(item.get("url_citation")) or item
    return {
        "type": item.get("type") if isinstance(item.get("type"), str) else None,
        **{key: value if isinstance(value := citation.get(key), str) else None for key in ("url", "title")},
        **{
            key: value if is_integer(value := citation.get(key)) else None
            for key in ("start_index", "end_index")
        },
    }
