"""What one submit after another does, against the simulator's ledger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from batchrun.errors import ChangedRowsError, InputError, JobError, UsageError
from batchrun.run_folder.checkpoint.sealed import histories, sealed_parts
from batchrun.run_folder.columns.typed import Types
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Header
from tests.runs import JobFolder, asked, simulated

QUICK: dict[str, Any] = {"max_attempts": 3, "max_wait": 5, "backoff": {"initial": 0.01, "max": 0.02}}
OTHER_PROMPT = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}


def rows_of(job: JobFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in job.rows.read_text().splitlines()]


def write(job: JobFolder, rows: list[dict[str, Any]]) -> None:
    job.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_one_row_in_is_one_row_out(tmp_path: Path) -> None:
    """Every input row has one results row, in input order, with the declared columns and types."""
    with simulated(tmp_path, rows=50) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok, summary.failed, summary.pending) == (0, 50, 0, 0)
        results = job.results()
        assert results["row_index"].to_list() == list(range(50))
        assert results["row_id"].to_list() == [f"r{n:06d}" for n in range(50)]
        expected = pl.DataFrame(Types().schema().empty_table()).schema
        assert {name: results.schema[name] for name in expected} == dict(expected)
        assert len(job.calls()) == 50


def test_a_second_submit_asks_for_nothing(tmp_path: Path) -> None:
    """When every row has its answer, submit sends no call and leaves the results as they are."""
    with simulated(tmp_path, rows=20) as job:
        job.submit_here()
        before = (job.run / "results").readlink()
        summary = job.submit_here()
        assert summary.exit_code == 0
        assert len(job.calls()) == 20
        assert (job.run / "results").readlink() == before


def test_an_edited_prompt_stops_before_it_costs(tmp_path: Path) -> None:
    """After an edit submit names the number of rows that would be paid for again; taking it back is free."""
    with simulated(tmp_path, rows=20) as job:
        job.submit_here()
        original = job.job.read_text()
        job.edit(prompt=OTHER_PROMPT)
        with pytest.raises(ChangedRowsError, match="20 finished rows would be paid for again") as stopped:
            job.submit_here()
        for way in ("--rerun-changed", "--keep-changed", "--name"):
            assert way in str(stopped.value)
        job.job.write_text(original)
        assert job.submit_here().exit_code == 0
        assert len(job.calls()) == 20


def test_rerun_changed_replaces_answers_and_keeps_the_old_ones(tmp_path: Path) -> None:
    """--rerun-changed asks every changed row once; the answers it replaced come back with the old prompt."""
    with simulated(tmp_path, rows=20) as job:
        job.submit_here()
        original, before = job.job.read_text(), job.results()["completion"].to_list()
        job.edit(prompt=OTHER_PROMPT)
        job.submit_here(rerun_changed=True)
        assert len(job.calls()) == 40
        assert job.results()["completion"].to_list() != before
        job.job.write_text(original)
        job.submit_here()
        assert job.results()["completion"].to_list() == before
        assert len(job.calls()) == 40


def test_keep_changed_marks_answers_stale_and_asks_only_new_rows(tmp_path: Path) -> None:
    """--keep-changed is remembered: later submits neither stop nor ask for the kept rows."""
    with simulated(tmp_path, rows=20) as job:
        job.submit_here()
        job.edit(prompt=OTHER_PROMPT)
        write(job, [*rows_of(job), {"id": "new", "text": "row 000020: please answer", "n": 20}])
        summary = job.submit_here(keep_changed=True)
        assert (summary.ok, summary.stale) == (21, 20)
        assert job.submit_here().stale == 20
        assert len(job.calls()) == 21
        stale = job.results()["stale"].to_list()
        assert stale == [True] * 20 + [False]


def test_rerun_changed_takes_kept_answers_back(tmp_path: Path) -> None:
    """--keep-changed is no one-way street: --rerun-changed asks the stale rows again."""
    with simulated(tmp_path, rows=5) as job:
        job.submit_here()
        job.edit(prompt=OTHER_PROMPT)
        assert job.submit_here(keep_changed=True).stale == 5
        summary = job.submit_here(rerun_changed=True)
        assert (summary.ok, summary.stale) == (5, 0)
        assert len(job.calls()) == 10


def test_another_name_keeps_both(tmp_path: Path) -> None:
    """--name gives an edited job a run folder of its own."""
    with simulated(tmp_path, rows=5) as job:
        job.submit_here()
        job.edit(prompt=OTHER_PROMPT)
        summary = job.submit_here(name="second")
        assert summary.exit_code == 0
        assert Path(summary.run_folder) == job.run.parent / "second"
        assert len(job.results()) == 5


def test_rows_without_ids_are_matched_by_their_request(tmp_path: Path) -> None:
    """Inserting a line at the top and sorting the rest re-pays nothing, duplicates included."""
    with simulated(tmp_path, rows=10, input={"path": "rows.jsonl"}) as job:
        rows = rows_of(job)
        write(job, [*rows, rows[3]])
        job.submit_here()
        assert len(job.calls()) == 11
        new = {"id": "x", "text": "row 000099: please answer", "n": 99}
        write(job, [new, rows[3], *reversed(rows)])
        job.submit_here()
        assert len(job.calls()) == 12
        results = job.results()
        assert results["n"].to_list() == [99, 3, *range(9, -1, -1)]
        assert results["status"].unique().to_list() == ["ok"]


def test_an_edited_prompt_is_seen_without_ids_too(tmp_path: Path) -> None:
    """Rows that are the same but would be asked another question count as changed."""
    with simulated(tmp_path, rows=10, input={"path": "rows.jsonl"}) as job:
        job.submit_here()
        job.edit(prompt=OTHER_PROMPT)
        with pytest.raises(ChangedRowsError, match="10 finished rows"):
            job.submit_here()


def test_what_does_not_change_a_request_costs_nothing(tmp_path: Path) -> None:
    """Limits, retries, output options and unused columns may change between two submits."""
    with simulated(tmp_path, rows=10) as job:
        job.submit_here()
        base_url = json.loads(job.job.read_text())["endpoints"]["local"]["base_url"]
        job.edit(
            endpoints={"local": {"base_url": base_url, "limits": {"concurrency": 2, "rpm": 900}}},
            retry={"max_attempts": 2},
            output={"columns": ["n"], "messages": True, "raw": True},
        )
        write(job, [{**row, "note": "new"} for row in rows_of(job)])
        assert job.submit_here().exit_code == 0
        assert len(job.calls()) == 10
        results = job.results()
        assert "note" not in results.columns
        assert results["messages"][3].to_list() == [
            {
                **dict.fromkeys(("parts", "name", "tool_call_id", "tool_calls", "refusal", "reasoning")),
                "role": "user",
                "content": "row 000003: please answer",
            }
        ]
        assert json.loads(results["raw_request"][3])["messages"][0]["content"] == "row 000003: please answer"
        answer = json.loads(results["raw_response"][3])
        assert answer["choices"][0]["message"]["content"] == results["completion"][3]


def test_removed_rows_leave_the_results_and_come_back_free(tmp_path: Path) -> None:
    """The results show the rows of the input; answers to removed rows stay in the checkpoint."""
    with simulated(tmp_path, rows=10) as job:
        job.submit_here()
        rows = rows_of(job)
        write(job, rows[5:])
        assert job.submit_here().rows == 5
        assert job.results()["row_id"].to_list() == [f"r{n:06d}" for n in range(5, 10)]
        write(job, rows)
        job.submit_here()
        assert len(job.results()) == 10
        assert len(job.calls()) == 10


def test_failures_whose_cause_may_have_passed_are_asked_again(tmp_path: Path) -> None:
    """A server error runs again by itself; a row refused as invalid waits for --retry-failed."""
    faults = [
        {"match": "row 000001", "first": 3, "status": 500},
        {"match": "row 000002", "first": 1, "status": 400},
    ]
    with simulated(tmp_path, rows=10, config={"faults": faults}, retry=QUICK) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.failed) == (1, 2)
        assert summary.errors == {"server": 1, "invalid_request": 1}
        assert {row: len(calls) for row, calls in asked(job.calls()).items() if len(calls) > 1} == {1: 3}
        summary = job.submit_here()
        assert summary.errors == {"invalid_request": 1}
        summary = job.submit_here(retry_failed=frozenset({"invalid_request"}))
        assert (summary.exit_code, summary.ok) == (0, 10)
        assert len(job.calls()) == 10 + 2 + 1 + 1


def test_a_row_that_is_asked_again_keeps_account_of_what_it_took(tmp_path: Path) -> None:
    """Attempts and tokens of the asking that failed stay with the row when the next one succeeds."""
    config = {"faults": [{"match": "row 000001", "first": 1, "answer": "refusal"}]}
    with simulated(tmp_path, rows=3, config=config) as job:
        assert job.submit_here().failed == 1
        before = job.results().row(1, named=True)
        assert job.submit_here(retry_failed=frozenset({"refusal"})).ok == 3
        after = job.results().row(1, named=True)
        assert [attempt["error_type"] for attempt in after["attempts"]] == ["refusal", None]
        assert after["attempts"][0] == before["attempts"][0]
        assert after["usage"]["total_tokens"] == sum(a["usage"]["total_tokens"] for a in after["attempts"])
        assert after["usage"]["total_tokens"] > before["usage"]["total_tokens"] > 0


def test_limit_leaves_the_rest_pending(tmp_path: Path) -> None:
    """--limit N asks for the first N pending rows, and the next submit goes on after them."""
    with simulated(tmp_path, rows=10) as job:
        summary = job.submit_here(limit=4)
        assert (summary.exit_code, summary.state, summary.ok, summary.pending) == (0, "stopped", 4, 6)
        assert job.results()["row_index"].to_list() == [0, 1, 2, 3]
        assert job.submit_here().ok == 10
        assert len(job.calls()) == 10


@pytest.mark.parametrize(
    ("fault", "exit_code"),
    [
        ({"status": 401, "code": "invalid_api_key"}, 4),
        ({"status": 404, "code": "model_not_found"}, 4),
        ({"status": 429, "code": "insufficient_quota", "type": "insufficient_quota"}, 3),
        ({"status": 402}, 3),
        ({"status": 429, "retry_after": 3600}, 3),
    ],
)
def test_an_endpoint_that_cannot_serve_costs_one_call(
    tmp_path: Path, fault: dict[str, Any], exit_code: int
) -> None:
    """A refused key or model, an empty account, a long Retry-After: one call, every row pending."""
    with simulated(tmp_path, rows=50, config={"faults": [{"calls": [1, 50], **fault}]}, retry=QUICK) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.pending, summary.state) == (exit_code, 50, "stopped")
        assert len(job.calls()) == 1


def test_a_closed_endpoint_hands_its_rows_to_the_fallback(tmp_path: Path) -> None:
    """When the first model is closed every row is answered by the next, and says so."""
    faults = [{"model": "small", "status": 429, "retry_after": 3600}]
    fallbacks = [{"model": "local/large", "request": {"max_completion_tokens": 5}}]
    with simulated(tmp_path, rows=20, config={"faults": faults}, retry=QUICK, fallbacks=fallbacks) as job:
        job.edit(endpoints={**json.loads(job.job.read_text())["endpoints"]})
        summary = job.submit_here()
        # a Retry-After closes the whole endpoint, and both models are served by it
        assert (summary.exit_code, summary.pending) == (3, 20)
        faulty = json.loads(job.job.read_text())["endpoints"]["local"]
        job.edit(
            endpoints={"local": faulty, "other": faulty}, fallbacks=[{**fallbacks[0], "model": "other/large"}]
        )
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok) == (0, 20)
        results = job.results()
        assert results["model"].unique().to_list() == ["other/large"]
        assert results["model_index"].unique().to_list() == [1]
        assert max(results["usage"].struct.field("completion_tokens").to_list()) <= 5
        assert sum(call.model == "small" for call in job.calls()) <= 2


def test_an_answer_without_its_outcome_is_not_asked_for_again(tmp_path: Path) -> None:
    """Killed just before the outcome was recorded: a fallback's answer counts, and nobody is asked."""
    faults = [{"model": "small", "match": "row 000003", "status": 503}]
    with simulated(
        tmp_path, rows=5, config={"faults": faults}, retry=QUICK, fallbacks=["local/large"]
    ) as job:
        job.submit_here()
        calls = len(job.calls())
        _forget_outcome(job, row=3)
        assert job.submit_here().ok == 5
        assert len(job.calls()) == calls
        row = job.results().row(3, named=True)
        assert (row["model"], row["model_index"], len(row["attempts"])) == ("local/large", 1, 4)


