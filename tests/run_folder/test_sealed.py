"""Sealed parts: finished tasks as Parquet, read by columns, by rows, and back as records."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.codec import hash_prefix
from batchrun.errors import StorageError
from batchrun.outcome import Completed
from batchrun.run_folder.checkpoint.row_groups import sliced
from batchrun.run_folder.checkpoint.sealed import (
    ANSWERS_SCHEMA,
    SEALED_SCHEMA,
    JournalContents,
    PartReader,
    histories,
    read_answers,
    schema_with,
    seal,
    sealed_parts,
    write_parquet,
)
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.records import Admitted, Record
from tests.run_folder.recorded import (
    LOST,
    answered,
    asked,
    body,
    done,
    history,
    reply,
    request_hash,
    sent,
    write_journal,
)
from tests.small_files import files_of_at_most


def tasks(numbers: range) -> list[History]:
    """Finished tasks, each of the row of its number, in any order."""
    found = [history(asked(task, body(f"answer {task}"))) for task in numbers]
    random.Random(1).shuffle(found)
    return found


def test_a_part_holds_results_identity_and_records_sorted_by_row(tmp_path: Path) -> None:
    """As many rows as given, under the number given, for the owner's eyes alone."""
    path = seal(tasks(range(2500)), tmp_path, 7)
    assert path == tmp_path / "sealed-000007.parquet"
    file = pq.ParquetFile(path)
    assert file.schema_arrow.equals(SEALED_SCHEMA)
    assert SEALED_SCHEMA.names[: len(RESULT_SCHEMA.names)] == RESULT_SCHEMA.names
    table = file.read()
    assert table["row_index"].to_pylist() == list(range(2500))
    assert table["completion"][1234].as_py() == "answer 1234"
    assert table["_hash"][5].as_py() == hash_prefix(request_hash(5))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_records_come_back_from_a_part(tmp_path: Path) -> None:
    """With the raw bodies, byte by byte."""
    raw = b'{"choices": [{"message": {"content": "\xc3\xa9"}}] }'
    seal([history(asked(1, raw))], tmp_path, 1)
    (found,) = histories(pq.read_table(tmp_path / "sealed-000001.parquet"))
    assert found == history(asked(1, raw))
    assert found.answered[0].exchange == reply(raw)


def test_nothing_finished_gives_no_part(tmp_path: Path) -> None:
    """An empty file would be read for ever."""
    assert seal([], tmp_path, 1) is None
    assert list(tmp_path.iterdir()) == []


def test_sealing_twice_gives_the_same_part(tmp_path: Path) -> None:
    """A submit that was killed between sealing and removing the journal seals it again."""
    path = write_journal(tmp_path, 3, [record for task in range(20) for record in asked(task)])
    first = seal(JournalContents(path).finished, tmp_path, 3)
    before = first.read_bytes() if first else b""
    seal(JournalContents(path).finished, tmp_path, 3)
    assert first is not None
    assert first.read_bytes() == before


def test_what_is_done_is_read_from_all_parts(tmp_path: Path) -> None:
    """Part, position, task, key, hash and how it ended."""
    seal([history(asked(2)), history([done(1, "render")])], tmp_path, 1)
    seal([history(asked(3))], tmp_path, 2)
    found = read_answers(tmp_path)
    assert found.schema == ANSWERS_SCHEMA
    assert found.drop("key", "hash").rows() == [
        (1, 0, 1, False, "render"),
        (1, 1, 2, True, None),
        (2, 0, 3, True, None),
    ]
    assert found["key"].to_list() == [1, 2, 3]
    assert found["hash"].to_list() == [hash_prefix(request_hash(task)) for task in (1, 2, 3)]


def test_no_parts_are_no_answers(tmp_path: Path) -> None:
    """With the same columns."""
    (tmp_path / "sealed-1.parquet").touch()
    assert sealed_parts(tmp_path) == {}
    assert read_answers(tmp_path).schema == ANSWERS_SCHEMA


def group_sizes(path: Path) -> list[int]:
    """The rows of each row group of a part."""
    about = pq.read_metadata(path)
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]


@pytest.mark.parametrize(("size", "rows", "expected"), [(10, 1200, [1200]), (3_000_000, 3, [1, 1, 1])])
def test_row_groups_are_of_some_megabytes(tmp_path: Path, size: int, rows: int, expected: list[int]) -> None:
    """Large answers are never held together, and small ones cost no group of a few."""
    finished = [history(asked(row, body("x" * size))) for row in range(rows)]
    path = seal(finished, tmp_path, 1)
    assert path is not None
    assert group_sizes(path) == expected


@pytest.mark.parametrize("kept", [1, 1_000_000])
@pytest.mark.parametrize("group_rows", [500, 1000, 3100])
def test_rows_are_taken_in_the_order_asked_for(tmp_path: Path, group_rows: int, kept: int) -> None:
    """Over row groups of any size and parts, again and again, whatever of them is still in memory."""
    path = seal(tasks(range(3100)), tmp_path, 1)
    assert path is not None
    table = pq.read_table(path, schema=SEALED_SCHEMA)
    write_parquet(sliced(table, group_rows), path, schema_with({}))
    seal(tasks(range(5000, 5100)), tmp_path, 2)
    reader = PartReader(tmp_path, ["row_index", "completion"], kept=kept)
    chosen = [0, 1, 499, 500, 501, 2999, 3000, 3099]
    for _ in range(2):
        table = reader.take(1, chosen)
        assert table.column_names == ["row_index", "completion"]
        assert table["row_index"].to_pylist() == chosen
        assert table["completion"].to_pylist() == [f"answer {row}" for row in chosen]
        assert reader.take(2, [7])["row_index"].to_pylist() == [5007]
    reader.close()


