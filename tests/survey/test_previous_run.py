"""`input.run`: a job that goes on from the ok rows of another run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import ChangedRowsError, RunFolderError
from batchrun.job import load_job
from batchrun.planning import Plan, plan
from batchrun.source import open_run
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Summary
from tests.commands import batchrun
from tests.runs import JobFolder, Silent, asked, simulated

LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}
ASKS = "row {{ n }}: is it {{ previous.parsed.label }}, {{ id }}?"


def chained(job: JobFolder, name: str = "second", run: str = "runs/job", **sections: Any) -> Path:
    """Write a job that goes on from the run `run`."""
    first = json.loads(job.job.read_text())
    document = {
        "input": {"run": run},
        "prompt": {"messages": [{"role": "user", "content": ASKS}]},
        **{key: first[key] for key in ("request", "model", "endpoints")},
    }
    path = job.folder / f"{name}.yaml"
    path.write_text(json.dumps({**document, **sections}))
    return path


def submitted(path: Path, said: list[str] | None = None, **options: Any) -> Summary:
    job = load_job(path, env=dict(os.environ), cwd=path.parent)
    progress = Silent()
    summary = submit(job, Options(**options), env=dict(os.environ), progress=progress)
    if said is not None:
        said += progress.said
    return summary


def planned(path: Path) -> Plan:
    job = load_job(path, env=dict(os.environ), cwd=path.parent)
    return plan(job, env=dict(os.environ), on_rows=lambda _rows: None)


def results(job: JobFolder, name: str = "second") -> pl.DataFrame:
    return pl.read_parquet(job.folder / "runs" / name / "results" / "*.parquet")


def set_rows(job: JobFolder, *rows: dict[str, Any]) -> None:
    job.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(number: int, text: str = "please answer") -> dict[str, Any]:
    return {"id": f"r{number}", "text": f"row {number:06d}: {text}", "n": number}


def test_a_job_goes_on_from_the_answers_of_another(tmp_path: Path) -> None:
    """Its rows are the other's ok rows in order, by its columns and ids; the answer is one struct."""
    faults = {"faults": [{"match": "row 000002:", "status": 400}]}
    with simulated(tmp_path, rows=5, config=faults, schema=LABEL) as job:
        assert job.submit_here().failed == 1
        second = chained(job)
        assert submitted(second).ok == 4
        prompts = [call.prompt for call in job.calls()[-4:]]
    first, found = job.results().filter(pl.col("status") == "ok"), results(job)
    assert found["row_id"].to_list() == first["row_id"].to_list() == [f"r00000{n}" for n in (0, 1, 3, 4)]
    labels = first["parsed"].struct["label"].to_list()
    rows = zip(first["n"], labels, first["id"], strict=True)
    wanted = [f"row {n}: is it {label}, {name}?" for n, label, name in rows]
    assert sorted(prompts) == wanted
    assert found.columns[:6] == ["row_index", "row_id", "id", "text", "n", "previous"]
    assert found.columns[6] == "status"
    for name in ("completion", "parsed", "finish_reason", "model", "row_id", "cost_usd", "tool_calls"):
        assert found["previous"].struct[name].to_list() == first[name].to_list(), name
    assert found["previous"].struct["parsed"].dtype == first["parsed"].dtype


def test_only_rows_whose_request_has_changed_are_asked_again(tmp_path: Path) -> None:
    """After the first job has answered a new row, and one of its rows anew."""
    with simulated(tmp_path, rows=0) as job:
        set_rows(job, row(1), row(2), row(3))
        job.submit_here()
        second = chained(job, prompt={"messages": [{"role": "user", "content": "{{ text }} ({{ id }})"}]})
        assert submitted(second).submit["calls"] == 3
        assert submitted(second).submit["calls"] == 0
        set_rows(job, row(0), row(1), row(2, "please do"), row(3))
        job.submit_here(rerun_changed=True)
        with pytest.raises(ChangedRowsError, match="1 finished row would"):
            submitted(second)
        again = submitted(second, rerun_changed=True)
    assert (again.ok, again.submit["calls"]) == (4, 2)
    assert results(job)["row_id"].to_list() == ["r0", "r1", "r2", "r3"]


def test_rows_without_ids_keep_their_numbers_as_ids(tmp_path: Path) -> None:
    """A line that comes before them changes their number, and pays for nothing again."""
    prompt = {"messages": [{"role": "user", "content": "{{ text }}, again"}]}
    faults = {"faults": [{"match": "row 000001:", "first": 1, "status": 400}]}
    with simulated(tmp_path, rows=0, config=faults, input={"path": "rows.jsonl"}) as job:
        set_rows(job, row(1), row(2))
        job.submit_here()
        second = chained(job, prompt=prompt)
        assert submitted(second).submit["calls"] == 1
        assert results(job)["row_id"].to_list() == ["1"]
        set_rows(job, row(0), row(1), row(2))
        job.submit_here()
        again = submitted(second)
    assert (again.ok, again.submit["calls"]) == (2, 1)
    assert results(job)["row_id"].to_list() == ["0", "2"]


