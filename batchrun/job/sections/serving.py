"""Which models are asked, where they are served, and with how much patience."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from batchrun.job.document.place import WrongPartsError
from batchrun.job.sections.address import (
    check_base_urls,
    check_headers,
    check_key_header,
    check_proxy,
    command_words,
)
from batchrun.job.sections.fields import (
    Count,
    Duration,
    Free,
    FromZero,
    ModelName,
    PositiveDuration,
    Section,
    Share,
    Text,
    VariableName,
    typed,
)
from batchrun.job.sections.prompt import Request


def _auto_or_count(value: Any) -> Any:
    value = typed(value)
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("must be a number from 1 on, or auto")


Concurrency: TypeAlias = Annotated[
    int | Literal["auto"],
    BeforeValidator(_auto_or_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}),
]


class LimitsSpec(Section):
    """What an endpoint, or one model of it, may be asked for."""

    rpm: Count | None = None
    """Requests a minute."""
    tpm: Count | None = None
    """Tokens a minute, of prompts and answers together."""
    concurrency: Concurrency | None = None
    """Calls under way at once: a number, or auto (an endpoint's default): as many as it serves well."""
    max_concurrency: Count | None = None
    """What `concurrency: auto` never passes; default 512."""
    window: PositiveDuration = 60.0
    """The stretch of time in which the server counts: rpm and tpm are kept in any stretch as long as this."""
    count: Literal["asked", "used"] | None = None
    """What the server counts of a call's tokens: the prompt and what the answer may take (asked), or what was
    used; default: learned from its answers."""

    @model_validator(mode="after")
    def _cap_of_auto(self) -> Self:
        if self.max_concurrency is not None and isinstance(self.concurrency, int):
            raise WrongPartsError(
                [(("max_concurrency",), "is for concurrency: auto, and concurrency is a number")]
            )
        return self


class ModelSpec(Section):
    """A model with limits and parameters of its own."""

    model: ModelName
    """ENDPOINT/MODEL, split at the first slash."""
    limits: LimitsSpec = LimitsSpec()
    """Limits of this model, within its endpoint's."""
    request: Request = Field(default_factory=Request)
    """Parameters that replace the job's for this model; null leaves one out."""


def _model_kind(value: Any) -> str:
    return "<ModelSpec>" if isinstance(value, dict | ModelSpec) else "<name>"


AnyModel: TypeAlias = Annotated[
    Annotated[ModelName, Tag("<name>")] | Annotated[ModelSpec, Tag("<ModelSpec>")],
    Discriminator(_model_kind),
]


def _one_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list | tuple) else "<one>"


OneOrList: TypeAlias = Annotated[
    Annotated[Text, Tag("<one>")] | Annotated[tuple[Text, ...], Field(min_length=1), Tag("<list>")],
    Discriminator(_one_or_list),
]


class EndpointSpec(Section):
    """Where a model is served; a name that equals a preset's begins with what the preset knows."""

    preset: Text | None = None
    """The preset to begin with, where the endpoint has another name."""
    base_url: OneOrList | None = None
    """The URL that /chat/completions is appended to, usually ending in /v1; or a list of replicas, of which
    each call goes to the one with the fewest under way."""
    api_key_env: VariableName | None = None
    """The NAME of the environment variable that holds the key; null: no key is sent."""
    api_key_cmd: OneOrList | None = None
    """A command that prints the key, in place of api_key_env: a line, or a list of words. It is run in the
    job's folder, without a shell, and again when the key is refused (401)."""
    api_key_header: Text | None = None
    """The header that carries the key: authorization, as `Bearer KEY`, or another, as the key alone (api-key,
    x-api-key); default: the preset's, else authorization."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers of every request; never a key."""
    limits: LimitsSpec = LimitsSpec()
    """Limits of the endpoint, for all its models together."""
    proxy: Text | None = None
    """The URL of an HTTP proxy for this endpoint."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    """The only name of the token limit that it knows, into which the other is translated; null: both."""
    instructions: Literal["system", "developer"] | None = None
    """The only role of instructions that it knows, into which the other is translated; null: both."""
    ca_file: Text | None = None
    """A PEM file of certificate authorities, from the job's folder."""
    simulator: dict[str, Free] | None = None
    """Options of the built-in simulator: its limits, latency and faults."""

    _base_url = field_validator("base_url")(check_base_urls)
    _proxy = field_validator("proxy")(check_proxy)
    _headers = field_validator("headers")(check_headers)
    _api_key_header = field_validator("api_key_header")(check_key_header)

    @field_validator("api_key_cmd")
    @classmethod
    def _one_command(cls, command: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if command is not None:
            command_words(command)
        return command

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_cmd is not None and self.api_key_env is not None:
            raise WrongPartsError([(("api_key_cmd",), "excludes api_key_env: keep one of the two")])
        return self


class Backoff(Section):
    """Pauses between two attempts, drawn between 0 and a bound that doubles."""

    initial: PositiveDuration = 0.5
    """The first bound, in seconds."""
    max: PositiveDuration = 60.0
    """The bound that is not passed, in seconds."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.initial > self.max:
            raise WrongPartsError([(("initial",), f"must not be above max, which is {self.max:g}")])
        return self


class TimeoutSpec(Section):
    """How long to wait for what, in seconds or as 90s, 5m, 6h."""

    connect: PositiveDuration = 10.0
    """Until a connection stands."""
    idle: PositiveDuration = 120.0
    """Without a single byte from the server."""
    total: PositiveDuration = 600.0
    """For one attempt, from sending to the answer's last byte."""
    row: PositiveDuration = 3600.0
    """For everything a row does, waiting in queues included."""


class Retry(Section):
    """What happens when a call fails."""

    max_attempts: Count = 8
    """Attempts of a row with one model; answers of 429 do not count."""
    reask: FromZero = 2
    """How often a row is asked again, with the error shown, when its answer does not satisfy the schema."""
    max_wait: Duration = 120.0
    """A Retry-After above this closes the endpoint for that long; it is never called earlier."""
    backoff: Backoff = Backoff()
    """Pauses between attempts."""
    timeout: TimeoutSpec = TimeoutSpec()
    """Timeouts."""


class StopWhen(Section):
    """The breaker: ends the run, resumably, when too many rows fail for good."""

    failed: Share = 0.5
    """The share of failed rows that ends the run: "50%", or 0.5."""
    after: Count = 20
    """Rows that must have finished before it is judged."""
