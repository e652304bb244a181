"""A column of message lists gives the lists that the API takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.source import message_list
from tests.source.reading import read_values, write

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": null}'}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": [{"type": "text", "text": "x"}], "tool_call_id": "c1"},
]


def test_a_parquet_column_gives_the_messages_that_were_written(tmp_path: Path) -> None:
    """Arrow fills every struct with nulls; what comes back is what went in."""
    messages = [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message["content"], str)
        else message
        for message in CONVERSATION
    ]
    pq.write_table(pa.table({"messages": [messages, None]}), tmp_path / "t.parquet")
    first, second = read_values(tmp_path / "t.parquet")
    assert first["messages"][0].keys() == {"role", "content", "tool_calls", "tool_call_id"}
    assert message_list(first["messages"]) == [
        message | ({"content": None} if message["role"] == "assistant" else {}) for message in messages
    ]
    assert message_list(second["messages"]) is None


def test_a_csv_column_holds_json_text(tmp_path: Path) -> None:
    """A text format has no lists."""
    quoted = json.dumps(CONVERSATION).replace('"', '""')
    (row,) = read_values(write(tmp_path / "t.csv", f'messages\n"{quoted}"\n'.encode()))
    assert message_list(row["messages"]) == CONVERSATION


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("null", None),
        ([], []),
        ([{"role": "user", "content": "a", "name": None}], [{"role": "user", "content": "a"}]),
        ([{"content": None, "role": "assistant"}], [{"content": None, "role": "assistant"}]),
        ([{"role": "assistant", "tool_calls": None}], [{"role": "assistant"}]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a", "image_url": {"url": None}}]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        ),
        ([{"content": [None, "a"], "x": {}}], [{"content": [None, "a"], "x": {}}]),
        (["no message", 7], ["no message", 7]),
    ],
)
def test_only_null_members_are_left_out(value: Any, expected: Any) -> None:
    """Whether what is left are messages is for others to say."""
    assert message_list(value) == expected


def test_the_members_keep_their_order() -> None:
    """A null content stays where it was."""
    (message,) = message_list([{"content": None, "name": None, "role": "assistant"}]) or []
    assert list(message) == ["content", "role"]


def test_the_value_of_the_row_is_left_as_it_is() -> None:
    """It is a column of the results too."""
    value = [{"role": "user", "content": [{"type": "text", "text": "a", "x": None}], "name": None}]
    before = json.dumps(value)
    message_list(value)
    assert json.dumps(value) == before


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Hello", "is a text that is no JSON list of messages"),
        ('"Hello"', "is str, not a list of messages"),
        ({"role": "user", "content": "a"}, "is dict, not a list of messages"),
        (7, "is int, not a list of messages"),
        ("\ud800", "is a text that is no JSON list of messages"),
    ],
)
def test_what_is_no_list_is_refused(value: Any, reason: str) -> None:
    """The message goes on from the column's name."""
    with pytest.raises(ValueError, match=reason):
        message_list(value)
