"""`status`: how a run stands, also while it runs and after it was killed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.budget import Amounts
from batchrun.index import State, counts, match
from batchrun.prices import Price
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint, read_kept
from batchrun.run_folder.checkpoint.older import has_ids
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.run_folder.checkpoint.shared import read_shared
from batchrun.run_folder.checkpoint.with_providers import Batch, recorded, with_held
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.reading import journal_files
from batchrun.run_folder.live import read_live
from batchrun.run_folder.lock import is_locked
from batchrun.run_folder.parquet import read_file
from batchrun.run_folder.results.read import Seen, read_steadily, rows_by_part, see
from batchrun.summary import CheckOutcome

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands.

    Attributes:
        state: running, or paused; as `run.json` has it (waiting: batches are with a provider, and no submit
            waits for them); killed: the last submit could not publish; not started: no submit has come so
            far as to ask.
        rows: of the input, None while it has never been read to its end.
        changed: rows among `ok` whose answer is to an older request.
        rerun: rows of these that the last submit was to ask again (`--rerun-changed`), and left pending.
        unpublished: answered rows that the results do not show yet.
        possibly_paid: calls without an answer; those of a running submit may still get one.
        usage, cost_usd, saved_usd: of all rows as they were published last; USD.
        up_to_date: whether these hold for all answers: not while a submit runs, or after it was killed.
        spent: what all submits took (`cost_usd`, `tokens`, `requests`), calls without an answer at the most
            that they can have taken. Where it is not `up_to_date`, so do answers of rows that are not
            finished, if the endpoint does not say what they cost. `cost_usd` is None where calls were made
            and nothing says what they cost.
        checks: those of the job, as the last submit found them; none where these do not hold for all answers.
        budget: what the last submit that ended was given.
        last_submit: what `run.json` says of it.
        batches: those that are with a provider, or may be; as it told last, unless they were `asked`.
    """

    name: str
    state: str
    rows: int | None
    ok: int
    failed: int
    pending: int | None
    changed: int
    rerun: int
    stale: int
    unpublished: int
    possibly_paid: int
    errors: dict[str, int]
    stopped_by: dict[str, Any] | None
    usage: dict[str, int | None]
    cost_usd: float | None
    saved_usd: float | None
    up_to_date: bool
    checks: tuple[CheckOutcome, ...]
    spent: dict[str, Any]
    budget: dict[str, Any]
    last_submit: dict[str, Any]
    batches: tuple[Batch, ...]
    live: dict[str, Any] | None
    """How the running submit stands (`standing.Standing`), as it said within the last second."""
    run_folder: str
    results: str | None
    host: str | None = None
    """The machine that a submit is at work on, where that is another one."""

    @property
    def is_running(self) -> bool:
        """Whether a submit is at work on it, or paused."""
        return self.state in ("running", "paused")

    def document(self) -> dict[str, Any]:
        """The status as plain values."""
        return asdict(self)


def status(run: RunFolder, seen: Seen | None = None) -> Status:
    """Read how the run in a folder stands, or stood when it was seen; changes nothing."""
    running, live = is_locked(run.lock), read_live(run)
    said = run.read_run_json()
    seen = seen or see(run)
    checkpoint, unpublished = seen.checkpoint, len(seen.since)
    found = _rows(run, checkpoint)
    number = counts(found)
    known = (run.checkpoint_path / "index.parquet").exists()
    state = _running(live) if running else _ended(run, said, unpublished)
    up_to_date = not running and state != "killed"
    return Status(
        name=str(codec.loads(run.identity_path.read_bytes()).get("name")),
        state=state,
        rows=len(found) if known else None,
        ok=number[State.OK] + number[State.KEPT] + number[State.CHANGED],
        failed=number[State.FAILED] + number[State.RETRY],
        pending=number[State.NEW] if known else None,
        changed=number[State.CHANGED],
        rerun=min(number[State.CHANGED], said.get("changed", 0)) if up_to_date else 0,
        stale=number[State.KEPT],
        unpublished=unpublished,
        possibly_paid=_unanswered(seen) + checkpoint.possibly_paid(),
        errors=_errors(found),
        stopped_by=said.get("stopped_by") if up_to_date else None,
        usage=said.get("usage", {}),
        cost_usd=said.get("cost_usd"),
        saved_usd=said.get("saved_usd"),
        up_to_date=up_to_date,
        checks=tuple(map(CheckOutcome.read, said.get("checks", ()))) if up_to_date else (),
        spent=said["spent"] if up_to_date and "spent" in said else asdict(_spent(run.checkpoint_path, said)),
        budget=said.get("budget", {}),
        last_submit=said.get("submit", {}),
        batches=tuple(map(Batch.of, recorded(run.checkpoint_path))),
        live=live if running else None,
        run_folder=str(run.path),
        results=str(run.results / "*.parquet") if run.results.exists() else None,
    )


def _running(live: dict[str, Any] | None) -> str:
    return "paused" if live and live.get("paused") else "running"


def _ended(run: RunFolder, said: dict[str, Any], unpublished: int) -> str:
    """How the last submit ended, by what it left."""
    if not said and not journal_files(run.checkpoint_path) and not sealed_parts(run.checkpoint_path):
        return "not started"  # a submit that was refused before its first call leaves a folder too
    state: str = said.get("state", "running")
    return "killed" if unpublished or state == "running" else state


def _rows(run: RunFolder, checkpoint: Checkpoint) -> pl.DataFrame:
    """The rows of the last index pass with their states; without one, rows that have an answer."""
    answers = checkpoint.answers()
    path = run.checkpoint_path / "index.parquet"
    if path.exists():
        with readable(path):
            rows = read_file(path)
    else:
        rows = answers.unique(["key", "hash"]).select("key", "hash").with_row_index("row_index")
        rows = rows.select(pl.col("row_index").cast(pl.Int64), "key", "hash")
    kept, shared = read_kept(run.checkpoint_path), read_shared(run.checkpoint_path)
    return match(rows, answers, kept, has_ids=has_ids(run.checkpoint_path), shared=shared)


def _spent(folder: Path, said: dict[str, Any]) -> Amounts:
    """What the run has taken so far; read again where a submit sealed a part meanwhile, to count it once.

    Of calls that come to no cost none is known, unless `said`, what was written last, knows one: a call with
    a price is held at its bound until it has its answer.
    """
    for _ in range(_TRIES):
        before = sealed_parts(folder)
        spent = with_held(read_steadily(folder).spend(_unpriced).total(), recorded(folder))
        if sealed_parts(folder) == before:
            break
    unknown = spent.requests and not spent.cost_usd and said.get("cost_usd") is None
    return replace(spent, cost_usd=None) if unknown else spent


def _unpriced(_model: str, _named: str = "") -> Price | None:
    """A run folder knows no prices: answers of rows that are not finished count as they were reserved."""
    return None


def _errors(found: pl.DataFrame) -> dict[str, int]:
    """Failed rows by error type, the most frequent first."""
    failed = found.filter(pl.col("state").is_in([int(State.FAILED), int(State.RETRY)]))
    return dict(failed["error_type"].value_counts(sort=True).iter_rows())


def _unanswered(seen: Seen) -> int:
    """Calls of finished rows that were sent and never answered."""
    attempt = pl.element().struct
    lost = pl.col("attempts").list.eval(attempt.field("sent") & attempt.field("http_status").is_null())
    parts = rows_by_part(seen)
    return sum(part.select(lost.list.sum().sum()).collect().item() or 0 for part in parts)
