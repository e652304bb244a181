"""Batches of a simulated endpoint: requests in a file, answered some time later (OpenAI, Batch API).

A batch is validated, works, is finalized and completed; it may fail when it is validated, expire with some of
its lines answered, or be cancelled. Answers are in no order. Each line that is answered, or fails, is a call
in the ledger, at the price of a batch.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from batchrun.codec import dumps, loads
from batchrun.simulator.config import BatchRule
from batchrun.simulator.files import File, Files
from batchrun.simulator.refusal import Refusal, RefusedError, of_status

State: TypeAlias = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]

AnswerLine: TypeAlias = Callable[[bytes], tuple[int, bytes]]
"""Answers the body of one request now: status and body. It keeps the ledger."""

EstimateLine: TypeAlias = Callable[[bytes], int]
"""The tokens that a request counts against the quota."""

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"
_FINAL = ("failed", "completed", "expired", "cancelled")
_MOST_METADATA = 16
_SLICE = 200
"""Lines answered before others have their turn of the event loop."""


@dataclass(slots=True)
class Batch:
    """One batch; times in seconds since the epoch, by the names of the API's members."""

    id: str
    file: File
    metadata: dict[str, str]
    status: State = "validating"
    times: dict[str, int] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    completed: int = 0
    failed: int = 0
    tokens: int = 0
    """Enqueued, while it is not over."""
    output: File | None = None
    error: File | None = None

    def document(self) -> dict[str, Any]:
        """As the API tells of it."""
        moments = ("created", "in_progress", "expires", "finalizing", "completed", "failed", "expired")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.file.id,
            "completion_window": WINDOW,
            "status": self.status,
            "output_file_id": self.output.id if self.output else None,
            "error_file_id": self.error.id if self.error else None,
            **{f"{name}_at": self.times.get(name) for name in (*moments, "cancelling", "cancelled")},
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata or None,
        }

    def enter(self, status: State) -> None:
        """Go on to a state, at this time."""
        self.status = status
        self.times.setdefault(status, int(time.time()))

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in _FINAL


