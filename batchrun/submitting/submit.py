"""`submit`: bring the output of a job up to date with its input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from batchrun import __version__, codec
from batchrun.endpoints.checks import check_keys, check_simulators
from batchrun.engines.control import SEAL_ROWS
from batchrun.engines.open_files import fitting, raise_limit
from batchrun.engines.uploading import INTERVAL
from batchrun.errors import JobError, UsageError
from batchrun.forecast import canary, first_requests
from batchrun.job import Job, ModelChoice
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress
from batchrun.remote.held import Held
from batchrun.remote.lease import TTL
from batchrun.remote.work import account_for_loss, give_back, held_run
from batchrun.run_folder.checkpoint.batches import read_records
from batchrun.run_folder.disk import write_atomically
from batchrun.run_folder.folder import RunFolder, storage_of
from batchrun.run_folder.lock import locked
from batchrun.run_folder.log import Log, open_log
from batchrun.run_folder.room import too_little
from batchrun.spending.caps import unbounded, uncounted
from batchrun.submitting.changes import decide, require_same
from batchrun.submitting.finishing import Ending, budget_of
from batchrun.submitting.opening import open_run
from batchrun.summary import Counters, Stop, Summary
from batchrun.survey.layout import result_types
from batchrun.survey.survey import Survey, to_do
from batchrun.wording import counted

if TYPE_CHECKING:
    from batchrun.batches.driving import ByBatches
    from batchrun.engines.tasks import Chains

LOOKS = (0.0, 2.0, 8.0)
"""Lists of batches may be some seconds behind."""


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
    wait: bool = True
    """Whether to wait for batches that are with a provider."""
    batches: Mapping[str, str] = field(default_factory=dict)
    """What became of a batch of which that is not known, by its name in `status`: an id there, or `none`."""
    looks: tuple[float, ...] = LOOKS
    """Seconds before each look for a batch whose creation was not answered."""
    drain: float = 30.0
    interrupts: Callable[[], int] | None = None
    """How often the user has asked to stop: for a submit outside the main thread, which no signal reaches."""
    seal_rows: int = SEAL_ROWS
    """Finished rows after which a journal file becomes a sealed part: fewer where rows are very large."""
    upload_interval: float = INTERVAL
    """Seconds between two uploads to object storage."""
    lease: float = TTL
    """Seconds of silence after which a run in object storage may be taken over."""


def submit(job: Job, options: Options, *, env: Mapping[str, str], progress: Progress) -> Summary:
    """Ask for every row that has no answer, and publish the results.

    Gives the run's summary; what is wrong with single rows is in the results. Raises a
    BatchrunError when the run cannot go on.
    """
    if job.engine.kind != "ray":  # workers look in the environment of their own nodes
        check_keys(_with_retry_model(job, options), env)
    check_simulators(_with_retry_model(job, options))
    _check_waiting(job, options)
    run = RunFolder(job.output_path)
    if job.output_place:
        progress.phase(f"fetching {job.output_place}")
    with held_run(job, progress.say, ttl=options.lease) as remote:
        run.claim(job.name)
        with storage_of(run), locked(run.lock), open_log(run.log) as log:
            if remote:
                account_for_loss(remote, run, progress.say, log)
            summary = _Submit(job, options, env, progress, run, log, remote).run()
        if remote:
            give_back(remote, summary, say=progress.say, phase=progress.phase)
        return summary


class _Submit:
    """One submit, from the survey to the summary; it holds the run folder's lock."""

    def __init__(
        self,
        job: Job,
        options: Options,
        env: Mapping[str, str],
        progress: Progress,
        run: RunFolder,
        log: Log,
        remote: Held | None,
    ) -> None:
        self._chain = len(job.models)
        self._job = fitting(_with_retry_model(job, options), raise_limit())
        self._options = options
        self._env = env
        self._progress = progress
        self._run = run
        self._log = log
        self._remote = remote
        self._prices = ModelPrices(self._job, time.time())
        self._counters = Counters()
        self._started = time.time()
        self._states: pl.DataFrame | None = None

    def run(self) -> Summary:
        """All of it."""
        before = self._run.read_run_json().get("rows")
        found = open_run(self._job, self._run, self._progress, self._log)
        if isinstance(before, int) and found.facts.rows < before:
            self._progress.say(_fewer(before - found.facts.rows))
        stop = self._ask(found, self._to_do(found), found.renderer.snapshot())
        ending = Ending(self._job, self._run, self._prices, self._counters, self._progress, self._started)
        summary = ending.finish(found, stop, rerun=self._options.rerun_changed)
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
        require_same(found, states, self._job, rerun=options.rerun_changed, given=options.batches)
        rows = to_do(states, rerun_changed=options.rerun_changed)
        if self._job.engine.kind == "provider_batch":
            self._states = states
            return rows  # of which some may be with a provider already: the limit is for the others
        by_hash = found.checkpoint.unfinished or self._job.engine.kind == "ray"
        if not by_hash:  # by which rows find what was under way, and workers that they read the same row
            rows = rows.drop("key", "hash")  # 16 bytes a row, as long as rows are asked for
        return rows if options.limit is None else rows.head(options.limit)

    def _say_running(self, found: Survey, to_do: int) -> None:
        """Let `run.json` say that a submit is at work, for whoever looks meanwhile."""
        now = {
            "name": self._job.name,
            "state": "running",
            "rows": found.facts.rows,
            "pending": to_do,
            "budget": budget_of(self._job),
            "run_folder": self._job.output_shown,
            "version": __version__,
        }
        write_atomically(self._run.run_json, codec.dumps({**self._run.read_run_json(), **now}) + b"\n")

    def _ask(self, found: Survey, rows: pl.DataFrame, snapshot: str) -> Stop | None:
        """Ask for `rows`, if any; what stopped it."""
        self._check_caps(found, rows)
        result_types(found.renderer).save(self._run.checkpoint)
        write_atomically(self._run.job_yaml, snapshot.encode())
        self._log("start", rows=found.facts.rows, to_do=len(rows), version=__version__)
        if rows.is_empty() and not read_records(self._run.checkpoint):
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
        engine = self._job.engine
        by = f" by {counted(engine.workers, 'worker')}" if engine.kind == "ray" else ""
        by = " by batches" if engine.kind == "provider_batch" else by
        self._progress.phase(f"asking for {counted(len(rows), 'row')}{by}")
        from batchrun.engines.tasks import Chains
        from batchrun.submitting.asking import Asking  # what makes calls takes a seventh of a start to load

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
            remote=self._remote,
            upload_interval=options.upload_interval,
            by_batches=self._by_batches(found, chains, first.rows),
        )
        return asking.ask(rows)

    def _by_batches(self, found: Survey, chains: Chains, canary: int | None) -> ByBatches | None:
        """How the rows go through batches, where the job says so."""
        if self._job.engine.kind != "provider_batch":
            return None
        from batchrun.batches.driving import ByBatches

        assert self._states is not None, "what is to do has been found out"
        return ByBatches(
            survey=found,
            chains=chains,
            states=self._states,
            limit=self._options.limit,
            canary=canary,
            given=self._options.batches,
            waits=self._options.wait,
            ship=partial(self._remote.ship) if self._remote else _nowhere,
            looks=self._options.looks,
        )

    def _check_caps(self, found: Survey, rows: pl.DataFrame) -> None:
        """Raises JobError when a cap of the budget cannot be kept, because a request has no upper bound."""
        if reasons := unbounded(self._job, first_requests(found, rows), now=time.time()):
            key, _, why = reasons[0].removeprefix("budget.").partition(": ")
            where = self._job.where("budget", key)
            raise JobError(f"{where}: {why}", hint="\n".join(reasons[1:]) or None)


