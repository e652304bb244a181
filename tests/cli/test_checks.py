"""The job's checks as people and programs see them: figures, exit codes, and the rows to look at."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
import yaml

from batchrun.report import gather
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import locked
from tests.cli.conftest import NewJob
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.cli.test_next_steps import suggested
from tests.commands import batchrun
from tests.hostile import FOR_TERMINALS, obeyed, storable
from tests.runs import JobFolder

# of 8 rows, r000003 is wrong and r000005 refused
CHECKS = {"failed": "<= 25%", "latency > 0": ">= 7", "n < 4": ">= 99.5%", "attempts": ">= 100%"}
HOLDS = "holds: failed: 2 of 8 rows (25%), wanted <= 25%"
MISSED = "does not hold: n < 4: 4 of 8 rows (50%), wanted >= 99.5%"


def told(text: str) -> list[str]:
    """What stands behind the labels `check`, wrapped lines joined."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("  ") and line[2:13].strip():
            blocks.append([line[2:13].strip(), line[14:]])
        elif line.startswith(" " * 14) and blocks:
            blocks[-1].append(line.strip())
    return [" ".join(words) for label, *words in blocks if label == "check"]


@pytest.fixture
def judged(new_job: NewJob) -> JobFolder:
    """A finished run, one check of which does not hold."""
    job = new_job(8, checks=CHECKS)
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 1
    return job


def test_each_check_is_shown_with_its_figure(new_job: NewJob) -> None:
    """By what it counts, how many rows and what share, and what is wanted."""
    job = new_job(8, checks=CHECKS)
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert ended.code == 1
    assert "job: finished, 8 rows; 1 check does not hold" in ended.err
    assert told(ended.err) == [
        HOLDS,
        "holds: latency > 0: 8 of 8 rows (100%), wanted >= 7",
        MISSED,
        "holds: attempts: 8 of 8 rows (100%), wanted >= 100%",
    ]


def test_a_finished_run_says_it_again(judged: JobFolder) -> None:
    """There is nothing to do, and the code is still 1: until the checks are others."""
    again = batchrun("submit", "job.yaml", cwd=judged.folder)
    assert again.code == 1
    assert "nothing to do, all 8 rows are done, 2 of them failed; 1 check does not hold" in again.err
    assert MISSED in told(again.err)
    judged.edit(checks={"failed": "<= 2"})
    mended = batchrun("submit", "job.yaml", cwd=judged.folder)
    assert (mended.code, told(mended.err)) == (0, ["holds: failed: 2 of 8 rows (25%), wanted <= 2"])
    judged.edit(checks={"failed": "<= 1", "ok": ">= 99%"})
    said = batchrun("submit", "job.yaml", cwd=judged.folder).err
    assert said.count("does not hold: ") == 2
    assert suggested(said, "see failed") == ["show", "job.yaml", "--failed"]
    assert suggested(said, "see why") == []


def test_the_rows_to_blame_are_one_command_away(judged: JobFolder) -> None:
    """Of submit and of status; failed rows have theirs already."""
    for verb, stream in (("submit", "err"), ("status", "out")):
        said = getattr(batchrun(verb, "job.yaml", cwd=judged.folder), stream)
        assert suggested(said, "see failed") == ["show", "job.yaml", "--failed"]
        words = suggested(said, "see why")
        assert words == ["show", "job.yaml", "--where", "NOT COALESCE(n < 4, FALSE)"]
        assert [row["n"] for row in batchrun(*words, "--json", cwd=judged.folder).lines] == [4, 5, 6, 7]


def test_json_holds_each_check(judged: JobFolder) -> None:
    """The same in run.json, in submit's and in status' JSON."""
    ended = batchrun("submit", "job.yaml", "--json", cwd=judged.folder)
    assert ended.json["exit_code"] == ended.code == 1
    check = {one["name"]: one for one in ended.json["checks"]}["n < 4"]
    assert check == {
        "name": "n < 4",
        "wanted": ">= 99.5%",
        "found": 4,
        "rows": 8,
        "share": 0.5,
        "holds": False,
        "where": "NOT COALESCE(n < 4, FALSE)",
        "error": None,
    }
    assert judged.run_json()["checks"] == ended.json["checks"]
    status = batchrun("status", "job.yaml", "--json", cwd=judged.folder)
    assert (status.code, status.json["checks"]) == (0, ended.json["checks"])


def test_status_shows_the_checks_of_a_run_that_is_not_going_on(judged: JobFolder) -> None:
    """By the folder, too; while a submit runs the figures are not those of its rows."""
    for where in ("job.yaml", judged.run):
        assert MISSED in told(batchrun("status", where, cwd=judged.folder).out)
    with locked(judged.checkpoint / "lock"):
        assert told(batchrun("status", "job.yaml", cwd=judged.folder).out) == []
        assert batchrun("status", "job.yaml", "--json", cwd=judged.folder).json["checks"] == []


