"""The addresses of files and batches, and what is answered there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from batchrun.codec import dumps
from batchrun.simulator import answers, refusal
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.batches import AnswerLine, Batches, EstimateLine
from batchrun.simulator.config import BatchRule
from batchrun.simulator.connection import HttpRequest
from batchrun.simulator.files import Files
from batchrun.simulator.refusal import RefusedError

ROOTS = ("/v1/files", "/v1/batches")
_PAGE = 20
_MOST = 100


class Batching:
    """Answers what is asked of files and batches."""

    def __init__(self, rule: BatchRule, answer: AnswerLine, estimate: EstimateLine, seed: int) -> None:
        self._files = Files(rule.bytes)
        self._batches = Batches(rule, self._files, answer, estimate, seed)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request below one of ROOTS."""
        try:
            found = self._answer(request)
        except RefusedError as error:
            return answers.refused(error.refusal)
        if isinstance(found, bytes):
            return HttpAnswer(200, found, "application/octet-stream")
        return HttpAnswer(200, dumps(found))

    def close(self) -> None:
        """Stop all work."""
        self._batches.close()

    def _answer(self, request: HttpRequest) -> dict[str, Any] | bytes:
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        match [request.method, *request.path.split("/")[2:]]:
            case ["POST", "files"]:
                return self._files.upload(request.content_type, request.body).document()
            case ["GET", "files"]:
                return _page([file.document() for file in self._files.all(query.get("purpose"))], query)
            case ["GET", "files", file_id]:
                return self._files.get(file_id).document()
            case ["GET", "files", file_id, "content"]:
                return self._files.get(file_id).data
            case ["DELETE", "files", file_id]:
                return self._files.delete(file_id)
            case ["POST", "batches"]:
                return self._batches.create(request.body).document()
            case ["GET", "batches"]:
                return _page([batch.document() for batch in self._batches.all()], query)
            case ["GET", "batches", batch_id]:
                return self._batches.get(batch_id).document()
            case ["POST", "batches", batch_id, "cancel"]:
                return self._batches.cancel(batch_id).document()
            case _:
                raise RefusedError(refusal.not_found(request.method, request.path))


def _page(found: Sequence[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """Some of them, after the one that `after` names."""
    ids = [one["id"] for one in found]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = query.get("limit", "")
    size = min(_MOST, int(limit)) if limit.isdigit() and int(limit) else _PAGE
    page = found[start : start + size]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + size < len(found),
    }
