"""Who may call when: slots, order, pauses, pre-flight, closing, cancellation, resume; in virtual time."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.admission import Admission, Permit, Unavailable, Wait
from batchrun.admission.gate import CallFeedback
from batchrun.budget import Amounts
from batchrun.clock import SystemClock
from batchrun.limits import Limits, Size
from batchrun.outcome import Error
from tests.clock import Stuck, VirtualClock, run_virtual
from tests.gates import admitted

REFUSED = Error("auth", "the key is wrong", "invalid_api_key", 401)
BUSY = Error("rate_limit", "come back later", None, 429)
UNLIMITED = Limits()
NOTHING = Amounts()


def admission(
    endpoint: Limits = UNLIMITED,
    models: dict[str, Limits] | None = None,
    *,
    proven: bool = True,
    jitter: Callable[[], float] = lambda: 0.5,
    epoch: float = 1_800_000_000.0,
) -> Admission:
    """Endpoint `e`, with model `m` unless told otherwise, past its pre-flight unless told otherwise."""
    names = models or {"m": Limits()}
    made = Admission(
        {"e": endpoint}, {("e", m): names[m] for m in names}, clock=VirtualClock(epoch), jitter=jitter
    )
    for gate in (route.model for route in made._routes.values()) if proven else ():
        gate.proven = True
    return made


@dataclass
class Spy:
    """Calls through an admission, and what happened when."""

    gate: Admission
    running: int = 0
    most: int = 0
    begun: list[tuple[str, float]] = field(default_factory=list)
    closed: list[tuple[str, float, Unavailable]] = field(default_factory=list)

    async def call(
        self, name: str, *, seconds: float = 1.0, tokens: int = 0, model: str = "m", answered: bool = True
    ) -> None:
        async with admitted(self.gate, "e", model, Size(tokens, tokens), NOTHING) as permit:
            now = VirtualClock().monotonic()
            if isinstance(permit, Unavailable):
                self.closed.append((name, now, permit))
                return
            self.begun.append((name, now))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await anyio.sleep(seconds)
            finally:
                self.running -= 1
            if answered:
                permit.finished(CallFeedback("ok", used=tokens, proves=True, report="ok"), NOTHING)

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.begun]

    def time(self, name: str) -> float:
        return dict(self.begun)[name]


async def together(*calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start the calls in this order."""
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call)
            await anyio.lowlevel.checkpoint()


def test_concurrency_is_used_and_never_exceeded() -> None:
    """Ten calls of a second on three slots take four seconds."""

    async def main() -> tuple[int, float]:
        spy = Spy(admission(Limits(concurrency=3)))
        await together(*(lambda: spy.call("x") for _ in range(10)))
        return spy.most, VirtualClock().monotonic()

    assert run_virtual(main) == (3, 4.0)


@pytest.mark.parametrize(
    ("endpoint", "model", "most"),
    [(Limits(concurrency=2), Limits(concurrency=5), 2), (Limits(concurrency=5), Limits(concurrency=2), 2)],
)
def test_both_gates_apply(endpoint: Limits, model: Limits, most: int) -> None:
    """The tighter of the endpoint's and the model's own limits decides."""

    async def main() -> int:
        spy = Spy(admission(endpoint, {"m": model}))
        await together(*(lambda: spy.call("x") for _ in range(10)))
        return spy.most

    assert most == run_virtual(main)


@pytest.mark.parametrize(
    ("endpoint", "model", "small"),
    [
        pytest.param(Limits(tpm=1000), Limits(), "m", id="at the endpoint"),
        pytest.param(Limits(tpm=1000), Limits(), "other", id="at the endpoint, from another model"),
        pytest.param(Limits(), Limits(tpm=1000), "m", id="at the model"),
    ],
)
def test_a_small_prompt_never_overtakes_a_large_one(endpoint: Limits, model: Limits, small: str) -> None:
    """The large one goes when its turn comes, although small ones that come later would have fitted."""

    async def main() -> Spy:
        spy = Spy(admission(endpoint, {"m": model, "other": Limits()}))

        async def later(name: str) -> None:
            await anyio.sleep(30)
            await spy.call(name, tokens=10, seconds=0, model=small)

        await together(
            lambda: spy.call("first", tokens=500, seconds=0),
            lambda: spy.call("large", tokens=900, seconds=0),
            lambda: later("small 1"),
            lambda: later("small 2"),
        )
        return spy

    spy = run_virtual(main)
    assert spy.order == ["first", "large", "small 1", "small 2"]
    assert spy.time("large") == pytest.approx(60, abs=0.1)


