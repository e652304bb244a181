"""init, schema and simulate: what a new user runs first."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
import yaml

from batchrun.job import PRESETS, Preset
from tests.cli.pseudo_terminal import read_all
from tests.commands import batchrun
from tests.small_files import files_of_at_most

TICKETS = [
    {
        "ticket_id": f"T-{n}",
        "subject": f"Ticket {n}",
        "body": "It broke. " * 20,
        "label": "ab"[n % 2],
        "stars": n % 5,
    }
    for n in range(6)
]


def write_table(folder: Path, suffix: str) -> str:
    path = folder / f"my tickets{suffix}"
    write_frame(pl.DataFrame(TICKETS), path)
    return path.name


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".jsonl":
            frame.write_ndjson(path)
        case ".csv":
            frame.write_csv(path)
        case _:
            frame.write_parquet(path)


@pytest.mark.parametrize(
    ("suffix", "task"),
    [(".jsonl", "classify"), (".csv", "extract"), (".parquet", "summarize"), (".jsonl", "generate")],
)
def test_init_plan_submit(tmp_path: Path, suffix: str, task: str) -> None:
    """The job that init writes for a table passes plan, runs at once, and fits the schema beside it."""
    ended = batchrun("init", write_table(tmp_path, suffix), "--task", task, cwd=tmp_path)
    assert (ended.code, ended.out) == (0, "jobs/my-tickets.yaml\n")
    text = (tmp_path / "jobs" / "my-tickets.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=job.schema.json\n")
    schema = json.loads((tmp_path / "jobs" / "job.schema.json").read_text())
    document = yaml.safe_load(text)
    jsonschema.Draft7Validator(schema).validate(document)
    assert document["input"]["id"] == "ticket_id"
    assert document["prompt"]["messages"][1]["content"] == "{{ subject }}\n\n{{ body }}\n"
    plan = batchrun("plan", "jobs/my-tickets.yaml", "--json", cwd=tmp_path)
    assert (plan.code, plan.json["to_do"], plan.json["facts"]["unrendered"]) == (0, 6, 0)
    if task == "classify":
        assert "labels: a, b." in text
        assert batchrun("submit", "jobs/my-tickets.yaml", cwd=tmp_path).code == 0


@pytest.mark.parametrize(("task", "texts"), [("classify", ["text"]), ("generate", ["topic", "text"])])
def test_a_label_is_not_shown_to_who_is_to_find_it(tmp_path: Path, task: str, texts: list[str]) -> None:
    """A column called topic may be a heading, or what is asked for."""
    rows = [{"text": f"a text of some words {n}", "topic": ["sport", "politics"][n % 2]} for n in range(4)]
    write_frame(pl.DataFrame(rows), tmp_path / "my.jsonl")
    said = batchrun("init", "my.jsonl", "--task", task, "--json", cwd=tmp_path).json
    assert said["texts"] == texts
    document = yaml.safe_load((tmp_path / said["job"]).read_text())
    asked = [message["content"] for message in document["prompt"]["messages"]]
    assert re.findall(r"{{ (\w+) }}", asked[1]) == texts
    assert ("politics, sport" in asked[0]) == (task == "classify")


@pytest.mark.parametrize("task", ["classify", "extract", "summarize", "generate"])
def test_every_comment_of_the_job_is_a_key_that_works(tmp_path: Path, task: str) -> None:
    """Taking the marks of the comments away gives a job that passes plan, and says more."""
    batchrun("init", write_table(tmp_path, ".jsonl"), "--task", task, cwd=tmp_path)
    path = tmp_path / "jobs" / "my-tickets.yaml"
    before = yaml.safe_load(path.read_text())
    keys = "where|limit|schema|fallbacks|budget|canary|checks|output"
    path.write_text(re.sub(rf"^( *)# ((?:{keys}): )", r"\1\2", path.read_text(), flags=re.MULTILINE))
    after = yaml.safe_load(path.read_text())
    assert {*after, *after["input"]} - {*before, *before["input"]} == {*keys.split("|")} - {*before}
    plan = batchrun("plan", "jobs/my-tickets.yaml", "--json", cwd=tmp_path)
    assert (plan.code, plan.json["to_do"]) == (0, 6)


ODD: dict[str, list[Any]] = {
    "Ticket ID": [1, 2],
    "Review Title": ["Good", "Bad"],
    "the 'full' text": ["It works.", "It broke after two days."],
    "größe": [1.5, 2.5],
    "if": ["x", "y"],
    "User Sentiment": ["glad", "sad"],
    "tags": [["a"], ["b", "c"]],
    "when": [date(2026, 1, 1)] * 2,
    "price": [Decimal("1.20")] * 2,
    "picture": [b"x", b"y"],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_odd_names_of_columns_are_no_obstacle(tmp_path: Path, suffix: str) -> None:
    """With spaces, quotes, letters of other alphabets: as they come from spreadsheets."""
    plain = {name: [str(value) for value in values] for name, values in ODD.items()}
    frame = pl.DataFrame(ODD if suffix == ".parquet" else plain)
    write_frame(frame, tmp_path / f"odd{suffix}")
    ended = batchrun("init", f"odd{suffix}", "--task", "classify", cwd=tmp_path)
    assert ended.err.startswith(
        "The prompt uses Review Title and the 'full' text; rows are named by Ticket ID.\n"
    )
    assert "Left out" not in ended.err
    plan = batchrun("plan", "jobs/odd.yaml", "--json", cwd=tmp_path)
    assert (plan.code, plan.json["facts"]["unrendered"], plan.json["warnings"]) == (0, 0, [])
    messages = plan.json["examples"][1]["request"]["messages"]
    assert messages[1]["content"] == "Bad\n\nIt broke after two days.\n"
    assert "labels: glad, sad." in messages[0]["content"]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_column_of_messages_is_the_prompt(tmp_path: Path, as_text: bool) -> None:
    """Also where it is JSON text, as in a CSV."""
    chat = [{"role": "user", "content": "hi"}]
    rows = [{"uid": n, "chat": json.dumps(chat) if as_text else chat, "text": "word " * 90} for n in range(2)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = batchrun("init", "t.jsonl", cwd=tmp_path)
    assert "The column chat holds each row's messages; rows are named by uid." in ended.err
    plan = batchrun("plan", "jobs/t.yaml", "--json", cwd=tmp_path)
    assert (plan.code, plan.json["examples"][0]["request"]["messages"]) == (0, chat)


def test_a_file_of_requests_is_a_job_as_it_is(tmp_path: Path) -> None:
    """In OpenAI's batch format: each row names its model and brings its messages."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    assert batchrun("init", "t.jsonl", cwd=tmp_path).code == 0
    plan = batchrun("plan", "jobs/t.yaml", "--json", cwd=tmp_path)
    assert (plan.code, plan.json["examples"][0]["request"]) == (0, body)
    assert plan.json["models"][0]["model"] == "simulator/*"


