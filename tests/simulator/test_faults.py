"""Faults: how a job spells them, which calls they strike, what they do."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from batchrun.simulator import delivery
from batchrun.simulator.config import LognormalLatency, SimulatorConfig, UniformLatency
from batchrun.simulator.delivery import Close, Reset, Send, Wait, steps
from batchrun.simulator.faults import Occasion, choose, name_of
from batchrun.simulator.making.draws import latency
from batchrun.simulator.reading.request import ChatRequest, receive
from batchrun.simulator.rules import ACTIONS, action
from tests.simulator.wire import body

RULES = """
- {rate: 0.05, status: 429, retry_after: 2}
- {rate: 0.02, reset: mid_body}
- {calls: [3, 5], close: mid_body}
- {first: 1, stall: 30, at: after_headers}
- {match: slow, drip: 100}
- {model: m-2, error_in_200: 502}
- {answer: null_choices}
- {finish_reason: tool_calls}
- {refusal: "I would rather not."}
- {mentions: invoice, first: 1, per: conversation, output: invalid}
- {stream: no_done}
- {status: 502, raw_body: "<html>Bad Gateway</html>", content_type: text/html}
"""


def config(*faults: dict[str, Any], seed: int = 0) -> SimulatorConfig:
    return SimulatorConfig.model_validate({"seed": seed, "faults": list(faults)})


def struck(rules: SimulatorConfig, *, call: int = 1, nth: int = 1, **members: object) -> str | None:
    """Name of the fault that strikes this call."""
    request = receive(body(**members), rules).content
    assert isinstance(request, ChatRequest)
    return name_of(choose(rules.faults, Occasion(request, call, nth), rules.seed))


def test_rules_read_well_in_yaml() -> None:
    """Each kind of fault is told by one key, and a round trip through JSON keeps all."""
    rules = config(*yaml.safe_load(RULES))
    assert list(dict.fromkeys(action(fault) for fault in rules.faults)) == list(ACTIONS)
    assert rules == SimulatorConfig.model_validate_json(rules.model_dump_json())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0.5}, "exactly one of: status, reset"),
        ({"status": 500, "stall": 1}, "exactly one of: status, reset"),
        ("status", "exactly one of: status, reset"),
        ({"status": 500, "rat": 0.5}, "rat"),
        ({"status": 99}, "greater than or equal to 200"),
        ({"rate": 1.5, "status": 500}, "less than or equal to 1"),
        ({"reset": "midway"}, "'before_headers', 'after_headers' or 'mid_body'"),
        ({"answer": "wrong"}, "'malformed', 'empty'"),
        ({"drip": 0}, "greater than 0"),
        ({"calls": [5, 3], "status": 500}, "calls runs from 5 to 3"),
    ],
)
def test_a_wrong_rule_is_refused(wrong: Any, message: str) -> None:
    """A rule that would never or wrongly strike is an error, not silence."""
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        config(wrong)


def test_the_first_rule_that_applies_strikes() -> None:
    """Rules are read from the top."""
    rules = config({"match": "nothing like it", "status": 500}, {"status": 503}, {"status": 502})
    assert struck(rules) == "status 503"


def test_conditions_must_all_hold() -> None:
    """Number of the call, repetition, text and model: one that does not hold keeps the fault away."""
    rules = config({"first": 2, "calls": [10, 12], "match": "parcel", "model": "m-1", "reset": "mid_body"})
    assert struck(rules, call=12, nth=2) == "reset mid_body"
    assert struck(rules, call=12, nth=3) is None
    assert struck(rules, call=13, nth=2) is None
    assert struck(rules, call=12, nth=2, model="m-2") is None
    assert struck(rules, call=12, nth=2, messages=[{"role": "user", "content": "refund"}]) is None


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_a_rate_is_kept(rate: float) -> None:
    """Over 2000 repetitions the share struck is the rate, within 3.5 standard deviations."""
    rules = config({"rate": rate, "status": 500})
    hits = sum(struck(rules, nth=nth) is not None for nth in range(2000))
    assert abs(hits - 2000 * rate) <= 3.5 * (2000 * rate * (1 - rate)) ** 0.5


def test_chance_is_the_same_every_time() -> None:
    """The same seed strikes the same calls, in whatever order they come; another seed strikes others."""
    rules, other = config({"rate": 0.5, "status": 500}), config({"rate": 0.5, "status": 500}, seed=1)
    forward = [struck(rules, nth=nth) for nth in range(100)]
    backward = [struck(rules, call=7, nth=nth) for nth in reversed(range(100))]
    assert forward == backward[::-1]
    assert forward != [struck(other, nth=nth) for nth in range(100)]


def test_two_rules_of_the_same_rate_draw_separately() -> None:
    """The second rule strikes some of the calls that the first one spares."""
    rules = config({"rate": 0.5, "status": 500}, {"rate": 0.5, "status": 503})
    assert {None, "status 500", "status 503"} == {struck(rules, nth=nth) for nth in range(50)}


HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"0123456789"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, [Send(HEAD + BODY)]),
        ({"status": 500}, [Send(HEAD + BODY)]),
        ({"reset": "before_headers"}, [Wait(delivery.NOTICE), Reset()]),
        ({"reset": "after_headers"}, [Send(HEAD), Wait(delivery.NOTICE), Reset()]),
        ({"reset": "mid_body"}, [Send(HEAD + b"01234"), Wait(delivery.NOTICE), Reset()]),
        ({"close": "before_headers"}, [Close()]),
        ({"close": "mid_body"}, [Send(HEAD + b"01234"), Close()]),
        ({"stall": 3}, [Wait(3), Send(HEAD + BODY)]),
        ({"stall": 3, "at": "after_headers"}, [Send(HEAD), Wait(3), Send(BODY)]),
        ({"stall": 3, "at": "mid_body"}, [Send(HEAD + b"01234"), Wait(3), Send(b"56789")]),
        ({"drip": 100}, [Send(HEAD), Wait(0.05), Send(b"01234"), Wait(0.05), Send(b"56789")]),
        ({"drip": 0.5}, [Send(HEAD), *(s for i in range(10) for s in (Wait(2), Send(BODY[i : i + 1])))]),
    ],
    ids=str,
)
def test_a_delivery_is_a_list_of_steps(fault: dict[str, Any] | None, expected: list[delivery.Step]) -> None:
    """What a fault does to the bytes can be read off its steps."""
    rule = None if fault is None else config(fault).faults[0]
    assert expected == list(steps(HEAD, BODY, rule))


@pytest.mark.parametrize(
    "fault", [{"drip": 5}, {"reset": "mid_body"}, {"stall": 1, "at": "mid_body"}], ids=str
)
def test_an_empty_body_can_be_delivered(fault: dict[str, Any]) -> None:
    """No fault stumbles over a body without bytes."""
    assert b"".join(s.data for s in steps(HEAD, b"", config(fault).faults[0]) if isinstance(s, Send)) == HEAD


def test_latencies_follow_their_distribution() -> None:
    """Uniform ones stay between their bounds, lognormal ones have their median, spread and cap."""
    uniform = [latency(UniformLatency(kind="uniform", low=1, high=3), "x", i) for i in range(1000)]
    assert min(uniform) >= 1
    assert max(uniform) <= 3
    assert abs(statistics.mean(uniform) - 2) < 0.1
    rule = LognormalLatency(kind="lognormal", median=2, sigma=0.5, max=8)
    found = sorted(latency(rule, "x", i) for i in range(2000))
    assert abs(found[1000] - 2) < 0.15
    assert abs(found[1682] / found[1000] - 1.65) < 0.15  # one standard deviation: e^0.5
    assert found[-1] <= 8
    assert latency(rule, "x", 1) == latency(rule, "x", 1)


@pytest.mark.parametrize(
    "wrong", [{"kind": "uniform", "low": 2, "high": 1}, {"kind": "gamma"}, {"kind": "constant", "s": 1}]
)
def test_a_wrong_latency_is_refused(wrong: dict[str, Any]) -> None:
    """Bounds the wrong way round, an unknown distribution and an unknown key are errors."""
    with pytest.raises(ValidationError):
        SimulatorConfig.model_validate({"latency": wrong})
