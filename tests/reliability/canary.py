"""A canary key, given to a run in every way that keys are given, against a server that quotes it everywhere.

What the run leaves is then searched: its folder, the temporary folder, what all commands print and export.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.reliability.echo import CASES, Echo, echoing
from tests.reliability.searched import files_with, holds
from tests.reliability.table import Line
from tests.runs import JobFolder, run_batchrun, write_rows

KEYS = (
    "sk-canary-9fK2mQ7xZt4LpW8vRb6N",
    "ca\"na'ry\\k<e>&y%2F+quo/tes=0173",
    "90817263544536271",
)

LOUD = {
    "PYTHONFAULTHANDLER": "1",
    "PYTHONASYNCIODEBUG": "1",
    "RUST_LOG": "trace",
    "RUST_BACKTRACE": "full",
    "HTTPX_LOG_LEVEL": "trace",
}
"""What makes libraries talkative."""

FUNCTIONS = '''\
import os

def look() -> str:
    """Look it up."""
    raise RuntimeError("refused: " + os.environ["CANARY_API_KEY"])
'''

BROKEN = FUNCTIONS + "\nlook()\n"

BUG = FUNCTIONS + "\nfrom batchrun.submitting import finishing\nfinishing.release_memory = look\n"
"""What it replaces is called when the results are published: an error that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a key is given: what of it stands in the job, in variables and in a file."""

    name: str
    endpoint: Mapping[str, Any]
    variable: bool = True
    """The key is in the environment; else in a file that only its owner may read."""
    options: tuple[str, ...] = ()
    quoted: bool = False
    """It is written as an address has it."""


WAYS = (
    Way("api_key_env", {"api_key_env": "CANARY_API_KEY"}),
    Way("--env-file", {"api_key_env": "CANARY_API_KEY"}, variable=False, options=("--env-file", "given")),
    Way(
        "api_key_cmd",
        {"api_key_cmd": ["cat", "bare"]},
        variable=False,
    ),
    Way("a header", {"headers": {"X-Team": "Team ${CANARY_API_KEY}"}}),
    Way("a proxy", {"proxy": "http://ann:${CANARY_API_KEY}@PROXY"}, quoted=True),
)


@dataclass(slots=True)
class Found:
    """What was searched, and where a key was."""

    artefacts: int = 0
    calls: int = 0
    hidden: int = 0
    """Places where the key would have been."""
    wrong: list[str] = field(default_factory=list)


class Trial:
    """One job with one key, given in one way."""

    def __init__(self, folder: Path, echo: Echo, way: Way, key: str, found: Found) -> None:
        folder.mkdir(parents=True)
        self.job, self.way, self.key, self.found = JobFolder(folder), way, key, found
        self._tmp, self._out = folder / "tmp", folder / "out"
        self._tmp.mkdir()
        self._out.mkdir()
        given = quote(key, safe="") if way.quoted else key
        escaped = given.replace("\\", "\\\\").replace('"', '\\"')
        for name, text in (("given", f'CANARY_API_KEY="{escaped}"\n'), ("bare", given)):
            (folder / name).touch(0o600)
            (folder / name).write_text(text)
        self.env = {**LOUD, "TMPDIR": str(self._tmp), **({"CANARY_API_KEY": given} if way.variable else {})}
        self.endpoint = {
            name: value.replace("PROXY", echo.address) if isinstance(value, str) else value
            for name, value in way.endpoint.items()
        }
        self._url = f"http://{echo.address}/v1"

    def write(self, rows: int, model: str, **sections: Any) -> None:
        """The job file and its rows."""
        write_rows(self.job.rows, rows)
        endpoint = {**self.endpoint, "limits": {"concurrency": 8}}
        self.job.write(
            self._url,
            model=f"echo/{model}",
            endpoints={"echo": endpoint},
            retry={"max_attempts": 1, "reask": 0},
            stop_when={"failed": 1.0, "after": 100_000},
            output={"messages": True, "raw": True},
            **sections,
        )

    def run(self, verb: str, *words: str, code: int, job: bool = True) -> None:
        """Run a command; look at what it prints."""
        target = [str(self.job.job), *self.way.options] if job else [str(self.job.run)]
        ended = run_batchrun(verb, *target, *words, env=self.env, cwd=self.job.folder)
        name = " ".join([verb, *words])
        if ended.returncode != code:
            self.found.wrong.append(f"{name} ended with {ended.returncode}: {ended.stderr[-300:]}")
        for stream, text in (("standard output", ended.stdout), ("standard error", ended.stderr)):
            self._look(f"{stream} of {name}", text)

    def read(self, *, full: bool) -> None:
        """Let the commands that read a run read this one."""
        out = [("--out", str(self._out / f"rows.{form}")) for form in ("csv", "jsonl", "parquet")]
        report = ("report", "--out", str(self._out / "report.html"))
        verbs = [("status",), ("show", "--json"), ("export", *out[0]), report]
        if full:
            verbs += [
                ("status", "--json"),
                ("show", "--limit", "1000"),
                ("export", *out[1]),
                ("export", *out[2]),
            ]
        for verb, *words in verbs:
            self.run(verb, *words, code=0, job=False)

    def search(self) -> None:
        """Look through all files that the commands left."""
        folders = (self.job.run, self._tmp, self._out)
        self.found.artefacts += sum(path.is_file() for folder in folders for path in folder.rglob("*"))
        self.found.wrong += [f"in {name}" for name in files_with(self.key, *folders)]

    def _look(self, name: str, text: str) -> None:
        self.found.artefacts += 1
        self.found.hidden += text.count("[API key]")
        if holds(self.key, text):
            self.found.wrong.append(f"in {name}")

    def killed(self) -> None:
        """Kill a submit between its calls; look at it and its children while it lives."""
        process = subprocess.Popen(
            self.job.command(*self.way.options),
            env={**os.environ, **self.env},
            cwd=self.job.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not list(self.job.checkpoint.glob("journal-*.log")):
            time.sleep(0.005)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            self._look(f"{path}", _read(path))
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""  # it has ended


def everything(folder: Path, echo: Echo, way: Way, key: str, found: Found, *, full: bool) -> None:
    """Every place and spelling, in a run that is killed and resumed; then what ends a run early."""
    trial = Trial(folder / "all", echo, way, key, found)
    trial.write(len(CASES), "small")
    trial.run("plan", code=0)
    trial.killed()
    if full:
        trial.read(full=True)
        trial.search()
    trial.run("submit", code=1)
    trial.read(full=full)
    trial.run("gc", code=0)
    trial.search()
    if key not in echo.sent:
        found.wrong.append(f"the server was never sent the key of {way.name}")
    for name in ("refusing", "moved"):
        ending = Trial(folder / name, echo, way, key, found)
        ending.write(3, name)
        ending.run("submit", "--json", code=4)
        ending.search()
    if way.variable and not way.quoted:
        with_functions(folder, echo, way, key, found)


def with_functions(folder: Path, echo: Echo, way: Way, key: str, found: Found) -> None:
    """A user's functions that name the key: when they are called, when they are imported, and in a bug."""
    for name, text, code in (("called", FUNCTIONS, 0), ("broken", BROKEN, 2), ("bug", BUG, 70)):
        trial = Trial(folder / name, echo, way, key, found)
        trial.write(3, "calling", run_tools={"module": "tools.py", "functions": ["look"]})
        (trial.job.folder / "tools.py").write_text(text)
        trial.run("submit", "--json", code=code)
        trial.search()


