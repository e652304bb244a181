"""Templates: strict, exact, confined to the job's folder, and bounded in time."""

from __future__ import annotations

import copy
import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.render.evaluate import RenderError, evaluated
from batchrun.template.source import has_markup, inline_includes
from batchrun.template.template import TemplateError, Templates


def text(source: str, folder: Path = Path(), **row: Any) -> str:
    return Templates(folder).text(source)(row)


def value(source: Any, **row: Any) -> Any:
    return Templates(Path()).value(source)(row)


@pytest.mark.parametrize(
    ("printed", "cell"),
    [
        ("3", 3),
        ("3", 3.0),
        ("0.1", 0.1),
        ("1e+22", 1e22),
        ("1e-07", 1e-7),
        ("", None),
        ("", math.nan),
        ("inf", math.inf),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
        ("{{ x }}", "{{ x }}"),
        ("18446744073709551616", 2**64),
        (str(2**200), 2**200),
        (str(-(2**130)), -(2**130)),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("a\n", "a\n"),
        ("\ufffd\ufffd\ufffd", "\ud800"),
    ],
)
def test_a_cell_prints_as_people_expect(cell: Any, printed: str) -> None:
    """Null and NaN as nothing, whole floats without .0, every digit of a number, no HTML escapes."""
    assert text("{{ x }}", x=cell) == printed


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-(2**200), 2**200))
def test_a_number_prints_exactly(number: int | Decimal) -> None:
    """Also inside lists and structs, where minijinja would go by way of a float."""
    assert Decimal(text("{{ x }}", x=number)) == number
    assert Decimal(text("{{ x.a[0] }}", x={"a": [number]})) == number


def test_trailing_newlines_are_kept() -> None:
    """A prompt in a file ends as the file does."""
    assert text("{{ x }}\n\n", x=1) == "1\n\n"
    assert text("plain\n\n") == "plain\n\n"


def test_nested_values_are_reached() -> None:
    """A Parquet struct or a JSON object is a mapping to templates."""
    row: dict[str, Any] = {"order": {"items": [{"name": "tea"}, {"name": "milk"}]}}
    source = "{% for item in order.items %}{{ loop.index }}. {{ item['name'] }}\n{% endfor %}"
    assert text("{{ order['items'][1].name }}", **row) == "milk"
    assert text(source.replace("order.items", "order['items']"), **row) == "1. tea\n2. milk\n"


@pytest.mark.parametrize(
    ("source", "row", "message"),
    [
        ("{{ missing }}", {}, "`missing` is undefined"),
        ("{{ x.missing }}", {"x": {}}, "`x.missing` is undefined"),
        ("{% if missing %}{% endif %}", {}, "`missing` is undefined"),
        ("{{ x.__class__ }}", {"x": "a"}, "undefined"),
        ("{{ x.__class__ }}", {"x": Decimal(1)}, "undefined"),
        ("{{ x / 0 }}", {"x": 1}, "unable to calculate 1 / 0"),
        ("{% include name %}", {"name": "nowhere.md"}, "non-existing template 'nowhere.md'"),
        ("{% include name %}", {"name": "a\0b"}, "cannot include"),
    ],
)
def test_what_a_row_lacks_is_its_error(source: str, row: dict[str, Any], message: str) -> None:
    """The message names what is missing; no Python attribute can be reached."""
    prepared = Templates(Path()).text(source)
    with pytest.raises(TemplateError, match=message):
        prepared(row)


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a\n{% if %}", 2, "unexpected end of block"),
        ("{{ x", 1, "unexpected end of input"),
        ("{% for x in y %}", 1, "unexpected end of input"),
        ("\n\n{{ x | nofilter }}", 3, "nofilter"),
    ],
)
def test_an_error_knows_its_line(source: str, line: int, message: str) -> None:
    """Counted within the template's own text, from 1."""
    with pytest.raises(TemplateError, match=message) as caught:
        Templates(Path()).text(source)({"y": []})
    assert caught.value.line == line


