"""One call and its copy, in virtual time: which of the two counts, and what is never sent or recorded."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from batchrun.admission import Admission, Unavailable
from batchrun.answer.calls import Caller
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.task import OutOfTimeError, Question, RowProgress, StepKey, Task
from batchrun.budget import Amounts, Budget, Caps
from batchrun.client import Client, Timeouts
from batchrun.limits import Limits
from batchrun.policy.judge import CallOutcome
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.reading import JournalReader
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.summary import Counters
from tests.answer.test_calls import write_job
from tests.clock import VirtualClock, run_virtual
from tests.stack import EPOCH, OK, Says, completion, says

SHORT = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
USED = says(200, completion() | {"usage": SHORT})
"""An answer that took far less than was reserved for it."""
LONG = 200.0
"""Seconds after which a row is given up."""


@dataclass
class Copying:
    """A proven model whose next calls get `answers`, in the order in which they are sent."""

    folder: Path
    answers: list[Says]
    budget: Budget | None = None
    sent: list[float] = field(default_factory=list)
    ended: float | None = None
    judged: CallOutcome | Unavailable | None = None

    def __post_init__(self) -> None:
        job = write_job(self.folder)
        self.clock, self.in_flight_calls, self.counters = VirtualClock(EPOCH), InFlightCalls(), Counters()
        self.admission = Admission(
            {"local": Limits(concurrency=9)},
            {("local", "small"): Limits()},
            clock=self.clock,
            jitter=lambda: 0.5,
            budget=self.budget,
        )
        for gate in (route.model for route in self.admission._routes.values()):
            gate.proven = True
        client = Client(
            "http://local/v1",
            headers={},
            timeouts=Timeouts(5, 500, 500),
            transport=httpx.MockTransport(self._answer),
            clock=self.clock.monotonic,
        )
        self.journal = Journal(self.folder, 1, self.clock)
        self.caller = Caller(
            job.models,
            {"local": client},
            ModelPrices(job, EPOCH),
            self.admission,
            self.journal,
            self.in_flight_calls,
            self.counters,
            self.clock,
        )
        request = Renderer(job).render({"text": "hello"})
        self.model = job.models[0]
        self.task = Task(0, 0, "r0", 0, request.request_hash, request, (0,))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(self.clock.monotonic())
        return await self.answers[len(self.sent) - 1](request)

    async def row(self, timeout: float = LONG) -> None:
        """Ask, as a row does that has so much time."""
        progress = RowProgress(0, self.clock.monotonic() + timeout)
        with suppress(OutOfTimeError):
            question = Question(self.task, StepKey(0, ""), 0, self.model, b"{}", progress)
            self.judged = await self.caller.call(question)
        self.ended = self.clock.monotonic()
        self.records = self.journal.path.read_bytes()

    async def run(self, *moments: tuple[float, Callable[[], Any]], timeout: float = LONG) -> None:
        """Ask, and do something at each of these times; the copy is sent by `copy`."""
        async with anyio.create_task_group() as self.group:
            self.group.start_soon(self.row, timeout)
            for at, do in moments:
                await self.clock.sleep(at - self.clock.monotonic())
                do()
        self.journal.close()
        assert self.admission._endpoints["local"].in_flight == self.admission.short == 0

    def copy(self) -> None:
        """Have a copy of the call under way sent, as the tail does."""
        (flight,) = self.in_flight_calls
        assert flight.copy is not None
        flight.copy_ended = anyio.Event()
        self.group.start_soon(flight.copy, flight)

    @property
    def answered(self) -> bool:
        return isinstance(self.judged, CallOutcome) and self.judged.completion is not None


def played(main: Callable[[], Coroutine[Any, Any, Copying]]) -> Copying:
    return run_virtual(main)


@pytest.mark.parametrize("turns", range(8))
def test_no_copy_is_sent_once_its_row_was_answered(tmp_path: Path, turns: int) -> None:
    """Whatever lies between the look at the call and the copy's first step: 0 to 7 turns of the loop."""

    async def main() -> Copying:
        land = anyio.Event()

        async def when_told(_: httpx.Request) -> httpx.Response:
            await land.wait()
            return httpx.Response(200, json=completion())

        made = Copying(tmp_path, [when_told, says(200, completion(), after=100)])
        async with anyio.create_task_group() as made.group:
            made.group.start_soon(made.row)
            await made.clock.sleep(1)
            land.set()
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            if len(made.in_flight_calls):
                made.copy()
        made.journal.close()
        return made

    made = played(main)
    assert (made.answered, made.ended, made.sent) == (True, 1.0, [0.0])


