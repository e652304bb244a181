"""Pages of a list, as OpenAI's API cuts them: by `limit`, and `after` the id of the last one seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

from batchrun.simulator.reading.checks import one_of, wrong


class Named(Protocol):
    """What has an id."""

    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=Named)


def size(query: Mapping[str, str], default: int, most: int) -> int:
    """How many of them a page has. Raises RefusedError where `limit` is no number from 1 to `most`."""
    given = query.get("limit", "")
    if not given:
        return default
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise wrong("limit", f"expected an integer from 1 to {most}")
    return int(given)


def order(query: Mapping[str, str]) -> Literal["asc", "desc"]:
    """Oldest first, or newest. Raises RefusedError for another word."""
    return "desc" if one_of(query.get("order"), "order", ("asc", "desc")) == "desc" else "asc"


def following(found: Iterable[_T], after: str | None) -> Iterator[_T]:
    """Those after the one of that id; all, where there is none. Raises RefusedError where nothing has it."""
    rest = iter(found)
    if after and not any(one.id == after for one in rest):
        raise wrong("after", "expected the id of one in this list")
    return rest


def page(documents: Iterable[Mapping[str, Any]], most: int) -> dict[str, Any]:
    """The first so many, and whether there are more."""
    found = list(islice(documents, most + 1))
    shown = found[:most]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(found) > most,
    }
