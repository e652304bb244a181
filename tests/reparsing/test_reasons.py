"""Why answers will not do, in groups: what a table of three lines can say of many rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchrun.chat.schema.structured import AnswerSchema, Invalid
from batchrun.outcome import Completed, Error, Failed
from batchrun.reparsing.counting import Tally, reason_of
from batchrun.run_folder.journal.records import Done

SCHEMA = AnswerSchema(
    {
        "type": "object",
        "properties": {
            "label": {"enum": ["bug", "billing"]},
            "score": {"type": "integer", "maximum": 5},
            "name": {"type": "string", "maxLength": 3, "pattern": "^[a-z]*$"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["label"],
        "additionalProperties": False,
    },
)


def reason(text: str) -> str:
    read = SCHEMA.read(text)
    assert isinstance(read, Invalid), text
    return reason_of(Error("invalid_output", read.message))


def answer(**members: Any) -> str:
    return json.dumps({"label": "bug", **members})


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (answer(label="x"), answer(label=7), "$.label: … is not one of"),
        (answer(label="x"), answer(label={"a": 1}), "$.label: … is not one of"),
        (
            answer(label='a; $.b: \\" is 1'),
            answer(label="is a required property"),
            "$.label: … is not one of",
        ),
        (answer(label="y" * 200), answer(label=None), "$.label: … is not one of"),
        (answer(score=6), answer(score=1e300), "$.score: … is greater than"),
        (answer(tags=[1]), answer(tags=["a", "b", 1.5]), "$.tags[…]: … is not of type"),
        ("no JSON", "none at all", "the text holds no JSON"),
        (answer()[:-3], answer(tags=["abcdef"])[:-3], "the JSON ends in the middle, after … characters"),
        (answer(label="x", score=9), answer(label="z"), "$.label: … is not one of"),
    ],
)
def test_answers_that_fail_alike_count_together(one: str, other: str, said: str) -> None:
    """By the first complaint, whatever the values and the places in lists are."""
    assert reason(one) == reason(other)
    assert reason(one).startswith(said)


def test_what_is_missing_is_told_apart() -> None:
    """A name there is no value, but the reason."""
    both = AnswerSchema({"type": "object", "required": ["a", "b"]})
    said = [both.read(text) for text in ('{"b": 1}', '{"a": 1}')]
    reasons = {reason_of(Error("invalid_output", read.message)) for read in said if isinstance(read, Invalid)}
    assert reasons == {'$: "a" is a required property', '$: "b" is a required property'}


@given(text=st.text().filter(lambda text: text not in ("bug", "billing")))
@example(text="0" * 27 + "\x1f" * 6).via("cut within an escape")
@example(text="0" * 57 + '"' * 3)
def test_no_value_is_part_of_a_reason(text: str) -> None:
    """Whatever a model wrote there."""
    assert reason(answer(label=text)) == reason(answer(label="x"))


def done(error: Error | None) -> Done:
    outcome = Failed(error, 0) if error else Completed(0)
    return Done(1, 0, "r", 0, "00", 0.0, 0, outcome)


def test_the_most_common_reasons_come_first_each_with_the_first_row() -> None:
    """Rows that share an answer count as such; memory does not grow with the reasons."""
    tally = Tally()
    for number in range(5_000):
        tally.note(done(Error("invalid_output", f"$.{number}: wrong")), f"r{number}", 1, was_ok=True)
    for row_id, rows in (("a", 2), ("b", 3)):
        tally.note(done(Error("refusal", f"I will not, {row_id}")), row_id, rows, was_ok=False)
    tally.note(done(None), "c", 4, was_ok=False)
    first, second, third = tally.reasons()
    assert (first.error_type, first.reason, first.rows, first.row_id) == (
        "invalid_output",
        "",
        4_000,
        "r1000",
    )
    assert (second.error_type, second.rows, second.row_id, second.message) == (
        "refusal",
        5,
        "a",
        "I will not, a",
    )
    assert third.rows == 1
    assert (tally.reread, tally.ok, tally.now_ok, tally.now_failed) == (5_009, 4, 4, 5_000)
