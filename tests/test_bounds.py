"""What a job may be made of has bounds: files, conditions, templates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchrun.job.document import read_document
from batchrun.job.env_file import read_env_file
from batchrun.job.reading import MAX_BYTES, read_whole
from batchrun.predicate import MAX_OPERATORS, Predicate, PredicateError
from batchrun.source.messages import message_list
from batchrun.template import TemplateError, Templates


@pytest.mark.parametrize(
    "sql",
    [
        "a IN (SELECT a FROM read_csv('x.csv'))",
        "EXISTS (/* ' */ select 1 FROM read_parquet('x'))",
        "a = $$ ' $$ OR EXISTS (SELECT 1 FROM read_csv('x')) OR a = '",
    ],
)
def test_a_condition_reads_no_file(sql: str) -> None:
    """polars would open the file, or the web address, that a query within a condition names."""
    with pytest.raises(PredicateError, match=r"holds a query \(SELECT\)"):
        Predicate(sql)


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


def test_an_included_file_is_bounded(tmp_path: Path) -> None:
    """What is included is part of every prompt."""
    (tmp_path / "large.md").write_bytes(b"x" * 4_000_001)
    with pytest.raises(TemplateError, match=r"large\.md.*larger than 4,000,000 bytes"):
        Templates(tmp_path).text("{% include 'large.md' %}")


def test_a_document_of_too_many_values_is_refused_before_it_is_built() -> None:
    """A prompt table in YAML is no job."""
    problem = read_document("- a\n" * 300_000).problems[0]
    assert "more than 50,000 values" in problem.text
