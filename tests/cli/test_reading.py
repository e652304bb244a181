"""plan, status and show: what they say of a run, and that they change nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run
from batchrun.show.show import Choice, choose
from tests.cli.conftest import BAD, REFUSED, ROWS, NewJob
from tests.commands import batchrun
from tests.runs import JobFolder, simulated


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["r000001", "r000007"], ["r000001", "r000007"]),
        (["--failed"], [BAD, REFUSED]),
        (["--failed=refusal"], [REFUSED]),
        (["--failed=refusal,invalid_request"], [BAD, REFUSED]),
        (["--failed", "--where", "n > 4"], [REFUSED]),
        (["--where", "n < 2"], ["r000000", "r000001"]),
        (["--where", "error.type = 'refusal'"], [REFUSED]),
        (["--where", "n > 1000"], []),
        (["--limit", "2"], ["r000000", "r000001"]),
    ],
)
def test_show_chooses_rows(run: JobFolder, words: list[str], ids: list[str]) -> None:
    """Ids, failures and predicates choose rows; --json gives each with all columns."""
    ended = batchrun("show", "job.yaml", *words, "--json", cwd=run.folder)
    assert ended.code == 0
    assert [row["row_id"] for row in ended.lines] == ids
    assert all(set(row) == set(run.results().columns) for row in ended.lines)


def test_maps_with_any_keys_are_shown(tmp_path: Path) -> None:
    """Parquet's may be dates, bytes or decimals, which JSON has no form for: as a key each is a text."""
    maps: dict[str, tuple[dict[Any, int], pa.DataType, str]] = {
        "day": ({date(2026, 1, 31): 1}, pa.date32(), "2026-01-31"),
        "raw": ({b"\xff": 1}, pa.binary(), "/w=="),
        "price": ({Decimal("1.5"): 1}, pa.decimal128(2, 1), "1.5"),
    }
    columns = {
        name: pa.array([list(found.items())], pa.map_(kind, pa.int64()))
        for name, (found, kind, _key) in maps.items()
    }
    shown = {name: {key: 1} for name, (_found, _kind, key) in maps.items()}
    with simulated(tmp_path, rows=0) as job:
        pq.write_table(pa.table({"text": ["x"], **columns}), tmp_path / "rows.parquet")
        job.edit(input={"path": "rows.parquet"})
        assert batchrun("plan", "job.yaml", cwd=tmp_path).code == 0
        assert batchrun("submit", "job.yaml", cwd=tmp_path).code == 0
    (row,) = batchrun("show", "job.yaml", "--json", cwd=tmp_path).lines
    assert {name: row[name] for name in shown} == shown
    assert '{"2026-01-31": 1}' in batchrun("show", "job.yaml", cwd=tmp_path).out
    for form in ("csv", "jsonl"):
        out = tmp_path / f"out.{form}"
        assert batchrun("export", "job.yaml", "--format", form, "--out", out, cwd=tmp_path).code == 0
        assert "2026-01-31" in out.read_text()
    assert batchrun("report", "job.yaml", cwd=tmp_path).code == 0


def test_a_refusal_is_shown_once(run: JobFolder) -> None:
    """The reason of the failure is the refusal itself."""
    assert batchrun("show", "job.yaml", REFUSED, cwd=run.folder).out.count("refusal:") == 1


def test_show_takes_a_job_file_or_its_folder(run: JobFolder) -> None:
    """Both name the same rows; for people at most 20, for programs all of them."""
    by_job = batchrun("show", "job.yaml", "--json", cwd=run.folder)
    assert len(by_job.lines) == ROWS
    assert batchrun("show", "runs/job", "--json", cwd=run.folder).out == by_job.out
    for_people = batchrun("show", "job.yaml", cwd=run.folder)
    assert "r000019  ok" in for_people.out
    assert "r000020" not in for_people.out
    assert for_people.err == "20 of 40 rows; --limit shows more\n"


