"""The README's recipes for schedulers, run as they stand."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.archives import untar
from tests.runs import JobFolder, simulated
from tests.test_readme import block

SLOW = {"latency": {"kind": "constant", "seconds": 0.2}}


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `batchrun` is this one, as in one that is active after `pip install`."""
    bin_ = installed(tmp_path)
    return {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[JobFolder]:
    """A project with the recipes' job, of 20 rows, four at a time."""
    folder = tmp_path / "project"
    (folder / "jobs").mkdir(parents=True)
    with simulated(folder, rows=20, config=SLOW) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": {"concurrency": 4}}})
        document = json.loads(job.job.read_text())
        document["input"]["path"] = "../rows.jsonl"
        (folder / "jobs" / "triage.yaml").write_text(json.dumps(document))
        (folder / ".env").write_text("OTHER=1\n")
        (folder / ".env").chmod(0o600)
        installed(folder / ".venv")
        yield job


def installed(folder: Path) -> Path:
    """A folder of commands below `folder`, with `batchrun`: this one."""
    bin_ = folder / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "batchrun").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m batchrun "$@"\n')
    (bin_ / "batchrun").chmod(0o755)
    return bin_


def wait_for_a_call(process: subprocess.Popen[bytes], job: JobFolder) -> None:
    """Return once a process has made a call. It must not end before."""
    while not job.ledger.exists() or not job.calls():
        assert process.poll() is None, f"ended with {process.returncode}"
        time.sleep(0.05)


def run_folder(job: JobFolder) -> Path:
    return job.folder / "runs" / "triage"


def test_the_line_for_cron(project: JobFolder, shell: Mapping[str, str]) -> None:
    """Its command asks for every row; the next time there is nothing to do; beside a running one it ends
    with exit code 5. The log has plain lines."""
    line = block("*/30").strip().replace("/srv/tickets", str(project.folder))
    command = re.sub(r"^(\S+ ){5}", "", line)
    first = subprocess.Popen(["sh", "-c", command], env=shell)
    wait_for_a_call(first, project)
    pause = run_folder(project) / "pause"
    pause.touch()  # as `batchrun pause` does, so that it is there when the next one comes
    assert subprocess.run(["sh", "-c", command], env=shell, check=False).returncode == 5
    pause.unlink()
    assert first.wait(60) == 0
    assert subprocess.run(["sh", "-c", command], env=shell, check=False).returncode == 0
    assert len(project.calls()) == 20
    log = (project.folder / "triage.log").read_text()
    assert "triage: nothing to do" in log
    assert "\x1b" not in log
    assert "\r" not in log


@pytest.mark.long
def test_the_unit_for_systemd(project: JobFolder, shell: Mapping[str, str]) -> None:
    """Its command does the work; stopped as systemd stops it, it is over well before the unit is killed."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # systemd's names have capitals
    unit.read_string(block("# triage.service").replace("/srv/tickets", str(project.folder)))
    service = unit["Service"]
    words = service["ExecStart"].split()
    process = subprocess.Popen(words, cwd=service["WorkingDirectory"], env=shell, stderr=subprocess.DEVNULL)
    wait_for_a_call(process, project)
    process.send_signal(signal.SIGTERM)
    seconds = int(service["TimeoutStopSec"])
    assert process.wait(seconds) == 143
    assert seconds > 30, "the drain of a submit"
    again = subprocess.run(words, cwd=service["WorkingDirectory"], env=shell, check=False)
    assert again.returncode == 0
    assert len(project.calls()) == 20
    assert Path(service["EnvironmentFile"]).exists()


@pytest.mark.long
def test_the_job_for_github_actions(project: JobFolder, shell: Mapping[str, str], tmp_path: Path) -> None:
    """The folder that it saves, unpacked on another machine beside a fresh checkout, is gone on with."""
    steps = yaml.safe_load(block("jobs:\n  triage:"))["jobs"]["triage"]["steps"]
    submit = next(step["run"] for step in steps if step.get("run", "").startswith("batchrun"))
    kept = [step["with"] for step in steps if "cache" in step.get("uses", "")]
    assert {one["path"] for one in kept} == {"runs/triage"}
    assert kept[1]["key"].startswith(kept[0]["restore-keys"])
    subprocess.run(["sh", "-c", f"{submit} --limit 12"], cwd=project.folder, env=shell, check=True)
    with tarfile.open(tmp_path / "cache.tar", "w") as cache:
        cache.add(project.folder / kept[0]["path"], kept[0]["path"])
    checkout = tmp_path / "checkout"
    shutil.copytree(project.folder, checkout, ignore=shutil.ignore_patterns("runs"))
    for path in checkout.rglob("*"):
        os.utime(path)
    untar(tmp_path / "cache.tar", checkout)
    subprocess.run(["sh", "-c", submit], cwd=checkout, env=shell, check=True)
    assert len(project.calls()) == 20
    summary: dict[str, Any] = json.loads((checkout / "runs" / "triage" / "run.json").read_text())
    assert summary["ok"] == 20
