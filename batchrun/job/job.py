"""The job as the rest of batchrun sees it: checked, with presets, paths and variables resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchrun.job.endpoints import Endpoint
from batchrun.job.models import FailReason, FallbackReason, Input, Output, Prompt
from batchrun.job.place import Places
from batchrun.job.serving import Retry, StopWhen
from batchrun.limits import Limits


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model to ask.

    Attributes:
        spelled: ENDPOINT/MODEL, as in the results' `model` column.
        endpoint: a key of `Job.endpoints`.
        name: what the endpoint calls the model.
        limits: within the endpoint's own.
        request: the parameters for this model: the job's, with its own laid over them and those
            that are null left out. `extra_body` is a member of its own.
    """

    spelled: str
    endpoint: str
    name: str
    limits: Limits
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A job file with its options, ready to run.

    Attributes:
        path: the job file, absolute.
        folder: where relative paths of the file start: the file's own folder.
        input: `input.path` as the job spells it, from `folder`; absolute when it came from the shell.
        prompt: templates as they stand in the file; message files are not read yet.
        models: the model, then its fallbacks.
        endpoints: by name: those the job describes and those its models use.
        output_path: the run folder, absolute.
        document: the job as a plain value with the shell's options applied and `${VAR}`
            unexpanded: what the run folder keeps.
        places: the origin of every value, for messages.
    """

    path: Path
    folder: Path
    name: str
    input: Input
    prompt: Prompt
    models: tuple[ModelChoice, ...]
    fallback_on: frozenset[FallbackReason]
    fail_on: frozenset[FailReason]
    endpoints: Mapping[str, Endpoint]
    retry: Retry
    stop_when: StopWhen
    output: Output
    output_path: Path
    document: Mapping[str, Any] = field(repr=False)
    places: Places = field(repr=False)

    def where(self, *loc: str | int) -> str:
        """Say place and key of a value: `jobs/x.yaml:12: endpoints.flaky.simulator.rpm`."""
        return self.places.where(*loc)
