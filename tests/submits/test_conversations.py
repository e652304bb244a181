"""Conversations of several answers: turns that see the answers before, and functions that a model calls."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import ChangedRowsError, InputError
from tests.runs import JobFolder, simulated

TURNS = {
    "messages": [{"role": "user", "content": "{{ id }} turn one"}],
    "turns": [
        {"content": "{{ id }} turn two, after {{ answer | length }}"},
        {"content": "{{ id }} turn three, after {{ answers | length }} answers"},
    ],
}

TOOLS = '''
def look_up(name: str, n: int = 1) -> dict[str, object]:
    """Looks a name up."""
    with open(r"{log}", "a") as file:
        file.write("ran\\n")
    return {{"name": name, "found": True}}


def fail(reason: str) -> str:
    """Always fails."""
    raise ValueError("out of order")
'''


def texts(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def asked(job: JobFolder) -> Counter[str]:
    """How often each question was asked, by its first three words: row and turn."""
    return Counter(" ".join(call.prompt.split()[:3]) for call in job.calls())


def test_each_turn_sees_the_answers_before_it(tmp_path: Path) -> None:
    """The whole conversation is sent each time and kept in `messages`; usage is the sum."""
    with simulated(tmp_path, rows=2, config={"bodies": True}, prompt=TURNS) as job:
        assert job.submit_here().ok == 2
        row = job.results().to_dicts()[0]
        bodies = [call.body for call in job.calls() if call.prompt.startswith("r000000")]
    assert [len(body["messages"]) for body in bodies if body] == [1, 3, 5]
    kept = texts(row["messages"])
    assert [role for role, _ in kept] == ["user", "assistant"] * 3
    assert kept[2] == ("user", f"r000000 turn two, after {len(kept[1][1])}")
    assert kept[4] == ("user", "r000000 turn three, after 2 answers")
    assert row["completion"] == kept[5][1]
    assert len(row["attempts"]) == 3
    assert row["usage"]["total_tokens"] == sum(a["usage"]["total_tokens"] for a in row["attempts"])
    assert bodies[-1] is not None
    assert texts(bodies[-1]["messages"]) == kept[:5]


def test_a_turn_that_failed_goes_on_from_the_answers_that_are_there(tmp_path: Path) -> None:
    """The next submit asks for what is missing alone: no turn is paid for twice."""
    broken = {"faults": [{"match": "turn three", "first": 3, "status": 503}]}
    retry = {"max_attempts": 1, "backoff": {"initial": 0.01, "max": 0.01}}
    with simulated(tmp_path, rows=1, config=broken, prompt=TURNS, retry=retry) as job:
        first = job.submit_here()
        failed = job.results().to_dicts()[0]
        for _ in range(3):
            last = job.submit_here()
        row = job.results().to_dicts()[0]
        assert asked(job) == {"r000000 turn one": 1, "r000000 turn two,": 1, "r000000 turn three,": 4}
    assert (first.failed, last.ok) == (1, 1)
    assert failed["error_type"] == "server"
    assert [role for role, _ in texts(failed["messages"])] == ["user", "assistant"] * 2 + ["user"]
    assert row["messages"][:5] == failed["messages"][:5]
    assert len(row["attempts"]) == 6


@pytest.mark.long
def test_a_kill_between_turns_pays_for_none_of_them_again(tmp_path: Path) -> None:
    """What had been answered is replayed; only calls under way at the kill are made a second time."""
    latency = {"latency": {"kind": "uniform", "low": 0.02, "high": 0.08}}
    limits = {"endpoints": {"local": {"limits": {"concurrency": 8}}}}
    with simulated(tmp_path, rows=60, config=latency, prompt=TURNS, **limits) as job:
        kills = 0
        while kills < 3:
            before = len(job.calls())
            run = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while run.poll() is None and len(job.calls()) < before + 30:
                time.sleep(0.01)
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)
                kills += 1
            run.wait()
        summary = job.submit_here()
        results = job.results()
        asks = asked(job)
    assert summary.ok == 60
    assert len(asks) == 180
    assert sum(asks.values()) - 180 <= kills * 8
    for row in results.to_dicts():
        assert [role for role, _ in texts(row["messages"])] == ["user", "assistant"] * 3


def with_functions(job: JobFolder, *names: str, **options: Any) -> None:
    """Give the job a file of functions."""
    log = job.folder / "ran.txt"
    (job.folder / "functions.py").write_text(TOOLS.format(log=log))
    job.edit(
        request={"max_completion_tokens": 300},
        run_tools={"module": "functions.py", "functions": list(names), **options},
    )


def test_functions_are_run_and_their_results_told(tmp_path: Path) -> None:
    """The transcript holds call, result and answer."""
    with simulated(tmp_path, rows=1, config={"bodies": True}) as job:
        with_functions(job, "look_up")
        assert job.submit_here().ok == 1
        row = job.results().to_dicts()[0]
        first, last = (call.body for call in job.calls())
    assert first is not None
    assert [tool["function"]["name"] for tool in first["tools"]] == ["look_up"]
    calls = len(row["messages"][1]["tool_calls"])
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["user", "assistant", *["tool"] * calls, "assistant"]
    assert row["messages"][1]["tool_calls"][0]["name"] == "look_up"
    assert '"found":true' in row["messages"][2]["content"]
    assert row["messages"][2]["tool_call_id"] == row["messages"][1]["tool_calls"][0]["id"]
    assert row["completion"] == row["messages"][-1]["content"]
    assert last is not None
    assert last["messages"][2]["role"] == "tool"
    assert (tmp_path / "ran.txt").read_text() == "ran\n" * calls


def test_an_error_of_a_function_goes_back_to_the_model(tmp_path: Path) -> None:
    """The row goes on: the model reads what went wrong."""
    with simulated(tmp_path, rows=1) as job:
        with_functions(job, "fail")
        assert job.submit_here().ok == 1
        row = job.results().to_dicts()[0]
    assert "ValueError: out of order" in row["messages"][2]["content"]


def test_results_of_functions_are_kept_for_the_next_submit(tmp_path: Path) -> None:
    """After a failure behind it the function is not run again: its result is in the journal."""
    broken = {"faults": [{"mentions": '"found":true', "first": 1, "status": 503}]}
    retry = {"max_attempts": 1}
    with simulated(tmp_path, rows=1, config=broken, retry=retry) as job:
        with_functions(job, "look_up")
        assert job.submit_here().failed == 1
        assert job.submit_here().ok == 1
        assert len(job.calls()) == 3
        (row,) = job.results().to_dicts()
    assert (tmp_path / "ran.txt").read_text() == "ran\n" * len(row["messages"][1]["tool_calls"])


def test_an_edit_of_a_turn_changes_the_rows(tmp_path: Path) -> None:
    """Turns are in the request hash, with the columns that they name."""
    with simulated(tmp_path, rows=1, prompt=TURNS) as job:
        job.submit_here()
        job.edit(prompt={**TURNS, "turns": [{"content": "something else"}]})
        with pytest.raises(ChangedRowsError):
            job.submit_here()


def test_a_name_that_no_turn_can_know_is_found_before_the_first_call(tmp_path: Path) -> None:
    """A misspelt one would cost a call for each row otherwise."""
    prompt = {**TURNS, "turns": [{"content": "and {{ anser }}?"}]}
    with simulated(tmp_path, rows=3, prompt=prompt) as job:
        with pytest.raises(InputError, match=r"prompt\.turns\[0\]: `anser` is undefined"):
            job.submit_here()
        assert job.calls() == []


def test_errors_of_functions_are_counted(tmp_path: Path) -> None:
    """In the summary of the submit, and one by one in the log."""
    with simulated(tmp_path, rows=2) as job:
        with_functions(job, "fail")
        summary = job.submit_here()
        log = (job.run / "log.jsonl").read_text()
    assert summary.submit["tool_calls"] == summary.submit["tool_errors"] >= 2
    assert log.count('"tool_error"') == summary.submit["tool_errors"]
    assert "out of order" in log


def test_a_spoken_answer_is_its_transcript_to_the_next_turn(tmp_path: Path) -> None:
    """As text in the template, and in the transcript; to the model it goes back by its id."""
    request = {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}}
    prompt = {"messages": TURNS["messages"], "turns": [{"content": "You said: {{ answer }}"}]}
    with simulated(tmp_path, rows=1, config={"bodies": True}, prompt=prompt, request=request) as job:
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
        _, second = (call.body for call in job.calls())
    assert second is not None
    said = row["messages"][1]["content"]
    assert said
    assert second["messages"][2]["content"] == f"You said: {said}"
    assert second["messages"][1]["audio"]["id"].startswith("audio_")
    assert row["messages"][3]["content"] == row["audio"]["transcript"]


def test_reasoning_stays_in_the_transcript(tmp_path: Path) -> None:
    """It is not sent back, and not lost."""
    config = {"bodies": True, "reasoning": "reasoning_content"}
    prompt = {"messages": TURNS["messages"], "turns": [{"content": "and?"}]}
    request = {"reasoning_effort": "low", "max_completion_tokens": 400}
    with simulated(tmp_path, rows=1, config=config, prompt=prompt, request=request) as job:
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
        _, second = (call.body for call in job.calls())
    assert second is not None
    assert second["messages"][1].keys() == {"role", "content"}
    assert row["messages"][1]["reasoning"]
    assert row["messages"][3]["reasoning"] == row["reasoning"]


def test_a_refusal_beside_a_call_runs_nothing(tmp_path: Path) -> None:
    """What fails the row is looked at before its functions."""
    with simulated(tmp_path, rows=1, config={"faults": [{"finish_reason": "content_filter"}]}) as job:
        with_functions(job, "look_up")
        assert job.submit_here().errors == {"content_filter": 1}
    assert not (tmp_path / "ran.txt").exists()
