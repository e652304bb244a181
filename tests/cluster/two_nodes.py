"""A Ray cluster of two nodes on one machine, in a network of its own: Ray binds every interface otherwise.

`python -m tests.cluster.two_nodes SCENARIO FOLDER` is run inside `unshare -n` and prints one JSON object of
facts, which the tests look at.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tests.runs import JobFolder, asked, run_batchrun, simulated

HEAD, SECOND = "127.0.0.2", "127.0.0.3"
PORT = 6379
WORKERS = 4
ENGINE = {"kind": "ray", "address": f"{HEAD}:{PORT}", "workers": WORKERS, "cpus": 0.5}
SLOW = {"latency": {"kind": "uniform", "low": 0.1, "high": 0.3}}


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the cluster; `folder` is all that it has for itself."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path

    def kill(self) -> None:
        """All its processes at once, and its folder."""
        for pid in [self.process.pid, *below(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_node(address: str, folder: Path) -> Node:
    """A node; the first is the head."""
    ray = Path(sys.executable).with_name("ray")
    is_head = address == HEAD
    head = ["--head", f"--port={PORT}", f"--temp-dir={folder}", "--include-dashboard=false"]
    where = head if is_head else [f"--address={HEAD}:{PORT}"]
    command = [
        str(ray),
        *("start", "--block", "--disable-usage-stats", f"--node-ip-address={address}", "--num-cpus=1"),
        *("--object-store-memory=100000000", *where),
    ]
    folder.mkdir()
    out = (folder.parent / f"{address}.log").open("wb")
    process = subprocess.Popen(
        command, stdout=out, stderr=out, start_new_session=True, env={**os.environ, "TMPDIR": str(folder)}
    )
    return Node(address, process, folder)


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes, up."""
    short = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # the names of its sockets must not be long
    nodes = [start_node(HEAD, short / "a")]
    try:
        _await_nodes(nodes[0], 1)
        nodes.append(start_node(SECOND, short / "b"))
        _await_nodes(nodes[1], 2)
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            with suppress(ProcessLookupError):
                node.kill()
        for log in short.glob("*.log"):
            shutil.copy(log, folder)
        shutil.rmtree(short, ignore_errors=True)


def _await_nodes(last: Node, number: int) -> None:
    """Return once so many nodes are up."""
    ask = (
        f"import ray; ray.init(address='{HEAD}:{PORT}', log_to_driver=False); "
        "print('up', sum(node['Alive'] for node in ray.nodes()))"
    )
    end = time.monotonic() + 90
    while True:
        assert last.process.poll() is None, f"the node on {last.address} has ended"
        found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
        if f"up {number}" in found.stdout:
            return
        assert time.monotonic() < end, found.stderr[-2000:]
        time.sleep(0.5)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            text = stat.read_text()
            parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def workers_of(node: Node) -> int:
    """How many of the run's workers are on a node."""
    names = []
    for pid in below(node.process.pid):
        with suppress(OSError):
            names.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return sum(b"RayActor" in name for name in names)


def answered(job: JobFolder) -> dict[int, int]:
    rows = asked(job.calls())
    return {
        row: sum(call.answer is not None and call.answer.status == 200 for call in calls)
        for row, calls in rows.items()
    }


def same(folder: Path) -> dict[str, Any]:
    """The same job by the local engine and by the cluster."""
    rows = int(os.environ.get("BATCHRUN_ROWS", "2000"))
    limits = {"concurrency": 64}
    with cluster(folder), simulated(folder, rows=rows) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": limits}})
        job.edit(engine=ENGINE)
        began = time.monotonic()
        many = run_batchrun("submit", str(job.job), timeout=600)
        seconds = time.monotonic() - began
        calls = len(job.calls())
        there = job.results()
        job.edit(engine={}, output={"path": str(folder / "alone")})
        began = time.monotonic()
        one = run_batchrun("submit", str(job.job), timeout=600)
        alone = time.monotonic() - began
        here = pl.read_parquet(folder / "alone/results/*.parquet")
        times = ("started_at", "finished_at", "latency", "ttft", "attempts", "response_id")
        attempts = [
            frame["attempts"].list.eval(pl.element().struct.field("http_status")).to_list()
            for frame in (there, here)
        ]
        return {
            "codes": [many.returncode, one.returncode],
            "said": many.stderr[-2000:],
            "rows": there.height,
            "calls": calls,
            "equal": there.drop(times).equals(here.drop(times)) and attempts[0] == attempts[1],
            "seconds": [round(seconds, 1), round(alone, 1)],
        }


def joined(job: JobFolder) -> int:
    """The workers that are at work: each may take seconds to start."""
    log = job.run / "log.jsonl"
    return log.read_text().count('"worker_joined"') if log.exists() else 0


