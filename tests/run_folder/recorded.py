"""Records of tasks as a submit would write them, and journal files of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchrun.outcome import Completed, Error, ErrorType, Exchange, Failed, NoResponse, Outcome, Response
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Done, Header, Record, Sent

EPOCH = 1_800_000_000.0


def request_hash(number: int) -> str:
    return f"{number:032x}"


def sent(
    task: int,
    call: int = 0,
    *,
    row: int | None = None,
    model: str = "openai/small",
    index: int = 0,
    batch: str = "",
) -> Sent:
    return Sent(
        task=task,
        call=call,
        row=task if row is None else row,
        key=task,
        request_hash=request_hash(task),
        model=model,
        endpoint=model.partition("/")[0],
        model_index=index,
        at=EPOCH + task + call / 10,
        tokens=20,
        batch=batch,
    )


def body(content: Any = "hi", **document: Any) -> bytes:
    """A completion with one choice."""
    return json.dumps({"choices": [{"message": {"content": content}}], **document}).encode()


def reply(data: bytes | None = None, status: int = 200, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, body() if data is None else data, 0.25)


LOST = NoResponse("timeout", "no answer within 600 s", True, 600.0)
UNREACHED = NoResponse("connection", "refused", False, 0.01)


def answered(task: int, call: int = 0, exchange: Exchange | None = None) -> Answered:
    return Answered(task, call, EPOCH + task + call / 10 + 0.05, exchange or reply())


def done(
    task: int,
    outcome: Outcome | ErrorType | None = None,
    *,
    row: int | None = None,
    errors: tuple[ErrorType | None, ...] = (),
    index: int = 0,
) -> Done:
    """Completed by call 0, or as said."""
    if isinstance(outcome, str):
        outcome = Failed(Error(outcome, "it failed"))
    return Done(
        task=task,
        row=task if row is None else row,
        row_id=f"r{task}",
        key=task,
        request_hash=request_hash(task),
        at=EPOCH + task + 1,
        model_index=index,
        outcome=outcome or Completed(0),
        errors=errors,
    )


def asked(task: int, data: bytes | None = None, *, row: int | None = None) -> list[Record]:
    """A row that its first call answered."""
    return [sent(task, row=row), answered(task, exchange=reply(data)), done(task, row=row)]


def history(records: Iterable[Record]) -> History:
    found = History()
    for record in records:
        assert isinstance(record, Sent | Answered | Done)
        found.add(record, encode(record))
    return found


def write_journal(folder: Path, number: int, records: Iterable[Record]) -> Path:
    """A journal file of these records, with its header."""
    path = folder / f"journal-{number:06d}.log"
    path.write_bytes(b"".join(encode(record) for record in (Header(1), *records)))
    return path
