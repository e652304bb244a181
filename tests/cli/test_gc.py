"""gc drops answers that no row stands for, and nothing else, whenever it is cut short."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batchrun import gc
from batchrun.job import load_job
from batchrun.run_folder.checkpoint.sealed import sealed_parts, write_parquet
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run
from tests.cli.conftest import NewJob
from tests.commands import batchrun
from tests.run_folder.answering import Work, large
from tests.runs import JobFolder

OTHER_PROMPT = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}


def edited(job: JobFolder) -> str:
    """Answer the rows, edit the prompt, answer them again in three submits; gives the older job file."""
    batchrun("submit", "job.yaml", cwd=job.folder)
    original = job.job.read_text()
    job.edit(prompt=OTHER_PROMPT)
    for _ in range(3):
        batchrun("submit", "job.yaml", "--rerun-changed", "--limit", "1", cwd=job.folder)
    assert len(sealed_parts(job.checkpoint)) == 4
    return original


def test_gc_shows_and_gc_yes_does(new_job: NewJob) -> None:
    """Without --yes nothing changes; with it older answers are gone, small parts merged, results the same."""
    job = new_job()
    original = edited(job)
    results = job.results()
    shown = batchrun("gc", "job.yaml", cwd=job.folder)
    assert "would drop 3 answers, keep 3 and merge 4 small parts" in shown.out
    assert "batchrun gc job.yaml --yes" in shown.out
    assert len(sealed_parts(job.checkpoint)) == 4
    done = batchrun("gc", "job.yaml", "--yes", "--json", cwd=job.folder).json
    assert (done["answers"], done["kept"], done["done"]) == (3, 3, True)
    assert done["bytes_after"] < done["bytes"]
    assert len(sealed_parts(job.checkpoint)) == 1
    again = batchrun("submit", "job.yaml", "--json", cwd=job.folder).json
    assert (again["submit"]["calls"], again["ok"]) == (0, 3)
    assert job.results().equals(results)
    assert "merge" not in batchrun("gc", "job.yaml", cwd=job.folder).out
    assert "would drop nothing" in batchrun("gc", "job.yaml", cwd=job.folder).out
    job.job.write_text(original)
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 6


def test_answers_of_removed_rows_are_dropped(new_job: NewJob) -> None:
    """A row taken out of the input leaves its answer in the checkpoint until gc."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    job.rows.write_text("".join(job.rows.read_text().splitlines(keepends=True)[1:]))
    assert "dropped 1 answer, kept 2" in batchrun("gc", "job.yaml", "--yes", cwd=job.folder).out


def test_parts_of_large_answers_are_not_merged(tmp_path: Path) -> None:
    """Those of some MB are, as long as they are no more than 64 MB together; the results stay the same."""
    work = Work(tmp_path).write({"text": f"text {n}"} for n in range(9))
    for first in (0, 3, 6):
        work.answer(range(first, first + 3), large(6_000_000 if first else 100))
    work.publish()
    results = work.results()
    assert gc.preview(work.job).small == 2
    assert gc.collect(work.job).answers == 0
    rows = [pq.read_metadata(path).num_rows for path in sealed_parts(work.run.checkpoint_path).values()]
    assert rows == [6, 3]
    work.publish()
    assert work.results().equals(results)


def test_dropped_answers_leave_the_others_in_their_places(tmp_path: Path) -> None:
    """Also those of later row groups of a part."""
    rows = [{"text": f"text {n}"} for n in range(9)]
    work = Work(tmp_path).write(rows)
    work.answer(range(9), large(3_000_000))
    (part,) = sealed_parts(work.run.checkpoint_path).values()
    assert pq.read_metadata(part).num_row_groups > 3
    work.write([*rows[1:3], *rows[6:]])
    assert gc.collect(work.job).answers == 4
    work.publish()
    assert [text[:8] for text in work.results()["completion"]] == [f"answer {n}" for n in (2, 3, 7, 8, 9)]


class CutShortError(Exception):
    """The moment at which a test kills."""


