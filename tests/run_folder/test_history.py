"""The records of one task, put together again after damage."""

from __future__ import annotations

from pathlib import Path

from batchrun.outcome import Completed
from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Header, Record
from tests.run_folder.recorded import answered, done, reply, sent, write_journal


def test_an_outcome_whose_answer_is_lost_does_not_end_a_later_call_of_its_number(tmp_path: Path) -> None:
    """Damage took call 1 from the file; the next submit carries the task on and makes a new call 1."""
    refused = answered(1, 0, reply(b"{}", 503))
    write_journal(tmp_path, 1, [sent(1), refused, done(1, Completed(1))])
    carried = read_checkpoint(tmp_path).unfinished[1].lines
    assert carried == [encode(sent(1)), encode(refused)]
    anew: list[Record] = [sent(1, 1), answered(1, 1, reply(b"{}", 503))]
    path = tmp_path / "journal-000002.log"
    path.write_bytes(b"".join([encode(Header(1)), *carried, *map(encode, anew)]))
    found = read_checkpoint(tmp_path)
    assert found.unsealed == {}
    assert found.unfinished[1].answered.keys() == {0, 1}


def test_an_answer_whose_call_is_lost_does_not_answer_a_later_one(tmp_path: Path) -> None:
    """Damage took a call that failed, and its row goes on: the call made anew has the same number."""
    write_journal(tmp_path, 1, [sent(1), answered(1, 1, reply(b"{}", 503))])
    assert read_checkpoint(tmp_path).unfinished[1].lines == [encode(sent(1))]