def _forget_outcome(job: JobFolder, *, row: int) -> None:
    """Make the checkpoint what a kill leaves just before the outcome of `row` is written."""
    lines = [encode(Header(FORMAT_VERSION))]
    for path in sealed_parts(job.checkpoint).values():
        for history in histories(pq.read_table(path)):
            assert history.done is not None
            lines += history.lines[:-1] if history.done.row == row else history.lines
        path.unlink()
    (job.checkpoint / "journal-000001.log").write_bytes(b"".join(lines))


def test_fallback_on_decides_for_closed_endpoints_too(tmp_path: Path) -> None:
    """Without `auth` in fallback_on a refused key ends the run: no row is paid for at the fallback."""
    config = {"faults": [{"model": "small", "status": 401}]}
    with simulated(
        tmp_path, rows=10, config=config, fallbacks=["local/large"], fallback_on=["server"]
    ) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.pending) == (4, 10)
        assert [call.model for call in job.calls()] == ["small"]


def test_a_model_for_failed_rows_gets_them_alone(tmp_path: Path) -> None:
    """--retry-failed=TYPE --model M sends M the rows that failed so, and no other; M refused is exit 4."""
    faults = [
        {"model": "small", "match": "row 000001", "status": 400},
        {"model": "small", "match": "row 000002", "first": 3, "status": 500},
    ]
    config = {"faults": faults, "models": ["small", "big"]}
    with simulated(tmp_path, rows=5, config=config, retry=QUICK) as job:
        assert job.submit_here().failed == 2
        again = frozenset({"invalid_request"})
        assert job.submit_here(retry_failed=again, retry_model=job.model("local/none")).exit_code == 4
        summary = job.submit_here(retry_failed=again, retry_model=job.model("local/big"))
        assert (summary.exit_code, summary.ok) == (0, 5)
        assert [call.prompt[:10] for call in job.calls() if call.model == "big"] == ["row 000001"]


