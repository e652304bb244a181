"""The index pass, and what it says of each row beside the answers that are there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.errors import InputError
from batchrun.index import ROWS_SCHEMA, Identifier, Index, State, build, counts, match, matching
from batchrun.outcome import ERROR_TYPES, NEVER_SENT, PASSING, Error
from batchrun.render.renderer import Renderer
from batchrun.run_folder.checkpoint.sealed import ANSWERS_SCHEMA
from batchrun.selection import Selection
from batchrun.source import Row, open_source
from tests.job.jobs import load

KEPT = {"key": pl.UInt64, "hash": pl.UInt64}
OK, NEW, FAILED, RETRY, CHANGED = State.OK, State.NEW, State.FAILED, State.RETRY, State.CHANGED

Rows = Sequence[tuple[int, int]]
"""Key and hash of each row."""
Answers = Sequence[tuple[int, int, str | None]]
"""Key, hash and error type of each answer, in the order of their tasks."""


def frame_of(answers: Answers) -> pl.DataFrame:
    lines = [
        (1, at, at + 1, key, hash_, error is None, error) for at, (key, hash_, error) in enumerate(answers)
    ]
    return pl.DataFrame(lines, schema=ANSWERS_SCHEMA, orient="row")


def matched(
    rows: Rows,
    answers: Answers,
    *,
    has_ids: bool = True,
    kept: Rows = (),
    retry_failed: Iterable[str] = (),
) -> pl.DataFrame:
    return match(
        pl.DataFrame([(at, *row) for at, row in enumerate(rows)], schema=ROWS_SCHEMA, orient="row"),
        frame_of(answers),
        pl.DataFrame(list(kept), schema=KEPT, orient="row"),
        has_ids=has_ids,
        retry_failed=retry_failed,
    )


def states(*args: Any, **options: Any) -> list[State]:
    return [State(state) for state in matched(*args, **options)["state"]]


ONE: Rows = [(1, 10)]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([], NEW),
        ([(1, 10, None)], OK),
        ([(1, 10, "rate_limit")], RETRY),
        ([(1, 10, "invalid_request")], FAILED),
        ([(1, 10, "bad_row")], FAILED),
        ([(1, 10, "rate_limit"), (1, 10, None)], OK),
        ([(1, 10, None), (1, 10, "timeout")], OK),
        ([(1, 10, "timeout"), (1, 10, "refusal")], FAILED),
        ([(1, 10, "refusal"), (1, 10, "timeout")], RETRY),
        ([(1, 11, None)], CHANGED),
        ([(1, 11, "refusal")], NEW),
        ([(1, 11, None), (1, 10, None)], OK),
        ([(1, 10, None), (1, 11, None)], OK),
        ([(1, 11, None), (1, 10, "refusal")], FAILED),
        ([(2, 11, None)], NEW),
    ],
)
@pytest.mark.parametrize("has_ids", [True, False])
def test_a_rows_state_follows_from_its_answers(answers: Answers, state: State, has_ids: bool) -> None:
    """An ok answer to the same request wins, then the newest failure of it, then an ok one to another."""
    assert states(ONE, answers, has_ids=has_ids) == [state]


@pytest.mark.parametrize("error", ERROR_TYPES)
def test_which_failures_run_again_by_themselves(error: str) -> None:
    """Those whose cause may have passed. The others only when they are named; the never-sent ones
    have no request that could go better."""
    assert states(ONE, [(1, 10, error)]) == [RETRY if error in PASSING - NEVER_SENT else FAILED]
    assert states(ONE, [(1, 10, error)], retry_failed=[error]) == [RETRY]
    assert states(ONE, [(1, 10, None)], retry_failed=ERROR_TYPES) == [OK]


def test_the_line_of_a_row_says_where_its_answer_lies() -> None:
    """Of a changed row, the newest ok answer that it had."""
    found = matched([(1, 10), (2, 20), (3, 30)], [(2, 21, None), (1, 10, None), (2, 22, None)])
    assert found["position"].to_list() == [1, 2, None]
    assert found["part"].to_list() == [1, 1, None]


def test_taking_an_edit_back_costs_nothing() -> None:
    """A to B to A: both answers are there, and each is found for its own prompt."""
    answers: Answers = [(1, 10, None), (2, 20, None), (1, 11, None), (2, 21, None)]
    first = matched([(1, 10), (2, 20)], answers)
    second = matched([(1, 11), (2, 21)], answers)
    assert first["state"].to_list() == second["state"].to_list() == [OK, OK]
    assert (first["position"].to_list(), second["position"].to_list()) == ([0, 1], [2, 3])


def test_a_kept_row_stays_kept_for_that_request_only() -> None:
    """Another edit asks anew."""
    answers: Answers = [(1, 10, None), (2, 20, None)]
    assert states([(1, 11), (2, 21)], answers, kept=[(1, 11)]) == [State.KEPT, CHANGED]
    assert states([(1, 12), (2, 21)], answers, kept=[(1, 11), (2, 21)]) == [CHANGED, State.KEPT]
    assert states([(1, 10), (2, 20)], answers, kept=[(1, 11), (2, 21)]) == [OK, OK]
    assert states([(1, 11)], [*answers, (1, 11, None)], kept=[(1, 11)]) == [OK]


def test_removed_rows_leave_their_answers_alone() -> None:
    """They count for no row that is there."""
    assert states([(2, 20)], [(1, 10, None), (2, 20, None), (3, 30, "refusal")]) == [OK]
    assert matched([], [(1, 10, None)]).height == 0


def test_without_ids_equal_requests_pair_off() -> None:
    """Two equal rows need two answers; a row whose other columns changed keeps its answer."""
    answers: Answers = [(1, 10, None), (1, 10, None)]
    assert states([(1, 10)] * 3, answers, has_ids=False) == [OK, OK, NEW]
    assert states([(1, 10), (5, 10), (6, 10)], answers, has_ids=False) == [OK, OK, NEW]
    with_failure: Answers = [(1, 10, "refusal"), (1, 10, None)]
    assert states([(1, 10), (1, 10)], with_failure, has_ids=False) == [OK, FAILED]


def test_another_id_pays_for_no_answer_again() -> None:
    """With ids too: an answer to the very request that no row has by id goes to the row that has it now."""
    assert states([(5, 10)], [(1, 10, None)]) == [OK]
    assert states([(1, 10), (5, 10)], [(1, 10, None)]) == [OK, NEW]
    assert states([(5, 10), (1, 11)], [(1, 10, None)]) == [OK, NEW]
    assert states([(5, 10)], [(1, 10, "refusal")]) == [NEW]


def test_rows_keep_their_answers_when_equal_ones_come_and_go() -> None:
    """Of answers to equal requests the oldest goes first; of those to older requests the newest."""
    answers: Answers = [(1, 10, None), (1, 10, None), (2, 20, None), (2, 21, None)]
    found = matched([(1, 10), (2, 22)], answers, has_ids=False)
    assert found["position"].to_list() == [0, 3]


SMALL = st.tuples(st.integers(0, 5), st.integers(0, 4))
ERRORS = st.none() | st.sampled_from(["timeout", "refusal", "bad_row"])


@settings(deadline=None)
@given(
    st.lists(SMALL, max_size=20),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), ERRORS), max_size=20),
    st.lists(SMALL, max_size=4),
    st.booleans(),
)
def test_every_row_has_one_line_and_no_answer_is_used_twice(
    rows: Rows, answers: Answers, kept: Rows, has_ids: bool
) -> None:
    """In input order, and in step with the answer the line names."""
    if has_ids:
        rows = list({row[0]: row for row in rows}.values())
    found = matched(rows, answers, kept=kept, has_ids=has_ids)
    assert found["row_index"].to_list() == list(range(len(rows)))
    used = [line["position"] for line in found.iter_rows(named=True) if line["position"] is not None]
    assert len(used) == len(set(used))
    assert sum(counts(found).values()) == len(rows)
    for line in found.iter_rows(named=True):
        if line["position"] is None:
            assert line["state"] == NEW
            continue
        key, hash_, error = answers[line["position"]]
        assert line["ok"] == (error is None)
        assert (line["hash"] == hash_) == (line["state"] in (OK, FAILED, RETRY))
        assert key == line["key"] or (hash_ == line["hash"] and not (has_ids and error))


@settings(deadline=None)
@given(st.lists(SMALL, max_size=15), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=15))
def test_without_ids_as_many_rows_are_answered_as_there_are_answers_to_their_requests(
    rows: Rows, asked: Rows
) -> None:
    """The most that pairing off can give: nothing is paid for twice."""
    found = states(rows, [(*pair, None) for pair in asked], has_ids=False)
    wanted, there = Counter(hash_ for _, hash_ in rows), Counter(hash_ for _, hash_ in asked)
    assert found.count(OK) == sum((wanted & there).values())


def indexed(folder: Path, rows: Sequence[Any], **sections: Any) -> Index:
    """The index of a table of these lines."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = {
        "input": {"path": "rows.jsonl"},
        "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
        "model": "simulator/a",
        **sections,
    }
    job = load(folder, json.dumps(document))
    source = open_source("rows.jsonl", root=folder)
    seen: list[int] = []
    index = build(Selection(source, job), Renderer(job), job.input.id, source.column_types(), seen.append)
    assert seen == sorted(seen)
    assert index.rows.schema == pl.DataFrame(schema=ROWS_SCHEMA).schema
    return index