def test_a_sample_is_the_same_for_the_same_seed(run: JobFolder) -> None:
    """--sample draws without repeating a row, and --seed draws others."""

    def drawn(*words: str) -> list[str]:
        ended = batchrun("show", "job.yaml", "--sample", "10", "--json", *words, cwd=run.folder)
        return [row["row_id"] for row in ended.lines]

    assert len(set(drawn())) == 10
    assert drawn() == drawn() != drawn("--seed", "1")


def test_rows_that_come_on_top_change_few_of_a_sample() -> None:
    """Each row is drawn by itself: those that are in it stay, but for the ones that make room."""

    def drawn(rows: range, seed: int = 1) -> set[str]:
        table = pl.LazyFrame({"row_index": rows, "row_id": [f"r{n}" for n in rows]})
        table = table.with_columns(request_hash=pl.lit("ab" * 32), finished_at=pl.datetime(2026, 1, 1))
        chosen = choose(table, Choice(sample=100, seed=seed))
        assert chosen.positions.is_sorted()
        return {f"r{n}" for n in chosen.positions}

    before, after = drawn(range(1000)), drawn(range(1100))
    assert (len(before), len(after)) == (100, 100)
    assert 75 < len(before & after) < 100
    assert len(before & drawn(range(1000), seed=2)) < 30


def test_show_columns(run: JobFolder) -> None:
    """--columns shows these in their order."""
    ended = batchrun("show", "job.yaml", "r000002", "--columns", "n,text", "--json", cwd=run.folder)
    assert ended.out == '{"n":2,"text":"row 000002: please answer"}\n'
    assert "text: row 000002" in batchrun("show", "job.yaml", "--columns", "text", cwd=run.folder).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r9"], "no finished row has the id 'r9'"),
        (["--where", "nope = 1"], "no column `nope`"),
        (["--where", "text = nope"], "parsed.nope, a text is 'nope' in single quotes. Columns: row_index,"),
        (["--where", "n ="], "is no SQL condition"),
        (["--where", "n LIKE 3"], "--where"),
        (["--failed=refusl"], "Did you mean refusal?"),
        (["--columns", "nope"], "no column `nope`"),
        (["--seed", "3"], "Add --sample N"),
    ],
)
def test_show_explains_a_wrong_choice(run: JobFolder, words: list[str], said: str) -> None:
    """What does not fit the results is exit code 2, with the columns or the nearest spelling."""
    ended = batchrun("show", "job.yaml", *words, cwd=run.folder)
    assert ended.code == 2
    assert said in ended.err


HOSTILE = "\x1b[31mred\x07 [bold]loud[/bold] :smile: \x9b2J \u202eback"
"""What a terminal would obey, rich markup, an emoji code, a mark that reverses text."""


def test_no_text_can_command_the_terminal(new_job: NewJob) -> None:
    """Control characters, rich markup and emoji codes of ids, rows and errors are shown, not obeyed."""
    job = new_job()
    job.rows.write_text(json.dumps({"id": HOSTILE, "text": HOSTILE}) + "\n")
    batchrun("submit", "job.yaml", cwd=job.folder)
    shown = batchrun("show", "job.yaml", "--columns", "text", cwd=job.folder).out
    assert shown.count("␛[31mred␇ [bold]loud[/bold] :smile: \\x9b2J \\u202eback") == 2


def test_status_counts_and_suggests(run: JobFolder) -> None:
    """Status says how many rows stand how, and the next command."""
    ended = batchrun("status", "job.yaml", "--json", cwd=run.folder).json
    assert (ended["state"], ended["rows"], ended["ok"], ended["failed"], ended["pending"]) == (
        "finished",
        ROWS,
        ROWS - 2,
        2,
        0,
    )
    assert ended["errors"] == {"invalid_request": 1, "refusal": 1}
    assert "batchrun show job.yaml --failed" in batchrun("status", "job.yaml", cwd=run.folder).out


