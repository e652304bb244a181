"""The unit costs can be measured: what they are is for the benchmark to print."""

from __future__ import annotations

import pytest

from tests.benchmarks import units


def test_each_unit_has_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """At a small size."""
    assert units.main(["--rows", "300"]) == 0
    table = capsys.readouterr().out
    for unit in ("index pass", "publication", "driver of a cluster", "worker to driver", "manifest"):
        assert f"| {unit}" in table