WITH_ID = {"input": {"path": "rows.jsonl", "id": "id"}}


def answered(index: Index) -> pl.DataFrame:
    """An ok answer for every row."""
    return frame_of([(key, hash_, None) for _, key, hash_ in index.rows.iter_rows()])


def states_after(index: Index, answers: pl.DataFrame, *, has_ids: bool) -> list[State]:
    found = match(index.rows, answers, pl.DataFrame(schema=KEPT), has_ids=has_ids)
    return [State(state) for state in found["state"]]


ROWS = [{"id": n, "text": f"row {n}", "gold": "a"} for n in range(30)]


@pytest.mark.parametrize("has_ids", [True, False])
def test_inserting_and_sorting_lines_pays_for_nothing_twice(tmp_path: Path, has_ids: bool) -> None:
    """A row at the top of an input without ids leaves all others done; so does turning it round."""
    sections = WITH_ID if has_ids else {}
    answers = answered(indexed(tmp_path, ROWS, **sections))
    first = {"id": 99, "text": "new"}
    assert (
        states_after(indexed(tmp_path, [first, *ROWS], **sections), answers, has_ids=has_ids)
        == [NEW] + [OK] * 30
    )
    assert states_after(indexed(tmp_path, ROWS[::-1], **sections), answers, has_ids=has_ids) == [OK] * 30
    assert states_after(indexed(tmp_path, ROWS[5:], **sections), answers, has_ids=has_ids) == [OK] * 25


