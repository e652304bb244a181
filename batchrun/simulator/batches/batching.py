"""The addresses of files and batches: what is answered there, and which faults strike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from batchrun.codec import dumps
from batchrun.simulator import answers, paging, refusal
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.batches.batches import AnswerLine, Batches
from batchrun.simulator.batches.files import Files
from batchrun.simulator.config import BatchFault, BatchRule, Operation
from batchrun.simulator.connection import HttpRequest
from batchrun.simulator.delivery import Step, Wait, steps
from batchrun.simulator.refusal import RefusedError
from batchrun.simulator.rules import CloseFault, StatusFault

ROOTS = ("/v1/files", "/v1/batches")
_OPERATIONS: dict[str, Operation] = {
    "POST files": "upload",
    "GET files": "list_files",
    "GET files/ID/content": "content",
    "DELETE files/ID": "delete",
    "POST batches": "create",
    "GET batches": "list",
    "GET batches/ID": "get",
    "POST batches/ID/cancel": "cancel",
}
_BATCHES = (20, 100)
_FILES = (10_000, 10_000)
"""How many a page has where nothing is said, and at most."""


class Batching:
    """Answers what is asked of files and batches."""

    def __init__(self, rule: BatchRule, answer: AnswerLine, seed: int) -> None:
        self._rule = rule
        self._seen: Counter[Operation | None] = Counter()
        self._files = Files(rule.bytes)
        self._batches = Batches(rule, self._files, answer, seed)

    def answer(self, request: HttpRequest) -> tuple[HttpAnswer, BatchFault | None]:
        """The answer to a request below one of ROOTS, and the fault under which it leaves."""
        fault = self._strike(_operation(request))
        if fault and fault.act == "refuse":
            refused = StatusFault(status=fault.status or 500, retry_after=fault.retry_after)
            return answers.injected(refused), fault
        try:
            found = self._answer(request)
        except RefusedError as error:
            return answers.refused(error.refusal), fault
        if isinstance(found, bytes):
            return HttpAnswer(200, found, "application/octet-stream"), fault
        return HttpAnswer(200, dumps(found)), fault

    def close(self) -> None:
        """Stop all work."""
        self._batches.close()

    def _strike(self, operation: Operation | None) -> BatchFault | None:
        """The first fault that applies to one more such request; None: it is of no kind that has any."""
        self._seen[operation] += 1
        struck = (fault for fault in self._rule.faults if fault.on == operation)
        return next((fault for fault in struck if fault.nth in (None, self._seen[operation])), None)

    def _answer(self, request: HttpRequest) -> dict[str, Any] | bytes:
        query = dict(parse_qsl(request.query))
        match [request.method, *request.path.split("/")[2:]]:
            case ["POST", "files"]:
                return self._files.upload(request.content_type, request.body).document()
            case ["GET", "files"] if self._rule.listing:
                files = paging.following(self._files.all(query.get("purpose")), query.get("after"))
                return paging.page((file.document() for file in files), paging.size(query, *_FILES))
            case ["GET", "files", file_id]:
                return self._files.get(file_id).document()
            case ["GET", "files", file_id, "content"]:
                return self._files.get(file_id).data
            case ["DELETE", "files", file_id]:
                return self._files.delete(file_id)
            case ["POST", "batches"]:
                return self._batches.create(request.body).document()
            case ["GET", "batches"] if self._rule.listing:
                batches = paging.following(self._batches.all(), query.get("after"))
                return paging.page((batch.document() for batch in batches), paging.size(query, *_BATCHES))
            case ["GET", "batches", batch_id]:
                return self._batches.get(batch_id).document()
            case ["POST", "batches", batch_id, "cancel"]:
                return self._batches.cancel(batch_id).document()
            case _:
                raise RefusedError(refusal.not_found(request.method, request.path))


def _operation(request: HttpRequest) -> Operation | None:
    root, *rest = request.path.split("/")[2:]
    return _OPERATIONS.get(f"{request.method} {'/'.join([root, *('ID' for _ in rest[:1]), *rest[1:]])}")


def departure(head: bytes, body: bytes, fault: BatchFault | None) -> Iterator[Step]:
    """The steps that send an answer under `fault`."""
    if fault and fault.stall:
        yield Wait(fault.stall)
    match fault:
        case BatchFault(act="lose"):
            yield from steps(head, body, CloseFault(close="before_headers"))
        case BatchFault(act="cut"):
            yield from steps(head, body, CloseFault(close="mid_body"))
        case _:
            yield from steps(head, body, None)