@pytest.mark.parametrize(
    ("endpoint", "model"),
    [
        ("openai", "gpt-4.1-mini"),
        ("openai", "gpt-5-mini"),
        ("openai", "o3"),
        ("together", "openai/gpt-oss-20b"),
        ("lunos", "deepseek/deepseek-reasoner"),
    ],
)
@pytest.mark.parametrize("task", ["classify", "generate"])
def test_the_parameters_suit_the_model(tmp_path: Path, task: str, endpoint: str, model: str) -> None:
    """None that it refuses, and room to reason: the plan has no word of warning."""
    words = ["init", write_table(tmp_path, ".csv"), "--task", task, "--endpoint", endpoint, "--model", model]
    assert batchrun(*words, cwd=tmp_path).code == 0
    plan = batchrun("plan", "jobs/my-tickets.yaml", "--json", cwd=tmp_path).json
    assert plan["warnings"] == []
    assert [reason[:10] for reason in plan["obstacles"]] == ["no API key"]


def test_a_preset_may_have_no_address_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job has a place for it; where none is given, that is said, and no other server is thought of."""
    monkeypatch.setitem(PRESETS, "own", Preset(None, "OWN_KEY", api_key_header="api-key"))
    words = ["init", write_table(tmp_path, ".csv"), "--endpoint", "own", "--model", "m", "--out", "own.yaml"]
    assert batchrun(*words, cwd=tmp_path).code == 0
    plan = batchrun("plan", "own.yaml", "--json", cwd=tmp_path)
    assert (plan.code, [reason[:10] for reason in plan.json["obstacles"]]) == (2, ["no API key"])
    lines = (tmp_path / "own.yaml").read_text().splitlines()
    (tmp_path / "own.yaml").write_text("\n".join(line for line in lines if not line.startswith("endpoints")))
    plan = batchrun("plan", "own.yaml", cwd=tmp_path)
    assert (plan.code, "endpoints.own: needs a base_url: own is served at" in plan.err) == (2, True)
    listed = batchrun("stored", "list", "--endpoint", "own", cwd=tmp_path)
    assert (listed.code, "Name a job file that gives its base_url" in listed.err) == (2, True)


_NO_MORE = b"\x04"
"""Ctrl-D: a further question is not waited for."""


def typed(folder: Path, words: list[str], *answers: str) -> tuple[int, str]:
    """Run a command on a terminal where somebody answers its questions."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    with subprocess.Popen(
        [sys.executable, "-m", "batchrun", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
    ) as process:
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode() + _NO_MORE)
        written = bytearray()
        read_all(ours, written)
    os.close(ours)
    return process.returncode, written.decode().replace("\r\n", "\n")