def test_a_journal_is_read_into_finished_and_unfinished_tasks(tmp_path: Path) -> None:
    """With what the rate windows held, what was sent since, and the refusals that may hold a Retry-After."""
    refusal = answered(2, 0, reply(b"{}", 429, retry_after="30"))
    records: list[Record] = [
        Admitted({"a": 1}),
        sent(2),
        sent(1),
        refusal,
        answered(1),
        sent(2, 1),
        done(1),
        sent(3),
        answered(3, 0, LOST),
        done(4, "render"),
    ]
    found = JournalContents(write_journal(tmp_path, 1, records))
    assert [item.done.task for item in found.finished if item.done] == [1, 4]
    assert found.unfinished.keys() == {2, 3}
    assert found.unfinished[2].sent.keys() == {0, 1}
    assert found.admitted == {"a": 1}
    assert [(item.task, item.call) for item in found.sent] == [(2, 0), (1, 0), (2, 1), (3, 0)]
    assert found.back_offs == [(sent(2), refusal)]
    assert list(found.damage) == []


def test_what_the_end_of_a_journal_says_of_the_windows_counts_all_calls_before_it(tmp_path: Path) -> None:
    """A stop leaves a call without an answer: it is in there too, and must not be charged twice."""
    refusal = answered(2, 0, reply(b"{}", 429, retry_after="30"))
    records: list[Record] = [Admitted({"a": 1}), sent(1), sent(2), refusal, Admitted({"a": 2})]
    found = JournalContents(write_journal(tmp_path, 1, [*records, sent(3)]))
    assert found.admitted == {"a": 2}
    assert ([item.task for item in found.sent], found.back_offs) == ([3], [])
    assert found.unfinished.keys() == {1, 2, 3}


def damaged(path: Path, line: int) -> JournalContents:
    """What is left of a journal when one line (from 0, the header) is damaged."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line][:30] + b"!" + lines[line][31:]
    path.write_bytes(b"".join(lines))
    return JournalContents(path)


def test_an_outcome_whose_answer_is_lost_is_none(tmp_path: Path) -> None:
    """Its row is asked again: an ok row without a completion would be a lie. The next outcome counts."""
    found = damaged(write_journal(tmp_path, 1, asked(1)), 2)
    assert found.finished == []
    assert found.unfinished[1].done is None
    assert found.unfinished[1].sent == {0: sent(1)}
    path = write_journal(tmp_path, 2, [])
    again: list[Record] = [sent(1, 1), answered(1, 1), done(1, Completed(1))]
    lines = [*found.unfinished[1].lines, *history(again).lines]
    path.write_bytes(path.read_bytes() + b"".join(lines))
    assert [item.done for item in JournalContents(path).finished] == [done(1, Completed(1))]


def test_an_answer_whose_call_is_lost_counts_when_its_row_was_finished(tmp_path: Path) -> None:
    """And no refusal without its call can stop the folder from being read."""
    found = damaged(write_journal(tmp_path, 1, asked(1)), 1)
    assert len(found.finished) == 1
    refused: list[Record] = [sent(1), answered(1, 0, reply(b"{}", 429)), sent(1, 1)]
    found = damaged(write_journal(tmp_path, 2, refused), 1)
    assert found.back_offs == []
    assert found.unfinished[1].answered == {}, "nobody knows which model gave it"


def test_a_lost_outcome_leaves_the_answer_to_be_found_again(tmp_path: Path) -> None:
    """The row is not asked again: its answer is there."""
    found = damaged(write_journal(tmp_path, 1, asked(1)), 3)
    assert found.unfinished[1].answered == {0: answered(1)}


def test_a_parquet_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Groups that fail half-way leave what was there before."""
    schema = pa.schema([("a", pa.int64())])
    path = tmp_path / "a.parquet"
    write_parquet([pa.table({"a": [1]}, schema)], path, schema)

    def failing() -> Iterator[pa.Table]:
        yield pa.table({"a": [2]}, schema)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        write_parquet(failing(), path, schema)
    assert pq.read_table(path)["a"].to_pylist() == [1]
    write_parquet([], path, schema)
    assert pq.read_table(path).num_rows == 0


def test_a_full_disk_is_told_as_such_and_leaves_no_rubbish(tmp_path: Path) -> None:
    """The run stops as resumable, and the half-written file gives its room back."""
    schema = pa.schema([("a", pa.binary())])
    noise = pa.table({"a": [random.Random(1).randbytes(200_000)]}, schema)
    with (
        files_of_at_most(50_000),
        pytest.raises(StorageError, match=r"cannot write to .*a.parquet") as caught,
    ):
        write_parquet([noise], tmp_path / "a.parquet", schema)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []
