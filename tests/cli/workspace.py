"""A folder as a user has it: a table, a job, runs of it by two models and by batches; what goes on there."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrun import __file__ as package
from batchrun.chat.stamps import ROW, RUN
from batchrun.run_folder.folder import RunFolder
from batchrun.simulator import SimulatorConfig
from tests.commands import batchrun
from tests.runs import JobFolder
from tests.simulators import start_simulator
from tests.stored.servers import make_each

TICKETS = Path(package).parents[1] / "sample_data" / "tickets.jsonl"

ROWS = 30

REFUSED = "T-0001"

STORED = "chatcmpl-123"
"""Stands for the id of a stored completion in command lines."""

JOB = {
    "input": {"path": "my.jsonl", "id": "ticket_id"},
    "prompt": {"messages": [{"role": "user", "content": "{{ subject }}\n\n{{ body }}"}]},
    "schema": {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["billing", "bug", "shipping", "other"]}},
        "required": ["label"],
        "additionalProperties": False,
    },
    "model": "openai/gpt-4.1-mini",
    "endpoints": {"openai": {"limits": {"concurrency": 32}}},
}
FAULTS = [
    {"match": "headset", "model": "gpt-4.1-mini", "answer": "refusal"},
    {"model": "slow", "stall": 60},
]


@contextlib.contextmanager
def workspace_in(folder: Path) -> Iterator[None]:
    """`job.yaml` asks OpenAI, which is a simulator; one row of runs/job is refused, none of runs/large, and
    those of runs/batches are in a batch that goes on."""
    job = JobFolder(folder)
    tickets = TICKETS.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "my.jsonl").write_text("".join(tickets[:ROWS]), encoding="utf-8")
    (folder / "my.csv").write_text("id,text\n1,a first text\n2,a second one\n", encoding="utf-8")
    (folder / "simulator.yaml").write_text("faults: [{rate: 0.05, status: 429}]\n", encoding="utf-8")
    (folder / "jobs").mkdir()
    config = SimulatorConfig.model_validate({"faults": FAULTS, "batches": {"seconds": 3_600}})
    with start_simulator(config) as base_url, environment(base_url):
        job.write(base_url, **JOB)
        assert batchrun("submit", "job.yaml", cwd=folder).code == 1
        large = ["--name", "large", "--model", "openai/gpt-4.1"]
        assert batchrun("submit", "job.yaml", *large, cwd=folder).code == 0
        by_batches = {**json.loads(job.job.read_text(encoding="utf-8")), "engine": {"kind": "provider_batch"}}
        (folder / "batches.yaml").write_text(json.dumps(by_batches), encoding="utf-8")
        assert batchrun("submit", "batches.yaml", "--no-wait", cwd=folder).code == 0
        store(base_url, folder)
        yield


def store(base_url: str, folder: Path) -> str:
    """Let the provider keep a completion of the run in runs/job; its id."""
    labels = {RUN: RunFolder(folder / "runs" / "job").run_id, ROW: "T-0007", "topic": "billing"}
    return make_each(base_url, [("gpt-4.1-mini", labels)])[0]


def words_of(line: str, folder: Path) -> list[str]:
    """The words of a command line, with the id of a completion that was just stored in place of STORED."""
    if STORED in line:
        line = line.replace(STORED, store(os.environ["OPENAI_BASE_URL"], folder))
    return shlex.split(line)


@contextlib.contextmanager
def environment(base_url: str) -> Iterator[None]:
    """OpenAI is a simulator, and any free port will do for another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", base_url)
        patch.setenv("OPENAI_API_KEY", "made-up")
        patch.setenv("BATCHRUN_SIMULATE_PORT", "0")
        yield


@contextlib.contextmanager
def serving(words: list[str], folder: Path) -> Iterator[str]:
    """A simulator while the block runs, and the first line that it wrote to standard error."""
    command = [sys.executable, "-m", "batchrun", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline()
            process.terminate()  # a shell may have its background jobs ignore SIGINT
            process.communicate(timeout=20)
        finally:
            process.kill()


@contextlib.contextmanager
def waiting(folder: Path, *, paused: bool = False) -> Iterator[None]:
    """A submit that waits for its answers while the block runs, in place of the run in runs/job."""
    shutil.rmtree(folder / "runs" / "job", ignore_errors=True)
    command = [sys.executable, "-m", "batchrun", "submit", "job.yaml", "--model", "openai/slow"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        journal, end = folder / "runs" / "job" / "checkpoint" / "journal-000001.log", time.monotonic() + 20
        while not (journal.exists() and b'"sent"' in journal.read_bytes()):
            assert time.monotonic() < end
            time.sleep(0.02)
        if paused:
            assert batchrun("pause", "job.yaml", cwd=folder).code == 0
        yield
    finally:
        process.kill()
        process.wait()
