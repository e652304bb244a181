"""A run as it was seen: its rows stay the same while a submit goes on, and its journal is read once."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from batchrun.run_folder.journal.reading import journal_files
from batchrun.run_folder.results.read import rows_by_part, scan_seen, see
from tests.hostile import hostile_run
from tests.run_folder.answering import Work


def test_what_was_seen_stays_while_a_submit_publishes(tmp_path: Path) -> None:
    """A row that was not published then, and is now, stands there once."""
    work = Work(tmp_path).write([{"text": f"question {n}"} for n in range(3)])
    work.answer([0, 1])
    work.publish()
    work.answer([2])
    seen = see(work.run)
    before = scan_seen(seen).collect()
    assert before["row_id"].to_list() == ["0", "1", "2"]
    work.publish()
    assert scan_seen(seen).collect().equals(before)
    parts = pl.concat(part.select("row_id", "completion").collect() for part in rows_by_part(seen))
    assert parts.equals(before.select("row_id", "completion"))


def test_the_journal_is_read_once(tmp_path: Path) -> None:
    """However often its rows are: they are there when the file is not."""
    run = hostile_run(tmp_path / "run", ["a", "b"])
    seen = see(run)
    for journal in journal_files(run.checkpoint_path).values():
        journal.unlink()
    assert scan_seen(seen).collect().height == 7
    assert sum(part.collect().height for part in rows_by_part(seen)) == 7
