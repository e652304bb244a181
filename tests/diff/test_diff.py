"""`diff`: rows of several runs matched by their ids, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.diff import diff
from batchrun.diff.side import short_names
from batchrun.errors import UsageError
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import rows_by_part, scan_run, see
from tests.diff.comparing import LABELS, Answer, Failure, labels, run_of
from tests.run_folder.answering import Work


@pytest.fixture
def base(tmp_path: Path) -> RunFolder:
    """Six labelled rows, the last of them failed."""
    return run_of(tmp_path / "a", labels("x", "x", "y", "y", "y", Failure()), schema=LABELS)


def test_rows_are_matched_by_their_ids(base: RunFolder, tmp_path: Path) -> None:
    """In whatever order; rows that one run lacks and failed rows are counted, and not compared."""
    ids = ["r3", "r0", "r9", "r1", "r5"]
    other = run_of(tmp_path / "b", labels("x", "x", "y", Failure(), "y"), schema=LABELS, ids=ids)
    found = diff([base, other], field="parsed.label")
    assert (found.rows_in_all, found.rows_in_some, found.rows_ok_in_all) == (4, 3, 2)
    assert [(run.took.rows, run.took.ok, run.took.failed) for run in found.runs] == [(6, 5, 1), (5, 4, 1)]
    assert found.runs[1].took.errors == {"refusal": 1}
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.rows, pair.changed) == ("a", "b", 2, 1)
    assert pair.agreement == found.agreement == 0.5
    assert [(example.row_id, example.answers) for example in found.examples] == [("r3", {"a": "y", "b": "x"})]


def test_all_runs_together_agree_where_every_one_does(base: RunFolder, tmp_path: Path) -> None:
    """Each two by the rows that are ok in both; all by those that are ok in all, with Fleiss' kappa."""
    second = run_of(tmp_path / "b", labels("x", "x", "y", "x", Failure(), "x"), schema=LABELS)
    third = run_of(tmp_path / "c", labels("x", "y", "y", "x", "y", "x"), schema=LABELS)
    found = diff([base, second, third], field="parsed.label")
    told = [(pair.first + pair.second, pair.rows, pair.changed) for pair in found.pairs]
    assert told == [("ab", 4, 1), ("ac", 5, 2), ("bc", 5, 1)]
    assert (found.rows_ok_in_all, found.rows_changed, found.agreement) == (4, 2, 0.5)
    # of the rows xxx xxy yyy yxx: pairs of raters agree in 8 of 12, labels are x 7 of 12 and y 5
    likely = (7**2 + 5**2) / 12**2
    assert found.fleiss_kappa == pytest.approx((8 / 12 - likely) / (1 - likely))
    assert found.labels == 2
    assert diff([base, second], field="parsed.label").fleiss_kappa is None


@pytest.mark.parametrize(
    ("first", "second", "schema", "same"),
    [
        ("Yes.", "  Yes.\n", None, True),  # the space around a completion says nothing
        ("Yes.", "yes.", None, False),
        ("", "x", None, False),
        ({"label": "x"}, {"label": "x", "score": None}, LABELS, True),
        ({"label": "x"}, {"label": "x", "score": 1}, LABELS, False),
        ({"b": [1, {"d": 2, "c": None}], "a": 1.0}, {"a": 1, "b": [1, {"d": 2}]}, {"type": "object"}, True),
        ({"b": [1, 2]}, {"b": [2, 1]}, {"type": "object"}, False),
    ],
)
def test_answers_are_equal_when_they_say_the_same(
    tmp_path: Path, first: Answer, second: Answer, schema: Any, same: bool
) -> None:
    """`parsed` where both have it, in whatever order its keys are; texts to the letter."""
    sections = {"schema": schema} if schema else {}
    runs = [run_of(tmp_path / name, [answer], **sections) for name, answer in (("a", first), ("b", second))]
    found = diff(runs)
    assert found.compared == ("parsed" if schema else "completion")
    assert found.rows_changed == (0 if same else 1)


def test_completions_are_compared_where_one_run_has_no_schema(tmp_path: Path) -> None:
    """So that like is compared with like."""
    runs = [run_of(tmp_path / "a", labels("x"), schema=LABELS), run_of(tmp_path / "b", ['{"label": "x"}'])]
    found = diff(runs)
    assert (found.compared, found.rows_changed) == ("completion", 0)


