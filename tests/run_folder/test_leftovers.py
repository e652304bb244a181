"""The next submit removes what a kill left."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.leftovers import sweep


def made(path: Path, *names: str) -> RunFolder:
    """A run folder with these files; a name that ends in a slash is a folder with a file in it."""
    run = RunFolder(path)
    for name in ("checkpoint/job.json", "run.json", "generations/", *names):
        file = path / name / "part-00000.parquet" if name.endswith("/") else path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (run.generations / "part-00000.parquet").unlink()
    return run


def test_unfinished_files_go(tmp_path: Path) -> None:
    """Files, folders and the pointer to results that were being written, and the room kept free.

    What another submit claims stays.
    """
    run = made(
        tmp_path,
        "checkpoint/job.json.tmp",
        "run.json.tmp",
        "checkpoint/sealed-000003.tmp",
        "checkpoint/spare",
        "checkpoint/gathered.tmp/",
    )
    (tmp_path / "results.tmp").symlink_to("generations/000009")
    sweep(run)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"checkpoint", "checkpoint/job.json", "checkpoint/job.json.tmp", "run.json", "generations"}


@pytest.mark.parametrize(
    ("published", "there", "stay"),
    [
        ("000003", "123", "23"),  # killed before the oldest was removed
        ("000003", "1234", "23"),  # and then in the next publication
        ("000001", "1", "1"),
        ("000010", "9", "9"),  # the pointer's target is gone: the next publication makes it anew
        (None, "1", "1"),  # killed in the first publication, which the next one takes for its own to remove
    ],
)
def test_generations_go(tmp_path: Path, published: str | None, there: str, stay: str) -> None:
    """The published generation and the one before it stay."""
    run = made(tmp_path, *(f"generations/00000{number}/" for number in there))
    if published:
        run.results.symlink_to(f"generations/{published}")
    sweep(run)
    assert sorted(path.name[-1] for path in run.generations.iterdir()) == list(stay)
