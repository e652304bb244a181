"""What a simulated endpoint does: its models, limits, latency and faults.

The models validate the `simulator:` mapping of a job file's endpoint, and what a simulator process is
started with. In YAML:

    seed: 7
    limits: {rpm: 600, tpm: 100000, concurrency: 16, kind: bucket, headers: anthropic, retry_after: date}
    latency: {kind: lognormal, median: 0.4, sigma: 0.6, max: 20}
    faults:
      - {rate: 0.05, status: 429, retry_after: 2}
      - {rate: 0.02, reset: mid_body}
      - {match: urgent, first: 1, stall: 30}
      - {mentions: invoice, first: 1, per: conversation, output: invalid}   # wrong once, then right
      - {rate: 0.01, stall: 30}   # stragglers: chance is drawn for each copy, so a second one is quick
    cache: {tokens: 1024, seconds: 300}           # prompts that begin alike report cached tokens
    cost: {input: 0.15, output: 0.6, cached: 0.075, report: true}   # the ledger has cost_usd, answers too
    tokens_per_byte: 0.5                          # prompts take more tokens than clients expect
    api_keys: [{key: made-up-1, calls: 50}, {key: made-up-2}]       # the first stops working
    batches: {seconds: 5, expires_after: 60, enqueued_tokens: 2000000}   # /v1/files, /v1/batches: half price
    stored: {delay: 2}                            # store: true, shown by GET /v1/chat/completions after that

rpm, tpm and concurrency may change in the middle, by seconds since the first call; slowdown makes the
endpoint a batching engine, whose answers take the longer the more of them are generated at once:

    limits: {concurrency: [{at: 0, concurrency: 40}, {at: 15, concurrency: 10}]}
    slowdown: 40

Requests about batches go wrong by rules of their own, of which the first that applies strikes:

    batches:
      models: one                                 # as OpenAI wants it: one model in each file
      faults:
        - {on: create, nth: 1, act: refuse, status: 429, retry_after: 2}   # the first is refused
        - {on: create, nth: 2, act: lose}         # the second is done, and nobody hears of it
        - {on: content, act: cut}                 # half of each file comes
        - {on: get, stall: 3}                     # answers, but slowly
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from batchrun.simulator.limits.rules import Limits
from batchrun.simulator.rules import Fault, Seconds, Strict

__all__ = [
    "BatchRule",
    "Cache",
    "ConstantLatency",
    "Key",
    "Latency",
    "Limits",
    "LognormalLatency",
    "Prices",
    "SimulatorConfig",
    "StoredRule",
    "UniformLatency",
]


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


Price: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Latency: TypeAlias = Annotated[
    ConstantLatency | UniformLatency | LognormalLatency, Field(discriminator="kind")
]


class Cache(Strict):
    """Prompt caching as providers do it unasked: OpenAI's guide names 1024 tokens and steps of 128."""

    tokens: int = Field(default=1024, ge=1, description="the shortest prefix that is kept, tokens")
    seconds: float = Field(
        default=300.0, gt=0, allow_inf_nan=False, description="how long one is kept after its last answer"
    )


class Prices(Strict):
    """What completions cost, USD per million tokens."""

    input: Price = Field(description="prompt tokens")
    output: Price = Field(description="completion tokens, those of the reasoning among them")
    cached: Price | None = Field(
        default=None, description="prompt tokens found in the cache; default: as `input`"
    )
    report: bool = Field(default=False, description="say it in answers too: `usage.cost`, as OpenRouter does")


class Key(Strict):
    """A bearer token that may stop working."""

    key: str = Field(min_length=1, repr=False, description="the token: a made-up one")
    calls: int | None = Field(default=None, ge=1, description="calls it is good for; default: all")


Operation: TypeAlias = Literal["upload", "create", "get", "list", "content", "cancel", "delete", "list_files"]
"""Send a file; begin, look at, list and cancel batches; read, delete and list files."""


