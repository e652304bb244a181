"""The reliability suite at full size: `uv run python -m tests.reliability`. About ten minutes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.reliability.faults import weather
from tests.reliability.kills import kill_and_resume
from tests.reliability.memory import cost_of


def main() -> int:
    """Run everything and print a line for each; 1 when a promise was broken."""
    kills = kill_and_resume(_folder(), rows=5_000, kills=20)
    _say(
        f"kill -9: {kills.kills} kills in {kills.rows:,} rows, {kills.seconds:.0f} s: lost {kills.lost}, "
        f"duplicated {kills.duplicated}, asked again although answered {kills.asked_again}; "
        f"{kills.calls - kills.rows} calls more than rows, {sum(kills.in_flight)} in flight at the kills"
    )
    faults = weather(_folder(), rows=5_000)
    _say(
        f"faults: {faults.faulty:,} of {faults.calls:,} calls struck: {faults.ok:,} rows ok, "
        f"{faults.failed} failed, of {faults.rows:,}; {faults.too_early} calls before a Retry-After "
        f"had passed; exit {faults.exit_code}"
    )
    cost = cost_of(_folder(), rows=200_000)
    _say(
        f"memory: {cost.rows:,} rows in {cost.seconds:.0f} s ({cost.rows / cost.seconds:,.0f} rows/s beside "
        f"the simulator), {cost.cpu_per_row:.0f} µs CPU a row, peak {cost.peak_mb:.0f} MB; "
        f"exit {cost.exit_code}"
    )
    broken = [
        kills.lost or kills.duplicated or kills.asked_again,
        kills.calls - kills.rows > sum(kills.in_flight),
        faults.ok + faults.failed != faults.rows or faults.too_early,
        cost.peak_mb > 300 or cost.exit_code,
    ]
    return int(any(broken))


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="batchrun-reliability-"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
