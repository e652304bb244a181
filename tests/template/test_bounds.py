"""What a job may be made of has bounds: files, conditions, templates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchrun.job.document.document import MAX_BYTES, read_document, read_whole
from batchrun.job.env_file import read_env_file
from batchrun.predicate import MAX_OPERATORS, Predicate, PredicateError, predicate
from batchrun.source.messages import message_list
from batchrun.template.bounds import MAX_BRANCHES
from batchrun.template.bounds import MAX_OPERATORS as MAX_TAG_OPERATORS
from batchrun.template.template import TemplateError, Templates


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("a IN (SELECT a FROM read_csv('x.csv'))", r"holds a query \(read_csv\)"),
        ("a IN (select a FROM t)", r"holds a query \(SELECT\)"),
        ("n IN (FROM read_parquet ('http://127.0.0.1:1/x'))", r"holds a query \(read_parquet\)"),
        ("EXISTS (FROM \"scan_csv\"('x'))", r"holds a query \(FROM\)"),
        ("n IN ((\nfrom t))", r"holds a query \(FROM\)"),
        ("n IN (WITH t AS (FROM u) FROM t)", r"holds a query \(WITH\)"),
        ("n IN (VALUES (1), (2))", r"holds a query \(VALUES\)"),
        ("n IN (TABLE t)", r"holds a query \(TABLE\)"),
        ("EXTRACT(year FROM (FROM t)) = 1", r"holds a query \(FROM\)"),
        ("EXTRACT(FROM t) = 1", r"holds a query \(FROM\)"),
        ("EXISTS (/* ' */ select 1 FROM read_parquet('x'))", "holds a comment"),
        ("n IN (/* /* */ ' */ select n FROM read_csv('x') -- ' \n)", "holds a comment"),
        ("a = $$ ' $$ OR EXISTS (SELECT 1 FROM read_csv('x')) OR a = '", "quotes text in another way"),
        ("a = E'\\' OR EXISTS (FROM t) OR a = ' '", "quotes text in another way"),
        ("a = r'\\' OR a = 1", "quotes text in another way"),
    ],
)
def test_a_condition_reads_no_file(sql: str, message: str) -> None:
    """polars would open the file, or the web address, that a query within a condition names."""
    with pytest.raises(PredicateError, match=message):
        Predicate(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "EXTRACT(year FROM d) = 2020",
        "TRIM(BOTH 'x' FROM s) = 'a'",
        "SUBSTRING(s FROM 1 FOR 2) = 'ab'",
        "s IS DISTINCT FROM 'a'",
        "s IS NOT DISTINCT FROM 'it''s from read_csv(x) -- /* $'",
        '"from" = 1 AND `select` IN ("with", "values")',
        "n.from = 1",
        "table = 1 OR (table IS NULL)",
        "CAST(d AS TIMESTAMP WITH TIME ZONE) > d",
        "x = 'e' OR x - -1 > 2",
    ],
)
def test_a_condition_may_use_the_words_of_a_query_otherwise(sql: str) -> None:
    """In functions that have them, as columns in quotes, and within texts."""
    assert Predicate(sql).looks_at_one_row


def test_a_source_that_polars_cannot_reach_is_a_wrong_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a query be spelled in a way that nobody has thought of."""
    monkeypatch.setattr(predicate, "_refused", lambda _sql: None)
    with pytest.raises(PredicateError, match=r"is no SQL condition: .*No such file"):
        Predicate("n IN (FROM read_csv('nowhere.csv'))")


def test_the_word_select_may_stand_in_a_text() -> None:
    """Only SQL of its own counts."""
    chosen = Predicate("a = 'SELECT it' OR \"select\" = 1").choose(
        [{"a": "SELECT it"}, {"select": 1}, {"a": ""}]
    )
    assert chosen == [True, True, False]


def test_a_condition_has_a_bound_on_its_operators_and_a_list_of_values_has_none() -> None:
    """polars takes minutes for thousands of ANDs."""
    with pytest.raises(PredicateError, match=r"more than 200 operators"):
        Predicate(" AND ".join(["a > 1"] * (MAX_OPERATORS + 2)))
    values = ", ".join(str(-number) for number in range(1_000))
    assert Predicate(f"a IN ({values})").choose([{"a": -999}, {"a": 1}]) == [True, False]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a > 1", True),
        ("s = '\"Agg\":'", True),
        ("a > avg(a)", False),
        ("count(*) > 1", False),
        ("row_number() OVER (ORDER BY a) < 2", False),
    ],
)
def test_a_condition_knows_whether_it_looks_at_one_row(sql: str, *, expected: bool) -> None:
    """The input is read in parts, over which an average would be another each time."""
    assert Predicate(sql).looks_at_one_row is expected


@pytest.mark.parametrize("depth", [250, 700, 900, 5_000])
def test_messages_nested_too_deeply_are_refused(depth: int) -> None:
    """However deep, it is the row that fails and not the stack."""
    text = '[{"role":"user","content":' + "[" * depth + "]" * depth + "}]"
    with pytest.raises(ValueError, match="nested too deeply"):
        message_list(text)


