"""What `batchrun reparse` says, on a terminal, without one, and to programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchrun.simulator import SimulatorConfig
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.commands import batchrun
from tests.runs import JobFolder, write_rows
from tests.simulators import start_simulator

ROWS = 6


def schema(**score: Any) -> dict[str, Any]:
    properties = {"label": {"enum": ["bug", "billing"]}, "score": {"type": "integer", **score}}
    return {"type": "object", "properties": properties, "required": ["label", "score"]}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobFolder]:
    """A run with a refused row and one without an answer, and a schema that no answer fits by now."""
    faults = [
        {"match": "row 000001", "answer": "refusal"},
        {"match": "row 000002", "first": 1, "status": 500},
    ]
    job = JobFolder(tmp_path)
    write_rows(job.rows, ROWS)
    with start_simulator(SimulatorConfig.model_validate({"faults": faults}), ledger=job.ledger) as base_url:
        job.write(
            base_url,
            schema=schema(minimum=0, maximum=9),
            request={"max_completion_tokens": 300},
            retry={"max_attempts": 1},
        )
        assert batchrun("submit", "job.yaml", cwd=job.folder).code == 1
        job.edit(schema=schema(minimum=20))
        yield job
        assert len(job.calls()) == ROWS, "nothing was asked"


def test_the_rows_add_up_and_every_next_step_is_a_command(job: JobFolder) -> None:
    """Standard output has it all; a dry run first, then the same in the past tense."""
    looked = batchrun("reparse", "job.yaml", "--dry-run", cwd=job.folder)
    assert looked.code == 0
    assert (
        looked.out.splitlines()[0] == "job: 5 stored answers would be read by the new schema, without a call"
    )
    assert looked.out.splitlines()[-1].split() == ["do", "it", "batchrun", "reparse", "job.yaml"]
    done = batchrun("reparse", "job.yaml", cwd=job.folder)
    assert done.code == 0, "a row is pending"
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[:2] == [
        "job: 5 stored answers read by the new schema, without a call",
        "failed 5 rows: 1 as before, 4 that were ok",
    ]
    assert lines[2].startswith("reason 4 invalid_output, for example r000000: $.score: ")
    assert lines[3].startswith("reason 1 refusal, for example r000001: ")
    assert lines[4:6] == [
        "not read 1 row failed by server, with no answer",
        "the run now 0 ok, 5 failed, 1 pending",
    ]
    assert lines[-4:] == [
        "see failed batchrun show job.yaml --failed",
        "edit again batchrun reparse job.yaml # once the schema is edited: no call",
        "ask again batchrun submit job.yaml --retry-failed=invalid_output,refusal",
        "to go on batchrun submit job.yaml",
    ]


def test_the_plan_leads_to_it(job: JobFolder) -> None:
    """Its next step costs nothing: the trial run, while there is a choice to make."""
    last = batchrun("plan", "job.yaml", cwd=job.folder).out.splitlines()[-1]
    assert last.split() == ["next", "batchrun", "reparse", "job.yaml", "--dry-run"]
    rerun = batchrun("plan", "job.yaml", "--rerun-changed", cwd=job.folder).out.splitlines()[-1]
    assert rerun.split()[:3] == ["next", "batchrun", "submit"]


def test_a_program_gets_the_same_facts(job: JobFolder) -> None:
    """As one JSON value, with the run's summary in it."""
    found = batchrun("reparse", "job.yaml", "--json", cwd=job.folder).json
    numbers = {
        name: found[name] for name in ("rows", "done", "reread", "ok", "failed", "now_ok", "now_failed")
    }
    assert numbers == {
        "rows": 6,
        "done": 0,
        "reread": 5,
        "ok": 0,
        "failed": 5,
        "now_ok": 0,
        "now_failed": 4,
    }
    assert found["errors"] == {"invalid_output": 4, "refusal": 1}
    assert found["left"] == {"server": 1}
    assert [reason["rows"] for reason in found["reasons"]] == [4, 1]
    assert (found["dry_run"], found["summary"]["failed"]) == (False, 5)
    assert found["summary"]["submit"]["rows"] == 6, "the last submit is what it was"
    assert found["summary"] == json.loads((job.run / "run.json").read_text())
    again = batchrun("reparse", "job.yaml", "--json", cwd=job.folder).json
    assert (again["reread"], again["done"], again["left"]) == (0, 5, {"pending": 1})


def test_it_fits_a_terminal_of_80_columns(job: JobFolder) -> None:
    """And a second time says that there is nothing to do."""
    code, written = here_on_a_terminal(["reparse", "job.yaml"], job.folder)
    seen = lines_seen(written)
    assert code == 0
    assert max(map(len, seen)) <= 80
    assert any("5 stored answers read by the new schema" in line for line in seen)
    again = batchrun("reparse", "job.yaml", cwd=job.folder)
    assert again.out.startswith("job: nothing to do, no stored answer is of another schema\n")
    assert again.err.count("[0:0") == len(again.err.splitlines()), "progress is on standard error"


def test_refusals_say_what_to_do(job: JobFolder) -> None:
    """Another edit beside the schema; no run at all."""
    job.edit(model="local/large")
    refused = batchrun("reparse", "job.yaml", cwd=job.folder)
    assert (refused.code, refused.out) == (6, "")
    assert "model has changed, too" in refused.err
    assert "Take that edit back" in refused.err
    nothing = batchrun("reparse", "job.yaml", "--name", "other", cwd=job.folder)
    assert nothing.code == 2
    assert "there is no run in" in nothing.err
    assert not (job.folder / "runs" / "other").exists()
