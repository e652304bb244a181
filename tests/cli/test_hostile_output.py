"""Nothing that a model, a server, a row or a file name says can command the terminal it is shown on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from batchrun.wording import clean, clean_line, escaped
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.commands import batchrun
from tests.hostile import ALL, FOR_TERMINALS, hostile_run, obeyed, storable
from tests.runs import JobFolder

EVERYTHING = "".join(FOR_TERMINALS)
ARGUMENT = EVERYTHING.replace("\x00", "").replace("\ud800", "")
"""As a process can be given it: bytes that are no text are lone low surrogates (PEP 383)."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose every text is hostile. Not to be changed, but for a report in it."""
    return hostile_run(tmp_path_factory.mktemp("hostile") / "run", FOR_TERMINALS).path


@pytest.mark.parametrize("text", ALL, ids=ascii)
def test_no_text_is_left_with_anything_to_obey(text: str) -> None:
    """Cleaned, on one line, and as JSON, which keeps its value."""
    assert obeyed(clean(text), terminal=False) == []
    assert obeyed(clean_line(text), terminal=False) == []
    assert "\n" not in clean_line(text)
    line = escaped(json.dumps({text: text}, ensure_ascii=False))
    assert obeyed(line, terminal=False) == []
    assert json.loads(line) == {text: text}


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 日本語, עברית, العربية",
        "می‌خواهم",
        "क्‍ष",
        "👩‍👩‍👧 👍🏽 ☺️ 🇩🇪",
        "tab\there\nnext",
        "é̂ [bold] \\x1b",
        "١٢٣ ؀١",
    ],
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    """All scripts, joiners where scripts and emoji need them, and text that only looks like markup."""
    assert clean(text) == text


READING = [
    ["show", "--limit", "1000"],
    ["show", "--limit", "1000", "--failed"],
    [
        "show",
        "--limit",
        "1000",
        "--columns",
        "row_id,completion,parsed,attempts,error,tool_calls,audio,messages",
    ],
    ["show", "--json"],
    ["status"],
    ["status", "--json"],
    ["report"],
    ["report", "--json"],
    ["export", "--format", "jsonl"],
]


@pytest.mark.long
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_run_full_of_hostile_text_commands_nothing(hostile: Path, words: list[str]) -> None:
    """On a terminal and in a pipe: of every column, name and member of a run, and of its run.json."""
    verb, *options = words
    code, seen = here_on_a_terminal([verb, hostile, *options], hostile.parent)
    assert (code, obeyed(seen, terminal=True)) == (0, [])
    piped = batchrun(verb, hostile, *options, cwd=hostile.parent)
    assert (piped.code, obeyed(piped.out + piped.err, terminal=False)) == (0, [])
    if verb == "show" and "--failed" not in words:
        assert seen.count("[bold red]markup[/bold red]") >= 3
        assert seen.count(":smile:") >= 3


def test_csv_is_data_in_a_pipe_and_harmless_on_a_terminal(hostile: Path) -> None:
    """The cells of a file keep their characters; those that a terminal is given are pictures."""
    code, seen = here_on_a_terminal(["export", hostile, "--format", "csv"], hostile.parent)
    assert (code, obeyed(seen, terminal=True)) == (0, [])
    file = hostile.parent / "rows.csv"
    assert batchrun("export", hostile, "--out", file, cwd=hostile.parent).code == 0
    assert "\x1b[5m" in file.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["show", "RUN", ARGUMENT],
        ["show", "RUN", "--where", f"x = '{ARGUMENT}'"],
        ["show", "RUN", "--where", ARGUMENT],
        ["show", "RUN", "--columns", ARGUMENT],
        ["show", "RUN", f"--failed={ARGUMENT}"],
        ["show", "RUN", f"--{ARGUMENT}"],
        ["show", "RUN", "--limit", ARGUMENT],
        ["export", "RUN", "--format", ARGUMENT],
        ["export", "RUN", "--where", f'"{ARGUMENT}" = 1'],
        ["status", ARGUMENT],
        ["submit", ARGUMENT],
        [ARGUMENT],
        ["init", ARGUMENT],
        ["schema", ARGUMENT],
        ["simulate", "--config", ARGUMENT],
        ["simulate", "--port", ARGUMENT],
        ["gc", "RUN", "--set", ARGUMENT],
    ],
    ids=lambda words: ascii(" ".join(word[:12] for word in words)),
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["", "json"])
def test_a_wrong_command_line_is_told_safely(hostile: Path, words: list[str], form: list[str]) -> None:
    """What the shell passes may come from a file name or another program."""
    given = [str(hostile) if word == "RUN" else word for word in [*words, *form]]
    code, seen = here_on_a_terminal(given, hostile.parent)
    assert (code, obeyed(seen, terminal=True)) == (2, [])
    piped = batchrun(*given, cwd=hostile.parent)
    assert (piped.code, obeyed(piped.out + piped.err, terminal=False)) == (2, [])


