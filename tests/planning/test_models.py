"""The limits that a plan names, each with who says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchrun.planning import PlannedLimit
from tests.planning.planning import job_of, planned
from tests.runs import JobFolder, simulated

ROWS = [{"id": "a", "text": "b"}]


def limits(job: JobFolder, model: int = 0) -> list[PlannedLimit]:
    return list(planned(job).models[model].limits)


def line_of(job: JobFolder, key: str, *, nth: int = 0) -> int:
    """The line of the job file that begins with a key."""
    lines = [at for at, line in enumerate(job.job.read_text().splitlines(), 1) if f'"{key}":' in line]
    return lines[nth]


def test_what_nobody_says_is_the_default(tmp_path: Path) -> None:
    """As many calls as `auto` may come to, and with how many it begins."""
    job = job_of(tmp_path, ROWS, endpoints={"local": {}})
    assert limits(job) == [
        PlannedLimit("calls at once", 512, None, "default"),
        PlannedLimit("calls at first", 20, None, "default"),
    ]


def test_what_the_job_says_is_named_by_its_key(tmp_path: Path) -> None:
    """Of the endpoint and of the model, each with its line; both hold."""
    job = job_of(
        tmp_path,
        ROWS,
        model={"model": "local/small", "limits": {"rpm": 60}},
        endpoints={"local": {"limits": {"rpm": 600, "tpm": 90_000, "concurrency": 8}}},
    )
    ours, theirs = f"{job.job}:{line_of(job, 'rpm')}", f"{job.job}:{line_of(job, 'rpm', nth=1)}"
    assert limits(job)[:2] == [
        PlannedLimit("requests", 60, 60.0, "job", f"{ours}: model.limits.rpm"),
        PlannedLimit("requests", 600, 60.0, "job", f"{theirs}: endpoints.local.limits.rpm"),
    ]
    assert [(one.counts, one.most) for one in limits(job)[2:]] == [("tokens", 90_000), ("calls at once", 8)]
    assert (limits(job)[3].key or "").endswith(": endpoints.local.limits.concurrency")


@pytest.mark.parametrize(
    ("sections", "most", "key"),
    [
        (
            {"endpoints": {"local": {"limits": {"max_concurrency": 40}}}},
            40,
            "endpoints.local.limits.max_concurrency",
        ),
        ({"model": {"model": "local/small", "limits": {"concurrency": 3}}}, 3, "model.limits.concurrency"),
        (
            {"fallbacks": [{"model": "local/big", "limits": {"concurrency": 2}}]},
            2,
            "fallbacks.0.limits.concurrency",
        ),
    ],
)
def test_the_tightest_limit_of_calls_at_once_is_the_one(
    tmp_path: Path, sections: dict[str, Any], most: int, key: str
) -> None:
    """Wherever the job gives it."""
    job = job_of(tmp_path, ROWS, **sections)
    found = next(one for one in limits(job, model=-1) if one.counts == "calls at once")
    assert (found.most, found.source, (found.key or "").rpartition(": ")[2]) == (most, "job", key)


def test_a_limit_of_the_shell_is_named_by_its_option(tmp_path: Path) -> None:
    """No line of the file says it."""
    from tests.commands import batchrun

    job_of(tmp_path, ROWS)
    words = ["plan", "job.yaml", "--json", "--set", "endpoints.local.limits.rpm=30"]
    (first, *_) = batchrun(*words, cwd=tmp_path).json["models"][0]["limits"]
    assert first["key"] == "--set endpoints.local.limits.rpm: endpoints.local.limits.rpm"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"rpm": 6_000, "tpm": 900_000}, {("requests", 6_000), ("tokens", 900_000)}),
        ({"rpd": 5_000}, {("requests", 5_000)}),
    ],
)
def test_what_answers_told_is_remembered(
    tmp_path: Path, config: dict[str, Any], expected: set[tuple[str, int]]
) -> None:
    """Before the first submit nothing is known; afterwards the endpoint's own limits are."""
    with simulated(tmp_path, rows=40, config={"limits": config}, endpoints={"local": {}}) as job:
        assert {one.source for one in limits(job)} == {"default"}
        job.submit_here(limit=30)
        told = [one for one in limits(job) if one.source == "endpoint" and one.counts != "calls at first"]
        assert {(one.counts, one.most) for one in told} == expected
        assert all(one.key is None for one in told)


def test_a_stretch_that_headers_name_is_clear(tmp_path: Path) -> None:
    """Seconds of the window; of others they are told once that is clear."""
    config = {"limits": {"rpm": 6_000, "headers": "cerebras"}}
    with simulated(tmp_path, rows=40, config=config, endpoints={"local": {}}) as job:
        job.submit_here(limit=30)
        assert PlannedLimit("requests", 6_000, 60.0, "endpoint") in limits(job)


def test_concurrency_begins_with_what_was_learned(tmp_path: Path) -> None:
    """With four fifths of what the last submit came to, and it says who found that out."""
    config = {"latency": {"kind": "constant", "seconds": 0.05}}
    with simulated(tmp_path, rows=300, config=config, endpoints={"local": {}}) as job:
        job.submit_here(limit=250)
        first = next(one for one in limits(job) if one.counts == "calls at first")
    assert first.source == "endpoint"
    assert first.most > 20
