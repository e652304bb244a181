"""Requests and answers for tests, without a socket."""

from __future__ import annotations

from typing import Any

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.reading.request import ChatRequest, receive
from batchrun.simulator.refusal import Refusal
from batchrun.simulator.replying.reply import Setting, completion
from tests.simulator.wire import body


def request(**members: object) -> ChatRequest:
    """The request of a usual body, changed by `members`."""
    found = receive(body(**members), SimulatorConfig()).content
    assert isinstance(found, ChatRequest), found
    return found


def refusal(**members: object) -> Refusal:
    """Why such a body is refused."""
    found = receive(body(**members), SimulatorConfig()).content
    assert isinstance(found, Refusal)
    return found


def reply(*, seed: int = 0, fault: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """The whole answer, with a fault if one is given; `reasoning` is the simulator's option."""
    faults = SimulatorConfig.model_validate({"faults": [fault] if fault else []}).faults
    setting = Setting(
        seed,
        created=1_700_000_000,
        call_id="c",
        reasoning=members.pop("reasoning", None),
        fault=faults[0] if faults else None,
    )
    return completion(request(**members), setting)


def choice(**members: Any) -> dict[str, Any]:
    """The first choice of the answer."""
    found: dict[str, Any] = reply(**members)["choices"][0]
    return found


def user(*parts: object) -> list[dict[str, object]]:
    """Messages with one user message of these parts."""
    return [{"role": "user", "content": list(parts)}]
