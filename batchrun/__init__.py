"""Large offline prompt jobs: a prompt table in, a typed Parquet table out.

    import batchrun

    summary = batchrun.submit("jobs/triage.yaml")
    answers = batchrun.scan_results("runs/triage").collect()

submit         bring a job's output up to date with its input, a file's or a frame's
plan           what a submit would do, without a call
reparse        the stored answers read by the job's schema as it is now, without a call
scan_results   the rows of one run or several, as a polars LazyFrame
Summary        what a submit did; Plan: what it would do; Reparsed: what a reparse came to
BatchrunError  what all of them raise, each with a `message`, a `hint` and an `exit_code`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchrun.errors import BatchrunError
    from batchrun.library import plan, reparse, scan_results, submit
    from batchrun.planning import Plan
    from batchrun.reparsing import Reparsed
    from batchrun.summary import Summary

__version__ = "0.1.0"

__all__ = [
    "BatchrunError",
    "Plan",
    "Reparsed",
    "Summary",
    "__version__",
    "plan",
    "reparse",
    "scan_results",
    "submit",
]

_PLACES = {
    "BatchrunError": "batchrun.errors",
    "Plan": "batchrun.planning",
    "Reparsed": "batchrun.reparsing",
    "Summary": "batchrun.summary",
    "plan": "batchrun.library",
    "reparse": "batchrun.library",
    "scan_results": "batchrun.library",
    "submit": "batchrun.library",
}
"""Loaded when it is asked for: `batchrun --help` needs none of it."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
