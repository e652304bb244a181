"""What a run writes is its user's alone, and is written nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from batchrun.errors import BatchrunError
from batchrun.run_folder.folder import RunFolder
from tests.runs import JobFolder, simulated, write_rows


def modes(folder: Path) -> set[tuple[str, int]]:
    """The permissions of everything in a folder, and of itself; what goes away meanwhile is left out."""
    found = set()
    for path in (folder, *folder.rglob("*")):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not path.is_symlink():
            found.add(("folder" if path.is_dir() else path.suffix, status.st_mode & 0o777))
    return found


@pytest.mark.long
def test_no_mask_opens_a_file_at_any_time(tmp_path: Path) -> None:
    """With umask 000, while the run goes on, after it, and after a second one with a report."""
    latency = {"latency": {"kind": "uniform", "low": 0.001, "high": 0.2}}
    with simulated(tmp_path, rows=300, config=latency) as job:
        for verb in ("submit", "report"):
            words = [sys.executable, "-m", "batchrun", verb, str(job.job)]
            with subprocess.Popen(
                words, umask=0, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            ) as life:
                seen: set[tuple[str, int]] = set()
                while life.poll() is None:
                    time.sleep(0.005)
                    seen |= modes(job.run) if (job.run / "checkpoint" / "job.json").exists() else set()
            assert life.returncode == 0
            seen |= modes(job.run)
            assert {mode for kind, mode in seen if kind == "folder"} == {0o700}
            assert {mode for kind, mode in seen if kind != "folder"} == {0o600}


@pytest.mark.parametrize(
    "name", ["run.json.tmp", "job.yaml.tmp", "log.jsonl", "results.tmp", "checkpoint/lock"]
)
def test_a_planted_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """What it leads to stays as it is, whatever becomes of the run."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        path = job.run / name
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
        with suppress(BatchrunError):
            job.submit_here("request.temperature=0.5", rerun_changed=True)
    assert victim.read_text() == "precious"


def test_planted_results_are_replaced(tmp_path: Path) -> None:
    """The link is, and not what it leads to."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "part-00000.parquet").write_text("precious")
    with simulated(tmp_path, rows=3) as job:
        job.submit_here(limit=1)
        (job.run / "results").unlink()
        (job.run / "results").symlink_to(other)
        job.submit_here()
        assert len(job.results()) == 3
    assert (other / "part-00000.parquet").read_text() == "precious"


@pytest.mark.parametrize(
    "name", ["../x", "../../x", "..", ".", "/tmp/x", "a/b", "a\\b", "a b", "ä", "", "a\n"]
)
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """It names one folder below runs: letters, digits, dots, dashes and underscores."""
    job = JobFolder(tmp_path / "jobs")
    job.folder.mkdir()
    write_rows(job.rows, 1)
    job.write("http://127.0.0.1:9/v1")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BatchrunError, match="it names a folder"):
        job.submit_here(name=name)
    job.edit(name=name)
    with pytest.raises(BatchrunError, match="it names a folder"):
        job.submit_here()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that other users reach; those of `tmp_path` are closed above it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("begun", [False, True], ids=["empty", "begun"])
def test_another_users_folder_is_refused(reachable: Path, begun: bool) -> None:
    """Else he could read the answers, and write what the next submit takes for answers."""
    script = (
        "import os\n"
        "from pathlib import Path\n"
        "from batchrun.errors import RunFolderError\n"
        "from batchrun.run_folder.folder import RunFolder\n"
        "os.setgid(65534); os.setuid(65534)\n"
        f"try: RunFolder(Path({str(reachable)!r}) / 'open').claim('job')\n"
        "except RunFolderError as error: print(error)\n"
    )
    run = RunFolder(reachable / "open")
    run.path.mkdir()
    if begun:
        run.claim("job")
    for folder in (run.path, run.checkpoint_path) if begun else (run.path,):
        folder.chmod(0o777)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "belongs to another user" in ended.stdout, ended.stderr