def test_on_a_terminal_it_asks_for_what_is_not_said(tmp_path: Path) -> None:
    """For the table until it can be read, the task, the endpoint and the model."""
    data = write_table(tmp_path, ".csv")
    code, said = typed(tmp_path, ["init"], "nowhere.csv", data, "extract", "openai", "gpt-4.1-mini")
    assert code == 0, said
    endpoints = said[said.index("Endpoints: openai, lunos, ") : said.index("Where")].splitlines()
    assert [len(line) <= 80 for line in endpoints] == [True, True]
    _, between, _ = said.split("Which table")
    assert "nowhere.csv: no file to read there" in between
    assert "  export OPENAI_API_KEY=…\n  batchrun plan jobs/my-tickets.yaml\n" in said
    document = yaml.safe_load((tmp_path / "jobs" / "my-tickets.yaml").read_text())
    assert (document["model"], "schema" in document) == ("openai/gpt-4.1-mini", True)


def test_on_a_terminal_flags_answer_questions(tmp_path: Path) -> None:
    """Each by itself; with all of them nothing is asked."""
    data = write_table(tmp_path, ".csv")
    words = ["init", data, "--task", "generate", "--endpoint", "groq"]
    code, said = typed(tmp_path, words, "some-model")
    assert (code, said.count("Which"), "What shall" in said, "Where" in said) == (0, 1, False, False)
    words += ["--model", "some-model", "--out", "jobs/other.yaml"]
    code, said = typed(tmp_path, words)
    assert (code, said.startswith("jobs/other.yaml\n")) == (0, True)


def test_a_file_that_is_there_is_told_before_any_question(tmp_path: Path) -> None:
    """Nobody answers four questions for nothing."""
    data = write_table(tmp_path, ".csv")
    batchrun("init", data, cwd=tmp_path)
    code, said = typed(tmp_path, ["init", data])
    assert (code, "exists already" in said, "What shall" in said) == (2, True, False)


def test_without_a_terminal_a_table_must_be_named(tmp_path: Path) -> None:
    """With what to write."""
    ended = batchrun("init", cwd=tmp_path)
    assert (ended.code, ended.err) == (
        2,
        "error: no table is named\n  Name one in JSONL, CSV or Parquet: batchrun init my.jsonl\n",
    )


