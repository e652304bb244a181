"""Whatever goes wrong on a command line, what is printed ends with what to do about it."""

from __future__ import annotations

import shlex

import pytest

from batchrun.run_folder.lock import locked
from tests.cli.conftest import NewJob
from tests.cli.verbs import commands
from tests.commands import Ended, batchrun
from tests.instructions import tells_what_to_do
from tests.runs import JobFolder


def require_told(ended: Ended, code: int = 2) -> None:
    """One error on standard error; its last lines, or the problem of a job itself, are an instruction."""
    assert ended.code == code, ended.err
    assert not ended.out or ended.json["error"]["exit_code"] == code
    first, *hint = [line for line in ended.err.splitlines() if not line.startswith("[")]
    assert first.startswith("error: ")
    assert all(line.startswith("  ") for line in hint)
    assert tells_what_to_do("\n".join(hint) or first), ended.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("submit", "Write `batchrun submit JOB`"),
        ("submit job.yaml --nope", "`batchrun submit --help` lists the options."),
        ("--nope", "`batchrun --help` lists the commands."),
        ("sumbit job.yaml", "`batchrun --help` lists the commands."),
        ("submit job.yaml --limit 0", "Give a whole number of at least 1"),
        ("submit job.yaml --limit some", "Give a whole number of at least 1"),
        ("submit job.yaml --drain -1", "Give a number of at least 0"),
        ("simulate --port 99999", "Give a whole number from 0 to 65535"),
        ("show job.yaml --sample 3 --seed x", "Give a whole number; `batchrun show --help`"),
        ("export job.yaml --format xlsx", "`batchrun export --help` says what it takes."),
        ("submit job.yaml --set", "Write its value after it: --set VALUE"),
        ("status job.yaml other.yaml", "Write `batchrun status JOB_OR_FOLDER`"),
        ("show", "Write `batchrun show JOB_OR_FOLDER [ID]...`"),
        ("plan job.yaml --retry-failed refusal", "with an equals sign: --retry-failed=TYPE"),
        ("schema job.yaml", "Write `batchrun schema`"),
    ],
)
def test_a_wrong_command_line(new_job: NewJob, words: str, hint: str) -> None:
    """What click refuses reads like any other error, also as JSON."""
    job = new_job()
    ended = batchrun(*words.split(), cwd=job.folder)
    require_told(ended)
    assert hint in " ".join(ended.err.split())
    if words.split()[-1] != "--set":  # which would take --json for its value
        error = batchrun(*words.split(), "--json", cwd=job.folder).json["error"]
        assert (error["type"], error["exit_code"]) == ("UsageError", 2)
        assert hint in error["hint"] or words == "--nope"


