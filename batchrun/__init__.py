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

One row's way through the code, by the folders in the order in which it meets them:

job/           the job file, read strictly; `endpoints/` finds the keys
source/        the row, read from its table; `selection.py` says whether it is meant
render/        its request, from `template/` and `media/`, and its hash; `chat/request/` checks it
index/         has it an answer already? `survey/` asks that of all rows before anything is sent
submitting/    would an edit pay for it again? `forecast/` says the price; then it is given to
engines/       the local engine's workers, or `cluster/`, or `batches/`, as a task
answer/        its conversation, to its outcome: turns, re-asks, attempts, models; `policy/` says what follows
admission/     may its call go now? by `limits/`, `concurrency/` and `budget/`
client/        one HTTP call; `chat/response/` reads what comes back
run_folder/    `journal/` before and after each call, sealed in `checkpoint/`, published in `results/`
report/        and `show/`, `export/`, `diff/`, `status/`: what is read of it, by `cli/` or `library.py`
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