@pytest.mark.long
@pytest.mark.parametrize("steps", range(6))
def test_gc_can_be_cut_short_anywhere(new_job: NewJob, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Whatever change to a file is the last one, no answer is lost, none counts twice, and gc can finish.

    Neither does what was spent: 6 calls were sent.
    """
    job = new_job()
    edited(job)
    spent = batchrun("submit", "job.yaml", "--json", cwd=job.folder).json["spent"]
    assert spent["requests"] == 6
    loaded = load_job(job.job, env={}, cwd=job.folder)
    results = job.results()
    left = iter(range(steps))

    def counting(real: object) -> object:
        def change(*args: object, **options: object) -> object:
            if next(left, None) is None:
                raise CutShortError
            return real(*args, **options)  # type: ignore[operator]  # any of the functions below

        return change

    # a patch, because the moment between two changes cannot be met from outside
    monkeypatch.setattr(gc, "write_parquet", counting(write_parquet))
    monkeypatch.setattr(Path, "unlink", counting(Path.unlink))
    try:
        gc.collect(loaded)
    except CutShortError:
        pass
    else:
        assert steps == 5, "gc takes more steps than this"
    monkeypatch.undo()
    assert scan_run(RunFolder(job.run)).collect().equals(results)
    again = batchrun("submit", "job.yaml", "--json", cwd=job.folder).json
    assert (again["submit"]["calls"], again["ok"], again["spent"]) == (0, 3, spent)
    assert job.results().equals(results)
    batchrun("gc", "job.yaml", "--yes", cwd=job.folder)
    assert batchrun("gc", "job.yaml", "--json", cwd=job.folder).json["answers"] == 0
    assert batchrun("submit", "job.yaml", "--json", cwd=job.folder).json["spent"] == spent


def test_unfinished_askings_of_removed_rows_are_dropped(new_job: NewJob) -> None:
    """A call cut off by a kill is kept for its row, and dropped once the row is gone."""
    job = new_job()
    words = ("submit", "job.yaml", "--model", "local/slow")
    timeouts = ("--set", "retry.timeout.total=0.2", "--set", "retry.max_attempts=1")
    batchrun(*words, *timeouts, cwd=job.folder)
    journal = job.checkpoint / "journal-000009.log"
    lines = _unfinished(job, journal)
    assert lines
    model = ("--model", "local/slow")
    assert batchrun("gc", "job.yaml", *model, "--json", cwd=job.folder).json["unfinished"] == 0
    assert batchrun("gc", "job.yaml", *model, "--yes", cwd=job.folder).code == 0
    assert batchrun("status", "job.yaml", "--json", cwd=job.folder).json["possibly_paid"] == lines + 3
    job.rows.write_text("".join(job.rows.read_text().splitlines(keepends=True)[1:]))
    assert batchrun("gc", "job.yaml", *model, "--yes", "--json", cwd=job.folder).json["unfinished"] == 1


def _unfinished(job: JobFolder, journal: Path) -> int:
    """Leave the first row's call in a journal as a kill before its answer does; gives how many."""
    from batchrun.run_folder.checkpoint.sealed import PartReader, histories
    from batchrun.run_folder.journal.format_version import FORMAT_VERSION
    from batchrun.run_folder.journal.lines import encode
    from batchrun.run_folder.journal.records import Header, Sent

    part = min(sealed_parts(job.checkpoint))
    history = next(histories(PartReader(job.checkpoint, ["_records"]).take(part, [0])))
    sent = history.sent[0]
    record = Sent(
        99, 0, sent.row, sent.key, sent.request_hash, sent.model, sent.endpoint, 0, sent.at, sent.tokens
    )
    journal.write_bytes(encode(Header(FORMAT_VERSION)) + encode(record))
    return 1


def test_gc_says_its_command_with_the_model(new_job: NewJob) -> None:
    """The model that requests go to is part of what they are known by: without it, all would be dropped."""
    job = new_job()
    batchrun("submit", "job.yaml", "--model", "local/big", cwd=job.folder)
    job.rows.write_text("".join(job.rows.read_text().splitlines(keepends=True)[1:]))
    shown = batchrun("gc", "job.yaml", "--model", "local/big", cwd=job.folder)
    assert "would drop 1 answer, keep 2" in shown.out
    assert "batchrun gc job.yaml --model local/big --yes" in shown.out
