"""Jobs and submits for tests: real files, a simulator in its own process, `batchrun` in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from batchrun.job import ModelChoice, load_job
from batchrun.progress.display import View
from batchrun.simulator import Call, SimulatorConfig, read_ledger
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Summary
from tests.commands import Ended, batchrun
from tests.simulators import start_simulator


def write_rows(path: Path, rows: int) -> Path:
    """A prompt table whose prompts name their row."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"id": f"r{number:06d}", "text": f"row {number:06d}: please answer", "n": number}
            file.write(json.dumps(row) + "\n")
    return path


class Silent:
    """A `Progress` that shows nothing and remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def phase(self, text: str) -> None: ...

    def read(self, rows: int) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)

    async def watch(self, view: View) -> None: ...


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A folder with a prompt table and a job file in it."""

    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job.yaml"

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "job"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.run / "checkpoint"

    def write(self, base_url: str, **sections: Any) -> None:
        """Write the job file (JSON is YAML); `sections` replace the defaults' sections.

        Endpoints without a `base_url` get this one.
        """
        if "endpoints" in sections:
            given = sections["endpoints"].items()
            sections["endpoints"] = {name: {"base_url": base_url, **endpoint} for name, endpoint in given}
        document: dict[str, Any] = {
            "input": {"path": "rows.jsonl", "id": "id"},
            "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
            "request": {"max_completion_tokens": 20},
            "model": "local/small",
            "endpoints": {"local": {"base_url": base_url, "limits": {"concurrency": 32}}},
        }
        self.job.write_text(json.dumps(document | sections, indent=1), encoding="utf-8")

    def endpoint(self, name: str = "local") -> dict[str, Any]:
        """An endpoint as the job file has it."""
        found: dict[str, Any] = json.loads(self.job.read_text(encoding="utf-8"))["endpoints"][name]
        return found

    def edit(self, **sections: Any) -> None:
        """Change sections of the job file."""
        document = json.loads(self.job.read_text(encoding="utf-8"))
        self.job.write_text(json.dumps(document | sections, indent=1), encoding="utf-8")

    def calls(self) -> list[Call]:
        """What the simulator received and answered."""
        return read_ledger(self.ledger)

    def results(self) -> pl.DataFrame:
        return pl.read_parquet(self.run / "results" / "*.parquet")

    def run_json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.run / "run.json").read_text())
        return document

    def submit_here(
        self, *sets: str, model: str | None = None, name: str | None = None, **options: Any
    ) -> Summary:
        """The same as `submit`, without a new process; raises what the command would end with."""
        env = dict(os.environ)
        job = load_job(self.job, sets=sets, name=name, model=model, env=env, cwd=self.folder)
        return submit(job, Options(**options), env=env, progress=Silent())

    def model(self, spelled: str) -> ModelChoice:
        """A model as `--model` names it."""
        return load_job(self.job, model=spelled, env=dict(os.environ), cwd=self.folder).models[0]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "batchrun", "submit", str(self.job), *arguments]

    def submit(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run `batchrun submit` to its end."""
        return batchrun("submit", self.job, *arguments, env=env)


def run_batchrun(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `batchrun` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "batchrun", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
        timeout=timeout,
        cwd=cwd,
    )


def row_of(prompt: str) -> int:
    """The number of the row that a prompt of `write_rows` came from."""
    return int(prompt.split()[1].rstrip(":"))


def asked(calls: Sequence[Call]) -> dict[int, list[Call]]:
    """The calls of each row."""
    found: dict[int, list[Call]] = {}
    for call in calls:
        found.setdefault(row_of(call.prompt), []).append(call)
    return found


@contextmanager
def simulated(
    folder: Path, *, rows: int, config: Mapping[str, Any] | None = None, **sections: Any
) -> Iterator[JobFolder]:
    """A job of `rows` rows in `folder`, and the simulator it asks, in a process of its own."""
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    with start_simulator(SimulatorConfig.model_validate(config or {}), ledger=job.ledger) as base_url:
        job.write(base_url, **sections)
        yield job
