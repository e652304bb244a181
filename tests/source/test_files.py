"""An input path is a file, a glob or a folder; what it cannot be is refused with what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchrun.errors import InputError
from batchrun.source import open_source
from batchrun.source.finding import find_files
from batchrun.source.kept import OnDisk
from tests.source.reading import read_table, write


def names(path: str, root: Path) -> list[str]:
    return [file.name for file in find_files(path, root=root, format=None)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "one.jsonl",
        "data/b.jsonl",
        "data/a.jsonl.gz",
        "data/sub/c.ndjson",
        "data/_SUCCESS",
        "data/.a.jsonl.crc",
        "data/_temporary/d.jsonl",
        "data/.hidden/e.jsonl",
        "odd[1].jsonl",
    ):
        write(tmp_path / name, b"")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("one.jsonl", ["one.jsonl"]),
        ("./one.jsonl", ["one.jsonl"]),
        ("data/../one.jsonl", ["data/../one.jsonl"]),
        ("odd[1].jsonl", ["odd[1].jsonl"]),
        ("data", ["data/a.jsonl.gz", "data/b.jsonl", "data/sub/c.ndjson"]),
        ("data/", ["data/a.jsonl.gz", "data/b.jsonl", "data/sub/c.ndjson"]),
        ("data/*.jsonl", ["data/b.jsonl"]),
        ("data/*.jsonl*", ["data/a.jsonl.gz", "data/b.jsonl"]),
        ("data/**/*.*", ["data/a.jsonl.gz", "data/b.jsonl", "data/sub/c.ndjson"]),
        ("data/**", ["data/a.jsonl.gz", "data/b.jsonl", "data/sub/c.ndjson"]),
        ("data/[ab].*", ["data/a.jsonl.gz", "data/b.jsonl"]),
        ("data/_temp*/*.jsonl", ["data/_temporary/d.jsonl"]),
        ("*/b.jsonl", ["data/b.jsonl"]),
    ],
)
def test_what_a_path_means(tree: Path, path: str, expected: list[str]) -> None:
    """Files come sorted and named as the job spells them, without markers and hidden ones."""
    assert expected == names(path, tree)


def test_absolute_paths_need_no_root(tree: Path) -> None:
    """An absolute path, a glob too, means the same from every folder."""
    assert names(f"{tree}/data/*.jsonl", Path("/")) == [f"{tree}/data/b.jsonl"]


def test_the_identity_of_a_file_is_on_record(tmp_path: Path) -> None:
    """Path, size and time of change tell a later pass whether the file is still the same."""
    path = write(tmp_path / "t.jsonl", b'{"a":1}\n')
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    (file,) = open_source("t.jsonl", root=tmp_path).files
    assert file.kept == OnDisk(path, 8, 1_700_000_000_123_456_789)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("onne.jsonl", r"did you mean one\.jsonl\?"),
        ("nowhere/t.jsonl", "relative paths start at the job's folder"),
        ("data/*.parquet", "no file to read there"),
        ("data/_temporary/sub", "no file to read there"),
        ("", "the format of the file is unknown|mixes formats"),
        ("http://bucket/t.jsonl", "no address in object storage"),
        ("data/_SUCCESS", r"the known suffixes are \.jsonl"),
    ],
)
def test_paths_that_mean_nothing(tree: Path, path: str, message: str) -> None:
    """The message names the path, and what is near or allowed."""
    write(tree / "t.parquet", b"")
    write(tree / "t.txt", b"")
    with pytest.raises(InputError, match=message):
        open_source(path, root=tree)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.jsonl", "b.csv"], r"in/a\.jsonl is jsonl, in/b\.csv is csv"),
        (["a.jsonl", "README.md"], r"input in/README\.md: the format of the file is unknown"),
        (["a.json"], "the format of the file is unknown"),
        (["a.parquet.gz"], "a compressed Parquet file cannot be read in place"),
        (["a.jsonl.bz2"], "the format of the file is unknown"),
    ],
)
def test_folders_that_hold_something_else(tmp_path: Path, files: list[str], message: str) -> None:
    """No file of a folder is passed over silently: it is read, or the folder is refused."""
    for name in files:
        write(tmp_path / "in" / name, b"")
    with pytest.raises(InputError, match=message) as caught:
        open_source("in", root=tmp_path)
    assert caught.value.hint


def test_the_format_wins_over_the_suffix(tmp_path: Path) -> None:
    """`input.format` reads a file of any name, and compression still goes by the suffix."""
    write(tmp_path / "part-0", b'{"a":1}\n')
    source = open_source("part-0", root=tmp_path, format="jsonl")
    assert [row.values for batch in source.batches() for row in batch.rows] == [{"a": 1}]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_hive_folders_become_string_columns(tmp_path: Path, kind: str) -> None:
    """`key=value` folders give each row a string, unquoted; Hive's null is null; rows number on."""
    data = {"jsonl": b'{"a":"1"}\n', "csv": b"a\n1\n"}[kind]
    for folder in ("year=2026/lang=en", "year=2026/lang=pt%2FBR", "year=__HIVE_DEFAULT_PARTITION__/lang=en"):
        write(tmp_path / "in" / folder / f"t.{kind}", data)
    assert read_table(tmp_path / "in").to_pylist() == [
        {"a": "1", "year": "2026", "lang": "en"},
        {"a": "1", "year": "2026", "lang": "pt/BR"},
        {"a": "1", "year": None, "lang": "en"},
    ]
    source = open_source("in/year=*/lang=en", root=tmp_path)
    assert [(row.index, row.values) for batch in source.batches(["year"]) for row in batch.rows] == [
        (0, {"year": "2026"}),
        (1, {"year": None}),
    ]


