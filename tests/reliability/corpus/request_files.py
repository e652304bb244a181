"""Files of whole requests, as OpenAI's Batch API takes them, and columns that hold messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tests.reliability.corpus.case import Case
from tests.reliability.corpus.parquet_tables import _file

_JOB = {"input": {"path": "rows.jsonl", "format": "openai-batch"}, "prompt": {}, "request": {}}
_COLUMN = {"prompt": {"messages_column": "messages"}, "request": {}}
_MESSAGES = [{"role": "user", "content": "hi"}]
_BODY = {"model": "m", "messages": _MESSAGES}


def _line(**members: Any) -> dict[str, Any]:
    usual = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": _BODY}
    return {name: value for name, value in {**usual, **members}.items() if value is not ...}


LINES: dict[str, Any] = {
    "no custom_id": _line(custom_id=...),
    "a number for custom_id": _line(custom_id=1),
    "an empty custom_id": _line(custom_id=""),
    "GET": _line(method="GET"),
    "no method": _line(method=...),
    "embeddings": _line(url="/v1/embeddings"),
    "an address elsewhere": _line(url="http://169.254.169.254/latest"),
    "no url": _line(url=...),
    "no body": _line(body=...),
    "a list for a body": _line(body=[]),
    "a text for a body": _line(body=json.dumps(_BODY)),
    "null for a body": _line(body=None),
    "no object": [1],
}
BODIES: dict[str, Any] = {
    "no messages": {},
    "messages are null": {"messages": None},
    "messages are text": {"messages": "hi"},
    "messages are empty": {"messages": []},
    "a message of text": {"messages": ["hi"]},
    "no role": {"messages": [{"content": "hi"}]},
    "a number for content": {"messages": [{"role": "user", "content": 1}]},
    "temperature of 99": {**_BODY, "temperature": 99},
    "temperature of text": {**_BODY, "temperature": "hot"},
    "n of 0": {**_BODY, "n": 0},
    "max_tokens below 0": {**_BODY, "max_tokens": -1},
    "extra_body of text": {**_BODY, "extra_body": "x"},
    "tools of text": {**_BODY, "tools": "x"},
}


def cases() -> Iterator[Case]:
    """Every file of this module. A good line goes before, so that not every row of the job fails."""
    for name, line in LINES.items():
        data = json.dumps(_line(custom_id="good")) + "\n" + json.dumps(line) + "\n"
        job = _JOB | {"model": "local/small"}
        yield Case(
            "openai-batch", name, {"rows.jsonl": data.encode()}, job, failed={1: r"^rows\.jsonl:2: no "}
        )
    for name, body in BODIES.items():
        data = json.dumps(_line(custom_id="good")) + "\n" + json.dumps(_line(body=body)) + "\n"
        yield Case("openai-batch", name, {"rows.jsonl": data.encode()}, _JOB, failed={1: "body"})
    yield Case("openai-batch", "equal ids", _rows(_line(), _line()), _JOB, refused="names two rows")
    yield from _columns()


def _rows(*rows: Any) -> dict[str, bytes]:
    return {"rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}


def _columns() -> Iterator[Case]:
    wrong: dict[str, Any] = {
        "null": None,
        "a number": 1,
        "an empty list": [],
        "text": "hello",
        "text of JSON that is no list": "{}",
        "text cut short": '[{"role":"user"',
        "a lone surrogate": "\ud800",
        "a list of texts": ["x"],
    }
    for depth in (250, 400, 700, 900, 1_100, 5_000):
        text = '[{"role":"user","content":"hi","name":' + "[" * depth + "]" * depth + "}]"
        wrong[f"text nested {depth} levels"] = text
    for name, value in wrong.items():
        rows = _rows({"messages": _MESSAGES, "id": 1}, {"messages": value, "id": 2})
        yield Case("messages column", name, rows, _COLUMN, failed={1: "messages"})
    for depth in (50, 150, 300):
        kind: pa.DataType = pa.string()
        value = "x"
        for _ in range(depth):
            kind, value = pa.list_(kind), [value]
        data = {"rows.parquet": _file(pa.table({"messages": pa.array([value], kind), "x": ["y"]}))}
        yield Case(
            "messages column",
            f"a Parquet list of {depth} levels",
            data,
            _COLUMN,
            name_of="rows.parquet",
            either=True,
        )