def test_models_share_an_endpoint_in_turn() -> None:
    """One slot, two models: the calls go in the order in which they come to the endpoint."""

    async def main() -> Spy:
        spy = Spy(admission(Limits(concurrency=1), {"a": Limits(), "b": Limits()}))
        names = [f"{model}{n}" for n in range(4) for model in "ab"]
        await together(*(lambda n=n: spy.call(n, model=n[0]) for n in names))
        return spy

    spy = run_virtual(main)
    assert spy.begun == [(f"{model}{n}", 2.0 * n + (model == "b")) for n in range(4) for model in "ab"]


def test_a_model_that_waits_keeps_no_other_model_from_the_endpoint() -> None:
    """The turn at the endpoint is asked for only when the model itself lets the call go."""

    async def main() -> Spy:
        spy = Spy(admission(Limits(concurrency=8), {"slow": Limits(rpm=1), "m": Limits()}))
        await together(
            lambda: spy.call("slow 1", model="slow", seconds=0),
            lambda: spy.call("slow 2", model="slow", seconds=0),
            lambda: spy.call("m 1"),
            lambda: spy.call("m 2"),
        )
        return spy

    spy = run_virtual(main)
    assert (spy.time("m 1"), spy.time("m 2")) == (0, 0)
    assert spy.time("slow 2") == pytest.approx(60, abs=0.1)


def test_nobody_is_admitted_during_a_pause() -> None:
    """A pause holds for the whole endpoint, and a later, shorter one does not shorten it."""

    async def main() -> Spy:
        gate = admission(Limits(concurrency=4))
        spy = Spy(gate)

        async def pauses() -> None:
            gate.pause("e", 30.0)
            gate.pause("e", 10.0)
            await anyio.sleep(20)
            gate.pause("e", 50.0)
            gate.pause("e", 40.0)

        await together(pauses, *(lambda n=n: spy.call(n) for n in "abc"))
        return spy

    assert min(at for _, at in run_virtual(main).begun) == pytest.approx(50, abs=1e-3)
    assert min(at for _, at in run_virtual(main).begun) >= 50


def test_calls_come_back_spread_after_a_pause() -> None:
    """Without rate limits the slots fill over about a second; then nothing is held back."""

    async def main() -> Spy:
        gate = admission(Limits(concurrency=100), jitter=random.Random(1).random)
        spy = Spy(gate)
        gate.pause("e", 10.0)
        await together(*(lambda n=n: spy.call(str(n), seconds=5) for n in range(100)))
        await together(*(lambda n=n: spy.call(f"later {n}") for n in range(50)))
        return spy

    spy = run_virtual(main)
    back = [at for name, at in spy.begun if "later" not in name]
    assert 0.7 < back[-1] - back[0] < 1.3
    assert max(sum(at <= t < at + 0.1 for t in back) for at in back) < 25
    later = {at for name, at in spy.begun if "later" in name}
    assert len(later) == 1


def test_one_call_goes_first() -> None:
    """Until an endpoint and model have answered, calls go one at a time: here two fail before one works."""

    async def main() -> Spy:
        spy = Spy(admission(Limits(concurrency=8), proven=False))
        await together(
            lambda: spy.call("fails 1", answered=False),
            lambda: spy.call("fails 2", answered=False),
            lambda: spy.call("works"),
            *(lambda n=n: spy.call(f"after {n}") for n in range(5)),
        )
        return spy

    spy = run_virtual(main)
    assert [spy.time(n) for n in ("fails 1", "fails 2", "works")] == [0, 1, 2]
    assert {at for name, at in spy.begun if name.startswith("after")} == {3.0}