def test_both_jobs_may_change_at_once(tmp_path: Path) -> None:
    """Their ids say which answers are whose, so that older ones can be kept."""
    prompt = {"messages": [{"role": "user", "content": "{{ text }} ({{ id }})"}]}
    with simulated(tmp_path, rows=0) as job:
        set_rows(job, row(1), row(2))
        job.submit_here()
        submitted(chained(job, prompt=prompt))
        set_rows(job, row(2), row(3))
        job.submit_here()
        prompt = {"messages": [{"role": "user", "content": "{{ text }} (row {{ id }})"}]}
        again = submitted(chained(job, prompt=prompt), keep_changed=True)
    assert (again.ok, again.stale, again.submit["calls"]) == (2, 1, 1)


def test_a_run_that_is_not_finished_gives_what_it_has(tmp_path: Path) -> None:
    """plan and submit say how many rows are not there yet; they come once they are."""
    faults = {"faults": [{"match": "row 000001:", "status": 400}]}
    with simulated(tmp_path, rows=5, config=faults, schema=LABEL) as job:
        job.submit_here(limit=3)
        second, said = chained(job), list[str]()
        told = "of the 5 rows of runs/job 2 are taken: 1 failed and 2 not there yet. Submit that job again"
        assert [warning for warning in planned(second).warnings if warning.startswith(told)]
        assert submitted(second, said).ok == 2
        assert [text for text in said if text.startswith(told)]
        job.submit_here()
        assert (again := submitted(second)).ok == 4
        (warning,) = planned(second).warnings
    assert again.submit["calls"] == 2
    assert warning == "of the 5 rows of runs/job 4 are taken: 1 failed."


def test_answers_of_the_answers_stand_inside(tmp_path: Path) -> None:
    """The third of a chain sees the first's as `previous.previous`."""
    prompt = {"messages": [{"role": "user", "content": "row 1: {{ previous.previous.completion }}"}]}
    with simulated(tmp_path, rows=2, schema=LABEL) as job:
        job.submit_here()
        submitted(chained(job))
        assert submitted(chained(job, "third", "runs/second", prompt=prompt)).ok == 2
        prompts = {call.prompt for call in job.calls()[-2:]}
    assert prompts == {f"row 1: {text}" for text in job.results()["completion"]}
    third = results(job, "third")
    assert third.columns[1:7] == ["row_id", "id", "text", "n", "previous", "status"]
    inner = third["previous"].struct["previous"].struct["completion"]
    assert inner.to_list() == job.results()["completion"].to_list()


def test_rows_are_chosen_by_what_was_answered(tmp_path: Path) -> None:
    """`input.where` reaches into the struct; `input.id` may be another column."""
    where = "previous.parsed.label = 'good' AND previous.model != 'x'"
    source = {"run": "runs/job", "id": "n", "where": where}
    with simulated(tmp_path, rows=12, schema=LABEL) as job:
        job.submit_here()
        good = job.results().filter(pl.col("parsed").struct["label"] == "good")
        assert 0 < len(good) < 12
        submitted(chained(job, input=source))
    assert results(job)["row_id"].to_list() == [str(n) for n in good["n"]]
    assert results(job)["previous"].struct["row_id"].to_list() == good["row_id"].to_list()