@pytest.mark.parametrize(
    "words",
    [
        "submit nowhere.yaml",
        "submit rows.jsonl",
        "submit .",
        "submit job.yaml --env-file nowhere.env",
        "submit job.yaml --env-file job.yaml",
        "submit job.yaml --rerun-changed --keep-changed",
        "submit job.yaml --retry-failed=refusl",
        "submit job.yaml --model openai/gpt-4.1-mini",
        "submit job.yaml --set input.path=nowhere.jsonl",
        "submit job.yaml --set input.id=nope",
        "submit job.yaml --set input.id=n --set input.sample.rows=0",
        "submit job.yaml --set input.where=stars<3",
        "submit job.yaml --set input.where=text<",
        "submit job.yaml --set input.where=text<3",
        "submit job.yaml --set input.where=n=max(n)",
        "submit job.yaml --set input.types.nope=string",
        "submit job.yaml --set input.types.n=strnig",
        "submit job.yaml --set input.run=runs/other --set input.path=null",
        "submit job.yaml --set input.media_root=nowhere",
        "submit job.yaml --set output.path=rows.jsonl/run",
        "submit job.yaml --set output.path=.",
        "submit job.yaml --set output.columns=[nope]",
        "submit job.yaml --set schema=nowhere.json",
        "submit job.yaml --set schema=rows.jsonl",
        "submit job.yaml --set schema=nowhere:Model",
        "submit job.yaml --set schema=job.py",
        "submit job.yaml --set schema.type=objct",
        "submit job.yaml --set prompt.messages.0.content={{",
        'submit job.yaml --set prompt.messages="[{file: nowhere.yaml}]"',
        'submit job.yaml --set prompt.messages="[{file: ../rows.yaml}]"',
        'submit job.yaml --set prompt.messages="[{file: rows.jsonl}]"',
        "submit job.yaml --set run_tools.module=nowhere.py --set run_tools.functions=[f]",
        "submit job.yaml --set run_tools.module=tools.py --set run_tools.functions=[f]",
        "submit job.yaml --set run_tools.module=tools.py --set run_tools.functions=[g]",
        "submit job.yaml --set run_tools.module=wrong.py --set run_tools.functions=[g]",
        "submit job.yaml --set checks.nope=>=1%",
        "submit job.yaml --set budget.cost_usd=1",
        "submit job.yaml --set endpoints.local.ca_file=nowhere.pem",
        "submit job.yaml --set endpoints.local.api_key_cmd=[nowhere]",
        "plan job.yaml --example nobody",
        "plan job.yaml --retry-failed=bad_row",
        "status job.yaml",
        "status nowhere",
        "status .",
        "pause job.yaml",
        "resume job.yaml",
        "show job.yaml --seed 3",
        "show job.yaml --failed=refusl",
        "gc job.yaml",
        "report job.yaml",
        "report job.yaml --json --out -",
        "export job.yaml --json",
        "export job.yaml --out rows.xlsx",
        "export job.yaml --out rows.csv.gz",
        "export job.yaml --format chat",
        "export job.yaml --format chat --columns text",
        "export job.yaml --format openai-batch --where \"status='ok'\"",
        "export job.yaml --format openai-batch --out job.yaml",
        "diff",
        "diff job.yaml",
        "diff job.yaml other.yaml --out table.xlsx",
        "init",
        "init nowhere.csv",
        "init .",
        "init empty.csv",
        "init empty.jsonl",
        "init broken.jsonl",
        "init rows.jsonl --endpoint opnai",
        "init rows.jsonl --endpoint groq",
        "init rows.jsonl --out job.yaml",
        "simulate --config nowhere.yaml",
        "simulate --config empty.jsonl",
        "simulate --config tools.py",
        "simulate --config job.yaml",
        "simulate --host 203.0.113.1",
        "simulate --ledger broken.jsonl",
        "simulate --ledger .",
        "simulate --ledger nowhere/calls.jsonl",
    ],
)
def test_before_the_first_submit(new_job: NewJob, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Wrong options, wrong files, and runs that are not there."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    job = new_job()
    for name, text in FILES.items():
        (job.folder / name).write_text(text)
    require_told(batchrun(*shlex.split(words), cwd=job.folder))


FILES = {
    "empty.csv": "",
    "empty.jsonl": "",
    "broken.jsonl": "nothing\n",
    "tools.py": "def g(a): ...\n",
    "wrong.py": "1 / 0\n",
    "job.py": "",
}


@pytest.mark.parametrize(
    "words",
    [
        "show job.yaml nobody",
        "show job.yaml --where nope=1",
        "show job.yaml --where text<",
        "show job.yaml --where text<3",
        "show job.yaml --columns nope",
        "show job.yaml --columns ,",
        "show job.yaml --columns usage.nope",
        "export job.yaml --columns nope",
        "export job.yaml --out rows.jsonl",
        "export job.yaml --out runs/job/rows.csv",
        "export job.yaml --out nowhere/rows.csv",
        "export job.yaml --format openai-batch --where nope=1",
        "report job.yaml --out rows.jsonl",
        "report job.yaml --out nowhere/report.html",
        "diff job.yaml runs/job",
        "diff job.yaml runs/job --field parsed.label",
        "pause job.yaml",
        "resume job.yaml",
        "submit job.yaml --name other --set output.path=runs/job",
        "submit runs/job",
        "gc runs/job",
    ],
)
def test_after_a_submit(run: JobFolder, words: str) -> None:
    """What does not fit the run."""
    require_told(batchrun(*words.split(), cwd=run.folder))


def test_rows_that_would_be_paid_for_again(new_job: NewJob) -> None:
    """The ways on are the instruction."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
    require_told(batchrun("submit", "job.yaml", cwd=job.folder), code=6)


def test_a_folder_that_is_in_use(new_job: NewJob) -> None:
    """Waiting is one."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    with locked(job.checkpoint / "lock"):
        require_told(batchrun("submit", "job.yaml", cwd=job.folder), code=5)
        require_told(batchrun("gc", "job.yaml", "--yes", cwd=job.folder), code=5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job.yaml", "export runs/job --format chat"),
        ("results/part-00000.parquet", "show runs/job"),
        ("results/part-00000.parquet", "report runs/job"),
        ("checkpoint/index.parquet", "status runs/job"),
        ("checkpoint/job.json", "status runs/job"),
    ],
)
def test_a_damaged_folder(new_job: NewJob, name: str, words: str) -> None:
    """A file that is broken is named with what to do about it."""
    job = new_job()
    batchrun("submit", "job.yaml", cwd=job.folder)
    assert (job.run / name).exists()
    (job.run / name).write_bytes(b"\0")
    require_told(batchrun(*words.split(), cwd=job.folder))


@pytest.mark.parametrize(
    ("words", "in_json"),
    [
        ("show job.yaml --columns nope --json", True),
        ("show job.yaml --columns nope", False),
        ("show job.yaml --where --json", False),  # a condition, as it stands there
        ("show job.yaml -- --json", False),  # a row's id
        ("show job.yaml --nope --json", True),
    ],
)
def test_an_error_is_json_where_json_is_asked_for(run: JobFolder, words: str, in_json: bool) -> None:
    """By the option, and not by a value that looks like it; or by the variable that stands for it."""
    ended = batchrun(*words.split(), cwd=run.folder)
    assert (ended.code, bool(ended.out)) == (2, in_json)
    for value in "10":
        env = {"BATCHRUN_SHOW_AS_JSON": value}
        ended = batchrun(*words.split(), cwd=run.folder, env=env)
        assert (ended.code, bool(ended.out)) == (2, in_json or value == "1")
    require_told(ended)


def test_a_folder_in_place_of_a_job_is_told_what_takes_one(run: JobFolder) -> None:
    """All commands that do."""
    ended = batchrun("plan", run.run, cwd=run.folder)
    require_told(ended)
    takes = [
        name
        for name, command in commands().items()
        if any(parameter.metavar == "JOB_OR_FOLDER" for parameter in command.params)
    ]
    told = ended.err.partition("Run folders are for ")[2]
    assert len(takes) > 4
    assert [name for name in [*takes, "diff", "stored"] if name not in told] == []
