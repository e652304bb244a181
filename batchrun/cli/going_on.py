"""How a run that was stopped goes on: what to change first, and the command then."""

from __future__ import annotations

import re
from dataclasses import replace

from batchrun.cli.options import JobArguments
from batchrun.summary import StopKind

_RAISE = "raise the budget"
_RETRY = "--retry-failed"
_BATCH = re.compile(r"--batch ([0-9a-f]+)=ID")
_LOST = re.compile(r"--batch ([0-9a-f]+)=none: its rows")


def going_on(kind: StopKind | None, message: str, arguments: JobArguments, *options: str) -> str:
    """What to change, if anything, and the command line of the submit that goes on.

    `kind` and `message` are those of the last `Stop`; a folder has no command line.
    """
    first = before_going_on(kind, message)
    if first == _RAISE:  # the same --set would stop at the same amount
        kept = tuple(text for text in arguments.sets if not text.startswith("budget."))
        arguments = replace(arguments, sets=kept)
    retry = [_RETRY] if kind == "canary" and _RETRY in message else []
    if kind == "batches":
        retry += [f"--batch={name}=ID" for name in _BATCH.findall(message)]
        retry += [f"--batch={name}=none" for name in _LOST.findall(message)]
    if arguments.names_run:
        again = " ".join(["submit the job again", *(["with", *retry] if retry else [])])
    else:
        again = arguments.again("submit", *options, *retry)
    return f"{first}, then {again}" if first else again


def before_going_on(kind: StopKind | None, message: str) -> str:
    """What must be changed before the same command gets any further; empty where nothing must."""
    if kind == "budget":
        return _of_budget(message)
    if kind in ("canary", "breaker"):
        return "mend the cause"
    if kind == "batches":
        return "see what became of the batch at the provider"
    return "set the right key or model" if kind == "refused" else ""


def _of_budget(message: str) -> str:
    if "has no upper bound" in message:
        limit = "request.max_completion_tokens or " if "request.max_completion_tokens" in message else ""
        return f"set {limit}budget.soft: true"
    if message.endswith("submit again to go on"):  # what is spent counts for that submit alone
        return ""
    return f"{_RAISE} or wait for tomorrow (UTC)" if message.endswith("tomorrow") else _RAISE
