"""Which edits of a job change what is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.submitting.edits import FORM, edited, is_of_form

JOB: dict[str, Any] = {
    "name": "a",
    "input": {"path": "rows.jsonl"},
    "prompt": {"vars": {"tone": "kind"}, "messages": [{"role": "user", "content": "{{ text }}"}]},
    "schema": {"type": "object", "properties": {"a": {}, "b": {}}},
    "request": {"temperature": 0, "stream": False},
    "model": "local/small",
    "run_tools": {"module": "tools.py", "functions": ["f"]},
}


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({}, []),
        (
            {"name": "b", "input": {"path": "others.jsonl"}, "budget": {"tokens": 1}, "retry": {"reask": 0}},
            [],
        ),
        ({"request": {"temperature": 0, "stream": True, "metadata": {"of": "mine"}}}, []),
        ({"model": {"model": "local/small", "limits": {"rpm": 5}}}, []),
        ({"schema": None}, ["schema"]),
        ({"schema": {"type": "object", "properties": {"b": {}, "a": {}}}}, ["schema"]),
        ({"schema": {"type": "array"}, "request": {"temperature": 1}}, ["schema", "request.temperature"]),
        ({"request": {}}, ["request.temperature"]),
        (
            {"request": {"temperature": 0, "response_format": {"type": "json_object"}}},
            ["request.response_format"],
        ),
        ({"model": {"model": "local/small", "request": {"response_format": None}}}, []),
        ({"model": {"model": "local/large", "request": {"seed": 1}}}, ["model", "model.request.seed"]),
        ({"prompt": {**JOB["prompt"], "turns": [{"content": "And?"}]}}, ["prompt.turns"]),
        ({"prompt": {**JOB["prompt"], "vars": {"tone": "curt"}}}, ["prompt.vars"]),
        ({"run_tools": None}, ["run_tools.module", "run_tools.functions"]),
    ],
)
def test_the_keys_that_an_edit_has_changed_are_named(sections: dict[str, Any], names: list[str]) -> None:
    """Those that are part of a request; whichever of two jobs is the older one."""
    now = {**JOB, **sections}
    assert edited(JOB, now) == names
    assert sorted(edited(now, JOB)) == sorted(names)
    assert is_of_form(names) is (bool(names) and set(names) <= FORM)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(one=st.dictionaries(st.sampled_from(sorted(JOB)), VALUES), other=st.dictionaries(st.text(), VALUES))
def test_a_job_is_not_edited_by_what_asks_nothing(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whatever stands in it, also where a section is of a kind that no job has."""
    asks = {"prompt", "schema", "request", "model", "run_tools"}
    assert edited(one, {**one, **{name: value for name, value in other.items() if name not in asks}}) == []
