"""Answers of every kind, read by every kind of schema: as a submit under that schema would have read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.job import load_job
from batchrun.reparsing import reparse
from tests.runs import JobFolder, Silent, row_of, write_rows
from tests.scripted import answering, completion


def choice(content: str | None, finish_reason: str = "stop", **message: Any) -> bytes:
    """An answer with one choice, as it was ended."""
    said = {"role": "assistant", "content": content, **message}
    return completion(choices=[{"index": 0, "message": said, "finish_reason": finish_reason}])


def sure(label: str) -> bytes:
    """An answer with the alternatives that the model saw for its label."""
    tokens = ['{"label":', ' "', label, '"}']
    seen = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
    others = [{"token": token, "logprob": -0.1 - at} for at, token in enumerate(("bug", "billing"))]
    seen[2]["top_logprobs"] = others
    message = {"role": "assistant", "content": "".join(tokens)}
    made = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": seen}}
    return completion(choices=[made])


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BUG, ODD = '{"label": "bug"}', '{"label": "odd"}'

TEXTS = [
    *(
        BUG,
        ODD,
        '{"label": "bug", "score": 7}',
        '{"label": "bug", "score": 7.0}',
        '{"label": "bug", "more": 1}',
    ),
    *("[]", '["a"]', '"bug"', '{"value": ["a"]}', '{"value": "bug"}', "null", "", "no JSON", "NaN"),
    *(f"```json\n{BUG}\n```", f"Here: {BUG}", f"{BUG} or {ODD}", '{"label": "\\ud800"}', "[" * 500),
    *('{"label": "bug", "score": null}', '{"label": "bug", "label": "odd"}'),
]
ANSWERS = [
    *map(choice, TEXTS),
    choice(BUG[:-4], "length"),
    choice(BUG, "length"),
    choice(None, "length"),
    choice(None, refusal="I will not."),
    choice(BUG, refusal="I will not."),
    choice(BUG, "content_filter"),
    choice(None, reasoning_content="Hmm."),
    choice(ODD, reasoning_content="Hmm."),
    choice(None, tool_calls=[CALL]),
    completion(
        choices=[json.loads(choice(text))["choices"][0] | {"index": at} for at, text in enumerate(TEXTS[:2])]
    ),
    sure("bug"),
    sure("odd"),
]


def schema(*labels: str, required: tuple[str, ...] = ("label",), **score: Any) -> dict[str, Any]:
    properties = {"label": {"enum": [*labels]}, "score": {"type": "integer", **score}}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


SCHEMAS: list[dict[str, Any] | None] = [
    None,
    schema("bug", "billing"),
    schema("odd", "new", maximum=5),
    schema("bug", "odd", required=("label", "score"), default=3),
    {"type": "array", "items": {"type": "string"}},
    {"enum": ["bug", "billing"]},
]
TIMES = ("attempts", "latency", "started_at", "finished_at")


NEVER = {"failed": "100%", "after": 1_000}
"""Most of the rows fail, and none may be left."""


@pytest.mark.long
@pytest.mark.parametrize("fail_on", [("invalid_output", "refusal", "content_filter"), ("truncated",)])
def test_answers_are_read_as_if_they_had_come_under_the_schema(
    tmp_path: Path, fail_on: tuple[str, ...]
) -> None:
    """From each schema to each other one, there and back: every column is the same, and nothing is asked."""

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        return 200, ANSWERS[row_of(body["messages"][0]["content"])]

    job = JobFolder(tmp_path)
    write_rows(job.rows, len(ANSWERS))
    expected = []
    with answering(act) as (base_url, seen):
        for number, spelled in enumerate(SCHEMAS):
            job.write(base_url, schema=spelled, fail_on=fail_on, retry={"reask": 0}, stop_when=NEVER)
            job.submit_here()
            expected.append(job.results().drop(TIMES))
            job.run.rename(tmp_path / f"run{number}")
        asked = len(seen)
        for number in range(len(SCHEMAS)):
            shutil.copytree(tmp_path / f"run{number}", job.run, symlinks=True)
            for other, spelled in enumerate(SCHEMAS):
                job.edit(schema=spelled)
                reparse(load_job(job.job, env={}, cwd=job.folder), env={}, progress=Silent())
                assert job.results().drop(TIMES).equals(expected[other]), (number, other)
            shutil.rmtree(job.run)
        assert len(seen) == asked
    statuses = pl.concat([results.select("status") for results in expected])
    assert statuses["status"].n_unique() == 2