def test_a_copy_in_line_is_let_go_with_its_row(tmp_path: Path) -> None:
    """It waits for a pause of the endpoint when the first call is answered."""

    async def main() -> Copying:
        made = Copying(tmp_path, [says(200, completion(), after=5), OK])
        await made.run((1, lambda: made.admission.pause("local", 60.0)), (2, made.copy))
        return made

    made = played(main)
    assert (made.answered, made.ended, made.sent, made.counters.hedged) == (True, 5.0, [0.0], 0)


def test_what_a_landing_leaves_of_the_budget_is_not_spent_on_its_copy(tmp_path: Path) -> None:
    """A copy waits for a part of the budget, and the very landing of its original leaves it that."""

    async def main() -> Copying:
        budget = Budget(Caps(tokens=3_000))
        slow = says(200, completion() | {"usage": SHORT}, after=10)
        made = Copying(tmp_path, [slow, USED], budget)

        def take_the_rest() -> None:
            left = 3_000 - (budget.reserved.tokens or 0) - sum(SHORT.values())
            reservation = budget.reserve(Amounts(0.0, left, 1))
            assert reservation, "another call may have the rest"
            budget.hold(reservation)

        await made.run((1, lambda: made.admission.pause("local", 3.0)), (2, made.copy), (2.5, take_the_rest))
        assert (budget.spent.tokens, budget.spent.requests, budget.in_flight) == (10, 1, 0)
        return made

    made = played(main)
    assert (made.answered, made.ended, made.sent, made.counters.hedged) == (True, 10.0, [0.0], 0)


def test_a_budget_that_ends_while_a_copy_waits_ends_the_copy_alone(tmp_path: Path) -> None:
    """The original takes all that it had reserved: nothing is left for the copy, and the row is answered."""

    async def main() -> Copying:
        budget = Budget(Caps(tokens=3_000))
        all_of_it = {"prompt_tokens": 1_000, "completion_tokens": 202, "total_tokens": 1_202}
        slow = says(200, completion() | {"usage": all_of_it}, after=10)
        made = Copying(tmp_path, [slow, USED], budget)

        def take_the_rest() -> None:
            reservation = budget.reserve(Amounts(0.0, 3_000 - (budget.reserved.tokens or 0), 1))
            assert reservation, "another call may have the rest"
            budget.hold(reservation)

        await made.run((1, lambda: made.admission.pause("local", 3.0)), (2, made.copy), (2.5, take_the_rest))
        return made

    made = played(main)
    assert (made.answered, made.ended, made.sent, made.counters.hedged) == (True, 10.0, [0.0], 0)


def test_a_call_that_fails_waits_for_its_copy(tmp_path: Path) -> None:
    """The good answer of the copy is the row's: no third call is paid."""

    async def main() -> Copying:
        made = Copying(tmp_path, [says(500, after=5), says(200, completion(), after=8)])
        await made.run((2, made.copy))
        return made

    made = played(main)
    assert (made.answered, made.ended, made.sent) == (True, 10.0, [0.0, 2.0])


def test_a_row_whose_time_is_over_leaves_no_copy_under_way(tmp_path: Path) -> None:
    """The call failed, and its copy hangs: no record of it comes after the row's outcome."""

    async def main() -> Copying:
        made = Copying(tmp_path, [says(500, after=5), says(200, completion(), after=100)])
        await made.run((2, made.copy), timeout=20)
        return made

    made = played(main)
    assert (made.ended, made.sent, made.answered) == (20.0, [0.0, 2.0], False)
    assert made.journal.path.read_bytes() == made.records
    kinds = [type(record) for record, _ in JournalReader(made.journal.path).records()]
    assert kinds[:3] == [Sent, Sent, Answered]