def _check_waiting(job: Job, options: Options) -> None:
    """Raises UsageError for what is said of batches where there are none that outlive the submit."""
    said = [*([] if options.wait else ["--no-wait"]), *(["--batch"] if options.batches else [])]
    if not said:
        return
    if job.engine.kind != "provider_batch":
        raise UsageError(
            f"{said[0]} is for engine.kind: provider_batch, and this job makes its calls itself",
            hint=f"Set engine.kind: provider_batch, or leave {said[0]} out.",
        )
    if not all(job.endpoints[model.endpoint].base_urls for model in job.models):
        raise UsageError(
            f"{said[0]}: the simulator of this job ends with its submit, and its batches with it",
            hint="Start one with `batchrun simulate`, and give its address as base_url.",
        )


def _nowhere() -> bool:
    """The run is kept on this machine alone."""
    return False


def _fewer(rows: int) -> str:
    are = "are" if rows > 1 else "is"
    return (
        f"{counted(rows, 'row')} fewer than at the last submit {are} chosen of the input: the results show "
        "the chosen ones. The other answers are kept, for when their rows come back, until `batchrun gc` "
        "drops them"
    )


def _with_retry_model(job: Job, options: Options) -> Job:
    """The job with the model of failed rows at the end of its chain."""
    return replace(job, models=(*job.models, options.retry_model)) if options.retry_model else job
