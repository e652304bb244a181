"""What no server and no network should do, to a fifth of all calls; and whom a call must never reach.

The truth is the hostile server's ledger: when each request came, and when its connection was over. Each
struck call must be over by its deadline and a second, each row end as it should, and the others have
their own answers.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability import measured
from tests.reliability.hostile import UNREAD, Met, Script, certificates, hostile, read_met, struck
from tests.reliability.hostile_acts import expected
from tests.reliability.table import Line
from tests.runs import JobFolder, write_rows

KEY = "sk-canary-0123456789abcdefghij"
CONNECT, IDLE, TOTAL = 1.0, 1.0, 2.0
"""The job's timeouts, in seconds."""
GRACE = 1.0
MOST_MB = 300
LONGEST_RUN = 120.0

CONNECTION, TIMEOUT, OK = {"connection"}, {"timeout"}, {None}
INVALID, SERVER, CUT_OFF = {"invalid_response"}, {"server"}, {"connection", "timeout"}
Expected = Mapping[str, set[str] | set[None]]
"""Faults, and the error types that their rows may end with; None: with their answer."""

CUT: Expected = {
    **{f"{how} before {what}": CONNECTION for how in ("FIN", "RST") for what in ("headers", "the end")},
    **{f"{how} before the middle of headers": CONNECTION for how in ("FIN", "RST")},
    "chunk without its size": CONNECTION,
    "chunk of 2^64 bytes": CONNECTION,
    "chunks without an end": CONNECTION,
    "gzip that is none": CONNECTION,
    "gzip without its end": CONNECTION,
    "1,000 headers": CONNECTION,
    "two lengths": CONNECTION,
    "not HTTP": CONNECTION,
}
SLOW: Expected = {
    "stall before headers": TIMEOUT,
    "stall after 1 byte": TIMEOUT,
    "stall in headers": TIMEOUT,
    "stall before the body": TIMEOUT,
    "stall after 1 byte of the body": TIMEOUT,
    "stall before the last byte": TIMEOUT,
    "trickle of headers": TIMEOUT,
    "trickle of the body": TIMEOUT,
    "trickle of chunks": TIMEOUT,
}
FLOODS: Expected = {
    "gzip bomb": CUT_OFF,
    "gzip in gzip bomb": CUT_OFF,
    "zstd bomb": CUT_OFF,
    "long body": CUT_OFF,
    "endless body": CUT_OFF,
    "endless headers": CUT_OFF,
    "endless stream": CUT_OFF,
    "endless line of a stream": CUT_OFF,
}
ODD: Expected = {
    "HTML 502": SERVER,
    "HTML 200": INVALID,
    "200 without a body": INVALID,
    "200 of bytes": INVALID,
    "204": INVALID,
    "101": SERVER,
    "JSON 100,000 deep": INVALID,
    "error 100,000 deep": SERVER,
    "206": OK,
    "100 first": OK,
    "HTTP/1.0": OK,
    **{f"answer in {coding}": OK for coding in ("gzip", "br", "zstd", "deflate", "X-GZIP")},
    "right, and one more": OK,
}
STREAMS: Expected = {
    "stream of comments": TIMEOUT,
    "stream that stalls": TIMEOUT,
    "stream of garbage": SERVER,
    "stream without an end": CONNECTION,
}
CONNECTIONS: Expected = dict.fromkeys((*UNREAD, "right, then closed", "right, then reset"), OK)
"""Asked again, each of these ends well."""

STOPPED, STOPS = 3, 3
"""The exit code of a submit that stopped early, and how often it is continued: an endpoint that fails is
left after as many probes as a row has attempts, and here that is one."""

REDIRECTS = [
    f"{status} to {kind}"
    for status in ("301", "302", "303", "307", "308")
    for kind in ("the same host", "another host", "another scheme")
]
UNTRUSTED = ("unknown authority", "another host", "expired")


