"""What can be done with stored completions, each as one call that ends when it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from batchrun.errors import EndpointError, cause
from batchrun.stored.api import CONNECTIONS, Document, StoredCompletions, check_place, open_stored
from batchrun.stored.errors import check_id
from batchrun.stored.filters import Filters
from batchrun.stored.metadata import Change
from batchrun.stored.place import Place

_T = TypeVar("_T")

Env = Mapping[str, str]
Say = Callable[[str], None]
Page = list[Document]

_OFTEN = 1_000
"""Deleted completions after which it is said how many they are."""


def with_stored(place: Place, env: Env, scene: Callable[[StoredCompletions], Awaitable[_T]]) -> _T:
    """Do something with the stored completions of an endpoint, whose connections are closed then.

    Raises UsageError where its key is missing, and EndpointError where it refuses something.
    """
    check_place(place, env)

    async def play() -> _T:
        async with open_stored(place, env) as stored:
            return await scene(stored)

    try:
        return anyio.run(play)
    except BaseExceptionGroup as group:
        raise cause(group) from None


def list_pages(
    place: Place, env: Env, filters: Filters, limit: int | None, take: Callable[[Page], None]
) -> int:
    """Give the completions that are meant to `take`, some at a time, at most `limit`; how many there were."""

    async def scene(stored: StoredCompletions) -> int:
        count = 0
        async for page in stored.pages(filters, limit):
            count += len(page)
            take(page)
        return count

    return with_stored(place, env, scene)


def get(place: Place, env: Env, completion_id: str) -> Document:
    """One completion."""
    check_id(completion_id)
    return with_stored(place, env, lambda stored: stored.get(completion_id))


def messages(
    place: Place, env: Env, completion_id: str, order: str | None, take: Callable[[Page], None]
) -> None:
    """Give the messages that a completion answers to `take`, some at a time."""
    check_id(completion_id)

    async def scene(stored: StoredCompletions) -> None:
        async for page in stored.messages(completion_id, order):
            take(page)

    with_stored(place, env, scene)


def update(place: Place, env: Env, completion_id: str, change: Change) -> Document:
    """Change a completion's metadata; the completion as it is then. Raises UsageError for too much of it."""
    check_id(completion_id)
    change.check()

    async def scene(stored: StoredCompletions) -> Document:
        before = None if change.clear else (await stored.get(completion_id)).get("metadata")
        return await stored.update(completion_id, change.of(before if isinstance(before, Mapping) else {}))

    return with_stored(place, env, scene)


def chosen_ids(place: Place, env: Env, filters: Filters) -> list[str]:
    """The ids of all completions that are meant; of those alone whose metadata says so themselves."""
    ids: list[str] = []

    def take(page: Page) -> None:
        ids.extend(one["id"] for one in page if filters.holds_for(one, strictly=True))

    list_pages(place, env, filters, None, take)
    return list(dict.fromkeys(ids))


@dataclass(slots=True)
class Deleted:
    """What has been deleted so far: how many, and the ids that nothing was found of."""

    count: int = 0
    missing: list[str] = field(default_factory=list)


def delete(place: Place, env: Env, ids: Sequence[str], say: Say = lambda text: None) -> Deleted:
    """Delete completions by their ids, some at once.

    Raises EndpointError, which says how many are deleted, when the endpoint refuses one.
    """
    for completion_id in ids:
        check_id(completion_id)
    done, left = Deleted(), iter(ids)

    async def scene(stored: StoredCompletions) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(CONNECTIONS, len(ids))):
                tasks.start_soon(_deleting, stored, left, done, len(ids), say)

    try:
        with_stored(place, env, scene)
    except EndpointError as error:
        said = f"{error.message}; {done.count:,} of {len(ids):,} were deleted before"
        raise EndpointError(said, hint=error.hint or "Run it again.", exit_code=error.exit_code) from error
    return done


async def _deleting(
    stored: StoredCompletions, left: Iterator[str], done: Deleted, all_: int, say: Say
) -> None:
    for completion_id in left:
        if await stored.delete(completion_id):
            done.count += 1
            if done.count % _OFTEN == 0:
                say(f"{done.count:,} of {all_:,} deleted")
        else:
            done.missing.append(completion_id)
