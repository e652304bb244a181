"""How many calls may be under way in one process: each takes an open file."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import replace

from batchrun.job import Job
from batchrun.limits import Limits

OTHERS = 64
"""Open files that are kept for everything else: libraries, journal, Parquet, threads, name lookups."""


def raise_limit() -> int:
    """Let the process open as many files as it may; how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS says "unlimited", and allows less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft


def fitting(job: Job, files: int) -> Job:
    """The job, no endpoint of which has more calls under way than fit into so many open `files`.

    Connections stay open for reuse, so the servers share the files rather than take turns.
    """
    servers = sum(max(1, len(endpoint.base_urls)) for endpoint in job.used_endpoints.values())
    most = max(1, (files - OTHERS) // servers)
    endpoints = {
        name: replace(endpoint, limits=_at_most(most * max(1, len(endpoint.base_urls)), endpoint.limits))
        for name, endpoint in job.endpoints.items()
    }
    return replace(job, endpoints=endpoints)


def _at_most(most: int, limits: Limits) -> Limits:
    if limits.concurrency == "auto":
        return replace(limits, max_concurrency=min(limits.max_concurrency, most))
    return replace(limits, concurrency=min(limits.concurrency or most, most))
