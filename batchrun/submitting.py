"""`submit`: bring the output of a job up to date with its input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from batchrun import __version__, codec
from batchrun.caps import unbounded, uncounted
from batchrun.changes import decide, forget_replaced
from batchrun.checks import evaluate
from batchrun.clock import SystemClock
from batchrun.endpoint_checks import check_keys, check_simulators
from batchrun.engines.local import SEAL_ROWS
from batchrun.engines.open_files import fitting, raise_limit
from batchrun.errors import BatchrunError, JobError, StorageError
from batchrun.forecast import canary, first_requests
from batchrun.index import State, counts
from batchrun.job import Job, ModelChoice
from batchrun.layout import layout_of, result_types
from batchrun.outcome import Usage
from batchrun.previous import not_there
from batchrun.pricing import ModelPrices
from batchrun.progress import Progress
from batchrun.run_folder.checkpoint import read_checkpoint, write_admitted
from batchrun.run_folder.folder import RunFolder, storage_of, write_atomically
from batchrun.run_folder.journal import is_full
from batchrun.run_folder.leftovers import sweep
from batchrun.run_folder.lock import locked
from batchrun.run_folder.log import Log, open_log
from batchrun.run_folder.publish import Publisher, release_memory
from batchrun.run_folder.room import too_little
from batchrun.run_folder.totals import read_totals
from batchrun.summary import CheckOutcome, Counters, RunState, Stop, Summary
from batchrun.survey import Survey, survey, to_do


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says beside the job; times in seconds."""

    rerun_changed: bool = False
    keep_changed: bool = False
    retry_failed: frozenset[str] = frozenset()
    """Error types whose failed rows are asked again although a decision would be needed."""
    retry_model: ModelChoice | None = None
    """Asked in place of the job's models, for the rows of `retry_failed` alone."""
    limit: int | None = None
    """At most so many rows now; the rest stays pending."""
    drain: float = 30.0
    interrupts: Callable[[], int] | None = None
    """How often the user has asked to stop: for a submit outside the main thread, which no signal reaches."""
    seal_rows: int = SEAL_ROWS
    """Finished rows after which a journal file becomes a sealed part: fewer where rows are very large."""


def submit(job: Job, options: Options, *, env: Mapping[str, str], progress: Progress) -> Summary:
    """Ask for every row that has no answer, and publish the results.

    Gives the run's summary; what is wrong with single rows is in the results. Raises a
    BatchrunError when the run cannot go on.
    """
    check_keys(_with_retry_model(job, options), env)
    check_simulators(_with_retry_model(job, options))
    run = RunFolder(job.output_path)
    run.claim(job.name)
    with storage_of(run), locked(run.lock), open_log(run.log) as log:
        return _Submit(job, options, env, progress, run, log).run()


