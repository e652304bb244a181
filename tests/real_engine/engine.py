"""llama.cpp's server as the tests see it: where it listens, and the jobs that ask it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runs import JobFolder, write_rows

KEY_VARIABLE = "REAL_ENGINE_KEY"
KEY = "only-for-this-server"

TEXT = {"grammar": "root ::= [ -~]+"}
"""A member of the body that holds an answer to printable ASCII; else the model says any bytes at all."""

_ROOT = Path(__file__).parents[2]
_START, _END = 30.0, 10.0
"""Seconds that the server has to come up and to go."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running server."""

    base_url: str

    def job(self, folder: Path, *, rows: int, concurrency: int = 4, **sections: Any) -> JobFolder:
        """A job of `rows` rows whose model is this engine's."""
        job = JobFolder(folder)
        write_rows(job.rows, rows)
        limits = {"concurrency": concurrency}
        endpoint = {"base_url": self.base_url, "api_key_env": KEY_VARIABLE, "limits": limits}
        job.write(self.base_url, model="engine/random", endpoints={"engine": endpoint}, **sections)
        return job

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, without batchrun."""
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        url = f"{self.base_url}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            document: dict[str, Any] = json.load(answer)
        return document


@contextmanager
def started(model: Path, log: Path) -> Iterator[Engine]:
    """Serve `model` in a process of its own, which ends with the block; what it says goes to `log`."""
    command = [sys.executable, "-m", "tests.real_engine.serve", str(model), KEY]
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=_ROOT
        ) as process,
        _ended(process),
    ):
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(_START) else b""
        assert line, f"llama.cpp's server did not start:\n{log.read_text(errors='replace')}"
        yield Engine(f"{line.decode().strip()}/v1")


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
