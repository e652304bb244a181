"""`show`: a row as a conversation, whatever columns it has and whoever wrote its texts."""

from __future__ import annotations

import io
import re
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun import codec
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.records import Record
from batchrun.show.conversation import NEEDED, Part, audio_seconds, facts, turns
from batchrun.wording import clean_line, pretty, spelled
from tests.cli.pseudo_terminal import lines_seen, on_a_terminal
from tests.commands import batchrun
from tests.run_folder.recorded import answered, body, done, reply, sent, write_journal


def message(role: str, content: str | None = None, **more: Any) -> dict[str, Any]:
    """An entry of the `messages` column."""
    names = ("parts", "name", "tool_call_id", "tool_calls", "refusal", "reasoning")
    return {"role": role, "content": content, **dict.fromkeys(names), **more}


def test_a_struct_of_the_input_is_shown_without_what_it_lacks() -> None:
    """A Parquet struct has every member that any row's has, and so has `previous` of a chained job."""
    row = {"a": {"x": None, "y": {"z": None, "w": 0}, "l": [None]}, "b": None}
    assert shown(row, "a", "b") == [("input", ['a: {"y": {"w": 0}, "l": [null]}'])]


def call(name: str = "f", arguments: str | None = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "name": name, "arguments": arguments, "input": None, **more}


def shown(row: dict[str, Any], *inputs: str) -> list[tuple[str, list[str]]]:
    """The turns of a row: each role with its texts."""
    return [(turn.role, [part.label + part.text for part in turn.parts]) for turn in turns(row, inputs)]


MEDIA = [
    {"type": "text", "text": "What is this?", "source": None},
    {"type": "image_url", "text": None, "source": "photos/a.jpg (image/png, 1,234 bytes)"},
    {"type": "input_audio", "text": None, "source": None},
    {"type": "file", "text": None, "source": "a.pdf"},
    {"type": "thinking", "text": "hm", "source": None},
]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"completion": "Hi."}, [("assistant", ["Hi."])]),
        (
            {"messages": [message("system", "Be kind."), message("user", "Hello")], "completion": "Hi."},
            [("system", ["Be kind."]), ("user", ["Hello"]), ("assistant", ["Hi."])],
        ),
        (
            {"messages": [message("user", "What is this?", parts=MEDIA)]},
            [
                (
                    "user",
                    [
                        "What is this?",
                        "[image photos/a.jpg (image/png, 1,234 bytes)]",
                        "[audio]",
                        "[file a.pdf]",
                        "thinking: hm",
                    ],
                )
            ],
        ),
        (
            {
                "messages": [
                    message("assistant", tool_calls=[call("weather", '{"city":"Oslo"}')]),
                    message("tool", "Error: no such city", tool_call_id="c1"),
                    message("function", "7", name="old"),
                    message("assistant", "I cannot say."),
                ],
                "completion": "I cannot say.",
            },
            [
                ("assistant", ['weather({"city": "Oslo"})']),
                ("tool weather", ["Error: no such city"]),
                ("function old", ["7"]),
                ("assistant", ["I cannot say."]),
            ],
        ),
        (
            {"messages": [message("user", "q"), message("assistant", "{")], "completion": None},
            [("user", ["q"]), ("assistant", ["{"])],
        ),
        (
            {"tool_calls": [call("f", "{broken"), call("sql", None, input="SELECT 1")]},
            [("assistant", ["f({broken)", "sql(SELECT 1)"])],
        ),
        ({"reasoning": "first …", "completion": "4"}, [("assistant", ["reasoning: first …", "4"])]),
        (
            {"completion": '{"a":1,"b":null}', "parsed": {"a": 1, "b": None, "c": None}},
            [("assistant", ['{"a": 1, "b": null, "c": null}'])],
        ),
        (
            {"completion": '```json\n{"a":1}\n```', "parsed": '{"a":1}'},
            [("assistant", ['```json\n{"a":1}\n```', 'parsed: {"a": 1}'])],
        ),
        (
            {"completion": '{"a":1,"more":2}', "parsed": {"a": 1}},
            [("assistant", ['{"a":1,"more":2}', 'parsed: {"a": 1}'])],
        ),
        ({"completion": '"billing"', "parsed": "billing"}, [("assistant", ["billing"])]),
        (
            {"completion": "yes", "confidence": 0.9, "probabilities": '{"no":0.1,"yes":0.9}'},
            [("assistant", ["yes", "confidence: 0.900 (yes 0.900, no 0.100)"])],
        ),
        (
            {"completion": "yes", "confidence": 0.9, "probabilities": {"no": None, "yes": 0.9}},
            [("assistant", ["yes", "confidence: 0.900 (yes 0.900)"])],
        ),
        (
            {"completion": "a", "confidence": 0.5, "probabilities": [{"label": "a", "probability": 0.5}]},
            [("assistant", ["a", "confidence: 0.500 (a 0.500)"])],
        ),
        (
            {"completion": "a", "choices": [{"completion": "a"}, {"completion": "b", "refusal": None}]},
            [("assistant, choice 1 of 2", ["a"]), ("assistant, choice 2 of 2", ["b"])],
        ),
        (
            {"completion": "It is.", "annotations": [{"url": "http://x", "title": "X"}]},
            [("assistant", ["It is.", "source: X http://x"])],
        ),
        (
            {"audio": {"data": b"\0" * 48_000, "transcript": "Hello", "format": "pcm16"}},
            [("assistant", ["[audio 1.0 s pcm16, 48,000 bytes]", "Hello"])],
        ),
        (
            {"audio": {"data": b"ID3", "transcript": None, "format": None}},
            [("assistant", ["[audio 3 bytes]"])],
        ),
        (
            {"refusal": "I won't.", "error": {"type": "refusal", "message": "I won't."}},
            [("assistant", ["refusal: I won't."])],
        ),
        (
            {"completion": "{", "error": {"type": "truncated", "message": None}},
            [("assistant", ["{"]), ("error", ["truncated: "])],
        ),
    ],
)  # fmt: skip
def test_a_row_is_a_conversation(row: dict[str, Any], expected: list[tuple[str, list[str]]]) -> None:
    """Roles in their order, media as notes, calls with arguments, the answer, what is parsed, the error."""
    assert shown(row) == expected


