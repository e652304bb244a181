"""Lines become files of requests, each within what a batch may hold."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from batchrun.answer.needs import Needs
from batchrun.answer.task import Task
from batchrun.batches.drawing import Wanted
from batchrun.batches.lines import custom_id, request_line
from batchrun.budget import Amounts, Reservation
from batchrun.job.sections.rows import Engine

_BUFFER = 1_000_000

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Written:
    """A file of requests that is ready to go; what `Record` says of the same members.

    `rows` has the columns of `checkpoint.batches.ROWS` but `hash`.
    """

    stem: str
    path: Path
    model_index: int
    named: str
    lines: int
    tokens: int
    bound_usd: float | None
    bound_tokens: int | None
    rows: dict[str, list[Any]]
    reservation: Reservation | None


@dataclass(slots=True)
class OpenFile:
    """A file that requests to one model are added to: a provider wants one model in a batch."""

    folder: Path
    model_index: int
    named: str
    limits: Engine
    most_tokens: float
    """Estimated tokens of prompts that it may hold, where it holds more than one request."""
    reservation: Reservation | None = None
    """What is kept free of the budget for its calls."""
    stem: str = field(default_factory=lambda: secrets.token_hex(4))
    tokens: int = 0
    size: int = 0
    _bound_usd: float | None = 0.0
    _bound_tokens: int | None = 0
    _rows: dict[str, list[Any]] = field(
        default_factory=lambda: {
            name: []
            for name in (
                *("task", "call", "row", "key", "request_hash"),
                *("step", "ask", "tokens", "bound_usd", "bound_tokens"),
            )
        }
    )
    _file: Any = None

    @property
    def path(self) -> Path:
        """Swept away by the next submit: what was not created when this one ended never will be."""
        return self.folder / f"batch-{self.stem}.jsonl.tmp"

    @property
    def lines(self) -> int:
        """How many requests it holds."""
        return len(self._rows["task"])

    def takes(self, line: bytes, tokens: int) -> bool:
        """Whether a request may be added; an empty file takes any."""
        size, all_tokens = self.size + len(line), self.tokens + tokens
        fits = size <= self.limits.max_bytes and all_tokens <= self.most_tokens
        return not self.lines or (fits and self.lines < self.limits.max_lines)

    def add(self, line: bytes, task: Task, wanted: Wanted, needs: Needs, kept: Amounts) -> None:
        """Add the next call of a row, as `line_of` spells it; `kept` is what is kept free for it."""
        if self._file is None:
            self._file = self.path.open("wb", buffering=_BUFFER)
        self._file.write(line)
        self.size += len(line)
        self.tokens += needs.prompt
        self._note(task, wanted, needs)
        self._bound_usd = _plus(self._bound_usd, kept.cost_usd)
        self._bound_tokens = _plus(self._bound_tokens, kept.tokens)

    @property
    def rows(self) -> list[int]:
        """The rows whose calls it holds, by their indexes."""
        return self._rows["row"]

    def close(self) -> Written:
        """No more is added."""
        self._file.close()
        return Written(
            self.stem,
            self.path,
            self.model_index,
            self.named,
            self.lines,
            self.tokens,
            self._bound_usd,
            self._bound_tokens,
            self._rows,
            self.reservation,
        )

    def discard(self) -> None:
        """It is not to be sent."""
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)

    def _note(self, task: Task, wanted: Wanted, needs: Needs) -> None:
        bound = needs.bound
        line: dict[str, Any] = {
            "task": task.number,
            "call": wanted.call,
            "row": task.row,
            "key": task.key,
            "request_hash": task.request_hash,
            "step": wanted.step.number,
            "ask": wanted.step.digest,
            "tokens": needs.size.asked,
            "bound_usd": bound.cost_usd,
            "bound_tokens": bound.tokens,
        }
        for name, value in line.items():
            self._rows[name].append(value)


def line_of(task: Task, wanted: Wanted) -> bytes:
    """The line of a request."""
    return request_line(custom_id(task.number, wanted.call, task.request_hash), wanted.body)


def _plus(one: Number | None, other: Number | None) -> Number | None:
    return None if one is None or other is None else one + other
