"""Bearer tokens that stop working."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from batchrun.simulator import Running, SimulatorConfig
from tests.simulator.playing import play
from tests.simulator.wire import ask


def test_keys_are_good_in_turn(tmp_path: Path) -> None:
    """Each for so many calls, one after another; others, and those that have ended, are a 401."""
    tried = ["k1", "k2", "k1", "k1", "k2", "k1", "k2", "k3", "k3", "k3"]

    async def scene(running: Running) -> None:
        answers = [await ask(running.base_url, authorization=f"Bearer {key}") for key in tried]
        assert [answer.status for answer in answers] == [200, 401, 200, 401, 200, 401, 401, 200, 200, 200]
        assert answers[1].error["code"] == "invalid_api_key"

    keys = [{"key": "k1", "calls": 2}, {"key": "k2", "calls": 1}, {"key": "k3"}]
    calls = play(scene, tmp_path / "ledger.jsonl", api_keys=keys)
    assert [call.api_key_ok for call in calls].count(False) == 4


def test_the_last_key_may_end_too() -> None:
    """Then nothing is good any more."""

    async def scene(running: Running) -> None:
        statuses = [(await ask(running.base_url, authorization="Bearer k1")).status for _ in range(3)]
        assert statuses == [200, 401, 401]

    play(scene, api_keys=[{"key": "k1", "calls": 1}])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"api_key": "k1", "api_keys": [{"key": "k1"}]}, "not both"),
        ({"api_keys": [{"key": "k1"}, {"key": "k2"}]}, r"api_keys.0 needs `calls`"),
        ({"api_keys": [{"key": ""}]}, "at least 1 character"),
        ({"api_keys": [{"key": "k1", "calls": 0}]}, "greater than or equal to 1"),
    ],
)
def test_wrong_keys_are_refused(wrong: dict[str, Any], message: str) -> None:
    """Two ways to say it, and keys that could never be reached."""
    with pytest.raises(ValidationError, match=message):
        SimulatorConfig.model_validate(wrong)


def test_keys_are_not_shown() -> None:
    """Not where a configuration is printed."""
    config = SimulatorConfig.model_validate({"api_keys": [{"key": "k-secret"}]})
    assert "k-secret" not in repr(config)