class BatchFault(Strict):
    """What goes wrong with one request about files and batches, or with all of a kind."""

    on: Operation = Field(description="the requests that it strikes")
    nth: int | None = Field(
        default=None, ge=1, description="only the nth of them, from 1; default: every one"
    )
    act: Literal["refuse", "lose", "cut"] | None = Field(
        default=None,
        description="refuse: nothing is done, and `status` is answered; lose: it is done, and the connection "
        "is closed before any answer; cut: in the middle of the answer's body; default: only `stall`",
    )
    status: int | None = Field(
        default=None, ge=400, le=599, description="HTTP status of what is refused; default: 500"
    )
    retry_after: float | None = Field(default=None, ge=0, description="sent as retry-after, seconds")
    stall: Seconds = Field(default=0.0, description="silence before the answer, after it is done; seconds")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.act is None and not self.stall:
            raise ValueError("a fault of a batch does something: give `act`, or `stall` in seconds")
        if self.act != "refuse" and (self.status, self.retry_after) != (None, None):
            raise ValueError("status and retry_after say how it is refused: give `act: refuse` too")
        return self


class BatchRule(Strict):
    """How batches go; times in seconds."""

    seconds: float = Field(default=1.0, ge=0, description="from the first line answered to the last")
    validating: float = Field(default=0.05, ge=0, description="before that, and again when it is finalized")
    cancelling: float | None = Field(
        default=None,
        ge=0,
        description="from the wish to cancel it until it is cancelled; default: when the next line is due",
    )
    expires_after: float | None = Field(
        default=None, gt=0, description="lines that are not answered by then never are; default: a day"
    )
    lines: int = Field(default=50_000, ge=1, description="the most that a batch may have")
    bytes: int = Field(default=200_000_000, ge=1, description="the most that a file may have")
    models: Literal["any", "one"] = Field(default="any", description="how many the lines of a batch may name")
    enqueued_tokens: int | None = Field(
        default=None, ge=1, description="of prompts in all batches that are not over; default: any number"
    )
    price: float = Field(default=0.5, ge=0, description="what a line costs, of a call's price")
    listing: bool = Field(default=True, description="false: lists of files and batches are a 404")
    faults: tuple[BatchFault, ...] = Field(
        default=(), description="rules, the first that applies to a request strikes"
    )


class StoredRule(Strict):
    """How completions are kept that were asked for with `store: true`."""

    listing: bool = Field(default=True, description="false: GET /v1/chat/completions is a 404")
    delay: Seconds = Field(default=0.0, description="until one is shown, seconds after it was billed")


class SimulatorConfig(Strict):
    """One simulated endpoint; the defaults answer every call at once and well."""

    seed: int = Field(default=0, description="another seed gives other texts, latencies and faults")
    models: tuple[str, ...] | None = Field(
        default=None, description="models that exist; any name does by default"
    )
    api_key: str | None = Field(
        default=None, repr=False, description="bearer token to insist on: a made-up one"
    )
    api_keys: tuple[Key, ...] = Field(
        default=(), description="in place of `api_key`: tokens that are good one after another"
    )
    context_window: int = Field(
        default=128_000, ge=1, description="prompt and completion tokens a call may have"
    )
    limits: Limits = Field(default_factory=Limits, description="requests, tokens and completions at once")
    latency: Latency = Field(default_factory=ConstantLatency, description="time until an answer starts")
    slowdown: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="answers take 1 + (b - 1) / slowdown times as long when they begin as the b-th at once, "
        "so that throughput approaches slowdown / latency; by default their number does not matter",
    )
    cache: Cache | None = Field(default=None, description="prompt caching; by default there is none")
    cost: Prices | None = Field(default=None, description="prices, for `cost_usd` in the ledger")
    tokens_per_byte: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="tokens of a prompt's text for each byte of UTF-8, in usage and for limits; by default "
        "usage counts words and marks, and limits reckon with 0.25 on arrival",
    )
    faults: tuple[Fault, ...] = Field(
        default=(), description="rules, the first that applies to a call strikes"
    )
    reasoning: Literal["reasoning_content", "reasoning"] | None = Field(
        default=None,
        description="member of a message that shows the reasoning; by default it is counted but not shown, "
        "and there is none unless `reasoning_effort` asks for it",
    )
    batches: BatchRule = Field(default_factory=BatchRule, description="files and batches")
    stored: StoredRule = Field(default_factory=StoredRule, description="completions with `store: true`")
    bodies: bool = Field(default=False, description="write each request's whole body into the ledger")

    @model_validator(mode="after")
    def _keys_come_in_turn(self) -> Self:
        if self.api_keys and self.api_key is not None:
            raise ValueError("give api_key or api_keys, not both")
        if endless := [place for place, key in enumerate(self.api_keys[:-1]) if key.calls is None]:
            raise ValueError(f"api_keys.{endless[0]} needs `calls`: the keys after it would never be good")
        return self
