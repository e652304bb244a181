"""Adaptive concurrency over real sockets: the servers of `test_concurrency.py` as processes of their own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchrun.simulator import Call
from tests.reliability.serving import AUTO, Phase, Served, run_for, serve
from tests.runs import simulated

_QUEUEING = [Phase(4, 40), Phase(4, 10), Phase(5, 60)]
_REFUSING = [Phase(6, 40), Phase(6, 10)]


@pytest.mark.long
def test_auto_uses_a_hidden_capacity_that_changes(tmp_path: Path) -> None:
    """Most of it once it is found, on a server that queues and, at the same time, on one that refuses with a
    Retry-After that stops the whole endpoint for a second.

    How much exactly is asserted in virtual time (`test_concurrency.py`) and by the section `capacity`: this
    machine may be slower than the servers are.
    """
    folders = [tmp_path / name for name in ("queueing", "refusing")]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:
        queueing = pool.submit(serve, folders[0], _QUEUEING, queue=True)
        refusing = pool.submit(serve, folders[1], _REFUSING, queue=False)

    for served in queueing.result():
        assert served.refused == 0
        assert served.share(2) >= 0.5
        assert peak(served, 2) >= 0.6  # twenty calls, the start, would be half of 40 places
    assert queueing.result()[0].slowest <= 3  # doubling was taken back at 160 calls: 1.2 s by itself
    for served in refusing.result():
        assert served.refused <= 50  # doubling goes from 40 to 80 once
        assert served.share(4.3) >= 0.5
        assert peak(served, 4) >= 0.6


def peak(served: Served, start: int) -> float:
    """The best second of a phase, from `start` on."""
    return max(served.share(at, at + 1) for at in range(start, int(served.phase.seconds)))


def was_refused(calls: list[Call]) -> bool:
    """Whether the capacity was met: a call was answered, and not with 200."""
    return any(call.answer and call.answer.status != 200 for call in calls)


def most_at_once(calls: list[Call], seconds: float) -> int:
    """The most calls that were under way together within the first `seconds`."""
    begun = [(call.at, 1) for call in calls]
    ended = [(call.answer.at, -1) for call in calls if call.answer]
    count = most = 0
    for at, change in sorted(begun + ended):
        count += change
        most = max(most, count) if at < calls[0].at + seconds else most
    return most


@pytest.mark.long
def test_a_second_submit_starts_from_what_the_first_learned(tmp_path: Path) -> None:
    """Above the start of 20 in its first round, and none of that is refused; strange state is no error."""
    limits = {"concurrency": 40, "queue": False}
    config = {"latency": {"kind": "constant", "seconds": 0.3}, "limits": limits}
    with simulated(tmp_path, rows=3_000, config=config, endpoints=AUTO) as job:
        run_for(job, 1, once=was_refused)
        admitted = json.loads((job.checkpoint / "admitted.json").read_text())
        again = run_for(job, 1.2)
        learned = [gate["concurrency"] for gate in admitted["gates"] if "concurrency" in gate]

        for gate in admitted["gates"]:
            gate["concurrency"] = {"limit": "many", "window": [1]}
        (job.checkpoint / "admitted.json").write_text(json.dumps(admitted))
        strange = run_for(job, 1)

    assert [30 <= state["ceiling"] <= 40 for state in learned] == [True]
    assert 22 <= most_at_once(again, 0.9) <= 40
    early = [call.answer for call in again if call.answer and call.at < again[0].at + 0.6]
    assert all(answer.status == 200 for answer in early)
    assert 1 <= most_at_once(strange, 0.6) <= 20
