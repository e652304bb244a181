"""The simulator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchrun.errors import BatchrunError
from batchrun.simulator import SimulatorConfig, read_ledger, start_process
from tests.simulator.wire import ask

PARENT = """
import sys, time
from pathlib import Path
from batchrun.simulator import SimulatorConfig, start_process
with start_process(SimulatorConfig(), ledger=Path("ledger.jsonl")) as base_url:
    print(base_url, flush=True)
    time.sleep(60)
"""

DRAINING = """
import signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
"""

RUN = """
from batchrun.simulator import SimulatorConfig, run
run(SimulatorConfig(seed=1), ready=lambda base_url: print(base_url, flush=True))
"""


def answers(base_url: str) -> bool:
    try:
        return asyncio.run(ask(base_url)).status == 200
    except ConnectionError:
        return False


def started(code: str, cwd: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A Python process, in a process group of its own, and the base URL it prints."""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, process_group=0)
    assert process.stdout is not None
    return process, process.stdout.readline().decode().strip()


def ended(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(10)


def falls_silent(base_url: str) -> bool:
    """Whether the endpoint stops answering within a few seconds."""
    deadline = time.monotonic() + 5
    while answers(base_url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_process_serves_until_its_block_ends(tmp_path: Path) -> None:
    """Its configuration and its ledger reach it, and it is gone afterwards."""
    config = SimulatorConfig.model_validate({"faults": [{"first": 1, "status": 503}]})
    with start_process(config, ledger=tmp_path / "ledger.jsonl") as base_url:
        assert asyncio.run(ask(base_url)).status == 503
        assert answers(base_url)
    assert [call.answer.status for call in read_ledger(tmp_path / "ledger.jsonl") if call.answer] == [
        503,
        200,
    ]
    assert not answers(base_url)


def test_kill_9_of_the_parent_ends_it(tmp_path: Path) -> None:
    """No simulator is left behind by a parent that could not clean up; its ledger is whole."""
    parent, base_url = started(PARENT, tmp_path)
    assert answers(base_url)
    parent.kill()
    ended(parent)
    assert falls_silent(base_url)
    assert all(call.answer for call in read_ledger(tmp_path / "ledger.jsonl"))


def test_ctrl_c_for_the_parent_leaves_it_answering(tmp_path: Path) -> None:
    """Signals to the parent's process group do not reach it: a parent that drains still gets its answers."""
    parent, base_url = started(DRAINING + PARENT, tmp_path)
    os.killpg(parent.pid, signal.SIGINT)
    os.killpg(parent.pid, signal.SIGTERM)
    time.sleep(0.1)
    assert answers(base_url)
    parent.kill()
    ended(parent)
    assert falls_silent(base_url)


def test_a_file_of_the_users_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A json.py in the working folder does not take the place of Python's."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with start_process(SimulatorConfig()) as base_url:
        assert answers(base_url)


def test_a_process_that_cannot_start_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An unwritable ledger ends the start with our error, and the reason is on standard error."""
    with (
        pytest.raises(BatchrunError, match="did not start"),
        start_process(SimulatorConfig(), ledger=tmp_path / "missing" / "ledger.jsonl"),
    ):
        pass
    assert "FileNotFoundError" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end it in order: exit code 0."""
    process, base_url = started(RUN, tmp_path)
    assert answers(base_url)
    process.send_signal(number)
    assert ended(process) == 0
    assert not answers(base_url)


def test_the_simulator_imports_nothing_heavy() -> None:
    """It starts with every quickstart: no polars, pyarrow, httpx, nor the clients built on them."""
    heavy = {"polars", "pyarrow", "httpx", "pyreqwest", "anyio", "yaml", "rich", "click", "minijinja"}
    code = "import sys, batchrun.simulator; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert heavy.isdisjoint(found.split())