class _Submit:
    """One submit, from the survey to the summary; it holds the run folder's lock."""

    def __init__(
        self, job: Job, options: Options, env: Mapping[str, str], progress: Progress, run: RunFolder, log: Log
    ) -> None:
        self._chain = len(job.models)
        self._job = fitting(_with_retry_model(job, options), raise_limit())
        self._options = options
        self._env = env
        self._progress = progress
        self._run = run
        self._log = log
        self._prices = ModelPrices(self._job, time.time())
        self._counters = Counters()
        self._started = time.time()

    def run(self) -> Summary:
        """All of it."""
        sweep(self._run, keep=self._job.input.path or "")
        self._progress.phase(f"reading {self._job.input.place}")
        found = survey(self._job, on_rows=self._progress.read, keep_index=True)
        if waiting := not_there(found.job, found.source):
            self._progress.say(waiting)
        if not found.facts.rows:
            self._progress.say(
                f"no row of {self._job.input.place} is chosen: look at input.where and the file"
            )
        self._report_damage(found)
        if found.checkpoint.journals:  # before the files go that hold the last minute's calls
            from batchrun.restore import gates  # not for a submit that finds nothing to do

            write_admitted(self._run.checkpoint, gates(self._job, found.checkpoint, SystemClock()).snapshot())
        found.checkpoint.seal()
        result_types(found.renderer).save(self._run.checkpoint)
        stop = self._ask(found, self._to_do(found), found.renderer.snapshot())
        summary = self._finish(found, stop)
        self._log("end", state=summary.state, exit_code=summary.exit_code)
        return summary

    def _to_do(self, found: Survey) -> pl.DataFrame:
        """The rows to ask for now."""
        options = self._options
        states = decide(
            found,
            rerun=options.rerun_changed,
            keep=options.keep_changed,
            retry_failed=options.retry_failed,
        )
        rows = to_do(states, rerun_changed=options.rerun_changed)
        rows = rows.drop("key", "hash")  # 16 bytes a row, as long as rows are asked for
        return rows if self._options.limit is None else rows.head(self._options.limit)

    def _report_damage(self, found: Survey) -> None:
        for damage in found.checkpoint.damage:
            kind = "an unfinished last record" if damage.is_tail else "a damaged record"
            self._progress.say(
                f"{damage.path}:{damage.line}: {kind} of {damage.bytes} bytes was passed over; "
                "if it was an answer, its row is asked again"
            )
            self._log("damage", path=damage.path.name, line=damage.line, bytes=damage.bytes)

    @property
    def _budget(self) -> dict[str, Any]:
        return self._job.budget.model_dump(exclude_none=True, exclude={"soft"})

    def _say_running(self, found: Survey, to_do: int) -> None:
        """Let `run.json` say that a submit is at work, for whoever looks meanwhile."""
        now = {
            "name": self._job.name,
            "state": "running",
            "rows": found.facts.rows,
            "pending": to_do,
            "budget": self._budget,
            "run_folder": str(self._run.path),
            "version": __version__,
        }
        write_atomically(self._run.run_json, codec.dumps({**self._run.read_run_json(), **now}) + b"\n")

    def _ask(self, found: Survey, rows: pl.DataFrame, snapshot: str) -> Stop | None:
        """Ask for `rows`, if any; what stopped it."""
        self._check_caps(found, rows)
        write_atomically(self._run.job_yaml, snapshot.encode())
        self._log("start", rows=found.facts.rows, to_do=len(rows), version=__version__)
        if rows.is_empty():
            return None
        if reason := too_little(self._run.path):
            return Stop("storage", reason)
        retry = self._options.retry_failed
        first = canary(self._job, lambda: found.states(retry), retrying=bool(retry))
        if first.failed:
            return Stop("canary", first.failed)
        for sentence in uncounted(self._job, self._prices):
            self._progress.say(sentence)
        self._say_running(found, len(rows))
        self._counters.to_do = len(rows)
        self._progress.phase(f"asking for {len(rows):,} row{'s' if len(rows) > 1 else ''}")
        from batchrun.asking import Asking  # what makes calls takes a seventh of a start to load
        from batchrun.tasks import Chains

        options = self._options
        chains = Chains(tuple(range(self._chain)))
        if options.retry_model:
            chains = Chains(chains.usual, (self._chain,), options.retry_failed)
        wall_time = self._job.budget.wall_time
        asking = Asking(
            survey=found,
            chains=chains,
            env=self._env,
            drain=options.drain,
            counters=self._counters,
            progress=self._progress,
            log=self._log,
            prices=self._prices,
            spent=found.checkpoint.spend(self._prices.spelled),
            time_left=None if wall_time is None else wall_time - (time.time() - self._started),
            canary=first.rows,
            seal_rows=options.seal_rows,
            interrupts=options.interrupts,
        )
        return asking.ask(rows)

    def _check_caps(self, found: Survey, rows: pl.DataFrame) -> None:
        """Raises JobError when a cap of the budget cannot be kept, because a request has no upper bound."""
        if reasons := unbounded(self._job, first_requests(found, rows), now=time.time()):
            key, _, why = reasons[0].removeprefix("budget.").partition(": ")
            where = self._job.where("budget", key)
            raise JobError(f"{where}: {why}", hint="\n".join(reasons[1:]) or None)

    def _finish(self, found: Survey, stop: Stop | None) -> Summary:
        """Publish what is there, add it up, and write it down."""
        self._progress.phase("publishing results")
        release_memory()  # of the asking: matching the answers with the rows takes some itself
        found = replace(found, checkpoint=read_checkpoint(self._run.checkpoint))
        states = found.states(rerun=self._options.rerun_changed)
        try:
            if not (stop and stop.at_once):
                self._publish(found, states)
                forget_replaced(self._run.checkpoint, states)
        except OSError as error:
            remedy = "Free some space" if is_full(error) else "Put that right"
            raise StorageError(
                f"cannot publish the results in {self._run.path}: {error.strerror}",
                hint=f"Every answer is kept. {remedy}, then submit again.",
            ) from error
        number = counts(states)
        del states  # adding up takes some memory itself
        summary = self._summary(found, number, stop)
        write_atomically(self._run.run_json, codec.dumps(summary.document()) + b"\n")
        return summary

    def _publish(self, found: Survey, states: pl.DataFrame) -> None:
        layout = layout_of(self._job, found.renderer, found.columns)
        identity = codec.digest(codec.dumps([found.identity, self._job.output.model_dump()]))
        publisher = Publisher(self._run, layout, found.identifier, identity)
        publisher.publish(found.source.batches(), states)

    def _summary(self, found: Survey, number: Mapping[State, int], stop: Stop | None) -> Summary:
        ok, failed = number[State.OK] + number[State.KEPT], number[State.FAILED] + number[State.RETRY]
        pending = number[State.NEW] + number[State.CHANGED]
        if ok + failed + pending != found.facts.rows:
            raise BatchrunError(
                f"{found.facts.rows} rows went in; {ok} ok + {failed} failed + {pending} pending came out",
                hint="This is a bug in batchrun: please report it. The checkpoint is intact, keep it.",
            )
        totals = read_totals(self._run.results)
        spent = found.checkpoint.spend(self._prices.spelled).total()
        checks = () if stop and stop.at_once else self._evaluate(found)
        return Summary(
            name=self._job.name,
            state=_state(stop, pending),
            exit_code=_exit_code(stop, pending, checks),
            rows=found.facts.rows,
            ok=ok,
            failed=failed,
            pending=pending,
            changed=number[State.CHANGED],
            stale=number[State.KEPT],
            errors=totals.errors,
            usage=totals.usage,
            cost_usd=totals.cost_usd,
            latency=totals.latency,
            possibly_paid=totals.possibly_paid + found.checkpoint.possibly_paid(),
            saved_usd=self._saved(totals.usage_by_model),
            budget=self._budget,
            spent=asdict(spent if totals.cost_usd is not None else self._prices.known_of(spent)),
            cut=totals.cut,
            stopped_by=stop,
            checks=checks,
            submit={
                "started_at": datetime.fromtimestamp(self._started, tz=UTC).isoformat(timespec="seconds"),
                "seconds": round(time.time() - self._started, 3),
                "rows": self._counters.finished,
                "ok": self._counters.ok,
                "failed": self._counters.failed,
                "calls": self._counters.calls,
                "hedged": self._counters.hedged,
                "cost_usd": self._counters.cost_usd,
                "tool_calls": self._counters.tool_calls,
                "tool_errors": self._counters.tool_errors,
            },
            run_folder=str(self._run.path),
            results=str(self._run.results / "*.parquet"),
            version=__version__,
        )

    def _evaluate(self, found: Survey) -> tuple[CheckOutcome, ...]:
        """The job's checks, over the published results."""
        columns = layout_of(self._job, found.renderer, found.columns).schema()
        return evaluate(self._job, columns, self._run.results)

    def _saved(self, usages: Mapping[str, Usage]) -> float | None:
        """What the providers' caches saved, where prices are known and anything was cached."""
        price = self._prices.spelled
        saved = [found.saved(usage) for model, usage in usages.items() if (found := price(model))]
        return sum(saved) if any(saved) else None


def _with_retry_model(job: Job, options: Options) -> Job:
    """The job with the model of failed rows at the end of its chain."""
    return replace(job, models=(*job.models, options.retry_model)) if options.retry_model else job


def _exit_code(stop: Stop | None, pending: int, checks: Sequence[CheckOutcome]) -> int:
    """What the shell sees; while rows are pending, as after `--limit`, the checks do not decide."""
    if stop is not None:
        return stop.exit_code
    return 0 if pending or all(check.holds for check in checks) else 1


def _state(stop: Stop | None, pending: int) -> RunState:
    if stop is not None and stop.kind in ("SIGINT", "SIGTERM"):
        return "interrupted"
    return "stopped" if stop or pending else "finished"
