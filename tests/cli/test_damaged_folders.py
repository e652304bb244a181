"""Folders that are no run, or a run that something happened to: the error names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.commands import batchrun
from tests.runs import JobFolder

VERBS = ("show", "status", "export", "report")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_list(path: Path) -> None:
    path.write_text("[1, 2]")


def replace(path: Path) -> None:
    pl.DataFrame({"row_id": ["r0"], "status": ["ok"]}).write_parquet(path)


def remove_parts(path: Path) -> None:
    for part in path.glob("*.parquet"):
        part.unlink()


Damage = Callable[[Path], None]

DAMAGES: list[tuple[str, Damage]] = [
    *(("results/part-00000.parquet", damage) for damage in (cut, spoil, empty, replace, as_folder)),
    ("results", remove_parts),
    *(("checkpoint/sealed-*.parquet", damage) for damage in (cut, spoil, empty)),
    *(("checkpoint/index.parquet", damage) for damage in (cut, empty)),
    *(("checkpoint/job.json", damage) for damage in (cut, empty, as_folder, as_list)),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_damage_is_told_by_the_name_of_the_file(
    run: JobFolder, tmp_path: Path, verb: str, name: str, damage: Damage
) -> None:
    """Exit code 2 with the file and a way on; never a traceback. What is not needed may be damaged."""
    folder = tmp_path / "run"
    shutil.copytree(run.run, folder, symlinks=True)
    damage(next(folder.glob(name)))
    ended = batchrun(verb, folder, cwd=tmp_path)
    assert "Traceback" not in ended.err
    assert ended.code in (0, 2)
    if ended.code == 2:
        assert next(folder.glob(name)).name in ended.err
        assert len(ended.err.strip().splitlines()) >= 2
    else:
        assert name.startswith("checkpoint/")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"usage": 5, "state": "finished"}', '{"stopped_by": 5}'])
@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_run_json_costs_no_answer(run: JobFolder, tmp_path: Path, verb: str, text: str) -> None:
    """Rows are shown without it; what needs it says that the next submit writes it anew."""
    folder = tmp_path / "run"
    shutil.copytree(run.run, folder, symlinks=True)
    (folder / "run.json").write_text(text)
    ended = batchrun(verb, folder, cwd=tmp_path)
    assert (ended.code == 0) or ("run.json" in ended.err and "next submit" in ended.err), ended.err
    assert verb in ("status", "report") or ended.code == 0


def foreign(folder: Path, kind: str) -> Path:
    path = folder / "it"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "folder of files":
        path.mkdir()
        (path / "results").mkdir()
        (path / "results" / "a.parquet").write_bytes(b"PAR1")
    elif kind == "folder in place of the identity":
        (path / "checkpoint" / "job.json").mkdir(parents=True)
    elif kind == "file as checkpoint":
        path.mkdir()
        (path / "checkpoint").write_text("x")
    elif kind == "loop":
        path.symlink_to("it")
    elif kind == "binary file":
        path.write_bytes(b"PAR1\x00\x15\xff\xfe")
    elif kind == "too long":
        path = folder / ("x" * 300)
    return path


KINDS = [
    *("empty folder", "folder of files", "folder in place of the identity", "file as checkpoint", "loop"),
    *("binary file", "too long", "nothing"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_run_is_told(tmp_path: Path, verb: str, kind: str) -> None:
    """Exit code 2, the path, and what may have been meant."""
    path = foreign(tmp_path, kind)
    ended = batchrun(verb, path, cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert path.name[:50] in ended.err
    assert "Traceback" not in ended.err
