"""How the files and batches of a simulated endpoint go, and go wrong, as a job file spells it."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from batchrun.simulator.rules import Seconds, Strict

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
