"""The addresses of stored completions, and what is answered there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from batchrun.codec import dumps
from batchrun.simulator import answers, paging, refusal
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.config import StoredRule
from batchrun.simulator.connection import HttpRequest
from batchrun.simulator.reading.checks import missing, pairs
from batchrun.simulator.reading.request import ChatRequest, parse
from batchrun.simulator.refusal import RefusedError
from batchrun.simulator.stored import Completions, Stored

ROOT = "/v1/chat/completions"
_PAGE = 20
_MOST = 100
_METADATA = "metadata["


class Storing:
    """Keeps the completions whose requests ask for that, and answers what is asked of them."""

    def __init__(self, rule: StoredRule) -> None:
        self._rule = rule
        self._completions = Completions(rule.delay)

    def keep(self, request: ChatRequest, completion: Mapping[str, Any], request_id: str) -> None:
        """Keep what answers `request`, if it asks for that; `request_id` as the answer's header has it."""
        if request.stored is not None:
            self._completions.keep(completion, request.stored, request_id)

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
                return self._completions.get(completion_id).document()
            case ["POST", "completions", completion_id]:
                return self._updated(completion_id, request.body)
            case ["DELETE", "completions", completion_id]:
                return self._completions.delete(completion_id)
            case ["GET", "completions", completion_id, "messages"]:
                return self._messages(completion_id, query)
            case _:
                raise RefusedError(refusal.not_found(request.method, request.path))

    def _listed(self, query: Mapping[str, str]) -> dict[str, Any]:
        found = self._completions.all(newest_first=paging.order(query) == "desc")
        rest = paging.following(found, query.get("after"))
        return paging.page(
            (one.document() for one in rest if _fits(one, query)), paging.size(query, _PAGE, _MOST)
        )

    def _updated(self, completion_id: str, body: bytes) -> dict[str, Any]:
        found = self._completions.get(completion_id)
        asked = parse(body)
        if "metadata" not in asked:
            raise missing("metadata")
        found.metadata = pairs(asked["metadata"], "metadata")
        return found.document()

    def _messages(self, completion_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        found = self._completions.get(completion_id).messages()
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