def test_a_submit_reads_the_generation_that_was_there_when_it_began(tmp_path: Path) -> None:
    """What is published later is for the next: the index is made anew for it, and for nothing else."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here(limit=2)
        second = chained(job, prompt={"messages": [{"role": "user", "content": "{{ text }}"}]})
        submitted(second)
        index = tmp_path / "runs" / "second" / "checkpoint" / "index.json"
        before = index.stat().st_mtime_ns
        submitted(second)
        assert index.stat().st_mtime_ns == before
        job.submit_here()
        assert submitted(second).ok == 3
        assert index.stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("run", "said", "hint"),
    [
        ("runs/nope", "no such folder", "Relative paths start at the job's folder"),
        ("job.yaml", "is a file, no run folder", "output.path, by default runs/NAME"),
        (".", "holds no run of batchrun", "in which `results` lies"),
        ("runs/second", "is this job's own run folder", "Name the run folder of another job"),
        ("runs/empty", "nothing is published in runs/empty yet", "Submit that job first"),
    ],
)
def test_a_folder_that_gives_no_rows_is_told(tmp_path: Path, run: str, said: str, hint: str) -> None:
    """With the key, and with what to do."""
    with simulated(tmp_path, rows=1) as job:
        job.submit_here()
        shutil.copytree(job.run, tmp_path / "runs" / "empty")
        shutil.rmtree(tmp_path / "runs" / "empty" / "results")
        (tmp_path / "runs" / "second").mkdir()
        second = chained(job, run=run)
        ended = batchrun("submit", second, cwd=tmp_path)
    assert ended.code == 2
    assert ended.err.splitlines()[-2].startswith(f"error: {second}:1: input.run: ")
    assert (said in ended.err, hint in ended.err) == (True, True), ended.err


def test_a_damaged_run_is_told(tmp_path: Path) -> None:
    """By the file's name, before anything is asked."""
    with simulated(tmp_path, rows=1) as job:
        job.submit_here()
        (part,) = (job.run / "results").glob("*.parquet")
        part.write_bytes(part.read_bytes()[:-9])
        with pytest.raises(RunFolderError, match=r"part-00000\.parquet is damaged"):
            submitted(chained(job))
        assert len(asked(job.calls())) == 1


def test_an_export_is_not_written_over_the_other_run(tmp_path: Path) -> None:
    """Its parts are what the job reads."""
    with simulated(tmp_path, rows=1, schema=LABEL) as job:
        job.submit_here()
        second = chained(job)
        submitted(second)
        (part,) = (job.run / "results").glob("*.parquet")
        for of in (second, tmp_path / "runs" / "second"):
            ended = batchrun("export", of, "--out", part, cwd=tmp_path)
            assert (ended.code, "lies in a run folder" in ended.err) == (2, True), ended.err


def test_requests_of_a_chained_job_are_exported(tmp_path: Path) -> None:
    """By the ids of the run that it goes on from, before its own first submit; and its chats after it."""
    with simulated(tmp_path, rows=2, schema=LABEL) as job:
        job.submit_here()
        second = chained(job)
        lines = batchrun("export", second, "--format", "openai-batch", cwd=tmp_path).lines
        assert [line["custom_id"] for line in lines] == ["r000000", "r000001"]
        submitted(second)
        chats = batchrun("export", tmp_path / "runs" / "second", "--format", "chat", cwd=tmp_path).lines
    assert [chat["messages"][:1] for chat in chats] == [line["body"]["messages"] for line in lines]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Two parts of ten rows, two in a row group, of which every third is ok."""
    paths = []
    for number in range(2):
        at = range(10 * number, 10 * number + 10)
        frame = pl.DataFrame(
            {
                "row_index": at,
                "row_id": [f"r{n}" for n in at],
                "previous": ["mine"] * 10,
                "status.x": [1] * 10,
                "status": ["ok" if n % 3 == 0 else "failed" for n in at],
                "completion": [f"answer {n}" for n in at],
            }
        )
        paths.append(tmp_path / f"part-{number}.parquet")
        frame.write_parquet(paths[-1], row_group_size=2)
    return paths


OK = [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("start", range(9))
def test_rows_are_numbered_among_the_ok_ones(parts: list[Path], start: int) -> None:
    """From wherever they are read, so that a submit that goes on finds the same rows."""
    source = open_run(parts, "runs/x")
    rows = [row for batch in source.batches(start=start) for row in batch.rows]
    assert [row.index for row in rows if row.index >= start] == list(range(start, len(OK)))
    for row in rows:
        n = OK[row.index]
        answer = {"row_id": f"r{n}", "completion": f"answer {n}", "previous": "mine"}
        assert row.values == {"row_id": f"r{n}", "status.x": 1, "previous": answer}
        assert row.location == f"runs/x: row r{n}"
    assert [row.index for row in source.rows_at([start, 100])] == [start][: start < len(OK)]


@pytest.mark.parametrize("columns", [[], ["previous"], ["row_id"], ["status.x", "previous"], ["no"]])
def test_columns_are_read_alone(parts: list[Path], columns: list[str]) -> None:
    """Those that are asked for."""
    rows = [row for batch in open_run(parts, "x").batches(columns) for row in batch.rows]
    assert [set(row.values) for row in rows] == [set(columns) - {"no"}] * len(OK)


def test_the_columns_are_typed_as_they_were_published(parts: list[Path]) -> None:
    """In Arrow as in Python."""
    source = open_run(parts, "x")
    schema = source.column_types().schema()
    assert schema.names == ["row_id", "status.x", "previous"]
    tables = [batch.arrow(schema) for batch in source.batches()]
    assert sum(table.num_rows for table in tables) == len(OK)
    assert tables[0].column("previous").to_pylist()[0]["completion"] == "answer 0"
