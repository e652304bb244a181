"""Signals where no engine runs yet, and a run folder that goes away."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.reliability.signals import gone
from tests.reliability.storage import ROWS
from tests.reliability.struck import Seen, served, settle


def test_a_signal_while_the_command_starts_is_no_traceback(tmp_path: Path) -> None:
    """SIGHUP and SIGTERM end it alike, with the exit code that says so."""
    with served(tmp_path) as make:
        job = make("start", ROWS)
        with subprocess.Popen(job.command(), stderr=subprocess.PIPE, text=True) as process:
            while not catches(process.pid, signal.SIGHUP):  # until then Python itself starts
                assert process.poll() is None
            process.send_signal(signal.SIGHUP)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 143
        assert "Traceback" not in said
        seen = Seen("start")
        settle(job, ROWS, seen)
    assert seen.wrong == []


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal (proc(5), `SigCgt`)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.M)
    assert caught
    return bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.long
def test_a_run_folder_that_is_replaced_ends_the_run(tmp_path: Path) -> None:
    """Nothing is written into the other folder, and what was moved away has what had arrived."""
    with served(tmp_path, 0.01) as make:
        seen = gone(make, "gone", "replaced", 0.1)
    assert (seen.wrong, seen.exit_code) == ([], 3)
