"""The completions that an endpoint keeps: those of requests with `store: true`, as OpenAI does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from batchrun.codec import dumps, loads
from batchrun.simulator import answers, paging, refusal
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.config import StoredRule
from batchrun.simulator.connection import HttpRequest
from batchrun.simulator.reading.checks import missing, pairs
from batchrun.simulator.reading.request import ChatRequest, parse
from batchrun.simulator.refusal import Refusal, RefusedError

ROOT = "/v1/chat/completions"
_PAGE = 20
_MOST = 100
_METADATA = "metadata["

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


class StoredCompletions:
    """Keeps the completions whose requests ask for that, and answers what is asked of them."""

    def __init__(self, rule: StoredRule) -> None:
        self._rule = rule
        self._completions: dict[str, Stored] = {}

    def keep(self, request: ChatRequest, completion: Mapping[str, Any], request_id: str) -> None:
        """Keep what answers `request`, if it asks for that; `request_id` as the answer's header has it."""
        asked = request.stored
        if asked is None:
            return
        settings = {name: asked.get(name, usual) for name, usual in _SETTINGS.items()}
        found = {**completion, "request_id": request_id, **settings, "input_user": None}
        self._completions[completion["id"]] = Stored(
            id=completion["id"],
            model=completion["model"],
            metadata=asked.get("metadata") or {},
            shown_at=time.monotonic() + self._rule.delay,
            completion=_exact(dumps(found)),
            asked=_exact(dumps(asked["messages"])),
        )

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request below ROOT, other than for a new completion."""
        try:
            return HttpAnswer(200, dumps(self._answer(request)))
        except RefusedError as error:
            return answers.refused(error.refusal)

    def _answer(self, request: HttpRequest) -> dict[str, Any]:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        match [request.method, *request.path.split("/")[3:]]:
            case ["GET", "completions"] if self._rule.listing:
                return self._listed(query)
            case ["GET", "completions", completion_id]:
                return self._shown(completion_id).document()
            case ["POST", "completions", completion_id]:
                return self._updated(completion_id, request.body)
            case ["DELETE", "completions", completion_id]:
                del self._completions[self._shown(completion_id).id]
                return {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}
            case ["GET", "completions", completion_id, "messages"]:
                return self._messages(completion_id, query)
            case _:
                raise RefusedError(refusal.not_found(request.method, request.path))

    def _shown(self, completion_id: str) -> Stored:
        """The completion of that id. Raises RefusedError where there is none, or it is not shown yet."""
        found = self._completions.get(completion_id)
        if found is None or found.shown_at > time.monotonic():
            raise RefusedError(
                Refusal(404, f"No stored completion found with id '{completion_id}'.", param="id")
            )
        return found

    def _listed(self, query: Mapping[str, str]) -> dict[str, Any]:
        kept, now = self._completions.values(), time.monotonic()
        ordered = reversed(kept) if paging.order(query) == "desc" else kept
        rest = paging.following((one for one in ordered if one.shown_at <= now), query.get("after"))
        return paging.page(
            (one.document() for one in rest if _fits(one, query)), paging.size(query, _PAGE, _MOST)
        )

    def _updated(self, completion_id: str, body: bytes) -> dict[str, Any]:
        found = self._shown(completion_id)
        asked = parse(body)
        if "metadata" not in asked:
            raise missing("metadata")
        found.metadata = pairs(asked["metadata"], "metadata")
        return found.document()

    def _messages(self, completion_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        found = self._shown(completion_id).messages()
        ordered = found[::-1] if paging.order(query) == "desc" else found
        rest = paging.following(ordered, query.get("after"))
        return paging.page((one.document() for one in rest), paging.size(query, _PAGE, _MOST))


def _fits(stored: Stored, query: Mapping[str, str]) -> bool:
    """Whether it is of the model, and has all the metadata, that are asked for."""
    if query.get("model") not in (None, stored.model):
        return False
    return all(
        stored.metadata.get(name.removeprefix(_METADATA).removesuffix("]")) == value
        for name, value in query.items()
        if name.startswith(_METADATA) and name.endswith("]")
    )


def _exact(data: bytes) -> bytes:
    """A copy that takes no more memory than it has bytes: what the encoder gives takes six times as much."""
    return memoryview(data).tobytes()
