"""`order: prefix`: prompts that begin alike go out together, and results keep the input's order."""

from __future__ import annotations

import json
import random
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.answer.task import Task
from batchrun.engines.spool import spooled, written
from batchrun.engines.tasks import Assigner, Chains
from batchrun.errors import StorageError
from batchrun.index.prefix import BOUNDARIES, prefix_key
from batchrun.outcome import Error
from batchrun.survey.survey import to_do
from tests.run_folder.answering import Work
from tests.run_folder.recorded import done, sent, write_journal
from tests.runs import JobFolder, simulated

WORDS = random.Random(1)


def text(size: int) -> str:
    """Text of its own, of so many bytes, in words of three letters."""
    return " ".join("".join(WORDS.choices("abcdefghijklm", k=3)) for _ in range(size // 4 + 1))[:size]


def key(*contents: str) -> int:
    return prefix_key([{"role": "user", "content": content} for content in contents])


def runs(keys: list[tuple[int, Any]]) -> list[Any]:
    """The groups in the order of their keys: a group that is together stands here once."""
    return [group for group, _ in groupby(group for _, group in sorted(keys))]


@pytest.mark.parametrize(
    ("common", "own"),
    [(0, 4_000), (0, 60_000), (4_400, 3_600), (4_400, 8_000), (1_000, 1_000), (12_000, 12_000)],
)
def test_texts_that_many_rows_ask_about_are_together(common: int, own: int) -> None:
    """Three documents after what all prompts have in common, and a hundred questions to each."""
    rules = text(common)
    documents = [rules + text(own) for _ in range(3)]
    keys = [(key(documents[n % 3] + text(200)), n % 3) for n in range(300)]
    assert sorted(runs(keys)) == [0, 1, 2]


def test_growing_conversations_are_neighbours() -> None:
    """What begins alike for longer is nearer."""
    first, second = [text(3_000) for _ in range(4)], [text(3_000) for _ in range(4)]
    keys = [(key(*texts[:turns]), at) for at, texts in enumerate((first, second)) for turns in range(1, 5)]
    random.Random(2).shuffle(keys)
    assert sorted(runs(keys)) == [0, 1]


def test_the_role_counts() -> None:
    """A cache goes by all that a model reads."""
    content = text(5_000)
    assert prefix_key([{"role": "user", "content": content}]) != prefix_key(
        [{"role": "system", "content": content}]
    )


@given(st.text(max_size=50), st.text(max_size=50), st.integers(0, 7))
def test_prompts_that_are_alike_up_to_a_boundary_have_the_same_first_bytes(
    one: str, other: str, level: int
) -> None:
    """And a prompt that ends before a boundary has 0 from there on."""
    common = "x" * BOUNDARIES[level]
    mask = ~((1 << 8 * (7 - level)) - 1)
    assert key(common + one) & mask == key(common + other) & mask
    assert key(one) == 0


def test_what_is_spooled_comes_in_the_order_that_is_wanted(tmp_path: Path) -> None:
    """And leaves no file, not while it is read either."""
    found = spooled((f"item {n}" for n in range(5)), [3, 1, 4, 0, 2], tmp_path)
    assert next(found) == "item 3"
    assert list(tmp_path.iterdir()) == []
    assert list(found) == ["item 1", "item 4", "item 0", "item 2"]


def test_a_full_disk_ends_the_run_with_its_name() -> None:
    """What was received is kept, and the message says what to do."""
    with (
        Path("/dev/full").open("wb") as full,
        pytest.raises(StorageError, match="runs/job: the disk is full"),
    ):
        written(["x" * 100_000], full, Path("runs/job"))


ROWS = [{"id": f"r{n}", "text": "abc"[n % 3] * 3_000 + f" question {n}"} for n in range(30)]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Thirty rows about three texts in turn."""
    work = Work(tmp_path).write(ROWS)
    work.sections |= {"order": "prefix", "input": {"path": "rows.jsonl", "id": "id"}}
    return work


def asked(work: Work, limit: int | None = None) -> list[Task]:
    found = work.survey()
    rows = to_do(found.states(), rerun_changed=False)
    return list(Assigner(found, Chains((0,))).tasks(rows if limit is None else rows.head(limit)))


def test_tasks_come_text_by_text(work: Work) -> None:
    """In input order within a text; each is the task that its row has in input order."""
    found = asked(work)
    assert sorted(task.row for task in found) == list(range(30))
    assert len(list(groupby(task.row % 3 for task in found))) == 3
    work.sections["order"] = "input"
    in_order = asked(work)
    assert [task.row for task in in_order] == list(range(30))
    for task in found:
        twin = in_order[task.row]
        assert (task.number, task.row_id, task.key) == (twin.number, twin.row_id, twin.key)
        assert not isinstance(task.request, Error)
        assert not isinstance(twin.request, Error)
        assert task.request.body(0) == twin.request.body(0)


def test_a_limit_takes_the_first_rows_of_the_input(work: Work) -> None:
    """They go out in the order of their prompts."""
    assert sorted(task.row for task in asked(work, 6)) == [0, 1, 2, 3, 4, 5]
    assert len(list(groupby(task.row % 3 for task in asked(work, 6)))) == 3


def test_rows_that_were_under_way_or_had_failed_go_on(work: Work) -> None:
    """With the records and the attempts that they have."""
    work.answer([4], lambda task: [sent(task), done(task, "timeout")])
    first = {task.row: task for task in asked(work)}[5]
    record = sent(50)
    named = {"row": 5, "key": first.key, "request_hash": first.request_hash}
    record = type(record)(**{**{n: getattr(record, n) for n in record.__dataclass_fields__}, **named})
    write_journal(work.run.checkpoint_path, 2, [record])
    again = {task.row: task for task in asked(work)}
    assert (again[5].number, again[5].history.sent) == (50, {0: record})
    assert again[4].earlier is not None
    assert len(again[4].earlier["attempts"]) == 1


def test_bad_rows_have_their_turn_too(work: Work) -> None:
    """They come first."""
    work.write([*ROWS[:3], "no json", {"id": "x"}])
    errors = [task.request.type if isinstance(task.request, Error) else None for task in asked(work)]
    assert errors == ["bad_row", "render", None, None, None]


def test_the_index_takes_eight_bytes_more(work: Work) -> None:
    """For the key of the prompt's beginning; another order reads the input again."""
    assert work.survey().rows.estimated_size() == 32 * 30
    work.sections["order"] = "input"
    assert work.survey().rows.estimated_size() == 24 * 30


def long_rows(job: JobFolder, rows: int, texts: int = 3) -> None:
    """Questions about so many long texts in turn."""
    long = [f"{which}: {text(6_000)}" for which in range(texts)]
    with job.rows.open("w") as file:
        for n in range(rows):
            file.write(json.dumps({"id": f"r{n}", "n": n, "text": f"{long[n % texts]} question {n}"}) + "\n")


def test_a_run_asks_text_by_text_and_publishes_in_input_order(tmp_path: Path) -> None:
    """Also after an end in the middle."""
    with simulated(tmp_path, rows=0, order="prefix") as job:
        long_rows(job, 90)
        job.submit_here("endpoints.local.limits.concurrency=1", limit=30)
        summary = job.submit_here("endpoints.local.limits.concurrency=1")
        assert (summary.ok, summary.pending) == (90, 0)
        texts = [call.prompt[0] for call in job.calls()]
        assert [len(list(groupby(part))) for part in (texts[:30], texts[30:])] == [3, 3]
        assert job.results()["n"].to_list() == list(range(90))
        assert job.results().select(pl.col("row_index").is_sorted()).item()


def test_prompts_that_begin_alike_find_their_beginning_in_the_cache(tmp_path: Path) -> None:
    """With 40 texts in turn, and a cache that keeps one for the time of some calls."""
    cached = {}
    for order in ("input", "prefix"):
        (folder := tmp_path / order).mkdir()
        config = {
            "cache": {"tokens": 1024, "seconds": 0.25},
            "latency": {"kind": "constant", "seconds": 0.02},
        }
        with simulated(folder, rows=0, order=order, config=config) as job:
            long_rows(job, 90, texts=30)
            job.submit_here("endpoints.local.limits.concurrency=2")
            cached[order] = job.run_json()["usage"]["cached_tokens"]
            assert job.results()["n"].to_list() == list(range(90))
    # 60 of 90 prompts could find theirs, 1,500 tokens each; two are under way at a time
    assert cached["prefix"] > 20 * 1_024
    assert cached["prefix"] > 5 * cached["input"]
