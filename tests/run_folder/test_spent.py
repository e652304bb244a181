"""What a run has spent counts once, whenever a `gc` is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchrun import gc
from batchrun.job import load_job
from batchrun.run_folder.spend import read_dropped
from batchrun.survey import Survey
from tests.runs import JobFolder, simulated

STALL = {"match": "row 000000", "first": 1, "stall": 60}
EDITED = {"messages": [{"role": "user", "content": "{{ n }} please"}]}


class KilledError(Exception):
    """The moment at which a test kills."""


@contextmanager
def left_under_way(folder: Path) -> Iterator[JobFolder]:
    """A job of three rows, killed while its first call had no answer."""
    with simulated(folder, rows=3, config={"faults": [STALL]}, budget={"requests": 100}) as job:
        with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            while not job.calls():
                time.sleep(0.02)
            killed.send_signal(signal.SIGKILL)
        yield job


def collect(job: JobFolder) -> None:
    gc.collect(load_job(job.job, env={}, cwd=job.folder))


def killed_collecting(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gc`, killed once it has kept the sums of what it drops."""

    async def die(_found: Survey) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(gc, "_renew_journal", die)  # the moment between two files cannot be met from outside
        with pytest.raises(KilledError):
            collect(job)
    assert read_dropped(job.checkpoint)


def test_a_task_that_gc_was_about_to_drop_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit that made it garbage is taken back, and it is finished after all."""
    with left_under_way(tmp_path) as job:
        before = job.job.read_text(encoding="utf-8")
        job.edit(prompt=EDITED)
        killed_collecting(job, monkeypatch)
        job.job.write_text(before, encoding="utf-8")
        finished = job.submit_here()
        assert (finished.ok, finished.spent["requests"]) == (3, len(job.calls()))
        assert job.submit_here().spent == finished.spent


def test_what_gc_drops_counts_once_when_gc_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls were sent, with an answer or without one, and it has no row any more."""
    with left_under_way(tmp_path) as job:
        job.edit(prompt=EDITED)
        killed_collecting(job, monkeypatch)
        collect(job)
        collect(job)
        finished = job.submit_here(rerun_changed=True)
        assert (finished.ok, finished.spent["requests"]) == (3, len(job.calls()))
