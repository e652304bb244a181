"""`status`: how a run stands, also while it runs and after it was killed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.index import State, counts, match
from batchrun.run_folder.checkpoint import Checkpoint, read_kept
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import is_locked
from batchrun.run_folder.read import answered_since, read_steadily


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands.

    Attributes:
        state: running; or as `run.json` has it; or killed: the last submit could not publish.
        rows: of the input, None while it has never been read to its end.
        unpublished: answered rows that the results do not show yet.
        possibly_paid: calls without an answer; those of a running submit may still get one.
        last_submit: what `run.json` says of it.
    """

    name: str
    state: str
    rows: int | None
    ok: int
    failed: int
    pending: int | None
    stale: int
    unpublished: int
    possibly_paid: int
    errors: dict[str, int]
    stopped_by: dict[str, Any] | None
    last_submit: dict[str, Any]
    run_folder: str
    results: str | None

    def document(self) -> dict[str, Any]:
        """The status as plain values."""
        return asdict(self)


def status(run: RunFolder) -> Status:
    """Read how the run in a folder stands; changes nothing."""
    running = is_locked(run.lock)
    said = run.read_run_json()
    checkpoint = read_steadily(run.checkpoint)
    unpublished = len(answered_since(run))
    killed = not running and (bool(unpublished) or bool(checkpoint.journals) or not said)
    number, rows = _counts(run, checkpoint)
    return Status(
        name=_name(run),
        state="running" if running else "killed" if killed else said["state"],
        rows=rows,
        ok=number[State.OK] + number[State.KEPT],
        failed=number[State.FAILED] + number[State.RETRY],
        pending=None if rows is None else number[State.NEW] + number[State.CHANGED],
        stale=number[State.KEPT],
        unpublished=unpublished,
        possibly_paid=checkpoint.possibly_paid() + (0 if killed else said.get("possibly_paid", 0)),
        errors=said.get("errors", {}),
        stopped_by=None if running or killed else said.get("stopped_by"),
        last_submit=said.get("submit", {}),
        run_folder=str(run.path),
        results=str(run.results / "*.parquet") if run.results.exists() else None,
    )


def _name(run: RunFolder) -> str:
    return str(codec.loads(run.identity.read_bytes()).get("name"))


def _counts(run: RunFolder, checkpoint: Checkpoint) -> tuple[dict[State, int], int | None]:
    """The rows of the last index pass by state; without one, the answers that there are."""
    answers = checkpoint.answers().unique("task")
    path = run.checkpoint / "index.parquet"
    if not path.exists():
        best = answers.sort("ok").unique("key", keep="last")
        ok = int(best["ok"].sum())
        return {**dict.fromkeys(State, 0), State.OK: ok, State.FAILED: len(best) - ok}, None
    # has_ids only tells whether a row that was edited without its request being edited keeps its answer
    states = match(pl.read_parquet(path), answers, read_kept(run.checkpoint), has_ids=True)
    return counts(states), len(states)
