"""Simulators for tests, each in a process of its own, without the second that Python takes to load one.

`batchrun.simulator.start_process` starts Python anew. Here one process loads the simulator and does nothing
but fork: each fork is handed its pipes, and from there on runs what `start_process` would.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from batchrun.simulator import SimulatorConfig
from batchrun.simulator.process import main

ROOT = Path(__file__).parents[1]
_STARTING = Lock()


@contextmanager
def start_simulator(config: SimulatorConfig, *, ledger: Path | None = None) -> Iterator[str]:
    """The base URL of a simulator that lives as long as the block, or as this process if that ends before."""
    theirs, orders = os.pipe()
    told, says = os.pipe()
    try:
        with _STARTING:  # tests start simulators in threads, too
            way, _process = _nursery()
        socket.send_fds(way, [b"f"], [theirs, says])
    finally:
        os.close(theirs)
        os.close(says)
    with os.fdopen(told) as answers, os.fdopen(orders, "w") as begin:
        path = None if ledger is None else str(ledger.resolve())
        begin.write(json.dumps({"config": config.model_dump(mode="json"), "ledger": path}) + "\n")
        begin.flush()
        base_url = answers.readline().strip()
        assert base_url, "the simulator did not start: see standard error"
        yield base_url
        begin.close()
        assert answers.read() == ""  # it has ended


@cache
def _nursery() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The way to the process that forks, and the process: it ends when the way is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
    return ours, process


def _fork(orders: socket.socket) -> None:
    """Become one simulator for each pair of pipes that comes, and stay what forks."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        _, pipes, _, _ = socket.recv_fds(orders, 1, 2)
        if not pipes:
            return
        if os.fork() == 0:
            orders.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, pipe in enumerate(pipes):
                os.dup2(pipe, number)
                os.close(pipe)
            main()
            return
        for pipe in pipes:
            os.close(pipe)


if __name__ == "__main__":
    _fork(socket.socket(fileno=int(sys.argv[1])))