def test_an_error_in_an_included_file_names_the_file_and_its_line(tmp_path: Path) -> None:
    """Also when that file is included by another one."""
    (tmp_path / "rules.md").write_text("Rules\n{{ tone }}")
    (tmp_path / "all.md").write_text("{% include 'rules.md' %}")
    with pytest.raises(TemplateError, match=r"^`tone` is undefined \(in rules.md:2\)$"):
        text("{% include 'all.md' %}", tmp_path)
    (tmp_path / "rules.md").write_text("Rules\n{% if %}")
    with pytest.raises(TemplateError, match=r"^unexpected end of block \(in rules.md:2\)$"):
        text("{% include 'rules.md' %}", tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_an_endless_template_is_stopped(source: str) -> None:
    """A row whose template never ends is a failed row, not a stuck run."""
    with pytest.raises(TemplateError, match=r"fuel|recursion|stack"):
        text(source)


def test_every_evaluation_has_its_own_fuel() -> None:
    """Many rows do not use up what one may take."""
    prepared = Templates(Path()).text("{% for a in range(20000) %}{% endfor %}{{ x }}")
    assert [prepared({"x": number}) for number in range(30)] == [str(number) for number in range(30)]


def test_printing_a_null_is_told() -> None:
    """Each kind of nothing; what is only looked at, or replaced by a default, is not told."""
    templates = Templates(Path())
    printed = templates.text("{{ x }}")
    looked_at = templates.text("{% if x %}a{% endif %}{{ x or 'b' }}{{ x is none }}")
    as_value = templates.value("{{ x if true else 1 }}")
    found = []
    for prepared, cell in (
        (printed, 1),
        (printed, None),
        (printed, math.nan),
        (looked_at, None),
        (as_value, None),
    ):
        templates.null_printed = False
        prepared({"x": cell})
        found.append(templates.null_printed)
    assert found == [False, True, True, False, False]


@pytest.mark.parametrize(
    "cell", [1, 1.0, "1", None, True, [1, None], {"a": Decimal("1.10")}, Decimal("0.10"), 2**200, b"\xff"]
)
def test_a_value_that_is_just_a_column_is_the_columns_own(cell: Any) -> None:
    """The very object: nothing is converted on the way."""
    assert value("{{ x }}", x=cell) is cell
    assert value(" {{- x -}} ", x=cell) is cell
    assert value({"a": ["{{ x }}"]}, x=cell)["a"][0] is cell


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x + 1 }}", 3),
        ("{{ x * 1.25 }}", 2.5),
        ("{{ x > 1 }}", True),
        ("{{ [x, 'a'] }}", [2, "a"]),
        ("{{ {'a': x} }}", {"a": 2}),
        ("{{ none }}", None),
        ("{{ true }}", True),
        ("{{ False }}", False),
        ("{{ 7 }}", 7),
        ("{{ absent | default(5) }}", 5),
        ("{{ x }} and {{ x }}", "2 and 2"),
        ("{{ x }}.", "2."),
        ("{% if x %}3{% endif %}", "3"),
        ("plain", "plain"),
        (["{{ x }}", 1, None, {"a": "{{ x }}{{ x }}"}], [2, 1, None, {"a": "22"}]),
        ({"deep": {"er": ["{{ x + x }}"]}}, {"deep": {"er": [4]}}),
    ],
)
def test_a_single_expression_keeps_its_type_and_anything_else_gives_text(source: Any, expected: Any) -> None:
    """The types of the API's parameters: a number must not become text."""
    found = value(source, x=2, self="a column may have any name")
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("source", ["{{ y }}", "{{ y | upper }}", "{{ x.y }}", "{{ y + 1 }}"])
def test_a_value_of_a_missing_column_is_the_rows_error(source: str) -> None:
    """Not null: a misspelled parameter must not vanish from the request."""
    with pytest.raises(TemplateError, match=r"`(x\.)?y` is undefined|undefined"):
        value(source, x={})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x }}", True),
        ("{% raw %}", True),
        ("{# note #}", True),
        ([1, {"a": ["{{ x }}"]}], True),
        ("{ x }", False),
        ("}} {", False),
        (1, False),
        ([1, {"a": ["x"]}], False),
    ],
)
def test_markup_is_found_at_any_depth(source: Any, expected: bool) -> None:
    """What has none is the same for every row."""
    assert has_markup(source) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ row['the text'] }}!", "a!"),
        ('{{ row [ "2nd" ] }}.', "2."),
        ("{{ row['the text'] }}", "a"),
        ("{{ row['2nd'] + 1 }}", 3),
        ("{{ row['self'] }}{{ row['x'] }}", "bc"),
        ("{{ row['n' ~ 'ested']['a b'] }}", 4),
    ],
)
def test_any_column_is_reached_by_its_name_as_text(source: str, expected: Any) -> None:
    """Headers of spreadsheets are seldom identifiers."""
    row = {"the text": "a", "2nd": 2, "self": "b", "x": "c", "nested": {"a b": 4}}
    assert value(source, **row) == expected