def test_a_transcript_is_the_same_from_the_checkpoint_and_from_the_results() -> None:
    """It is JSON text before it is published."""
    messages = [message("user", "Hello"), message("assistant", "Hi.")]
    row = {"completion": "Hi.", "messages": messages}
    assert shown(row | {"messages": codec.dumps(messages).decode()}) == shown(row)
    assert len(shown(row)) == 2


def test_without_a_transcript_the_input_stands_for_the_user() -> None:
    """Columns that are null are left out; bytes are counted, lists and structs are JSON."""
    row = {"q": "Why?", "n": 3, "none": None, "photo": b"\xff\xd8", "tags": ["a", "b"], "completion": "So."}
    assert shown(row, "q", "n", "none", "photo", "tags") == [
        ("input", ["q: Why?", "n: 3", "photo: [2 bytes]", 'tags: ["a", "b"]']),
        ("assistant", ["So."]),
    ]
    assert shown(row | {"messages": [message("user", "Why?")]}, "q")[0] == ("user", ["Why?"])


def test_what_is_beside_the_matter_is_marked() -> None:
    """Reasoning and notes are dim, errors are red: their parts have a kind."""
    row = {"reasoning": "hm", "completion": "x", "error": {"type": "truncated", "message": "cut"}}
    assert [part for turn in turns(row) for part in turn.parts] == [
        Part("hm", "reasoning: ", "note"),
        Part("x"),
        Part("truncated: cut", kind="error"),
    ]


def test_the_facts_of_a_row() -> None:
    """Model, times, tokens with their details, cost, calls with their failures, an unusual end."""
    row = {
        "model": "openai/o3",
        "latency": 1.5,
        "ttft": 0.05,
        "usage": {"prompt_tokens": 10, "completion_tokens": 7, "cached_tokens": 4, "reasoning_tokens": 5},
        "cost_usd": 0.0123,
        "attempts": [{"error_type": "server"}, {"error_type": "server"}, {"error_type": None}],
        "finish_reason": "length",
        "repaired": True,
    }
    assert facts(row) == [
        *("openai/o3", "1.50 s", "first token after 50 ms", "10+7 tokens (4 cached, 5 reasoning)"),
        *("$0.0123", "3 calls (server)", "finish_reason length", "repaired"),
    ]
    assert facts({"model": "m", "usage": None, "attempts": [{}], "finish_reason": "stop"}) == ["m"]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_length_of_a_wav(streamed: bool) -> None:
    """It comes from the bytes there are: the header of a streamed file does not know."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 4000)
    data = file.getvalue()
    if streamed:
        data = data[:40] + b"\xff" * 4 + data[44:]
    assert audio_seconds(data, "wav") == pytest.approx(0.5)


def test_json_is_short_or_indented() -> None:
    """A few members stay on a line; what is no JSON is text."""
    assert pretty({"a": [1, None]}) == '{"a": [1, null]}'
    assert pretty({"a": "x" * 80}) == '{\n  "a": "' + "x" * 80 + '"\n}'
    assert spelled({"photo": b"\xff"}) == '{"photo": "[1 byte]"}'


def test_a_heading_stays_on_its_line() -> None:
    """A name cannot draw a line of its own."""
    assert clean_line("a\n  assistant\t\x1b[2J") == "a\u240a  assistant\u2409\u241b[2J"


def test_every_column_that_is_read_is_one_of_the_results() -> None:
    """A renamed column is noticed."""
    assert [name for name in NEEDED if name not in RESULT_SCHEMA.names] == []


HOSTILE = "\x1b[31mred\x07 \x1b]0;title\x07 [bold]loud[/bold] \x9b2J \u202eback \r\u2066"


def published(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A run folder with these results: the input column `q`, ours as far as they are given."""
    run = folder / "run"
    (run / "results").mkdir(parents=True)
    (run / "checkpoint").mkdir()
    RunFolder(run).identity_path.write_text("{}")
    types = dict(pl.DataFrame(RESULT_SCHEMA.empty_table()).schema)
    del types["messages"]  # a list of structs, once it is published
    known = dict.fromkeys(["row_index", "row_id", "q", *RESULT_SCHEMA.names[2:]]) | {
        "q": "Why?",
        "status": "ok",
        "stale": False,
        "repaired": False,
    }
    found = [known | {"row_index": at, "row_id": f"r{at}"} | row for at, row in enumerate(rows)]
    pl.DataFrame(found, schema_overrides=types, infer_schema_length=None).write_parquet(
        run / "results" / "part-00000.parquet"
    )
    return run


