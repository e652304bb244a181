"""`--help`: what it says fits the terminal, and every command line in it does what is said."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from batchrun import __file__ as package
from batchrun.cli import cli
from batchrun.cli.help import Explained
from batchrun.cli.signals import EXIT_CODES as SIGNALLED
from batchrun.errors import BatchrunError
from batchrun.simulator import SimulatorConfig, start_process
from batchrun.summary import EXIT_CODES as STOPPED
from tests.cli.running import batchrun
from tests.runs import JobFolder

ROOT = Path(package).parents[1]
VERBS = cli.list_commands(click.Context(cli))

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


def verb_of(name: str) -> Explained:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, Explained), f"{name} has no examples: click.command(cls=Explained, examples=…)"
    return command


EXAMPLES = [(verb, line) for verb in VERBS for _sentence, line in verb_of(verb).examples]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table, a job, and a run of it for each of two models."""
    job = JobFolder(tmp_path_factory.mktemp("examples"))
    tickets = (ROOT / "sample_data" / "tickets.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (job.folder / "my.jsonl").write_text("".join(tickets[:30]), encoding="utf-8")
    (job.folder / "my.csv").write_text("id,text\n1,a first text\n2,a second one\n", encoding="utf-8")
    (job.folder / "simulator.yaml").write_text("faults: [{rate: 0.05, status: 429}]\n", encoding="utf-8")
    (job.folder / "jobs").mkdir()
    with start_process(SimulatorConfig.model_validate({"faults": FAULTS})) as base_url, environment(base_url):
        job.write(base_url, **JOB)
        assert batchrun("submit", "job.yaml", cwd=job.folder).code == 1
        large = ["--name", "large", "--model", "openai/gpt-4.1"]
        assert batchrun("submit", "job.yaml", *large, cwd=job.folder).code == 0
        yield job.folder


@contextlib.contextmanager
def environment(base_url: str) -> Iterator[None]:
    """OpenAI is a simulator, and any free port will do for another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", base_url)
        patch.setenv("OPENAI_API_KEY", "made-up")
        patch.setenv("BATCHRUN_SIMULATE_PORT", "0")
        yield


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A copy for one example, which may change it."""
    return Path(shutil.copytree(runs, tmp_path / "copy", symlinks=True))


@pytest.mark.parametrize(("verb", "line"), EXAMPLES)
def test_every_example_runs(folder: Path, verb: str, line: str) -> None:
    """As it is written, in a folder with a job and its runs; a `>` is the shell's."""
    words = shlex.split(line)
    assert words[:2] == ["batchrun", verb]
    words, into = (words[1:-2], words[-1]) if ">" in words else (words[1:], None)
    if verb == "simulate":
        require_serving(words, folder)
        return
    with paused_or_running(folder, verb) if verb in ("pause", "resume") else contextlib.nullcontext():
        ended = batchrun(*words, cwd=folder)
    assert ended.code == 0 or (ended.code, verb) == (1, "submit"), ended.err  # a row of this run was refused
    assert not ended.err.startswith("error")
    if into:
        (folder / into).write_text(ended.out, encoding="utf-8")
    written = [words[at + 1] for at, word in enumerate(words) if word == "--out"]
    assert all((folder / name).stat().st_size for name in [*written, *([into] if into else [])])


def require_serving(words: list[str], folder: Path) -> None:
    """The endpoint says where it is, and ends with Ctrl-C."""
    command = [sys.executable, "-m", "batchrun", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert said.startswith("serving http://127.0.0.1:")


@contextlib.contextmanager
def paused_or_running(folder: Path, verb: str) -> Iterator[None]:
    """A submit that waits for its answers; for `resume`, a paused one."""
    shutil.rmtree(folder / "runs" / "job")
    words = ["submit", "job.yaml", "--model", "openai/slow"]
    command = [sys.executable, "-m", "batchrun", *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder, env=os.environ)
    try:
        journal, end = folder / "runs" / "job" / "checkpoint" / "journal-000001.log", time.monotonic() + 20
        while not (journal.exists() and b'"sent"' in journal.read_bytes()):
            assert time.monotonic() < end
            time.sleep(0.02)
        if verb == "resume":
            assert batchrun("pause", "job.yaml", cwd=folder).code == 0
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_some_examples(verb: str) -> None:
    """From two to four, each with a sentence that says what it is for."""
    examples = verb_of(verb).examples
    assert 2 <= len(examples) <= 4
    assert all(sentence.endswith(":") and len(sentence) > 5 for sentence, _line in examples)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str) -> None:
    """And at any width a command line of an example stays on one line."""
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        ended = batchrun(*filter(None, [verb, "--help"]), cwd=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert columns != 80 or [line for line in lines if len(line) > 80] == []
        examples = verb_of(verb).examples if verb else ()
        assert [line for _sentence, line in examples if f"    {line}" not in lines] == []


def test_every_verb_stands_in_the_help_once(tmp_path: Path) -> None:
    """Below the time of its use; what has none is a tool."""
    lines = batchrun("--help", cwd=tmp_path).out.splitlines()
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == ["Options:", "Before:", "During:", "After:", "Tools:"]
    told = [line.split()[0] for line in lines[lines.index("Before:") :] if line.startswith("  ")]
    assert sorted(told[: len(VERBS)]) == sorted(VERBS)


def test_submit_explains_every_exit_code() -> None:
    """Each that it can end with, and no other."""

    def below(kind: type[BatchrunError]) -> Iterator[int]:
        yield kind.exit_code
        for more in kind.__subclasses__():
            yield from below(more)

    codes = {0, 1, *below(BatchrunError), *STOPPED.values(), *map(int, SIGNALLED.values())}
    told = {int(code) for codes in verb_of("submit").exit_codes for code in codes.split(", ")}
    assert told == codes