def test_a_column_by_its_name_as_text_is_the_columns_own() -> None:
    """As it is by `{{ column }}`: nothing is converted on the way."""
    cell = [Decimal("1.10"), 2**200, b"\xff"]
    assert value('{{ row["a b"] }}', **{"a b": cell}) is cell


@pytest.mark.parametrize(
    ("source", "row", "message"),
    [
        ("{{ row['absent'] }}", {"a": 1}, r"`row\['absent'\]` is undefined"),
        ("{{ row['absent'] }}!", {"a": 1}, r"`row\['absent'\]` is undefined"),
        ("{{ row }}", {"a": 1}, "`row` is undefined"),
        ("{{ row }}!", {"a": 1}, "`row` is undefined"),
    ],
)
def test_a_name_that_the_row_lacks_is_its_error(source: str, row: dict[str, Any], message: str) -> None:
    """The name by itself is a column, as any other name is."""
    with pytest.raises(TemplateError, match=message):
        value(source, **row)


@pytest.mark.parametrize("source", ["{{ row['a'] }}", "{{ row['a'] }}{{ '' }}", "{{ row.a }}{{ '' }}"])
def test_a_column_called_row_is_that_column(source: str) -> None:
    """Which then hides the mapping."""
    assert value(source, a="outer", row={"a": "inner"}) == "inner"


def test_an_included_file_reaches_columns_by_name(tmp_path: Path) -> None:
    """Also when the template around it does not."""
    (tmp_path / "a.md").write_text("{% include 'b.md' %}")
    (tmp_path / "b.md").write_text("{{ row['the text'] }}")
    assert text("<{% include 'a.md' %}>", tmp_path, **{"the text": "x"}) == "<x>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x | tojson }}", '{"a":"<b>\'é&\\"","n":[1.0,null,"1.10"]}'),
        ("{{ x | tojson }}.", '{"a":"<b>\'é&\\"","n":[1.0,null,"1.10"]}.'),
        ("{{ [x.a, 2] | tojson(indent=1) }}", '[\n "<b>\'é&\\"",\n 2\n]'),
    ],
)
def test_json_text_is_not_escaped_for_html(source: str, expected: str) -> None:
    """A model is to read `<b>`, not `\\u003cb\\u003e`."""
    assert value(source, x={"a": "<b>'é&\"", "n": [1.0, math.nan, Decimal("1.10")]}) == expected


def test_what_has_no_json_form_is_the_rows_error() -> None:
    """Bytes in a struct, say."""
    with pytest.raises(TemplateError, match=r"tojson: .*bytes"):
        text("{{ x | tojson }}", x={"a": b"a"})


def test_bytes_are_not_printed() -> None:
    """Python's spelling of them is nothing that a model should read."""
    with pytest.raises(TemplateError, match="12 bytes have no text: use data_url or base64"):
        text("{{ x }}!", x=b"\x89PNG\r\n\x1a\n0000")


def shown(value: Any) -> str:
    """A filter that shows what it was given."""
    if value is None:
        raise OSError("no such file")
    return f"<{value!r}>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x | shown }}", "<b'\\xff\\x00'>"),
        ("see {{ x | shown }}", "see <b'\\xff\\x00'>"),
        ("{% for y in [n] %}{{ y.bytes | shown }}{% endfor %}", "<b'a'>"),
    ],
)
def test_further_filters_get_the_very_bytes(source: str, expected: str) -> None:
    """Also of a struct's member, and in a text beside a number that is spelled for printing."""
    templates = Templates(Path(), shown=shown)
    assert templates.value(source)({"x": b"\xff\0", "n": {"bytes": b"a", "size": 2**200}}) == expected


