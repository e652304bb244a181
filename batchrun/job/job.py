"""The job as the rest of batchrun sees it: checked, with presets, paths and variables resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from batchrun.job.document.place import Places
from batchrun.job.endpoints import Endpoint
from batchrun.job.sections.checks import Check
from batchrun.job.sections.file import FailReason, FallbackReason
from batchrun.job.sections.prompt import Prompt
from batchrun.job.sections.rows import Engine, Input, Output, RunTools
from batchrun.job.sections.serving import Retry, StopWhen
from batchrun.job.sections.spending import Budget, PriceSpec, Tail
from batchrun.limits import Limits
from batchrun.storage import Address

ANY_MODEL = "*"
"""The name of a model that stands for the one that the row's own request names."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model to ask.

    Attributes:
        qualified_name: ENDPOINT/MODEL, as in the results' `model` column.
        endpoint: a key of `Job.endpoints`.
        name: what the endpoint calls the model; ANY_MODEL where each row names it.
        limits: within the endpoint's own.
        parameters: the parameters for this model: the job's, with its own laid over them and those
            that are null left out. `extra_body` is a member of its own.
        removed: the parameters that are null: they are taken out of a row's own request.
    """

    qualified_name: str
    endpoint: str
    name: str
    limits: Limits
    parameters: Mapping[str, Any]
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Job:
    """A job file with its options, ready to run.

    Attributes:
        path: the job file, absolute.
        folder: where relative paths of the file start: the file's own folder, unless it is a run's copy.
        input: `input.path` or `input.run` as the job spells it, from `folder`; absolute when it came from
            the shell.
        media_root: the only folder that media may be read from, absolute.
        prompt: templates as they stand in the file; message files are not read yet.
        answer_schema: the key `schema`: a path as the job spells it, from `folder` (absolute when it
            came from the shell), a class, or the schema itself.
        run_tools: its module is a path like that.
        models: the model, then its fallbacks.
        endpoints: by name: those the job describes and those its models use.
        checks: those that the job gives; else that no row has failed.
        prices: those that the job itself gives, by ENDPOINT/MODEL.
        finish_by: seconds from the first batch on.
        output_path: the run folder, absolute; of a run in object storage its local copy.
        output_address: where a run in object storage is kept; None for one of this machine.
        document: the job as a plain value with the shell's options applied and `${VAR}`
            unexpanded: what the run folder keeps.
        places: the origin of every value, for messages.
    """

    path: Path
    folder: Path
    name: str
    input: Input
    media_root: Path | None
    prompt: Prompt
    answer_schema: str | Mapping[str, Any] | None
    run_tools: RunTools | None
    models: tuple[ModelChoice, ...]
    fallback_on: frozenset[FallbackReason]
    fail_on: frozenset[FailReason]
    endpoints: Mapping[str, Endpoint]
    retry: Retry
    stop_when: StopWhen
    checks: tuple[Check, ...]
    canary: int | None
    dedupe: bool
    order: Literal["input", "prefix"]
    tail: Tail | None
    budget: Budget
    prices: Mapping[str, PriceSpec]
    output: Output
    engine: Engine
    finish_by: float | None
    output_path: Path
    output_address: Address | None
    document: Mapping[str, Any] = field(repr=False)
    places: Places = field(repr=False)

    @property
    def output_shown(self) -> str:
        """Where the run is kept, for people."""
        return str(self.output_address or self.output_path)

    @property
    def used_endpoints(self) -> Mapping[str, Endpoint]:
        """By name, those of the models, in their order."""
        return {model.endpoint: self.endpoints[model.endpoint] for model in self.models}

    def where(self, *loc: str | int) -> str:
        """Say place and key of a value: `jobs/x.yaml:12: endpoints.flaky.simulator.rpm`."""
        return self.places.where(*loc)
