"""Jobs that go by batches, for tests: a simulator in a process of its own, and what it has of batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.runs import JobFolder, simulated

PRICES = {"local/small": {"input": 1.0, "output": 1.0}}
COST = {"input": 1.0, "output": 1.0}
QUICK = {"seconds": 0.05, "validating": 0.01}


@contextmanager
def batched(
    folder: Path,
    *,
    rows: int,
    batches: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Iterator[JobFolder]:
    """A job of `rows` rows that go by batches, which are over at once unless `batches` says otherwise."""
    rules = {"cost": COST, "batches": {**QUICK, **(batches or {})}, **(config or {})}
    settings = {"kind": "provider_batch", "poll": 0.05, **(engine or {})}
    with simulated(
        folder, rows=rows, config=rules, **{"engine": settings, "prices": PRICES, **sections}
    ) as job:
        yield job


def base_url(job: JobFolder) -> str:
    return str(job.endpoint()["base_url"])


def provider_batches(job: JobFolder) -> list[dict[str, Any]]:
    """The batches that the simulator was given, newest first."""
    while True:
        with suppress(httpx.HTTPError, ValueError):  # a fault that was meant for the submit
            answer = httpx.get(f"{base_url(job)}/batches", params={"limit": 100}, trust_env=False)
            found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
            return found


def provider_files(job: JobFolder) -> list[dict[str, Any]]:
    """The files that it has, newest first."""
    answer = httpx.get(f"{base_url(job)}/files", params={"limit": 100}, trust_env=False)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found


def lines_of(job: JobFolder, file_id: str) -> list[dict[str, Any]]:
    """The lines of one of its files."""
    answer = httpx.get(f"{base_url(job)}/files/{file_id}/content", trust_env=False)
    return [json.loads(line) for line in answer.raise_for_status().text.splitlines()]
