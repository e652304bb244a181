"""The models that rows would go to, the limits that calls to them keep to, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from batchrun.forecast.pace import is_auto, tighter
from batchrun.job import Job
from batchrun.limits import Limits
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint

if TYPE_CHECKING:
    from batchrun.admission import Admission

Counted: TypeAlias = Literal[
    "requests", "tokens", "input-tokens", "output-tokens", "calls at once", "calls at first"
]
Source: TypeAlias = Literal["job", "endpoint", "default"]
"""Who says it: the job, what the endpoint's answers told or showed an earlier submit, or nobody."""

_MINUTE = 60.0
_RATES: tuple[tuple[Literal["rpm", "tpm"], Counted], ...] = (("rpm", "requests"), ("tpm", "tokens"))


@dataclass(frozen=True, slots=True)
class PlannedLimit:
    """One limit of the calls to a model; of several that count the same, each holds.

    Attributes:
        counts: what. `calls at first` is not kept to: with so many `concurrency: auto` begins.
        most: how many.
        seconds: within which stretch; None for calls at once, and where that is not clear yet.
        source: who says so.
        key: the place and the key that says it, for the job's own.
    """

    counts: Counted
    most: int
    seconds: float | None
    source: Source
    key: str | None = None


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
    auto: bool
    """Whether it is found out while the run goes how many there may be."""
    limits: tuple[PlannedLimit, ...]
    """All of them, with who says so: the job, answers that an earlier submit got, or nobody."""


def planned_models(job: Job, admission: Admission, checkpoint: Checkpoint) -> Iterator[PlannedModel]:
    """Every model of the chain; `admission` as `checkpoint` left it (`restore.gates`)."""
    for at, model in enumerate(job.models):
        yield PlannedModel(
            model.qualified_name,
            job.endpoints[model.endpoint].base_url,
            rpm=tighter(job, model, "rpm"),
            tpm=tighter(job, model, "tpm"),
            concurrency=tighter(job, model, "most_in_flight"),
            auto=is_auto(job, model),
            limits=tuple(_limits(job, at, admission, checkpoint)),
        )


def _limits(job: Job, at: int, admission: Admission, checkpoint: Checkpoint) -> Iterator[PlannedLimit]:
    """Every limit of the model at a position of the chain."""
    model = job.models[at]
    for name, counts in _RATES:
        for given, loc in _places(job, at):
            if (most := getattr(given, name)) is not None:
                yield PlannedLimit(counts, most, _MINUTE, "job", job.where(*loc, "limits", name))
    route = admission.route(model.endpoint, model.name)
    for told in route.model.rates.stated:
        if told.limit is not None:
            seconds = told.stretch.seconds if told.stretch.clear else None
            yield PlannedLimit(told.unit, told.limit, seconds, "endpoint")
    yield _at_once(job, at)
    if is_auto(job, model):
        auto = [gate for gate in route.gates if gate.adaptive is not None]
        first = min(gate.adaptive.limit for gate in auto if gate.adaptive is not None)
        learned = any(_has_learned(checkpoint, gate.endpoint, gate.model) for gate in auto)
        yield PlannedLimit("calls at first", first, None, "endpoint" if learned else "default")


def _places(job: Job, at: int) -> Iterator[tuple[Limits, tuple[str | int, ...]]]:
    """The limits of the model and of its endpoint, each with its place in the job."""
    model = job.models[at]
    yield model.limits, ("model",) if at == 0 else ("fallbacks", at - 1)
    yield job.endpoints[model.endpoint].limits, ("endpoints", model.endpoint)


def _at_once(job: Job, at: int) -> PlannedLimit:
    """The tightest limit of calls at once, with the key that gives it."""
    most = tighter(job, job.models[at], "most_in_flight") or 1
    for given, loc in _places(job, at):
        key = "max_concurrency" if given.concurrency == "auto" else "concurrency"
        if given.most_in_flight == most and _says(job.document, (*loc, "limits", key)):
            return PlannedLimit("calls at once", most, None, "job", job.where(*loc, "limits", key))
    return PlannedLimit("calls at once", most, None, "default")


def _says(document: Any, loc: tuple[str | int, ...]) -> bool:
    """Whether the job itself gives the value at `loc`."""
    for part in loc:
        if isinstance(document, Mapping) and part in document:
            document = document[str(part)]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return False
    return document is not None


def _has_learned(checkpoint: Checkpoint, endpoint: str, model: str | None) -> bool:
    """Whether an earlier submit has found out how many calls at once a gate's server takes."""
    gates = checkpoint.admitted.get("gates", ())
    return any(
        "concurrency" in gate and (gate["endpoint"], gate["model"]) == (endpoint, model) for gate in gates
    )
