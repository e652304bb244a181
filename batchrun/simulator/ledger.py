"""The simulator's record of every call it received and every answer it delivered: the truth in tests.

A file of JSON lines, two or more for each call:

    {"event": "call", "call": 1, "at": …, "model": …, "key": …, "prompt": …, "prompt_tokens": 12, …}
    {"event": "answer", "call": 1, "at": …, "status": 200, "delivered": true, "billed": true, …}

What a run really cost is the sum of the answers' `cost_usd`, delivered or not.

A `call` is written when its whole request has been received, an `answer` just before the last byte
of it leaves; so whoever has an answer finds it here. Where those bytes could not leave, a second
`answer` corrects the first. Lines go out by one unbuffered write each and survive kill -9.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchrun.codec import dumps, loads
from batchrun.errors import UsageError

PROMPT_LENGTH = 200
"""Characters kept of the last user message."""

_BEGINNING = b'{"event":"'
"""Of every line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call was answered."""

    at: float
    """Just before the first byte left, or when the answer was given up; seconds since the epoch."""
    status: int | None
    """None when not even the headers were sent."""
    delivered: bool
    """All bytes were handed to the kernel while the connection was open."""
    billed: bool
    """A completion was generated, whether or not it was delivered."""
    retry_after: float | None = None
    fault: str | None = None
    """The fault that struck, such as `reset mid_body`."""
    completion_tokens: int = 0
    prompt_tokens: int = 0
    """Tokens of the prompt that were billed."""
    cached_tokens: int = 0
    """Those of them that were found in the cache."""
    cost_usd: float | None = None
    """What was billed; None where nothing was, or where the simulator has no prices."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the simulator saw it."""

    call: int
    """Number of the call, from 1, in the order of arrival."""
    at: float
    """When the whole request had been received, seconds since the epoch."""
    model: str | None
    key: str
    """Digest of the request's members that decide its answer: the same request has the same key."""
    prompt: str
    """The start of the last user message."""
    prompt_tokens: int
    api_key_ok: bool
    body: Mapping[str, Any] | None = None
    """The request's body, where the simulator was told to keep bodies and it was a JSON object."""
    answer: Answer | None = None
    """None while it is unanswered, and for good when the simulator ended before it answered."""


@dataclass
class Counts:
    """What a ledger counted since it was opened."""

    calls: int = 0
    delivered: int = 0
    billed: int = 0
    cost_usd: float = 0.0
    """What was billed, where the simulator has prices."""
    statuses: Counter[int | None] = field(default_factory=Counter)
    """Answers by status."""


class Ledger:
    """Writes the events to a file, or only counts them when there is none.

    Opening a file that holds calls already continues their numbers, and takes away what a kill has left of a
    line. A file has one writer. Raises UsageError as `read_ledger`, and OSError.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.counts = Counts()
        calls, whole, torn = _read(path) if path and path.exists() else ([], 0, b"")
        self._last = max((call.call for call in calls), default=0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = None if path is None else os.open(path, flags, 0o600)
        if self._file is not None and torn:
            os.ftruncate(self._file, whole)

    def call(
        self,
        *,
        model: str | None,
        key: str,
        prompt: str,
        prompt_tokens: int,
        api_key_ok: bool,
        body: Mapping[str, Any] | None = None,
    ) -> int:
        """Record a call that has been received; its number. A file holds `body` too, where there is one."""
        self._last += 1
        self.counts.calls += 1
        start = prompt[:PROMPT_LENGTH]
        call = Call(self._last, time.time(), model, key, start, prompt_tokens, api_key_ok, body)
        if self._file is not None:
            left_out = ("answer",) if body is not None else ("answer", "body")
            fields = {name: getattr(call, name) for name in Call.__slots__ if name not in left_out}
            self._write({"event": "call", **fields})
        return call.call

    def answer(self, call: int, answer: Answer) -> None:
        """Record how `call` is being answered."""
        self.counts.delivered += answer.delivered
        self.counts.billed += answer.billed
        self.counts.cost_usd += answer.cost_usd or 0.0
        self.counts.statuses[answer.status] += 1
        if self._file is not None:
            fields = {name: getattr(answer, name) for name in Answer.__slots__}
            self._write({"event": "answer", "call": call, **fields})

    def correct(self, call: int, wrong: Answer, right: Answer) -> None:
        """Record that `call` was answered otherwise than was just recorded."""
        self.counts.delivered -= wrong.delivered
        self.counts.billed -= wrong.billed
        self.counts.cost_usd -= wrong.cost_usd or 0.0
        self.counts.statuses[wrong.status] -= 1
        self.answer(call, right)

    def close(self) -> None:
        """Close the file; further events are errors where there is one."""
        if self._file is not None:
            os.close(self._file)

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            line = dumps(event) + b"\n"
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, "The ledger has no room for a whole line", str(self.path))


def read_ledger(path: Path) -> list[Call]:
    """The calls in `path` in the order of arrival, each with its answer. A torn last line is left out.

    Raises UsageError for a file that is no ledger.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Call], int, bytes]:
    """The calls, the size of the whole lines in bytes, and what there is of a line after them."""
    calls: dict[int, Call] = {}
    whole, torn = 0, b""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                torn = line
                break
            try:
                _merge(loads(line), calls)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise UsageError(
                    f"{path}:{number}: is no line of a simulator's ledger",
                    hint="Name a new file, or the ledger of an earlier simulator.",
                ) from error
            whole += len(line)
    return list(calls.values()), whole, torn


def _merge(event: dict[str, Any], calls: dict[int, Call]) -> None:
    kind, number = event.pop("event"), int(event.pop("call"))
    if kind == "call":
        calls[number] = Call(number, **event)
    else:
        calls[number] = replace(calls[number], answer=Answer(**event))