def test_show_prints_conversations(tmp_path: Path) -> None:
    """Each row with its id and status, turns, and facts; indented, without colour when piped."""
    transcript = [message("user", "Weather?"), message("assistant", tool_calls=[call("weather")])]
    transcript += [message("tool", "rain\nand wind", tool_call_id="c1"), message("assistant", "Rain.")]
    run = published(
        tmp_path,
        [
            {"completion": "Rain.", "messages": transcript, "model": "m", "latency": 0.25},
            {"completion": "Because.", "messages": None, "model": "m", "latency": 2.0},
        ],
    )
    assert batchrun("show", run, cwd=tmp_path).out == (
        "r0  ok\n  user\n    Weather?\n  assistant\n    weather({})\n  tool weather\n    rain\n    and wind\n"
        "  assistant\n    Rain.\n  m · 0.25 s\n"
        "r1  ok\n  input\n    q: Why?\n  assistant\n    Because.\n  m · 2.00 s\n"
    )


def test_no_text_of_a_conversation_can_command_the_terminal(tmp_path: Path) -> None:
    """Whoever wrote it: the model, a function, the row, a server, a file name."""
    hostile = message(HOSTILE, HOSTILE, name=HOSTILE, refusal=HOSTILE, reasoning=HOSTILE)
    hostile["tool_calls"] = [call(HOSTILE, HOSTILE)]
    hostile["parts"] = [{"type": HOSTILE, "text": None, "source": HOSTILE}]
    row = {
        "messages": [hostile],
        "status": "failed",
        "error": {"type": "server", "message": HOSTILE},
        **dict.fromkeys(["completion", "reasoning", "model", "finish_reason"], HOSTILE),
    }
    out = batchrun("show", published(tmp_path, [row]), cwd=tmp_path).out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out)
    assert out.count("[bold]loud[/bold]") >= 10


def test_a_long_conversation_fits_the_terminal(tmp_path: Path) -> None:
    """80 columns: everything wraps below its heading, wide characters too; with an id all is shown."""
    wide = "漢字" * 60 + " " + "word " * 500 + "x" * 200
    rows = [{"completion": wide, "q": wide, "row_id": "i" * 200, "model": "m" * 100}, {"row_id": "r1"}]
    run = published(tmp_path, rows)
    _, written = on_a_terminal(["show", str(run), "i" * 200], tmp_path)
    lines = lines_seen(written)
    assert max(len(line) + len(re.findall("[漢字]", line)) for line in lines) <= 80
    assert "".join(lines).count("word") == 1000
    assert "\x1b[36m  assistant" in written
    _, written = on_a_terminal(["show", str(run)], tmp_path, NO_COLOR="1")
    assert " … (821 more characters)" in " ".join(line.strip() for line in lines_seen(written))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", written)


def test_show_reads_a_killed_run(tmp_path: Path) -> None:
    """What only the journal holds yet is shown in the same way, and its input as far as it is known."""
    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    RunFolder(run).identity_path.write_text("{}")
    messages = [message("user", "Hello"), message("assistant", "Hi.")]
    reading = {"parsed": {"a": 1}, "transcript": messages, "confidence": 0.5, "probabilities": {"x": 0.5}}
    records: list[Record] = [
        sent(0),
        answered(0, exchange=reply(body('{"a":1}'))),
        replace(done(0), reading=reading),
    ]
    write_journal(run / "checkpoint", 1, records)
    ended = batchrun("show", run, cwd=tmp_path)
    out = ended.out
    assert out.startswith("r0  ok\n  user\n    Hello\n  assistant\n    Hi.\n  assistant\n")
    assert '    {"a": 1}\n    confidence: 0.500 (x 0.500)\n' in out
