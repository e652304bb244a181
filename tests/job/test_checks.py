"""The section `checks`: comparisons that are read strictly and hold exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from batchrun.errors import JobError
from batchrun.job.sections.checks import Comparison, Wanted
from tests.job.jobs import MINIMAL, load

READ: TypeAdapter[Wanted] = TypeAdapter(Comparison)
SIGNS = ["<=", ">=", "<", ">", "="]


def checks(folder: Path, added: str, **options: object) -> dict[str, str]:
    """The checks of a job, spelled again."""
    job = load(folder, f"{MINIMAL}{added}\n", **options)  # type: ignore[arg-type]  # as `load` takes them
    return {check.name: str(check.wanted) for check in job.checks}


def test_checks_are_read_in_their_order(tmp_path: Path) -> None:
    """Any key is taken: whether it is a column or SQL is settled once the columns are known."""
    added = 'checks: {failed: "<= 1%", parsed: ">=99.5 %", "parsed.label = gold_label": "> 92%", ok: "= 3"}'
    found = checks(tmp_path, added)
    assert list(found.items()) == [
        ("failed", "<= 1%"),
        ("parsed", ">= 99.5%"),
        ("parsed.label = gold_label", "> 92%"),
        ("ok", "= 3"),
    ]


def test_a_job_without_checks_is_one_in_which_no_row_may_fail(tmp_path: Path) -> None:
    """Checks that are given stand alone, also when there is none."""
    assert checks(tmp_path, "") == {"failed": "<= 0"}
    assert checks(tmp_path, 'checks: {ok: ">= 3"}') == {"ok": ">= 3"}
    assert checks(tmp_path, "checks: {}") == {}


def test_unquoted_is_right_where_yaml_takes_it(tmp_path: Path) -> None:
    """Only > begins a block of text."""
    assert checks(tmp_path, "checks:\n  failed: <= 1%\n  ok: = 3") == {"failed": "<= 1%", "ok": "= 3"}


def test_a_check_comes_from_the_shell_and_from_a_variable(tmp_path: Path) -> None:
    """As every other value does."""
    assert checks(tmp_path, "", sets=["checks.failed=<= 5%"]) == {"failed": "<= 5%"}
    assert checks(tmp_path, "", sets=['checks.ok=">= 5"']) == {"ok": ">= 5"}
    assert checks(tmp_path, 'checks: {failed: "<= ${MOST}%"}', env={"MOST": "2"}) == {"failed": "<= 2%"}
    assert checks(tmp_path, "checks: {failed: '${MOST}'}", env={"MOST": "< 4"}) == {"failed": "< 4"}


@pytest.mark.parametrize(
    ("added", "line", "message"),
    [
        ("checks: {failed: >= 99%}", 6, 'opens a block of text in YAML: quote it, ">= 99%"'),
        ("checks:\n  failed: > 3", 7, 'opens a block of text in YAML: quote it, ">= 99%"'),
        ("checks:\n  failed: >3", 7, 'in quotes: > opens a block of text in YAML; found ""'),
        ("checks: {failed: 0}", 6, "checks.failed: must be a comparison with a percentage of the finished"),
        ("checks: {failed: true}", 6, "checks.failed: must be a comparison"),
        ("checks: {failed: null}", 6, "it is empty. Give it a value, or remove the key."),
        ("checks: {failed: [1]}", 6, "found a list"),
        ("checks: {failed: 99%}", 6, 'or with a number of rows, "<= 3"; found "99%"'),
        ("checks:\n  ok: '=> 99%'", 7, '"<= 3": write ">= 99%"; found "=> 99%"'),
        ("checks: {ok: '=<3'}", 6, 'write "<=3"'),
        ("checks: {ok: '≥ 99%'}", 6, 'write ">= 99%"'),
        ("checks: {ok: '== 3'}", 6, 'write "= 3"'),
        ("checks: {failed: '<= 0.015'}", 6, 'write "<= 1.5%"'),
        ("checks: {failed: '<= 1.5'}", 6, '"<= 3"; found "<= 1.5"'),
        ("checks: {failed: '<= -1'}", 6, "must be a comparison"),
        ("checks: {failed: '<= 101%'}", 6, "must be a comparison"),
        ("checks: {failed: '!= 3'}", 6, "must be a comparison"),
        ("checks: {failed: '<= 1% or 3'}", 6, "must be a comparison"),
        ("checks: {'': '<= 3'}", 6, "the key must not be empty"),
        ('checks: {failed: "<= 1%", failed: "<= 2%"}', 6, "checks.failed is given twice"),
        ("checks: <= 1%", 6, "checks: must be a mapping"),
        ("checks:", 6, "checks: must be a mapping; it is empty"),
    ],
)
def test_what_is_no_comparison_is_told_with_its_line(
    tmp_path: Path, added: str, line: int, message: str
) -> None:
    """And with the right spelling, where that is clear."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, f"{MINIMAL}{added}\n")
    assert str(caught.value).startswith(f"job.yaml:{line}: ")
    assert message in str(caught.value)