def test_a_file_of_a_job_is_a_regular_one_of_bounded_size(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device read without end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(OSError, match="no regular file"):
        read_whole(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_whole(Path("/dev/zero"))
    with pytest.raises(OSError, match="larger than"):
        read_whole(tmp_path / "large")


def test_a_file_of_variables_is_bounded() -> None:
    """/dev/zero has no end."""
    with pytest.raises(Exception, match="larger than 1,000,000 bytes"):
        read_env_file(Path("/dev/zero"))


@pytest.mark.parametrize("source", ["{{ " + "-" * 20_000 + "1 }}", "{{ " + "not " * 20_000 + "1 }}"])
def test_an_expression_nested_too_deeply_is_refused(source: str, tmp_path: Path) -> None:
    """It would overflow the stack of the process."""
    with pytest.raises(TemplateError, match="nested more than 100 levels"):
        Templates(tmp_path).text(source)


def test_dashes_outside_an_expression_are_text(tmp_path: Path) -> None:
    """Rules and brackets of a prompt are no expression."""
    rule = "-" * 500
    assert Templates(tmp_path).text(rule + "{{ a }}" + "{{ '" + rule + "' }}")({"a": 1}) == f"{rule}1{rule}"


LONG = [
    ("{{ " + "x+" * 64_000 + "x }}", "more than 1,000 operators"),
    ("{{ x" + " is not none" * 64_000 + " }}", "more than 1,000 operators"),
    ("{{ x" + "|upper" * 64_000 + " }}", "more than 1,000 operators"),
    ("{{ '}}' ~ " + "x ~ " * 64_000 + "x }}", "more than 1,000 operators"),
    ("{% if x %}a" + "{%- elif x %}a" * 8_000 + "{% endif %}", "more than 500 `elif`"),
]
"""Each would end the process: its syntax tree is dropped level by level."""


@pytest.mark.parametrize(("source", "message"), LONG)
def test_a_template_too_long_for_the_stack_is_refused(tmp_path: Path, source: str, message: str) -> None:
    """With its line; in an included file with the file's name."""
    with pytest.raises(TemplateError, match=message) as caught:
        Templates(tmp_path).text("a\n\n" + source)
    assert "elif" in message or caught.value.line == 3
    (tmp_path / "long.md").write_text("\n" + source)
    with pytest.raises(TemplateError, match=rf"'long.md': .*{message} .*\(line \d+\)|'long.md': .*{message}"):
        Templates(tmp_path).text("{% include 'long.md' %}")


def test_a_template_of_the_greatest_length_is_read(tmp_path: Path) -> None:
    """The bounds are those that are named, and hold for one tag; text and raw blocks have none."""
    chain = "{{ " + "x+" * MAX_TAG_OPERATORS + "x }}"
    branches = "{% if x > 1 %}a" + "{% elif x > 1 %}a" * (MAX_BRANCHES - 1) + "{% elif x %}b{% endif %}"
    raw = "{% raw %}{{ don't " + "+" * 2_000 + "{% endraw %}{# " + "+" * 2_000 + " #}"
    rendered = Templates(tmp_path).text(chain + branches + raw)({"x": 1})
    assert rendered == f"{MAX_TAG_OPERATORS + 1}b{{{{ don't " + "+" * 2_000
    numbers = ", ".join(f"{{'a': -{n}.5}}" for n in range(900))
    assert Templates(tmp_path).text("{{ [" + numbers + "] | length }}.")({}) == "900."


@pytest.mark.parametrize(
    "source",
    [
        "{{ text | indent(1000000000) }}",
        "{{ (text * 9000) | indent(width=10000) }}",
        "{{ [1] | batch(1000000000, 0) }}",
        "{{ [1] | slice(x * 1000000000, 0) }}",
        "{{ '%1000000000d' | format(3) }}",
        "{{ ('%.1' ~ '000000000f') | format(3) }}",
        "{{ '{:1000000000}'.format(3) }}",
        "{{ [1] | tojson(indent=1000000000) }}",
        "{% for n in range(70) %}{{ 'x' * 1000000 }}{% endfor %}",
    ],
)
@pytest.mark.parametrize("around", ["", "."])
def test_what_one_step_may_build_is_bounded(tmp_path: Path, source: str, around: str) -> None:
    """Fuel counts steps, not bytes."""
    templates = Templates(tmp_path)
    with pytest.raises(TemplateError, match=r"more than|and may have 64,000,000"):
        templates.value(source + around)({"text": "a\nb", "x": 1})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'a\nb' | indent }}", "a\n    b"),
        ("{{ 'a\nb' | indent(2, true) }}", "  a\n  b"),
        ("{{ 'a\nb' | indent(width=1) }}", "a\n b"),
        ("{{ [1, 2, 3] | batch(2, 0) }}", [[1, 2], [3, 0]]),
        ("{{ [1, 2, 3] | slice(2) }}", [[1, 2], [3]]),
        ("{{ '%05.1f|%s' | format(3, 'x') }}", "003.0|x"),
        ("{{ '{:>5}|{}'.format(3, 100000) }}", "    3|100000"),
        ("{{ '%s: 100000' | format(3) }}", "3: 100000"),
    ],
)
def test_a_bounded_filter_is_otherwise_the_engines_own(tmp_path: Path, source: str, expected: object) -> None:
    """With all its arguments."""
    assert Templates(tmp_path).value(source)({}) == expected


@pytest.mark.parametrize(
    "source", ["{{ y | indent(2) }}", "{{ y | batch(2) }}", "{{ y | slice(2) }}", "{{ '%s' | format(y) }}"]
)
def test_a_bounded_filter_of_a_missing_column_is_the_rows_error(tmp_path: Path, source: str) -> None:
    """A misspelled name is not the word None."""
    with pytest.raises(TemplateError, match="null or undefined"):
        Templates(tmp_path).text(source)({})


def test_an_included_file_is_bounded(tmp_path: Path) -> None:
    """What is included is part of every prompt."""
    (tmp_path / "large.md").write_bytes(b"x" * 4_000_001)
    with pytest.raises(TemplateError, match=r"large\.md.*larger than 4,000,000 bytes"):
        Templates(tmp_path).text("{% include 'large.md' %}")


def test_a_document_of_too_many_values_is_refused_before_it_is_built() -> None:
    """A prompt table in YAML is no job."""
    problem = read_document("- a\n" * 300_000).problems[0]
    assert "more than 50,000 values" in problem.text
