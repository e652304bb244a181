"""`plan`: what a submit would do, without a call and without a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from time import time
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.budget import Amounts
from batchrun.caps import unbounded
from batchrun.changes import left_behind
from batchrun.chat.families import no_logprobs, refusals
from batchrun.clock import SystemClock
from batchrun.endpoint_checks import check_keys, check_simulators
from batchrun.errors import UsageError
from batchrun.forecast import (
    Forecast,
    canary,
    doors,
    first_bound,
    first_requests,
    forecast,
    holds,
    left,
    over_budget,
    spent_so_far,
)
from batchrun.forecast.pace import is_auto, tighter
from batchrun.index import Facts, State, counts, match
from batchrun.job import Job, ModelChoice
from batchrun.outcome import Error
from batchrun.previous import not_there
from batchrun.render.renderer import Renderer
from batchrun.run_folder.checkpoint import KEPT_SCHEMA, read_kept
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import is_locked
from batchrun.run_folder.parsed import arrow_type
from batchrun.run_folder.sealed import ANSWERS_SCHEMA
from batchrun.run_folder.shared import read_shared
from batchrun.source import Row
from batchrun.survey import Survey, duplicates, survey, to_do

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A row as it would be asked."""

    row_id: str
    location: str
    request: dict[str, Any]
    """The request's body for the first model."""
    turns: tuple[dict[str, Any], ...] = ()
    """What is asked once the answers before it are there, as the job spells it."""


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What a submit would do.

    Attributes:
        rows: how many rows are in each state, by the lower-case names of `index.State`.
        to_do: rows that would be asked.
        duplicates: rows that take the answer of an equal request that is asked (`dedupe`).
        forecast: what asking for them takes.
        spent: what counts against the budget already.
        left: what the budget still allows, by its keys.
        over_budget: which parts of the budget the high estimate exceeds, a sentence each.
        stops: why a submit would send nothing now, though it can be continued, a sentence each; where what is
            left of the budget is the reason, `over_budget` says so.
        undecided: whether a submit would ask what to do about answers that an edit leaves behind.
        left_behind: why, where the job and its rows have changed at once.
        sends: whether nothing of that kind keeps it from sending.
        opens: when a model is open again, in seconds since the epoch; None where one is open.
        facts: what the pass over the input counted.
        columns: of the input, with their types.
        warnings: what is likely not meant, each with what to do about it.
        obstacles: what would keep a submit from starting, likewise.
        running: another submit is at work on the run folder, which is one of them.
    """

    name: str
    rows: dict[str, int]
    to_do: int
    duplicates: int
    forecast: Forecast
    spent: Amounts
    left: dict[str, float]
    over_budget: tuple[str, ...]
    stops: tuple[str, ...]
    undecided: bool
    left_behind: str | None
    sends: bool
    opens: float | None
    facts: Facts
    input: str
    columns: dict[str, str]
    models: tuple[PlannedModel, ...]
    example: Example | None
    warnings: tuple[str, ...]
    obstacles: tuple[str, ...]
    running: bool
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

    `example` is the id of the row to show, by default the first that would be asked. Raises
    JobError, InputError, and UsageError when no row has that id.
    """
    check_simulators(job)
    now = time()
    found, states, expected, spent = _surveyed(job, on_rows, retry_failed, now, rerun_changed=rerun_changed)
    number = counts(states)
    asked = to_do(states, rerun_changed=rerun_changed)
    running = is_locked(found.run.lock)
    open_to = doors(found, SystemClock())
    first = canary(job, lambda: states, retrying=bool(retry_failed))
    behind = None if rerun_changed else _left_behind(found, states)
    stops = (*open_to.stops(), *filter(None, [first.failed])) if expected.rows else ()
    next_call = first_bound(found, asked, open_to.first or 0, now=now)
    return Plan(
        name=job.name,
        rows={state.name.lower(): rows for state, rows in number.items()},
        to_do=len(asked),
        duplicates=duplicates(states, rerun_changed=rerun_changed),
        forecast=expected,
        spent=spent,
        left=left(job, spent),
        over_budget=tuple(over_budget(job, expected, spent, next_call, now=now)),
        stops=stops,
        undecided=behind is not None or bool(number[State.CHANGED] and not rerun_changed),
        left_behind=behind,
        sends=not stops and holds(job, spent, next_call),
        opens=open_to.opens,
        facts=found.facts,
        input=job.input.place,
        columns={field.name: str(field.type) for field in found.columns},
        models=tuple(_planned(job, model) for model in job.models),
        example=_example(found, asked if len(asked) else states, example),
        warnings=(
            *_warnings(found.renderer),
            *open_to.warnings(job),
            *filter(None, [not_there(job, found.source)]),
        ),
        obstacles=(
            *_obstacles(job, found.run, env, running=running),
            *unbounded(job, first_requests(found, asked), now=now),
        ),
        running=running,
        run_folder=str(job.output_path),
        results=str(found.run.results / "*.parquet"),
    )


