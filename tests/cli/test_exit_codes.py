"""What the shell sees: exit codes, messages, and the two output streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchrun.run_folder.lock import locked
from tests.cli.conftest import NewJob
from tests.commands import batchrun
from tests.runs import JobFolder, run_batchrun

OTHER_PROMPT = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}


def test_a_finished_run_is_0_and_the_next_has_nothing_to_do(new_job: NewJob) -> None:
    """Submit tells where the results are; submitting again says in one line that there is nothing to do."""
    job = new_job()
    first = batchrun("submit", "job.yaml", cwd=job.folder)
    assert (first.code, first.out) == (0, "")
    assert 'pl.read_parquet("runs/job/results/*.parquet")' in first.err
    again = batchrun("submit", "job.yaml", cwd=job.folder)
    assert again.code == 0
    assert [line for line in again.err.splitlines() if line[0] != "["] == [
        "job: nothing to do, all 3 rows are done"
    ]


def test_failed_rows_are_1_and_are_told_by_type(new_job: NewJob) -> None:
    """A finished run with failed rows names the types, an example, and how to look at them."""
    ended = batchrun("submit", "job.yaml", cwd=new_job(8).folder)
    assert ended.code == 1
    assert "1 invalid_request, for example r000003" in ended.err
    assert "1 refusal, for example r000005" in ended.err
    assert "batchrun show job.yaml --failed" in ended.err


def test_json_is_the_summary_alone(new_job: NewJob) -> None:
    """With --json, standard output is one line that equals run.json, and the exit code is in it."""
    job = new_job(8)
    ended = batchrun("submit", "job.yaml", "--json", cwd=job.folder)
    assert ended.out.count("\n") == 1
    assert ended.json == job.run_json()
    assert ended.json["exit_code"] == ended.code == 1


def test_limit_leaves_the_rest_pending_with_0(new_job: NewJob) -> None:
    """--limit asks for so many rows, and the next command is said."""
    job = new_job(8)
    ended = batchrun("submit", "job.yaml", "--limit", "2", cwd=job.folder)
    assert ended.code == 0
    assert "2 ok, 6 pending" in ended.err
    assert "batchrun submit job.yaml" in ended.err
    assert batchrun("status", "job.yaml", "--json", cwd=job.folder).json["pending"] == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["submit", "job.yaml", "--set", "modle=a/b"], "Did you mean model?"),
        (["submit", "job.yaml", "--model", "openai/gpt-4.1-mini"], "OPENAI_API_KEY"),
        (["submit", "job.yaml", "--set", "output.path=rows.jsonl/run"], "cannot write to the run folder"),
        (["submit", "job.yaml", "--set", "output.path=/proc/run"], "cannot write to the run folder"),
        (["submit", "job.yaml", "--set", "input.id=nope"], "no row has a column `nope`"),
        (["submit", "job.yaml", "--retry-failed=refusl"], "Did you mean refusal?"),
        (["submit", "job.yaml", "--retry-failed=bad_row"], "bad_row"),
        (["submit", "job.yaml", "--rerun-changed", "--keep-changed"], "exclude each other"),
        (["submit", "job.yaml", "--env-file", "nowhere.env"], "nowhere.env"),
        (["submit", "job.yaml", "--limit", "0"], "--limit"),
        (["submit"], "missing argument 'JOB'"),
        (["sumbit", "job.yaml"], "Did you mean submit?"),
        (["job.yaml"], "Is `batchrun submit job.yaml` meant?"),
        (["plan", "job.yaml", "--example", "nobody"], "no row has the id 'nobody'"),
        (["status", "job.yaml"], "there is no run in"),
        (["plan", "."], ". is a folder: a job file is needed here"),
        (["submit", "."], ". is a folder: a job file is needed here"),
        (["gc", "."], ". is a folder: a job file is needed here"),
        (["init", "jobs-of-mine"], "no file to read there"),
        (
            ["submit", "job.yaml", "--set", "rquest.temperature=0.5"],
            "--set rquest.temperature: rquest is not",
        ),
        (["status", "."], "there is no run in"),
        (["show", "nowhere"], "no such file or folder"),
        (["gc", "job.yaml"], "there is no run in"),
        (["init", "nowhere.csv"], "nowhere.csv"),
        (["init", "rows.jsonl", "--endpoint", "opnai"], "Did you mean openai?"),
        (["init", "rows.jsonl", "--endpoint", "groq"], "needs --model"),
        (["simulate", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_of_the_user_are_2(
    new_job: NewJob, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Each mistake has a message that says what to do, no traceback, and JSON for programs."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    job = new_job()
    ended = batchrun(*words, cwd=job.folder)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert not (job.run / "results").exists()
    error = batchrun(*words, "--json", cwd=job.folder).json["error"]
    assert error["exit_code"] == 2
    assert said in f"{error['message']} {error['hint']}"


def test_another_jobs_folder_is_2(new_job: NewJob) -> None:
    """A run folder belongs to the job that made it."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    other = job.job.rename(job.folder / "other.yaml")
    ended = batchrun("submit", other, "--set", "output.path=runs/job", cwd=job.folder)
    assert ended.code == 2
    assert "another job, 'job'" in ended.err


