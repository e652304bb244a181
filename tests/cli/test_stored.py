"""`batchrun stored`: whose completions are meant, what is said of them, and when they are deleted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from batchrun.chat.stamps import ROW, RUN
from batchrun.run_folder.folder import RunFolder
from batchrun.simulator import SimulatorConfig
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen, read_all
from tests.commands import batchrun
from tests.hostile import FOR_TERMINALS, obeyed, storable
from tests.runs import JobFolder, write_rows
from tests.simulators import start_simulator
from tests.stored.servers import QUICK, Answer, Asked, make, scripted

HOSTILE = "".join(FOR_TERMINALS)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """A simulator that keeps completions."""
    with start_simulator(SimulatorConfig.model_validate(QUICK)) as url:
        yield url


@pytest.fixture
def job(base_url: str, tmp_path: Path) -> JobFolder:
    """A run with a finished row, of which nothing is stored; `bare` is a second endpoint of the job."""
    folder = JobFolder(tmp_path)
    write_rows(folder.rows, 1)
    folder.write(base_url, endpoints={"local": {}, "bare": {"base_url": "http://127.0.0.1:9/v1"}})
    folder.submit_here()
    return folder


def stored(job: JobFolder, base_url: str, number: int = 2) -> list[str]:
    """Completions of its run."""
    return make(base_url, number, **{RUN: RunFolder(job.run).run_id, ROW: "r000000"})


@pytest.mark.parametrize("where", ["job.yaml", "runs/job"])
def test_a_job_lists_what_is_stored_of_its_run(job: JobFolder, base_url: str, where: str) -> None:
    """Also by its run folder; others' completions only with --all."""
    own, others = stored(job, base_url), make(base_url, color=job.folder.name)
    found = batchrun("stored", "list", where, "--json", cwd=job.folder)
    assert [one["id"] for one in found.lines] == own
    found = batchrun("stored", "list", where, "--all", "--limit", "1000", "--json", cwd=job.folder)
    assert {*own, *others} <= {one["id"] for one in found.lines}
    labelled = ["--all", "--metadata", f"color={job.folder.name}", "--json"]
    assert [one["id"] for one in batchrun("stored", "list", where, *labelled, cwd=job.folder).lines] == others


def test_an_endpoint_is_named_without_a_job(base_url: str, tmp_path: Path) -> None:
    """By its URL; with filters, in the order that is wanted, going on after one."""
    label, ids = f"of={tmp_path.name}", []
    for model in ("one", "two", "one"):
        ids += make(base_url, model=model, of=tmp_path.name)
    words = ["stored", "list", "--endpoint", base_url, "--metadata", label, "--json"]

    def listed(*more: str) -> list[str]:
        return [one["id"] for one in batchrun(*words, *more, cwd=tmp_path).lines]

    assert listed() == ids
    assert listed("--order", "desc") == ids[::-1]
    assert listed("--model", "one") == [ids[0], ids[2]]
    assert listed("--after", ids[0]) == ids[1:]
    assert listed("--limit", "2") == ids[:2]


def test_a_pipe_gets_a_line_for_each_and_its_id_first(job: JobFolder, base_url: str) -> None:
    """What is left out is told on standard error."""
    own = stored(job, base_url, 3)
    ended = batchrun("stored", "list", "job.yaml", "--limit", "2", cwd=job.folder)
    assert [line.split("  ")[0] for line in ended.out.splitlines()] == own[:2]
    assert f"--after {own[1]} goes on" in ended.err


def test_nothing_of_a_run_says_where_else_to_look(job: JobFolder) -> None:
    """With exit code 0: it is an answer."""
    ended = batchrun("stored", "list", "job.yaml", cwd=job.folder)
    assert (ended.code, ended.out) == (0, "")
    assert "no stored completion of this run; --all lists" in ended.err


def test_lines_stay_as_wide_as_the_terminal(job: JobFolder, base_url: str) -> None:
    """The answer has a line of its own where there is no room for it."""
    own = stored(job, base_url, 1)
    words = ["stored", "list", "job.yaml"]
    _code, narrow = here_on_a_terminal(words, job.folder)
    _code, wide = here_on_a_terminal(words, job.folder, COLUMNS="200")
    first, second = filter(None, lines_seen(narrow))
    assert first.startswith(own[0])
    assert second.startswith("  ")
    assert len(first) <= len(second) == 80
    assert [line.startswith(own[0]) for line in filter(None, lines_seen(wide))] == [True]


