"""Whatever a job file holds, loading it ends in a job or in a message."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchrun.errors import JobError
from tests.job.jobs import FULL, load

_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        0.5,
        "",
        "x",
        "no",
        "${A}",
        "${A:-1}",
        "${",
        [],
        [1],
        ["x"],
        {},
        {"a": 1},
        {"path": {}},
    ]
)


def _ways(value: Any, loc: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [loc, *(way for part, inner in items for way in _ways(inner, (*loc, part)))]


WAYS = _ways(yaml.safe_load(FULL))[1:]


def _ends_well(folder: Path, text: str) -> None:
    message = ""
    try:
        load(folder, text, env={"A": "1"})
    except JobError as error:
        message = str(error)
    assert [line for line in message.splitlines() if not line.startswith("job.yaml:")] == []


_quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@_quick
@given(
    at=st.integers(0, len(FULL)),
    cut=st.integers(0, 12),
    put=st.text("{}[]:,\"'|>*&!%@`#\t\n $\\-?x1", max_size=6),
)
def test_any_change_of_the_text_ends_in_a_job_or_a_message(
    tmp_path: Path, at: int, cut: int, put: str
) -> None:
    """Slips of the keyboard never end in a traceback, and each line of the message has its place."""
    _ends_well(tmp_path, FULL[:at] + put + FULL[at + cut :])


@_quick
@given(changes=st.lists(st.tuples(st.sampled_from(WAYS), _VALUES), min_size=1, max_size=4))
def test_any_value_anywhere_ends_in_a_job_or_a_message(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    """Nor do values of the wrong kind, in whatever combination."""
    job = copy.deepcopy(yaml.safe_load(FULL))
    for way, value in changes:
        here = job
        for part in way[:-1]:
            here = here[part] if _has(here, part) else None
        if _has(here, way[-1]):
            here[way[-1]] = value
    _ends_well(tmp_path, yaml.safe_dump(job))


def _has(container: Any, part: Any) -> bool:
    if isinstance(container, list):
        return isinstance(part, int) and part < len(container)
    return isinstance(container, dict) and part in container
