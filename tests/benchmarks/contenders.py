"""Who is timed, and how each is started for a shape."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import answers, timed
from tests.benchmarks.nginx import Responder
from tests.benchmarks.peers.task import Task
from tests.benchmarks.shapes import Shape
from tests.reliability import measured
from tests.runs import JobFolder


@dataclass(frozen=True, slots=True)
class Ran:
    """What one whole process came to, from the table of prompts to its end."""

    rows: int
    ok: int
    """Answers that the process has read; of batchrun: rows of the published results."""
    calls: int
    """Requests by the responder's count."""
    seconds: float
    cpu: float
    """Seconds of processor time."""
    peak_mb: float
    responder_cpu: float
    """Seconds of the responder's processor time meanwhile."""

    @property
    def is_whole(self) -> bool:
        """Whether each row was asked once and answered."""
        return self.rows == self.ok == self.calls


@dataclass(frozen=True, slots=True)
class Scene:
    """What the contenders of one shape share: a folder with the table, and the responder."""

    folder: Path
    shape: Shape
    rows: int
    responder: Responder

    @property
    def table(self) -> Path:
        return JobFolder(self.folder).rows

    @property
    def request(self) -> dict[str, Any]:
        """The parameters of every call beside model, messages and schema."""
        request: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 64}
        if self.shape.answer == "logprobs":
            request |= {"logprobs": True, "top_logprobs": 5}
        if self.shape.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return request

    @property
    def schema(self) -> dict[str, Any] | None:
        return answers.SCHEMA if self.shape.answer == "schema" else None

    def failure(self) -> str:
        """The end of what the last process wrote."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-800:]


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to make the calls. `cannot` says why a shape is beyond it, None where it is not."""

    name: str
    perform: Callable[[Scene], tuple[timed.Took, int, float]]
    cannot: Callable[[Shape], str | None] = lambda shape: None

    def run(self, scene: Scene) -> Ran:
        """Do the work once, in a process of its own."""
        calls, responder_cpu = scene.responder.answered(), scene.responder.cpu()
        took, ok, peak_mb = self.perform(scene)
        return Ran(
            rows=scene.rows,
            ok=ok,
            calls=scene.responder.answered() - calls - 1,
            seconds=took.seconds,
            cpu=took.cpu,
            peak_mb=peak_mb,
            responder_cpu=scene.responder.cpu() - responder_cpu,
        )


def batchrun() -> Contender:
    """`batchrun submit`, from the table to published results."""
    return Contender("batchrun", _submit)


def bare() -> Contender:
    """A loop on batchrun's transport."""
    return Contender("bare", _peer("bare", sys.executable))


def strangers(python: Path) -> Iterator[Contender]:
    """The others, run by the Python of their environment."""
    yield Contender("lm-deluge", _peer("with_deluge", str(python)), _deluge_cannot)
    yield Contender("openai", _peer("with_openai", str(python)))


def _deluge_cannot(shape: Shape) -> str | None:
    return "its batch call does not stream" if shape.stream else None


def _submit(scene: Scene) -> tuple[timed.Took, int, float]:
    job, report = JobFolder(scene.folder), scene.folder / "taken.json"
    report.unlink(missing_ok=True)
    ca_file = scene.responder.ca_file
    endpoint = {
        "limits": {"concurrency": scene.shape.in_flight},
        **({"ca_file": str(ca_file)} if ca_file else {}),
    }
    job.write(
        scene.responder.base_url,
        endpoints={"local": endpoint},
        request=scene.request,
        **({"schema": scene.schema} if scene.schema else {}),
    )
    took = timed.run(measured.command(report, "submit", str(job.job)), log=scene.folder / "log")
    ok = job.run_json()["ok"] if took.code == 0 else 0
    published = _published(job.run / "results") if took.code == 0 else 0
    shutil.rmtree(job.run, ignore_errors=True)
    return took, min(ok, published), measured.read(report).peak_mb


def _published(results: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(part).num_rows for part in results.glob("*.parquet"))


def _peer(module: str, python: str) -> Callable[[Scene], tuple[timed.Took, int, float]]:
    def perform(scene: Scene) -> tuple[timed.Took, int, float]:
        task, report = scene.folder / "task.json", scene.folder / "report.json"
        report.unlink(missing_ok=True)
        _task(scene).write(task)
        command = [python, "-m", f"tests.benchmarks.peers.{module}", str(task), str(report)]
        took = timed.run(command, log=scene.folder / "log", env=_trust(scene.responder.ca_file))
        if not report.exists():
            return took, 0, 0.0
        told = json.loads(report.read_text(encoding="utf-8"))
        return took, told["ok"], told["peak_mb"]

    return perform


def _task(scene: Scene) -> Task:
    ca_file = scene.responder.ca_file
    return Task(
        table=str(scene.table),
        base_url=scene.responder.base_url,
        ca_file=str(ca_file) if ca_file else None,
        in_flight=scene.shape.in_flight,
        request=scene.request,
        schema=scene.schema,
    )


def _trust(ca_file: Path | None) -> Mapping[str, str]:
    return {"SSL_CERT_FILE": str(ca_file)} if ca_file else {}