def test_a_completion_is_labelled(job: JobFolder, base_url: str) -> None:
    """What is not named stays; a label without a value goes."""
    own = stored(job, base_url, 1)[0]
    words = ["--metadata", "a=1", "--metadata", f"{ROW}=", "--json"]
    ended = batchrun("stored", "update", "job.yaml", own, *words, cwd=job.folder)
    assert ended.json["metadata"] == {RUN: RunFolder(job.run).run_id, "a": "1"}
    ended = batchrun("stored", "update", "job.yaml", own, "--clear", "--json", cwd=job.folder)
    assert ended.json["metadata"] == {}


def test_a_run_is_deleted_only_when_somebody_says_so(job: JobFolder, base_url: str) -> None:
    """Without a terminal it takes --yes, and until then only their number is told; others' stay."""
    own, others = stored(job, base_url, 3), make(base_url, color=job.folder.name)
    words = ["stored", "delete", "job.yaml", "--run"]
    ended = batchrun(*words, cwd=job.folder)
    assert (ended.code, ended.out) == (2, "")
    assert "3 stored completions at local would be deleted\n  Add --yes" in ended.err
    assert len(batchrun("stored", "list", "job.yaml", "--json", cwd=job.folder).lines) == len(own)
    assert batchrun(*words, "--yes", "--json", cwd=job.folder).json == {"deleted": 3, "missing": []}
    assert batchrun("stored", "list", "job.yaml", cwd=job.folder).out == ""
    assert batchrun("stored", "get", "job.yaml", others[0], cwd=job.folder).code == 0
    assert batchrun(*words, cwd=job.folder).out == "0 stored completions deleted at local\n"


@pytest.mark.parametrize(("said", "left"), [("y", 0), ("n", 2), ("", 2)])
def test_a_terminal_is_asked_first(job: JobFolder, base_url: str, said: str, left: int) -> None:
    """No is what Enter says."""
    stored(job, base_url)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "batchrun", "stored", "delete", "job.yaml", "--run"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=job.folder) as process:
        os.close(theirs)
        written = bytearray()
        while b"Delete 2 stored completions at local?" not in written:
            written += os.read(ours, 65536)  # fails where the command has ended without asking
        os.write(ours, f"{said}\n".encode())
        read_all(ours, written)
    os.close(ours)
    assert process.returncode == 0, written
    assert (b"nothing is deleted" in written) == bool(left), written
    assert len(batchrun("stored", "list", "job.yaml", "--json", cwd=job.folder).lines) == left


def test_an_id_that_nothing_has_is_told_after_the_others_are_deleted(job: JobFolder, base_url: str) -> None:
    """Exit code 2, with their number."""
    own = stored(job, base_url)
    ended = batchrun("stored", "delete", "job.yaml", *own, "chatcmpl-no", "--yes", cwd=job.folder)
    assert ended.code == 2
    assert "no stored completion chatcmpl-no; 2 stored completions deleted" in ended.err


def test_an_export_has_the_rows_of_the_run(job: JobFolder, base_url: str) -> None:
    """By the ids that they are stamped with."""
    own = stored(job, base_url)
    ended = batchrun("stored", "export", "job.yaml", "out.parquet", "--json", cwd=job.folder)
    assert ended.json == {"rows": 2, "out": "out.parquet"}
    found = pl.read_parquet(job.folder / "out.parquet")
    assert found.select("row_id", "response_id", "model").rows() == [
        ("r000000", own[0], "local/small"),
        ("r000000", own[1], "local/small"),
    ]