def test_one_row_that_is_always_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    """The endpoint pauses for as long as the server said, however often that one row comes back."""
    faults = [{"match": "row 000001", "first": 4, "status": 429, "retry_after": 0.2}]
    retry = {**QUICK, "backoff": {"initial": 0.4, "max": 5}}
    with simulated(tmp_path, rows=10, config={"faults": faults}, retry=retry) as job:
        assert job.submit_here().ok == 10
        events = [json.loads(line) for line in (job.run / "log.jsonl").read_text().splitlines()]
        pauses = [event["seconds"] for event in events if event["event"] == "pause"]
        assert pauses == [0.2] * 4


def test_a_model_whose_attempts_are_used_up_falls_back(tmp_path: Path) -> None:
    """Each attempt of each model is listed; usage counts them all."""
    faults = [{"model": "small", "match": "row 000003", "status": 503}]
    with simulated(
        tmp_path, rows=5, config={"faults": faults}, retry=QUICK, fallbacks=["local/large"]
    ) as job:
        assert job.submit_here().ok == 5
        row = job.results().row(3, named=True)
        assert [(a["model"], a["http_status"], a["error_type"]) for a in row["attempts"]] == [
            *[("local/small", 503, "server")] * 3,
            ("local/large", 200, None),
        ]
        assert (row["model"], row["model_index"], row["response_model"]) == ("local/large", 1, "large")


