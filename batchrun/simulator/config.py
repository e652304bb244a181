"""What a simulated endpoint does: its models, limits, latency and faults.

The models validate the `simulator:` mapping of a job file's endpoint, and what a simulator process is
started with. In YAML:

    seed: 7
    limits: {rpm: 600, tpm: 100000, concurrency: 16}
    latency: {kind: lognormal, median: 0.4, sigma: 0.6, max: 20}
    faults:
      - {rate: 0.05, status: 429, retry_after: 2}
      - {rate: 0.02, reset: mid_body}
      - {match: urgent, first: 1, stall: 30}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point: TypeAlias = Literal["before_headers", "after_headers", "mid_body"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Model):
    """How much the endpoint takes; requests and tokens are counted per model."""

    rpm: int | None = Field(default=None, ge=1, description="requests in any `window`")
    tpm: int | None = Field(default=None, ge=1, description="tokens in any `window`")
    window: float = Field(default=60.0, gt=0, allow_inf_nan=False, description="the sliding window, seconds")
    count: Literal["estimate", "actual"] = Field(
        default="estimate",
        description="prompt bytes / 4 + max tokens, counted on arrival; or its usage, counted afterwards",
    )
    count_refused: bool = Field(
        default=False, description="whether calls refused over the limit count as well"
    )
    concurrency: int | None = Field(default=None, ge=1, description="completions generated at once")
    queue: bool = Field(default=True, description="calls beyond `concurrency` wait; false refuses them (429)")


class ConstantLatency(_Model):
    """Every completion takes as long."""

    kind: Literal["constant"] = "constant"
    seconds: Seconds = Field(default=0.0, description="seconds until the answer starts")


class UniformLatency(_Model):
    """Any time between two bounds, each as likely."""

    kind: Literal["uniform"]
    low: Seconds = Field(description="shortest, seconds")
    high: Seconds = Field(description="longest, seconds")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) is below low ({self.low:g})")
        return self


class LognormalLatency(_Model):
    """Most near the median, some much slower: the shape of real services."""

    kind: Literal["lognormal"]
    median: Seconds = Field(description="half of the answers take less, seconds")
    sigma: float = Field(default=0.5, ge=0, le=5, description="spread: standard deviation of the logarithm")
    max: Seconds = Field(default=60.0, description="none takes longer, seconds")


Latency: TypeAlias = Annotated[
    ConstantLatency | UniformLatency | LognormalLatency, Field(discriminator="kind")
]


class _Rule(_Model):
    """When a fault strikes: all the conditions given must hold; none given means always."""

    rate: float | None = Field(
        default=None, ge=0, le=1, description="share of calls struck, drawn for each call"
    )
    first: int | None = Field(
        default=None, ge=1, description="only the first so many times a request is admitted"
    )
    calls: tuple[int, int] | None = Field(
        default=None, description="only call numbers from i to j, counted from 1"
    )
    match: str | None = Field(default=None, description="only where the last user message holds this text")
    model: str | None = Field(default=None, description="only calls to this model")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.calls is not None and self.calls[1] < self.calls[0]:
            raise ValueError(f"calls runs from {self.calls[0]} to {self.calls[1]}: the first comes first")
        return self


class StatusFault(_Rule):
    """Another status than 200: below 500 at once, else when the completion would have come."""

    status: int = Field(ge=200, le=599, description="HTTP status")
    code: str | int | None = Field(
        default=None, description="`error.code`; default: OpenAI's for this status"
    )
    type: str | None = Field(default=None, description="`error.type`; default: OpenAI's for this status")
    message: str | None = Field(
        default=None, description="`error.message`; default: OpenAI's for this status"
    )
    retry_after: float | None = Field(default=None, description="sent as retry-after, seconds")
    headers: dict[str, str] = Field(default_factory=dict, description="sent as they are, after our own")
    raw_body: str | None = Field(default=None, description="body to send in place of the error object")
    content_type: str = Field(default="application/json", description="of the body")


class ResetFault(_Rule):
    """The connection is reset (RST) after the completion was generated."""

    reset: Point = Field(description="what was sent before it: nothing, the headers, or half of the body")


class CloseFault(_Rule):
    """The connection is closed (FIN) after the completion was generated: a short answer."""

    close: Point = Field(description="what was sent before it: nothing, the headers, or half of the body")


class StallFault(_Rule):
    """No byte for some seconds; then the answer goes on."""

    stall: Seconds = Field(description="silence, seconds")
    at: Point = Field(default="before_headers", description="where in the answer")


class DripFault(_Rule):
    """The body comes slowly."""

    drip: float = Field(gt=0, allow_inf_nan=False, description="bytes of the body per second")


class ErrorInside(_Rule):
    """Status 200, and the body is an error object, as gateways answer when generation fails."""

    error_in_200: int = Field(description="`error.code` in the body")
    message: str = Field(default="Provider returned error", description="`error.message` in the body")


class AnswerFault(_Rule):
    """Status 200 with an answer that is none, or that says no."""

    answer: Literal[
        "malformed", "empty", "null_choices", "no_choices", "null_message", "refusal", "content_filter"
    ] = Field(description="what is wrong with the answer")


class FinishReasonFault(_Rule):
    """An otherwise good answer with another finish_reason."""

    finish_reason: str | None = Field(description="of every choice")


ACTIONS: dict[str, type[_Rule]] = {
    "status": StatusFault,
    "reset": ResetFault,
    "close": CloseFault,
    "stall": StallFault,
    "drip": DripFault,
    "error_in_200": ErrorInside,
    "answer": AnswerFault,
    "finish_reason": FinishReasonFault,
}


def action(fault: object) -> str | None:
    """The key that says what a fault does: a name of ACTIONS, or None unless exactly one is there."""
    keys = type(fault).model_fields if isinstance(fault, BaseModel) else fault
    if not isinstance(keys, Mapping):
        return None
    found = [name for name in ACTIONS if name in keys]
    return found[0] if len(found) == 1 else None


Fault: TypeAlias = Annotated[
    Annotated[StatusFault, Tag("status")]
    | Annotated[ResetFault, Tag("reset")]
    | Annotated[CloseFault, Tag("close")]
    | Annotated[StallFault, Tag("stall")]
    | Annotated[DripFault, Tag("drip")]
    | Annotated[ErrorInside, Tag("error_in_200")]
    | Annotated[AnswerFault, Tag("answer")]
    | Annotated[FinishReasonFault, Tag("finish_reason")],
    Discriminator(
        action,
        custom_error_type="fault_action",
        custom_error_message=f"A fault does exactly one of: {', '.join(ACTIONS)}",
    ),
]


class SimulatorConfig(_Model):
    """One simulated endpoint; the defaults answer every call at once and well."""

    seed: int = Field(default=0, description="another seed gives other texts, latencies and faults")
    models: tuple[str, ...] | None = Field(
        default=None, description="models that exist; any name does by default"
    )
    api_key: str | None = Field(
        default=None, repr=False, description="bearer token to insist on: a made-up one"
    )
    context_window: int = Field(
        default=128_000, ge=1, description="prompt and completion tokens a call may have"
    )
    limits: Limits = Field(default_factory=Limits, description="requests, tokens and completions at once")
    latency: Latency = Field(default_factory=ConstantLatency, description="time until an answer starts")
    faults: tuple[Fault, ...] = Field(
        default=(), description="rules, the first that applies to a call strikes"
    )
