"""How a stopped run goes on, in the words of `submit` and of `status`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from batchrun.cli.going_on import going_on
from batchrun.cli.options import JobArguments
from batchrun.summary import StopKind
from tests.cli.conftest import NewJob
from tests.cli.test_next_steps import suggested
from tests.commands import batchrun
from tests.runs import JobFolder, write_rows

JOB = JobArguments(Path("job.yaml"), sets=("budget.requests=2", "request.seed=1"))
KEPT, PLAIN = "--set budget.requests=2 --set request.seed=1", "--set request.seed=1"
LOOK = "see what became of the batch at the provider"
USED = "budget.requests: 2 of 2 are made; "


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        (None, "", f"batchrun submit job.yaml {KEPT}"),
        ("wall_time", "", f"batchrun submit job.yaml {KEPT}"),
        (
            "budget",
            f"{USED}raise budget.requests to go on",
            f"raise the budget, then batchrun submit job.yaml {PLAIN}",
        ),
        ("budget", f"{USED}submit again to go on", f"batchrun submit job.yaml {KEPT}"),
        (
            "budget",
            f"{USED}raise budget.requests to go on, or submit again tomorrow",
            f"raise the budget or wait for tomorrow (UTC), then batchrun submit job.yaml {KEPT}",
        ),
        (
            "canary",
            "canary: …; mend the cause, then submit with --retry-failed",
            f"mend the cause, then batchrun submit job.yaml {KEPT} --retry-failed",
        ),
        ("breaker", "…", f"mend the cause, then batchrun submit job.yaml {KEPT}"),
        (
            "batches",
            "… then submit with --batch 3f2a91c0=ID, or with --batch 3f2a91c0=none where there is none",
            f"{LOOK}, then batchrun submit job.yaml {KEPT} --batch=3f2a91c0=ID",
        ),
        (
            "batches",
            "… submit with --batch 3f2a91c0=none: its rows are then asked, and paid for, again",
            f"{LOOK}, then batchrun submit job.yaml {KEPT} --batch=3f2a91c0=none",
        ),
        ("waiting", "…", f"batchrun submit job.yaml {KEPT}"),
        ("refused", "…", f"set the right key or model, then batchrun submit job.yaml {KEPT}"),
    ],
)
def test_what_to_change_and_what_to_run(kind: StopKind | None, message: str, said: str) -> None:
    """By what stopped the run: a cap for one submit, or for a day, need not be raised."""
    assert going_on(kind, message, JOB) == said


def test_a_folder_has_no_command(tmp_path: Path) -> None:
    """Its job file is not known."""
    folder = JobArguments(tmp_path)
    assert going_on("budget", f"{USED}raise …", folder) == "raise the budget, then submit the job again"
    assert going_on("canary", "… --retry-failed", folder).endswith("submit the job again with --retry-failed")


@pytest.mark.parametrize(("per", "first"), [("run", "raise the budget, then"), ("submit", "batchrun")])
def test_status_says_what_submit_said(new_job: NewJob, per: str, first: str) -> None:
    """After a stop: what to change, then the command."""
    job = new_job(3, budget={"requests": 2, "per": per})
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    shown = batchrun("status", "job.yaml", cwd=job.folder).out
    (of_submit,) = [line for line in ended.err.splitlines() if "to go on  " in line]
    (of_status,) = [line for line in shown.splitlines() if "to go on  " in line]
    assert of_submit == of_status
    assert of_status.removeprefix("  to go on    ").startswith(first)


def test_after_a_limit_the_next_estimate_is_pointed_to(new_job: NewJob) -> None:
    """`plan` has just learned from these rows; where nothing was asked there is nothing to learn from."""
    job = new_job(4)
    ended = batchrun("submit", "job.yaml", "--limit", "2", cwd=job.folder)
    assert suggested(ended.err, "estimate") == ["plan", "job.yaml"]
    assert "2 answered rows" in batchrun(*suggested(ended.err, "estimate"), cwd=job.folder).out
    ended = batchrun("submit", "job.yaml", "--set", "budget.requests=2", cwd=job.folder)
    assert suggested(ended.err, "estimate") == []


def test_a_cost_that_is_not_known_is_not_zero(new_job: NewJob) -> None:
    """In the summary and in status; the submit begins with what to do."""
    job = new_job(3, budget={"cost_usd": 0.001, "soft": True})
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    shown = batchrun("status", "job.yaml", cwd=job.folder).out
    assert "not known, and so nothing counts against the budget of $0.001" in ended.err
    assert "an unknown part of $0.001 spent or held" in shown
    assert "$0.00 " not in ended.err + shown
    assert "no price known for local/small" in ended.err


def test_unpublished_rows_are_called_so_where_there_are_no_results(new_job: NewJob) -> None:
    """`not in them` needs something before it."""
    job = new_job(6, model="local/stuck")
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if job.run.exists() and "5 ok" in batchrun("status", "job.yaml", cwd=job.folder).out:
            break
    process.kill()
    process.wait()
    shown = batchrun("status", "job.yaml", cwd=job.folder).out
    assert "  unpublished 5 answered rows: to be published" in shown
    assert "not in them" not in shown


def test_plan_tells_a_closed_endpoint_with_its_time(new_job: NewJob) -> None:
    """A line of its own, the time with its condition, and no submit that would send nothing as the next."""
    job = new_job(3, model="local/later")
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 3
    ended = batchrun("plan", "job.yaml", cwd=job.folder)
    assert ended.code == 3
    assert "stop        no model is left to ask: local: rate_limit: " in ended.out
    (line,) = [line for line in ended.out.splitlines() if line.startswith("  time  ")]
    assert line.endswith(", once a model is open again")
    assert suggested(ended.out, "next") == []


def test_a_missing_key_is_named_in_the_command_that_sets_it(
    new_job: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not NAME, nor are several told one by one."""
    for name in ("OPENAI_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    job = new_job(model="openai/gpt-4.1-mini")
    said = batchrun("plan", "job.yaml", cwd=job.folder).out
    assert "Set it with `export OPENAI_API_KEY=…`, or put the line OPENAI_API_KEY=… into a file" in said
    job.edit(fallbacks=["together/meta-llama/Llama-3.3-70B-Instruct-Turbo"])
    said = batchrun("submit", "job.yaml", cwd=job.folder).err
    assert "Set them with `export OPENAI_API_KEY=… TOGETHER_API_KEY=…`" in said


def test_the_price_of_an_edit_stands_in_no_second_parentheses(new_job: NewJob) -> None:
    """`about $0.0033 ($0.0027 to $0.0033)` ends the sentence."""
    job = new_job(prices={"local/small": {"input": 10, "output": 100}})
    batchrun("submit", "job.yaml", cwd=job.folder)
    job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} Be brief."}]})
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert ended.code == 6
    assert "since they were answered: about $0." in ended.err
    assert "((" not in ended.err
    assert "))" not in ended.err