def _surveyed(
    job: Job,
    on_rows: Callable[[int], None],
    retry_failed: frozenset[str],
    now: float,
    *,
    rerun_changed: bool,
) -> tuple[Survey, pl.DataFrame, Forecast, Amounts]:
    for left_over in reversed(range(_TRIES)):
        try:
            found = survey(job, on_rows=on_rows, keep_index=False)
            states = _states(found, retry_failed, rerun_changed=rerun_changed)
            wanted = to_do(states, rerun_changed=rerun_changed)
            return found, states, forecast(found, states, wanted, now=now), spent_so_far(found, now)
        except FileNotFoundError:  # a running submit sealed the journal file that was about to be read
            if not left_over:
                raise
    raise AssertionError


def _states(found: Survey, retry_failed: frozenset[str], *, rerun_changed: bool) -> pl.DataFrame:
    answers, kept = pl.DataFrame(schema=ANSWERS_SCHEMA), pl.DataFrame(schema=KEPT_SCHEMA)
    if found.run.checkpoint.exists():
        answers = found.checkpoint.answers()
        kept = kept if rerun_changed else read_kept(found.run.checkpoint)  # as submit forgets what was kept
    shared = read_shared(found.run.checkpoint)
    has_ids = found.job.input.id is not None
    return match(found.rows, answers, kept, has_ids=has_ids, retry_failed=retry_failed, shared=shared)


def _left_behind(found: Survey, states: pl.DataFrame) -> str | None:
    """What a submit would stop with, where the job and its rows have changed at once."""
    error = left_behind(found, states)
    if error is None:
        return None
    return f"a submit stops with exit code {error.exit_code}: {error.message}. {error.hint}"


def _planned(job: Job, model: ModelChoice) -> PlannedModel:
    return PlannedModel(
        model.spelled,
        job.endpoints[model.endpoint].base_url,
        rpm=tighter(job, model, "rpm"),
        tpm=tighter(job, model, "tpm"),
        concurrency=tighter(job, model, "most_in_flight"),
        auto=is_auto(job, model),
    )


def _warnings(renderer: Renderer) -> Iterator[str]:
    """What models are known to refuse, and columns that will hold less than they could."""
    for model in renderer.models:
        yield from refusals(model.name, model.request)
    if renderer.answer_schema is not None:
        _, fallback = arrow_type(renderer.answer_schema.schema)
        if fallback:
            yield fallback
    if renderer.labels is None:
        if renderer.answer_schema is not None and renderer.models[0].request.get("logprobs"):
            yield (
                "`confidence` and `probabilities` will be null: they are those of a schema's one enum of "
                "texts, and this schema has none at its top, or several."
            )
        return
    for model in renderer.models:
        if no_logprobs(model.name):
            yield f"{model.spelled} gives no logprobs: `confidence` and `probabilities` will be null."
        elif not model.request.get("logprobs") or not model.request.get("top_logprobs"):
            yield (
                f"{model.spelled}: `confidence` and `probabilities` will be null: "
                "request.logprobs: true and request.top_logprobs give what they are computed from."
            )


def _obstacles(job: Job, run: RunFolder, env: Mapping[str, str], *, running: bool) -> list[str]:
    found = []
    try:
        check_keys(job, env)
    except UsageError as error:
        found.append(". ".join(filter(None, [error.message, error.hint])))
    if run.identity.exists():
        owner = codec.loads(run.identity.read_bytes()).get("name")
        if owner != job.name:
            found.append(
                f"the run folder holds the run of another job, {owner!r}. "
                "Give this job another output.path, or another --name."
            )
    if running:
        found.append("another submit is running on the run folder. Wait until it has ended, or stop it.")
    return found


def _example(found: Survey, candidates: pl.DataFrame, wanted: str | None) -> Example | None:
    """The row named `wanted`, else the first of `candidates` that can be rendered."""
    positions = set(candidates["row_index"].head(1_000))
    for batch in found.source.batches(start=min(positions, default=0) if wanted is None else 0):
        for row in batch.rows:
            if wanted is None and row.index in positions and (example := _rendered(found, row)):
                return example
            if wanted is not None and not row.error and found.identifier.row_id(row) == wanted:
                return _rendered(found, row)
        if wanted is None and batch.rows[-1].index >= max(positions, default=-1):
            return None
    if wanted is None:
        return None
    raise UsageError(
        f"--example: no row has the id {wanted!r}",
        hint="A row's id is its value in the column of input.id, else its number from 0.",
    )


def _rendered(found: Survey, row: Row) -> Example | None:
    known = found.identifier.identify(row)
    if isinstance(known.request, Error):
        return None
    turns = tuple(found.renderer.prompt.spelled_turns)
    return Example(known.row_id, row.location, known.request.document(0), turns)
