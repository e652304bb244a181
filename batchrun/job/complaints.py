"""pydantic's findings, told in the words of the job file: place, key, what is allowed, what was meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchrun.job.address import NAME_THE_VARIABLE, looks_like_key
from batchrun.job.document import Document
from batchrun.job.known import did_you_mean, places_of, section_at
from batchrun.job.parameters import OTHERWISE_GIVEN, Request
from batchrun.job.place import Loc, Problem, WrongPartsError, dotted

_SECRETIVE = frozenset({"base_url", "api_key_env", "headers", "proxy"})
"""Keys below which a value is never quoted: it may be a key in the wrong place."""

_KEY_NAMES = frozenset({"api_key", "apikey", "key", "token", "api_token"})

_EXPECTED = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must have at least one item",
}
"""pydantic's types of errors that need nothing but a sentence."""


def complaints(error: ValidationError, document: Document) -> Iterator[Problem]:
    """Say what is wrong in `error`, one problem a value or key, with locs as in the file."""
    for details in error.errors(include_url=False):
        yield from _problems(details, document)


def _problems(details: ErrorDetails, document: Document) -> Iterator[Problem]:
    tagged: Loc = tuple(details["loc"])
    loc = tuple(part for part in tagged if not str(part).startswith("<"))
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, WrongPartsError):
        for below, text in cause.parts:
            yield Problem((*loc, *below), f"{dotted((*loc, *below))} {text}.")
    elif details["type"] == "extra_forbidden":
        yield Problem(loc, _unknown(tagged, loc))
    elif details["type"] == "missing":
        field = section_at(tagged[:-1]).model_fields[str(loc[-1])]
        yield Problem(loc, f"{dotted(loc)} is required and missing. {field.description or ''}".rstrip())
    elif details["type"] != "too_short" or not _written(document.value, loc):
        # too_short also follows from items that are wrong themselves, and those are told
        yield Problem(loc, _wrong_value(details, loc, document))


def _unknown(tagged: Loc, loc: Loc) -> str:
    name, section = str(loc[-1]), section_at(tagged[:-1])
    known = list(section.model_fields)
    if section is Request and name in OTHERWISE_GIVEN:
        return f"{dotted(loc)} is not taken here: {OTHERWISE_GIVEN[name]}."
    if "api_key_env" in known and name.lower() in _KEY_NAMES:
        return f"{dotted(loc)}: a key is never written in a job: {NAME_THE_VARIABLE}."
    hint = did_you_mean(name, known) or _elsewhere(name)
    if name.partition(":")[0] in known:
        hint = " Is a space missing after the colon?"
    return f"{dotted(loc)} is not a known key.{hint} Known here: {', '.join(known)}."


def _elsewhere(name: str) -> str:
    ways = places_of().get(name, [])
    shortest = [way for way in ways if way.count(".") == ways[0].count(".")]
    return f" The key for that is {' or '.join(shortest)}." if ways else ""


def _wrong_value(details: ErrorDetails, loc: Loc, document: Document) -> str:
    written = _written(document.value, loc)
    sentence = f"{dotted(loc) or 'the job'}: {_expected(details)}{_found(written, loc, document)}."
    return sentence + _hint(details, written, loc, document)


def _expected(details: ErrorDetails) -> str:
    kind, ctx = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(ctx["error"])
    if kind == "literal_error":
        return f"must be one of {', '.join(_allowed(details))}"
    if kind == "greater_than_equal":
        return f"must be at least {ctx['ge']}"
    return _EXPECTED.get(kind, details["msg"])


def _allowed(details: ErrorDetails) -> list[str]:
    expected: str = details.get("ctx", {})["expected"]
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


def _written(value: Any, loc: Loc) -> Any:
    """The value as the job spells it, before variables were replaced: those may hold keys."""
    for part in loc:
        if not isinstance(value, dict | list):
            return None
        value = value[part]  # type: ignore[index]  # a loc's parts fit the containers it leads through
    return value


def _found(written: Any, loc: Loc, document: Document) -> str:
    if isinstance(written, dict | list):
        return f"; found a {'mapping' if isinstance(written, dict) else 'list'}"
    if written is None:
        return "; it is empty"
    if not _SECRETIVE.isdisjoint(loc) or (isinstance(written, str) and looks_like_key(written)):
        return ""
    if loc in document.words:
        return f"; found {document.words[loc]}, which without quotes is {json.dumps(written)} in YAML"
    text = json.dumps(written, ensure_ascii=False)
    return f"; found {text if len(text) <= 60 else text[:57] + '…'}"


def _hint(details: ErrorDetails, written: Any, loc: Loc, document: Document) -> str:
    kind = details["type"]
    if kind == "literal_error" and isinstance(written, str):
        return did_you_mean(written, _allowed(details))
    if written is None:
        return " Give it a value, or remove the key."
    if kind == "string_type" and isinstance(written, bool | int | float):
        shown = document.words.get(loc, json.dumps(written)) if _SECRETIVE.isdisjoint(loc) else "…"
        return f' If text is meant, quote it: "{shown}".'
    if kind in ("model_type", "dict_type") and loc in document.plain and ":" in str(written):
        return " Is a space missing after the colon?"
    return ""