@pytest.mark.parametrize(
    ("fault", "error_type", "completion"),
    [
        ({"answer": "refusal"}, "refusal", None),
        ({"answer": "content_filter"}, "content_filter", str),
        ({"answer": "no_choices"}, "invalid_response", None),
        ({"error_in_200": 400}, "invalid_request", None),
        ({"status": 400, "code": "context_length_exceeded"}, "context_length", None),
    ],
)
def test_a_row_that_fails_keeps_what_was_paid_for(
    tmp_path: Path, fault: dict[str, Any], error_type: str, completion: type | None
) -> None:
    """A failed row is a row of the results, with its error and what came with it."""
    with simulated(
        tmp_path, rows=3, config={"faults": [{"match": "row 000001", **fault}]}, retry=QUICK
    ) as job:
        assert job.submit_here().exit_code == 1
        row = job.results().row(1, named=True)
        assert (row["status"], row["error_type"], row["error"]["type"]) == ("failed", error_type, error_type)
        assert isinstance(row["completion"], completion or type(None))


def test_an_answer_is_only_failed_for_the_reasons_of_fail_on(tmp_path: Path) -> None:
    """With an empty fail_on a refusal is an answer like any other."""
    with simulated(tmp_path, rows=2, config={"faults": [{"answer": "refusal"}]}, fail_on=[]) as job:
        assert job.submit_here().exit_code == 0
        assert all(job.results()["refusal"])


