"""Change bytes of every file in a run folder but the journal: each command tells, or gives what it gave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import polars as pl

from tests.reliability.small import run_here, small_parts
from tests.reliability.table import Line
from tests.runs import JobFolder, simulated

READERS = (("status", "--json"), ("show", "--json"))

UNREAD = ("lock", "log.jsonl", "job.yaml")
"""Files that nothing is read from."""


@dataclass(slots=True)
class Struck:
    """What became of the damaged run folders."""

    cases: int = 0
    told: int = 0
    """Cases in which a command ended by an error that names the file."""
    crashed: int = 0
    changed: int = 0
    """Cases in which a command gave something else and no error."""
    repaid: int = 0
    """Calls made although nothing was said."""
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all that is promised was so."""
        return not (self.crashed or self.changed or self.repaid)


def live(job: JobFolder) -> None:
    """Lead a job to a run folder with every kind of file: kept answers, shared ones, what `gc` dropped."""
    job.edit(dedupe=True)
    rows = [json.loads(line) for line in job.rows.read_text(encoding="utf-8").splitlines()]
    twins = [{**row, "id": f"{row['id']}-twin"} for row in rows[50:]]
    with small_parts():
        for given in (rows + twins, rows[50:] + twins):
            job.rows.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
            job.submit_here(limit=40)
            job.submit_here()
        run_here("gc", str(job.job), "--yes")
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} again"}]})
        job.submit_here(keep_changed=True)


class Target:
    """A run folder that is damaged and put right again."""

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._copy = job.folder / "copy"
        shutil.copytree(job.run, self._copy, symlinks=True)
        self._before = {words: run_here(words[0], str(job.job), *words[1:])[1] for words in READERS}
        self._results = job.results()
        self._calls = len(job.calls())
        self._restore()

    def _restore(self) -> None:
        shutil.rmtree(self._job.run)
        shutil.copytree(self._copy, self._job.run, symlinks=True)

    def files(self) -> list[Path]:
        """The files that are read from, by their paths in the run folder."""
        found = (path for path in self._copy.rglob("*") if path.is_file() and not path.is_symlink())
        names = {path.relative_to(self._copy) for path in found if path.name not in UNREAD}
        newest = self._copy.joinpath("results").readlink()
        return sorted(n for n in names if n.parts[0] != "generations" or n.is_relative_to(newest))

    def content(self, file: Path) -> bytes:
        """A file as it was written."""
        return self._copy.joinpath(file).read_bytes()

    def strike(self, file: Path, what: str, data: bytes, seen: Struck) -> None:
        """Put `data` in a file's place, run each command, and put everything right."""
        self._job.run.joinpath(file).write_bytes(data)
        seen.cases += 1
        said = False
        for words in READERS:
            code, output = run_here(words[0], str(self._job.job), *words[1:])
            said |= self._judge(f"{file}: {what}: {words[0]}", file, code, output, seen)
            if not code and words[0] == "show" and output != self._before[words]:
                seen.changed += 1
                seen.faults.append(f"{file}: {what}: {words[0]} gave something else")
        code, output = run_here("submit", str(self._job.job))
        said |= self._judge(f"{file}: {what}: submit", file, code, output, seen)
        if not code and not self._is_as_before():
            seen.changed += 1
            seen.faults.append(f"{file}: {what}: other results")
        calls = len(self._job.calls()) - self._calls
        self._calls += calls
        if calls and not said:
            seen.repaid += calls
            seen.faults.append(f"{file}: {what}: {calls} calls")
        seen.told += said
        self._restore()

    def _judge(self, what: str, file: Path, code: int, output: str, seen: Struck) -> bool:
        """Whether a command ended by an error that names the file; any other error is a crash."""
        plain = "".join(output.split())
        if code and (code == 70 or (file.name not in plain and "anotherjob" not in plain)):
            seen.crashed += 1
            seen.faults.append(f"{what} ended with {code}: {output[-300:]}")
        return code != 0

    def _is_as_before(self) -> bool:
        with suppress(pl.exceptions.PolarsError):
            return self._job.results().equals(self._results)
        return False


def changes(size: int, number: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Places to strike: what it is called, the offset, and the bit, -1 to cut the file there."""
    random = Random(seed)
    for nth in range(number):
        at = random.randrange(size) if nth % 3 else size - 1 - random.randrange(min(size, 200))
        if nth % 5 == 4:
            yield f"cut at {at}", at, -1
        else:
            bit = random.randrange(8)
            yield f"bit {bit} of byte {at}", at, bit


def strike_all(target: Target, files: Sequence[Path], *, each: int, seed: int = 0) -> Struck:
    """Strike each file `each` times."""
    seen = Struck()
    for number, file in enumerate(files):
        whole = target.content(file)
        for what, at, bit in changes(len(whole), each, seed + number):
            rest = b"" if bit < 0 else bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            target.strike(file, what, whole[:at] + rest, seen)
    return seen


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Damage to the files of a run folder."""
    (folder / "files").mkdir()
    with simulated(folder / "files", rows=60) as job:
        live(job)
        target = Target(job)
        files = target.files()
        seen = strike_all(target, files, each=60 if full else 3)
    yield Line(
        "other files damaged",
        f"{seen.cases:,} cases in {len(files)} files",
        held=seen.held,
        lost=seen.changed,
        repaid=seen.repaid,
        crashed=seen.crashed,
        note=f"{seen.told} told by an error that names the file, {seen.cases - seen.told} without effect"
        + "".join(f"; {fault}" for fault in seen.faults[:5]),
    )
