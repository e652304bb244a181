"""`status`: how a run stands, also while it runs and after it was killed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.index import State, counts, match
from batchrun.run_folder.checkpoint import Checkpoint, read_kept
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal import journal_files
from batchrun.run_folder.lock import is_locked
from batchrun.run_folder.read import answered_since, read_steadily, scan_run
from batchrun.run_folder.sealed import sealed_parts
from batchrun.run_folder.shared import read_shared


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands.

    Attributes:
        state: running; as `run.json` has it; killed: the last submit could not publish; not started:
            no submit has come so far as to ask.
        rows: of the input, None while it has never been read to its end.
        changed: rows among `ok` whose answer is to an older request, and about which nothing is decided.
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
    changed: int
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
    found = _rows(run, checkpoint)
    number = counts(found)
    known = (run.checkpoint / "index.parquet").exists()
    state = "running" if running else _ended(run, said, unpublished)
    return Status(
        name=str(codec.loads(run.identity.read_bytes()).get("name")),
        state=state,
        rows=len(found) if known else None,
        ok=number[State.OK] + number[State.KEPT] + number[State.CHANGED],
        failed=number[State.FAILED] + number[State.RETRY],
        pending=number[State.NEW] if known else None,
        changed=number[State.CHANGED],
        stale=number[State.KEPT],
        unpublished=unpublished,
        possibly_paid=_unanswered(run) + checkpoint.possibly_paid(),
        errors=_errors(found),
        stopped_by=None if state in ("running", "killed") else said.get("stopped_by"),
        last_submit=said.get("submit", {}),
        run_folder=str(run.path),
        results=str(run.results / "*.parquet") if run.results.exists() else None,
    )


def _ended(run: RunFolder, said: dict[str, Any], unpublished: int) -> str:
    """How the last submit ended, by what it left."""
    if not said and not journal_files(run.checkpoint) and not sealed_parts(run.checkpoint):
        return "not started"  # a submit that was refused before its first call leaves a folder too
    state: str = said.get("state", "running")
    return "killed" if unpublished or state == "running" else state


def _rows(run: RunFolder, checkpoint: Checkpoint) -> pl.DataFrame:
    """The rows of the last index pass with their states; without one, rows that have an answer."""
    answers = checkpoint.answers().unique("task")
    path = run.checkpoint / "index.parquet"
    if path.exists():
        rows = pl.read_parquet(path)
    else:
        rows = answers.unique(["key", "hash"]).select("key", "hash").with_row_index("row_index")
        rows = rows.select(pl.col("row_index").cast(pl.Int64), "key", "hash")
    # has_ids tells only whether a row that was edited where its request is not keeps its answer
    return match(rows, answers, read_kept(run.checkpoint), has_ids=True, shared=read_shared(run.checkpoint))


def _errors(found: pl.DataFrame) -> dict[str, int]:
    """Failed rows by error type, the most frequent first."""
    failed = found.filter(pl.col("state").is_in([int(State.FAILED), int(State.RETRY)]))
    return dict(failed["error_type"].value_counts(sort=True).iter_rows())


def _unanswered(run: RunFolder) -> int:
    """Calls of finished rows that were sent and never answered."""
    attempt = pl.element().struct
    lost = pl.col("attempts").list.eval(attempt.field("sent") & attempt.field("http_status").is_null())
    return int(scan_run(run).select(lost.list.sum().sum()).collect().item() or 0)