@pytest.mark.parametrize("has_ids", [True, False])
def test_an_edited_prompt_changes_all_rows_and_an_edited_label_none(tmp_path: Path, has_ids: bool) -> None:
    """What is not sent is of no matter."""
    sections = WITH_ID if has_ids else {}
    answers = answered(indexed(tmp_path, ROWS, **sections))
    relabelled = [{**row, "gold": "b"} for row in ROWS]
    assert states_after(indexed(tmp_path, relabelled, **sections), answers, has_ids=has_ids) == [OK] * 30
    edited = indexed(
        tmp_path, ROWS, **sections, prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]}
    )
    assert states_after(edited, answers, has_ids=has_ids) == [CHANGED] * 30
    reworded = [{**ROWS[0], "text": "reworded"}, *ROWS[1:]]
    expected = [CHANGED if has_ids else NEW, *[OK] * 29]
    assert states_after(indexed(tmp_path, reworded, **sections), answers, has_ids=has_ids) == expected


@pytest.mark.parametrize(("one", "other"), [("a", "a"), (1, "1"), (1.5, "1.5"), (True, "true")])
def test_a_duplicate_id_is_refused_naming_both_lines(tmp_path: Path, one: Any, other: Any) -> None:
    """Ids compare as strings."""
    rows = [{"id": one, "text": "x"}, {"id": "b", "text": "x"}, {"id": other, "text": "y"}]
    with pytest.raises(
        InputError, match=r"input.id: id = '.*' names two rows: rows.jsonl:1 and rows.jsonl:3"
    ):
        indexed(tmp_path, rows, **WITH_ID)


