"""The columns that one choice of an answer fills: their types, and their values.

The first choice has them as columns of the results, each one as a struct of `choices`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from batchrun import codec
from batchrun.chat.response.completion import Audio, Choice, ToolCall
from batchrun.chat.response.lenient import is_integer, members, number, objects
from batchrun.chat.response.logprobs import Token
from batchrun.run_folder.columns.arrays import list_array, struct_array

TEXT = pa.string()
_BYTES = pa.list_(pa.int64())
_MEMBERS = [("token", TEXT), ("logprob", pa.float64()), ("bytes", _BYTES)]
_ALTERNATIVES = pa.list_(pa.struct(_MEMBERS))
_TOKEN = pa.struct([*_MEMBERS, ("top_logprobs", _ALTERNATIVES)])
LOGPROBS = pa.list_(_TOKEN)
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


def choice_arrays(
    choices: Sequence[Choice],
    formats: Sequence[str | None],
    arguments: Sequence[Sequence[str | None]],
) -> dict[str, pa.Array]:
    """The columns of choices, but `index` and `parsed`, by their names.

    Beside each choice stand the format of its audio, and the arguments of its tool calls that were read by
    their schema, as JSON texts.
    """
    asked = map(_tool_calls, (choice.tool_calls for choice in choices), arguments)
    spoken = map(_audio, (choice.audio for choice in choices), formats)
    return {
        "completion": pa.array([choice.content for choice in choices], TEXT),
        "refusal": pa.array([choice.refusal for choice in choices], TEXT),
        "reasoning": pa.array([choice.reasoning for choice in choices], TEXT),
        "finish_reason": pa.array([choice.finish_reason for choice in choices], TEXT),
        "tool_calls": pa.array(list(asked), TOOL_CALLS),
        "logprobs": _logprobs([choice.logprobs for choice in choices]),
        "refusal_logprobs": _logprobs([choice.refusal_logprobs for choice in choices]),
        "token_ids": pa.array([choice.token_ids for choice in choices], TOKEN_IDS),
        "annotations": pa.array([_annotations(choice.annotations) for choice in choices], ANNOTATIONS),
        "audio": pa.array(list(spoken), AUDIO),
    }


def _tool_calls(calls: Sequence[ToolCall], arguments: Sequence[str | None]) -> list[dict[str, Any]] | None:
    if not calls:
        return None
    read = [*arguments, *[None] * len(calls)]
    return [
        {
            "id": call.id,
            "type": call.type,
            "name": call.name,
            "arguments": call.arguments,
            "input": call.input,
            "parsed_arguments": read[place] or _parsed(call.arguments),
        }
        for place, call in enumerate(calls)
    ]


def _parsed(arguments: str | None) -> str | None:
    """Tool arguments as compact JSON, where they are JSON."""
    try:
        return codec.dumps(codec.loads(arguments.encode())).decode() if arguments else None
    except ValueError:
        return None


def _audio(audio: Audio | None, audio_format: str | None) -> dict[str, Any] | None:
    if audio is None:
        return None
    return {
        "id": audio.id,
        "data": audio.data,
        "transcript": audio.transcript,
        "expires_at": audio.expires_at,
        "format": audio_format,
    }


def _logprobs(answers: Sequence[Sequence[Token] | None]) -> pa.Array:
    """The tokens of each answer, None where it has none."""
    return list_array(answers, _tokens, LOGPROBS)


def _tokens(tokens: list[Token]) -> pa.Array:
    tops = list_array([objects(item.get("top_logprobs")) for item in tokens], _alternatives, _ALTERNATIVES)
    return struct_array([*_token_members(tokens), tops], _TOKEN)


def _alternatives(tokens: list[Token]) -> pa.Array:
    return struct_array(_token_members(tokens), _ALTERNATIVES.value_type)


def _token_members(tokens: list[Token]) -> list[pa.Array]:
    """`token`, `logprob` and `bytes`; what is of another type counts as not there."""
    texts = [item.get("token") for item in tokens]
    logprobs = [item.get("logprob") for item in tokens]
    octets = [item.get("bytes") for item in tokens]
    if not set(map(type, texts)) <= {str, type(None)}:
        texts = [text if isinstance(text, str) else None for text in texts]
    if not set(map(type, logprobs)) <= {float, type(None)}:
        logprobs = [number(logprob) for logprob in logprobs]
    return [pa.array(texts, TEXT), pa.array(logprobs, pa.float64()), _byte_lists(octets)]


def _byte_lists(lists: list[Any]) -> pa.Array:
    """The bytes of each token: lists of integers, nearly always of bytes indeed."""
    if set(map(type, lists)) <= {list, type(None)}:
        with suppress(ValueError):
            return list_array(lists, _bytes, _BYTES)
    return list_array([_integers(value) for value in lists], _int64, _BYTES)


def _bytes(values: list[Any]) -> pa.Array:
    """Raises ValueError when one of them is no byte."""
    if set(map(type, values)) != {int}:
        raise ValueError("not integers")
    held = pa.py_buffer(bytes(values))
    return pa.Array.from_buffers(pa.uint8(), len(values), [None, held]).cast(pa.int64())


def _integers(value: Any) -> list[int] | None:
    return value if isinstance(value, list) and all(map(is_integer, value)) else None


def _int64(values: list[int]) -> pa.Array:
    return pa.array(values, pa.int64())


def _annotations(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    return [_annotation(item) for item in items] if items else None


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
