"""The rows that a plan shows as they would be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrun import codec
from batchrun.errors import UsageError
from batchrun.planning import Plan, examples
from tests.planning.planning import asking, job_of, planned
from tests.runs import simulated


def rows(number: int, longest: int) -> Iterator[dict[str, object]]:
    for at in range(number):
        yield {"id": f"r{at}", "text": "long " * 50 if at == longest else f"row {at}"}


def shown(plan: Plan) -> list[tuple[str, str]]:
    return [(example.row_id, example.why) for example in plan.examples]


@pytest.mark.parametrize(
    ("number", "longest", "expected"),
    [
        (30, 17, [("r0", "first"), ("r17", "longest"), ("r10", "further")]),
        (30, 10, [("r0", "first"), ("r10", "longest"), ("r11", "further")]),
        (30, 0, [("r0", "first and longest"), ("r10", "further"), ("r20", "further")]),
        (3, 1, [("r0", "first"), ("r1", "longest"), ("r2", "further")]),
        (2, 1, [("r0", "first"), ("r1", "longest")]),
        (1, 0, [("r0", "first and longest")]),
        (0, 0, []),
    ],
)
def test_the_first_the_longest_and_a_further_row(
    tmp_path: Path, number: int, longest: int, expected: list[tuple[str, str]]
) -> None:
    """Three different rows where there are so many; the longest one is found wherever it stands."""
    assert shown(planned(job_of(tmp_path, rows(number, longest)))) == expected


def test_the_longest_says_how_long_it_is(tmp_path: Path) -> None:
    """In estimated tokens, as the facts of the plan have it too."""
    plan = planned(job_of(tmp_path, rows(30, 17)))
    assert plan.examples[1].prompt_tokens == plan.facts.longest_tokens == 250 // 4 + 1
    assert plan.facts.longest == 17


def test_rows_that_are_not_asked_are_no_examples(tmp_path: Path) -> None:
    """Of a run that goes on the examples are those to come; of a finished one any."""
    with simulated(tmp_path, rows=30) as job:
        job.submit_here(limit=10)
        assert [row for row, _ in shown(planned(job))] == ["r000010", "r000016", "r000023"]
        job.submit_here()
        assert planned(job).examples[0].row_id == "r000000"


def test_rows_that_cannot_be_rendered_are_no_examples(tmp_path: Path) -> None:
    """The next ones take their places."""
    table = [{"id": f"r{at}"} | ({"text": f"row {at}"} if at % 2 else {}) for at in range(12)]
    assert [row for row, _ in shown(planned(job_of(tmp_path, table)))] == ["r1", "r5", "r9"]


def test_the_first_is_the_one_that_is_asked_first(tmp_path: Path) -> None:
    """Which `order: prefix` changes."""
    one_by_one = {"local": {"limits": {"concurrency": 1}}}
    with simulated(tmp_path, rows=1, order="prefix", endpoints=one_by_one) as job:
        table = [{"id": f"r{at}", "text": f"{'abcdef'[at % 6] * 3_000} {at}"} for at in range(30)]
        job.rows.write_text("".join(json.dumps(row) + "\n" for row in table))
        first = planned(job).examples[0]
        job.submit_here()
        assert first.request["messages"][0]["content"].startswith(job.calls()[0].prompt)
    assert first.row_id != "r0"


def test_far_into_the_input_only_the_longest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stand near the first."""
    monkeypatch.setattr(examples, "_WITHIN", 9)
    plan = planned(job_of(tmp_path, rows(3_000, 2_990)))
    assert shown(plan) == [("r0", "first"), ("r2990", "longest"), ("r3", "further")]


def test_one_row_by_its_id(tmp_path: Path) -> None:
    """In place of the three."""
    plan = planned(job_of(tmp_path, rows(30, 17)), example="r7")
    assert shown(plan) == [("r7", "chosen")]
    assert plan.examples[0].request["messages"] == [{"role": "user", "content": "row 7"}]


def test_a_row_that_is_never_asked_says_why(tmp_path: Path) -> None:
    """Instead of showing nothing."""
    job = job_of(tmp_path, [{"id": "a", "text": "b"}, {"id": "c"}], prompt=asking("{{ text }}"))
    with pytest.raises(UsageError, match=r"nothing is asked for the row 'c': rows\.jsonl:2: prompt"):
        planned(job, example="c")


def test_an_index_without_the_longest_row_will_do(tmp_path: Path) -> None:
    """As earlier versions have kept it: three rows are shown all the same."""
    with simulated(tmp_path, rows=30) as job:
        job.submit_here(limit=1)
        kept = job.checkpoint / "index.json"
        about = json.loads(kept.read_text())
        del about["digest"], about["facts"]["longest"], about["facts"]["longest_tokens"]
        kept.write_text(json.dumps({**about, "digest": codec.digest(codec.canonical(about))}))
        assert [why for _, why in shown(planned(job))] == ["first", "further", "further"]
