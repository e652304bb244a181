"""--set: one value of the job replaced from the shell."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun import codec
from batchrun.errors import JobError
from batchrun.job.document.document import Document
from batchrun.job.document.override import apply_set, spelled_set
from tests.job.jobs import MINIMAL, load

CWD = Path("/shell")


def _set(value: Any, *texts: str) -> Document:
    document = Document(copy.deepcopy(value))
    for text in texts:
        apply_set(document, text, CWD)
    return document


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ({}, "a.b=1", {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, "a.b=3", {"a": {"b": 3, "c": 2}}),
        ({"a": [{"b": 1}, 2]}, "a.0.b=x", {"a": [{"b": "x"}, 2]}),
        ({"a": [1]}, "a.1=2", {"a": [1, 2]}),
        ({"a": []}, "a.0.b=2", {"a": [{"b": 2}]}),
        ({"a": None}, "a.b=1", {"a": {"b": 1}}),
        ({"a": {"50256": 1}}, "a.50256=-100", {"a": {"50256": -100}}),
        ({"a": 1}, "a=", {"a": None}),
        ({"a": 1}, "a=null", {"a": None}),
        ({}, "a='1'", {"a": "1"}),
        ({}, "a=[x, {y: 2}]", {"a": ["x", {"y": 2}]}),
        ({}, "a=b=c", {"a": "b=c"}),
        ({}, "a=lang = 'en' AND x < 3", {"a": "lang = 'en' AND x < 3"}),
        ({}, "a=1e-2", {"a": 0.01}),
        ({}, "input.path=x.jsonl", {"input": {"path": "/shell/x.jsonl"}}),
        ({}, "input={path: x.jsonl, id: x}", {"input": {"path": "/shell/x.jsonl", "id": "x"}}),
        ({}, "input={run: runs/x}", {"input": {"run": "/shell/runs/x"}}),
        ({}, "input.path=/abs/x", {"input": {"path": "/abs/x"}}),
        ({}, "output={path: runs/x}", {"output": {"path": "/shell/runs/x"}}),
        ({}, "output.path=s3://bucket/x", {"output": {"path": "s3://bucket/x"}}),
        ({}, "input.path=S3://bucket/x", {"input": {"path": "S3://bucket/x"}}),
        ({}, "output.local_path=work", {"output": {"local_path": "/shell/work"}}),
        ({}, "input.path=${DATA}/x", {"input": {"path": "${DATA}/x"}}),
        ({}, "endpoints.e.ca_file=ca.pem", {"endpoints": {"e": {"ca_file": "/shell/ca.pem"}}}),
        (
            {"prompt": {"messages": []}},
            "prompt.messages.0.file=m",
            {"prompt": {"messages": [{"file": "/shell/m"}]}},
        ),
        ({}, "request.user=x.jsonl", {"request": {"user": "x.jsonl"}}),
    ],
)
def test_a_value_is_put_where_it_belongs(before: Any, text: str, after: Any) -> None:
    """The value is YAML, numbers are positions in lists, and paths start at the shell's folder."""
    document = _set(before, text)
    assert (document.value, document.problems) == (after, [])


_KEYS = st.lists(st.text("abcxyz_-", min_size=1, max_size=4), min_size=1, max_size=4)
_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]) | st.sampled_from("\n\t\x00")
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(keys=_KEYS, value=_VALUES)
def test_any_json_value_goes_through_set_unchanged(keys: list[str], value: Any) -> None:
    """JSON is YAML: what a script writes with a JSON encoder arrives as it was."""
    text = codec.dumps(value).decode()
    document = _set({}, f"{'.'.join(keys)}={text}")
    found = document.value
    for key in keys:
        found = found[key]
    assert document.problems == []
    assert found == value
    assert codec.dumps(found) == codec.dumps(value)


_ANY_TEXT = st.text() | st.text("\x00\x7f\x80\x85\u2028\ufeff\ufffe\U0001f600\\\"'#:", max_size=6)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(value=_ANY)
def test_any_value_at_hand_is_set_as_it_is(value: Any) -> None:
    """Whatever characters it holds, control characters and those beyond U+FFFF included."""
    document = _set({}, spelled_set("a.b", value))
    assert document.problems == []
    assert codec.dumps(document.value) == codec.dumps({"a": {"b": value}})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("request.stop", Path("x"), "set: request.stop: Object of type PosixPath is not JSON"),
        ("request.stop", "\ud800", "set: request.stop: 'utf-8' codec can't encode character '\\ud800'"),
        ("request.top_p", float("nan"), "set: request.top_p: Out of range float values"),
        ("request.stop=x", 1, "set: 'request.stop=x' is no key of a job"),
    ],
)
def test_a_value_that_json_has_no_form_for_is_refused(key: str, value: Any, message: str) -> None:
    """Before anything is read as another value than it is."""
    with pytest.raises(JobError) as caught:
        spelled_set(key, value)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@given(keys=_KEYS, value=st.integers(), other=st.integers())
def test_the_last_of_two_sets_holds(keys: list[str], value: int, other: int) -> None:
    """Options are applied in order, and what they do not name stays."""
    name = ".".join(keys)
    document = _set({"kept": {"a": 1}}, f"kept.{name}={value}", f"kept.b_.{name}=0", f"kept.{name}={other}")
    again = _set({"kept": {"a": 1}}, f"kept.b_.{name}=0", f"kept.{name}={other}")
    assert document.value == again.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("request", "--set: write KEY=VALUE"),
        ("=3", "--set: write KEY=VALUE"),
        ("a..b=3", "--set: write KEY=VALUE"),
        ("model.limits.rpm=3", "--set model.limits.rpm: model is a plain value, with nothing below it"),
        (
            "prompt.messages.5.content=x",
            "--set prompt.messages.5.content: prompt.messages is a list of 1: 5 is no",
        ),
        ("prompt.messages.x=x", "--set prompt.messages.x: prompt.messages is a list of 1: x is no position"),
        ("request.temprature=0", "--set request.temprature: request.temprature is not a known key."),
        ("request.stop={{ x }}", "--set request.stop: request.stop: an unquoted {{"),
        ("input.limit=many", '--set input.limit: input.limit: must be a whole number; found "many".'),
        ("input.limit=[1", "--set input.limit: a [ that is opened here is not closed"),
        ("request.stop=no", "--set request.stop: request.stop: no without quotes is false"),
        ("request={top_p: 1, top_p: 2}", "--set request: request.top_p is given twice"),
    ],
)
def test_a_wrong_set_is_named_by_its_option(tmp_path: Path, text: str, message: str) -> None:
    """A message about a value from the shell names the option where a line of the file would stand."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, MINIMAL, sets=[text])
    assert str(caught.value).startswith(message)


def test_a_set_value_takes_the_place_of_what_the_file_said(tmp_path: Path) -> None:
    """Lines of the file that no longer hold are not named any more."""
    job = load(tmp_path, f"{MINIMAL}request:\n  top_p: 1\n  seed: 2\n", sets=["request={top_p: 0.3}"])
    assert job.models[0].parameters == {"top_p": 0.3}
    assert job.where("request", "top_p") == "--set request: request.top_p"
    assert job.where("model") == "job.yaml:5: model"


def test_input_path_of_the_shell_is_absolute(tmp_path: Path) -> None:
    """A relative path given in the shell means the shell's folder, not the job's."""
    job = load(tmp_path, MINIMAL, file="jobs/x.yaml", sets=["input.path=data/*.jsonl"])
    assert job.input.path == str(tmp_path / "data/*.jsonl")
