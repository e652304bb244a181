"""The formats of `export`: what each must have, and what follows from the list of them.

A new format of tables needs its reader in READ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from batchrun.export import FORMATS, TABLES, Lines
from batchrun.export.formats import MakesLines, WritesTable
from batchrun.run_folder.results.read import scan_run
from tests.commands import batchrun
from tests.hostile import PATTERNS
from tests.run_folder.answering import Work, failed

READ: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "jsonl": pl.read_ndjson,
    "parquet": pl.read_parquet,
}

COLUMNS = ["row_index", "row_id", "text", "status", "completion"]
"""Columns whose values every format keeps."""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Three rows: one of them failed, one not published."""
    work = Work(tmp_path).write([{"text": f"row {n}"} for n in range(3)])
    work.answer([0])
    work.answer([1], failed)
    work.publish()
    work.answer([2])
    return work


def test_every_format_of_tables_has_a_reader_here() -> None:
    """So that what is below is tried with it."""
    assert READ.keys() == TABLES.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_what_its_kind_needs(name: str) -> None:
    """Its module is found only when it is used."""
    form = FORMATS[name]
    module, kind = (form.maker(), MakesLines) if isinstance(form, Lines) else (form.writer(), WritesTable)
    for method, wanted in inspect.getmembers(kind, inspect.isfunction):
        if not method.startswith("_"):
            given = [item.strip("_") for item in inspect.signature(getattr(module, method)).parameters]
            assert given == list(inspect.signature(wanted).parameters)[1:]


def test_a_suffix_is_of_one_format() -> None:
    """In small letters, with its point."""
    suffixes = [suffix for form in TABLES.values() for suffix in form.suffixes]
    assert len({*suffixes}) == len(suffixes)
    assert all(suffix == f".{suffix.strip('.').lower()}" for suffix in suffixes)


@pytest.mark.parametrize("name", TABLES)
def test_a_format_is_chosen_by_option_and_by_suffix(work: Work, tmp_path: Path, name: str) -> None:
    """Its rows come back in input order, and the two ways write the same."""
    paths = [tmp_path / f"x{suffix}" for suffix in TABLES[name].suffixes]
    for path in paths:
        words = ("--columns", ",".join(COLUMNS), "--out", path, "--json")
        said = batchrun("export", work.run.path, *words, cwd=tmp_path).json
        assert (said["format"], said["rows"]) == (name, 3)
    expected = scan_run(work.run).select(COLUMNS).collect()
    assert READ[name](paths[0]).cast(expected.schema).equals(expected)
    named = ("--format", name, "--columns", ",".join(COLUMNS), "--out", tmp_path / "y")
    assert batchrun("export", work.run.path, *named, cwd=tmp_path).code == 0
    assert len({path.read_bytes() for path in [*paths, tmp_path / "y"]}) == 1


ODD = pl.DataFrame(
    {
        "number": [0.5, math.nan, -math.inf],
        "decimal": [Decimal("1.50")] * 3,
        "bytes": [b"ab"] * 3,
        "date": [date(2026, 1, 2)] * 3,
        "moment": [datetime(2026, 1, 2, 3, 4, 5, 6, UTC)] * 3,
        "duration": [timedelta(hours=30)] * 3,
        "list": [[1, None], [], None],
        "struct": [{"a": 1, "b": None}] * 3,
    }
)


@pytest.mark.parametrize("name", TABLES)
def test_a_format_keeps_every_value_or_says_what_it_makes_of_it(work: Work, name: str) -> None:
    """In the help."""
    form = TABLES[name]
    told = " ".join(batchrun("export", "--help", cwd=work.folder).out.split())
    path = work.folder / f"x{form.suffixes[0]}"
    with path.open("wb") as file:
        form.writer().write(ODD.schema, [ODD], file)
    read = READ[name](path)
    is_kept = read.schema == ODD.schema and read.equals(ODD)
    assert is_kept == (not form.about)
    assert form.about in told
    keeping = told.partition(" every value as it is.")[0].rpartition(". ")[2]
    assert (form.title in keeping) == is_kept


def test_help_and_refusals_name_every_format(work: Work) -> None:
    """Those of diff, too, which writes tables."""
    told = " ".join(batchrun("export", "--help", cwd=work.folder).out.split())
    assert f"[{'|'.join(FORMATS)}]" in told
    assert all(form.title in told for form in TABLES.values())
    assert all(f"{name}: " in told for name, form in FORMATS.items() if isinstance(form, Lines))
    for verb, runs in (("export", 1), ("diff", 2)):
        ended = batchrun(verb, *[work.run.path] * runs, "--out", "x.xlsx", cwd=work.folder)
        assert ended.code == 2
        hint = "Name a file in " + ", ".join(suffix for form in TABLES.values() for suffix in form.suffixes)
        assert hint in ended.err


@pytest.mark.parametrize("name", TABLES)
def test_a_column_is_its_name_and_no_pattern(tmp_path: Path, name: str) -> None:
    """Columns of the input that are called as polars spells patterns, alone and among others."""
    names = {name: name for name in PATTERNS}
    work = Work(tmp_path).write([{"text": "a", **names}])
    work.answer([0])
    work.publish()
    out = tmp_path / "x"
    for columns in ([], *([name, "text"] for name in PATTERNS)):
        chosen = ["--columns", ",".join(columns)] if columns else []
        words = ("export", work.run.path, "--format", name, "--out", out)
        assert batchrun(*words, *chosen, cwd=tmp_path).code == 0
        table = READ[name](out)
        assert not columns or set(table.columns) == set(columns)
        whole = {**names, "text": "a"}
        expected = {name: whole[name] for name in columns or whole}
        row = table.row(0, named=True)
        assert {name: row[name] for name in expected} == expected