def test_plan_of_a_finished_run(run: JobFolder) -> None:
    """Answered rows stay, rows that need a decision wait, --retry-failed would ask them."""
    plan = batchrun("plan", "job.yaml", "--json", cwd=run.folder).json
    assert (plan["to_do"], plan["rows"]["ok"], plan["rows"]["failed"]) == (0, ROWS - 2, 2)
    plan = batchrun("plan", "job.yaml", "--retry-failed=refusal", "--json", cwd=run.folder).json
    assert (plan["to_do"], plan["rows"]["retry"], plan["rows"]["failed"]) == (1, 1, 1)


def test_plan_shows_a_request_and_writes_nothing(new_job: NewJob) -> None:
    """Before the first submit: rows, tokens, models and limits, and requests as they would be sent."""
    job = new_job(fallbacks=["groq/big"])
    before = files(job.folder)
    plan = batchrun("plan", "job.yaml", "--example", "r000002", "--json", cwd=job.folder).json
    assert (plan["to_do"], plan["rows"]["new"]) == (3, 3)
    (example,) = plan["examples"]
    assert example["request"] == {
        "model": "small",
        "messages": [{"role": "user", "content": "row 000002: please answer"}],
        "max_completion_tokens": 20,
    }
    assert [model["model"] for model in plan["models"]] == ["local/small", "groq/big"]
    for_people = batchrun("plan", "job.yaml", cwd=job.folder)
    assert "row 000000: please answer" in for_people.out
    assert "GROQ_API_KEY" in for_people.out
    assert files(job.folder) == before
    assert not (job.folder / "runs").exists()


def test_plan_counts_what_is_wrong_with_rows(new_job: NewJob) -> None:
    """Bad lines, rows that cannot be rendered (the first with its reason), nulls that print as nothing."""
    job = new_job()
    with job.rows.open("a") as file:
        file.write('{"id": "broken"\n{"id": "no-text"}\n{"id": "null", "text": null}\n')
    shown = batchrun("plan", "job.yaml", cwd=job.folder).out
    assert "1 row       cannot be read" in shown
    assert "rows.jsonl:5: prompt.messages[0].content" in shown
    assert "1 row       with a null that is printed as nothing" in shown


def test_plan_says_what_it_costs_and_takes(new_job: NewJob) -> None:
    """Figures first, then what they rest on; a budget that may not do is exit code 3."""
    job = new_job(prices={"local/small": {"input": 1, "output": 100}}, budget={"cost_usd": 0.004})
    plan = batchrun("plan", "job.yaml", cwd=job.folder)
    lines = [" ".join(line.split()) for line in plan.out.splitlines()[:8]]
    assert lines == [
        "job: 3 of 3 rows would be asked",
        "cost about $0.003 ($0.0015 to $0.006)",
        "tokens prompts about 21 (17 to 32)",
        "answers about 30 (15 to 60)",
        lines[4],
        "budget left $0.004",
        lines[6],
        lines[7],
    ]
    assert lines[4].startswith("time about 4 s (1 s to 18 s), with 32 calls at once")
    assert lines[6].startswith("budget budget.cost_usd: up to $0.0061 may be needed")
    assert lines[7].startswith("assumed prompts of 4 bytes a token; answers of half the 20 tokens")
    assert plan.code == 3
    document = batchrun("plan", "job.yaml", "--json", cwd=job.folder)
    assert document.code == document.json["exit_code"] == 3
    assert document.json["forecast"]["completion_tokens"] == {"low": 15.0, "likely": 30.0, "high": 60.0}


def test_plan_says_where_a_price_is_to_be_given(new_job: NewJob) -> None:
    """In place of a cost; with a budget of money that stops a submit."""
    job = new_job(budget={"cost_usd": 1})
    said = batchrun("plan", "job.yaml", cwd=job.folder).out
    assert "cost        no price known for local/small: give it in prices:" in said
    assert "stop        budget.cost_usd: no price known for local/small" in said


