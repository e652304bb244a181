"""`plan`: what a submit would do, without a call and without a write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from time import time
from typing import Any, NamedTuple

from batchrun import codec
from batchrun.budget import Amounts
from batchrun.clock import SystemClock
from batchrun.endpoints.checks import check_keys, check_simulators
from batchrun.engines.restore import gates
from batchrun.errors import ChangedRowsError, UsageError
from batchrun.forecast import Forecast, first_requests
from batchrun.index import Facts, State, counts
from batchrun.job import Job
from batchrun.planning.doubts import doubts
from batchrun.planning.examples import Example, example_of, examples
from batchrun.planning.job_state import JobState, inspect
from batchrun.planning.left import left
from batchrun.planning.models import PlannedModel, planned_models
from batchrun.planning.outset import Outset, outset
from batchrun.remote.reading import find_copy, is_at_work
from batchrun.run_folder.checkpoint.with_providers import Batch
from batchrun.run_folder.lock import is_locked
from batchrun.spending.caps import unbounded
from batchrun.submitting.changes import edited_since, failed_by_form, left_behind, require_same
from batchrun.submitting.edits import is_of_form
from batchrun.survey.previous import not_there


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


class _Edits(NamedTuple):
    """What a submit would ask because of answers that an edit leaves behind; see `Plan`."""

    undecided: bool = False
    unfit: int = 0
    left_behind: str | None = None


def _edits(state: JobState, retry_failed: frozenset[str], *, rerun_changed: bool) -> _Edits:
    if rerun_changed:
        return _Edits()
    said, error = None, left_behind(state.survey, state.states)
    if error is not None:
        said = f"a submit stops with exit code {error.exit_code}: {error.message}. {error.hint}"
    unfit = len(failed_by_form(state.survey, state.states, retry_failed))
    return _Edits(bool(said or unfit or counts(state.states)[State.CHANGED]), unfit, said)


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
    now, at_work = time(), _at_work_elsewhere(job)
    state = inspect(job, on_rows, retry_failed, now, rerun_changed=rerun_changed)
    running = at_work or is_locked(state.survey.run.lock)
    admission = gates(job, state.survey.checkpoint, SystemClock())
    return _told(
        state,
        outset(state, admission, retrying=bool(retry_failed), now=now),
        _edits(state, retry_failed, rerun_changed=rerun_changed),
        models=planned_models(job, admission, state.survey.checkpoint),
        examples=_shown(state, example),
        obstacles=_obstacles(state, env, now, running=running, rerun_changed=rerun_changed),
        running=running,
    )


def _told(
    state: JobState,
    met: Outset,
    edits: _Edits,
    *,
    models: Iterable[PlannedModel],
    examples: tuple[Example, ...],
    obstacles: Iterable[str],
    running: bool,
) -> Plan:
    survey, job = state.survey, state.survey.job
    number = counts(state.states)
    return Plan(
        name=job.name,
        rows={**{kind.name.lower(): rows for kind, rows in number.items()}, "removed": state.removed},
        to_do=len(state.to_do),
        with_provider=state.with_provider,
        duplicates=state.duplicates,
        forecast=state.forecast,
        spent=state.spent,
        left=left(job, state.spent),
        over_budget=met.over_budget,
        stops=met.stops,
        undecided=edits.undecided,
        unfit=edits.unfit,
        left_behind=edits.left_behind,
        reparse=is_of_form(edited_since(survey)),
        sends=met.sends,
        opens=met.opens,
        facts=survey.facts,
        input=job.input.place,
        columns={field.name: str(field.type) for field in survey.columns},
        models=tuple(models),
        checks={check.name: str(check.wanted) for check in job.checks},
        examples=examples,
        warnings=(
            *doubts(survey, examples, answered=bool(number[State.OK])),
            *met.warnings,
            *filter(None, [not_there(job, survey.source)]),
        ),
        obstacles=tuple(obstacles),
        running=running,
        batches=tuple(map(Batch.of, state.records)),
        run_folder=job.output_shown,
        results=f"{job.output_shown}/results/*.parquet",
    )


def _at_work_elsewhere(job: Job) -> bool:
    """Whether a machine works on the run in object storage, of which the local copy is brought up to date."""
    if job.output_address is None:
        return False
    find_copy(job.output_address, job.output_path, say=lambda _text: None)
    return is_at_work(job.output_address)


def _shown(state: JobState, wanted: str | None) -> tuple[Example, ...]:
    """Rows that would be asked, where there are any, or the one that is `wanted`."""
    if wanted is not None:
        return (example_of(state.survey, wanted),)
    return tuple(examples(state.survey, state.to_do if len(state.to_do) else state.states))


def _obstacles(
    state: JobState, env: Mapping[str, str], now: float, *, running: bool, rerun_changed: bool
) -> Iterator[str]:
    job, run = state.survey.job, state.survey.run
    try:
        if job.engine.kind != "ray":
            check_keys(job, env)
    except UsageError as error:
        yield ". ".join(filter(None, [error.message, error.hint]))
    if run.identity_path.exists():
        owner = codec.loads(run.identity_path.read_bytes()).get("name")
        if owner != job.name:
            yield (
                f"the run folder holds the run of another job, {owner!r}. "
                "Give this job another output.path, or another --name."
            )
    if running:
        yield "another submit is running on the run folder. Wait until it has ended, or stop it."
    if state.records:
        try:
            require_same(state.survey, state.states, job, rerun=rerun_changed, given={})
        except ChangedRowsError as error:
            yield ". ".join(filter(None, [error.message, error.hint]))
    yield from unbounded(job, first_requests(state.survey, state.to_do), now=now)
