"""The end of a submit: results published, rows counted, all of it written down."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from batchrun import __version__, codec
from batchrun.checks.checks import evaluate
from batchrun.errors import BatchrunError, StorageError
from batchrun.index import State, counts
from batchrun.job import Job
from batchrun.outcome import Usage
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress
from batchrun.run_folder.checkpoint.batches import read_records
from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from batchrun.run_folder.checkpoint.with_providers import Batch, with_held
from batchrun.run_folder.disk import is_full, write_atomically
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.publish import Publisher, release_memory
from batchrun.run_folder.results.totals import read_totals
from batchrun.submitting.changes import forget_replaced
from batchrun.summary import CheckOutcome, Counters, RunState, Stop, Summary
from batchrun.survey.layout import layout_of
from batchrun.survey.survey import Survey


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of a submit is told of: `counters` of what it has done, `started` in seconds since the
    epoch. For the holder of the run folder's lock.

    `earlier` is what `run.json` says, where this is no submit: how the last one went and what stopped it.
    """

    job: Job
    run: RunFolder
    prices: ModelPrices
    counters: Counters
    progress: Progress
    started: float
    earlier: Mapping[str, Any] | None = None

    def finish(self, survey: Survey, stop: Stop | None = None, *, rerun: bool = False) -> Summary:
        """Publish what is there, add it up, and write it down.

        `rerun`: older answers that the user has kept wait to be replaced. Raises StorageError when the
        disk refuses it.
        """
        self.progress.phase("publishing results")
        release_memory()  # of the asking: matching the answers with the rows takes some itself
        survey = replace(survey, checkpoint=read_checkpoint(self.run.checkpoint_path))
        states = survey.states(rerun=rerun)
        try:
            if not (stop and stop.at_once):
                self._publish(survey, states)
                forget_replaced(self.run.checkpoint_path, states)
        except OSError as error:
            remedy = "Free some space" if is_full(error) else "Put that right"
            raise StorageError(
                f"cannot publish the results in {self.run.path}: {error.strerror}",
                hint=f"Every answer is kept. {remedy}, then submit again.",
            ) from error
        number = counts(states)
        del states  # adding up takes some memory itself
        summary = self._summary(survey, number, stop)
        write_atomically(self.run.run_json, codec.dumps(summary.document()) + b"\n")
        return summary

    def _publish(self, survey: Survey, states: pl.DataFrame) -> None:
        layout = layout_of(self.job, survey.renderer, survey.columns)
        identity = codec.digest(codec.dumps([survey.identity, self.job.output.model_dump()]))
        publisher = Publisher(self.run, layout, survey.identifier, identity)
        publisher.publish(survey.source.batches(), states)

    def _summary(self, survey: Survey, number: Mapping[State, int], stop: Stop | None) -> Summary:
        ok, failed = number[State.OK] + number[State.KEPT], number[State.FAILED] + number[State.RETRY]
        pending = number[State.NEW] + number[State.CHANGED]
        if ok + failed + pending != survey.facts.rows:
            raise BatchrunError(
                f"{survey.facts.rows} rows went in; {ok} ok + {failed} failed + {pending} pending came out",
                hint="This is a bug in batchrun: please report it. The checkpoint is intact, keep it.",
            )
        totals, records = read_totals(self.run.results), read_records(self.run.checkpoint_path)
        spent = with_held(survey.checkpoint.spend(self.prices.of_name).total(), records)
        checks = () if stop and stop.at_once else self._evaluate(survey)
        exit_code = _exit_code(stop, pending, checks)
        earlier = self.earlier
        if earlier is not None and pending:
            stop = _stopped_before(earlier)
        return Summary(
            name=self.job.name,
            state=_state(stop, pending, was_killed=_was_killed(earlier)),
            exit_code=exit_code,
            rows=survey.facts.rows,
            ok=ok,
            failed=failed,
            pending=pending,
            changed=number[State.CHANGED],
            stale=number[State.KEPT],
            errors=totals.errors,
            usage=totals.usage,
            cost_usd=totals.cost_usd,
            latency=totals.latency,
            possibly_paid=totals.possibly_paid + survey.checkpoint.possibly_paid(),
            saved_usd=self._saved(totals.usage_by_model),
            budget=budget_of(self.job),
            spent=asdict(spent if totals.cost_usd is not None else self.prices.known_of(spent)),
            cut=totals.cut,
            stopped_by=stop,
            checks=checks,
            submit=self._submit() if earlier is None else dict(earlier.get("submit", {})),
            ways={name: asdict(way) for name, way in totals.ways.items()},
            batches=tuple(asdict(Batch.of(record)) for record in records),
            run_folder=self.job.output_shown,
            results=f"{self.job.output_shown}/results/*.parquet",
            version=__version__,
        )

    def _submit(self) -> dict[str, Any]:
        """What this submit alone has done."""
        return {
            "started_at": datetime.fromtimestamp(self.started, tz=UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.started, 3),
            "rows": self.counters.finished,
            "ok": self.counters.ok,
            "failed": self.counters.failed,
            "calls": self.counters.calls,
            "hedged": self.counters.hedged,
            "recovered": self.counters.recovered,
            "cost_usd": self.counters.cost_usd,
            "tool_calls": self.counters.tool_calls,
            "tool_errors": self.counters.tool_errors,
        }

    def _evaluate(self, survey: Survey) -> tuple[CheckOutcome, ...]:
        """The job's checks, over the published results."""
        columns = layout_of(self.job, survey.renderer, survey.columns).schema()
        return evaluate(self.job, columns, self.run.results)

    def _saved(self, usages: Mapping[str, Usage]) -> float | None:
        """What the providers' caches saved, where prices are known and anything was cached."""
        price = self.prices.of_name
        saved = [found.saved(usage) for model, usage in usages.items() if (found := price(model))]
        return sum(saved) if any(saved) else None


def budget_of(job: Job) -> dict[str, Any]:
    """The amounts of a job's budget, as far as it gives any."""
    return job.budget.model_dump(exclude_none=True, exclude={"soft"})


def _exit_code(stop: Stop | None, pending: int, checks: Sequence[CheckOutcome]) -> int:
    """What the shell sees; while rows are pending, as after `--limit`, the checks do not decide."""
    if stop is not None:
        return stop.exit_code
    return 0 if pending or all(check.holds for check in checks) else 1


def _was_killed(earlier: Mapping[str, Any] | None) -> bool:
    return earlier is not None and earlier.get("state", "running") == "running"


def _stopped_before(earlier: Mapping[str, Any]) -> Stop | None:
    """What stopped the last submit, where that came to its end."""
    said = None if _was_killed(earlier) else earlier.get("stopped_by")
    return Stop(said["kind"], said["message"]) if said else None


def _state(stop: Stop | None, pending: int, *, was_killed: bool) -> RunState:
    if stop is not None and stop.kind in ("SIGINT", "SIGTERM"):
        return "interrupted"
    if stop is not None and stop.kind == "waiting":
        return "waiting"
    if pending and was_killed:
        return "interrupted"
    return "stopped" if stop or pending else "finished"
