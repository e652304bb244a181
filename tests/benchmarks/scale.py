"""What stays flat as a job grows: `uv run python -m tests.benchmarks scale [--rows 10k,1M] [--out FILE]`.

For each size one job is submitted, continued, looked at and published again, each time by `batchrun` in a
process of its own, timed from outside. The endpoint answers at once: what is measured is batchrun, and on two
cores the endpoint beside it. A million rows take some 600 MB below the folder of temporary files.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.first_call import noticing
from tests.benchmarks.table import headed, written
from tests.reliability import measured
from tests.reliability.responder import responding
from tests.runs import JobFolder, write_rows

IN_FLIGHT = 128
LEFT = 500
"""Rows that each continued submit is left to ask for."""
_URL = "RESPONDER"
"""Variable that names the endpoint: the job file stays the same from submit to submit."""
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, slots=True)
class Command:
    """What one command took, from its start to its end."""

    seconds: float
    cpu: float
    """Seconds."""
    peak_mb: float
    first_call: float = float("nan")
    """Seconds until the endpoint was asked for the first time."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """One size of the job."""

    rows: int
    submitted: Command
    """Of `rows` rows, with their publication."""
    status: Command
    plan: Command
    resumed: Command
    """Job and files as they were."""
    reread: Command
    """The same after the input file was touched: the index pass runs again."""
    nothing: Command
    """A submit that finds everything done."""
    plan_done: Command
    published: Command
    """A submit that finds everything done and nothing published."""

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.submitted.seconds


class UnexpectedError(RuntimeError):
    """A command did not do what is measured."""


def scaled(folder: Path, rows: int) -> Scaled:
    """Measure a job of `rows` rows below `folder`. Raises UnexpectedError."""
    job = JobFolder(folder)
    write_rows(job.rows, rows + 2 * LEFT)
    job.write("", endpoints={"local": {"base_url": f"${{{_URL}}}", "limits": {"concurrency": IN_FLIGHT}}})
    submitted = _submitted(job, rows)
    status, plan = _run(job, "status"), _run(job, "plan")
    resumed = _continued(job, rows + LEFT)
    os.utime(job.rows)
    reread = _continued(job, rows + 2 * LEFT)
    nothing, plan_done = _run(job, "submit"), _run(job, "plan")
    _unpublish(job)
    published = _run(job, "submit")
    _expect(job, rows + 2 * LEFT)
    return Scaled(rows, submitted, status, plan, resumed, reread, nothing, plan_done, published)


def _submitted(job: JobFolder, rows: int) -> Command:
    with responding() as (url, responder):
        seen = _run(job, "submit", "--limit", str(rows), url=url)
        responder.terminate()
        assert responder.stdout is not None
        calls = int(responder.stdout.read())
    if calls != rows:
        raise UnexpectedError(f"{rows:,} rows took {calls:,} calls")
    _expect(job, rows)
    return seen


def _continued(job: JobFolder, ok: int) -> Command:
    """Ask for LEFT more rows, after which `ok` are done."""
    with noticing() as (url, came):
        began = time.monotonic()
        seen = _run(job, "submit", "--limit", str(LEFT), url=url)
    _expect(job, ok)
    return Command(seen.seconds, seen.cpu, seen.peak_mb, came[0] - began)


def _run(job: JobFolder, verb: str, *options: str, url: str = "http://127.0.0.1:9/v1") -> Command:
    """Run one command; `url` is the endpoint's, by default one that nobody answers at."""
    report = job.folder / "taken.json"
    report.unlink(missing_ok=True)
    command = measured.command(report, verb, str(job.job), *options)
    began = time.monotonic()
    done = subprocess.run(command, env={**os.environ, _URL: url}, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise UnexpectedError(f"`{verb}` ended with {done.returncode}: {done.stderr}")
    taken = measured.read(report)
    return Command(seconds, taken.cpu, taken.peak_mb)


def _expect(job: JobFolder, ok: int) -> None:
    if (found := job.run_json()["ok"]) != ok:
        raise UnexpectedError(f"{found:,} rows are ok, not {ok:,}")


def _unpublish(job: JobFolder) -> None:
    """Leave the folder as a kill does between the last answer and its publication."""
    (job.run / "results").unlink()
    (job.checkpoint / "published.json").unlink()
    for generation in (job.run / "generations").iterdir():
        shutil.rmtree(generation)


Cell = Callable[[Scaled, Scaled], str]
"""A figure of one size, beside the smallest."""

FIGURES: tuple[tuple[str, str, Cell], ...] = (
    ("submit: rows/s", "", lambda one, _: f"{one.rate:,.0f}"),
    ("  against the smallest", ">= 0.95x", lambda one, small: f"{one.rate / small.rate:.2f}x"),
    ("  CPU µs a row", "", lambda one, _: f"{one.submitted.cpu / one.rows * 1e6:,.0f}"),
    ("  peak RSS, MB", "< 300", lambda one, _: f"{one.submitted.peak_mb:,.0f}"),
    ("  MB per 100k rows", "< 3", lambda one, small: slope(one, small)),
    ("resume: s to the first call", "< 5", lambda one, _: f"{one.resumed.first_call:.2f}"),
    ("  input touched", "+ 10 µs a row", lambda one, _: f"{one.reread.first_call:.2f}"),
    ("  µs a row more", "<= 10", lambda one, _: f"{pass_of(one):.1f}"),
    ("  peak RSS, MB", "< 300", lambda one, _: f"{one.resumed.peak_mb:,.0f}"),
    ("publish all: s", "< 20", lambda one, _: f"{one.published.seconds - one.nothing.seconds:.2f}"),
    ("  whole command, s", "", lambda one, _: f"{one.published.seconds:.2f}"),
    ("  CPU µs a row", "", lambda one, _: f"{publication_of(one):.0f}"),
    ("  peak RSS, MB", "< 300", lambda one, _: f"{one.published.peak_mb:,.0f}"),
    ("submit, nothing to do: s", "", lambda one, _: f"{one.nothing.seconds:.2f}"),
    ("  peak RSS, MB", "< 300", lambda one, _: f"{one.nothing.peak_mb:,.0f}"),
    ("plan, some to do: s", "", lambda one, _: f"{one.plan.seconds:.2f}"),
    ("plan, nothing to do: s", "", lambda one, _: f"{one.plan_done.seconds:.2f}"),
    ("  peak RSS, MB", "", lambda one, _: f"{one.plan_done.peak_mb:,.0f}"),
    ("status: s", "", lambda one, _: f"{one.status.seconds:.2f}"),
    ("  peak RSS, MB", "", lambda one, _: f"{one.status.peak_mb:,.0f}"),
)
"""Each with what it must reach; times and sizes at a million rows."""


def slope(one: Scaled, small: Scaled) -> str:
    """MB of memory that 100,000 rows add to a submit; nothing to say of the smallest size."""
    if one.rows == small.rows:
        return "-"
    return f"{(one.submitted.peak_mb - small.submitted.peak_mb) / (one.rows - small.rows) * 1e5:.1f}"


def pass_of(one: Scaled) -> float:
    """Microseconds a row that the index pass takes."""
    return (one.reread.first_call - one.resumed.first_call) / one.rows * 1e6


def publication_of(one: Scaled) -> float:
    """Microseconds of CPU a row that the publication takes."""
    return (one.published.cpu - one.nothing.cpu) / one.rows * 1e6


def table(sizes: Sequence[Scaled]) -> str:
    """A line for each figure, a column for each size, the target last."""
    small = min(sizes, key=lambda one: one.rows)
    columns = ["", *(f"{one.rows:,} rows" for one in sizes), "target"]
    rows = [[name, *(cell(one, small) for one in sizes), target] for name, target, cell in FIGURES]
    return written(columns, rows)


def lines(sizes: Sequence[int]) -> Iterator[str]:
    """The table after each size, smallest first."""
    seen: list[Scaled] = []
    for rows in sorted(sizes):
        with tempfile.TemporaryDirectory(prefix="batchrun-scale-") as folder:
            seen.append(scaled(Path(folder), rows))
        yield table(seen)


def number(text: str) -> int:
    """A number of rows, as in `10k` or `1M`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([kM]?)", text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no number of rows such as 500, 10k or 1M")
    return int(match[1]) * _FACTORS[match[2]]


def main(arguments: Sequence[str]) -> int:
    """Measure the sizes that the shell names."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks scale", description=__doc__)
    parser.add_argument("--rows", default="10k,100k,1M", help="numbers of rows, default %(default)s")
    parser.add_argument("--out", type=Path, help="write the table to a file too")
    asked = parser.parse_args(arguments)
    try:
        sizes = [number(text) for text in asked.rows.split(",")]
    except ValueError as error:
        parser.error(f"--rows: {error}")
    head = headed(f"python -m tests.benchmarks scale --rows {asked.rows}", f"{IN_FLIGHT} in flight")
    for text in lines(sizes):
        sys.stdout.write(head + text + "\n")
        sys.stdout.flush()
        if asked.out:
            asked.out.write_text(head + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
