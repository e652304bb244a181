"""Run folders that earlier versions left, and what becomes of newer, damaged and missing files.

`data/format-1-*.tar.gz` are folders of a job of 30 rows, written by the code of the first version, of the one
that brought conversations, and of the one that brought budgets: ten rows published, some twenty more answered
or under way when it was killed.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.errors import ChangedRowsError, RunFolderError
from batchrun.outcome import Response
from batchrun.run_folder.checkpoint import upgrade
from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from batchrun.run_folder.checkpoint.sealed import (
    PartReader,
    histories,
    schema_with,
    sealed_parts,
    write_parquet,
)
from batchrun.run_folder.columns.columns import ATTEMPT
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import UnknownRecordError, decode, encode
from batchrun.run_folder.journal.records import Header
from batchrun.run_folder.lock import locked
from batchrun.run_folder.results.read import rows_by_part, scan_run, scan_seen, see
from batchrun.run_folder.results.totals import read_totals
from tests.archives import untar
from tests.commands import batchrun
from tests.planning.planning import planned
from tests.run_folder.answering import Work
from tests.run_folder.recorded import answered, done, sent
from tests.runs import JobFolder, asked, simulated, write_rows

DATA = Path(__file__).with_name("data")
WITHOUT_IDS = {"path": "rows.jsonl"}
FOLDERS = {
    "format-1-first": WITHOUT_IDS,
    "format-1-conversations": WITHOUT_IDS,
    "format-1-budgets": {"path": "rows.jsonl", "id": "id"},
}


def unpack(name: str, job: JobFolder) -> set[int]:
    """Put the folder in place of the job's run; the rows that it holds an outcome of the model for."""
    job.run.parent.mkdir()
    untar(DATA / f"{name}.tar.gz", job.run.parent)
    found = read_checkpoint(job.checkpoint)
    tasks = [*found.unfinished.values(), *(task for tasks in found.unsealed.values() for task in tasks)]
    for path in sealed_parts(job.checkpoint).values():
        tasks += histories(pq.read_table(path, columns=["_records"]))
    return {
        next(iter(task.sent.values())).row
        for task in tasks
        for answered in task.answered.values()
        if isinstance(answered.exchange, Response) and answered.exchange.status == 200
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_an_older_version_is_continued(name: str, tmp_path: Path) -> None:
    """No answer in it is lost or paid for again, by the ledger; the results are those of a run of today."""
    with simulated(tmp_path, rows=30, input=FOLDERS[name]) as job:
        held = unpack(name, job)
        assert len(held) > 10
        seen = scan_run(RunFolder(job.run)).collect()
        assert set(seen.filter(status="ok")["row_index"]) <= held
        assert len(seen) >= 10
        summary = job.submit_here()
        assert (summary.rows, summary.ok + summary.failed) == (30, 30)
        assert set(summary.errors) <= {"refusal"}
        assert asked(job.calls()).keys() == set(range(30)) - held
        kept = job.results()
        again = job.submit_here(name="again")
        fresh = pl.read_parquet(Path(again.results))
        both = kept.join(fresh, on="row_index", suffix="_fresh").filter(status="ok")
        assert both["completion"].to_list() == both["completion_fresh"].to_list()
        assert both["request_hash"].to_list() == both["request_hash_fresh"].to_list()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        with pytest.raises(ChangedRowsError, match=f"^{summary.ok} finished rows"):
            job.submit_here()


def test_what_an_older_version_spent_counts_against_the_budget(tmp_path: Path) -> None:
    """Its records do not say so themselves: requests and tokens are read from its answers."""
    with simulated(tmp_path, rows=30, input=WITHOUT_IDS) as job:
        unpack("format-1-first", job)
        spent = job.submit_here().spent
        assert spent["requests"] > len(job.calls()) + 10
        assert spent["tokens"] > 0


def test_a_part_with_row_groups_of_another_size_is_read_as_it_is(tmp_path: Path) -> None:
    """They were of 500 rows each: a row is found by the sizes that the file tells."""
    with simulated(tmp_path, rows=6) as job:
        job.submit_here()
        (path,) = sealed_parts(job.checkpoint).values()
        before = pq.read_table(path)
        write_parquet([before.slice(0, 4), before.slice(4)], path, schema_with({}))
        assert not upgrade.is_older(path)
        reader = PartReader(job.checkpoint, ["row_index"])
        assert reader.take(1, [0, 3, 4, 5])["row_index"].to_pylist() == [0, 3, 4, 5]
        reader.close()


def without_batch(table: pa.Table) -> pa.Table:
    """A table as it was before calls could go by a batch."""
    attempts = table.column("attempts").to_pylist()
    kind = pa.struct([field for field in ATTEMPT if field.name != "batch_id"])
    short = [[{f.name: item[f.name] for f in kind} for item in items] for items in attempts]
    at = table.schema.get_field_index("attempts")
    return table.set_column(at, "attempts", pa.array(short, pa.list_(kind))).drop_columns(["batch_id"])


def test_a_part_of_before_there_were_batches_is_read_and_written_anew(tmp_path: Path) -> None:
    """From its records: its calls were calls of their own. Nothing is asked again."""
    with simulated(tmp_path, rows=6) as job:
        job.submit_here()
        before = job.results()
        (path,) = sealed_parts(job.checkpoint).values()
        whole = pq.read_table(path)
        older = without_batch(whole)
        write_parquet([older], path, older.schema.with_metadata(whole.schema.metadata))
        assert upgrade.is_older(path)
        assert upgrade.scan_part(path).collect().equals(pl.DataFrame(whole))
        write_rows(job.rows, 7)
        assert planned(job).forecast.sampled == 6
        write_rows(job.rows, 6)
        job.submit_here()
        assert not upgrade.is_older(path)
        assert job.results().equals(before)
        assert len(job.calls()) == 6


@pytest.mark.parametrize("added", [[], [2]])
def test_an_input_column_that_a_column_of_ours_is_called_like_now_stays_the_inputs(
    added: list[int], tmp_path: Path
) -> None:
    """Results that an older version published have it by its own name; it is told as it will be published."""
    work = Work(tmp_path).write([{"text": f"question {n}", "batch_id": n} for n in range(3)])
    work.answer([0, 1])
    work.publish()
    (part,) = work.run.results.glob("*.parquet")
    older = without_batch(pq.read_table(part)).rename_columns({"input_batch_id": "batch_id"})
    write_parquet([older], part, older.schema)
    for row in added:
        work.answer([row], lambda task: [sent(task, batch="batch_7"), answered(task), done(task)])
    seen = see(work.run)
    rows = scan_seen(seen).select("row_id", "input_batch_id", "completion", "attempts").collect()
    assert rows["input_batch_id"].to_list() == [0, 1, *[None for _ in added]]
    parts = [part.select("row_id", "completion", "attempts").collect() for part in rows_by_part(seen)]
    assert pl.concat(parts).equals(rows.drop("input_batch_id"))
    if added:
        assert scan_seen(seen).select("batch_id").collect()["batch_id"].to_list() == [None, None, "batch_7"]
        work.publish()
        assert work.results().select("input_batch_id", "batch_id").rows() == [
            (0, None),
            (1, None),
            (2, "batch_7"),
        ]


def test_results_of_an_older_version_tell_of_no_batches(tmp_path: Path) -> None:
    """An input column that is called like ours is none."""
    work = Work(tmp_path).write([{"text": f"question {n}", "batch_id": n} for n in range(2)])
    work.answer([0, 1], lambda task: [sent(task, batch="batch_7"), answered(task), done(task)])
    work.publish()
    assert read_totals(work.run.results).ways["batch"].rows == 2
    (part,) = work.run.results.glob("*.parquet")
    older = without_batch(pq.read_table(part)).rename_columns({"input_batch_id": "batch_id"})
    write_parquet([older], part, older.schema)
    assert read_totals(work.run.results).ways == {}


def test_a_newer_folder_is_left_alone(tmp_path: Path) -> None:
    """Every verb ends with 2 and says which version wrote it; nothing is asked for or changed."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        identity = job.checkpoint / "job.json"
        identity.write_text('{"name": "job", "format": 99}')
        for verb in ("submit", "status", "show", "gc"):
            ended = batchrun(verb, str(job.job))
            assert ended.code == 2, verb
            assert "newer batchrun (format 99, this one reads up to" in ended.err, verb
        assert "99" in identity.read_text()
        assert len(job.calls()) == 3


def test_a_newer_part_and_an_unknown_record_are_refused(tmp_path: Path) -> None:
    """Passing over what we cannot read could lose an answer, or pay for it twice."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        journal = job.checkpoint / "journal-000009.log"
        strange = encode(Header(FORMAT_VERSION)).replace(b"journal", b"novelty")[9:-1]
        journal.write_bytes(encode(Header(FORMAT_VERSION)) + b"%08x %b\n" % (zlib.crc32(strange), strange))
        with pytest.raises(RunFolderError, match=r"(?s)journal-000009\.log:2: .*novelty.*newer batchrun"):
            job.submit_here()
        journal.unlink()
        (path,) = sealed_parts(job.checkpoint).values()
        table = pq.read_table(path)
        write_parquet([table], path, table.schema.with_metadata({b"batchrun.format": b"99"}))
        with pytest.raises(RunFolderError, match="newer batchrun"):
            job.submit_here()
        assert len(job.calls()) == 3


@pytest.mark.parametrize("text", [b"{}", b'{"sent": 1}', b'{"answer": 1, "call": 0, "at": 0}', b"[]", b"7"])
def test_a_record_that_lacks_what_it_needs_is_unknown(text: bytes) -> None:
    """Its checksum is right: nothing damaged it."""
    with pytest.raises(UnknownRecordError):
        decode(b"%08x %b" % (zlib.crc32(text), text))


def test_a_folder_of_the_first_version_is_marked_as_ours(tmp_path: Path) -> None:
    """So that an older batchrun of versions to come does not take it for its own."""
    run = RunFolder(tmp_path / "run")
    run.claim("job")
    run.identity_path.write_text('{"name": "job"}')
    run.require()
    run.claim("job")
    run.stamp()
    assert f'"format":{FORMAT_VERSION}' in run.identity_path.read_text()


@pytest.mark.parametrize("verb", ["submit", "gc"])
def test_the_mark_waits_for_the_lock(verb: str, tmp_path: Path) -> None:
    """The run that holds it may be an older version's: it goes on reading the folder as it knows it."""
    with simulated(tmp_path, rows=2) as job:
        job.submit_here()
        identity = job.checkpoint / "job.json"
        identity.write_text(first := '{"name": "job"}')
        words = (verb, str(job.job), *(["--yes"] if verb == "gc" else []))
        with locked(job.checkpoint / "lock"):
            refused = batchrun(*words)
        assert (refused.code, identity.read_text()) == (5, first)
        assert batchrun(*words).code == 0
        assert f'"format":{FORMAT_VERSION}' in identity.read_text()


@pytest.mark.parametrize(
    "name", ["kept.parquet", "shared.parquet", "spent.json", "sealed-000001.parquet", "job.json"]
)
def test_a_damaged_file_of_decisions_is_named(name: str, tmp_path: Path) -> None:
    """It cannot be made anew: the command says what it means to go on without it, and asks for nothing."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        (job.checkpoint / name).write_bytes(b"\0 not what it was")
        with pytest.raises(RunFolderError, match=rf"(?s){name} is damaged.*Restore it from a copy"):
            job.submit_here()
        assert len(job.calls()) == 3


@pytest.mark.parametrize("damage", [None, b"[1]"])
@pytest.mark.parametrize(
    "name", ["index.json", "index.parquet", "published.json", "types.arrow", "admitted.json"]
)
def test_a_file_that_can_be_made_anew_is(name: str, damage: bytes | None, tmp_path: Path) -> None:
    """Missing or damaged: nothing is asked for again, and the results are there."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        before = job.results()
        if damage is None:
            (job.checkpoint / name).unlink(missing_ok=True)
        else:
            (job.checkpoint / name).write_bytes(damage)
        assert job.submit_here().ok == 3
        assert job.results().equals(before)
        assert len(job.calls()) == 3


def test_without_the_choice_to_keep_answers_submit_asks_for_it_again(tmp_path: Path) -> None:
    """A missing `kept.parquet` makes the rows changed ones, which costs nothing by itself."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        job.submit_here(keep_changed=True)
        (job.checkpoint / "kept.parquet").unlink()
        with pytest.raises(ChangedRowsError, match=r"^3 finished rows"):
            job.submit_here()
        assert len(job.calls()) == 3
