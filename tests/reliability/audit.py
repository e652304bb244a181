"""The books of a job that is killed: what its files held at each kill, what was paid for, what came out.

The truth is the simulator's ledger and the files. `status` and `show` are commands under test here: they
must be able to read what a kill left.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from batchrun.cli import main as batchrun
from batchrun.simulator import Call
from tests.reliability.held import Ask, CallId, Held, Reader, ask_of
from tests.runs import JobFolder

READERS = ("status", "show")
"""Commands that must read a run folder whatever it was left like."""


@dataclass(slots=True)
class Books:
    """What a series of kills cost."""

    kills: int = 0
    in_flight: list[int] = field(default_factory=list)
    """Calls of the life that was killed without an answer in its files, at each kill."""
    lost: int = 0
    """Asks whose answer the files held at a kill, and whose row is not in the results, or with another."""
    duplicated: int = 0
    repaid: int = 0
    """Calls for an ask whose answer the files held at an earlier kill."""
    extra: int = 0
    """Paid calls more than one for each ask."""
    crashed: int = 0
    """Commands that did not read what a kill left, and lives that ended with another code than 0."""
    leftovers: int = 0
    """Files in the finished run folder that nothing needs."""
    notes: list[str] = field(default_factory=list)
    """What was wrong, in words; the first few."""

    def note(self, text: str) -> None:
        """Say something that was wrong."""
        if len(self.notes) < 6:
            self.notes.append(text)

    def add(self, other: Books) -> None:
        """Add up with another series."""
        for name in ("kills", "lost", "duplicated", "repaid", "extra", "crashed", "leftovers"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.in_flight += other.in_flight
        for text in other.notes:
            self.note(text)

    def held(self, places: int) -> bool:
        """Whether all promises were kept by a job with so many places for calls."""
        wrong = self.lost + self.duplicated + self.repaid + self.crashed + self.leftovers
        return not wrong and self.extra <= sum(self.in_flight) and max(self.in_flight, default=0) <= places

    def sentence(self) -> str:
        """The numbers that have no column of their own."""
        said = f"{self.extra} calls paid for more than once, {sum(self.in_flight)} in flight at the kills"
        if self.leftovers:
            said += f", {self.leftovers} leftovers"
        return "; ".join([said, *self.notes])


class Auditor:
    """Follows one job from kill to kill."""

    def __init__(self, job: JobFolder, reader: Reader, books: Books) -> None:
        self.books = books
        self._job = job
        self._reader = reader
        self._first: dict[Ask, tuple[float, set[str]]] = {}
        """When files first held an answer to an ask, and the ids of the completions."""
        self._gone: set[Ask] = set()
        """Asks whose answers a later life dropped."""
        self._open: set[CallId] = set()

    def look(self) -> Held:
        """Take down what the files hold before a life begins; nothing was killed."""
        held = self._reader.read(self._job.checkpoint)
        now = time.time()
        for ask, ids in held.answers.items():
            self._first.setdefault(ask, (now, ids))
        self._gone |= self._first.keys() - held.answers.keys()
        self._open = held.open_calls()
        return held

    def killed(self) -> None:
        """Take down what a kill left."""
        before = self._open
        self.look()
        self.books.kills += 1
        self.books.in_flight.append(len(self._open - before))
        self.read()

    def read(self) -> None:
        """Let the commands that read a run folder read this one, and follow its link to the results."""
        expected = 0 if (self._job.checkpoint / "job.json").exists() else 2  # 2: there is no run yet
        for verb in READERS:
            code, said = run_here(verb, str(self._job.run))
            if code != expected or "Traceback" in said:
                self.books.crashed += 1
                self.books.note(f"{verb} ended with {code}: {said.strip().splitlines()[-1:]}")

        results = self._job.run / "results"
        if results.is_symlink() and not list(results.glob("part-*.parquet")):
            self.books.crashed += 1
            self.books.note("the link to the results leads nowhere")

    def ended(self, code: int) -> None:
        """Take down the exit code of a life that came to its end."""
        if code != 0:
            self.books.crashed += 1
            self.books.note(f"a submit ended with {code}")

    def finished(self, calls: Iterable[Call], rows: Collection[int], *, asks: int = 1) -> None:
        """Settle a job that ends with these rows, `asks` asks each, by all its calls."""
        made = Counter[Ask]()
        for call in calls:
            ask = ask_of(call.prompt)
            made[ask] += call.answer is None or call.answer.status == 200
            at, _ = self._first.get(ask, (float("inf"), set()))
            if call.at > at and ask[0] in rows:
                self.books.repaid += 1
                self.books.note(f"{ask} was asked again")
        self.books.extra += sum(number - 1 for number in made.values() if number > 1)
        self._settle(rows, asks)
        for name in leftovers(self._job.run):
            self.books.leftovers += 1
            self.books.note(f"{name} was left")

    def _settle(self, rows: Collection[int], asks: int) -> None:
        for ask in self._gone:
            if ask[0] in rows:
                self.books.lost += 1
                self.books.note(f"the files hold the answer to {ask} no more")
        if not list(self._job.run.glob("results/*.parquet")):
            self.books.lost += len(rows)
            self.books.note("there are no results")
            return
        results = self._job.results()
        shown = results["row_index"].to_list()
        self.books.duplicated += len(shown) - len(set(shown))
        answered = dict(
            results.filter(results["status"] == "ok").select("row_index", "response_id").iter_rows()
        )
        if missing := set(rows) - answered.keys():
            self.books.lost += len(missing)
            self.books.note(f"rows {sorted(missing)[:5]} have no answer in the results")
        for (row, step), (_, ids) in self._first.items():
            if step == asks - 1 and row in answered and answered[row] not in ids:
                self.books.lost += 1
                self.books.note(f"row {row} shows another answer than was held first")


def leftovers(run: Path) -> list[str]:
    """What a finished run folder has no need of: unfinished files, journals, generations but two."""
    found = [path for pattern in ("*.tmp", "*.tmp/", "journal-*.log") for path in run.rglob(pattern)]
    generations = sorted((run / "generations").iterdir())
    pointed = (run / "results").resolve()
    if pointed.parent != (run / "generations").resolve() or not list(pointed.glob("part-*.parquet")):
        found.append(run / "results")
    names = {str(path.relative_to(run)) for path in [*found, *generations[:-2]]}
    return sorted(names)


def run_here(*words: str) -> tuple[int, str]:
    """Run a `batchrun` command in this process; its exit code and all that it said."""
    said = io.StringIO()
    code: object = 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            batchrun(words)
        except SystemExit as end:
            code = end.code
    return code if isinstance(code, int) else 1, said.getvalue()
