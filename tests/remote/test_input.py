"""Inputs in object storage: the rows that the same files have on this machine."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa
import pytest

from batchrun.errors import InputError, ObjectStorageError
from batchrun.source import Source, open_source
from batchrun.storage import Address, open_store
from tests.commands import batchrun
from tests.remote.server import Between

ROWS = [{"id": f"r{number}", "text": f"täxt {number} \n", "n": number} for number in range(2_500)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _csv() -> bytes:
    return pl.DataFrame(ROWS).write_csv().encode()


def _parquet(folder: Path) -> bytes:
    pl.DataFrame(ROWS).write_parquet(folder / "t.parquet", row_group_size=700)
    return (folder / "t.parquet").read_bytes()


def _zstd(_folder: Path) -> bytes:
    return bytes(pa.compress(LINES, "zstd", asbytes=True))


_FILES: dict[str, Callable[[Path], bytes]] = {
    "t.jsonl": lambda _folder: LINES,
    "t.jsonl.gz": lambda _folder: gzip.compress(LINES),
    "t.jsonl.zst": _zstd,
    "t.csv": lambda _folder: _csv(),
    "t.csv.gz": lambda _folder: gzip.compress(_csv()),
    "t.parquet": _parquet,
}


def _rows(source: Source) -> list[dict[str, object]]:
    return [row.values for batch in source.batches() for row in batch.rows]


@pytest.mark.parametrize("name", _FILES)
def test_a_file_reads_as_it_does_on_this_machine(bucket: Address, tmp_path: Path, name: str) -> None:
    """Every format and compression, all of it and from the middle on."""
    data = _FILES[name](tmp_path)
    (tmp_path / name).write_bytes(data)
    open_store(bucket).write(f"in/{name}", data)
    here, there = (open_source(path, root=tmp_path) for path in (name, f"{bucket}/in/{name}"))
    assert _rows(there) == _rows(here)
    assert [row.values for row in there.rows_at([0, 1_999])] == [
        row.values for row in here.rows_at([0, 1_999])
    ]
    first = next(iter(there.batches())).rows[0].location
    assert first.startswith(f"{bucket}/in/{name}")


_TREE = (
    *("a.jsonl", "b.jsonl", "sub/c.jsonl", "sub/deep/d.jsonl", "_tmp/e.jsonl", ".hidden/f.jsonl"),
    *("lang=en/g.jsonl", "lang=de/h.jsonl", "_SUCCESS"),
)


@pytest.mark.parametrize(
    "path",
    [
        *("data", "data/", "data/*.jsonl", "data/**/*.jsonl", "data/sub", "data/**/d.jsonl", "data/s*"),
        *("data/lang=*/*.jsonl", "data/?.jsonl", "data/[ab].jsonl", "data/_tmp/*.jsonl", "data/a.jsonl"),
        *("data/**", "data/sub/**", "data/*/*.jsonl"),
    ],
)
def test_a_folder_or_a_glob_means_what_it_means_on_this_machine(
    bucket: Address, tmp_path: Path, path: str
) -> None:
    """The same files, in the same order, with the columns of their folders."""
    store = open_store(bucket)
    for name in _TREE:
        data = json.dumps({"from": name}).encode()
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
        store.write(f"data/{name}", data)
    here, there = (open_source(root, root=tmp_path) for root in (path, f"{bucket}/{path}"))
    assert _rows(there) == _rows(here)
    assert [file.hive for file in there.files] == [file.hive for file in here.files]
    assert [file.name for file in there.files] == [f"{bucket}/{file.name}" for file in here.files]


def test_folders_that_a_console_made_are_no_files(server: str, bucket: Address, tmp_path: Path) -> None:
    """They are empty objects whose keys end in a slash: in an input, and where a run is to be kept."""
    store = open_store(bucket)
    store.write("in/sub/a.jsonl", LINES)
    for key in ("in/", "in/sub/", "in/empty/", "runs/", "runs/job/"):
        link = HTTPConnection(urlsplit(server).netloc, timeout=10)
        link.request("PUT", f"/{bucket.bucket}/{key}", body=b"")
        assert link.getresponse().status == 200
        link.close()
    for path in ("in", "in/", "in/sub", "in/**"):
        source = open_source(f"{bucket}/{path}", root=tmp_path)
        assert [file.name for file in source.files] == [f"{bucket}/in/sub/a.jsonl"]
    assert not list(open_store(bucket.below("runs/job")).listing())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("in/nothing.jsonl", "no object to read there"),
        ("in/*.csv", "no object to read there"),
        ("in/rows.txt", r"the known suffixes are \.jsonl"),
    ],
)
def test_what_is_not_there_is_named(bucket: Address, tmp_path: Path, path: str, said: str) -> None:
    """With the address as the job spells it."""
    open_store(bucket).write("in/rows.txt", b"{}")
    with pytest.raises(InputError, match=said) as caught:
        open_source(f"{bucket}/{path}", root=tmp_path)
    assert f"{bucket}/in" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_an_object_that_changes_while_it_is_read_ends_the_reading(
    bucket: Address, tmp_path: Path, name: str
) -> None:
    """Rows of two writings must not be mixed: whatever reads the file meets the other one."""
    store = open_store(bucket)
    store.write(name, _FILES[name](tmp_path))
    source = open_source(f"{bucket}/{name}", root=tmp_path)
    assert len(_rows(source)) == 2_500
    store.write(name, _FILES[name](tmp_path) + b"\n")
    with pytest.raises(InputError, match=rf"{name}: the file has changed while it was in use"):
        _rows(source)


def test_a_store_that_fails_now_and_then_gives_every_row(
    bucket: Address, faulty: Between, tmp_path: Path
) -> None:
    """Requests are made again: none of it reaches the rows."""
    open_store(bucket).write("t.jsonl", LINES)
    numbers = iter(range(1_000_000))
    faulty.fault = lambda _method, _path: (
        "refused" if next(numbers) % 2 else "reset" if next(numbers) % 5 else None
    )
    assert _rows(open_source(f"{bucket}/t.jsonl", root=tmp_path)) == ROWS
    assert faulty.faults


def test_a_store_that_refuses_says_what_to_set(bucket: Address, faulty: Between, tmp_path: Path) -> None:
    """The names of the variables, and no value."""
    faulty.fault = lambda _method, _path: "denied"
    with pytest.raises(ObjectStorageError, match="AWS_ACCESS_KEY_ID") as caught:
        open_source(f"{bucket}/t.jsonl", root=tmp_path)
    assert caught.value.exit_code == 2
    assert "of-a-test" not in str(caught.value)


def test_init_writes_a_job_for_a_table_in_a_bucket(bucket: Address, tmp_path: Path) -> None:
    """By its address, from whatever folder the job lies in."""
    open_store(bucket).write("in/t.jsonl", LINES)
    said = batchrun("init", f"{bucket}/in/t.jsonl", "--json", cwd=tmp_path).json
    plan = batchrun("plan", said["job"], "--json", cwd=tmp_path)
    assert (plan.code, plan.json["to_do"]) == (0, 2_500), plan.err
