"""Runs against the right answers: how often they are right, and what they take for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.diff import Run, diff
from batchrun.diff.against_truth import MOST, Confusion, count, score
from batchrun.errors import UsageError
from batchrun.run_folder.folder import RunFolder
from tests.diff.comparing import LABELS, Answer, Failure, labels, run_of

GOLD = ["x", "x", "x", "y", "y", "z", None]


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    """Seven rows, for six of which the truth is known."""
    first = labels("x", "x", "y", "y", Failure(), "x", "x")
    second = labels("x", "x", "x", "y", "y", "w", "x")
    return [
        run_of(tmp_path / "a", first, schema=LABELS, columns={"gold": GOLD}),
        run_of(tmp_path / "b", second, schema=LABELS, columns={"gold": GOLD[::-1]}),
    ]


def scored(run: Run) -> tuple[int, int, int, float | None]:
    assert run.truth is not None
    return run.truth.rows, run.truth.right, run.truth.failed, run.truth.accuracy


def test_a_failed_row_is_wrong_and_one_without_a_truth_is_none(runs: list[RunFolder]) -> None:
    """The truth is that of the first run which has it, for all runs."""
    found = diff(runs, field="parsed.label", truth="gold")
    assert [scored(run) for run in found.runs] == [(6, 3, 1, 0.5), (6, 5, 0, 5 / 6)]
    assert found.truth == "gold"
    assert {example.row_id: example.truth for example in found.examples} == {"r2": "x", "r5": "z"}
    assert pl.concat(found.table.pieces())["truth"].to_list() == GOLD


def test_labels_have_precision_recall_and_f1(runs: list[RunFolder]) -> None:
    """By hand: `a` says x three times where a truth is known, twice rightly; the failed row it missed."""
    truth = diff(runs, field="parsed.label", truth="gold").runs[0].truth
    assert truth is not None
    told = {found.label: (found.rows, found.right, found.answered) for found in truth.labels}
    assert told == {"x": (3, 2, 3), "y": (2, 1, 2), "z": (1, 0, 0)}
    figures = {found.label: (found.precision, found.recall, found.f1) for found in truth.labels}
    assert figures == {"x": (2 / 3, 2 / 3, 2 / 3), "y": (0.5, 0.5, 0.5), "z": (None, 0.0, 0.0)}
    assert list(truth.confusions) == [
        Confusion("x", "x", 2),
        Confusion("x", "y", 1),
        Confusion("y", "y", 1),
        Confusion("z", "x", 1),
    ]
    assert truth.mistakes() == [Confusion("x", "y", 1), Confusion("z", "x", 1)]
    assert truth.confused_otherwise == 0


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("yes", "yes", True),
        ("yes", " yes\n", True),  # the space around a completion
        ("yes", "Yes", False),
        ("3", "3", True),
        (3, "3", True),
        (3.0, "3", True),
        (2.5, "2.5", True),
        (True, "true", True),
        (False, "true", False),
    ],
)
def test_an_answer_is_right_when_it_is_the_same_text(
    tmp_path: Path, gold: Any, answer: Answer, right: bool
) -> None:
    """Case counts; a number is its digits."""
    column = {"gold": [gold]}
    runs = [run_of(tmp_path / "a", [answer]), run_of(tmp_path / "b", [answer], columns=column)]
    assert [scored(run)[1] for run in diff(runs, truth="gold").runs] == [right, right]


@pytest.mark.parametrize(("field", "gold"), [("score", "2"), ("score", 2), ("sure", "true"), ("sure", True)])
def test_a_field_of_any_type_is_held_against_text(tmp_path: Path, field: str, gold: Any) -> None:
    """As a CSV has it."""
    answers: list[Answer] = [{"label": "x", "score": 2, "sure": True}]
    runs = [run_of(tmp_path / name, answers, schema=LABELS, columns={"gold": [gold]}) for name in "ab"]
    assert scored(diff(runs, field=f"parsed.{field}", truth="gold").runs[1]) == (1, 1, 0, 1.0)


def test_the_truth_may_lie_in_a_struct(tmp_path: Path) -> None:
    """By its dotted path, as a field."""
    columns = {"meta": [{"gold": "x"}, {"gold": "y"}]}
    runs = [run_of(tmp_path / name, labels("x", "x"), schema=LABELS, columns=columns) for name in "ab"]
    assert scored(diff(runs, field="parsed.label", truth="meta.gold").runs[0])[3] == 0.5


def test_an_unknown_truth_is_told_with_the_inputs_columns(runs: list[RunFolder], tmp_path: Path) -> None:
    """A column of ours is none of the input's; answers not yet published have no input."""
    for name in ("nope", "status"):
        with pytest.raises(UsageError, match=f"--truth {name}: no run has such a column") as told:
            diff(runs, field="parsed.label", truth=name)
        assert told.value.hint == "Columns of inputs: a: id, text, gold; b: id, text, gold"
    fresh = [run_of(tmp_path / name, ["x"], unpublished=1) for name in "cd"]
    with pytest.raises(UsageError) as told:
        diff(fresh, truth="gold")
    assert (
        told.value.hint == "Columns of inputs: c: none; d: none. They come with the next publication: submit"
    )


def test_a_struct_is_neither_right_nor_wrong(runs: list[RunFolder]) -> None:
    """The hint names a member."""
    with pytest.raises(UsageError, match="is more than one value") as told:
        diff(runs, truth="gold")
    assert told.value.hint == "Name a member that can: --field parsed.label"


LINES = st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)))


@settings(deadline=None)  # the machine may be busy
@given(LINES)
def test_counts_add_up(rows: list[tuple[bool, int | None, int | None]]) -> None:
    """Every row with a truth is once among the labels, and once right, confused or failed."""
    schema = {"ok": pl.Boolean, "code": pl.UInt64, "truth": pl.UInt64}
    found = score(count(pl.DataFrame(rows, schema=schema, orient="row")), {n: str(n) for n in range(4)})
    known = [row for row in rows if row[2] is not None]
    assert found.rows == sum(label.rows for label in found.labels) == len(known)
    assert found.right == sum(label.right for label in found.labels)
    assert found.right == sum(ok and code == truth for ok, code, truth in known)
    confused = sum(confusion.rows for confusion in found.mistakes())
    assert found.right + confused + found.failed == found.rows


def test_confusions_are_bounded() -> None:
    """Where nearly every answer is another: the most frequent, and how many rows there are beside them."""
    number = MOST + 50
    codes = [0, 0, *range(1, number)]
    lines = pl.DataFrame(
        {"ok": [True] * len(codes), "code": codes, "truth": codes},
        schema_overrides={"code": pl.UInt64, "truth": pl.UInt64},
    )
    found = score(count(lines), {n: str(n) for n in codes})
    assert len(found.labels) == len(found.confusions) == MOST
    assert found.confusions[0] == Confusion("0", "0", 2)
    assert (found.rows, found.right, found.confused_otherwise) == (number + 1, number + 1, 50)
