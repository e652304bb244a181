"""A template's text: which columns it may read, and the templates that need no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.template.source import joined, words
from batchrun.template.template import TemplateError, Templates

NO_EFFECT = "{% if false %}{% endif %}"
"""Prints nothing, and makes any template one for minijinja."""


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ a }} and {{b.c}}", {"a", "b"}),
        ("{%- if x-%}{{ y|default(z) }}{% endif %}", {"x", "y", "z"}),
        ("{% if p %}{% set q = 1 %}{% endif %}{{ q }}", {"p", "q"}),
        ("{{größe}}", {"größe"}),
        ("{{1 if a_1 else(-b)}}", {"a_1", "b"}),
        ("{% include 'one.md' %}", {"inner", "deeper"}),
    ],
)
def test_every_name_that_a_template_reads_is_among_its_words(source: str, reads: set[str]) -> None:
    """In any position, and in the files that it includes by their names."""
    files = {"one.md": "{{ inner }}{% include 'two.md' %}", "two.md": "{{ deeper }}"}
    found = words(source, files)
    assert found is not None
    assert reads <= found


@pytest.mark.parametrize(
    "source",
    [
        "{{ row['some name'] }}",
        "{{ debug() }}",
        "{% include name %}",
        "{%- include ['a.md', 'b.md'] %}",
        "{% include 'a.md' ignore missing %}",
        "{%+ import 'a.md' as a %}",
        "{% from 'a.md' import b %}",
        "{% extends 'a.md' %}",
        "{% include 'loads.md' %}",
    ],
)
def test_a_template_that_may_read_any_column_is_known(source: str) -> None:
    """By other means than a name that it spells."""
    assert words(source, {"loads.md": "{% include other %}"}) is None


@pytest.mark.parametrize(
    "source", ["{% include file %}", "{% extends file %}", "{% from file import say %}{{ say() }}"]
)
def test_a_file_that_the_row_names_sees_the_row(tmp_path: Path, source: str) -> None:
    """Its columns are not spelled in the template around it."""
    (tmp_path / "a.md").write_text("{% macro say() %}{{ hidden }}{% endmacro %}{{ hidden }}")
    row = {"file": "a.md", "hidden": "here", "nested": [{"a": 1}]}
    assert Templates(tmp_path).text(source)(row) == "here"


PIECES = st.lists(
    st.text("a{}%#\\\n\r ü'-", max_size=4)
    | st.sampled_from(["{{ a }}", "{{b}}", "{{\n c }}", "{{ absent }}", "{{ none }}", "{{ self }}"]),
    max_size=6,
)
CELLS = st.text(st.characters()) | st.sampled_from(
    ["{{ a }}", "<&>", "a\ud800b", "\x00", 7, None, 2.0, ["x"]]
)


@given(pieces=PIECES, row=st.fixed_dictionaries({"a": CELLS, "b": CELLS, "c": CELLS}))
def test_what_needs_no_engine_gives_what_the_engine_gives(pieces: list[str], row: dict[str, Any]) -> None:
    """Whatever stands in the template and in the row: the same text, or the same error."""
    source = "".join(pieces)
    assert _outcome(source, row) == _outcome(NO_EFFECT + source, row)


def _outcome(source: str, row: dict[str, Any]) -> str:
    try:
        return Templates(Path()).text(source)(row)
    except TemplateError as error:
        return f"error: {error}"


def test_a_template_of_columns_alone_needs_no_engine() -> None:
    """The text itself, where there is nothing around it."""
    text = "x" * 1000
    alone, around = joined("{{ text }}"), joined("<{{ text }}>{{ text }}")
    assert alone is not None
    assert around is not None
    assert alone({"text": text}) is text
    assert around({"text": "a"}) == "<a>a"


@pytest.mark.parametrize("source", ["{{ a|upper }}", "{{- a }}", "{{ true }}", "{{ a.b }}", "{# a #}{{ a }}"])
def test_any_other_template_needs_the_engine(source: str) -> None:
    """Also where it looks much the same."""
    assert joined(source) is None