def test_a_hive_folder_wins_over_a_column_of_the_file(tmp_path: Path) -> None:
    """Writers that repeat the key inside the file agree with the folder; the folder's string is taken."""
    write(tmp_path / "in/n=7/t.jsonl", b'{"n":7,"a":1}\n')
    assert read_table(tmp_path / "in").to_pylist() == [{"n": "7", "a": 1}]


def test_a_folder_named_in_the_path_itself_is_no_column(tmp_path: Path) -> None:
    """Only folders below the fixed part of the path are keys."""
    write(tmp_path / "run=1/t.jsonl", b'{"a":1}\n')
    for path in ("run=1/t.jsonl", "run=1", "run=1/*.jsonl"):
        (batch,) = open_source(path, root=tmp_path).batches()
        assert batch.rows[0].values == {"a": 1}


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    """Rows of another version never mix with those that were indexed."""
    path = write(tmp_path / "t.jsonl", b'{"a":1}\n')
    source = open_source("t.jsonl", root=tmp_path)
    assert len(list(source.batches())) == 1
    write(path, b'{"a":1}\n{"a":2}\n')
    with pytest.raises(InputError, match=r"t\.jsonl: the file has changed while it was in use"):
        list(source.batches())
    path.unlink()
    with pytest.raises(InputError, match=r"t\.jsonl: cannot be read any more"):
        list(source.batches())


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """A pass over a file that is still being written does not end as if it were whole."""
    path = write(tmp_path / "t.jsonl", b'{"a":1}\n')
    batches = open_source("t.jsonl", root=tmp_path).batches()
    next(batches)
    write(path, b'{"a":1}\n{"a":2}\n')
    with pytest.raises(InputError, match="has changed"):
        list(batches)


def test_columns_of_csv_files_are_joined(tmp_path: Path) -> None:
    """A column that one file lacks is null in its rows; line numbers are those of each file."""
    write(tmp_path / "in/1.csv", b"a,b\n1,2\n")
    write(tmp_path / "in/2.csv", b"c,a\n3,4\n")
    assert read_table(tmp_path / "in").to_pylist() == [
        {"a": "1", "b": "2", "c": None},
        {"a": "4", "b": None, "c": "3"},
    ]
    source = open_source("in", root=tmp_path)
    rows = [row for batch in source.batches() for row in batch.rows]
    assert [(row.index, row.location) for row in rows] == [(0, "in/1.csv:2"), (1, "in/2.csv:2")]


def test_an_input_that_is_rewritten_while_it_is_read_gives_no_more_rows(tmp_path: Path) -> None:
    """Rows that moved meanwhile would be asked for twice: not one batch of the new file comes."""
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(3_000)))
    batches = open_source(str(path), root=tmp_path).batches()
    first = next(batches)
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(-3_000, 3_000)))
    with pytest.raises(InputError, match="has changed"):
        next(batches)
    assert first.rows[0].values == {"n": 0}
