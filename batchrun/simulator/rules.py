"""The rules by which a simulated endpoint goes wrong, as a job file spells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point: TypeAlias = Literal["before_headers", "after_headers", "mid_body"]


class Strict(BaseModel):
    """A mapping whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Strict):
    """When a fault strikes: all the conditions given must hold; none given means always."""

    rate: float | None = Field(
        default=None, ge=0, le=1, description="share of calls struck, drawn for each call"
    )
    first: int | None = Field(
        default=None, ge=1, description="only the first so many times a request is admitted"
    )
    per: Literal["request", "conversation"] = Field(
        default="request",
        description="what `first` counts: the same request again, or every request of a conversation, so "
        "that asking again after a bad answer is the second",
    )
    calls: tuple[int, int] | None = Field(
        default=None, description="only call numbers from i to j, counted from 1"
    )
    match: str | None = Field(default=None, description="only where the last user message holds this text")
    mentions: str | None = Field(default=None, description="only where any message holds this text")
    model: str | None = Field(default=None, description="only calls to this model")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.calls is not None and self.calls[1] < self.calls[0]:
            raise ValueError(f"calls runs from {self.calls[0]} to {self.calls[1]}: the first comes first")
        if self.per == "conversation" and self.first is None:
            raise ValueError("per: conversation says what `first` counts, and `first` is not given")
        return self


class StatusFault(Rule):
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


class ResetFault(Rule):
    """The connection is reset (RST) after the completion was generated."""

    reset: Point = Field(description="what was sent before it: nothing, the headers, or half of the body")


class CloseFault(Rule):
    """The connection is closed (FIN) after the completion was generated: a short answer."""

    close: Point = Field(description="what was sent before it: nothing, the headers, or half of the body")


class StallFault(Rule):
    """No byte for some seconds; then the answer goes on.

    With a rate these are stragglers: chance is drawn for each time that a request comes, so a second copy of
    a late one is most likely quick, and surely with `first: 1`. It holds no place while it stalls.
    """

    stall: Seconds = Field(description="silence, seconds")
    at: Point = Field(default="before_headers", description="where in the answer")


class DripFault(Rule):
    """The body comes slowly."""

    drip: float = Field(gt=0, allow_inf_nan=False, description="bytes of the body per second")


class ErrorInside(Rule):
    """Status 200, and the body is an error object, as gateways answer when generation fails."""

    error_in_200: int = Field(description="`error.code` in the body")
    message: str = Field(default="Provider returned error", description="`error.message` in the body")


class AnswerFault(Rule):
    """Status 200 with an answer that is none, or that says no."""

    answer: Literal[
        "malformed", "empty", "null_choices", "no_choices", "null_message", "refusal", "content_filter"
    ] = Field(description="what is wrong with the answer")


class FinishReasonFault(Rule):
    """An otherwise good answer with another finish_reason."""

    finish_reason: str | None = Field(description="of every choice")


class RefusalFault(Rule):
    """The model declines: `message.refusal` in place of the content."""

    refusal: str = Field(min_length=1, description="what it says")


class OutputFault(Rule):
    """The model writes badly; the text of every choice, or the arguments of every call, are

    fence: inside a Markdown fence; preface, postscript: with prose before or after them; invalid: JSON that
    breaks its schema, or none of the choices; truncated: the first half, finish_reason "length";
    whitespace: the first half, then line ends until the tokens are used up, finish_reason "length".
    """

    output: Literal["fence", "preface", "postscript", "invalid", "truncated", "whitespace"] = Field(
        description="what is wrong with the text"
    )


class StreamFault(Rule):
    """A stream that does not end as it should, or says more; calls that are not streamed are spared."""

    stream: Literal["error", "no_done", "comments"] = Field(
        description="an error object after half of the events; no [DONE]; comment lines between the events"
    )


ACTIONS: dict[str, type[Rule]] = {
    "status": StatusFault,
    "reset": ResetFault,
    "close": CloseFault,
    "stall": StallFault,
    "drip": DripFault,
    "error_in_200": ErrorInside,
    "answer": AnswerFault,
    "finish_reason": FinishReasonFault,
    "refusal": RefusalFault,
    "output": OutputFault,
    "stream": StreamFault,
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
    | Annotated[FinishReasonFault, Tag("finish_reason")]
    | Annotated[RefusalFault, Tag("refusal")]
    | Annotated[OutputFault, Tag("output")]
    | Annotated[StreamFault, Tag("stream")],
    Discriminator(
        action,
        custom_error_type="fault_action",
        custom_error_message=f"A fault does exactly one of: {', '.join(ACTIONS)}",
    ),
]
