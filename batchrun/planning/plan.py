"""`plan`: what a submit would do, without a call and without a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from time import time
from typing import TYPE_CHECKING, Any

import polars as pl

from batchrun import codec
from batchrun.budget import Amounts
from batchrun.clock import SystemClock
from batchrun.endpoints.checks import check_keys, check_simulators
from batchrun.engines.restore import gates
from batchrun.errors import ChangedRowsError, UsageError
from batchrun.forecast import (
    Forecast,
    canary,
    doors,
    first_bound,
    first_requests,
    holds,
    left,
    over_budget,
)
from batchrun.forecast.by_batch import goes_by_batch
from batchrun.forecast.pace import is_auto, tighter
from batchrun.index import Facts, State, counts
from batchrun.job import Job
from batchrun.planning.by_batch import batch_doubts
from batchrun.planning.doubts import doubts
from batchrun.planning.examples import Example, example_of, examples
from batchrun.planning.limits import PlannedLimit, limits_of
from batchrun.planning.looked import Looked, look
from batchrun.remote.reading import find_copy, is_at_work
from batchrun.run_folder.checkpoint.with_providers import Batch
from batchrun.run_folder.lock import is_locked
from batchrun.spending.caps import unbounded
from batchrun.submitting.changes import edited_since, failed_by_form, left_behind, require_same
from batchrun.submitting.edits import is_of_form
from batchrun.survey.previous import not_there
from batchrun.survey.survey import Survey, duplicates

if TYPE_CHECKING:
    from batchrun.admission import Admission


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the chain, where it is, and the limits that its calls keep to."""

    model: str
    base_url: str | None
    """None where batchrun starts the simulator."""
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    """Calls under way at once, at most."""
    auto: bool = False
    """Whether it is found out while the run goes how many there may be."""
    limits: tuple[PlannedLimit, ...] = ()
    """All of them, with who says so: the job, answers that an earlier submit got, or nobody."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a submit would do.

    Attributes:
        rows: how many rows are in each state, by the lower-case names of `index.State`; and `removed`: rows
            that an answer in the checkpoint belongs to, and that are not among the job's any more.
        to_do: rows that would be asked, those that are with a provider aside.
        with_provider: rows that are with a provider already, in `batches`: the next submit fetches their
            answers.
        duplicates: rows that take the answer of an equal request that is asked (`dedupe`).
        forecast: what asking for them takes.
        spent: what counts against the budget already.
        left: what the budget still allows, by its keys.
        over_budget: which parts of the budget the high estimate exceeds, a sentence each.
        stops: why a submit would send nothing now, though it can be continued, a sentence each; where what is
            left of the budget is the reason, `over_budget` says so.
        undecided: whether a submit would ask what to do about answers that an edit leaves behind.
        unfit: rows among the new ones whose answers failed by a schema that alone has been edited since.
        left_behind: why, where the job and its rows have changed at once.
        reparse: whether nothing but the schema has changed since the last submit, so that `reparse` is a way.
        sends: whether nothing of that kind keeps it from sending.
        opens: when a model is open again, in seconds since the epoch; None where one is open.
        facts: what the pass over the input counted.
        columns: of the input, with their types.
        checks: what the finished run is held to: which rows, and how many there should be.
        examples: some rows as they would be asked.
        warnings: what is likely not meant, each with what to do about it.
        obstacles: what would keep a submit from starting, likewise.
        batches: those that are with a provider, as it told last.
        running: another submit is at work on the run folder, which is one of them.
    """

    name: str
    rows: dict[str, int]
    to_do: int
    with_provider: int
    duplicates: int
    forecast: Forecast
    spent: Amounts
    left: dict[str, float]
    over_budget: tuple[str, ...]
    stops: tuple[str, ...]
    undecided: bool
    unfit: int
    left_behind: str | None
    reparse: bool
    sends: bool
    opens: float | None
    facts: Facts
    input: str
    columns: dict[str, str]
    models: tuple[PlannedModel, ...]
    checks: dict[str, str]
    examples: tuple[Example, ...]
    warnings: tuple[str, ...]
    obstacles: tuple[str, ...]
    running: bool
    batches: tuple[Batch, ...]
    run_folder: str
    results: str

    @property
    def exit_code(self) -> int:
        """2 when a submit would be refused, once no other one is running; 6 when finished rows would be paid
        for again; 3 when it would stop at once, or what is left of the budget may not be enough."""
        if len(self.obstacles) > self.running:
            return 2
        if self.undecided:
            return 6
        return 3 if self.over_budget or self.stops else 0

    def document(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {**asdict(self), "exit_code": self.exit_code}


def plan(
    job: Job,
    *,
    env: Mapping[str, str],
    on_rows: Callable[[int], None],
    rerun_changed: bool = False,
    retry_failed: frozenset[str] = frozenset(),
    example: str | None = None,
) -> Plan:
    """Look at the input and the checkpoint; another submit may be running on the folder.

    `example` is the id of the only row to show, in place of three (`examples`). Raises JobError, InputError,
    and UsageError when no row has that id, or it cannot be rendered.
    """
    check_simulators(job)
    now = time()
    at_work = _at_work_elsewhere(job)
    seen = look(job, on_rows, retry_failed, now, rerun_changed=rerun_changed)
    found, states, asked = seen.survey, seen.states, seen.to_do
    number = counts(states)
    shown = _shown(seen, example)
    running = at_work or is_locked(found.run.lock)
    admission = gates(job, found.checkpoint, SystemClock())
    open_to = doors(job, admission)
    first = canary(job, lambda: states, retrying=bool(retry_failed))
    behind = None if rerun_changed else _left_behind(found, states)
    unfit = 0 if rerun_changed else len(failed_by_form(found, states, retry_failed))
    stops = (*open_to.stops(), *filter(None, [first.failed])) if seen.forecast.rows else ()
    in_batches = goes_by_batch(job) and first.rows is None
    next_call = first_bound(found, asked, open_to.first or 0, now=now, in_batches=in_batches)
    by_state = {state.name.lower(): rows for state, rows in number.items()}
    return Plan(
        name=job.name,
        rows={**by_state, "removed": seen.removed},
        to_do=len(asked),
        with_provider=seen.with_provider,
        duplicates=duplicates(states, rerun_changed=rerun_changed),
        forecast=seen.forecast,
        spent=seen.spent,
        left=left(job, seen.spent),
        over_budget=tuple(over_budget(job, seen.forecast, seen.spent, next_call, now=now)),
        stops=stops,
        undecided=behind is not None or bool(unfit or (number[State.CHANGED] and not rerun_changed)),
        unfit=unfit,
        left_behind=behind,
        reparse=is_of_form(edited_since(found)),
        sends=not stops and holds(job, seen.spent, next_call),
        opens=open_to.opens,
        facts=found.facts,
        input=job.input.place,
        columns={field.name: str(field.type) for field in found.columns},
        models=tuple(_planned(found, at, admission) for at in range(len(job.models))),
        checks={check.name: str(check.wanted) for check in job.checks},
        examples=shown,
        warnings=(
            *doubts(found, shown, answered=bool(number[State.OK])),
            *batch_doubts(found),
            *open_to.warnings(job),
            *filter(None, [not_there(job, found.source)]),
        ),
        obstacles=tuple(_obstacles(seen, env, now, running=running, rerun_changed=rerun_changed)),
        running=running,
        batches=tuple(map(Batch.of, seen.records)),
        run_folder=job.output_shown,
        results=f"{job.output_shown}/results/*.parquet",
    )


def _at_work_elsewhere(job: Job) -> bool:
    """Whether a machine works on the run in object storage, of which the local copy is brought up to date."""
    if job.output_place is None:
        return False
    find_copy(job.output_place, job.output_path, say=lambda _text: None)
    return is_at_work(job.output_place)


def _shown(seen: Looked, wanted: str | None) -> tuple[Example, ...]:
    """Rows that would be asked, where there are any, or the one that is `wanted`."""
    if wanted is not None:
        return (example_of(seen.survey, wanted),)
    return tuple(examples(seen.survey, seen.to_do if len(seen.to_do) else seen.states))


def _left_behind(found: Survey, states: pl.DataFrame) -> str | None:
    """What a submit would stop with, where the job and its rows have changed at once."""
    error = left_behind(found, states)
    if error is None:
        return None
    return f"a submit stops with exit code {error.exit_code}: {error.message}. {error.hint}"


def _planned(found: Survey, at: int, admission: Admission) -> PlannedModel:
    job, model = found.job, found.job.models[at]
    return PlannedModel(
        model.spelled,
        job.endpoints[model.endpoint].base_url,
        rpm=tighter(job, model, "rpm"),
        tpm=tighter(job, model, "tpm"),
        concurrency=tighter(job, model, "most_in_flight"),
        auto=is_auto(job, model),
        limits=tuple(limits_of(job, at, admission, found.checkpoint)),
    )


def _obstacles(
    seen: Looked, env: Mapping[str, str], now: float, *, running: bool, rerun_changed: bool
) -> Iterator[str]:
    job, run = seen.survey.job, seen.survey.run
    try:
        if job.engine.kind != "ray":
            check_keys(job, env)
    except UsageError as error:
        yield ". ".join(filter(None, [error.message, error.hint]))
    if run.identity.exists():
        owner = codec.loads(run.identity.read_bytes()).get("name")
        if owner != job.name:
            yield (
                f"the run folder holds the run of another job, {owner!r}. "
                "Give this job another output.path, or another --name."
            )
    if running:
        yield "another submit is running on the run folder. Wait until it has ended, or stop it."
    if seen.records:
        try:
            require_same(seen.survey, seen.states, job, rerun=rerun_changed, given=())
        except ChangedRowsError as error:
            yield ". ".join(filter(None, [error.message, error.hint]))
    yield from unbounded(job, first_requests(seen.survey, seen.to_do), now=now)
