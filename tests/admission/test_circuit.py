"""When an endpoint is left alone, for how long, and who asks it first afterwards."""

from __future__ import annotations

import math
import random
from itertools import count

import pytest

from batchrun.admission.circuit import Circuit, Report, report
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.policy.decision import RetryRules
from batchrun.policy.judge import judge

RULES = RetryRules(max_attempts=3)
OK: Report = "ok"
FAILED: Report = "failed"
UNREACHED: Report = "unreached"


class Endpoint:
    """A circuit, and calls of a row each that are over at once, `every` seconds apart."""

    def __init__(self, *, reached: bool = True, every: float = 0.0, retry: RetryRules = RULES) -> None:
        self.circuit = Circuit(retry)
        self.now = 100.0
        self.rows = count()
        self.every = every
        if reached:
            self.calls("ok")

    def calls(self, *reports: Report | None, row: int | None = None) -> int | None:
        """Make these calls; after how many of them the circuit opened, if it did."""
        for number, said in enumerate(reports, 1):
            self.now += self.every
            assert self.circuit.delay(self.now) == 0
            self.circuit.began()
            which = next(self.rows) if row is None else row
            self.circuit.ended(self.now, self.now, said, row=which, jitter=0.5)
            if self.circuit.state(self.now) != "closed":
                return number
        return None

    def rest(self) -> float:
        """Wait until the circuit lets a probe through; how long that took."""
        waited = self.circuit.delay(self.now)
        self.now += waited
        return waited


@pytest.mark.parametrize(
    ("reports", "opened"),
    [
        pytest.param([OK] * 20 + [FAILED] * 20, 28, id="when 8 of the last 10 failed"),
        pytest.param([FAILED] * 20, 9, id="with few calls before"),
        pytest.param([OK] * 20 + [UNREACHED] * 9, 25, id="when 5 in a row did not arrive"),
        pytest.param([*[FAILED] * 4, OK] * 99, None, id="never 5 in a row"),
        pytest.param([*[OK] * 3, *[FAILED] * 5] * 99, None, id="never 8 of 10"),
        pytest.param([UNREACHED] * 4 + [OK], None, id="4 in a row did not arrive"),
        pytest.param([None] * 99, None, id="nothing was said"),
    ],
)
def test_opens_when_calls_fail_again_and_again(reports: list[Report | None], opened: int | None) -> None:
    """At the call that fills the measure, and not at any before; slow calls, 1 in 10 s."""
    assert opened == Endpoint(every=10).calls(*reports)


def test_a_busy_endpoint_is_judged_by_its_last_second() -> None:
    """50 of 500 calls a second fail at once, as when one of ten replicas is gone: that opens nothing."""
    endpoint = Endpoint(every=0.002)
    assert endpoint.calls(*[OK] * 450, *[FAILED] * 50, *[OK] * 450) is None
    assert endpoint.calls(*[FAILED] * 1000) == 401


@pytest.mark.parametrize("rows", [1, 4])
def test_rows_that_always_fail_are_no_failing_endpoint(rows: int) -> None:
    """Some servers answer 500 to the client's own mistake: fewer than 5 rows say nothing of the endpoint."""
    endpoint = Endpoint()
    for number in range(100):
        assert endpoint.calls("failed", row=-number % rows) is None


def test_pauses_double_up_to_a_minute_and_start_anew_after_a_success() -> None:
    """One probe each time; its failure opens again, its success closes."""
    endpoint = Endpoint(retry=RetryRules(max_attempts=99))
    endpoint.calls(*[FAILED] * 10)
    waits = []
    for _ in range(6):
        waits.append(endpoint.rest())
        endpoint.calls("failed")
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60])
    endpoint.rest()
    assert endpoint.calls("ok") is None
    assert endpoint.circuit.state(endpoint.now) == "closed"
    assert endpoint.calls(*[FAILED] * 11) == 10
    assert endpoint.rest() == pytest.approx(5)


@pytest.mark.parametrize(("jitter", "pause"), [(0.0, 4.0), (0.5, 5.0), (0.999, 5.998)])
def test_the_pause_is_spread(jitter: float, pause: float) -> None:
    """Many runs that lost the same endpoint do not come back at one moment."""
    circuit = Circuit(RULES)
    for row in range(10):
        circuit.ended(0.0, 0.0, "failed", row=row, jitter=jitter)
    assert circuit.delay(0.0) == pytest.approx(pause)


