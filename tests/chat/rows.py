"""The results' row that an answer gives, whole or streamed."""

from __future__ import annotations

import json
from typing import Any

from batchrun.outcome import Response
from batchrun.run_folder.columns.values import result_table
from batchrun.run_folder.journal.records import Record
from tests.chat.streaming import Cut, accumulated, chunks, stream
from tests.run_folder.recorded import answered, done, history, sent

_OF_THE_CALL = frozenset({"attempts", "latency", "ttft", "started_at", "finished_at", "request_hash"})


def row_of(body: bytes) -> dict[str, Any]:
    """The row of a task that this body answered, as Arrow gives it back."""
    records: list[Record] = [sent(1), answered(1, exchange=Response(200, {}, body, 0.25)), done(1)]
    row: dict[str, Any] = result_table([history(records)]).to_pylist()[0]
    return row


def answer_of(body: bytes) -> dict[str, Any]:
    """The columns of a row that the answer alone decides, those without a value left out."""
    return {
        name: value
        for name, value in row_of(body).items()
        if value is not None and name not in (*_OF_THE_CALL, *_OF_THE_JOB)
    }


_OF_THE_JOB = ("row_index", "row_id", "status", "repaired", "stale", "model", "endpoint", "model_index")


def streamed(answer: dict[str, Any], cut: Cut, *, size: int = 64) -> bytes:
    """The document of a whole answer that was streamed, cut into chunks by `cut` and into bytes by `size`."""
    data = stream(*chunks(answer, cut))
    found = accumulated(data[at : at + size] for at in range(0, len(data), size))
    assert found.finished
    return found.document()


def whole(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()
