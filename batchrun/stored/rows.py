"""Stored completions as rows of results: the same columns and types as a run's, and their `metadata`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from batchrun import codec
from batchrun.chat.response.lenient import is_integer
from batchrun.chat.stamps import ROW
from batchrun.job import ANY_MODEL, Job, ModelChoice
from batchrun.outcome import Completed, Error, Failed, Response
from batchrun.policy.judge import CallOutcome, judge
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.run_folder.columns.columns import TIME
from batchrun.run_folder.columns.typed import Types
from batchrun.run_folder.columns.values import result_table
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.records import Answered, Done, Sent
from batchrun.spending.paid import cost_of
from batchrun.stored.place import Place
from batchrun.survey.layout import result_types

METADATA = "metadata"

_NOT_TOLD = ("attempts", "latency", "ttft", "request_hash")
"""Columns of which a stored completion tells nothing."""

_TIMES = ("started_at", "finished_at")
"""Columns that hold when the completion was made: all that is known of its time."""

_YEAR_10000 = 253_402_300_800

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes rows of completions: read as the job reads answers where there is one, else as they are."""

    place: Place
    renderer: Renderer | None = None
    prices: ModelPrices | None = None
    types: Types = field(default_factory=Types)

    @classmethod
    def of(cls, place: Place) -> Rows:
        """Those of an endpoint. Raises JobError where the job's schema, say, cannot be read."""
        if place.job is None:
            return cls(place)
        renderer = Renderer(place.job)
        return cls(place, renderer, ModelPrices(place.job, time.time()), result_types(renderer))

    def schema(self) -> pa.Schema:
        """The columns."""
        return pa.schema([*self.types.schema(), pa.field(METADATA, pa.string())])

    def table(self, completions: Sequence[Document], first: int) -> pa.Table:
        """Rows for these completions, numbered from `first` on."""
        found = result_table([self._history(number, one) for number, one in enumerate(completions, first)])
        labels = [_labels(completion) for completion in completions]
        known = {
            METADATA: pa.array(labels, pa.string()),
            **{name: pa.array(list(map(created, completions)), TIME) for name in _TIMES},
            **{name: pa.nulls(len(completions), self.schema().field(name).type) for name in _NOT_TOLD},
        }
        columns = [
            known[name] if name in known else self.types.column(name, found.column(name))
            for name in self.schema().names
        ]
        return pa.Table.from_arrays(columns, schema=self.schema())

    def _history(self, number: int, completion: Document) -> History:
        """A completion as the only call of a row."""
        response = Response(200, {}, codec.dumps(completion), latency=0.0)
        judged = judge(response)
        index, choice = self._model(completion.get("model"))
        spelled = choice.qualified_name if choice else f"{self.place.name}/{completion.get('model')}"
        reading, error = self._read(judged)
        at = (created(completion) or 0) / 1e6
        price = self.prices.of(choice) if self.prices and choice else None
        outcome = Failed(error, 0) if error else Completed(0)
        task = (number, 0)  # the task, and its only call
        sent = Sent(*task, number, 0, "", spelled, self.place.name, index, at, 0)
        errors = (error.type if error else None,)
        cost = cost_of(judged, price, at)
        row_id = _row_id(completion)
        done = Done(number, number, row_id, 0, "", at, index, outcome, errors, None, reading, cost)
        return History({0: sent}, {0: Answered(*task, at, response)}, done=done)

    def _read(self, judged: CallOutcome) -> tuple[dict[str, Any] | None, Error | None]:
        """What the job makes of an answer, and why it does not take it, if so."""
        if judged.completion is None or self.renderer is None:
            return None, judged.error
        reader = self.renderer.common_reader
        if refused := reader.refused(judged.completion.choices[0]):
            return None, refused
        found, unwanted = reader.read(judged.completion, last=True)
        if unwanted and self.renderer.prompt.has_turns:  # it may be the answer to another turn
            found, unwanted = reader.read(judged.completion, last=False)
        return found or None, unwanted.error if unwanted and unwanted.fails else None

    def _model(self, answered: object) -> tuple[int, ModelChoice | None]:
        """Which model of the job was asked, by the name in the answer: `gpt-4.1-mini-2025-04-14`, where
        `gpt-4.1-mini` was asked."""
        job, name = self.place.job, str(answered)
        here = _models_at(job, self.place.name) if job else []
        alike = [(len(model.name), index, model) for index, model in here if name.startswith(model.name)]
        if not alike:
            return 0, None
        _length, index, model = max(alike, key=lambda one: (one[0], -one[1]))
        return index, model


def _models_at(job: Job, endpoint: str) -> list[tuple[int, ModelChoice]]:
    return [
        (index, model)
        for index, model in enumerate(job.models)
        if model.endpoint == endpoint and model.name != ANY_MODEL
    ]


def _row_id(completion: Document) -> str:
    """The row that it is stamped with, else its own id."""
    labels = completion.get(METADATA)
    row = labels.get(ROW) if isinstance(labels, Mapping) else None
    return row if isinstance(row, str) else str(completion["id"])


def created(completion: Document) -> int | None:
    """When it was made, in microseconds since the epoch; None where it does not say that."""
    seconds = completion.get("created")
    return seconds * 1_000_000 if is_integer(seconds) and 0 <= seconds < _YEAR_10000 else None


def _labels(completion: Document) -> str | None:
    """Its metadata as JSON."""
    pairs = completion.get(METADATA)
    return codec.dumps(pairs).decode() if isinstance(pairs, Mapping) else None
