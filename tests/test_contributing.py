"""CONTRIBUTING.md and SECURITY.md cannot rot: every file, command and dependency that they name is there."""

from __future__ import annotations

import importlib.util
import re
import tomllib
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


def test_security_names_tests_that_are_there_and_every_dependency() -> None:
    """Each fact has its test; the table of the supply chain has no dependency too many and none too few."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    paths = re.findall(r"`(tests/[\w./]+)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    table = text.partition("## Supply chain")[2]
    told = {name for cell in re.findall(r"^\| ([\w, -]+) \|", table, re.M) for name in cell.split(", ")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    assert told == {re.split(r"[<>=!;\[ ]", one)[0] for one in [*project["dependencies"], *extras]}
