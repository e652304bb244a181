"""Runs to compare: real folders whose rows are answered by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchrun import codec
from batchrun.outcome import Completed, Error, Failed
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.records import Answered, Done, Sent
from batchrun.survey.layout import result_types
from tests.run_folder.answering import Work
from tests.run_folder.recorded import answered, body, done, reply, sent

LABELS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "score": {"type": ["number", "null"]},
        "sure": {"type": ["boolean", "null"]},
    },
    "required": ["label"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that failed with this text as its answer."""

    text: str = "I would rather not"


Answer = str | dict[str, Any] | Failure


def labels(*names: str | Failure | None) -> list[Answer]:
    """Answers that are these labels."""
    return [name if isinstance(name, Failure) else {"label": name} for name in names]


def run_of(
    folder: Path,
    answers: Sequence[Answer],
    *,
    name: str | None = None,
    ids: Sequence[str] | None = None,
    unpublished: int = 0,
    latency: float = 0.25,
    tokens: int = 10,
    cost: float | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    **sections: Any,
) -> RunFolder:
    """A run in `folder`, called like that, whose rows `r0`, `r1`, … got these answers.

    The last of them may be unpublished. `columns` are further ones of the input. Each row takes so long, so
    many prompt tokens, and costs so much.
    """
    folder.mkdir()
    named = ids or [f"r{number}" for number in range(len(answers))]
    rows = [{"id": row_id, "text": row_id} for row_id in named]
    for column, values in (columns or {}).items():
        for row, value in zip(rows, values, strict=True):
            row[column] = value
    work = Work(folder).write(rows)
    work.sections = {"input": {"path": "rows.jsonl", "id": "id"}, **sections}

    def records(task: int) -> list[Sent | Answered | Done]:
        return _records(task, answers[task - 1], latency, tokens, cost)

    published = len(answers) - unpublished
    result_types(work.survey().renderer).save(work.run.checkpoint_path)
    if published:
        work.answer(range(published), records)
        work.publish()
    if unpublished:
        work.answer(range(published, len(answers)), records)
    known = codec.loads(work.run.identity_path.read_bytes())
    work.run.identity_path.write_bytes(codec.dumps({**known, "name": name or folder.name}))
    return work.run


def _records(
    task: int, answer: Answer, latency: float, tokens: int, cost: float | None
) -> list[Sent | Answered | Done]:
    text = answer.text if isinstance(answer, Failure) else answer
    parsed = isinstance(text, dict)
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    data = body(json.dumps(text) if parsed else text, usage=usage)
    outcome = Failed(Error("refusal", "it would not"), 0) if isinstance(answer, Failure) else Completed(0)
    reading = {"parsed": text} if parsed else {}
    exchange = replace(reply(data), latency=latency)
    return [
        sent(task),
        answered(task, exchange=exchange),
        replace(done(task, outcome), reading=reading, cost_usd=cost),
    ]
