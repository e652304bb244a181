"""Identical requests of one run are asked once: who shares whose answer, and what the results say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.engines.tasks import Assigner, Chains
from batchrun.errors import ChangedRowsError
from batchrun.index import ROWS_SCHEMA, State, match
from batchrun.index.sharing import HOLDER, SENDABLE
from batchrun.run_folder.checkpoint.checkpoint import PAIRS_SCHEMA, write_kept
from batchrun.run_folder.checkpoint.sealed import ANSWERS_SCHEMA
from batchrun.run_folder.results.read import scan_run
from batchrun.survey.survey import duplicates, to_do
from tests.run_folder.answering import Work, failed, ok
from tests.run_folder.recorded import answered, body, done, reply, sent, write_journal
from tests.runs import simulated

OK, NEW, FAILED, RETRY, CHANGED, KEPT = (
    *(State.OK, State.NEW, State.FAILED, State.RETRY, State.CHANGED, State.KEPT),
)

Rows = Sequence[tuple[int, int]]
"""Key and hash of each row."""


def matched(
    rows: Rows,
    answers: Sequence[tuple[int, int, str | None]],
    *,
    has_ids: bool = True,
    kept: Rows = (),
    shared: Rows = (),
    unsendable: Sequence[int] = (),
) -> pl.DataFrame:
    lines = [
        (1, at, at + 1, key, hash_, error is None, error) for at, (key, hash_, error) in enumerate(answers)
    ]
    index = pl.DataFrame([(at, *row) for at, row in enumerate(rows)], schema=ROWS_SCHEMA, orient="row")
    asks = pl.Series(SENDABLE, [at not in unsendable for at in range(len(rows))], pl.Boolean)
    return match(
        index.with_columns(asks),
        pl.DataFrame(lines, schema=ANSWERS_SCHEMA, orient="row"),
        pl.DataFrame(list(kept), schema=PAIRS_SCHEMA, orient="row"),
        has_ids=has_ids,
        shared=pl.DataFrame(list(shared), schema=PAIRS_SCHEMA, orient="row"),
    )


def told(found: pl.DataFrame) -> list[tuple[State, int | None, int | None]]:
    """State, answer and holder of each row."""
    return [(State(s), at, holder) for s, at, holder in found.select("state", "position", HOLDER).iter_rows()]


THREE: Rows = [(1, 10), (2, 10), (3, 10)]


@pytest.mark.parametrize(
    ("rows", "answers", "options", "expected"),
    [
        pytest.param(THREE, [], {}, [(NEW, None, None)] * 3, id="nothing is answered"),
        pytest.param(
            *(THREE, [(1, 10, None)], {}, [(OK, 0, None), (OK, 0, 0), (OK, 0, 0)]), id="the first was asked"
        ),
        pytest.param(
            *(THREE, [(2, 10, None)], {}, [(OK, 0, 1), (OK, 0, None), (OK, 0, 1)]), id="the second was asked"
        ),
        pytest.param(
            *(THREE, [(9, 10, None)], {}, [(OK, 0, 0), (OK, 0, 0), (OK, 0, 0)]), id="the asked row is gone"
        ),
        pytest.param(
            *(THREE[:2], [(1, 10, "refusal")], {}, [(FAILED, 0, None), (FAILED, 0, 0)]), id="they fail alike"
        ),
        pytest.param(
            *(THREE[:2], [(1, 10, "timeout")], {}, [(RETRY, 0, None), (RETRY, 0, 0)]), id="for a while"
        ),
        pytest.param(
            *(THREE[:2], [(2, 10, None), (1, 10, "refusal")], {}, [(OK, 0, 1), (OK, 0, None)]),
            id="an answer is better than an own failure",
        ),
        pytest.param(
            *(THREE[:2], [(1, 10, None), (2, 10, None)], {}, [(OK, 0, None), (OK, 1, None)]),
            id="answers from before are nobody's duplicates",
        ),
        pytest.param(
            *(THREE[:2], [(1, 10, "render")], {"unsendable": [0, 1]}, [(FAILED, 0, None), (NEW, None, None)]),
            id="what cannot be asked is no identical request",
        ),
        pytest.param(
            *([(1, 11), (2, 10)], [(1, 10, None)], {}, [(CHANGED, 0, None), (OK, 0, 0)]),
            id="the asked row was edited and shows its answer until it has another",
        ),
        pytest.param(
            *([(1, 11), (2, 10)], [(1, 10, None)], {"kept": [(1, 11)]}, [(KEPT, 0, None), (OK, 0, 0)]),
            id="the asked row was edited and keeps its answer",
        ),
        pytest.param(
            *(
                [(1, 11), (2, 11)],
                [(1, 10, None)],
                {"shared": [(2, 10)]},
                [(CHANGED, 0, None), (CHANGED, 0, 0)],
            ),
            id="an edit changes those that shared, too",
        ),
        pytest.param(
            *([(1, 11), (2, 11)], [(1, 10, None)], {}, [(CHANGED, 0, None), (NEW, None, None)]),
            id="a row that never had an answer is new",
        ),
        pytest.param(
            [(1, 11), (2, 11), (3, 11)],
            [(1, 10, None), (3, 11, None)],
            {"shared": [(2, 10)], "kept": [(1, 11), (2, 11)]},
            [(KEPT, 0, None), (KEPT, 0, 0), (OK, 1, None)],
            id="what is kept does not share a newer answer",
        ),
    ],
)
def test_who_shares_whose_answer(rows: Rows, answers: Any, options: Any, expected: Any) -> None:
    """State of each row, the answer it has, and the row that stands for that answer."""
    assert told(matched(rows, answers, **options)) == expected


def test_without_ids_rows_pair_off_first_and_the_rest_share() -> None:
    """The oldest answer; a row whose other columns changed keeps its own."""
    found = matched([(1, 10)] * 3, [(1, 10, None), (1, 10, None)], has_ids=False)
    assert told(found) == [(OK, 0, None), (OK, 1, None), (OK, 0, 0)]


@given(
    st.lists(st.integers(0, 4), max_size=12),
    st.lists(
        st.tuples(st.integers(0, 15), st.integers(0, 4), st.none() | st.sampled_from(["timeout", "refusal"])),
        max_size=12,
    ),
)
def test_equal_requests_stand_and_fall_together(hashes: list[int], answers: Any) -> None:
    """Whatever was answered: one shown row stands for each answer, and one row of each request is asked."""
    found = matched(list(enumerate(hashes)), answers)
    lines = found.to_dicts()
    for line in lines:
        if line[HOLDER] is not None:
            holder = lines[line[HOLDER]]
            assert (holder["position"], holder[HOLDER] in (None, holder["row_index"])) == (
                line["position"],
                True,
            )
    shown = [line for line in lines if line["state"] in (OK, FAILED, RETRY, CHANGED)]
    standing = Counter(line["position"] for line in shown if line[HOLDER] in (None, line["row_index"]))
    assert standing == Counter({line["position"] for line in shown})
    well = {hash_ for _, hash_, error in answers if error is None}
    assert all((line["state"] == OK) == (line["hash"] in well) for line in lines if line["state"] != CHANGED)
    asked = to_do(found, rerun_changed=True)
    assert asked["hash"].is_unique().all()
    assert asked["row_index"].is_sorted()
    assert set(asked["hash"]) == {line["hash"] for line in lines if line["state"] in (NEW, RETRY, CHANGED)}


ROWS = [{"id": f"r{n}", "text": f"text {n // 2}", "n": n} for n in range(8)]
"""Four requests, each in two rows."""


@pytest.fixture(params=[True, False], ids=["with ids", "without ids"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    work = Work(tmp_path).write(ROWS)
    work.sections["dedupe"] = True
    if request.param:
        work.sections["input"] = {"path": "rows.jsonl", "id": "id"}
    return work


def states(work: Work) -> list[State]:
    return [State(state) for state in work.survey().states()["state"]]


def paid(task: int) -> list[Any]:
    """An answer that says what it took."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 0.01}
    return [sent(task), answered(task, exchange=reply(body(f"answer {task}", usage=usage))), done(task)]