def test_readers_change_nothing(run: JobFolder) -> None:
    """plan, status and show leave every file of the run as it is."""
    before = files(run.folder)
    for verb in ("plan", "status", "show"):
        assert batchrun(verb, "job.yaml", cwd=run.folder).code == 0
    assert files(run.folder) == before


def test_a_killed_run_is_readable(new_job: NewJob) -> None:
    """After kill -9 show and status see every answer; the next submit asks for what is missing alone."""
    job = new_job(5, model="local/half")
    batchrun("submit", "job.yaml", "--limit", "2", cwd=job.folder)
    with subprocess.Popen(job.command(), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while sum(path.read_bytes().count(b'"done"') for path in job.checkpoint.glob("journal-*.log")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    status = batchrun("status", "job.yaml", "--json", cwd=job.folder).json
    assert (status["state"], status["ok"], status["pending"]) == ("killed", 4, 1)
    assert (status["unpublished"], status["possibly_paid"]) == (2, 1)
    shown = batchrun("show", "job.yaml", "--json", cwd=job.folder).lines
    assert [row["row_id"] for row in shown] == [f"r{n:06d}" for n in range(4)]
    assert [row["n"] for row in shown] == [0, 1, None, None]
    ended = batchrun("submit", "job.yaml", "--json", cwd=job.folder).json
    assert (ended["submit"]["calls"], ended["ok"]) == (1, 5)


def unpublish(job: JobFolder, published: Path) -> None:
    """Put results and run.json back to what an earlier submit left, as a kill before publication does."""
    shutil.rmtree(job.run / "generations")
    shutil.copytree(published / "generations", job.run / "generations")
    (job.run / "results").unlink()
    (job.run / "results").symlink_to((published / "results").readlink())
    shutil.copy(published / "run.json", job.run / "run.json")


def test_a_row_asked_again_stands_once(new_job: NewJob, tmp_path: Path) -> None:
    """An unpublished answer takes the place of the row's published failure, and of nothing else."""
    job = new_job(8)
    batchrun("submit", "job.yaml", cwd=job.folder)
    published = tmp_path / "published"
    shutil.copytree(job.run, published, symlinks=True)
    batchrun("submit", "job.yaml", "--retry-failed", "--model", "local/large", cwd=job.folder)
    unpublish(job, published)
    rows = scan_run(RunFolder(job.run)).collect()
    assert rows["row_index"].to_list() == list(range(8))
    assert rows.filter(pl.col("model") == "local/large")["row_id"].to_list() == [BAD, REFUSED]
    assert rows["status"].to_list() == ["ok"] * 8
    assert rows.schema == job.results().schema


def test_answers_to_an_edit_taken_back_are_not_shown(new_job: NewJob) -> None:
    """What the results leave out on purpose is not taken for an answer that was not published yet."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    original, before = job.job.read_text(), job.results()
    job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} Be brief."}]})
    batchrun("submit", "job.yaml", "--rerun-changed", cwd=job.folder)
    job.job.write_text(original)
    batchrun("submit", "job.yaml", cwd=job.folder)
    assert scan_run(RunFolder(job.run)).collect().equals(before)


def test_values_that_json_lacks_are_text(new_job: NewJob, tmp_path: Path) -> None:
    """Decimals, bytes, dates and NaN of a Parquet input come out of show --json as valid JSON."""
    from datetime import date
    from decimal import Decimal

    job = new_job()
    table = {
        "text": ["a"],
        "d": [Decimal("1.10")],
        "b": [b"\xff"],
        "t": [date(2025, 1, 2)],
        "f": [float("nan")],
    }
    pl.DataFrame(table).write_parquet(tmp_path / "rows.parquet")
    job.edit(input={"path": "rows.parquet"})
    batchrun("submit", "job.yaml", cwd=job.folder)
    ended = batchrun("show", "job.yaml", "--columns", "d,b,t,f", "--json", cwd=job.folder)
    assert json.loads(ended.out) == {"d": "1.10", "b": "/w==", "t": "2025-01-02", "f": None}
