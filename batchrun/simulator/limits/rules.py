"""How much a simulated endpoint takes, as a job file spells it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from batchrun.simulator.rules import Seconds, Strict

HeaderForm: TypeAlias = Literal[
    "openai", "seconds", "anthropic", "cerebras", "azure", "groq", "openrouter", "ietf", "litellm", "none"
]
HintForm: TypeAlias = Literal["header", "date", "ms", "message", "none"]

DAY = 86_400
NAMED_WINDOWS = {1: "second", 60: "minute", 3600: "hour", DAY: "day"}
"""Windows, in seconds, that have a name."""


class Step(Strict):
    """From when on a limit holds."""

    at: Seconds = Field(description="seconds since the first call")


class RpmStep(Step):
    """Requests from some time on."""

    rpm: int = Field(ge=1, description="requests in any `window` from then on")


class TpmStep(Step):
    """Tokens from some time on."""

    tpm: int = Field(ge=1, description="tokens in any `window` from then on")


class ConcurrencyStep(Step):
    """Places from some time on."""

    concurrency: int = Field(ge=1, description="completions generated at once from then on")


def _spelling(value: Any) -> str:
    return "steps" if isinstance(value, list | tuple) else "number"


Number: TypeAlias = Annotated[int, Field(ge=1), Tag("number")]
Rpm: TypeAlias = Annotated[Number | Annotated[tuple[RpmStep, ...], Tag("steps")], Discriminator(_spelling)]
Tpm: TypeAlias = Annotated[Number | Annotated[tuple[TpmStep, ...], Tag("steps")], Discriminator(_spelling)]
Concurrency: TypeAlias = Annotated[
    Number | Annotated[tuple[ConcurrencyStep, ...], Tag("steps")], Discriminator(_spelling)
]


class Limits(Strict):
    """How much the endpoint takes; requests and tokens are counted per model.

    rpm, tpm and concurrency are numbers, or steps `[{at: 0, rpm: 600}, {at: 15, rpm: 60}]`.
    """

    rpm: Rpm | None = Field(default=None, description="requests in any `window`")
    tpm: Tpm | None = Field(default=None, description="tokens in any `window`")
    rpd: int | None = Field(default=None, ge=1, description="requests in any day")
    window: float = Field(default=60.0, gt=0, allow_inf_nan=False, description="of rpm and tpm, seconds")
    kind: Literal["sliding", "bucket"] = Field(
        default="sliding",
        description="what is used comes back a window later, or all the time: limit / window a second",
    )
    count: Literal["estimate", "actual"] = Field(
        default="estimate",
        description="prompt bytes / 4 + max tokens, counted on arrival; or its usage, counted afterwards",
    )
    count_refused: bool = Field(
        default=False, description="whether calls refused over the limit count as well"
    )
    concurrency: Concurrency | None = Field(
        default=None, description="completions generated at once; when it falls, those that run go on"
    )
    queue: bool = Field(default=True, description="calls beyond `concurrency` wait; false refuses them (429)")
    headers: HeaderForm = Field(default="openai", description="how answers tell of the limits")
    retry_after: HintForm = Field(
        default="header",
        description="how a 429 says when to come back: retry-after and retry-after-ms, an HTTP date in "
        "retry-after, retry-after-ms alone, words in the message alone, or not at all",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("rpm", "tpm", "concurrency"):
            _check_steps(name, getattr(self, name))
        if self.headers == "cerebras" and self.window not in NAMED_WINDOWS:
            named = ", ".join(map(str, NAMED_WINDOWS))
            raise ValueError(f"headers: cerebras names its windows: window must be one of {named}")
        return self


def _check_steps(name: str, limit: int | Sequence[Step] | None) -> None:
    if isinstance(limit, tuple):
        times = [step.at for step in limit]
        if not times or times[0] != 0 or any(late <= early for early, late in pairwise(times)):
            raise ValueError(f"the steps of {name} must start with at: 0 and be in the order of time")
