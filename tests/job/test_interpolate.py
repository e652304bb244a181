"""`${VAR}` in a job's values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.errors import JobError
from batchrun.job.document.document import Document
from batchrun.job.document.interpolate import expand
from tests.job.jobs import MINIMAL, load

ENV = {"A": "one", "B": "two words", "EMPTY": "", "LOOKS": "${A}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwo wordsz"),
        ("${A:-other}", "one"),
        ("${NONE:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("${LOOKS}", "${A}"),
        ("$A $ {A} $", "$A $ {A} $"),
    ],
)
def test_variables_are_replaced(text: str, expanded: str) -> None:
    """Defaults, escapes and single passes, as a shell would do it."""
    result = expand(Document({"k": [text]}), ENV)
    assert (result.value, result.problems) == ({"k": [expanded]}, ())


@pytest.mark.parametrize("text", ["${", "${A", "${1A}", "${A-b}", "${}", "${A:b}", "x ${ A }"])
def test_a_broken_reference_is_a_problem(text: str) -> None:
    """A `${` that names no variable is never passed on as it is."""
    (problem,) = expand(Document({"k": text}), ENV).problems
    assert problem.loc == ("k",)
    assert "names no variable" in problem.text


_WORDS = st.text(max_size=5).filter(lambda text: "${" not in text)
_LEAVES = st.none() | st.booleans() | st.integers() | _WORDS
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)


@given(value=st.dictionaries(_WORDS, _TREES, max_size=3))
def test_values_without_references_stay_as_they_are(value: dict[str, Any]) -> None:
    """Expansion touches nothing but references."""
    assert expand(Document(value), {}).value == value


@given(text=st.text(), env=st.dictionaries(st.sampled_from("ABC"), st.text()))
def test_escaped_text_comes_back(text: str, env: dict[str, str]) -> None:
    """Writing `$${` for every `${` gives any text through, whatever the environment holds."""
    escaped = text.replace("${", "$${")
    assert expand(Document({"k": escaped}), env).value == {"k": text}


@given(parts=st.lists(st.sampled_from("ABC") | st.text().filter(lambda text: "$" not in text)))
def test_references_are_replaced_one_by_one(parts: list[str]) -> None:
    """The expansion of a text is that of its parts, joined; values are not looked into again."""
    env = {"A": "${B}", "B": "", "C": "}$c"}
    text = "".join(f"${{{part}}}" if part in env else part for part in parts)
    expected = "".join(env.get(part, part) for part in parts)
    assert expand(Document({"k": text}), env).value == {"k": expected}


def test_prompts_are_never_expanded() -> None:
    """Everything below `prompt` stays: a prompt may be about shell scripts."""
    value = {"prompt": {"vars": {"a": "${A}"}, "messages": [{"file": "${A}"}]}, "name": "${A}"}
    assert expand(Document(value), ENV).value == {**value, "name": "one"}


@pytest.mark.parametrize(
    ("added", "held", "read", "expected"),
    [
        ("retry:\n  max_attempts: ${V}", "3", "retry.max_attempts", 3),
        ("retry: {max_attempts: '${V}'}", "3", "retry.max_attempts", 3),
        ("retry:\n  max_wait: ${V}", "5", "retry.max_wait", 5.0),
        ("retry:\n  max_wait: ${V}", "5m", "retry.max_wait", 300.0),
        ("output:\n  raw: ${V}", "true", "output.raw", True),
        ("output:\n  raw: ${V}", "no", "output.raw", False),
        ("stop_when:\n  failed: ${V}", "0.25", "stop_when.failed", 0.25),
        ("stop_when:\n  failed: ${V}", "25%", "stop_when.failed", 0.25),
        ("name: ${V}", "123", "name", "123"),
        ("name: ${V}", "no", "name", "no"),
    ],
)
def test_a_variable_alone_is_read_as_its_key_expects(
    tmp_path: Path, added: str, held: str, read: str, expected: object
) -> None:
    """A variable can hold a number or a boolean where the key takes one, and is text where it takes text."""
    found: Any = load(tmp_path, f"{MINIMAL}{added}\n", env={"V": held})
    for part in read.split("."):
        found = getattr(found, part)
    assert found == expected
    assert isinstance(found, type(expected))


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("retry: {max_attempts: '${V}'}", 'max_attempts: must be a whole number; found "${V}".'),
        ("retry: {max_attempts: '1${V}'}", 'max_attempts: must be a whole number; found "1${V}".'),
        ("output: {columns: '${V}'}", 'columns: must be all, none, or a list of columns; found "${V}".'),
        ("retry: {max_attempts: ${V}}", 'inside { } and [ ] a ${VAR} must be quoted: "${VAR}"'),
    ],
)
def test_a_variable_with_a_wrong_value_is_named_not_shown(tmp_path: Path, added: str, message: str) -> None:
    """What a variable holds may be a secret: the message shows the reference."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, f"{MINIMAL}{added}\n", env={"V": "hidden"})
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("held", "value"), [("0.2", 0.2), ("7", 7), ("true", True), ("no", "no"), ("text", "text"), ("", None)]
)
def test_what_an_endpoint_adds_has_the_type_its_variable_spells(
    tmp_path: Path, held: str, value: object
) -> None:
    """Where any value is taken a variable is read as YAML reads it, words apart; quoted it is text."""
    text = f"{MINIMAL}request:\n  user: '${{V}}'\n  extra_body:\n    a: ['${{V}}']\n    b: ${{V}}\n"
    request = load(tmp_path, text, env={"V": held}).models[0].parameters
    assert request == {"user": held, "extra_body": {"a": [held], "b": value}}
    assert type(request["user"]) is type(request["extra_body"]["a"][0]) is str


@pytest.mark.parametrize(
    ("key", "held", "value"),
    [
        ("temperature", "0.2", 0.2),
        ("temperature", "0", 0),
        ("logprobs", "true", True),
        ("seed", "7", 7),
        ("user", "7", "7"),
        ("stop", "7", "7"),
        ("verbosity", "low", "low"),
    ],
)
@pytest.mark.parametrize("quote", ["", "'"])
def test_a_parameter_has_the_type_it_must_have(
    tmp_path: Path, key: str, held: str, value: object, quote: str
) -> None:
    """A variable is a number where a number is expected and text where text is, with or without quotes."""
    text = f"{MINIMAL}request:\n  {key}: {quote}${{V}}{quote}\n"
    request = load(tmp_path, text, env={"V": held}).models[0].parameters
    assert request == {key: value}
    assert type(request[key]) is type(value)


@pytest.mark.parametrize("key", ["temperature", "stop", "response_format"])
def test_an_empty_variable_leaves_a_parameter_out(tmp_path: Path, key: str) -> None:
    """`${VAR:-}` is how a job makes a parameter optional."""
    job = load(tmp_path, f"{MINIMAL}request:\n  {key}: ${{V:-}}\n")
    assert job.models[0].parameters == {}
    assert job.models[0].removed == {key}