def test_a_breaker_is_3(new_job: NewJob) -> None:
    """When too many rows fail the run stops, says why, and can be continued."""
    ended = batchrun("submit", "job.yaml", "--model", "local/broken", cwd=new_job(200).folder)
    assert ended.code == 3
    assert "stopped by" in ended.err
    assert "batchrun submit job.yaml --model local/broken" in ended.err


def test_a_refused_key_is_4(new_job: NewJob) -> None:
    """An endpoint that refuses the key ends the run, and no row is lost."""
    ended = batchrun("submit", "job.yaml", "--model", "local/locked", "--json", cwd=new_job().folder)
    assert ended.code == ended.json["exit_code"] == 4
    assert ended.json["ok"] + ended.json["failed"] + ended.json["pending"] == 3


def test_a_locked_folder_is_5_and_can_be_looked_at(new_job: NewJob) -> None:
    """While a submit runs, another and gc are refused; plan, status and show work."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    with locked(job.checkpoint / "lock"):
        ended = batchrun("submit", "job.yaml", "--json", cwd=job.folder)
        assert (ended.code, ended.json["error"]["type"]) == (5, "RunLockedError")
        assert batchrun("gc", "job.yaml", "--yes", cwd=job.folder).code == 5
        assert batchrun("status", "job.yaml", "--json", cwd=job.folder).json["state"] == "running"
        assert batchrun("show", "job.yaml", cwd=job.folder).code == 0
        plan = batchrun("plan", "job.yaml", "--json", cwd=job.folder)
        assert (plan.code, plan.json["obstacles"]) == (
            0,
            ["another submit is running on the run folder. Wait until it has ended, or stop it."],
        )


def test_job_and_rows_edited_at_once_are_6_and_a_way_that_stops_again_is_not_named(new_job: NewJob) -> None:
    """Two of three rows are others, and the prompt is, too: keeping what is changed would not do."""
    job = new_job(input={"path": "rows.jsonl"})
    batchrun("submit", "job.yaml", cwd=job.folder)
    first, *others = job.rows.read_text().splitlines()
    edited = [json.dumps({**json.loads(line), "text": "another"}) for line in others]
    job.rows.write_text("".join(f"{line}\n" for line in [first, *edited]))
    job.edit(prompt=OTHER_PROMPT)
    planned = batchrun("plan", "job.yaml", cwd=job.folder)
    assert (planned.code, "2 answers would be left behind" in " ".join(planned.out.split())) == (6, True)
    assert "1 finished row would be paid for again" in planned.out
    assert "--keep-changed" not in planned.out
    assert batchrun("submit", "job.yaml", "--keep-changed", cwd=job.folder).code == 6


def test_an_edited_prompt_is_6_and_taking_it_back_is_free(new_job: NewJob) -> None:
    """Submit stops with how many rows would be paid for again, and the ways on."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    original = job.job.read_text()
    job.edit(prompt=OTHER_PROMPT)
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert ended.code == 6
    assert "3 finished rows would be paid for again" in ended.err
    assert all(way in ended.err for way in ("--rerun-changed", "--keep-changed", "--name"))
    planned = batchrun("plan", "job.yaml", cwd=job.folder)
    assert (planned.code, "stops with exit code 6" in planned.out) == (6, True)
    assert "--keep-changed keeps them" in planned.out
    assert batchrun("plan", "job.yaml", "--json", cwd=job.folder).code == 6
    assert batchrun("plan", "job.yaml", "--rerun-changed", cwd=job.folder).code == 0
    job.job.write_text(original)
    ended = batchrun("submit", "job.yaml", "--json", cwd=job.folder)
    assert (ended.code, ended.json["submit"]["calls"]) == (0, 0)


