"""A long submit at full speed, looked at from outside: memory, file handles and journal while it goes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tests.reliability import measured
from tests.reliability.responder import responding
from tests.reliability.table import Line
from tests.runs import JobFolder, write_rows

_SAMPLES = 24
"""Lines of the plot."""
_WARM = 0.1
"""Share of the rows after which memory should not grow any more."""
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    seconds: float
    sealed: int
    """Rows in sealed parts."""
    rss_mb: float
    handles: int
    journal_mb: float
    sealed_mb: float


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a soak came to."""

    rows: int
    ok: int
    calls: int
    """By the responder's count."""
    seconds: float
    exit_code: int
    samples: tuple[Sample, ...]
    peak_mb: float

    @property
    def slope(self) -> float:
        """MB of memory per 100,000 rows: the line of least squares through the samples after the start."""
        late = [one for one in self.samples if one.sealed >= _WARM * self.rows]
        if len(late) < 3:
            return 0.0
        frame = pl.DataFrame({"x": [one.sealed for one in late], "y": [one.rss_mb for one in late]})
        slope = frame.select(pl.cov("x", "y") / pl.col("x").var()).item()
        return float(slope) * 100_000


def soak(folder: Path, *, rows: int, concurrency: int = 128) -> Soaked:
    """Submit `rows` rows to an endpoint that answers at once."""
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    with responding() as (base_url, responder):
        job.write(
            base_url, endpoints={"local": {"base_url": base_url, "limits": {"concurrency": concurrency}}}
        )
        started = time.monotonic()
        command = measured.command(folder / "taken.json", "submit", str(job.job))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples = tuple(_watch(process, job, started, max(0.2, min(5.0, rows / 100_000))))
        code = process.wait()
        seconds = time.monotonic() - started
        responder.terminate()
        assert responder.stdout is not None
        calls = int(responder.stdout.read())
    ok = job.run_json().get("ok", 0)
    peak = measured.read(folder / "taken.json").peak_mb
    return Soaked(rows, ok, calls, seconds, code, samples, peak)


def _watch(
    process: subprocess.Popen[bytes], job: JobFolder, started: float, every: float
) -> Iterator[Sample]:
    """A sample `every` so many seconds, until the process has ended."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(every)
        try:
            rss = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            handles = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except (OSError, IndexError):
            return  # it ended meanwhile
        journal, sealed, finished = _written(job.checkpoint)
        yield Sample(time.monotonic() - started, finished, rss / _MB, handles, journal / _MB, sealed / _MB)


def _written(checkpoint: Path) -> tuple[int, int, int]:
    """Bytes of journal files and of sealed parts, and the rows in those."""
    import pyarrow.parquet as pq

    journal = sealed = rows = 0
    for path in checkpoint.glob("*") if checkpoint.exists() else ():
        try:
            size = path.stat().st_size
            if path.name.startswith("journal-"):
                journal += size
            elif path.name.startswith("sealed-") and path.suffix == ".parquet":
                sealed += size
                rows += pq.read_metadata(path).num_rows
        except OSError:
            continue  # sealed or removed meanwhile
    return journal, sealed, rows


def plot(samples: Sequence[Sample]) -> str:
    """Memory, handles and journal over time, a line for each of some moments."""
    step = max(1, -(-len(samples) // _SAMPLES))
    shown = samples[::step]
    most = max((one.rss_mb for one in shown), default=1.0)
    head = f"{'s':>6} {'sealed':>9} {'RSS MB':>7} {'handles':>7} {'journal MB':>10} {'sealed MB':>9}"
    return "\n".join([head, *(_drawn(one, most) for one in shown)])


def _drawn(one: Sample, most: float) -> str:
    bar = "#" * round(30 * one.rss_mb / most)
    return (
        f"{one.seconds:6.0f} {one.sealed:9,} {one.rss_mb:7.0f} {one.handles:7} {one.journal_mb:10.1f} "
        f"{one.sealed_mb:9.1f} {bar}"
    )


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """A million rows: memory and file handles stay where they are."""
    seen = soak(folder, rows=1_000_000 if full else 20_000)
    late = [one.handles for one in seen.samples if one.sealed >= _WARM * seen.rows]
    handles = (min(late), max(late)) if late else (0, 0)
    done = seen.exit_code == 0 and seen.ok == seen.rows == seen.calls
    yield Line(
        "soak",
        f"{seen.rows:,} rows",
        held=done and seen.peak_mb < 300 and (seen.slope < 3 or not full),
        lost=seen.rows - seen.ok,
        repaid=seen.calls - seen.rows,
        crashed=int(seen.exit_code != 0),
        note=f"{seen.seconds:.0f} s, {seen.rows / seen.seconds:,.0f} rows/s; peak {seen.peak_mb:.0f} MB, "
        f"{seen.slope:+.2f} MB per 100,000 rows; {handles[0]} to {handles[1]} file handles\n\n"
        f"```\n{plot(seen.samples)}\n```",
    )
