"""One submit at a time: a lock that another process sees, and that dies with its holder."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchrun.errors import RunFolderError, RunLockedError
from batchrun.run_folder import lock
from batchrun.run_folder.lock import filesystem_of, is_locked, locked

HOLDER = """
import sys
from pathlib import Path
from batchrun.run_folder.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock of a run folder lies."""
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    return tmp_path / "run" / "checkpoint" / "lock"


def test_a_second_process_is_refused_and_told_who_holds_it(path: Path) -> None:
    """Exit code 5, with the process and what to do."""
    with holding(path) as process:
        assert is_locked(path)
        with (
            pytest.raises(
                RunLockedError, match=rf"another submit is running on .*run \(process {process.pid}\)"
            ) as caught,
            locked(path),
        ):
            pytest.fail("two hold it")
        assert caught.value.exit_code == 5
        assert "--name" in str(caught.value)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)


def test_a_lock_dies_with_kill_9(path: Path) -> None:
    """No stale lock is ever left, although the file is."""
    with holding(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert path.exists()
        assert not is_locked(path)
        with locked(path):
            pass


def test_nobody_holds_a_lock_that_was_never_taken(path: Path) -> None:
    """And looking makes no file."""
    assert not is_locked(path)
    assert not path.exists()


def test_a_lock_is_given_back_when_the_work_fails(path: Path) -> None:
    """By whatever exception."""
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert not is_locked(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_cannot_be_opened_is_the_folders_error(path: Path) -> None:
    """As in a folder that is read-only."""
    path.mkdir()
    with pytest.raises(RunFolderError, match="cannot write to the run folder") as caught, locked(path):
        pytest.fail("not held")
    assert "output.path" in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a folder lies on")
def test_the_filesystem_is_known(tmp_path: Path) -> None:
    """/proc is one that every Linux has."""
    assert filesystem_of(Path("/proc")) == "proc"
    assert filesystem_of(tmp_path) not in lock._NETWORK


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_a_network_filesystem_is_refused(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock there may hold on one machine only. No test can mount one, so its name is given."""
    monkeypatch.setattr(lock, "filesystem_of", lambda _folder: kind)
    with pytest.raises(RunFolderError, match=rf"network filesystem \({kind}\)"), locked(path):
        pytest.fail("not held")
