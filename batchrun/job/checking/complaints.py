"""pydantic's findings, told in the words of the job file: place, key, what is allowed, what was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchrun.chat.request.members import Members
from batchrun.chat.request.sentences import allowed, counted, expected, is_key
from batchrun.job.checking.known import description_of, did_you_mean, keys_of, places_of, section_at
from batchrun.job.document.document import Document
from batchrun.job.document.place import Loc, Problem, WrongPartsError, dotted
from batchrun.job.sections.address import NAME_THE_VARIABLE, looks_like_key
from batchrun.job.sections.fields import Section
from batchrun.job.sections.file import JobFile
from batchrun.job.sections.prompt import OTHERWISE_GIVEN, Request

_SECRETIVE = frozenset({"base_url", "api_key_env", "api_key_cmd", "api_key_header", "headers", "proxy"})
"""Keys below which a value is never quoted: it may be a key in the wrong place."""

_KEY_NAMES = frozenset({"api_key", "apikey", "key", "token", "api_token"})

_COUNT = re.compile(r"(?P<digits>[0-9]{1,15})(?:\.(?P<part>[0-9]+))? ?(?P<unit>[kMG]?)")
_THOUSANDS = {"": 0, "k": 3, "M": 6, "G": 9}

_MOST_KEYS = 40
"""Keys that a message lists; a section with more is too long to read."""


def complaints(error: ValidationError, document: Document, root: Any = JobFile) -> Iterator[Problem]:
    """Say what is wrong in `error`, one problem a value or key, with locs as in the file.

    `root` is the type of the document's value.
    """
    for details in error.errors(include_url=False):
        yield from _problems(details, document, root)


def _problems(details: ErrorDetails, document: Document, root: Any) -> Iterator[Problem]:
    tagged: Loc = tuple(details["loc"])
    loc = tuple(part for part in tagged if not str(part).startswith("<"))
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, WrongPartsError):
        for below, text in cause.parts:
            yield Problem((*loc, *below), f"{dotted((*loc, *below))} {text}.")
    elif details["type"] == "extra_forbidden":
        yield Problem(loc, _unknown(loc, section_at(tagged[:-1], root)))
    elif details["type"] == "missing":
        about = description_of(section_at(tagged[:-1], root), str(loc[-1]))
        yield Problem(loc, f"{dotted(loc)} is required and missing. {about}")
    elif is_key(loc, details["input"]):
        yield Problem(loc[:-1], _wrong_key(details, loc[:-1]))
    elif details["type"] == "unknown_kind":
        yield _unknown_kind(details, loc, document)
    elif details["type"] != "too_short" or not _written(document.value, loc):
        # too_short also follows from items that are wrong themselves, and those are told
        yield Problem(loc, _wrong_value(details, loc, document))


def _unknown(loc: Loc, section: type[Members]) -> str:
    name, known = str(loc[-1]), keys_of(section)
    if section is Request and name in OTHERWISE_GIVEN:
        return f"{dotted(loc)} is not taken here: {OTHERWISE_GIVEN[name]}."
    if "api_key_env" in known and name.lower() in _KEY_NAMES:
        return f"{dotted(loc)}: a key is never written in a job: {NAME_THE_VARIABLE}."
    hint = did_you_mean(name, known) or _elsewhere(name, section)
    if name.partition(":")[0] in known:
        hint = " Is a space missing after the colon?"
    return f"{dotted(loc)} is not a known key.{hint} {_known_here(known)}"


def _known_here(known: list[str]) -> str:
    if len(known) > _MOST_KEYS:
        return "What an endpoint adds goes in extra_body; `batchrun schema` lists what is known here."
    return f"Known here: {', '.join(known)}."


def _unknown_kind(details: ErrorDetails, loc: Loc, document: Document) -> Problem:
    """A mapping whose member that tells its kind, `role` or `type`, is missing or wrong."""
    ctx, written = details.get("ctx", {}), _written(document.value, loc)
    if not isinstance(written, dict):
        found = _found(written, loc, document)
        return Problem(loc, f"{dotted(loc) or 'the file'}: must be a mapping{found}.")
    here, words = (*loc, ctx["key"]), list(ctx["allowed"])
    if written.get(ctx["key"]) is None:
        return Problem(here, f"{dotted(here)} is required and missing. It is one of {', '.join(words)}.")
    word = written[ctx["key"]]
    hint = did_you_mean(word, words) if isinstance(word, str) else ""
    text = f"must be one of {', '.join(words)}{_found(word, here, document)}.{hint}"
    return Problem(here, f"{dotted(here)}: {text}")


def _elsewhere(name: str, section: type[Members]) -> str:
    """Where a key belongs; what is only a member of messages, parts and tools is no place to look for it."""
    ways = places_of().get(name, []) if issubclass(section, Section) else []
    shortest = [way for way in ways if way.count(".") == ways[0].count(".")]
    return f" The key for that is {' or '.join(shortest)}." if ways else ""


def _wrong_key(details: ErrorDetails, loc: Loc) -> str:
    kind, key = details["type"], details["input"]
    wanted = expected(kind, details.get("ctx", {}), details["msg"])
    found = counted(kind, key) or json.dumps(key)
    return f"{dotted(loc)}: the key {wanted}; found {found}."


def _wrong_value(details: ErrorDetails, loc: Loc, document: Document) -> str:
    wanted = expected(details["type"], details.get("ctx", {}), details["msg"])
    if count := counted(details["type"], details["input"]):
        return f"{dotted(loc)}: {wanted}; found {count}."
    written = _written(document.value, loc)
    sentence = f"{dotted(loc) or 'the file'}: {wanted}{_found(written, loc, document)}."
    return sentence + _hint(details, written, loc, document)


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
        return did_you_mean(written, allowed(details.get("ctx", {})))
    if written is None:
        return " Give it a value, or remove the key."
    if kind == "int_type" and (number := _in_full(written)) is not None:
        quoted = isinstance(written, str) and loc not in document.plain
        return f" Write {number}{', without quotes' if quoted else ''}."
    if kind == "string_type" and isinstance(written, bool | int | float):
        shown = document.words.get(loc, json.dumps(written)) if _SECRETIVE.isdisjoint(loc) else "…"
        return f' If text is meant, quote it: "{shown}".'
    if kind in ("model_type", "dict_type") and loc in document.plain and ":" in str(written):
        return " Is a space missing after the colon?"
    return ""


def _in_full(written: Any) -> int | None:
    """The whole number that was meant by 5e7, "200" or 50M; None where none was."""
    if isinstance(written, float):
        return int(written) if written.is_integer() and abs(written) < 1e15 else None
    found = _COUNT.fullmatch(written.replace("_", "").replace(",", "")) if isinstance(written, str) else None
    if found is None:
        return None
    part, zeros = found["part"] or "", _THOUSANDS[found["unit"]]
    return int(found["digits"] + part.ljust(zeros, "0")) if len(part) <= zeros else None
