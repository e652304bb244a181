"""Answers that no server should give: they cost the run neither its folder nor its memory nor its time."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchrun.chat.schema.structured import AnswerSchema
from batchrun.run_folder.journal.reading import journal_files
from tests.commands import batchrun
from tests.reliability import measured
from tests.reliability.searched import files_with
from tests.runs import JobFolder, write_rows
from tests.scripted import Answer, answering, completion, turns

ONE = {"max_attempts": 1, "backoff": {"initial": 0.01, "max": 0.01}}
NEVER = {"failed": "100%", "after": 100_000}
TALK = {
    "messages": [{"role": "user", "content": "{{ text }}"}],
    "turns": [{"role": "user", "content": "and?"}, {"role": "user", "content": "then?"}],
}
KEY = "q7Zt4LpW8vRb6N9fK2mQ"
HUGE = 2**62 + 2**61


def job_at(folder: Path, url: str, rows: int, **sections: Any) -> JobFolder:
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    job.write(url, **sections)
    return job


@pytest.mark.long
@pytest.mark.parametrize("lines", [4, 6, 7])
def test_a_cut_while_a_failed_conversation_is_carried_on_pays_for_no_answer_again(
    tmp_path: Path, lines: int
) -> None:
    """The third turn fails, the next submit goes on, and a power cut leaves so many lines of its journal: the
    answers to the first turns are still in the sealed part."""
    third = {"does": "fail"}

    def act(body: dict[str, Any]) -> Answer:
        if turns(body) == 3 and third["does"] == "fail":
            return 500, b'{"error": {"message": "down"}}'
        if turns(body) == 3 and third["does"] == "hang":
            time.sleep(5)
        return 200, completion("fine")

    with answering(act) as (url, seen):
        job = job_at(tmp_path, url, 1, prompt=TALK, retry=ONE, stop_when=NEVER)
        assert job.submit().code == 1
        third["does"] = "hang"
        process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while sum(turns(body) == 3 for body in seen) < 2:
            time.sleep(0.01)
        process.kill()
        process.wait()
        path = max(journal_files(job.checkpoint).values())
        os.truncate(path, sum(map(len, path.read_bytes().splitlines(keepends=True)[:lines])))
        third["does"] = "answer"
        assert job.submit().code == 0
        paid = Counter(map(turns, seen))
        assert (paid[1], paid[2]) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        completion(usage={"input_tokens": HUGE, "cache_read_input_tokens": HUGE, "output_tokens": 1}),
        b'{"choices": [], "usage": {"prompt_tokens": %d, "completion_tokens": 1, "total_tokens": %d}}'
        % (HUGE, HUGE),
    ],
    ids=["a sum above 64 bits", "two attempts above 64 bits"],
)
def test_no_usage_makes_a_run_folder_unusable(tmp_path: Path, answer: bytes) -> None:
    """Counts that cannot be any are none: every command goes on working."""

    def act(body: dict[str, Any]) -> Answer:
        return 200, answer if "000003" in body["messages"][0]["content"] else completion()

    with answering(act) as (url, _seen):
        job = job_at(tmp_path, url, 10, retry={**ONE, "max_attempts": 2})
        out = str(tmp_path / "x.csv")
        for verb, *words in (
            ["submit"],
            ["submit"],
            ["status"],
            ["show", "--json"],
            ["export", "--out", out],
        ):
            ended = batchrun(verb, str(job.job), *words)
            assert ended.code in (0, 1), (verb, ended.err)


TEXTS = {
    "a fence, then 200 kB of spaces": '```json\n{"label": "a",' + " " * 200_000,
    "a comma, then 100 kB of escaped quotes": '{"label":"a",}' + '\\"' * 50_000,
    "40,000 values that fit": "".join(f'{{"label":"{number}"}}' for number in range(40_000)),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_model_takes_seconds_to_read(text: str) -> None:
    """Nobody could stop the run meanwhile. It took 2 to 25 s of processor time."""
    label = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    schema = AnswerSchema({**label, "additionalProperties": False})
    began = time.process_time()
    schema.read(text)
    assert time.process_time() - began < 1.5


@pytest.mark.long
def test_long_answers_that_are_none_take_no_memory_without_bound(tmp_path: Path) -> None:
    """24 rows asked four times, each answered by 8 MB without a choice: their beginnings are kept."""
    body = b'{"choices": [], "padding": "' + b"x" * 8_000_000 + b'"}'
    with answering(lambda _: (200, body)) as (url, seen):
        job = job_at(tmp_path, url, 24, retry={**ONE, "max_attempts": 4}, stop_when=NEVER)
        report = tmp_path / "taken.json"
        subprocess.run(measured.command(report, "submit", str(job.job)), check=False, capture_output=True)
        assert len(seen) == 96
        assert measured.read(report).peak_mb < 600


def test_a_key_that_a_command_gave_is_hidden_in_a_functions_error(tmp_path: Path) -> None:
    """Neither the model, nor a file of the run, is told it."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = completion(choices=[{"index": 0, "finish_reason": "tool_calls", "message": message}])
    (tmp_path / "token").write_text(KEY)
    (tmp_path / "tools.py").write_text(
        "import pathlib\n"
        'def look() -> str:\n    """Look."""\n'
        f'    raise RuntimeError("403 for Bearer " + pathlib.Path({str(tmp_path / "token")!r}).read_text())\n'
    )

    def act(body: dict[str, Any]) -> Answer:
        return 200, completion() if body["messages"][-1]["role"] == "tool" else asks

    with answering(act) as (url, seen):
        endpoint = {"local": {"api_key_cmd": ["cat", "token"]}}
        functions = {"module": "tools.py", "functions": ["look"]}
        job = job_at(tmp_path, url, 2, endpoints=endpoint, run_tools=functions)
        ended = job.submit()
        assert ended.code == 0, ended.err
        told = [
            message["content"] for body in seen for message in body["messages"] if message["role"] == "tool"
        ]
        assert len(told) == 2
        assert not [text for text in told if KEY in text]
        assert not files_with(KEY, job.run)


@pytest.mark.parametrize("given", ["a variable of any name", "a file that a variable names"])
def test_a_key_in_a_modules_own_error_is_hidden(tmp_path: Path, given: str) -> None:
    """Where the job names the variable, and where BATCHRUN_SUBMIT_ENV_FILE stands for `--env-file`."""
    name, env = "LUNOS_BEARER", {"LUNOS_BEARER": KEY}
    code = f'import os\nraise RuntimeError("refused: " + os.environ["{name}"])\n'
    if given.startswith("a file"):
        name, path = "LUNOS_API_KEY", tmp_path / "e.env"
        path.touch(0o600)
        path.write_text(f"{name}={KEY}\n")
        code, env = (
            f"import pathlib\nraise RuntimeError(pathlib.Path({str(path)!r}).read_text())\n",
            {"BATCHRUN_SUBMIT_ENV_FILE": str(path)},
        )
    (tmp_path / "tools.py").write_text(code)
    endpoints = {"local": {"api_key_env": name}}
    functions = {"module": "tools.py", "functions": ["f"]}
    job = job_at(tmp_path, "http://127.0.0.1:9/v1", 1, endpoints=endpoints, run_tools=functions)
    for words in ([], ["--json"]):
        ended = batchrun("submit", str(job.job), *words, env=env)
        assert ended.code == 2
        assert "tools.py" in ended.err
        assert KEY not in ended.err + ended.out
