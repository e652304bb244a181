"""A run ends by its deadlines, whatever a server does not do: real sockets, short timeouts."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.runs import JobFolder, simulated, write_rows

SLACK = 3.0
"""How much later than its deadlines a run may end on a busy machine, with all it does before and after."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nretry-after: 0\r\n\r\n"

Behaviour: TypeAlias = Callable[[socket.socket, threading.Event], None]
"""What a server does with one connection until the event says that the test is over."""


def silent(peer: socket.socket, over: threading.Event) -> None:
    """It reads the request and says nothing."""
    peer.recv(65536)
    over.wait()


def never_reads(peer: socket.socket, over: threading.Event) -> None:
    """It accepts, and leaves the request in its buffers."""
    over.wait()


def silent_after_the_headers(peer: socket.socket, over: threading.Event) -> None:
    peer.recv(65536)
    peer.sendall(HEAD)
    over.wait()


def trickles(peer: socket.socket, over: threading.Event) -> None:
    """A byte of the body every 50 ms: never silent for long, never done."""
    peer.recv(65536)
    peer.sendall(HEAD)
    while not over.wait(0.05):
        peer.sendall(b" ")


def trickles_headers(peer: socket.socket, over: threading.Event) -> None:
    """The headers themselves never end."""
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not over.wait(0.05):
        peer.sendall(b"x")


def keeps_a_stream_alive(peer: socket.socket, over: threading.Event) -> None:
    """Comments, as OpenRouter sends while it waits for a provider, and never an event."""
    peer.recv(65536)
    peer.sendall(STREAM)
    while not over.wait(0.05):
        peer.sendall(b": PROCESSING\n\n")


def refuses_for_ever(peer: socket.socket, over: threading.Event) -> None:
    """A 429 for every request: they cost a row no attempt."""
    while not over.is_set() and peer.recv(65536):
        peer.sendall(REFUSAL)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """A server on loopback; its base URL."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def handle(peer: socket.socket) -> None:
        peer.settimeout(0.5)  # a client keeps its connection after the last answer
        with peer, suppress(OSError):  # the client went away, as it should
            behaviour(peer, over)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed: the test is over
            while True:
                threads.append(threading.Thread(target=handle, args=[listener.accept()[0]]))
                threads[-1].start()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        accepting = threading.Thread(target=accept, args=[listener])
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in [accepting, *threads]:
                thread.join()


def job_in(folder: Path, base_url: str, rows: int = 1, **sections: Any) -> JobFolder:
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    job.write(base_url, **sections)
    return job


def retry(timeouts: dict[str, float], attempts: int = 1) -> dict[str, Any]:
    backoff = {"initial": 0.05, "max": 0.05}
    return {"max_attempts": attempts, "backoff": backoff, "timeout": {"connect": 2, **timeouts}}


@contextmanager
def ending_by(deadline: float) -> Iterator[None]:
    """The block takes no longer than `deadline` seconds, and some slack."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < deadline + SLACK


IDLE = {"idle": 0.2, "total": 30, "row": 60}
TOTAL = {"idle": 30, "total": 0.4, "row": 60}
ROW = {"idle": 30, "total": 30, "row": 0.4}
NO_BYTE = "not a byte for 0.2 s (idle timeout); the request had been sent"
NOT_WHOLE = "no whole answer within 0.4 s (total timeout); the request had been sent"
ROW_OVER = "the row took longer than 0.4 s in all"


@pytest.mark.parametrize(
    ("behaviour", "timeouts", "said"),
    [
        (silent, IDLE, NO_BYTE),
        (silent, TOTAL, NOT_WHOLE),
        (silent, ROW, ROW_OVER),
        (silent_after_the_headers, IDLE, NO_BYTE),
        (silent_after_the_headers, TOTAL, NOT_WHOLE),
        (trickles, TOTAL, NOT_WHOLE),
        (trickles, ROW, ROW_OVER),
        (trickles_headers, TOTAL, NOT_WHOLE),
        (never_reads, IDLE, NO_BYTE),
        (never_reads, TOTAL, NOT_WHOLE),
        (refuses_for_ever, ROW, ROW_OVER),
    ],
)
def test_every_row_ends_by_its_deadlines(
    tmp_path: Path, behaviour: Behaviour, timeouts: dict[str, float], said: str
) -> None:
    """Each deadline on its own, with the others far away; the row's error says which one, and the seconds."""
    with serving(behaviour) as url:
        job = job_in(tmp_path, url, retry=retry(timeouts))
        with ending_by(0.4):
            job.submit_here()
    error = job.results()["error"][0]
    assert error["type"] == "timeout"
    assert said in error["message"]


def test_a_request_that_nobody_reads_ends_by_the_total_timeout(tmp_path: Path) -> None:
    """16 MB, more than all buffers between two sockets hold: the sending itself never ends."""
    with serving(never_reads) as url:
        job = job_in(tmp_path, url, retry=retry(TOTAL))
        job.rows.write_text(json.dumps({"id": "r0", "text": "x" * 16_000_000}))
        with ending_by(0.4):
            job.submit_here()
    assert job.results()["error_type"].to_list() == ["timeout"]


def test_a_stream_of_comments_ends_by_the_total_timeout(tmp_path: Path) -> None:
    """It is never silent, and never answers."""
    with serving(keeps_a_stream_alive) as url:
        job = job_in(tmp_path, url, retry=retry(TOTAL), request={"stream": True})
        with ending_by(0.5):
            job.submit_here()
    assert job.results()["error_type"].to_list() == ["timeout"]


def test_all_attempts_of_a_row_end_by_their_deadlines(tmp_path: Path) -> None:
    """Three attempts of 0.2 s, and the pauses between them."""
    with serving(silent) as url:
        job = job_in(tmp_path, url, retry=retry(IDLE, attempts=3))
        with ending_by(3 * 0.2 + 2 * 0.05):
            job.submit_here()
    assert job.results()["attempts"].list.len().to_list() == [3]


def test_a_fallback_gets_what_the_row_has_left(tmp_path: Path) -> None:
    """The first model takes its attempt, the second the rest of the row's time; nothing begins after it."""
    with serving(silent) as url:
        fallbacks = ["local/second", "local/third"]
        timeouts = {"idle": 30.0, "total": 0.3, "row": 0.5}
        job = job_in(tmp_path, url, retry=retry(timeouts), fallbacks=fallbacks)
        with ending_by(0.5):
            job.submit_here()
    assert job.results()["error_type"].to_list() == ["timeout"]
    assert job.results()["attempts"].list.len().to_list() == [2]


@pytest.mark.parametrize("fault", [{"stall": 60, "at": "mid_body"}, {"drip": 5}])
def test_one_row_that_hangs_holds_nothing_but_itself(tmp_path: Path, fault: dict[str, Any]) -> None:
    """The last of 40 rows never gets its answer: the run ends one attempt later, with the other 39."""
    config = {"faults": [{"match": "row 000039", **fault}]}
    timeouts = {"idle": 30.0, "total": 0.5, "row": 60.0}
    with simulated(tmp_path, rows=40, config=config, retry=retry(timeouts)) as job, ending_by(0.5):
        summary = job.submit_here()
    results = job.results()
    assert (summary.ok, summary.failed, summary.pending) == (39, 1, 0)
    assert results.filter(results["status"] == "failed")["row_index"].to_list() == [39]
    assert "no whole answer within 0.5 s" in results["error"].struct.field("message")[39]