def test_too_many_failed_rows_stop_the_run(tmp_path: Path) -> None:
    """The breaker ends a run that fails row after row, resumably, and leaves the rest unpaid."""
    stop_when = {"failed": "50%", "after": 10}
    with simulated(
        tmp_path, rows=300, config={"faults": [{"status": 400}]}, stop_when=stop_when, retry=QUICK
    ) as job:
        summary = job.submit_here()
        assert summary.exit_code == 3
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "breaker"
        assert len(job.calls()) <= 10 + 32
        assert summary.pending >= 300 - 42


def test_bad_lines_and_missing_columns_are_rows_that_failed(tmp_path: Path) -> None:
    """Every line of the input is accounted for, also one that is no JSON or lacks a column."""
    with simulated(tmp_path, rows=4) as job:
        with job.rows.open("a") as file:
            file.write('{"id": "broken", \n[1, 2]\n{"id": "no-text"}\n{"text": "row 000009: no id"}\n')
        summary = job.submit_here()
        assert (summary.exit_code, summary.rows, summary.ok, summary.failed) == (1, 8, 4, 4)
        failed = job.results().filter(pl.col("status") == "failed")
        assert failed["error_type"].to_list() == ["bad_row", "bad_row", "render", "bad_row"]
        assert "rows.jsonl:5" in failed["error"][0]["message"]
        assert len(job.calls()) == 4
        assert job.submit_here().failed == 4


def test_duplicate_ids_are_refused_before_the_first_call(tmp_path: Path) -> None:
    """The message names both lines."""
    with simulated(tmp_path, rows=5) as job:
        rows = rows_of(job)
        write(job, [*rows, rows[2]])
        with pytest.raises(InputError, match=r"'r000002'.*rows\.jsonl:3 and rows\.jsonl:6"):
            job.submit_here()
        assert job.calls() == []


def test_a_column_that_no_row_has_is_the_jobs_mistake(tmp_path: Path) -> None:
    """Nothing is sent, and the message lists the columns that there are."""
    with simulated(tmp_path, rows=5) as job:
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ texxt }}"}]})
        with pytest.raises(InputError, match=r"(?s)`texxt` is undefined.*id, text, n"):
            job.submit_here()
        job.edit(prompt=OTHER_PROMPT, input={"path": "rows.jsonl", "id": "key"})
        with pytest.raises(JobError, match=r"(?s)no row has a column `key`.*id, text, n"):
            job.submit_here()
        assert job.calls() == []


def test_a_missing_key_is_named_before_anything_starts(tmp_path: Path) -> None:
    """The message names the variable; no run folder is made."""
    with simulated(tmp_path, rows=5, endpoints={"local": {"api_key_env": "NO_SUCH_KEY"}}) as job:
        with pytest.raises(UsageError, match="NO_SUCH_KEY"):
            job.submit_here()
        assert not job.run.exists()


def test_no_key_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key reaches the endpoint, and is in no file of the run folder."""
    canary = "sk-canary-93f1c0ffee"
    monkeypatch.setenv("CANARY_KEY", canary)
    endpoints = {"local": {"api_key_env": "CANARY_KEY"}}
    with simulated(tmp_path, rows=5, config={"api_key": canary}, endpoints=endpoints) as job:
        assert job.submit_here().ok == 5
        assert all(call.api_key_ok for call in job.calls())
        files = [path for path in job.run.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        with simulated(tmp_path, rows=3) as job:
            job.submit_here()
    finally:
        os.umask(before)
    for path in [job.run, *job.run.rglob("*")]:
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_snapshot_of_the_job_runs_the_same_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """job.yaml holds what was submitted, with files inlined and variables unexpanded."""
    monkeypatch.setenv("TONE", "kind")
    with simulated(tmp_path, rows=3) as job:
        (tmp_path / "rules.md").write_text("Be brief.")
        (tmp_path / "shots.yaml").write_text(
            "- {role: user, content: hi}\n- {role: assistant, content: hello}\n"
        )
        messages = [
            {"role": "system", "content": "{% include 'rules.md' %}"},
            {"file": "shots.yaml"},
            {"role": "user", "content": "{{ text }}"},
        ]
        job.edit(prompt={"messages": messages}, request={"max_completion_tokens": 7, "user": "${TONE}"})
        job.submit_here()
        snapshot = (job.run / "job.yaml").read_text()
        assert "Be brief." in snapshot
        assert "hello" in snapshot
        assert "${TONE}" in snapshot
        (tmp_path / "rules.md").unlink()
        (tmp_path / "shots.yaml").unlink()
        job.job.write_text(snapshot)
        assert job.submit_here().ok == 3
        assert len(job.calls()) == 3
