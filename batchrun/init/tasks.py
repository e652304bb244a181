"""What a job is written for: the words, the parameters and the schema to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from batchrun.chat.request.families import thinks, unsupported

TaskKind = Literal["classify", "extract", "summarize", "generate"]
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

NO_LABELS = ("positive", "negative", "neutral")
"""Those of a table that has none."""

_TO_THINK = 4_000
"""Tokens that a model which reasons is given beside those of its answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked. `system` and `schema` may hold `{labels}`; the schema is spelled in YAML.

    `typed`: the job has the schema from the beginning; else as a comment.
    """

    system: str
    temperature: float
    tokens: int
    schema: str
    typed: bool = False

    def parameters(self, model: str) -> Iterator[str]:
        """The lines of `request`, for a model as its endpoint names it."""
        if not unsupported(model, {"temperature": self.temperature}):
            yield f"  temperature: {self.temperature:g}"
        tokens = self.tokens + _TO_THINK * thinks(model, {})
        yield f"  max_completion_tokens: {tokens}{'  # its reasoning counts' if tokens > _TO_THINK else ''}"


_OBJECT = "{{type: object, properties: {{answer: {{type: string}}}}, required: [answer]}}"

TASKS: dict[TaskKind, Task] = {
    "classify": Task(
        "Sort the text into exactly one of these labels: {labels}. Answer with the label alone.",
        temperature=0,
        tokens=16,
        schema="{{type: string, enum: [{quoted}]}}",
    ),
    "extract": Task(
        "Take these facts from the text: names, dates, amounts. An empty list where the text says nothing.",
        temperature=0,
        tokens=400,
        schema="""
  type: object
  properties:
    names: {{type: array, items: {{type: string}}}}
    dates: {{type: array, items: {{type: string}}}}
    amounts: {{type: array, items: {{type: string}}}}
  required: [names, dates, amounts]
  additionalProperties: false""",
        typed=True,
    ),
    "summarize": Task(
        "Summarize the text in one or two sentences. Say nothing that it does not say.",
        temperature=0,
        tokens=150,
        schema=_OBJECT,
    ),
    "generate": Task(
        "Write a short, friendly and factual reply to the text.",
        temperature=0.7,
        tokens=300,
        schema=_OBJECT,
    ),
}