def names(work: Work) -> list[tuple[Any, Any, Any]]:
    """What published rows say: own id in the table, whose answer, and the answer."""
    rows = work.results().select(pl.col("id").str.slice(1), "duplicate_of", "completion").rows()
    return [(int(own), of and int(of.removeprefix("r")), said) for own, of, said in rows]


def test_of_equal_requests_the_first_is_asked(work: Work) -> None:
    """`plan` can say how many are spared."""
    found = work.survey()
    assert to_do(found.states(), rerun_changed=False)["row_index"].to_list() == [0, 2, 4, 6]
    assert duplicates(found.states(), rerun_changed=False) == 4
    work.answer([0, 2])
    assert states(work) == [OK] * 4 + [NEW] * 4
    assert duplicates(work.survey().states(), rerun_changed=False) == 2


def test_the_results_say_which_rows_were_not_asked(work: Work) -> None:
    """Each row has its own columns and the asked row's answer; what it took is counted once."""
    work.answer([0, 2], paid)
    work.publish()
    assert names(work) == [
        *((0, None, "answer 1"), (1, 0, "answer 1")),
        *((2, None, "answer 2"), (3, 2, "answer 2")),
    ]
    first, second = work.results().to_dicts()[:2]
    own = {"row_index", "row_id", "id", "n", "duplicate_of", "usage", "cost_usd", "attempts", "latency"}
    assert {name for name in first if first[name] != second[name]} == own
    assert (second["row_index"], second["n"]) == (1, 1)
    assert (second["usage"], second["cost_usd"], second["latency"]) == (None, None, None)
    assert second["attempts"] == []
    assert (first["usage"]["total_tokens"], first["cost_usd"]) == (15, 0.01)
    assert work.publish() is False