@dataclass(slots=True)
class Seen:
    """What came of one job or several, by ledger, results and the system's account of the process."""

    rows: int = 0
    struck: int = 0
    hung: int = 0
    """Struck calls that went on after their deadline and a second, and runs that had to be killed."""
    harmed: int = 0
    """Rows that nothing was done to and that have not their own answer."""
    wrong: list[str] = field(default_factory=list)
    """Faults of which a row did not end as it should."""
    crashed: int = 0
    slowest: float = 0.0
    """Seconds beyond its deadline of the slowest struck call."""
    peak_mb: float = 0.0

    @property
    def held(self) -> bool:
        return not (self.hung or self.harmed or self.wrong or self.crashed) and self.peak_mb < MOST_MB


def strike(folder: Path, faults: Expected, seen: Seen, *, rows: int, megabytes: int) -> None:
    """Run a job of which each fifth row meets one of `faults`, and add to `seen` what came of it."""
    job, script = JobFolder(folder), Script(tuple(faults), megabytes=megabytes)
    write_rows(job.rows, rows)
    again = faults.keys() <= CONNECTIONS.keys()
    streams = {"request": {"stream": True}} if faults.keys() <= STREAMS.keys() else {}
    with hostile(script, job.ledger) as url:
        describe(job, url, attempts=8 if again else 1, **streams)
        code = run(job, seen)
        for _again in range(STOPS):  # the circuit's probe may meet a fault, too
            code = run(job, seen) if code == STOPPED else code
    seen.crashed += code not in (0, 1)
    met = struck(read_met(job.ledger))
    seen.rows += rows
    seen.struck += len(met)
    seen.hung += sum(late(one) > GRACE for one in met)
    seen.slowest = max([seen.slowest, *map(late, met)])
    ends = endings(job)
    for row in range(rows):
        fault = script.fault(row)
        if fault == "right" or again:
            seen.harmed += ends.get(row) != ""
        elif ends.get(row, "no row") not in {kind or "" for kind in faults[fault]}:
            seen.wrong.append(f"{fault}: {ends.get(row, 'no row')}")


def describe(job: JobFolder, url: str, *, attempts: int, **sections: Any) -> None:
    """Write the job file: a key, short timeouts, no end before every row has its own."""
    endpoint = {"api_key_env": "CANARY", "limits": {"concurrency": 32}, **sections.pop("endpoint", {})}
    timeout = {"connect": CONNECT, "idle": IDLE, "total": TOTAL, "row": 60}
    retry = {"max_attempts": attempts, "backoff": {"initial": 0.05, "max": 0.2}, "timeout": timeout}
    job.write(url, retry=retry, stop_when={"failed": "100%"}, endpoints={"local": endpoint}, **sections)


def run(job: JobFolder, seen: Seen) -> int:
    """Submit; the exit code. A run that goes on for too long is killed and counted."""
    report = job.folder / "taken.json"
    process = subprocess.Popen(
        measured.command(report, "submit", str(job.job), "--json"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "CANARY": KEY},
    )
    try:
        process.wait(LONGEST_RUN)
    except subprocess.TimeoutExpired:
        seen.hung += 1
        process.kill()
    code = process.wait()
    seen.peak_mb = max(seen.peak_mb, measured.read(report).peak_mb)
    return code


def late(met: Met) -> float:
    """Seconds beyond the deadline of a call."""
    return met.took - (IDLE if "stall" in met.fault else TOTAL)


def endings(job: JobFolder) -> dict[int, str]:
    """How each row ended: its error's type, nothing where it has its own answer, or whose it has."""
    columns = job.results().select("row_index", "error_type", "completion").iter_rows()
    return {
        row: error or ("" if completion == expected(row) else f"the wrong answer: {completion}")
        for row, error, completion in columns
    }


def _group(folder: Path, test: str, faults: Expected, full: bool) -> Line:
    """In full each fault by itself, with a job of 200 rows; else all in one small job."""
    seen = Seen()
    alone = full or faults.keys() <= CONNECTIONS.keys()
    jobs = [{name: ends} for name, ends in faults.items()] if alone else [dict(faults)]
    if alone and not full:
        jobs = jobs[-1:]
    for number, job in enumerate(jobs):
        place = folder / f"{test.replace(' ', '-')}-{number:02d}"
        place.mkdir()
        rows = 200 if full else 5 * len(job) if len(job) > 1 else 40
        strike(place, job, seen, rows=rows, megabytes=1000 if full else 100)
    struck_by = f"{len(faults)} faults" if len(jobs) > 1 or not alone else "1 fault"
    return Line(
        test,
        f"{struck_by}, {seen.struck:,} calls of {seen.rows:,} rows",
        held=seen.held,
        lost=seen.harmed,
        hung=seen.hung,
        crashed=seen.crashed,
        note=f"slowest {max(0.0, seen.slowest):.2f} s beyond its deadline, peak memory {seen.peak_mb:.0f} MB"
        + (f"; ended otherwise: {', '.join(sorted(set(seen.wrong)))}" if seen.wrong else ""),
    )


