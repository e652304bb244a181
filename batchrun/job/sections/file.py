"""The job file as it is written: one class a mapping, one field a key.

Defaults stand here; what needs more than one section (names of endpoints, paths, presets) is
settled in `load`. The text below each field is also its description in the JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from batchrun.job.document.place import WrongPartsError
from batchrun.job.sections.checks import Checks, no_row_fails
from batchrun.job.sections.fields import Count, Flag, ModelName, PositiveDuration, RunName, Section, Text
from batchrun.job.sections.prompt import Prompt, Request
from batchrun.job.sections.rows import Engine, Input, Output, RunTools
from batchrun.job.sections.serving import AnyModel, EndpointSpec, Retry, StopWhen
from batchrun.job.sections.spending import Budget, PriceSpec, Tail

FallbackReason: TypeAlias = Literal[
    "rate_limit",
    "server",
    "connection",
    "timeout",
    "quota",
    "auth",
    "model_not_found",
    "context_length",
    "invalid_request",
    "invalid_response",
    "invalid_output",
    "content_filter",
    "refusal",
    "truncated",
]
"""The error types that another model can mend: the row was sent, and the run goes on."""

FailReason: TypeAlias = Literal["invalid_output", "refusal", "content_filter", "truncated"]

_ANSWERS_UNLESS_FAILED = {
    "refusal": "a refusal is an answer then",
    "invalid_output": "text that does not satisfy the schema is an answer then",
}
"""Reasons of `fallback_on` that are no failures unless `fail_on` makes them so."""


def _schema_kind(value: Any) -> str:
    return "<inline>" if isinstance(value, dict) else "<name>"


AnswerSchemaSpec: TypeAlias = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[dict[str, Any], Tag("<inline>")],
    Discriminator(_schema_kind),
]


class JobFile(Section):
    """A batchrun job: a prompt table, a prompt, a model, and where the results go."""

    name: RunName | None = None
    """Default: the file's name without its suffix."""
    input: Input
    """The prompt table."""
    prompt: Prompt = Field(default_factory=Prompt)
    """What is sent for each row; required unless rows are whole requests (input.format: openai-batch)."""
    answer_schema: AnswerSchemaSpec | None = Field(default=None, alias="schema")
    """The JSON Schema of answers: a file from the job's folder, "package.module:PydanticModel", or inline.
    Sets response_format, validates, and types the `parsed` column."""
    run_tools: RunTools | None = None
    """Python functions that the model may call, and that are run."""
    request: Request = Field(default_factory=Request)
    """Parameters of the request; a value that is one template expression keeps that expression's type."""
    model: AnyModel
    """ENDPOINT/MODEL, or a mapping with limits and parameters; ENDPOINT/* as an openai-batch row names it."""
    fallbacks: tuple[AnyModel, ...] = ()
    """Models to ask, in order, when the one before could not answer."""
    fallback_on: tuple[FallbackReason, ...] = (
        "rate_limit",
        "server",
        "connection",
        "timeout",
        "quota",
        "auth",
        "model_not_found",
        "context_length",
    )
    """The reasons for which a fallback is asked; content reasons cost a second answer."""
    fail_on: tuple[FailReason, ...] = ("invalid_output", "refusal", "content_filter")
    """Answers that make a row failed."""
    endpoints: dict[str, EndpointSpec] = Field(default_factory=dict)
    """Endpoints by name; presets need no entry."""
    retry: Retry = Retry()
    """What happens when a call fails."""
    stop_when: StopWhen = StopWhen()
    """When too many rows fail for good."""
    checks: Checks = Field(default_factory=no_row_fails)
    """Gates for CI: `failed`, `ok`, a column of the results (rows where it is true, or has a value), or an
    SQL condition over them, each with `>= 99%` of the finished rows, or `<= 3` of them. Where one does not
    hold, a finished run ends with exit code 1. Default: failed: "<= 0"."""
    canary: Count | None = None
    """So many rows are sent first; the rest follows when no more of them failed than `stop_when` allows."""
    dedupe: Flag = False
    """true: equal requests of one run are asked once; the other rows take the answer (`duplicate_of`)."""
    order: Literal["input", "prefix"] = "input"
    """prefix: rows whose prompts begin alike are sent together, so that the provider's cache serves them."""
    tail: Tail | None = None
    """Sends the slowest calls a second time when only they are left; default: never."""
    budget: Budget = Budget()
    """What may be spent, in money, tokens, requests and time."""
    prices: dict[ModelName, PriceSpec] = Field(default_factory=dict)
    """Prices by ENDPOINT/MODEL, where the known ones are wrong or none is known."""
    output: Output = Output()
    """The run folder and what its results hold."""
    engine: Engine = Engine()
    """Where calls are made: by this process, by many on a cluster, or by the provider's batch API."""
    finish_by: PositiveDuration | None = None
    """With engine.kind: provider_batch: when so much time has passed since the first batch, rows that are not
    answered go on in realtime, begun early enough to be done by then."""

    @field_validator("endpoints")
    @classmethod
    def _endpoint_names(cls, endpoints: dict[str, EndpointSpec]) -> dict[str, EndpointSpec]:
        wrong = "is no name for an endpoint: use letters, digits, dashes and underscores"
        WrongPartsError.raise_any(
            [((name,), wrong) for name in endpoints if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
        )
        return endpoints

    @model_validator(mode="after")
    def _parts_of_a_cluster(self) -> Self:
        if self.engine.kind == "ray":
            texts = {
                "order": "prefix is for engine.kind: local: workers take ranges of the input",
                "tail": "is for engine.kind: local: a worker does not see which rows of others are the last",
            }
            given = {"order": self.order == "prefix", "tail": self.tail is not None}
            WrongPartsError.raise_any([((key,), text) for key, text in texts.items() if given[key]])
        return self

    @model_validator(mode="after")
    def _parts_of_batches(self) -> Self:
        if self.finish_by is not None and not self.engine.by_batch:
            raise WrongPartsError([(("finish_by",), "is for engine.kind: provider_batch")])
        return self

    @model_validator(mode="after")
    def _reasons_can_fall_back(self) -> Self:
        wrong = [reason for reason in _ANSWERS_UNLESS_FAILED if reason not in self.fail_on]
        texts = {
            reason: (
                f"has no effect while fail_on does not hold {reason}: add it there, or remove it here; "
                f"{_ANSWERS_UNLESS_FAILED[reason]}"
            )
            for reason in wrong
        }
        at = [(at, reason) for at, reason in enumerate(self.fallback_on) if reason in texts]
        WrongPartsError.raise_any([(("fallback_on", position), texts[reason]) for position, reason in at])
        return self
