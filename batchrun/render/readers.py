"""What reads the answers to a row's request: the job's schema, and the arguments of the tools it offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from batchrun.chat.response.reading import Reader
from batchrun.chat.schema.json_schema import SchemaError
from batchrun.chat.schema.structured import AnswerSchema, ArgumentsReader

READ_FROM = ("tools", "functions", "structured_outputs", "audio")
"""The parameters that the reader of a request hangs on."""


def reader(fail_on: frozenset[str], schema: AnswerSchema | None, parameters: Mapping[str, Any]) -> Reader:
    """The reader for a request with these parameters, which a row may have brought."""
    tools = _mappings(parameters.get("tools"))
    functions = [*_bodies(tools, "function"), *_mappings(parameters.get("functions"))]
    named = [*functions, *_bodies(tools, "custom")]
    outputs, audio = (parameters.get(name) for name in ("structured_outputs", "audio"))
    choice = outputs.get("choice") if isinstance(outputs, Mapping) else None
    form = audio.get("format") if isinstance(audio, Mapping) else None
    return Reader(
        fail_on=fail_on,
        schema=schema,
        tools=_argument_readers(functions),
        offered=frozenset(name for tool in named if isinstance(name := tool.get("name"), str)),
        choice_labels=tuple(dict.fromkeys(text for text in choice or () if isinstance(text, str))),
        audio_format=form if isinstance(form, str) else None,
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _bodies(tools: Iterable[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return _mappings([tool.get(kind) for tool in tools])


def _argument_readers(functions: Iterable[Mapping[str, Any]]) -> dict[str, ArgumentsReader]:
    """By the function's name; one whose parameters are no JSON Schema is the server's to judge."""
    readers = {}
    for function in functions:
        name, parameters = function.get("name"), function.get("parameters")
        if isinstance(name, str) and isinstance(parameters, Mapping):
            with suppress(SchemaError):
                readers[name] = ArgumentsReader(parameters)
    return readers
