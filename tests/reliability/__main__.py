"""The reliability suite at full size: `uv run python -m tests.reliability`. About ten minutes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.reliability import pacing
from tests.reliability.faults import weather
from tests.reliability.kills import kill_and_resume
from tests.reliability.memory import cost_of
from tests.reliability.money import told, trials
from tests.reliability.serving import Phase, batching, said, serve


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
    for case in pacing.table():
        _say(pacing.described(case, pacing.pace(_folder(), case)))
    phases = [Phase(12, 40), Phase(12, 10), Phase(30, 60)]
    queueing = serve(_folder(), phases, queue=True, spread=True)
    _say(said("capacity that changes, queueing", queueing))
    refusing = serve(_folder(), phases, queue=False, spread=True)
    _say(said("capacity that changes, refusing", refusing))
    batched = {given: batching(_folder(), given) for given in (8, 32, 128, 512, "auto")}
    _say("engine that batches, completions/s: " + ", ".join(f"{k}: {v:.0f}" for k, v in batched.items()))
    money = trials(_folder(), cost=100, tokens=30, requests=30)
    _say(told(money))
    broken = [
        any(one.share(one.phase.seconds / 2) < 0.9 for one in [*queueing, *refusing]),
        batched["auto"] < 0.85 * max(batched.values()),
        kills.lost or kills.duplicated or kills.asked_again,
        kills.calls - kills.rows > sum(kills.in_flight),
        faults.ok + faults.failed != faults.rows or faults.too_early,
        cost.peak_mb > 300 or cost.exit_code,
        any(taken.wrong for taken in money),
    ]
    return int(any(broken))


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="batchrun-reliability-"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