REFUSED: Mapping[str, Mapping[str, Any]] = {
    "userinfo": {"base_url": "https://ann:${CANARY_API_KEY}@x.invalid/v1"},
    "a query": {"base_url": "https://x.invalid/v1?key=${CANARY_API_KEY}"},
    "a header for keys": {"headers": {"X-Api-Key": "${CANARY_API_KEY}"}},
    "any header, with the form of a key": {"headers": {"X-Team": "Team ${CANARY_API_KEY}"}},
    "plain http": {"base_url": "http://x.invalid/v1", "api_key_env": "CANARY_API_KEY"},
    "a line break": {"api_key_env": "BROKEN_API_KEY"},
    "letters outside ASCII": {"api_key_env": "FOREIGN_API_KEY"},
    "the name's place": {"api_key_env": KEYS[0]},
    "the job itself": {"headers": {"X-Note": KEYS[0]}},
}
"""Endpoints that are refused before the first call, and where they have the key."""


def refused(folder: Path, echo: Echo, found: Found) -> None:
    """What is no way to give a key ends with exit code 2, and does not quote it."""
    for name, endpoint in REFUSED.items():
        way = Way(name, endpoint)
        trial = Trial(folder / name, echo, way, KEYS[0], found)
        trial.env |= {"BROKEN_API_KEY": f"{KEYS[0]}\n{KEYS[0]}", "FOREIGN_API_KEY": f"{KEYS[0]}é"}
        trial.write(3, "small")
        trial.run("submit", "--json", code=2)
        trial.search()


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """All ways with all keys where `full`, else one."""
    found = Found()
    every = [(way, key) for way in WAYS for key in KEYS if not (way.name == "a header" and key == KEYS[0])]
    pairs = every if full else [(WAYS[0], KEYS[1])]  # what is left out is among those refused
    with echoing() as echo:
        for at, (way, key) in enumerate(pairs):
            everything(folder / str(at), echo, way, key, found, full=full)
        refused(folder / "refused", echo, found)
        found.calls = echo.calls
    yield Line(
        "a canary key",
        f"{len(pairs)} ways and keys, {len(CASES)} quotations each, {len(REFUSED)} refused",
        held=not found.wrong and found.hidden > 0,
        crashed=sum("ended with" in text for text in found.wrong),
        note=_note(found),
    )


def _note(found: Found) -> str:
    hits = sum("ended with" not in text for text in found.wrong)
    said = (
        f"{hits} of {found.artefacts:,} files, outputs and command lines hold it, after {found.calls:,} calls"
    )
    return "; ".join([said, *(re.sub(r"\s+", " ", text) for text in found.wrong[:6])])
