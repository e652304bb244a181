"""Signals where no engine runs yet, and a run folder that goes away."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.reliability.signals import Blow, gone, struck_by
from tests.reliability.struck import served


def test_a_signal_while_the_command_starts_is_no_traceback(tmp_path: Path) -> None:
    """SIGHUP and SIGTERM end it alike, with the exit code that says so."""
    with served(tmp_path) as make:
        seen = struck_by(make, "start", Blow(signal.SIGHUP, (0.4,)))
    assert (seen.wrong, seen.exit_code) == ([], 143)


def test_a_run_folder_that_is_replaced_ends_the_run(tmp_path: Path) -> None:
    """Nothing is written into the other folder, and what was moved away has what had arrived."""
    with served(tmp_path, 0.01) as make:
        seen = gone(make, "gone", "replaced", 0.1)
    assert (seen.wrong, seen.exit_code) == ([], 3)