def test_init_never_overwrites(tmp_path: Path) -> None:
    """An existing job file, and an existing schema, stay as they are."""
    data = write_table(tmp_path, ".csv")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.schema.json").write_text("{}")
    assert batchrun("init", data, cwd=tmp_path).code == 0
    before = (tmp_path / "jobs" / "my-tickets.yaml").read_text()
    ended = batchrun("init", data, "--task", "extract", cwd=tmp_path)
    assert (ended.code, "exists already" in ended.err) == (2, True)
    assert (tmp_path / "jobs" / "my-tickets.yaml").read_text() == before
    assert (tmp_path / "jobs" / "job.schema.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"id": "1", "text": "a"}, {"id": "1", "text": "b"}], None),
        ([{"id": "1", "text": "a"}, {"id": None, "text": "b"}], None),
        ([{"text": "a", "order id": 7, "label\n": "x: y"}], "order id"),
        ([{"text": "a", "label": "{{ x }}\n#"}, {"text": "b", "label": "c"}], None),
        ([{"text": "a: {{ no template }} 'quoted' \"twice\"", "Id": 7}], "Id"),
    ],
)
def test_only_a_column_that_names_every_row_is_the_id(
    tmp_path: Path, rows: list[dict[str, object]], named: str | None
) -> None:
    """A column called an id is taken when no value is missing or stands twice."""
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert batchrun("init", "t.jsonl", "--json", cwd=tmp_path).json["id"] == named
    assert batchrun("plan", "jobs/t.yaml", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("id,text\n1,a\n1,b\n", "no column names its rows: id has duplicates"),
        ("id,text\n1,a\n,b\n", "no column names its rows: id is empty in some rows"),
        ("id,text,a\\b,row\n1,a,2,3\n", "Left out, because a template cannot name them: 'a\\\\b'."),
        ("id,text,unit price,row\n1,a,2,3\n", "Left out, because a template cannot name them: 'unit price'."),
    ],
)
def test_init_says_what_it_could_not_use(tmp_path: Path, table: str, said: str) -> None:
    """A column that looks like an id and is none, and columns that no template can name, are told."""
    (tmp_path / "t.csv").write_text(table)
    ended = batchrun("init", "t.csv", cwd=tmp_path)
    assert (ended.code, said in ended.err) == (0, True)
    assert batchrun("plan", "jobs/t.yaml", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("t.csv", "id,text\n", "t.csv: no rows, only the columns id, text"),
        ("t.jsonl", "", "t.jsonl: no rows"),
        ("t.jsonl", "no json\n", "t.jsonl: no row of it can be read. The first: t.jsonl:1"),
    ],
)
def test_a_table_without_rows_is_refused(tmp_path: Path, name: str, table: str, said: str) -> None:
    """What is missing are rows, not names of columns."""
    (tmp_path / name).write_text(table)
    ended = batchrun("init", name, cwd=tmp_path)
    assert (ended.code, said in ended.err) == (2, True)


def test_a_folder_is_a_table_when_files_lie_in_it(tmp_path: Path) -> None:
    """init does not search a project's folders for tables; a folder of tables is one table."""
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data", ".csv")
    ended = batchrun("init", ".", cwd=tmp_path)
    assert (ended.code, "a file is needed here" in ended.err) == (2, True)
    assert not (tmp_path / "jobs").exists()
    assert batchrun("init", "data", cwd=tmp_path).code == 0


def test_a_table_without_a_usable_column_is_refused(tmp_path: Path) -> None:
    """Names that no template can spell are said, and nothing is written."""
    (tmp_path / "t.csv").write_text("my\\text,b\\\nhello,x\n")
    ended = batchrun("init", "t.csv", cwd=tmp_path)
    assert ended.code == 2
    assert "my\\text, b\\. Rename one" in ended.err
    assert not (tmp_path / "jobs").exists()