def test_a_row_that_failed_is_asked_again_once(work: Work) -> None:
    """Its duplicates fail alike, and get the new answer with it."""
    work.answer([0], lambda task: [sent(task), done(task, "timeout")])
    work.answer([2], failed)
    assert states(work)[:4] == [RETRY, RETRY, FAILED, FAILED]
    work.publish()
    kinds = work.results()["error_type"].to_list()
    assert kinds == ["timeout", "timeout", "invalid_request", "invalid_request"]
    again = work.survey().states(["invalid_request"])
    assert to_do(again, rerun_changed=False)["row_index"].to_list() == [0, 2, 4, 6]
    work.answer([0])
    assert states(work)[:4] == [OK, OK, FAILED, FAILED]
    work.publish()
    assert names(work)[:2] == [(0, None, "answer 3"), (1, 0, "answer 3")]


def test_the_row_that_was_asked_before_is_asked_again_although_it_is_not_the_first(work: Work) -> None:
    """What it took is its own."""
    work.answer([1], lambda task: [sent(task), done(task, "timeout")])
    asked = to_do(work.survey().states(), rerun_changed=False)
    assert asked["row_index"].to_list() == [1, 2, 4, 6]


def test_a_row_that_stands_for_a_removed_one_takes_its_place(work: Work) -> None:
    """The first that shares the answer; its usage counts there from now on."""
    work.write([*ROWS, {"id": "r8", "text": "text 0", "n": 8}])
    work.answer([0], paid)
    work.publish()
    assert names(work) == [(0, None, "answer 1"), (1, 0, "answer 1"), (8, 0, "answer 1")]
    work.write([*ROWS[1:], {"id": "r8", "text": "text 0", "n": 8}])
    work.publish()
    first = 1 if work.job.input.id else 0
    assert names(work) == [(1, None, "answer 1"), (8, first, "answer 1")]
    assert [usage is None for usage in work.results()["usage"]] == [False, True]


def test_without_dedupe_nothing_is_shared(work: Work) -> None:
    """Turned off, rows that have no answer of their own are new again; turned on, they share it again."""
    work.answer([0, 2])
    work.publish()
    work.sections["dedupe"] = False
    assert states(work) == [OK, NEW, OK, NEW, NEW, NEW, NEW, NEW]
    work.publish()
    assert names(work) == [(0, None, "answer 1"), (2, None, "answer 2")]
    work.sections["dedupe"] = True
    assert states(work) == [OK] * 4 + [NEW] * 4


