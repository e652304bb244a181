"""init, schema and simulate: what a new user runs first."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import jsonschema
import polars as pl
import pytest
import yaml

from tests.cli.running import batchrun

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
    frame, path = pl.DataFrame(TICKETS), folder / f"my tickets{suffix}"
    match suffix:
        case ".jsonl":
            frame.write_ndjson(path)
        case ".csv":
            frame.write_csv(path)
        case _:
            frame.write_parquet(path)
    return path.name


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
        ("id,text,unit price,if\n1,a,2,3\n", "Left out, because a template cannot name them"),
        ("id,text,unit price,if\n1,a,2,3\n", ": 'unit price', 'if'."),
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
    (tmp_path / "t.csv").write_text("my text,if\nhello,x\n")
    ended = batchrun("init", "t.csv", cwd=tmp_path)
    assert ended.code == 2
    assert "my text, if" in ended.err
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


def _little_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))


def test_a_full_disk_leaves_no_half_of_a_job(tmp_path: Path) -> None:
    """Exit code 3 with what to do, and nothing that the next try would take for a job."""
    name = write_table(tmp_path, ".jsonl")
    words = [sys.executable, "-m", "batchrun", "init", name]
    ended = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, preexec_fn=_little_room
    )
    assert (ended.returncode, "make room" in ended.stderr) == (3, True), ended.stderr
    assert list((tmp_path / "jobs").iterdir()) == []
    assert batchrun("init", name, cwd=tmp_path).code == 0


def test_a_files_name_writes_nothing_into_the_job(tmp_path: Path) -> None:
    """A line break in it ends no comment: what follows is no key of the job."""
    name = "a\nrun_tools: {module: evil.py, functions: [f]}\n#.jsonl"
    (tmp_path / name).write_text('{"text": "hello", "id": 1}\n')
    batchrun("init", name, "--out", "job.yaml", cwd=tmp_path)
    written = tmp_path / "job.yaml"
    assert not written.exists() or "run_tools" not in yaml.safe_load(written.read_text())
