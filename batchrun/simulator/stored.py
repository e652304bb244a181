"""The completions that an endpoint keeps: those of requests with `store: true`, as OpenAI does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.codec import dumps, loads
from batchrun.simulator.refusal import Refusal, RefusedError

_SETTINGS: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": None,
    "tools": None,
    "tool_choice": None,
    "response_format": None,
}
"""Members of the request that are shown with its completion, and what is shown where one is not given."""


@dataclass(slots=True)
class Stored:
    """One completion; as bytes, for there may be many."""

    id: str
    model: str
    metadata: Mapping[str, str]
    """That of the request, until it is replaced."""
    shown_at: float
    """When it begins to be shown, by time.monotonic()."""
    completion: bytes
    asked: bytes
    """The messages of the request."""

    def document(self) -> dict[str, Any]:
        """As the API tells of it."""
        found: dict[str, Any] = loads(self.completion)
        return {**found, "metadata": self.metadata}

    def messages(self) -> list[Message]:
        """Those of the request, oldest first."""
        asked = loads(self.asked)
        return [Message(f"{self.id}-{place}", message) for place, message in enumerate(asked)]


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a request whose completion is kept."""

    id: str
    said: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As the API tells of it: content is text, and parts are in a member of their own."""
        content = self.said.get("content")
        is_text = isinstance(content, str)
        return {
            "name": None,
            **self.said,
            "id": self.id,
            "content": content if is_text else None,
            "content_parts": None if is_text else content,
        }


class Completions:
    """The completions by their ids. Raises RefusedError for what it has not, or does not show yet."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._completions: dict[str, Stored] = {}

    def keep(self, completion: Mapping[str, Any], asked: Mapping[str, Any], request_id: str) -> None:
        """Keep the answer to the body `asked`."""
        settings = {name: asked.get(name, usual) for name, usual in _SETTINGS.items()}
        found = {**completion, "request_id": request_id, **settings, "input_user": None}
        self._completions[completion["id"]] = Stored(
            id=completion["id"],
            model=completion["model"],
            metadata=asked.get("metadata") or {},
            shown_at=time.monotonic() + self._delay,
            completion=_exact(dumps(found)),
            asked=_exact(dumps(asked["messages"])),
        )

    def get(self, completion_id: str) -> Stored:
        """The completion of that id."""
        found = self._completions.get(completion_id)
        if found is None or found.shown_at > time.monotonic():
            raise RefusedError(
                Refusal(404, f"No stored completion found with id '{completion_id}'.", param="id")
            )
        return found

    def delete(self, completion_id: str) -> dict[str, Any]:
        """Remove it."""
        del self._completions[self.get(completion_id).id]
        return {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}

    def all(self, *, newest_first: bool) -> Iterator[Stored]:
        """Those that are shown."""
        found = self._completions.values()
        now = time.monotonic()
        return (one for one in (reversed(found) if newest_first else found) if one.shown_at <= now)


def _exact(data: bytes) -> bytes:
    """A copy that takes no more memory than it has bytes: what the encoder gives takes six times as much."""
    return memoryview(data).tobytes()