def test_an_unquoted_comparison_of_the_shell_is_explained(tmp_path: Path) -> None:
    """Its value is YAML, too."""
    with pytest.raises(JobError, match=r"^--set checks.ok: a value that begins with > .*quote it"):
        load(tmp_path, MINIMAL, sets=["checks.ok=>= 99%"])


def test_what_a_variable_holds_is_not_quoted(tmp_path: Path) -> None:
    """It may be what should not be shown."""
    with pytest.raises(JobError) as caught:
        load(tmp_path, MINIMAL + "checks: {failed: '${MOST}'}\n", env={"MOST": "=> 4711"})
    assert "4711" not in str(caught.value)


@given(sign=st.sampled_from(SIGNS), rows=st.integers(0, 10**15 - 1))
def test_a_number_of_rows_is_spelled_as_it_is_read(sign: str, rows: int) -> None:
    """With or without spaces."""
    assert str(READ.validate_python(f"{sign}{rows}")) == f"{sign} {rows}"
    assert READ.validate_python(f" {sign}  {rows} ") == Wanted(sign, Fraction(rows), is_share=False)


@given(sign=st.sampled_from(SIGNS), part=st.integers(0, 10**11))
def test_a_percentage_is_spelled_as_it_is_read(sign: str, part: int) -> None:
    """Of nine decimals none is lost."""
    wanted = READ.validate_python(f"{sign} {part // 10**9}.{part % 10**9:09}%")
    assert wanted == Wanted(sign, Fraction(part, 10**11), is_share=True)
    assert READ.validate_python(str(wanted)) == wanted


@given(st.text("<>=0123456789.% -", max_size=12))
def test_any_text_is_a_comparison_or_is_refused(text: str) -> None:
    """What is taken can be spelled and read again."""
    try:
        wanted = READ.validate_python(text)
    except ValueError:
        return
    assert READ.validate_python(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "found", "rows", "holds"),
    [
        (">= 99%", 99, 100, True),
        (">= 99%", 98, 100, False),
        (">= 99.9%", 999, 1000, True),  # 0.999 * 1000 is less than 999 in floating point
        ("<= 0.1%", 1, 1000, True),
        ("<= 0.1%", 2, 1000, False),
        ("= 33%", 33, 100, True),
        ("< 7%", 7, 100, False),  # 0.07 * 100 is more than 7
        ("<= 3", 3, 5, True),
        ("< 3", 3, 5, False),
        ("> 3", 3, 5, False),
        (">= 99%", 0, 0, True),
        ("< 1%", 0, 0, True),
        ("> 0%", 0, 0, True),
        ("< 0", 0, 0, False),
        (">= 1", 0, 0, False),
    ],
)
def test_shares_are_compared_exactly(text: str, found: int, rows: int, holds: bool) -> None:
    """Not one row more or less than is written; of no rows any share holds."""
    assert READ.validate_python(text).holds(found, rows) is holds


@given(
    sign=st.sampled_from(SIGNS),
    part=st.integers(0, 1000),
    rows=st.integers(0, 5000),
    share=st.floats(0, 1),
)
def test_what_does_not_hold_has_too_few_rows_or_too_many(
    sign: str, part: int, rows: int, share: float
) -> None:
    """More of what there are too few of can make it hold, unless none can."""
    wanted, found = Wanted(sign, Fraction(part, 1000), is_share=True), round(rows * share)
    if not wanted.holds(found, rows):
        too_few = found * 1000 < part * rows or (sign == ">" and found * 1000 == part * rows)
        assert wanted.asks_for_more(found, rows) is too_few
