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
      - {mentions: invoice, first: 1, per: conversation, output: invalid}   # wrong once, then right
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from batchrun.simulator.rules import Fault, Seconds, Strict


class Limits(Strict):
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


class ConstantLatency(Strict):
    """Every completion takes as long."""

    kind: Literal["constant"] = "constant"
    seconds: Seconds = Field(default=0.0, description="seconds until the answer starts")


class UniformLatency(Strict):
    """Any time between two bounds, each as likely."""

    kind: Literal["uniform"]
    low: Seconds = Field(description="shortest, seconds")
    high: Seconds = Field(description="longest, seconds")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) is below low ({self.low:g})")
        return self


class LognormalLatency(Strict):
    """Most near the median, some much slower: the shape of real services."""

    kind: Literal["lognormal"]
    median: Seconds = Field(description="half of the answers take less, seconds")
    sigma: float = Field(default=0.5, ge=0, le=5, description="spread: standard deviation of the logarithm")
    max: Seconds = Field(default=60.0, description="none takes longer, seconds")


Latency: TypeAlias = Annotated[
    ConstantLatency | UniformLatency | LognormalLatency, Field(discriminator="kind")
]


class SimulatorConfig(Strict):
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
    reasoning: Literal["reasoning_content", "reasoning"] | None = Field(
        default=None,
        description="member of a message that shows the reasoning; by default it is counted but not shown, "
        "and there is none unless `reasoning_effort` asks for it",
    )
    bodies: bool = Field(default=False, description="write each request's whole body into the ledger")