def redirected(folder: Path, faults: Sequence[str], rows: int) -> Line:
    """Every answer is a redirect: the run ends with exit code 4, and nobody follows."""
    seen, followed = Seen(), 0
    for number, fault in enumerate(faults):
        job = JobFolder(folder / f"redirect-{number}")
        job.folder.mkdir()
        write_rows(job.rows, rows)
        with hostile(Script((fault,), every=1), job.ledger) as url:
            describe(job, url, attempts=2)
            seen.crashed += run(job, seen) != 4
        met = read_met(job.ledger)
        seen.struck += len(met)
        followed += len(met) - len({one.row for one in met if one.server == "main"})
    return Line(
        "redirects",
        f"{len(faults)} kinds, {rows} rows each",
        held=seen.held and not followed,
        hung=seen.hung,
        crashed=seen.crashed,
        note=f"{seen.struck} calls in all, {followed} followed with the key or without",
    )


def untrusted(folder: Path, kinds: Sequence[str], rows: int) -> Line:
    """A server whose certificate does not hold: the run stops, and the server has read no request."""
    seen, reached = Seen(), 0
    issued = certificates(folder)
    for kind in kinds:
        job = JobFolder(folder / kind.replace(" ", "-"))
        job.folder.mkdir()
        write_rows(job.rows, rows)
        with hostile(Script(("right",), certificate=str(issued[kind])), job.ledger) as url:
            describe(job, url, attempts=2, endpoint={"ca_file": str(issued["authority"])})
            seen.crashed += run(job, seen) != 3
        reached += len(read_met(job.ledger))
    return Line(
        "certificates that do not hold",
        f"{len(kinds)} kinds, {rows} rows each",
        held=seen.held and not reached,
        hung=seen.hung,
        crashed=seen.crashed,
        note=f"{reached} requests reached such a server",
    )


def unreachable(folder: Path, rows: int) -> Line:
    """A port that nobody listens on, a name that nobody has, TLS where none is spoken: the run stops."""
    seen = Seen()
    with hostile(Script(("not HTTP",), every=1), folder / "nobody.jsonl") as url:
        urls = {"a name without a host": "https://nobody.invalid/v1", "no TLS": url.replace("http", "https")}
        closed = url
        for name, base_url in urls.items():
            seen.crashed += _stops(folder / name.replace(" ", "-"), base_url, rows, seen)
    seen.crashed += _stops(folder / "refused", closed, rows, seen)
    reached = len(read_met(folder / "nobody.jsonl"))
    return Line(
        "endpoints out of reach",
        f"{len(urls) + 1} kinds, {rows} rows each",
        held=seen.held and not reached,
        hung=seen.hung,
        crashed=seen.crashed,
    )


def _stops(folder: Path, url: str, rows: int, seen: Seen) -> bool:
    """Whether a submit ended otherwise than stopped."""
    folder.mkdir()
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    describe(job, url, attempts=2)
    return run(job, seen) != 3


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Faults of answers and connections, floods, redirects, certificates."""
    yield _group(folder, "answers cut or broken", CUT, full)
    yield _group(folder, "answers that stall or trickle", SLOW, full)
    yield _group(folder, "floods and bombs", FLOODS, full)
    yield _group(folder, "odd answers", ODD, full)
    yield _group(folder, "streams that go wrong", STREAMS, full)
    yield _group(folder, "connections lost", CONNECTIONS, full)
    rows = 200 if full else 20
    yield redirected(folder, REDIRECTS if full else REDIRECTS[10:11], rows)
    yield untrusted(folder, UNTRUSTED if full else UNTRUSTED[:1], rows)
    yield unreachable(folder, rows)