def test_schema_is_json(tmp_path: Path) -> None:
    """The schema of the job file is a valid JSON Schema, on one line with --json."""
    ended = batchrun("schema", cwd=tmp_path)
    jsonschema.Draft7Validator.check_schema(json.loads(ended.out))
    assert batchrun("schema", "--json", cwd=tmp_path).json == json.loads(ended.out)


def test_simulate_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """simulate says its URL, obeys its options, keeps a ledger, and ends with 0 at SIGTERM."""
    (tmp_path / "sim.yaml").write_text("models: [small]\nlatency: {kind: constant, seconds: 0}\n")
    words = ["simulate", "--port", "0", "--config", "sim.yaml", "--ledger", "ledger.jsonl", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "batchrun", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["base_url"]
        body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hello"}]}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["choices"]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert f'base_url: "{url}"' in said
    assert (tmp_path / "ledger.jsonl").read_text().count("\n") >= 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limts: {}", "sim.yaml: limts"),
        ("- 1", "must be a mapping"),
        ("a: [", "sim.yaml"),
        ("latency: {kind: odd}", "latency"),
    ],
)
def test_wrong_options_of_the_simulator_are_explained(tmp_path: Path, text: str, said: str) -> None:
    """A config file that is wrong is exit code 2, and names what is wrong."""
    (tmp_path / "sim.yaml").write_text(text)
    ended = batchrun("simulate", "--config", "sim.yaml", cwd=tmp_path)
    assert (ended.code, said in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("rows.jsonl", "error: rows.jsonl:1: is no line of a simulator's ledger"),
        (".", "error: cannot write the ledger .: Is a directory"),
        ("nowhere/calls.jsonl", "error: cannot write the ledger nowhere/calls.jsonl: No such file"),
    ],
)
def test_a_ledger_that_cannot_be_one_is_explained(tmp_path: Path, ledger: str, said: str) -> None:
    """It is no matter of the port."""
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    ended = batchrun("simulate", "--port", "0", "--ledger", ledger, cwd=tmp_path)
    assert (ended.code, ended.err.startswith(said)) == (2, True), ended.err
    assert "--port" not in ended.err


def test_a_full_disk_leaves_no_half_of_a_job(tmp_path: Path) -> None:
    """Exit code 3 with what to do, and nothing that the next try would take for a job."""
    name = write_table(tmp_path, ".jsonl")
    with files_of_at_most(512):
        ended = batchrun("init", name, cwd=tmp_path)
    assert (ended.code, "make room" in ended.err) == (3, True), ended.err
    assert list((tmp_path / "jobs").iterdir()) == []
    assert batchrun("init", name, cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    ("data", "lies_at"),
    [("~/my.jsonl", "home/my.jsonl"), ("${HOME}.jsonl", "${HOME}.jsonl"), ("a $${x.jsonl", "a $${x.jsonl")],
)
def test_the_job_opens_the_table_that_init_read(tmp_path: Path, data: str, lies_at: str) -> None:
    """However it is named: from the home folder, or by what a job would take for a variable."""
    env = {"HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    rows = [{"${HOME} id": f"r{n}", "text": "some words"} for n in range(3)]
    write_frame(pl.DataFrame(rows), tmp_path / lies_at)
    said = batchrun("init", data, "--json", cwd=tmp_path, env=env)
    assert said.json["id"] == "${HOME} id"
    plan = batchrun("plan", said.json["job"], "--json", cwd=tmp_path, env=env)
    assert (plan.code, plan.json["to_do"]) == (0, 3), plan.err


def test_a_files_name_writes_nothing_into_the_job(tmp_path: Path) -> None:
    """A line break in it ends no comment: what follows is no key of the job."""
    name = "a\nrun_tools: {module: evil.py, functions: [f]}\n#.jsonl"
    (tmp_path / name).write_text('{"text": "hello", "id": 1}\n')
    ended = batchrun("init", name, "--out", "job.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    written = yaml.safe_load((tmp_path / "job.yaml").read_text())
    assert written["input"]["path"] == name
    assert "run_tools" not in written