class _Hostile(BaseHTTPRequestHandler):
    """An endpoint that answers with the prompt it was given, in every member it can."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = request["messages"][-1]["content"]
        number = int(text.partition(" ")[0])
        status = {0: 200, 1: 400, 2: 200, 3: 422}[number % 4] if request["model"] == "mixed" else 401
        error = {"message": text, "type": text, "code": text, "param": text}
        call = {"id": text, "type": "function", "function": {"name": text, "arguments": text}}
        message = {"role": "assistant", "content": text, "reasoning": text, "tool_calls": [call]}
        if number % 4 == 2:
            message = {"role": "assistant", "refusal": text, "content": None}
        choice = {"index": 0, "finish_reason": text, "message": message}
        whole = {
            "choices": [choice],
            "id": text,
            "model": text,
            "system_fingerprint": text,
            "service_tier": text,
        }
        data = json.dumps(whole if status == 200 else {"error": error}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a hostile endpoint."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hostile) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{endpoint.server_address[1]}/v1"
        endpoint.shutdown()
        thread.join()


@pytest.fixture
def job(tmp_path: Path, server: str) -> JobFolder:
    """A job whose rows, ids, column names and file names are hostile."""
    job = JobFolder(tmp_path)
    rows = tmp_path / f"rows {EVERYTHING[:100].replace('/', '').replace(chr(0), '')}.jsonl"
    with rows.open("w") as file:
        for number, text in enumerate(FOR_TERMINALS):
            file.write(json.dumps({"id": f"{number} {text}", "text": f"{number} {text}", text: text}) + "\n")
        file.write(storable(EVERYTHING).replace("\n", ""))
    job.write(
        server, input={"path": rows.name, "id": "id"}, model="local/mixed", stop_when={"failed": "100%"}
    )
    return job


def both_ways(job: JobFolder, *words: str) -> int:
    """Run a command on a terminal and in a pipe; the exit code of the first."""
    code, seen = here_on_a_terminal(words, job.folder)
    assert lines_seen(seen)
    assert obeyed(seen, terminal=True) == []
    piped = batchrun(*words, cwd=job.folder)
    assert obeyed(piped.out + piped.err, terminal=False) == []
    return code


def test_a_submit_shows_nothing_to_obey(job: JobFolder) -> None:
    """Plan, progress, failures with their examples, rows, garbage: of hostile rows and a hostile endpoint."""
    assert both_ways(job, "plan", "job.yaml") == 0
    assert both_ways(job, "plan", "job.yaml", "--json", "--example", f"3 {FOR_TERMINALS[3]}") == 0
    assert both_ways(job, "submit", "job.yaml") == 1
    for words in (
        ["show", "job.yaml"],
        ["status", "job.yaml"],
        ["gc", "job.yaml"],
        ["show", "job.yaml", "--json"],
    ):
        assert both_ways(job, *words) == 0


def test_a_refusal_of_the_key_shows_nothing_to_obey(job: JobFolder) -> None:
    """What the server says of it is told at once, and again at the end."""
    ended = batchrun("submit", "job.yaml", "--model", "local/locked", cwd=job.folder)
    assert ended.code == 4
    assert obeyed(ended.out + ended.err, terminal=False) == []
    code, seen = here_on_a_terminal(["submit", "job.yaml", "--model", "local/locked"], job.folder)
    assert (code, obeyed(seen, terminal=True)) == (4, [])


WRONG_JOBS = [
    {"nmae": EVERYTHING},
    {EVERYTHING: 1},
    {"model": EVERYTHING},
    {"input": {"path": EVERYTHING.replace("\x00", "")[:200], "id": EVERYTHING}},
    {"input": {"path": "rows.jsonl", "where": EVERYTHING}},
    {"prompt": {"messages": [{"role": EVERYTHING, "content": "x"}]}},
    {"prompt": {"messages": [{"role": "user", "content": "{{ x." + EVERYTHING + " }}"}]}},
    {"request": {EVERYTHING: 1}},
    {"request": {"temperature": EVERYTHING}},
    {"endpoints": {EVERYTHING: {"base_url": EVERYTHING}}},
    {"output": {"columns": [EVERYTHING]}},
]


@pytest.mark.parametrize("sections", WRONG_JOBS, ids=lambda sections: ascii(str(sections)[:30]))
@pytest.mark.parametrize("verb", ["submit", "plan"])
def test_a_wrong_job_is_told_safely(tmp_path: Path, verb: str, sections: dict[str, object]) -> None:
    """Whatever key or value is wrong: its text is quoted in the error, and is no command there."""
    job = JobFolder(tmp_path)
    job.rows.write_text('{"id": "a", "text": "b"}\n')
    job.write("http://127.0.0.1:9/v1", **sections)
    assert both_ways(job, verb, "job.yaml") == 2


def test_an_input_with_hostile_names_is_started_safely(tmp_path: Path) -> None:
    """init names columns, and the file that it writes."""
    rows = tmp_path / "rows.jsonl"
    document = {
        "id": 1,
        "text": "some words to work on",
        **dict.fromkeys(map(storable, FOR_TERMINALS), "x y z"),
    }
    rows.write_text(json.dumps(document) + "\n")
    job = JobFolder(tmp_path)
    out = f"{EVERYTHING[:60].replace('/', '')}.yaml"
    code, seen = here_on_a_terminal(["init", "rows.jsonl", "--out", out], tmp_path)
    assert (code, obeyed(seen, terminal=True)) == (0, [])
    assert both_ways(job, "init", "rows.jsonl", "--out", out) == 2  # it is there already


def test_json_can_be_written_in_any_encoding(hostile: Path) -> None:
    """Where standard output cannot carry a character, JSON escapes it, and stays JSON."""
    from tests.runs import run_batchrun

    words = ("show", str(hostile), "--json", "--columns", "completion")
    ascii_only = run_batchrun(*words, env={"PYTHONIOENCODING": "ascii"})
    lines = [json.loads(line) for line in ascii_only.stdout.splitlines()]
    assert lines == batchrun(*words, cwd=hostile.parent).lines
