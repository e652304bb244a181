"""Batches of a simulated endpoint: requests in a file, answered some time later (OpenAI, Batch API).

A batch is validated, works, is finalized and completed; it may fail when it is validated, expire with some of
its lines answered, or be cancelled. Answers are in no order. Each line that is answered, or fails, is a call
in the ledger, at the price of a batch.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from batchrun.codec import loads
from batchrun.simulator.batches.files import File, Files
from batchrun.simulator.batches.lines import (
    ENDPOINT,
    Checker,
    Cut,
    Line,
    WrongLineError,
    answered,
    body_of,
    unanswered,
)
from batchrun.simulator.config import BatchRule
from batchrun.simulator.reading.checks import pairs
from batchrun.simulator.refusal import Refusal, RefusedError, of_status

State: TypeAlias = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]

AnswerLine: TypeAlias = Callable[[bytes], tuple[int, bytes]]
"""Answers the body of one request now: status and body. It keeps the ledger."""

WINDOW = "24h"
_FINAL = ("failed", "completed", "expired", "cancelled")
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
    cancel_wished: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled_at: float = 0.0
    """When that was wished."""

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

    def fail(self, code: str, message: str, line: int | None = None) -> None:
        """Note what is wrong with it, and in which line of its file."""
        self.errors.append({"code": code, "message": message, "line": line, "param": None})

    @property
    def is_cancelled(self) -> bool:
        """Whether it is about to be."""
        return self.status == "cancelling"

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in _FINAL


class Batches:
    """The batches of an endpoint. Raises RefusedError for what it does not have, or will not take."""

    def __init__(self, rule: BatchRule, files: Files, answer: AnswerLine, seed: int) -> None:
        self._rule = rule
        self._files = files
        self._answer = answer
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
            dict(pairs(asked.get("metadata"), "metadata")),
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
        if not batch.is_cancelled:
            batch.cancelled_at = time.time()
            batch.enter("cancelling")
            batch.cancel_wished.set()
        return batch

    def close(self) -> None:
        """Stop all work."""
        for task in self._tasks:
            task.cancel()

    @property
    def _expires_after(self) -> float:
        return 86_400.0 if self._rule.expires_after is None else self._rule.expires_after

    async def _work(self, batch: Batch) -> None:
        await self._pause(batch, self._rule.validating)
        lines = await self._validated(batch)
        if lines is None:
            batch.enter("failed")
            return
        if not batch.is_cancelled:
            batch.enter("in_progress")
        is_whole = await self._answer_all(batch, lines) == len(lines)
        if is_whole and not batch.is_cancelled:
            batch.enter("finalizing")
            await self._pause(batch, self._rule.validating)
        await self._be_cancelled(batch)
        batch.tokens = 0
        final: State = "completed" if is_whole else "expired"
        batch.enter("cancelled" if batch.is_cancelled else final)

    async def _pause(self, batch: Batch, seconds: float) -> None:
        """Wait; where the rule says how long it takes to cancel, no longer than until that is wished."""
        if self._rule.cancelling is None:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await batch.cancel_wished.wait()

    async def _be_cancelled(self, batch: Batch) -> None:
        """Wait as long as it takes to cancel a batch, where that is wished."""
        if batch.is_cancelled and self._rule.cancelling:
            await asyncio.sleep(max(0.0, batch.cancelled_at + self._rule.cancelling - time.time()))

    async def _validated(self, batch: Batch) -> list[Line] | None:
        """The requests; None, and `errors`, where the file cannot be worked on."""
        found: list[Line] = []
        checker = Checker(self._rule.models)
        start = tokens = 0
        for number, line in enumerate(io.BytesIO(batch.file.data), start=1):
            try:
                custom_id, body = checker.check(line)
            except WrongLineError as error:
                batch.fail(error.code, str(error), number)
                return None
            found.append(Line(custom_id, start, start + len(line)))
            start += len(line)
            tokens += len(body) // 4
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        batch.total = len(found)
        if not found or len(found) > self._rule.lines:
            text = f"The batch must have 1 to {self._rule.lines} requests, not {len(found)}."
            batch.fail("too_many_tasks" if found else "empty_file", text)
            return None
        return found if self._has_room(batch, tokens) else None

    def _has_room(self, batch: Batch, tokens: int) -> bool:
        most = self._rule.enqueued_tokens
        taken = sum(other.tokens for other in self._batches.values())
        if most is not None and taken + tokens > most:
            text = (
                f"Enqueued token limit reached. Limit: {most} enqueued tokens. Please try again once some "
                "in_progress batches have been completed."
            )
            batch.fail("token_limit_exceeded", text)
            return False
        batch.tokens = tokens
        return True

    async def _answer_all(self, batch: Batch, lines: list[Line]) -> int:
        """Answer lines in no order until all are, or time is over; how many were. The files are made."""
        random.Random(f"{self._seed} {batch.id}").shuffle(lines)
        began, end = time.time(), batch.times["created"] + self._expires_after
        good, bad = io.BytesIO(), io.BytesIO()
        done = 0
        while done < len(lines) and not batch.is_cancelled:
            due = (done + 1) / len(lines) * self._rule.seconds
            await self._pause(batch, max(0.0, min(began + due, end) - time.time()))
            if batch.is_cancelled or time.time() >= end:
                break
            pace = len(lines) * (time.time() - began) / self._rule.seconds if self._rule.seconds else 1e9
            for line in lines[done : max(done + 1, min(int(pace), done + _SLICE))]:
                is_good, answer = self._answered(batch, line, done)
                (good if is_good else bad).write(answer)
                done += 1
                batch.completed, batch.failed = batch.completed + is_good, batch.failed + (not is_good)
        await self._be_cancelled(batch)
        for place, line in enumerate(lines[done:], start=done):
            code: Cut = "batch_cancelled" if batch.is_cancelled else "batch_expired"
            bad.write(unanswered(f"batch_req_{batch.id}_{place}", line.custom_id, code))
        batch.output = self._made(batch, "output", good.getvalue())
        batch.error = self._made(batch, "error", bad.getvalue())
        return done

    def _answered(self, batch: Batch, line: Line, place: int) -> tuple[bool, bytes]:
        """Answer one: whether that went well, and the line that says so."""
        status, answer = self._answer(body_of(batch.file.data[line.start : line.end]))
        return status == 200, answered(f"batch_req_{batch.id}_{place}", line.custom_id, status, answer)

    def _made(self, batch: Batch, kind: str, data: bytes) -> File | None:
        return self._files.keep("batch_output", f"{batch.id}_{kind}.jsonl", data) if data else None


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