def kill(folder: Path) -> dict[str, Any]:
    """A node that dies with work in flight, with all that it had."""
    with cluster(folder) as nodes, simulated(folder, rows=4000, config=SLOW, engine=ENGINE) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": {"concurrency": 48}}})
        process = subprocess.Popen(
            job.command("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while joined(job) < WORKERS:
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.05)
        before = len(job.calls())
        while len(job.calls()) < before + 200:
            time.sleep(0.05)
        on_it = workers_of(nodes[1])
        flying = sum(call.answer is None for call in job.calls())
        nodes[1].kill()
        out, err = process.communicate(timeout=300)
        log = [json.loads(line) for line in (job.run / "log.jsonl").read_text().splitlines()]
        lost = [event for event in log if event["event"] == "worker_lost"]
        if process.returncode:
            return {"code": process.returncode, "said": err}
        rows = job.results()
        return {
            "code": process.returncode,
            "said": err[-3000:],
            "summary": json.loads(out),
            "workers_on_it": on_it,
            "in_flight": flying,
            "lost": [event["calls"] for event in lost],
            "again": sum(times - 1 for times in answered(job).values()),
            "ok": rows.filter(pl.col("status") == "ok").height,
            "in_order": rows["row_index"].to_list() == list(range(4000)),
        }


def driver(folder: Path) -> dict[str, Any]:
    """The driver is killed, and started again."""
    with cluster(folder), simulated(folder, rows=1000, config=SLOW, engine=ENGINE) as job:
        process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not job.ledger.exists() or len(job.calls()) < 300:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        flying = sum(call.answer is None for call in job.calls())
        status = subprocess.run(
            [sys.executable, "-m", "batchrun", "status", str(job.job), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        again = run_batchrun("submit", str(job.job), timeout=300)
        return {
            "code": again.returncode,
            "said": again.stderr[-2000:],
            "state": json.loads(status.stdout)["state"],
            "in_flight": flying,
            "again": sum(times - 1 for times in answered(job).values()),
            "ok": job.results().height,
        }


def caps(folder: Path) -> dict[str, Any]:
    """Limits and caps on money, tokens and requests over all workers."""
    found: dict[str, Any] = {}
    prices = {"local/small": {"input": 1.0, "output": 2.0}}
    with cluster(folder):
        kinds: dict[str, dict[str, Any]] = {
            "cost": {"budget": {"cost_usd": 0.0025}, "prices": prices},
            "tokens": {"budget": {"tokens": 2_500}},
            "requests": {"budget": {"requests": 150}},
        }
        for name, sections in kinds.items():
            (folder / name).mkdir()
            with simulated(folder / name, rows=600, config=SLOW, engine=ENGINE, **sections) as job:
                ended = run_batchrun("submit", str(job.job), timeout=120)
                calls = job.calls()
                took = [call.answer for call in calls if call.answer]
                found[name] = {
                    "code": ended.returncode,
                    "said": ended.stderr[-1500:],
                    "requests": len(calls),
                    "tokens": sum(a.prompt_tokens + a.completion_tokens for a in took),
                    "cost": sum(a.prompt_tokens * 1e-6 + a.completion_tokens * 2e-6 for a in took),
                }
        (folder / "pace").mkdir()
        with simulated(folder / "pace", rows=150, engine=ENGINE) as job:
            limits = {"rpm": 600, "concurrency": 8}
            job.edit(endpoints={"local": {**job.endpoint(), "limits": {**limits, "window": "5s"}}})
            ended = run_batchrun("submit", str(job.job), timeout=120)
            at = sorted(call.at for call in job.calls())
            spans = [(call.at, call.answer.at) for call in job.calls() if call.answer]
            found["pace"] = {
                "code": ended.returncode,
                "said": ended.stderr[-1500:],
                "most_in_5_s": max(sum(start <= one < start + 5 for one in at) for start in at),
                "most_at_once": max(sum(a <= one < b for a, b in spans) for one in at),
            }
    return found


def job(folder: Path) -> dict[str, Any]:
    """The job that comes along, on a cluster that is started for it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "batchrun", "submit", "jobs/ray.yaml", "--json"),
            *("--set", f"output.path={folder / 'run'}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=env,
    )
    return {"code": ended.returncode, "said": ended.stderr[-3000:], "summary": json.loads(ended.stdout)}


if __name__ == "__main__":
    scenario = {"job": job, "same": same, "kill": kill, "driver": driver, "caps": caps}[sys.argv[1]]
    facts = scenario(Path(sys.argv[2]))
    sys.stdout.write(json.dumps(facts) + "\n")