def test_failed_rows_can_go_to_another_model(new_job: NewJob) -> None:
    """--retry-failed=TYPE --model asks only those rows, and only that model."""
    job = new_job(8)
    batchrun("submit", "job.yaml", cwd=job.folder)
    ended = batchrun(
        "submit", "job.yaml", "--retry-failed=refusal", "--model", "local/large", "--json", cwd=job.folder
    )
    assert (ended.json["submit"]["calls"], ended.json["failed"]) == (1, 1)
    assert job.results()["model"].value_counts(sort=True).rows() == [("local/small", 7), ("local/large", 1)]


def test_a_word_after_a_bare_option_is_the_job(new_job: NewJob) -> None:
    """`--retry-failed JOB` means all types: a value stands after an equals sign."""
    job = new_job(8)
    batchrun("submit", "job.yaml", cwd=job.folder)
    ended = batchrun("submit", "--retry-failed", "job.yaml", "--json", cwd=job.folder)
    assert ended.json["submit"]["calls"] == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_submit(new_job: NewJob, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM end a run whose answers do not come within --drain, and say how to go on."""
    job = new_job()
    words = job.command("--model", "local/slow", "--drain", "0.1")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=job.folder) as process:
        journal = job.checkpoint / "journal-000001.log"
        deadline = time.monotonic() + 20
        while not (journal.exists() and b'"sent"' in journal.read_bytes()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "interrupted" in said
    assert "possibly paid" in said
    assert "Traceback" not in said
    status = batchrun("status", "job.yaml", "--json", cwd=job.folder).json
    assert (status["state"], status["pending"], status["possibly_paid"]) == ("interrupted", 3, 1)


def test_a_reader_that_has_enough_is_no_error(run: JobFolder) -> None:
    """`show --json | head -1` ends quietly with 0, whatever else was to be written."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "batchrun", "show", run.job, "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_the_exit_code_counts_more_than_a_reader_that_has_gone(run: JobFolder, options: list[str]) -> None:
    """`plan | head -1` says what the submit would come to."""
    reader, writer = os.pipe()
    os.close(reader)
    words = ["plan", str(run.job), "--set", "request.temperature=0.9", *options]
    ended = subprocess.run([sys.executable, "-m", "batchrun", *words], stdout=writer, check=False)
    os.close(writer)
    assert ended.returncode == 6


def test_an_error_waits_for_no_pipe(run: JobFolder, tmp_path: Path) -> None:
    """Whoever is at the other end of `--out >(…)` waits for rows, which do not come."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended = run_batchrun("export", str(run.job), "--columns", "nope", "--out", str(pipe), timeout=30)
    assert (ended.returncode, "`nope`" in ended.stderr) == (2, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_full_disk_below_standard_output_is_told(run: JobFolder) -> None:
    """What cannot be written is an error, not a traceback."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "batchrun", "status", run.job],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "error: cannot write to standard output: No space left on device",
        "  Free some space there, then run the same command again: it repeats no call.",
    ]


def test_help_is_as_fast_as_click() -> None:
    """`batchrun --help` imports none of the heavy libraries."""
    program = (
        "import sys, json\n"
        "from batchrun.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "submit" in ended.stdout
    heavy = {"polars", "pyarrow", "httpx", "pydantic", "rich", "orjson", "yaml", "minijinja", "anyio"}
    assert not heavy & set(json.loads(ended.stderr))


def test_version() -> None:
    """The module and the command are one."""
    ended = run_batchrun("--version")
    assert (ended.returncode, ended.stdout[:9]) == (0, "batchrun ")