def test_the_page_of_a_github_job_shows_them(judged: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a gate is looked for; nothing that stands in a row comes with it."""
    page = judged.folder / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    judged.edit(checks={"n < 4": ">= 99.5%", "CAST(text AS INT) > 3": "<= 3"})
    assert batchrun("submit", "job.yaml", cwd=judged.folder).code == 1
    assert [line.replace("\\", "") for line in page.read_text().splitlines() if "check" in line] == [
        f"| check | {MISSED} |",
        "| check | does not hold: CAST(text AS INT) > 3: cannot be counted, wanted <= 3 |",
    ]


def test_a_job_without_checks_shows_none(new_job: NewJob) -> None:
    """That rows have failed is said anyway, and is the exit code; programs see what was asked."""
    job = new_job(8)
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert (ended.code, told(ended.err), "hold" in ended.err) == (1, [], False)
    (check,) = job.run_json()["checks"]
    assert (check["name"], check["wanted"], check["found"], check["holds"]) == ("failed", "<= 0", 2, False)
    assert check["where"] == "status = 'failed'"
    assert told(batchrun("status", "job.yaml", cwd=job.folder).out) == []


def test_pending_rows_leave_them_open(new_job: NewJob) -> None:
    """They are shown as what they would say."""
    job = new_job(8, checks={"ok": ">= 7", "completion": ">= 50%"})
    ended = batchrun("submit", "job.yaml", "--limit", "2", cwd=job.folder)
    assert ended.code == 0
    assert "does not hold" not in ended.err
    wanted = [
        "would not hold: ok: 2 of 2 finished rows (100%), wanted >= 7",
        "would hold: completion: 2 of 2 finished rows (100%), wanted >= 50%",
    ]
    assert told(ended.err) == wanted
    assert told(batchrun("status", "job.yaml", cwd=job.folder).out) == wanted


def test_of_no_finished_row_they_say_nothing(new_job: NewJob) -> None:
    """Neither that they would hold nor the contrary."""
    job = new_job(3, checks={"failed": "<= 1%", "completion": ">= 50%"})
    nowhere = ["--set", "endpoints.local.base_url=http://127.0.0.1:1/v1", "--set", "retry.max_attempts=1"]
    ended = batchrun("submit", "job.yaml", *nowhere, cwd=job.folder)
    assert (ended.code, len(job.run_json()["checks"]), told(ended.err)) == (3, 2, [])
    status = batchrun("status", "job.yaml", cwd=job.folder).out
    assert told(status) == []
    assert gather(RunFolder(job.run)).checks == ()


@pytest.mark.parametrize("verb", ["submit", "plan"])
def test_a_check_on_no_column_is_found_before_a_call(new_job: NewJob, verb: str) -> None:
    """By submit and by plan: with the line, the key, and the nearest name."""
    job = new_job(3, checks={"failed": "<= 0", "parsd": ">= 99%"})
    ended = batchrun(verb, "job.yaml", cwd=job.folder)
    assert ended.code == 2
    line = job.job.read_text().splitlines().index('  "parsd": ">= 99%"') + 1
    assert f"job.yaml:{line}: checks.parsd: the results have no column `parsd`." in ended.err
    assert "Did you mean parsed?" in ended.err
    assert not (job.run / "results").exists()


def test_what_cannot_be_counted_is_told(new_job: NewJob) -> None:
    """A value that does not fit the condition is no crash after the run."""
    job = new_job(3, checks={"CAST(text AS INT) > 3": ">= 1%"})
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert (ended.code, job.run_json()["ok"]) == (1, 3)
    (said,) = told(ended.err)
    figures = "does not hold: CAST(text AS INT) > 3: cannot be counted, wanted >= 1%"
    assert said.startswith(f"{figures} `CAST(text AS INT) > 3` does not fit the rows: ")
    assert "TRY_CAST" in said


def test_checks_fit_a_terminal(judged: JobFolder) -> None:
    """80 columns wide; commands alone stay in one piece."""
    for verb in ("submit", "status"):
        _, written = here_on_a_terminal([verb, "job.yaml"], judged.folder)
        lines = lines_seen(written)
        assert MISSED in told("\n".join(lines))
        assert [line for line in lines if len(line) > 80 and "batchrun show" not in line] == []


def test_a_submit_that_does_not_wait_judges_nothing(new_job: NewJob) -> None:
    """A second Ctrl-C leaves the results as they were: they say nothing of this submit."""
    job = new_job()
    with subprocess.Popen(job.command("--model", "local/slow"), stderr=subprocess.DEVNULL) as process:
        journal = job.checkpoint / "journal-000001.log"
        deadline = time.monotonic() + 20
        while not (journal.exists() and b'"sent"' in journal.read_bytes()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
    assert process.returncode == 130
    assert job.run_json()["stopped_by"]["at_once"] is True
    assert job.run_json()["checks"] == []


def test_names_of_checks_command_nothing(new_job: NewJob) -> None:
    """They may be copied from anywhere."""
    texts = [storable(text).replace("'", "''") for text in FOR_TERMINALS if "\0" not in text]
    job = new_job()
    document = json.loads(job.job.read_text()) | {"checks": {f"text = '{text}'": ">= 1%" for text in texts}}
    job.job.write_text(yaml.safe_dump(document))
    for verb in ("submit", "status"):
        _, written = here_on_a_terminal([verb, "job.yaml"], job.folder)
        assert written.count("does not hold: ") == len(texts)
        assert obeyed(written, terminal=True) == []
        plain = batchrun(verb, "job.yaml", cwd=job.folder)
        lines = (plain.out + plain.err).splitlines()
        assert len([line for line in lines if line.startswith("  check       does not hold: ")]) == len(texts)
        assert [line for line in lines if "wanted" in line and not line.startswith("  check ")] == []
        piped = batchrun(verb, "job.yaml", "--json", cwd=job.folder)
        assert obeyed(piped.out + piped.err, terminal=False) == []
