"""`submit`: bring the output of a job up to date with its input."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import polars as pl

from batchrun import __version__, codec
from batchrun.endpoints.checks import check_keys, check_simulators
from batchrun.engines.open_files import fitting, raise_limit
from batchrun.errors import JobError, UsageError
from batchrun.forecast import canary, first_requests
from batchrun.job import Job
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress
from batchrun.remote.leased_run import LeasedRun
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
from batchrun.submitting.options import Options
from batchrun.summary import Counters, Stop, Summary
from batchrun.survey.layout import result_types
from batchrun.survey.survey import Survey, to_do
from batchrun.wording import counted


def submit(job: Job, options: Options, *, env: Mapping[str, str], progress: Progress) -> Summary:
    """Ask for every row that has no answer, and publish the results.

    Gives the run's summary; what is wrong with single rows is in the results. Raises a
    BatchrunError when the run cannot go on.
    """
    all_models = _with_retry_model(job, options)
    if job.engine.kind != "ray":  # workers look in the environment of their own nodes
        check_keys(all_models, env)
    check_simulators(all_models)
    _check_waiting(job, options)
    run = RunFolder(job.output_path)
    if job.output_address:
        progress.phase(f"fetching {job.output_address}")
    with held_run(job, progress.say, ttl=options.lease, begins=True) as remote:
        run.claim(job.name)
        with storage_of(run), locked(run.lock), open_log(run.log) as log:
            if remote:
                account_for_loss(remote, run, progress.say, log)
            fitted = fitting(all_models, raise_limit())
            summary = _Submit(fitted, options, env, progress, run, log, remote).submit()
        if remote:
            give_back(remote, summary, say=progress.say, phase=progress.phase)
        return summary


class _Wanted(NamedTuple):
    """The rows to ask for now; `states` of all rows (see `index.match`), where they go by batches."""

    rows: pl.DataFrame
    states: pl.DataFrame | None


@dataclass(slots=True)
class _Submit:
    """One submit, from the survey to the summary; it holds the run folder's lock."""

    job: Job
    options: Options
    env: Mapping[str, str]
    progress: Progress
    run: RunFolder
    log: Log
    remote: LeasedRun | None
    counters: Counters = field(default_factory=Counters)
    started: float = field(default_factory=time.time)
    prices: ModelPrices = field(init=False)

    def __post_init__(self) -> None:
        self.prices = ModelPrices(self.job, self.started)

    def submit(self) -> Summary:
        """All of it, in the order in which it happens."""
        survey = self._survey()
        stop = self._ask(survey, self._choose(survey))  # the rows are not kept: the end takes memory, too
        return self._finish(survey, stop)

    def _survey(self) -> Survey:
        """The input beside the answers that are there."""
        before = self.run.read_run_json().get("rows")
        survey = open_run(self.job, self.run, self.progress, self.log)
        if isinstance(before, int) and survey.facts.rows < before:
            self.progress.say(_fewer(before - survey.facts.rows))
        return survey

    def _choose(self, survey: Survey) -> _Wanted:
        """The rows to ask for, once it is clear what becomes of changed ones. Raises ChangedRowsError."""
        options = self.options
        rerun = options.rerun_changed
        states = decide(survey, rerun=rerun, keep=options.keep_changed, retry_failed=options.retry_failed)
        require_same(survey, states, self.job, rerun=rerun, given=options.batches)
        rows = to_do(states, rerun_changed=rerun)
        if self.job.engine.by_batch:  # some may be with a provider already: the limit is for the others
            return _Wanted(rows, states)
        by_hash = survey.checkpoint.unfinished or self.job.engine.kind == "ray"
        if not by_hash:  # by which rows find what was under way, and workers that they read the same row
            rows = rows.drop("key", "hash")  # 16 bytes a row, as long as rows are asked for
        return _Wanted(rows if options.limit is None else rows.head(options.limit), None)

    def _ask(self, survey: Survey, wanted: _Wanted) -> Stop | None:
        """Ask for the rows, if there are any and nothing speaks against it; what stopped it."""
        rows = len(wanted.rows)
        self._check_caps(survey, wanted.rows)
        self._write_down(survey, rows)
        if not rows and not read_records(self.run.checkpoint_path):
            return None
        if reason := too_little(self.run.path):
            return Stop("storage", reason)
        retry = self.options.retry_failed
        first = canary(self.job, lambda: survey.states(retry), retrying=bool(retry))
        if first.failed:
            return Stop("canary", first.failed)
        self._announce(survey, rows)
        from batchrun.submitting.engine_run import (
            EngineRun,
        )  # what makes calls takes a seventh of a start to load

        wall_time = self.job.budget.wall_time
        engine_run = EngineRun(
            survey,
            self.options,
            self.env,
            self.counters,
            self.progress,
            self.log,
            self.prices,
            self.remote,
            first.rows,
            None if wall_time is None else wall_time - (time.time() - self.started),
        )
        return engine_run.run(wanted.rows, wanted.states)

    def _finish(self, survey: Survey, stop: Stop | None) -> Summary:
        """Publish what is there, and add it up."""
        ending = Ending(self.job, self.run, self.prices, self.counters, self.progress, self.started)
        summary = ending.finish(survey, stop, rerun=self.options.rerun_changed)
        self.log("end", state=summary.state, exit_code=summary.exit_code)
        return summary

    def _check_caps(self, survey: Survey, rows: pl.DataFrame) -> None:
        """Raises JobError when a cap of the budget cannot be kept, because a request has no upper bound."""
        if reasons := unbounded(self.job, first_requests(survey, rows), now=time.time()):
            key, _, why = reasons[0].removeprefix("budget.").partition(": ")
            where = self.job.where("budget", key)
            raise JobError(f"{where}: {why}", hint="\n".join(reasons[1:]) or None)

    def _write_down(self, survey: Survey, to_do: int) -> None:
        """Keep the job as it is submitted, and the types of its results."""
        result_types(survey.renderer).save(self.run.checkpoint_path)
        write_atomically(self.run.job_yaml, survey.renderer.snapshot().encode())
        self.log("start", rows=survey.facts.rows, to_do=to_do, version=__version__)

    def _announce(self, survey: Survey, to_do: int) -> None:
        """Say what is asked for: to the user, and in `run.json` to whoever looks meanwhile."""
        for sentence in uncounted(self.job, self.prices):
            self.progress.say(sentence)
        now = {
            "name": self.job.name,
            "state": "running",
            "rows": survey.facts.rows,
            "pending": to_do,
            "budget": budget_of(self.job),
            "run_folder": self.job.output_shown,
            "version": __version__,
        }
        write_atomically(self.run.run_json, codec.dumps({**self.run.read_run_json(), **now}) + b"\n")
        self.counters.to_do = to_do
        engine = self.job.engine
        by = {"ray": f" by {counted(engine.workers, 'worker')}", "provider_batch": " by batches"}
        self.progress.phase(f"asking for {counted(to_do, 'row')}{by.get(engine.kind, '')}")


def _check_waiting(job: Job, options: Options) -> None:
    """Raises UsageError for what is said of batches where there are none that outlive the submit."""
    said = [*([] if options.wait else ["--no-wait"]), *(["--batch"] if options.batches else [])]
    if not said:
        return
    if not job.engine.by_batch:
        raise UsageError(
            f"{said[0]} is for engine.kind: provider_batch, and this job makes its calls itself",
            hint=f"Set engine.kind: provider_batch, or leave {said[0]} out.",
        )
    if not all(endpoint.base_urls for endpoint in job.used_endpoints.values()):
        raise UsageError(
            f"{said[0]}: the simulator of this job ends with its submit, and its batches with it",
            hint="Start one with `batchrun simulate`, and give its address as base_url.",
        )


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