def test_one_probe_goes_at_a_time() -> None:
    """The others wait for its end, also when it was given up or said nothing: then the next one probes."""
    endpoint = Endpoint()
    endpoint.calls(*[FAILED] * 10)
    assert endpoint.circuit.state(endpoint.now) == "open"
    endpoint.rest()
    circuit, now = endpoint.circuit, endpoint.now
    assert (circuit.state(now), circuit.delay(now)) == ("half-open", 0)
    circuit.began()
    assert circuit.delay(now + 30) == math.inf
    circuit.ended(now + 30, now, None, row=1, jitter=0.5)
    assert (circuit.state(now + 30), circuit.delay(now + 30)) == ("half-open", 0)
    circuit.began()
    circuit.ended(now + 31, now + 30, "ok", row=2, jitter=0.5)
    assert (circuit.state(now + 31), circuit.delay(now + 31)) == ("closed", 0)


@pytest.mark.parametrize("late", ["ok", "failed", "unreached"])
def test_calls_from_before_it_opened_say_nothing(late: Report) -> None:
    """Neither while it is open, nor during the probe, nor after it has closed."""
    endpoint = Endpoint()
    circuit, began = endpoint.circuit, endpoint.now
    endpoint.calls(*[FAILED] * 10)

    def stragglers() -> None:
        for row in range(50):
            circuit.ended(endpoint.now, began, late, row=row, jitter=0.5)

    stragglers()
    assert endpoint.rest() == pytest.approx(5)
    circuit.began()
    stragglers()
    assert circuit.delay(endpoint.now) == math.inf
    circuit.ended(endpoint.now + 1, endpoint.now, "ok", row=99, jitter=0.5)
    stragglers()
    assert circuit.state(endpoint.now) == "closed"


def test_failed_probes_exhaust_it() -> None:
    """As many as a row has attempts, in a row."""
    endpoint = Endpoint(retry=RetryRules(max_attempts=2))
    endpoint.calls(*[FAILED] * 10)
    for _ in range(2):
        assert not endpoint.circuit.exhausted
        endpoint.rest()
        endpoint.calls("failed")
    assert endpoint.circuit.exhausted


def test_an_address_that_nothing_reached_is_told_soon() -> None:
    """It opens at the first call, for the job's backoff, and every call counts as a probe."""
    endpoint = Endpoint(reached=False, retry=RetryRules(max_attempts=3, backoff_initial=0.5))
    assert endpoint.calls("unreached") == 1
    assert endpoint.rest() == 0.25
    assert endpoint.calls("unreached") == 1
    assert endpoint.rest() == 0.5
    assert not endpoint.circuit.exhausted
    endpoint.calls("unreached")
    assert endpoint.circuit.exhausted


@pytest.mark.parametrize("first", ["ok", "failed"])
def test_an_address_that_answers_at_last_is_one_like_any_other(first: Report) -> None:
    """Whatever it says; from then on it takes 5 unreached calls in a row."""
    endpoint = Endpoint(reached=False)
    endpoint.calls("unreached")
    endpoint.rest()
    assert endpoint.calls(first, OK) is None
    assert endpoint.calls(*[UNREACHED] * 9) == 5


def test_random_failures_do_not_open_it() -> None:
    """One call in 20 fails, 1,000,000 calls, 500 under way of which each takes up to 2 s; seeded."""
    circuit, draw = Circuit(RULES), random.Random(7)
    for row in range(1_000_000):
        now = row / 500
        said: Report = "failed" if draw.random() < 0.05 else "ok"
        circuit.ended(now, now - 2 * draw.random(), said, row=row, jitter=0.5)
        assert circuit.state(now) == "closed"


def body(text: bytes) -> Response:
    return Response(200, {}, text, 0.1)


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        (body(b'{"choices":[{"message":{"content":"a"}}]}'), "ok"),
        *((Response(status, {}, b"", 0.1), "failed") for status in (408, 498, 500, 502, 503, 504, 529)),
        (body(b'{"error":{"code":502,"message":"m"}}'), "failed"),
        *((Response(status, {}, b"", 0.1), "ok") for status in (301, 400, 401, 402, 403, 404, 413, 422, 429)),
        (Response(500, {}, b"exceed context window", 0.1), "ok"),
        *((Response(status, {}, b"", 0.1), None) for status in (409, 424, 425, 499)),
        (body(b'{"choices":[]}'), None),
        (body(b'{"error":{"message":"m"}}'), None),
        (NoResponse("connection", "refused", sent=False, latency=0.001), "unreached"),
        (NoResponse("timeout", "connect", sent=False, latency=10.0), "unreached"),
        (NoResponse("connection", "reset", sent=True, latency=1.0), "failed"),
        (NoResponse("timeout", "silent", sent=True, latency=120.0), "failed"),
        (NoResponse("timeout", "no time was left", sent=False, latency=0.0), None),
    ],
)
def test_what_a_call_says_of_its_endpoint(exchange: Exchange, said: Report | None) -> None:
    """A server's own failures count against it; a row's, and a pace, show that it is there."""
    assert said == report(judge(exchange))