class Batches:
    """The batches of an endpoint. Raises RefusedError for what it does not have, or will not take."""

    def __init__(
        self, rule: BatchRule, files: Files, answer: AnswerLine, estimate: EstimateLine, seed: int
    ) -> None:
        self._rule = rule
        self._files = files
        self._answer = answer
        self._estimate = estimate
        self._seed = seed
        self._batches: dict[str, Batch] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def create(self, body: bytes) -> Batch:
        """Begin one. It works on in this event loop."""
        asked = _members(body)
        batch = Batch(
            f"batch_{next(self._numbers):08d}",
            self._files.get(str(asked.get("input_file_id"))),
            _metadata(asked.get("metadata")),
        )
        batch.enter("validating")
        batch.times |= {"created": int(time.time()), "expires": int(time.time() + self._expires_after)}
        self._batches[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    def get(self, batch_id: str) -> Batch:
        """The batch of that id."""
        if batch_id not in self._batches:
            raise RefusedError(Refusal(404, f"No batch found with id '{batch_id}'.", param="id"))
        return self._batches[batch_id]

    def all(self) -> list[Batch]:
        """Newest first."""
        return list(reversed(self._batches.values()))

    def cancel(self, batch_id: str) -> Batch:
        """Answer no more of its lines; those that were answered stay."""
        batch = self.get(batch_id)
        if batch.is_over:
            raise RefusedError(of_status(409, f"Cannot cancel a batch with status '{batch.status}'."))
        batch.enter("cancelling")
        return batch

    def close(self) -> None:
        """Stop all work."""
        for task in self._tasks:
            task.cancel()

    @property
    def _expires_after(self) -> float:
        return 86_400.0 if self._rule.expires_after is None else self._rule.expires_after

    async def _work(self, batch: Batch) -> None:
        await asyncio.sleep(self._rule.validating)
        lines = self._validated(batch)
        if lines is None:
            batch.enter("failed")
            return
        if not _is_cancelled(batch):
            batch.enter("in_progress")
        answered = await self._answer_all(batch, lines)
        cut: State = "cancelled" if _is_cancelled(batch) else "expired"
        is_whole = answered == len(lines)
        if is_whole and not _is_cancelled(batch):
            batch.enter("finalizing")
            await asyncio.sleep(self._rule.validating)
        batch.tokens = 0
        batch.enter("completed" if is_whole and not _is_cancelled(batch) else cut)

    def _validated(self, batch: Batch) -> list[tuple[str, bytes]] | None:
        """The requests with their ids; None, and `errors`, where the file cannot be worked on."""
        found: list[tuple[str, bytes]] = []
        seen: set[str] = set()
        for number, line in enumerate(batch.file.data.splitlines(), start=1):
            wrong = _wrong(line, seen)
            if wrong:
                batch.errors.append({"code": wrong[0], "message": wrong[1], "line": number, "param": None})
                return None
            asked = loads(line)
            seen.add(asked["custom_id"])
            found.append((asked["custom_id"], dumps(asked["body"])))
        batch.total = len(found)
        if not found or len(found) > self._rule.lines:
            what = "empty_file" if not found else "too_many_tasks"
            text = f"The batch must have 1 to {self._rule.lines} requests, not {len(found)}."
            batch.errors.append({"code": what, "message": text, "line": None, "param": None})
            return None
        return found if self._has_room(batch, found) else None

    def _has_room(self, batch: Batch, lines: list[tuple[str, bytes]]) -> bool:
        most = self._rule.enqueued_tokens
        tokens = sum(self._estimate(body) for _id, body in lines)
        taken = sum(other.tokens for other in self._batches.values())
        if most is not None and taken + tokens > most:
            text = (
                f"Enqueued token limit reached. Limit: {most} enqueued tokens. Please try again once some "
                "in_progress batches have been completed."
            )
            batch.errors.append(
                {"code": "token_limit_exceeded", "message": text, "line": None, "param": None}
            )
            return False
        batch.tokens = tokens
        return True

    async def _answer_all(self, batch: Batch, lines: list[tuple[str, bytes]]) -> int:
        """Answer lines in no order until all are, or time is over; how many were. The files are made."""
        ordered = list(lines)
        random.Random(f"{self._seed} {batch.id}").shuffle(ordered)
        began, end = time.time(), batch.times["created"] + self._expires_after
        good: list[bytes] = []
        bad: list[bytes] = []
        done = 0
        while done < len(ordered) and not _is_cancelled(batch) and time.time() < end:
            due = (done + 1) / len(ordered) * self._rule.seconds
            await asyncio.sleep(max(0.0, min(began + due, end) - time.time()))
            if time.time() >= end:
                break
            pace = len(ordered) * (time.time() - began) / self._rule.seconds if self._rule.seconds else 1e9
            for custom_id, body in ordered[done : max(done + 1, min(int(pace), done + _SLICE))]:
                status, answer = self._answer(body)
                line = _answered(f"batch_req_{batch.id}_{done}", custom_id, status, answer)
                (good if status == 200 else bad).append(line)
                done += 1
                batch.completed, batch.failed = len(good), len(bad)
        code = "batch_cancelled" if _is_cancelled(batch) else "batch_expired"
        text = "This request could not be executed before the completion window expired."
        for custom_id, _body in ordered[done:]:
            bad.append(_unanswered(f"batch_req_{batch.id}_x", custom_id, code, text))
        batch.output = self._made(batch, "output", good)
        batch.error = self._made(batch, "error", bad)
        return done

    def _made(self, batch: Batch, kind: str, lines: list[bytes]) -> File | None:
        data = b"".join(lines)
        return self._files.keep("batch_output", f"{batch.id}_{kind}.jsonl", data) if data else None


def _is_cancelled(batch: Batch) -> bool:
    return batch.status == "cancelling"


def _members(body: bytes) -> dict[str, Any]:
    try:
        asked = loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(of_status(400))
    if asked.get("endpoint") != ENDPOINT or asked.get("completion_window") != WINDOW:
        raise RefusedError(of_status(400, f"`endpoint` must be {ENDPOINT}, `completion_window` {WINDOW}."))
    return asked


def _metadata(given: Any) -> dict[str, str]:
    """At most 16 pairs of texts, keys of up to 64 and values of up to 512 characters."""
    if given is None:
        return {}
    fits = isinstance(given, Mapping) and len(given) <= _MOST_METADATA
    if not fits or not all(
        isinstance(value, str) and len(key) <= 64 and len(value) <= 512 for key, value in given.items()
    ):
        raise RefusedError(of_status(400, "`metadata` has at most 16 pairs of short texts."))
    return dict(given)


def _wrong(line: bytes, seen: set[str]) -> tuple[str, str] | None:
    """What is wrong with a line, as a code and in words."""
    try:
        asked = loads(line)
    except ValueError:
        return "invalid_json_line", "This line is not parseable as valid JSON."
    if not isinstance(asked, dict) or not isinstance(asked.get("custom_id"), str):
        return "missing_required_parameter", "`custom_id` is required."
    if asked["custom_id"] in seen:
        return "duplicate_custom_id", f"The custom_id '{asked['custom_id']}' is in the file twice."
    if asked.get("method") != "POST" or asked.get("url") != ENDPOINT:
        return "mismatched_endpoint", f"`method` must be POST and `url` {ENDPOINT}."
    return None if isinstance(asked.get("body"), dict) else ("missing_required_parameter", "No `body`.")


def _answered(request_id: str, custom_id: str, status: int, body: bytes) -> bytes:
    response = {"status_code": status, "request_id": request_id, "body": loads(body)}
    return dumps({"id": request_id, "custom_id": custom_id, "response": response, "error": None}) + b"\n"


def _unanswered(request_id: str, custom_id: str, code: str, message: str) -> bytes:
    error = {"code": code, "message": message}
    return dumps({"id": request_id, "custom_id": custom_id, "response": None, "error": error}) + b"\n"