def test_an_interruption_is_told_at_once(new_job: NewJob) -> None:
    """On a pipe, too: what is waited for, and how to stop now, while it is waited for."""
    job = new_job(model="local/slow")
    process = subprocess.Popen(
        job.command("--drain", "25"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=job.folder
    )
    assert process.stderr is not None
    read_until(process, b"asking for 3 rows", 20)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    said = read_until(process, b"under way", 5)
    assert process.poll() is None, "it is still waiting"
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=10)[1]
    assert process.returncode == 130
    line = (said + rest).decode().partition("] interrupted")[2].splitlines()[0]
    assert line == " by SIGINT: waiting up to 25 s for 1 call under way; once more stops at once"
    assert (said + rest).count(b"once more") == 1


def read_until(process: subprocess.Popen[bytes], wanted: bytes, seconds: float) -> bytes:
    """What the process writes to standard error until it holds `wanted`."""
    assert process.stderr is not None
    found, deadline = b"", time.monotonic() + seconds
    while wanted not in found:
        ready = select.select([process.stderr], [], [], max(0.0, deadline - time.monotonic()))[0]
        assert ready, f"not said within {seconds} s: {wanted!r}"
        found += os.read(process.stderr.fileno(), 65_536)
    return found


def test_an_edit_costs_nothing_at_a_simulator(tmp_path: Path) -> None:
    """No price is asked for where answers are made up."""
    job = JobFolder(tmp_path)
    write_rows(job.rows, 2)
    job.write("", model="simulator/small", endpoints={})
    batchrun("submit", "job.yaml", cwd=job.folder)
    job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert (ended.code, "tokens of a simulator, at no cost" in ended.err) == (6, True), ended.err