def test_the_others_follow_as_soon_as_the_first_has_answered() -> None:
    """They do not wait for the end of its block."""

    async def main() -> Spy:
        gate = admission(Limits(concurrency=8), proven=False)
        spy = Spy(gate)

        async def first() -> None:
            async with admitted(gate, "e", "m", Size(0, 0), NOTHING) as permit:
                assert isinstance(permit, Permit)
                await anyio.sleep(1)
                permit.finished(CallFeedback("ok", proves=True, report="ok"), NOTHING)
                await anyio.sleep(100)

        await together(first, lambda: spy.call("x"), lambda: spy.call("y"))
        return spy

    assert run_virtual(main).begun == [("x", 1), ("y", 1)]


def test_a_wrong_key_costs_one_call() -> None:
    """The first call closes the endpoint; all others get the reason and none is sent."""

    async def main() -> Spy:
        gate = admission(Limits(concurrency=8), proven=False)
        spy = Spy(gate)

        async def first() -> None:
            async with admitted(gate, "e", "m", Size(0, 0), NOTHING) as permit:
                assert isinstance(permit, Permit)
                await anyio.sleep(1)
                gate.close("e", REFUSED)

        await together(first, *(lambda: spy.call("x") for _ in range(20)))
        return spy

    spy = run_virtual(main)
    assert spy.begun == []
    assert [(at, closed) for _, at, closed in spy.closed] == [
        (1.0, Unavailable("e", None, REFUSED, None))
    ] * 20


@pytest.mark.parametrize(
    ("limits", "holders"),
    [
        pytest.param(Limits(rpm=1), 1, id="asleep until the rate allows"),
        pytest.param(Limits(concurrency=1), 1, id="waiting for a slot"),
        pytest.param(Limits(), 0, id="asleep until a pause ends"),
    ],
)
@pytest.mark.parametrize("gate_with_limits", ["endpoint", "model"])
@pytest.mark.parametrize("close", ["endpoint", "model"])
def test_closing_reaches_everyone_who_waits_at_once(
    limits: Limits, holders: int, gate_with_limits: str, close: str
) -> None:
    """Whatever they wait for, and whichever of the two closes."""

    async def main() -> list[float]:
        gate = admission(limits) if gate_with_limits == "endpoint" else admission(models={"m": limits})
        spy = Spy(gate)
        if not holders:
            gate.pause("e", 500.0)

        async def closes() -> None:
            await anyio.sleep(2)
            gate.close("e", BUSY, model="m" if close == "model" else None)

        calls = [lambda: spy.call("holder", seconds=100)] * holders
        await together(*calls, closes, *(lambda: spy.call("x") for _ in range(10)))
        return [at for _, at, _ in spy.closed]

    assert run_virtual(main) == [2.0] * 10


def test_a_closed_model_leaves_the_others_open() -> None:
    """`is_open` and `reasons` say which; a closed endpoint closes all its models."""

    async def main() -> None:
        gate = admission(models={"a": Limits(), "b": Limits()})
        gate.close("e", REFUSED, model="a")
        assert (gate.is_available("e", "a"), gate.is_available("e", "b")) == (False, True)
        assert gate.reasons() == [Unavailable("e", "a", REFUSED, None)]
        spy = Spy(gate)
        await together(*(lambda: spy.call("b", model="b") for _ in range(3)))
        assert spy.most == 3
        gate.close("e", BUSY, seconds=5)
        assert not gate.is_available("e", "b")
        assert gate.reasons() == [
            Unavailable("e", None, BUSY, 1_800_000_006.0),
            Unavailable("e", "a", REFUSED, None),
        ]

    run_virtual(main)


def test_a_timed_closing_ends_by_itself_with_one_call_first() -> None:
    """After the time the server asked for, one call tries; and a shorter closing shortens nothing."""

    async def main() -> Spy:
        gate = admission(Limits(concurrency=8))
        spy = Spy(gate)
        gate.close("e", BUSY, seconds=100)
        gate.close("e", BUSY, seconds=5)
        await anyio.sleep(99)
        await spy.call("too early")
        await anyio.sleep(1)
        await together(lambda: spy.call("tries"), *(lambda n=n: spy.call(n) for n in "abc"))
        return spy

    spy = run_virtual(main)
    assert [name for name, _, _ in spy.closed] == ["too early"]
    assert spy.begun == [("tries", 100), ("a", 101), ("b", 101), ("c", 101)]