def test_null_and_missing_ids_are_bad_rows_and_no_duplicates(tmp_path: Path) -> None:
    """Each a row of its own, counted."""
    found = indexed(
        tmp_path, [{"id": None, "text": "x"}, {"text": "x"}, {"id": "a", "text": "x"}, "{"], **WITH_ID
    )
    assert (found.facts.rows, found.facts.bad_rows, found.facts.unrendered) == (4, 3, 0)
    assert found.facts.first_failure == ""


def test_what_the_pass_counts(tmp_path: Path) -> None:
    """Rows that cannot be rendered, nulls that print as nothing, tokens; the first failure of a template."""
    rows = [{"text": "x" * 399}, {"text": None}, {"other": 1}, "no json", {"other": 2}, {"text": "y"}]
    facts = indexed(tmp_path, rows).facts
    assert (facts.rows, facts.bad_rows, facts.unrendered, facts.null_printed) == (6, 1, 2, 1)
    assert facts.prompt_tokens == 100 + 1 + 1
    assert facts.first_failure == "rows.jsonl:3: prompt.messages[0].content: `text` is undefined"


def test_the_first_failure_is_one_of_a_template_although_a_bad_row_stands_before_it(tmp_path: Path) -> None:
    """It explains why no row can be rendered, which a null id does not."""
    facts = indexed(tmp_path, [{"id": None}, {"id": 1}], **WITH_ID).facts
    assert facts.first_failure == "rows.jsonl:2: prompt.messages[0].content: `text` is undefined"


def test_24_bytes_a_row_are_kept(tmp_path: Path) -> None:
    """Whatever the rows hold."""
    assert indexed(tmp_path, [{"text": "x" * 500}] * 4000).rows.estimated_size() == 24 * 4000


def test_a_row_is_identified_alike_wherever_it_stands(tmp_path: Path) -> None:
    """Its id is the id column's value as text, else its number; a failure stands for the request."""
    identifier = Identifier(Renderer(load(tmp_path, JOB)), "id")
    one = identifier.identify(Row(0, {"id": 7, "text": "x"}, "a:1"))
    moved = identifier.identify(Row(5, {"id": "7", "text": "x"}, "a:6"))
    unnamed = identifier.identify(Row(5, {"text": "x"}, "a:6"))
    assert (one.key, one.row_id, one.request_hash) == (moved.key, "7", moved.request_hash)
    assert unnamed.row_id == "5"
    assert unnamed.request == Error("bad_row", "a:6: the id column `id` is null or missing")
    broken = identifier.identify(Row(1, {"id": 8}, "a:2"))
    assert isinstance(broken.request, Error)
    assert broken.request.type == "render"
    assert broken.request_hash == identifier.identify(Row(3, {"id": 9}, "a:4")).request_hash
    assert len(broken.request_hash) == 32


def test_an_id_with_a_lone_surrogate_can_be_shown(tmp_path: Path) -> None:
    """As its escape, so that ids stay distinct in a column of UTF-8 text."""
    identifier = Identifier(Renderer(load(tmp_path, JOB)), "id")
    ids = [identifier.row_id(Row(0, {"id": text}, "a:1")) for text in ("é\ud800", "é\ud801", "é")]
    assert ids == ["é\\ud800", "é\\ud801", "é"]


JOB = """\
input: {path: rows.jsonl}
prompt: {messages: [{role: user, content: "{{ text }}"}]}
model: simulator/a
"""


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=15),
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([None, "timeout", "refusal"])),
        max_size=15,
    ),
    st.booleans(),
    st.integers(1, 5),
)
def test_rows_matched_a_share_at_a_time_are_matched_alike(
    rows: Rows, answers: Answers, has_ids: bool, size: int
) -> None:
    """However few are sorted at once: equal values are always in one share."""
    whole = matched(rows, answers, has_ids=has_ids)
    with pytest.MonkeyPatch.context() as patch:  # 100,000 rows are no unit test
        patch.setattr(matching, "_SHARE", size)
        assert matched(rows, answers, has_ids=has_ids).equals(whole)
