"""Ray itself: two nodes on this machine, and what becomes of a run when one of them dies."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "BATCHRUN_REQUIRE_RAY"

pytestmark = pytest.mark.skipif(
    os.environ.get(REQUIRED) is None and importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: uv run --extra ray pytest tests/cluster",
)


def facts(scenario: str, folder: Path, **env: str) -> dict[str, Any]:
    """What a scenario came to, in a network of its own."""
    assert shutil.which("unshare"), "unshare is part of util-linux"
    script = f'ip link set lo up && exec "{sys.executable}" -m tests.cluster.two_nodes {scenario} "{folder}"'
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    ray = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    ended = subprocess.run(
        [*unshare, "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **ray, **env},
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_results_are_those_of_the_local_engine(tmp_path: Path) -> None:
    """Times aside, and each row is asked once."""
    found = facts("same", tmp_path)
    assert found["codes"] == [0, 0], found["said"]
    assert found["rows"] == found["calls"] == 2000
    assert found["equal"]


def test_a_node_that_dies_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    """Its folder gone, too: only what it had in flight may be paid for again."""
    found = facts("kill", tmp_path)
    assert found["code"] == 0, found["said"]
    assert (found["ok"], found["in_order"]) == (4000, True)
    assert found["workers_on_it"] >= 1
    assert found["lost"], found["said"]
    assert found["again"] <= sum(found["lost"]) <= 48
    assert found["summary"]["possibly_paid"] >= found["again"]


def test_a_driver_that_dies_goes_on(tmp_path: Path) -> None:
    """Its workers end with it, and the next submit asks for what is missing."""
    found = facts("driver", tmp_path)
    assert (found["code"], found["ok"], found["state"]) == (0, 1000, "killed"), found["said"]
    assert found["again"] <= 32


def test_limits_and_caps_hold_over_all_workers(tmp_path: Path) -> None:
    """As the server counts them."""
    found = facts("caps", tmp_path)
    for name in ("cost", "tokens", "requests"):
        assert found[name]["code"] == 3, found[name]["said"]
    assert found["cost"]["cost"] <= 0.0025
    assert found["tokens"]["tokens"] <= 2_500
    assert found["requests"]["requests"] == 150
    assert found["pace"]["code"] == 0, found["pace"]["said"]
    assert found["pace"]["most_in_5_s"] <= 50 * 1.1
    assert found["pace"]["most_at_once"] <= 8


def test_the_job_that_comes_along_runs(tmp_path: Path) -> None:
    """On a cluster that is started for it and ends with it."""
    found = facts("job", tmp_path)
    assert found["code"] == 0, found["said"]
    assert found["summary"]["ok"] == 400
