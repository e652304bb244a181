"""What the job file knows: the keys of each of its sections, and the nearest to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import Tag

from batchrun.chat.request.members import Members, descriptions, member_name
from batchrun.job.document.place import Loc
from batchrun.job.sections.file import JobFile


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The spelling among `known` that `word` was most likely meant to be."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that begins with a space, or nothing."""
    near = nearest(word, known)
    return f" Did you mean {near}?" if near else ""


def keys_of(section: type[Members]) -> list[str]:
    """The keys of a mapping, as a job spells them."""
    return [member_name(section, name) for name in section.model_fields]


def _field_of(section: type[Members], key: str) -> str:
    return next(name for name in section.model_fields if key == member_name(section, name))


def description_of(section: type[Members], key: str) -> str:
    """What the key is for."""
    return descriptions(section)[_field_of(section, key)]


def section_at(tagged: Loc, root: Any) -> type[Members]:
    """The class of the mapping at `tagged`, a loc as pydantic gives it: `<…>` parts choose in unions."""
    here = root
    for part in tagged:
        here = _below(here, part)
    return next(_sections(here))


def _below(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Members):
        return annotation.model_fields[_field_of(annotation, str(part))].annotation
    members, origin = get_args(annotation), get_origin(annotation)
    if str(part).startswith("<"):
        return next(_tagged(annotation, str(part)))
    if origin is dict:
        return members[1]
    if origin in (tuple, list):
        return members[0]
    return _below(members[0], part)  # Annotated[X, …], X | None


def _tagged(annotation: Any, tag: str) -> Iterator[Any]:
    """The member of a union that has this tag, or is the class of this name (`KindOf`)."""
    if isinstance(annotation, type) and tag == f"<{annotation.__name__}>":
        yield annotation
    members = get_args(annotation)
    if get_origin(annotation) is Annotated:
        if any(isinstance(item, Tag) and item.tag == tag for item in members[1:]):
            yield members[0]
        members = members[:1]
    for member in members:
        yield from _tagged(member, tag)


def _sections(annotation: Any) -> Iterator[type[Members]]:
    if isinstance(annotation, type) and issubclass(annotation, Members):
        yield annotation
    members = get_args(annotation)
    for member in members[:1] if get_origin(annotation) is Annotated else members:
        yield from _sections(member)


@cache
def places_of() -> dict[str, list[str]]:
    """Every key of the job file, with the ways to it, short ones first: `timeout` is `retry.timeout`."""
    places: dict[str, list[str]] = {}
    for way in _ways(JobFile, ""):
        places.setdefault(way.rpartition(".")[2], []).append(way)
    for ways in places.values():
        ways.sort(key=lambda way: way.count("."))
    return places


def _ways(section: type[Members], above: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        way = f"{above}{member_name(section, name)}"
        yield way
        origin = get_origin(field.annotation)
        item = ".NAME" if origin is dict else ".0" if origin is tuple else ""
        for inner in _sections(field.annotation):
            yield from _ways(inner, f"{way}{item}.")
