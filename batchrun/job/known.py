"""What the job file knows: the keys of each of its sections, and the nearest to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from batchrun.job.fields import Section
from batchrun.job.models import JobFile
from batchrun.job.place import Loc


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The spelling among `known` that `word` was most likely meant to be."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that begins with a space, or nothing."""
    near = nearest(word, known)
    return f" Did you mean {near}?" if near else ""


def section_at(tagged: Loc) -> type[Section]:
    """The class of the mapping at `tagged`, a loc as pydantic gives it: `<Class>` parts choose in unions."""
    here: Any = JobFile
    for part in tagged:
        here = _below(here, part)
    return next(_sections(here))


def _below(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation.model_fields[str(part)].annotation
    if str(part).startswith("<"):
        return next(section for section in _sections(annotation) if f"<{section.__name__}>" == part)
    members = get_args(annotation)
    if get_origin(annotation) is dict:
        return members[1]
    if get_origin(annotation) is tuple:
        return members[0]
    return _below(members[0], part)  # Annotated[X, …], X | None


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
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


def _ways(section: type[Section], above: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        way = f"{above}{name}"
        yield way
        origin = get_origin(field.annotation)
        item = ".NAME" if origin is dict else ".0" if origin is tuple else ""
        for inner in _sections(field.annotation):
            yield from _ways(inner, f"{way}{item}.")
