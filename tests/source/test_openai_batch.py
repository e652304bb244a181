"""Files written for OpenAI's Batch API or `vllm run-batch` are read as they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from batchrun.source import Row, Source, open_source
from tests.source.reading import write

LINE: dict[str, Any] = {
    "custom_id": "request-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hello"}], "n": None},
}


def opened(path: Path, *lines: Any) -> Source:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    write(path, gzip.compress(data) if path.suffix == ".gz" else data)
    return open_source(path.name, root=path.parent, format="openai-batch")


def rows_of(source: Source, columns: list[str] | None = None) -> list[Row]:
    return [row for batch in source.batches(columns) for row in batch.rows]


@pytest.mark.parametrize("name", ["batch.jsonl", "batch.jsonl.gz", "batch"])
def test_a_line_is_a_row_of_four_columns(tmp_path: Path, name: str) -> None:
    """The body is as it stands in the file, its nulls too, whatever the file is called."""
    (row,) = rows_of(opened(tmp_path / name, LINE))
    assert (row.values, row.location, row.error) == (LINE, f"{name}:1", None)


@pytest.mark.parametrize(
    "url", ["/v1/chat/completions", "/chat/completions", "https://api.example.com/v1/chat/completions"]
)
def test_urls_of_the_api(tmp_path: Path, url: str) -> None:
    """As OpenAI and vLLM spell it, or in full: the job says which endpoint is asked."""
    (row,) = rows_of(opened(tmp_path / "t.jsonl", {**LINE, "url": url}))
    assert row.error is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"custom_id": None}, "`custom_id` is None, not a text that names the request"),
        ({"custom_id": 7}, "`custom_id` is 7, not a text"),
        ({"custom_id": ""}, "`custom_id` is '', not a text"),
        ({"method": "GET"}, "`method` is 'GET', not \"POST\""),
        ({"url": "/v1/embeddings"}, "`url` is '/v1/embeddings', not \"/v1/chat/completions\""),
        ({"url": ["/chat/completions"]}, "`url` is ['/chat/completions'], not"),
        ({"body": None}, "`body` is None, not an object"),
        ({"body": "{}" * 100}, "…, not an object"),
    ],
)
def test_a_line_that_is_no_chat_request_is_a_bad_row(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """It is named by file and line, and the others are asked."""
    bad, good = rows_of(opened(tmp_path / "t.jsonl", LINE | change, LINE))
    assert bad.error is not None
    assert bad.error.type == "bad_row"
    assert bad.error.message.startswith("t.jsonl:1: no request of an openai-batch: ")
    assert reason in bad.error.message
    assert bad.raw == json.dumps(LINE | change).encode()
    assert good.error is None


@pytest.mark.parametrize("name", ["custom_id", "method", "url", "body"])
def test_a_line_that_lacks_a_member_is_a_bad_row(tmp_path: Path, name: str) -> None:
    """Which the message names; also when other columns are all that is wanted."""
    line = {key: value for key, value in LINE.items() if key != name}
    for columns in (None, ["custom_id"], []):
        (row,) = rows_of(opened(tmp_path / "t.jsonl", line), columns)
        assert row.error is not None
        assert f"it has no `{name}`, which is " in row.error.message


def test_a_line_that_is_no_object_is_a_bad_row(tmp_path: Path) -> None:
    """As in any JSON Lines file."""
    (row,) = rows_of(opened(tmp_path / "t.jsonl", [LINE]))
    assert row.error is not None
    assert "no JSON object: the line is an array" in row.error.message


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    """A predicate over custom_id does not carry bodies around."""
    (row,) = rows_of(opened(tmp_path / "t.jsonl", LINE), ["custom_id"])
    assert row.values == {"custom_id": "request-1"}


def test_bodies_become_json_text_and_other_members_columns(tmp_path: Path) -> None:
    """Bodies differ from line to line; a gold label beside one is kept, with its own type."""
    source = opened(tmp_path / "t.jsonl", LINE, {**LINE, "body": {"n": 1}, "gold": 3})
    types = source.column_types()
    for batch in source.batches():
        types.observe(batch)
    assert types.names == ["custom_id", "method", "url", "body", "gold"]
    table = next(iter(source.batches())).arrow(types.schema())
    assert [str(field.type) for field in table.schema] == ["string"] * 4 + ["int64"]
    assert [json.loads(text) for text in table["body"].to_pylist()] == [LINE["body"], {"n": 1}]
    assert table["gold"].to_pylist() == [None, 3]


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    """And no type is missed in it."""
    assert opened(tmp_path / "t.jsonl").column_types().schema().names == []


def test_no_suffix_stands_for_the_format(tmp_path: Path) -> None:
    """A job says so: its lines look like any others."""
    opened(tmp_path / "t.jsonl", LINE)
    assert open_source("t.jsonl", root=tmp_path).files[0].format == "jsonl"
