"""Run folders: made, recognised, refused, and files in them replaced whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchrun.errors import RunFolderError, StorageError
from batchrun.run_folder.disk import write_atomically
from batchrun.run_folder.folder import RunFolder
from tests.small_files import files_of_at_most


def claimed(path: Path, name: str = "job") -> RunFolder:
    run = RunFolder(path)
    run.claim(name)
    return run


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Parents are made on the way; prompts and answers are nobody else's business."""
    run = claimed(tmp_path / "runs" / "a")
    assert [path.stat().st_mode & 0o777 for path in (run.path, run.checkpoint_path, run.generations)] == [
        0o700
    ] * 3
    assert run.identity_path.stat().st_mode & 0o777 == 0o600


def test_the_same_job_finds_its_folder_again(tmp_path: Path) -> None:
    """Whatever is in it."""
    run = claimed(tmp_path / "a")
    run.run_json.write_text("{}")
    claimed(run.path)
    run.require()


def test_another_jobs_folder_is_refused(tmp_path: Path) -> None:
    """With both names and the way on."""
    claimed(tmp_path / "a", "first")
    with pytest.raises(RunFolderError, match="holds the run of another job, 'first'") as caught:
        claimed(tmp_path / "a", "second")
    assert "--name" in str(caught.value)


@pytest.mark.parametrize("there", ["notes.txt", "checkpoint/model.bin", "checkpoint", "generations/000001/x"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, there: str) -> None:
    """A folder of that name, as people who train models have, is no run folder by that alone."""
    folder = tmp_path / "a"
    (folder / there).parent.mkdir(parents=True)
    (folder / there).write_text("precious")
    with pytest.raises(RunFolderError, match="is not empty and holds no run of batchrun") as caught:
        claimed(folder)
    assert "new or empty" in str(caught.value)
    assert not (folder / "checkpoint" / "job.json").exists()


def test_an_empty_folder_or_one_that_a_kill_left_half_made_is_taken(tmp_path: Path) -> None:
    """At every point of making it."""
    for made in ([], ["checkpoint"], ["checkpoint", "generations"]):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        for name in made:
            (folder / name).mkdir()
        if made:
            (folder / "checkpoint" / "job.json.tmp").write_text('{"na')
        claimed(folder).require()


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Below a file, or a file itself."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "runs" / "a"):
        with pytest.raises(RunFolderError, match="cannot write to the run folder") as caught:
            claimed(path)
        assert "output.path" in str(caught.value)


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    """To the commands that only read."""
    with pytest.raises(RunFolderError, match="there is no run in"):
        RunFolder(tmp_path / "none").require()


@pytest.mark.parametrize(("text", "expected"), [(None, {}), ("{", {}), ("[1]", {}), ('{"ok": 1}', {"ok": 1})])
def test_run_json_is_read_or_empty(tmp_path: Path, text: str | None, expected: dict[str, int]) -> None:
    """It is a report, not the truth: a damaged one stops nothing."""
    run = claimed(tmp_path)
    if text is not None:
        run.run_json.write_text(text)
    assert run.read_run_json() == expected


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Private, and with nothing left beside it."""
    path = tmp_path / "a.json"
    for data in (b"1", b"", b"x" * 100_000):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_the_disk_has_no_room_for_leaves_the_one_before(tmp_path: Path) -> None:
    """A nearly full disk takes a part without an error: that part must not become the file."""
    path = tmp_path / "a.json"
    write_atomically(path, b"before")
    with (
        files_of_at_most(1000),
        pytest.raises(StorageError, match=r"cannot write to .*a\.json: File too large"),
    ):
        write_atomically(path, b"x" * 5000)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_whose_claim_the_disk_refuses_is_the_users_matter(tmp_path: Path) -> None:
    """Wherever the writing fails: the command is wrong, and nothing has been received yet."""
    run = RunFolder(tmp_path / "a")
    (run.checkpoint_path / "job.json.tmp").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"cannot write to .*job\.json: Is a directory") as caught:
        run.claim("job")
    assert "output.path" in str(caught.value)


def test_a_full_disk_is_no_mistake_of_the_job(tmp_path: Path) -> None:
    """It can be continued: exit code 3, unlike a path that is wrong."""
    with files_of_at_most(5), pytest.raises(StorageError, match=r"cannot write to .*job\.json") as caught:
        RunFolder(tmp_path / "a").claim("job")
    assert caught.value.exit_code == 3


def test_a_folder_is_claimed_by_many_at_once(tmp_path: Path) -> None:
    """One makes it, and the others find it made: none takes the half-made one for something else."""
    with ThreadPoolExecutor(16) as pool:
        for number in range(20):
            run = RunFolder(tmp_path / str(number))
            assert list(pool.map(lambda _, run=run: run.claim("job"), range(16))) == [None] * 16
            run.require()
