"""Answers that arrived in quite another order than their rows', sorted once for a publication."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from batchrun.errors import StorageError
from batchrun.run_folder.checkpoint import gathered
from batchrun.run_folder.checkpoint.gathered import Gathered, answers_of_rows, is_scattered, portions
from batchrun.run_folder.checkpoint.sealed import PartReader
from tests.run_folder.answering import Work, large
from tests.run_folder.recorded import answered, body, done, reply, sent
from tests.small_files import files_of_at_most

COLUMNS = ["row_id", "completion", "request_hash"]


@pytest.mark.parametrize(
    ("scattered", "order"), [(False, range(20_000)), (False, range(19_999, -1, -1)), (True, None)]
)
def test_answers_are_scattered_when_results_parts_share_most_sealed_parts(
    scattered: bool, order: range | None
) -> None:
    """Neither input order nor its reverse is."""
    places = random.Random(1).sample(range(20_000), 20_000) if order is None else list(order)
    parts = pl.Series([place // 1_500 for place in places])
    assert is_scattered(parts.slice(start, 1_000) for start in range(0, 20_000, 1_000)) is scattered


def test_nothing_is_scattered_where_there_is_nothing() -> None:
    """No results part needs anything."""
    assert is_scattered([]) is False


@pytest.mark.parametrize(("size", "lengths"), [(100, [20]), (2_000_000, [4, 4, 4, 4, 4])])
def test_large_answers_are_read_a_few_at_a_time(tmp_path: Path, size: int, lengths: list[int]) -> None:
    """By the bytes that their parts' row groups take, and each portion says its own."""
    work = Work(tmp_path).write({"text": f"text {n}"} for n in range(20))
    work.answer(range(10), large(size))
    work.answer(range(19, 9, -1), large(size))
    states = work.survey().states()
    found = list(portions(states, PartReader(work.run.checkpoint_path, COLUMNS), 500))
    assert [len(rows) for rows, _size in found] == lengths
    assert pl.concat(rows for rows, _size in found).equals(states)
    assert all(len(rows) * size < told < len(rows) * (2 * size + 30_000) for rows, told in found)


def test_a_full_disk_leaves_no_file_of_the_sorting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of answers of which some were written already: what they take is what the disk has not."""
    monkeypatch.setattr(gathered, "RUN_BYTES", 1)
    monkeypatch.setattr(gathered, "AT_ONCE", 4)
    noise = body(random.Random(1).randbytes(100_000).hex())
    work = Work(tmp_path).write({"text": f"text {n}"} for n in range(8))
    work.answer(range(4))
    work.answer(range(4, 8), lambda task: [sent(task), answered(task, exchange=reply(noise)), done(task)])
    states, folder = work.survey().states(), tmp_path / "gathered"
    parts = PartReader(work.run.checkpoint_path, COLUMNS)
    with (
        files_of_at_most(50_000),
        pytest.raises(StorageError, match=r"cannot write to .*sealed-000002.parquet"),
    ):
        Gathered(states, parts, COLUMNS, folder)
    assert not folder.exists()


@pytest.mark.parametrize("run_bytes", [1, 10_000_000])
def test_gathered_answers_are_those_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int
) -> None:
    """In one file or several; an answer that two rows show is there for both, and no file stays."""
    monkeypatch.setattr(gathered, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(gathered, "AT_ONCE", 7)
    work = Work(tmp_path).write({"id": f"r{n}", "text": f"text {n % 30}"} for n in range(40))
    work.sections |= {"dedupe": True, "input": {"path": "rows.jsonl", "id": "id"}}
    order = random.Random(1).sample(range(30), 30)
    for at in range(0, 30, 10):
        work.answer(order[at : at + 10])
    states = work.survey().states()
    parts, folder = PartReader(work.run.checkpoint_path, COLUMNS), tmp_path / "gathered"
    expected = answers_of_rows(states, parts)
    found = Gathered(states, parts, COLUMNS, folder)
    assert len(list(folder.iterdir())) == (6 if run_bytes == 1 else 1)
    assert answers_of_rows(found.rows, found.parts).equals(expected)
    assert expected.column("row_id").to_pylist() == [f"r{n % 30}" for n in range(40)]
    same = [name for name in states.columns if name not in ("part", "position")]
    assert found.rows.select(same).equals(states.select(same))
    found.close()
    assert not folder.exists()