def test_waiting_says_what_for_and_how_long() -> None:
    """For the progress line: limits of the job, a pause the server named, one of ours; not a busy slot."""

    async def main() -> None:
        gate = admission(Limits(concurrency=1), {"m": Limits(), "slow": Limits(rpm=1)})
        spy = Spy(gate)
        seen: list[list[Wait]] = []

        async def looks() -> None:
            seen.append(gate.waiting())
            await anyio.sleep(10)
            gate.pause("e", 20.0)
            await anyio.sleep(1)
            seen.append(gate.waiting())
            gate.pause("e", 30.0, "rate limit")
            seen.append(gate.waiting())
            await anyio.sleep(30)
            seen.append(gate.waiting())

        await spy.call("holder", model="slow", seconds=0)
        await together(
            lambda: spy.call("x", model="slow"),
            lambda: spy.call("y", seconds=10.5),
            lambda: spy.call("z", seconds=0),
            looks,
        )
        assert [[(w.model, w.reason, round(w.seconds)) for w in waits] for waits in seen] == [
            [("slow", "limits", 60)],
            [(None, "retry-after", 9), ("slow", "limits", 49)],
            [(None, "rate limit", 19), ("slow", "limits", 49)],
            [("slow", "limits", 19)],
        ]

    run_virtual(main)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_cancellation_at_any_moment_leaks_nothing(seed: int) -> None:
    """Calls are cancelled in line, asleep, at work, amid pauses and closings; then all slots are free."""
    rng = random.Random(seed)
    slots = rng.randint(1, 4)
    limits = Limits(rpm=rng.choice([None, 200]), tpm=rng.choice([None, 6000]), concurrency=slots)
    models = {"a": Limits(), "b": Limits(rpm=rng.choice([None, 100]), concurrency=rng.choice([None, 2]))}

    async def main() -> None:
        gate = admission(limits, models, proven=rng.random() < 0.5, jitter=rng.random)
        spy = Spy(gate)

        async def cancelled(model: str) -> None:
            await anyio.sleep(rng.choice([0, 0, rng.random() * 3]))
            with anyio.move_on_after(rng.choice([0, 0.5, 1, rng.random() * 5, 100])):
                await spy.call("x", model=model, seconds=rng.choice([0, 0.5, 1]), tokens=rng.randint(0, 300))

        async def disturbs() -> None:
            for _ in range(3):
                await anyio.sleep(rng.choice([0.5, 1, rng.random()]))
                if rng.random() < 0.4:
                    gate.pause("e", VirtualClock().monotonic() + rng.random() * 3)
                else:
                    gate.close("e", BUSY, model=rng.choice([None, "b"]), seconds=rng.random())

        calls = [lambda m=m: cancelled(m) for m in rng.choices("ab", k=30)]
        await together(disturbs, *calls)
        assert (spy.running, spy.most <= slots) == (0, True)

        await anyio.sleep(200)
        await spy.call("proves", model="a")
        spy.begun.clear()
        started = VirtualClock().monotonic()
        await together(*(lambda: spy.call("last", model="a") for _ in range(slots)))
        assert len(spy.begun) == slots
        spread = 0 if limits.rpm is None and limits.tpm is None else 2
        assert all(at <= started + spread for _, at in spy.begun)

    run_virtual(main)


def test_a_failing_block_gives_its_slot_back() -> None:
    """An exception inside the block passes through, and the next call goes."""

    async def main() -> None:
        gate = admission(Limits(concurrency=1))
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with admitted(gate, "e", "m", Size(0, 0), NOTHING):
                    raise ZeroDivisionError

    run_virtual(main)


def test_a_run_at_the_limit_uses_it_and_is_never_refused() -> None:
    """64 workers against a server that counts over 60 s: through the gates as through the bare windows."""
    rng = random.Random(3)
    arrivals: list[float] = []

    async def main() -> None:
        gate = admission(Limits(rpm=600, concurrency=64))

        async def worker() -> None:
            while VirtualClock().monotonic() < 600:
                async with admitted(gate, "e", "m", Size(100, 100), NOTHING) as permit:
                    assert isinstance(permit, Permit)
                    await anyio.sleep(rng.uniform(0, 0.3))
                    arrivals.append(VirtualClock().monotonic())
                    await anyio.sleep(rng.uniform(0, 5))
                    permit.finished(CallFeedback("ok", used=100, report="ok"), NOTHING)

        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(worker)

    run_virtual(main)
    arrivals.sort()
    assert all(later - first > 60 for first, later in zip(arrivals, arrivals[600:], strict=False))
    assert sum(at <= 600 for at in arrivals) >= 0.95 * 6000


def test_a_resumed_run_honours_what_the_last_one_sent() -> None:
    """Windows pass through JSON to a process with another clock: here calls sent at 0 and 10 seconds."""
    models = {"m": Limits(), "own": Limits(tpm=1000)}

    async def before() -> tuple[str, float]:
        gate = admission(Limits(rpm=2), models)
        spy = Spy(gate)
        await together(lambda: spy.call("x", tokens=5), lambda: spy.call("y", model="own", tokens=900))
        assert spy.time("y") == pytest.approx(10, abs=0.5)
        return json.dumps(gate.snapshot()), VirtualClock().wall()

    text, ended = run_virtual(before)

    async def after() -> Spy:
        gate = admission(Limits(rpm=2), models, epoch=ended + 4)  # 15 s after the first call
        gate.restore(json.loads(text))
        spy = Spy(gate)
        await spy.call("small", model="own", tokens=50, seconds=0)
        await spy.call("large", model="own", tokens=500, seconds=0)
        return spy

    spy = run_virtual(after)
    assert spy.time("small") == pytest.approx(61 - 15, abs=0.6)
    assert spy.time("large") == pytest.approx(71 - 15, abs=0.6)


def test_a_resumed_run_honours_what_the_last_one_was_told() -> None:
    """Pauses and timed closings go on; a closing for the run, a wrong key, is tried anew."""

    async def before() -> str:
        gate = admission(models={"m": Limits(), "closed": Limits(), "refused": Limits(), "gone": Limits()})
        gate.pause("e", 30.0, "rate limit")
        gate.close("e", BUSY, model="closed", seconds=50)
        gate.close("e", BUSY, model="gone", seconds=50)
        gate.close("e", REFUSED, model="refused")
        return json.dumps(gate.snapshot())

    text = run_virtual(before)

    async def after() -> None:
        gate = admission(
            models={"m": Limits(), "closed": Limits(), "refused": Limits()}, epoch=1_800_000_010.0
        )
        gate.restore(json.loads(text))
        (closed,) = gate.reasons()
        assert (closed.model, closed.reason) == ("closed", BUSY)
        assert closed.until == pytest.approx(1_800_000_050.0)
        spy = Spy(gate)
        await spy.call("x", model="refused")
        assert spy.time("x") == pytest.approx(20, abs=0.01)

    run_virtual(after)


def test_a_call_read_from_a_journal_weighs_at_both_gates() -> None:
    """After a kill there is no snapshot; the journal's `sent` records stand in for it."""

    async def main() -> float:
        gate = admission(Limits(rpm=1), {"m": Limits(tpm=100)})
        gate.charge_past_call("e", "m", VirtualClock().wall() - 20, 100)
        gate.charge_past_call("e", "m", VirtualClock().wall() - 2000, 100)
        spy = Spy(gate)
        await spy.call("x", tokens=100)
        return spy.time("x")

    assert run_virtual(main) == pytest.approx(41, abs=0.1)


def test_a_model_that_is_not_listed_is_a_bug() -> None:
    """It raises, instead of going past limits that nobody gave."""

    async def main() -> None:
        with pytest.raises(KeyError):
            async with admitted(admission(), "e", "other", Size(0, 0), NOTHING):
                pass

    run_virtual(main)


def test_virtual_time_tells_when_nothing_can_happen_any_more() -> None:
    """A lost wake-up ends a test instead of hanging it."""

    async def main() -> None:
        await anyio.Event().wait()

    with pytest.raises(Stuck):
        run_virtual(main)


def test_the_system_clock_sleeps_and_can_sleep_for_ever() -> None:
    """The real one: it waits at least as long as asked, and infinity ends by cancellation alone."""
    clock = SystemClock()

    async def main() -> None:
        begun, wall = clock.monotonic(), clock.wall()
        await clock.sleep(0.01)
        assert clock.monotonic() - begun >= 0.009
        assert clock.wall() > wall
        with anyio.move_on_after(0.01) as scope:
            await clock.sleep(math.inf)
        assert scope.cancelled_caught

    anyio.run(main)


def test_who_waits_for_tokens_goes_when_an_answer_gives_some_back() -> None:
    """The first in line sleeps until the window is over; it is woken when less was used than was reserved."""

    async def main() -> Spy:
        spy = Spy(admission(Limits(tpm=100, count="used")))

        async def first() -> None:
            async with admitted(spy.gate, "e", "m", Size(100, 100), NOTHING) as permit:
                assert isinstance(permit, Permit)
                await anyio.sleep(1)
                permit.finished(CallFeedback("ok", used=10, proves=True, report="ok"), NOTHING)

        await together(first, lambda: spy.call("second", tokens=80))
        return spy

    assert run_virtual(main).time("second") == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("used", [0, None])
def test_a_call_that_took_nothing_gives_its_tokens_back(used: int | None) -> None:
    """A request that the server finds wrong takes none of the minute; one of which nothing is known, all."""

    async def main() -> Spy:
        spy = Spy(admission(Limits(tpm=100, count="used")))

        async def first() -> None:
            async with admitted(spy.gate, "e", "m", Size(100, 100), NOTHING) as permit:
                assert isinstance(permit, Permit)
                await anyio.sleep(1)
                permit.finished(CallFeedback("nothing", used=used, proves=True, report="ok"), NOTHING)

        await together(first, lambda: spy.call("second", tokens=80))
        return spy

    assert run_virtual(main).time("second") == pytest.approx(1 if used == 0 else 61, abs=0.1)


def test_rows_with_another_model_leave_the_line_when_the_circuit_opens() -> None:
    """Also from behind a row that has no other model, and waits until the endpoint is asked again."""
    left: dict[int, float] = {}
    sent: dict[int, float] = {}

    async def main() -> None:
        gate, clock = admission(Limits(concurrency=50)), VirtualClock()
        down = Error("server", "it is down")

        async def row(number: int, *, ok: bool = True, leave_for: frozenset[str] = frozenset()) -> None:
            async with admitted(gate, "e", "m", Size(1, 1), NOTHING, leave_for=leave_for) as permit:
                if isinstance(permit, Unavailable):
                    left[number] = clock.monotonic()
                    return
                sent[number] = clock.monotonic()
                feedback = CallFeedback(
                    "ok" if ok else "failed",
                    proves=True,
                    report="ok" if ok else "failed",
                    row=number,
                    error=None if ok else down,
                )
                permit.finished(feedback, NOTHING)

        leaves = frozenset({"server"})
        await row(0)
        gate.pause("e", 1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(row, 1)  # first in line, and without another model
            await clock.sleep(0.1)
            group.start_soon(partial(row, 2, leave_for=leaves))
            await clock.sleep(0.1)
            permits = gate._endpoints["e"]
            for number in range(100, 130):  # calls that were under way fail, one after another
                charge = permits.rates.charge(clock.monotonic(), Size(1, 1))
                feedback = CallFeedback("failed", report="failed", row=number, error=down)
                gate.route("e", "m").finished((charge, charge), feedback)
            assert gate.circuit_is_open("e")
            await clock.sleep(0.1)
            group.start_soon(partial(row, 3, leave_for=leaves))
        assert gate.short == permits.in_flight == 0

    run_virtual(main)
    assert left == pytest.approx({2: 0.2, 3: 0.3}, abs=0.01)
    assert sent.keys() == {0, 1}
    assert sent[1] > 4
