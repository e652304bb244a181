"""The job file as it is written: one class a mapping, one field a key.

Defaults stand here; what needs more than one section (names of endpoints, paths, presets) is
settled in `load`. The text below each field is also its description in the JSON Schema.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from batchrun.job.fields import (
    ColumnType,
    Count,
    Flag,
    RunName,
    Section,
    Text,
    Whole,
)
from batchrun.job.parameters import Request
from batchrun.job.place import WrongPartsError
from batchrun.job.serving import AnyModel, EndpointSpec, Retry, StopWhen

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
    "content_filter",
    "refusal",
    "truncated",
]
"""The error types that another model can mend: the row was sent, and the run goes on."""

FailReason: TypeAlias = Literal["refusal", "content_filter", "truncated"]


class Sample(Section):
    """Rows drawn from the input, the same ones however often it is read."""

    rows: Count
    """How many rows."""
    seed: Whole = 0
    """Another number draws other rows."""


class Input(Section):
    """The prompt table."""

    path: Text
    """A file, a glob or a folder of JSONL, CSV (both also .gz, .zst) or Parquet, from the job's folder."""
    format: Literal["jsonl", "csv", "parquet"] | None = None
    """Default: told by the file's suffix."""
    id: Text | None = None
    """The column that names a row; without it rows are matched to earlier answers by their request."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """Column to type, where the type found in the rows is not the one that is wanted."""
    where: Text | None = None
    """A SQL predicate over the columns: only rows for which it is true are run."""
    limit: Count | None = None
    """Only the first rows of the input."""
    sample: Sample | None = None
    """A sample of the input in place of its first rows."""

    @model_validator(mode="after")
    def _limit_or_sample(self) -> Self:
        if self.limit is not None and self.sample is not None:
            raise WrongPartsError([(("sample",), "excludes input.limit: keep one of the two")])
        return self


class Message(Section):
    """One message of the prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who speaks."""
    content: str
    """A minijinja template over the row's columns and `vars`."""
    name: Text | None = None
    """The speaker's name, where several share a role."""


class MessageFile(Section):
    """A file that holds a list of messages, put in here."""

    file: Text
    """A YAML file below the job's folder."""


def _message_kind(value: Any) -> str:
    is_file = isinstance(value, MessageFile) or (isinstance(value, dict) and "file" in value)
    return "<MessageFile>" if is_file else "<Message>"


class Prompt(Section):
    """What is sent for each row."""

    vars: dict[str, Any] = Field(default_factory=dict)
    """Constants for the templates."""
    messages: tuple[
        Annotated[
            Annotated[Message, Tag("<Message>")] | Annotated[MessageFile, Tag("<MessageFile>")],
            Discriminator(_message_kind),
        ],
        ...,
    ] = Field(min_length=1)
    """The messages, in order."""


def _columns_kind(value: Any) -> str:
    return "<names>" if isinstance(value, list | tuple) else "<word>"


def _columns_word(value: Any) -> Any:
    if value not in ("all", "none"):
        raise ValueError("must be all, none, or a list of columns")
    return value


Columns: TypeAlias = Annotated[
    Annotated[Literal["all", "none"], BeforeValidator(_columns_word), Tag("<word>")]
    | Annotated[tuple[Text, ...], Tag("<names>")],
    Discriminator(_columns_kind),
]


class Output(Section):
    """The run folder and what its results hold."""

    path: Text | None = None
    """Default: runs/NAME in the job's folder, or beside it when that folder is called jobs."""
    columns: Columns = "all"
    """Input columns carried into the results: all, none, or a list of names."""
    messages: Flag = False
    """true: keep the rendered messages as a column."""
    raw: Flag = False
    """true: keep the raw request and response as columns."""


class JobFile(Section):
    """A batchrun job: a prompt table, a prompt, a model, and where the results go."""

    name: RunName | None = None
    """Default: the file's name without its suffix."""
    input: Input
    """The prompt table."""
    prompt: Prompt
    """What is sent for each row."""
    request: Request = Request()
    """Parameters of the request; a value that is one template expression keeps that expression's type."""
    model: AnyModel
    """ENDPOINT/MODEL, or a mapping with limits and parameters of its own."""
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
    fail_on: tuple[FailReason, ...] = ("refusal", "content_filter")
    """Answers that make a row failed."""
    endpoints: dict[str, EndpointSpec] = Field(default_factory=dict)
    """Endpoints by name; presets need no entry."""
    retry: Retry = Retry()
    """What happens when a call fails."""
    stop_when: StopWhen = StopWhen()
    """When too many rows fail for good."""
    output: Output = Output()
    """The run folder and what its results hold."""

    @field_validator("endpoints")
    @classmethod
    def _endpoint_names(cls, endpoints: dict[str, EndpointSpec]) -> dict[str, EndpointSpec]:
        wrong = "is no name for an endpoint: use letters, digits, dashes and underscores"
        WrongPartsError.raise_any(
            [((name,), wrong) for name in endpoints if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
        )
        return endpoints

    @model_validator(mode="after")
    def _refusals_can_fall_back(self) -> Self:
        if "refusal" in self.fallback_on and "refusal" not in self.fail_on:
            at = self.fallback_on.index("refusal")
            text = "has no effect while fail_on does not hold refusal: a refusal is an answer then"
            raise WrongPartsError([(("fallback_on", at), text)])
        return self
