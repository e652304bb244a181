"""The reliability suite at full size: `uv run python -m tests.reliability [SECTION …]`, an hour without one.

Each section prints what it saw and holds it against what batchrun promises; the exit code is 1 where any
promise was broken. On a busy machine the sections on pace measure the machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability import pacing
from tests.reliability.faults import weather
from tests.reliability.kills import kill_and_resume
from tests.reliability.memory import cost_of
from tests.reliability.money import told, trials
from tests.reliability.serving import Phase, batching, said, serve

PHASES = [Phase(12, 40), Phase(12, 10), Phase(30, 60)]


def kills() -> Iterator[bool]:
    """SIGKILL at 20 moments of one run. Each item says whether a promise held."""
    seen = kill_and_resume(_folder(), rows=5_000, kills=20)
    _say(
        f"kill -9: {seen.kills} kills in {seen.rows:,} rows, {seen.seconds:.0f} s: lost {seen.lost}, "
        f"duplicated {seen.duplicated}, asked again although answered {seen.asked_again}; "
        f"{seen.calls - seen.rows} calls more than rows, {sum(seen.in_flight)} in flight at the kills"
    )
    yield not (seen.lost or seen.duplicated or seen.asked_again)
    yield seen.calls - seen.rows <= sum(seen.in_flight)


def faults() -> Iterator[bool]:
    """A fifth of all calls go wrong."""
    seen = weather(_folder(), rows=5_000)
    _say(
        f"faults: {seen.faulty:,} of {seen.calls:,} calls struck: {seen.ok:,} rows ok, "
        f"{seen.failed} failed, of {seen.rows:,}; {seen.too_early} calls before a Retry-After "
        f"had passed; exit {seen.exit_code}"
    )
    yield seen.ok + seen.failed == seen.rows
    yield not seen.too_early


def memory() -> Iterator[bool]:
    """200,000 rows in 300 MB."""
    seen = cost_of(_folder(), rows=200_000)
    _say(
        f"memory: {seen.rows:,} rows in {seen.seconds:.0f} s ({seen.rows / seen.seconds:,.0f} rows/s beside "
        f"the simulator), {seen.cpu_per_row:.0f} µs CPU a row, peak {seen.peak_mb:.0f} MB; "
        f"exit {seen.exit_code}"
    )
    yield seen.peak_mb <= 300
    yield not seen.exit_code


def pace() -> Iterator[bool]:
    """Limits of 1, 10 and 60 seconds: no refusal once they are known, and 95% where the job gives them."""
    for case in pacing.table():
        seen = pacing.pace(_folder(), case)
        _say(pacing.described(case, seen))
        yield seen.ok and not seen.too_early and not seen.refused
        yield case.discovered or seen.share >= 0.95


def capacity() -> Iterator[bool]:
    """A capacity that falls and rises: nine tenths of it in the second half of each phase."""
    for name, queue in (("queueing", True), ("refusing", False)):
        served = serve(_folder(), PHASES, queue=queue, spread=True)
        _say(said(f"capacity that changes, {name}", served))
        yield all(one.share(one.phase.seconds / 2) >= 0.9 for one in served)


def batches() -> Iterator[bool]:
    """An engine whose throughput rises with what it has at once: 85% of the best fixed number."""
    rates = {str(given): batching(_folder(), given) for given in (8, 32, 128, 512, "auto")}
    _say("engine that batches, completions/s: " + ", ".join(f"{k}: {v:.0f}" for k, v in rates.items()))
    yield rates["auto"] >= 0.85 * max(rates.values())


def money() -> Iterator[bool]:
    """Random runs under caps, with kills and faults: the ledger never passes one."""
    seen = trials(_folder(), cost=100, tokens=30, requests=30)
    _say(told(seen))
    yield not any(taken.wrong for taken in seen)


SECTIONS: dict[str, Callable[[], Iterator[bool]]] = {
    section.__name__: section for section in (kills, faults, memory, money, capacity, batches, pace)
}


def main() -> int:
    """Run the sections that the shell names, or all."""
    wanted = sys.argv[1:] or list(SECTIONS)
    if unknown := set(wanted) - SECTIONS.keys():
        sys.exit(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    held = {name: all([*SECTIONS[name]()]) for name in wanted}
    if broken := [name for name, all_held in held.items() if not all_held]:
        _say(f"promises broken: {', '.join(broken)}")
    return int(bool(broken))


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="batchrun-reliability-"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
