"""CONTRIBUTING.md cannot rot: every file, folder and command that it names is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import batchrun

ROOT = Path(batchrun.__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_what_it_names_is_there() -> None:
    """Paths in code and in links."""
    paths = re.findall(r"`((?:batchrun|tests|jobs|\.ci)/[\w./-]*)`", TEXT) + re.findall(
        r"\]\(([\w./]+)\)", TEXT
    )
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_its_commands_are_modules_and_groups() -> None:
    """`python -m …`, and what `uv sync` takes."""
    modules = set(re.findall(r"python -m ([\w.]+)", TEXT))
    assert modules == {"batchrun", "tests.benchmarks", "tests.reliability", "tests.style"}
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"--group (\w+)", TEXT) if f"\n{name} = [" not in project] == []


def test_every_check_of_ci_is_told() -> None:
    """Somebody who ran them all knows what CI will say."""
    checks = re.findall(r"^uv run (ruff.*|mypy|pytest)$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert len(checks) == 4
    assert [check for check in checks if f"uv run {check}" not in TEXT] == []