@pytest.mark.parametrize("source", ["{{ x | shown }}", "a {{ x | shown }}", "{% include 'a.md' %}"])
def test_what_a_further_filter_raises_passes_through(tmp_path: Path, source: str) -> None:
    """The caller tells a missing photo from a template that does not fit."""
    (tmp_path / "a.md").write_text("{{ x | shown }}")
    with pytest.raises(OSError, match=r"^no such file$"):
        Templates(tmp_path, shown=shown).value(source)({"x": None})


@pytest.mark.parametrize(
    ("source", "found", "absent"),
    [
        ("{{ a }} b {{ c | upper }}", {"a", "c"}, {"b"}),
        ("{{ a.b }} {{ c['d'] }}", {"a", "c"}, {"b", "d"}),
        ("{{ row['the text'] }}{{ row[\"x\"] }}", {"the text", "x", "row"}, set()),
        ("{% if a > 1 %}{% for x in c %}{{ x }}{% endfor %}{% endif %}", {"a", "c"}, set()),
        ("{{ 'b' ~ a ~ \"c\" }}", {"a"}, {"b", "c"}),
        ("a {# b #}", set(), {"a", "b"}),
        ("{% include 'nested.md' %}", {"tone"}, {"Be"}),
    ],
)
def test_the_columns_that_a_template_reads_are_known(
    folder: Path, source: str, found: set[str], absent: set[str]
) -> None:
    """Those of included files too; words of the text around the markup are none."""
    templates = Templates(folder)
    templates.text(source)
    assert found <= templates.names(source)
    assert not absent & templates.names(source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder with prompts in it, and a secret beside it."""
    job = tmp_path / "job"
    (job / "prompts").mkdir(parents=True)
    (job / "prompts" / "rules.md").write_text("Be {{ tone }}.\n")
    (job / "nested.md").write_text("<{% include 'prompts/rules.md' %}>")
    (tmp_path / "secret.md").write_text("secret")
    (job / "link.md").symlink_to(tmp_path / "secret.md")
    (job / "inner.md").symlink_to(job / "prompts" / "rules.md")
    (job / "self.md").write_text("{% include 'mirror.md' %}")
    (job / "mirror.md").write_text("{% include 'self.md' %}")
    (job / "latin.md").write_bytes(b"caf\xe9")
    (job / "loop.md").symlink_to(job / "loop.md")
    return job


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% include 'prompts/rules.md' %}", "Be kind.\n"),
        ('{%- include "nested.md" -%}', "<Be kind.\n>"),
        ("{% include 'inner.md' %}", "Be kind.\n"),
        ("{% include name %}", "Be kind.\n"),
        ("{% include 'nowhere.md' ignore missing %}", ""),
    ],
)
def test_files_below_the_folder_are_included(folder: Path, source: str, expected: str) -> None:
    """Their templates see the row; a link may point to another file below the folder."""
    assert text(source, folder, tone="kind", name="inner.md") == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.md", "no such file below the job's folder"),
        ("prompts/../../secret.md", "no such file below the job's folder"),
        ("{folder}/../secret.md", "no such file below the job's folder"),
        ("link.md", "no such file below the job's folder"),
        ("prompts", "no such file below the job's folder"),
        ("absent.md", "no such file below the job's folder"),
        ("self.md", "it includes itself"),
        ("latin.md", "it is not UTF-8 text"),
        ("loop.md", "cannot include"),
    ],
)
def test_nothing_else_can_be_included(folder: Path, name: str, reason: str) -> None:
    """Neither by .., nor by an absolute path, nor by a symlink; and the job fails, not its rows."""
    name = name.format(folder=folder)
    with pytest.raises(TemplateError, match=reason) as caught:
        Templates(folder).text(f"first\n{{% include '{name}' %}}")
    assert name in str(caught.value)
    assert "secret" not in str(caught.value).replace("secret.md", "")


@pytest.mark.parametrize("name", ["../secret.md", "link.md"])
def test_a_row_cannot_name_a_file_outside_the_folder(folder: Path, name: str) -> None:
    """An include by a column's value is confined as well."""
    with pytest.raises(TemplateError, match="non-existing template"):
        text("{% include name %}", folder, name=name)


@pytest.mark.parametrize(
    "source",
    [
        "a {% include 'nested.md' %} b",
        "a \n {%- include 'nested.md' %} \n b",
        "a \n {% include 'nested.md' -%} \n b",
        "a \n {%- include 'nested.md' -%} \n b",
        "{% include name %} {% include 'prompts/rules.md' %}",
    ],
)
def test_inlined_includes_give_the_same_text(folder: Path, source: str) -> None:
    """The job that a run folder keeps renders as the one submitted, trimmed white space included."""
    templates = Templates(folder)
    row = {"tone": "kind", "name": "inner.md"}
    submitted = templates.text(source)(row)
    inlined = inline_includes(source, templates.included)
    assert "include '" not in inlined
    assert templates.text(inlined)(row) == submitted


def test_included_holds_the_text_of_every_file_that_was_read(folder: Path) -> None:
    """What was rendered depends on these files."""
    templates = Templates(folder)
    templates.text("{% include 'nested.md' %}")({"tone": "kind"})
    assert templates.included == {
        "nested.md": "<{% include 'prompts/rules.md' %}>",
        "prompts/rules.md": "Be {{ tone }}.\n",
    }


@pytest.mark.parametrize(
    "change",
    [
        "shots.pop()",
        "shots.append(shots)",
        "shots[0].clear()",
        "meta.pop('k')",
        "meta.inner.update({'a': 1})",
        "(meta.values() | list)[0].clear()",
        "row.pop('shots')",
        "row['shots'].sort()",
        "meta.copy()",
        "shots.copy()",
    ],
)
@pytest.mark.parametrize("around", ["", "."])
def test_a_template_changes_no_value(change: str, around: str) -> None:
    """What is hashed is what is sent, and a job's vars are the same for every row."""
    row = {"meta": {"inner": {"k": 1}, "k": 2}, "shots": [{"a": 1}, {"a": 2}]}
    before = copy.deepcopy(row)
    prepared = Templates(Path()).value(f"{{{{ {change} }}}}{around}")
    for _ in range(2):
        with pytest.raises((AttributeError, TemplateError), match=r"changes none|undefined|not callable"):
            prepared(row)
    assert row == before


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for k, v in meta.items() %}{{ k }}={{ v }};{% endfor %}", "k=[1, 'x'];"),
        ("{{ meta.get('k') | length }} {{ meta.get('z', 5) }}", "2 5"),
        ("{{ meta }} {{ meta.k ~ '' }}", "{'k': [1, 'x']} [1, 'x']"),
        ("{{ meta.k.index('x') }}{{ meta.k + [2] }}", "1[1, 'x', 2]"),
        ("{{ meta | tojson }}", '{"k":[1,"x"]}'),
        ("{{ name.strip().split(',') }}", ["a", "b"]),
        ("{{ day.strftime('%Y') }}", "2020"),
        ("{{ [meta, meta.k[1:]] }}", [{"k": [1, "x"]}, ["x"]]),
    ],
)
def test_methods_that_only_read_stay(source: str, expected: Any) -> None:
    """As people write them in other template engines."""
    found = value(source, meta={"k": [1, "x"]}, name=" a,b", day=date(2020, 1, 2))
    assert found == expected
    assert type(found) is type(expected)
    assert [type(item) for item in found] == [type(item) for item in expected]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ tags.foo() }}", r"^answer: AttributeError: .*foo"),
        ("{{ tags.index('q') }}.", r"^answer: ValueError: .*not in list"),
        ("{{ tags() }}", "^answer: TypeError: .*not callable"),
        ("{{ raw.decode('nonsense') }}.", "^answer: LookupError: unknown encoding"),
        ("{{ raw.decode() }}.", "^answer: UnicodeDecodeError"),
        ("{{ tags.pop() }}", "^answer: AttributeError: `pop` cannot be called"),
    ],
)
def test_what_a_method_raises_is_the_rows_error(source: str, message: str) -> None:
    """One row fails; the run goes on."""
    prepared = Templates(Path()).value(source)
    with pytest.raises(RenderError, match=message) as caught:
        evaluated("answer", prepared, {"tags": ["a"], "raw": b"\xff"})
    assert caught.value.error.type == "render"