WRONG: list[tuple[list[str], str]] = [
    (["list"], "is not said\n  Name a job file or a run folder, or --endpoint"),
    (["list", "nope"], "nope: no job file and no run folder"),
    (["list", "nope.yaml"], "nope.yaml: no such file"),
    (["list", "job.yaml", "--endpoint", "locl"], "Did you mean local?"),
    (["list", "job.yaml", "--api-key-env", "X"], "is for an --endpoint without a job"),
    (["list", "--endpoint", "openai", "--name", "x"], "--name changes a job"),
    (["list", "job.yaml", "--metadata", "x"], "no key and value"),
    (["get", "job.yaml"], "ID is missing"),
    (["get", "job.yaml", "a", "b"], "2 words, where one is wanted"),
    (["update", "job.yaml", "a"], "nothing to change"),
    (["delete", "job.yaml"], "which completions to delete is not said"),
    (["delete", "job.yaml", "a", "--run"], "without ids"),
    (["delete", "--endpoint", "http://127.0.0.1:9/v1", "--run"], "no job is named"),
    (["export", "job.yaml", "out.csv"], "are written as Parquet"),
    (["export", "job.yaml", "runs/job/out.parquet"], "lies in a run folder"),
    (["export", "job.yaml"], "OUT.parquet is missing"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda given: " ".join(given)[:40])
def test_a_wrong_command_says_what_to_do(job: JobFolder, words: list[str], said: str) -> None:
    """Exit code 2, also as JSON, and nothing is asked of the endpoint."""
    ended = batchrun("stored", *words, cwd=job.folder)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert batchrun("stored", *words, "--json", cwd=job.folder).json["error"]["exit_code"] == 2


def test_another_endpoint_of_the_job_can_be_meant(job: JobFolder, base_url: str) -> None:
    """By its name, or by its URL: of several servers each keeps its own."""
    own = stored(job, base_url, 1)
    urls = [base_url, "http://127.0.0.1:9/v1"]
    job.edit(endpoints={"local": {"base_url": urls}, "other": {"base_url": base_url}})
    ended = batchrun("stored", "list", "job.yaml", cwd=job.folder)
    assert (ended.code, "has 2 servers" in ended.err) == (2, True)
    for named in (base_url, "other"):
        ended = batchrun("stored", "list", "job.yaml", "--endpoint", named, "--json", cwd=job.folder)
        assert [one["id"] for one in ended.lines] == own


def test_a_run_of_an_older_version_is_told_of_by_all(job: JobFolder) -> None:
    """It has no id, and put no stamps on anything."""
    identity = RunFolder(job.run).identity_path
    known = json.loads(identity.read_text())
    identity.write_text(json.dumps({name: known[name] for name in known if name != "id"}))
    ended = batchrun("stored", "list", "job.yaml", cwd=job.folder)
    assert (ended.code, "`stored` takes --all" in " ".join(ended.err.split())) == (2, True), ended.err
    assert batchrun("stored", "list", "job.yaml", "--all", cwd=job.folder).code == 0


def test_a_key_that_is_refused_or_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4 with the variable that it stands in, and 2 where that is not set; the key is not shown."""
    with start_simulator(SimulatorConfig.model_validate({"api_key": "right-key-0000"})) as url:
        words = ["stored", "list", "--endpoint", url, "--api-key-env", "STORED_KEY"]
        ended = batchrun(*words, cwd=tmp_path)
        assert (ended.code, "STORED_KEY" in ended.err) == (2, True)
        monkeypatch.setenv("STORED_KEY", "wrong-key-0000")
        ended = batchrun(*words, cwd=tmp_path)
        assert ended.code == 4
        assert "refuses the key" in ended.err
        assert "Check the key in STORED_KEY" in ended.err
        assert "wrong-key" not in ended.err
        (tmp_path / ".env").write_text("STORED_KEY=right-key-0000\n")
        (tmp_path / ".env").chmod(0o600)
        monkeypatch.delenv("STORED_KEY")
        assert batchrun(*words, "--env-file", ".env", cwd=tmp_path).code == 0


def test_an_endpoint_without_stored_completions_is_told(tmp_path: Path) -> None:
    """And where the answers of a run are all the same."""
    with start_simulator(SimulatorConfig.model_validate({"stored": {"listing": False}})) as url:
        ended = batchrun("stored", "list", "--endpoint", url, cwd=tmp_path)
    assert ended.code == 2
    assert "has no stored completions, it answers with status 404" in ended.err
    assert "`batchrun export`" in ended.err


@pytest.mark.parametrize("verb", ["list", "get", "messages", "update"])
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_is_stored_commands_the_terminal(tmp_path: Path, verb: str, terminal: bool) -> None:
    """Ids, labels, models, answers and questions."""
    text = storable(HOSTILE)
    message = {"id": text, "role": text, "content": text}
    document = {
        "id": text,
        "created": 1,
        "model": text,
        "metadata": {ROW: text, text: text},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
    }

    def answer(asked: Asked) -> Answer:
        listed = asked.path.endswith(("completions", "messages"))
        data = [message if asked.path.endswith("messages") else document]
        return 200, {"data": data, "has_more": False} if listed else document

    words = {"list": ["--limit", "1"], "get": ["x"], "messages": ["x"], "update": ["x", "--metadata", "a=b"]}
    with scripted(answer) as server:
        command = ["stored", verb, *words[verb], "--endpoint", server.url]
        if terminal:
            code, written = here_on_a_terminal(command, tmp_path)
        else:
            ended = batchrun(*command, cwd=tmp_path)
            code, written = ended.code, ended.out + ended.err
    assert code == 0, written
    assert obeyed(written, terminal=terminal) == []
