"""The API of stored completions at one endpoint: each of its requests, and lists page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchrun.client import Resources
from batchrun.clock import Clock, SystemClock
from batchrun.endpoints.checks import check_endpoints
from batchrun.endpoints.endpoints import open_resources
from batchrun.outcome import Exchange
from batchrun.stored.asking import asked, is_unknown
from batchrun.stored.errors import (
    check_id,
    document_of,
    is_missing,
    no_such,
    not_understood,
    without_stored,
)
from batchrun.stored.filters import Filters
from batchrun.stored.place import Place

PATH = "/chat/completions"

PAGE = 100
"""Completions of a page: the most that OpenAI gives."""

CONNECTIONS = 8
"""Requests under way at once, where there are many to make."""

Document = dict[str, Any]


class StoredCompletions:
    """The completions that one endpoint keeps. Each request raises EndpointError when it is refused."""

    def __init__(self, place: Place, resources: Resources, clock: Clock) -> None:
        self._place = place
        self._resources = resources
        self._clock = clock

    async def pages(self, filters: Filters, limit: int | None = None) -> AsyncIterator[list[Document]]:
        """Those that are meant, a page at a time; at most `limit`."""
        seen = 0
        async for page in self._pages(PATH, filters.query(), filters.after, limit):
            found = [one for one in page if filters.holds_for(one)]
            yield found if limit is None else found[: limit - seen]
            seen += len(found)
            if limit is not None and seen >= limit:
                return

    async def get(self, completion_id: str) -> Document:
        """One of them."""
        doing, request = f"read {completion_id}", partial(self._resources.get, _path(completion_id))
        found = self._document(await asked(request, self._clock), doing, completion_id)
        if not isinstance(found.get("id"), str):
            raise not_understood(self._place, doing, "the answer has no id")
        return found

    async def update(self, completion_id: str, metadata: Mapping[str, str]) -> Document:
        """Give one other metadata in place of what it has; the completion as it is then."""
        request = partial(self._resources.post, _path(completion_id), {"metadata": metadata})
        return self._document(await asked(request, self._clock), f"change {completion_id}", completion_id)

    async def delete(self, completion_id: str) -> bool:
        """Delete one; False where there is none."""
        doing = f"delete {completion_id}"
        exchange = await asked(partial(self._resources.delete, _path(completion_id)), self._clock)
        if is_missing(exchange):
            return False
        if self._document(exchange, doing).get("deleted") is False:
            raise not_understood(self._place, doing, "it is not deleted")
        return True

    async def messages(self, completion_id: str, order: str | None = None) -> AsyncIterator[list[Document]]:
        """What was asked for one of them, a page at a time."""
        query = {"order": order} if order else {}
        async for page in self._pages(f"{_path(completion_id)}/messages", query, None, None, completion_id):
            yield page

    def _document(self, exchange: Exchange, doing: str, completion_id: str | None = None) -> Document:
        """The document in an answer about one completion, or about all."""
        if is_unknown(exchange) or (is_missing(exchange) and not completion_id):
            raise without_stored(self._place, doing, exchange)
        if is_missing(exchange) and completion_id:
            raise no_such(self._place, completion_id, exchange)
        return document_of(exchange, self._place, doing)

    async def _pages(
        self,
        path: str,
        query: Mapping[str, str],
        after: str | None,
        limit: int | None,
        completion_id: str | None = None,
    ) -> AsyncIterator[list[Document]]:
        """The pages of a list; of the messages of a completion, or of completions."""
        doing = f"read the messages of {completion_id}" if completion_id else "list the stored completions"
        size = PAGE if limit is None else min(PAGE, limit)
        passed = {after}
        while True:
            page: dict[str, str | int] = {**query, "limit": size, **({"after": after} if after else {})}
            exchange = await asked(partial(self._resources.get, path, page), self._clock)
            found = self._document(exchange, doing, completion_id)
            listed = self._listed(found, doing)
            if listed and listed[-1]["id"] in passed:
                said = f"the page after {after} ends with {listed[-1]['id']}, which came before"
                raise not_understood(self._place, doing, said)
            yield listed
            if not listed or found.get("has_more") is False:
                return
            after = listed[-1]["id"]
            passed.add(after)

    def _listed(self, found: Document, doing: str) -> list[Document]:
        listed = found.get("data")
        if not isinstance(listed, list):
            raise not_understood(self._place, doing, "there is no list in `data`")
        if not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in listed):
            raise not_understood(self._place, doing, "not everything in `data` has an id")
        return listed


@asynccontextmanager
async def open_stored(place: Place, env: Mapping[str, str]) -> AsyncIterator[StoredCompletions]:
    """The stored completions of an endpoint, while the block runs.

    Raises UsageError when its key is missing, or the command that prints it fails.
    """
    resources = open_resources(place.endpoint, env, job=place.job, connections=CONNECTIONS)
    async with resources as opened:
        yield StoredCompletions(place, opened, SystemClock())


def check_place(place: Place, env: Mapping[str, str]) -> None:
    """Raises UsageError when the key of the endpoint is missing."""
    check_endpoints([place.endpoint], env, place.job.folder if place.job else Path.cwd())


def _path(completion_id: str) -> str:
    return f"{PATH}/{quote(check_id(completion_id), safe='')}"