def test_an_edit_changes_all_rows_that_showed_an_answer(tmp_path: Path) -> None:
    """Those that shared it, too: they are kept or asked again with the others, once."""
    work = Work(tmp_path).write(ROWS)
    work.sections |= {"dedupe": True, "input": {"path": "rows.jsonl", "id": "id"}}
    work.answer([0, 2])
    work.publish()
    work.sections["prompt"] = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
    found = work.survey().states()
    assert found["state"].to_list() == [CHANGED] * 4 + [NEW] * 4
    assert to_do(found, rerun_changed=True)["row_index"].to_list() == [0, 2, 4, 6]
    assert to_do(found, rerun_changed=False)["row_index"].to_list() == [4, 6]
    write_kept(work.run.checkpoint_path, found.filter(pl.col("state") == CHANGED).select("key", "hash"))
    work.publish()
    assert names(work) == [
        *((0, None, "answer 1"), (1, 0, "answer 1")),
        *((2, None, "answer 2"), (3, 2, "answer 2")),
    ]
    assert work.results()["stale"].all()
    del work.sections["prompt"]
    assert states(work) == [OK] * 4 + [NEW] * 4


def test_an_answer_that_only_a_duplicate_shows_has_its_place_in_the_states(work: Work) -> None:
    """Garbage collection keeps what the states name."""
    work.answer([0, 2, 4])
    work.write(ROWS[1:2])
    assert work.survey().states().select("part", "position").rows() == [(1, 0)]


def test_a_killed_asking_goes_on_under_another_row(work: Work) -> None:
    """Its records are those of the request, whoever asks."""
    found = work.survey()
    chains = Chains((0,))
    first = next(Assigner(found, chains).tasks(to_do(found.states(), rerun_changed=False)))
    record = sent(7)
    named = {"row": 0, "key": first.key, "request_hash": first.request_hash}
    record = type(record)(**{**{n: getattr(record, n) for n in record.__dataclass_fields__}, **named})
    write_journal(found.run.checkpoint_path, 1, [record])
    work.write([{"id": "new", "text": "text 0", "n": 99}, *ROWS])
    found = work.survey()
    again = list(Assigner(found, chains).tasks(to_do(found.states(), rerun_changed=False)))
    assert [task.row for task in again] == [0, 3, 5, 7]
    assert [task.number for task in again] == [7, 8, 9, 10]
    assert again[0].history.sent == {0: record}


def test_an_older_failure_beside_a_shared_answer_is_no_news(tmp_path: Path) -> None:
    """A published run shows what it shows, and nothing is left to publish."""
    work = Work(tmp_path).write(ROWS[:2])
    work.sections |= {"input": {"path": "rows.jsonl", "id": "id"}}
    work.answer([0])
    work.answer([1], failed)
    work.sections["dedupe"] = True
    work.publish()
    assert names(work) == [(0, None, "answer 1"), (1, 0, "answer 1")]
    assert scan_run(work.run).collect().equals(work.results())


def test_what_is_answered_since_the_publication_is_shown(work: Work) -> None:
    """Once, beside duplicates as they were published."""
    work.answer([0])
    work.publish()
    work.answer([2], ok)
    rows = scan_run(work.run).collect()
    assert rows["row_index"].to_list() == [0, 1, 2]
    assert rows["duplicate_of"].is_null().to_list() == [True, False, True]


def test_a_run_asks_identical_requests_once(tmp_path: Path) -> None:
    """Thirty rows with ten requests: ten calls, thirty results; an edit counts all, and pays ten."""
    with simulated(tmp_path, rows=30, dedupe=True) as job:
        job.edit(prompt={"messages": [{"role": "user", "content": "row {{ n % 10 }}: please"}]})
        assert job.submit_here(limit=4).pending == 18
        summary = job.submit_here()
        assert (summary.ok, summary.failed, summary.pending) == (30, 0, 0)
        assert len(job.calls()) == 10
        results = job.results()
        assert results["duplicate_of"].to_list() == [None] * 10 + [f"r{n % 10:06d}" for n in range(10, 30)]
        assert summary.usage["completion_tokens"] == sum(
            usage["completion_tokens"] for usage in results["usage"][:10]
        )
        job.edit(prompt={"messages": [{"role": "user", "content": "row {{ n % 5 }}: now"}]})
        with pytest.raises(ChangedRowsError, match="30 finished rows"):
            job.submit_here()
        assert job.submit_here(rerun_changed=True).ok == 30
        assert len(job.calls()) == 15