def test_parsed_of_different_schemas_is_compared_by_what_it_says(tmp_path: Path) -> None:
    """A struct and JSON text, or two structs of other members."""
    smaller = {**LABELS, "properties": {"label": {"type": "string"}}}
    for number, schema in enumerate((smaller, {"type": "object"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs = [
            run_of(folder / "a", labels("x", "y"), schema=LABELS),
            run_of(folder / "b", labels("x", "z"), schema=schema),
        ]
        assert [example.row_id for example in diff(runs).examples] == ["r1"]
        assert [example.answers for example in diff(runs, field="parsed.label").examples] == [
            {"a": "y", "b": "z"}
        ]


def test_what_was_not_published_counts(base: RunFolder, tmp_path: Path) -> None:
    """As in show: a killed run is compared by all that it received."""
    answers = labels("x", "x", "y", "x", "x", Failure())
    for unpublished in (3, 6):
        other = run_of(tmp_path / f"b{unpublished}", answers, schema=LABELS, unpublished=unpublished)
        found = diff([base, other], field="parsed.label")
        assert (found.rows_in_all, found.rows_in_some, found.rows_changed) == (6, 0, 2)
        assert [example.row_id for example in found.examples] == ["r3", "r4"]
        assert pl.concat(found.table.pieces())[f"label@b{unpublished}"].to_list()[3:5] == ["x", "x"]


def test_rows_that_were_not_published_have_the_types_of_the_others(tmp_path: Path) -> None:
    """Also where a run is read part by part."""
    run = run_of(tmp_path / "a", labels("x", "y"), schema=LABELS, unpublished=1)
    parts = [part.select("row_id", "parsed").collect() for part in rows_by_part(see(run))]
    assert pl.concat(parts).equals(scan_run(run).select("row_id", "parsed").collect())


def test_a_number_that_two_rows_have_is_compared_once(tmp_path: Path) -> None:
    """Without ids: a line was inserted, and the submit that asked for it killed before it published."""
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        work = Work(tmp_path / name).write([{"text": "first"}, {"text": "second"}])
        work.answer([0, 1])
        work.publish()
        runs.append(work.run)
    work.write([{"text": "inserted"}, {"text": "first"}, {"text": "second"}])
    work.answer([0])
    assert scan_run(work.run).collect()["row_id"].to_list() == ["0", "0", "1"]
    found = diff(runs)
    assert found.by_number
    assert (found.rows_in_all, found.rows_in_some, found.rows_changed) == (2, 0, 1)
    assert pl.concat(found.table.pieces())["row_id"].to_list() == ["0", "1"]


def test_the_table_shows_the_answers_that_were_compared(tmp_path: Path) -> None:
    """Also where, without ids, a row that is not published yet has the number of a published one."""
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        work = Work(tmp_path / name).write([{"text": f"row {number}"} for number in range(40)])
        work.answer(range(40))
        work.publish()
        runs.append(work.run)
    work.write([{"text": f"{'inserted' if number < 40 else 'row'} {number % 40}"} for number in range(80)])
    work.answer(range(40))
    found = diff(runs)
    rows = pl.concat(found.table.pieces())
    assert found.rows_changed == 40
    assert rows[f"completion@{found.runs[1].name}"].to_list() == [
        f"answer {number}" for number in range(41, 81)
    ]


def test_runs_without_an_answer_in_common_are_compared_all_the_same(base: RunFolder, tmp_path: Path) -> None:
    """By what they cost and how their rows ended; there is no agreement of nothing."""
    other = run_of(tmp_path / "b", [Failure()] * 6, schema=LABELS)
    found = diff([base, other], field="parsed.label")
    assert (found.rows_in_all, found.rows_ok_in_all, found.agreement, found.labels) == (6, 0, None, None)
    assert (found.pairs[0].agreement, found.pairs[0].cohen_kappa, found.examples) == (None, None, ())
    assert found.runs[1].took.errors == {"refusal": 6}


@pytest.mark.parametrize("schema", [LABELS, {"type": "object"}])
def test_numbers_are_compared_by_their_distance_too(tmp_path: Path, schema: Any) -> None:
    """Also in JSON text; 1 and 1.0 are equal, a null is equal to nothing but a null."""
    scores = [(1, 1.0), (2, 4), (None, 3), (None, None)]
    runs = [
        run_of(tmp_path / name, [{"label": "x", "score": pair[place]} for pair in scores], schema=schema)
        for place, name in enumerate("ab")
    ]
    (pair,) = diff(runs, field="parsed.score").pairs
    assert (pair.changed, pair.agreement, pair.mean_absolute_difference) == (2, 0.5, 1.0)
    (pair,) = diff(runs, field="parsed.label").pairs
    assert (pair.changed, pair.mean_absolute_difference) == (0, None)


def test_kappa_is_of_labels(tmp_path: Path) -> None:
    """Texts that are all different have none."""
    runs = [
        run_of(tmp_path / name, labels(*texts), schema=LABELS)
        for name, texts in (("a", "xxyyzz"), ("b", "xxyyzx"))
    ]
    (pair,) = diff(runs, field="parsed.label").pairs
    likely = (2 * 3 + 2 * 2 + 2 * 1) / 36
    assert pair.cohen_kappa == pytest.approx((5 / 6 - likely) / (1 - likely))
    (pair,) = diff(runs, field="id").pairs
    assert (pair.agreement, pair.cohen_kappa) == (1, None)


def test_what_runs_took_is_held_against_the_base(tmp_path: Path) -> None:
    """Cost, latency and tokens of all rows: the difference, and how many times; unknown stays unknown."""
    first = run_of(tmp_path / "a", ["x", Failure()], latency=0.5, tokens=10, cost=0.25)
    second = run_of(tmp_path / "b", ["y", "y", "y", "y"], latency=0.25, tokens=30, cost=0.5)
    third = run_of(tmp_path / "c", ["y"])
    found = diff([first, second, third])
    took = found.runs[1].took
    assert (took.cost_usd, took.cost_usd_per_row, took.tokens, took.tokens_per_row) == (2.0, 0.5, 124, 31)
    assert took.latency == {"p50": 0.25, "p95": 0.25}
    assert found.runs[0].against_base == {}
    told = {name: (change.difference, change.ratio) for name, change in found.runs[1].against_base.items()}
    assert told == {
        "cost_usd": (1.5, 4.0),
        "cost_usd_per_row": (0.25, 2.0),
        "latency_p50": (-0.25, 0.5),
        "latency_p95": (-0.25, 0.5),
        "tokens": (102, 124 / 22),
        "tokens_per_row": (20, 31 / 11),
    }
    assert found.runs[2].took.cost_usd is found.runs[2].against_base["cost_usd"].difference is None


def test_the_table_has_every_row(base: RunFolder, tmp_path: Path) -> None:
    """Those of the base in its order, then those that only the others have."""
    ids = ["r9", "r3", "r0", "r8"]
    other = run_of(tmp_path / "b", labels("y", "x", "x", Failure()), schema=LABELS, ids=ids)
    table = diff([base, other], field="parsed.label").table
    rows = pl.concat(table.pieces())
    assert rows.schema == table.schema()
    assert rows.rows() == [
        ("r0", "ok", "ok", "x", "x", True),
        ("r1", "ok", None, "x", None, None),
        ("r2", "ok", None, "y", None, None),
        ("r3", "ok", "ok", "y", "x", False),
        ("r4", "ok", None, "y", None, None),
        ("r5", "failed", None, None, None, None),
        ("r9", None, "ok", None, "y", None),
        ("r8", None, "failed", None, None, None),
    ]
    assert rows.columns == ["row_id", "status@a", "status@b", "label@a", "label@b", "agrees"]


@pytest.mark.long
def test_the_table_comes_in_pieces(tmp_path: Path) -> None:
    """However the runs are ordered, and more than one piece long."""
    number = 1_203
    ids = [f"r{place * 7 % number}" for place in range(number)]
    runs = [
        run_of(tmp_path / "a", [f"{place}" for place in range(number)]),
        run_of(tmp_path / "b", [f"{place * 7 % number}" for place in range(number)], ids=ids),
    ]
    found = diff(runs)
    pieces = list(found.table.pieces())
    assert len(pieces) > 1
    rows = pl.concat(pieces)
    assert rows["row_id"].to_list() == [f"r{place}" for place in range(number)]
    assert rows["completion@a"].equals(rows["completion@b"], check_names=False)
    assert rows["agrees"].all()
    assert found.agreement == 1


def test_tool_calls_are_an_answer(tmp_path: Path) -> None:
    """Which function, and with what: its id is another in every run."""
    from tests.run_folder.recorded import answered, body, done, reply, sent, write_journal

    runs = []
    for name, arguments in (("a", "1"), ("b", "1"), ("c", "2")):
        run = RunFolder(tmp_path / name)
        run.claim(name)
        call = {"id": name, "type": "function", "function": {"name": "f", "arguments": arguments}}
        message = {"content": None, "tool_calls": [call]}
        data = body(None, choices=[{"message": message}])
        write_journal(run.checkpoint_path, 1, [sent(0), answered(0, exchange=reply(data)), done(0)])
        runs.append(run)
    assert diff(runs[:2]).rows_changed == 0
    assert diff(runs[1:]).examples[0].answers == {"b": "f 1", "c": "f 2"}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([("a", "/x/1"), ("b", "/x/2")], ["a", "b"]),
        ([("a", "/x/1"), ("a", "/x/2"), ("b", "/y/2")], ["1", "2", "b"]),
        ([("a", "/x/1"), ("a", "/y/1")], ["x/1", "y/1"]),
        ([("a", "/x/1"), ("a", "/x/b"), ("b", "/y/2")], ["1", "x/b", "2"]),
        ([("a", "/a"), ("a", "/b")], ["a", "b"]),
        ([("a", "/x/r"), ("a", "/y/x/r"), ("a", "/z")], ["/x/r", "y/x/r", "z"]),
    ],
)
def test_names_are_distinct(named: list[tuple[str, str]], expected: list[str]) -> None:
    """A run's own where no other has it, else the end of its folder's path."""
    assert short_names([(name, Path(path)) for name, path in named]) == expected


MISTAKES = [
    ("nope", "a has no column `nope`", "Columns: row_index, row_id"),
    ("parsed.nope", "`parsed` of a has no member `nope`", "Members: label, score, sure"),
    ("attempts.model", "`attempts` of a is a list and has no members", "Name attempts"),
    ("latency.x", "`latency` of a is one value and has no members", "Name latency"),
    ("text.x", "`text` of a is in no row JSON text with a `x`", "--columns text"),
]


@pytest.mark.parametrize(("field", "message", "hint"), MISTAKES)
def test_an_unknown_field_is_told_with_what_there_is(
    base: RunFolder, tmp_path: Path, field: str, message: str, hint: str
) -> None:
    """Of the run that lacks it."""
    other = run_of(tmp_path / "b", labels("x"), schema=LABELS)
    with pytest.raises(UsageError) as told:
        diff([base, other], field=field)
    assert told.value.message == f"--field {field}: {message}"
    assert hint in (told.value.hint or "")


def test_a_field_that_one_run_lacks_names_that_run(base: RunFolder, tmp_path: Path) -> None:
    """Not the one that has it."""
    other = run_of(tmp_path / "b", ["x"])
    with pytest.raises(UsageError, match="`parsed` of b is in no row JSON text with a `label`"):
        diff([base, other], field="parsed.label")


def test_runs_must_be_several_different_and_overlapping(base: RunFolder, tmp_path: Path) -> None:
    """Each is told, with what to do."""
    stranger = run_of(tmp_path / "b", labels("x"), schema=LABELS, ids=["q7"])
    empty = RunFolder(tmp_path / "c")
    empty.claim("c")
    for runs, message in (
        ([base], "compares two runs or more, and 1 was named"),
        ([base, base], "is named twice"),
        ([base, stranger], "a and b have no row in common: their ids are like 'r0' and 'q7'"),
        ([base, empty], "c has no finished row yet"),
    ):
        with pytest.raises(UsageError, match=message) as told:
            diff(runs)
        assert told.value.hint
