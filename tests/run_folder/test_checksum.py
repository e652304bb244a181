"""Parquet files know when the disk has changed them."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from batchrun.errors import RunFolderError
from batchrun.run_folder import checksum
from batchrun.run_folder.checkpoint.sealed import read_answers, write_parquet
from batchrun.run_folder.damaged import readable

ROWS = pl.DataFrame({"n": range(500), "text": [f"text number {n}" for n in range(500)]}).to_arrow()


def written(folder: Path) -> Path:
    path = folder / "sealed-000001.parquet"
    write_parquet([ROWS], path, ROWS.schema)
    return path


def test_a_flipped_bit_is_found_at_every_byte(tmp_path: Path) -> None:
    """In pages, page headers and the footer alike, also in the name of the checksum."""
    path = written(tmp_path)
    whole = path.read_bytes()
    missed = []
    for at in range(0, len(whole), 7):
        other = tmp_path / f"{at}.parquet"  # a file that stays the same is read once
        other.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        if checksum.is_sound(other):
            missed.append(at)
    assert missed == []


def test_the_file_is_still_parquet(tmp_path: Path) -> None:
    """For every reader, with page checksums for those that look at them."""
    path = written(tmp_path)
    assert pq.ParquetFile(path, page_checksum_verification=True).read().equals(ROWS)
    assert pl.read_parquet(path).to_arrow().equals(ROWS)


def test_another_reader_is_told_of_damage(tmp_path: Path) -> None:
    """A changed byte of a page does not fit the page's own checksum."""
    path = written(tmp_path)
    column = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, page_checksum_verification=True)


@pytest.mark.parametrize("length", [0, 1, 700, -1])
def test_a_file_that_was_cut_is_not_sound(tmp_path: Path, length: int) -> None:
    """The checksum is gone with the end, so the end itself is looked for."""
    path = written(tmp_path)
    os.truncate(path, length if length >= 0 else path.stat().st_size - 1)
    assert not checksum.is_sound(path)


def test_a_file_without_a_checksum_passes(tmp_path: Path) -> None:
    """An older version wrote it, or something else did: as a part of ours it is written anew."""
    path = tmp_path / "old.parquet"
    pq.write_table(ROWS, path)
    assert not checksum.check(path)
    assert not checksum.is_sound(path)


def test_a_damaged_part_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Its rows are lost, and removing it asks for them again."""
    path = written(tmp_path)
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\0\0\0\0")
    with pytest.raises(RunFolderError, match=r"sealed-000001\.parquet is damaged") as caught:
        read_answers(tmp_path)
    assert "remove it. Its rows are asked for, and paid for, again" in str(caught.value)
    with pytest.raises(RunFolderError), readable(path):
        pass
