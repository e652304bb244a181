"""Conversations that go on: after failures, kills and edits, without paying twice and without mixing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import ChangedRowsError
from batchrun.run_folder.checkpoint.sealed import histories, sealed_parts
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Header
from batchrun.run_folder.results.read import scan_run
from batchrun.status.status import status
from tests.runs import JobFolder, simulated
from tests.submits.test_conversations import TURNS, asked
from tests.submits.test_structured import LONG, SCHEMA

ONCE = {"max_attempts": 1, "backoff": {"initial": 0.01, "max": 0.01}}


def as_if_killed(job: JobFolder, part: int = -1) -> None:
    """Put a sealed task back into a journal file without its outcome, as a kill would have left it."""
    number, path = list(sealed_parts(job.checkpoint).items())[part]
    (history,) = histories(pl.read_parquet(path).to_arrow())
    lines = [line for line in history.lines if b'{"done"' not in line]
    path.unlink()
    header = next(iter(job.checkpoint.glob("journal-*.log")), None)
    assert header is None

    journal = job.checkpoint / f"journal-{number:06d}.log"
    journal.write_bytes(encode(Header(FORMAT_VERSION)) + b"".join(lines))


def test_usage_is_counted_once_however_often_a_conversation_goes_on(tmp_path: Path) -> None:
    """A failed asking that goes on and is killed then: every call stands in `attempts` once."""
    broken = {"faults": [{"match": "turn three", "first": 2, "status": 503}]}
    with simulated(tmp_path, rows=1, config=broken, prompt=TURNS, retry=ONCE) as job:
        job.submit_here()
        job.submit_here()  # goes on from turn two, and fails again
        as_if_killed(job)
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
        calls = job.calls()
    assert len(calls) == len(row["attempts"]) == 5
    told = [attempt["usage"]["total_tokens"] for attempt in row["attempts"] if attempt["usage"]]
    assert row["usage"]["total_tokens"] == sum(told)


def test_an_answer_is_replayed_for_the_ask_it_was_given_to_alone(tmp_path: Path) -> None:
    """After an edit that lets the first answer fall back, later answers are not taken for the fallback's."""
    config = {
        "faults": [
            {"match": "turn one", "model": "small", "refusal": "no"},
            {"match": "turn three", "model": "small", "first": 1, "status": 503},
        ]
    }
    with simulated(
        tmp_path, rows=1, config=config, prompt=TURNS, retry=ONCE, fallbacks=["local/big"], fail_on=[]
    ) as job:
        job.edit(fallback_on=["auth"])
        assert job.submit_here().failed == 1
        job.edit(fail_on=["refusal"], fallback_on=["refusal", "auth"])
        assert job.submit_here().ok == 1
        (row,) = job.results().to_dicts()
        by_model = [(call.model, " ".join(call.prompt.split()[:3])) for call in job.calls()]
    assert ("big", "r000000 turn one") in by_model
    assert row["model"] == "local/big"
    assert row["messages"][1]["refusal"] is None


def test_a_re_ask_that_could_not_be_sent_goes_on_from_the_first_answer(tmp_path: Path) -> None:
    """What was wrong with it is known, and it was paid for."""
    config = {
        "faults": [
            {"match": "does not fit", "first": 1, "status": 503},
            {"output": "invalid", "first": 1, "per": "conversation"},
        ]
    }
    with simulated(tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG, retry=ONCE) as job:
        assert job.submit_here().failed == 1
        assert job.submit_here().ok == 1
        assert len(job.calls()) == 3
        (row,) = job.results().to_dicts()
    assert [attempt["error_type"] for attempt in row["attempts"]] == ["invalid_output", "server", None]


def test_a_failed_turn_that_is_asked_again_leaves_those_before_it(tmp_path: Path) -> None:
    """--retry-failed=invalid_output asks for what was wrong, not for the answers that were right."""
    config = {"faults": [{"match": "turn two", "first": 1, "output": "invalid"}]}
    prompt = {"messages": TURNS["messages"], "turns": [{"content": "{{ id }} turn two"}]}
    with simulated(
        tmp_path, rows=1, config=config, prompt=prompt, schema=SCHEMA, request=LONG, retry={"reask": 0}
    ) as job:
        assert job.submit_here().failed == 1
        assert job.submit_here(retry_failed=frozenset({"invalid_output"})).ok == 1
        assert asked(job) == {"r000000 turn one": 1, "r000000 turn two": 2}
        (row,) = job.results().to_dicts()
    assert len(row["attempts"]) == 3


def test_a_conversation_that_the_server_turned_away_is_asked_again(tmp_path: Path) -> None:
    """Also where it said x-should-retry: false: that held for that attempt."""
    header = {"x-should-retry": "false"}
    config = {"faults": [{"match": "turn two", "first": 1, "status": 503, "headers": header}]}
    with simulated(tmp_path, rows=1, config=config, prompt=TURNS) as job:
        assert job.submit_here().failed == 1
        assert job.submit_here().ok == 1
        assert asked(job)["r000000 turn one"] == 1


def test_a_closed_fallback_does_not_stop_the_rows_that_need_none(tmp_path: Path) -> None:
    """The answer that would not do stands, paid text and all; the main model goes on."""
    config = {"faults": [{"match": "row 000003", "output": "invalid"}, {"model": "big", "status": 401}]}
    with simulated(
        tmp_path,
        rows=20,
        config=config,
        schema=SCHEMA,
        request=LONG,
        retry={"reask": 0},
        fallbacks=["local/big"],
        fallback_on=["invalid_output"],
        endpoints={"local": {"limits": {"concurrency": 1}}},
    ) as job:
        # the same endpoint would be closed for both models: the fallback has one of its own
        base_url = json.loads(job.job.read_text())["endpoints"]["local"]["base_url"]
        job.edit(
            fallbacks=["other/big"],
            endpoints={
                "local": {"base_url": base_url, "limits": {"concurrency": 1}},
                "other": {"base_url": base_url, "limits": {"concurrency": 1}},
            },
        )
        summary = job.submit_here()
        failed = job.results().filter(status="failed").to_dicts()
    assert (summary.ok, summary.failed, summary.pending) == (19, 1, 0)
    assert failed[0]["error_type"] == "invalid_output"
    assert failed[0]["completion"]


def test_a_turn_names_the_model_that_is_open(tmp_path: Path) -> None:
    """One call that failed in the first turn does not bind the row to a fallback that is closed."""
    config = {
        "faults": [
            {"match": "r000000 turn one", "model": "small", "first": 1, "status": 503},
            {"match": "turn two", "model": "big", "status": 404, "code": "model_not_found"},
        ]
    }
    with simulated(tmp_path, rows=5, config=config, prompt=TURNS, retry=ONCE, fallbacks=["local/big"]) as job:
        summary = job.submit_here()
    assert (summary.ok, summary.pending) == (5, 0)


def test_the_order_of_a_schemas_members_is_part_of_the_request(tmp_path: Path) -> None:
    """A model writes them in that order: reasoning before the label is another question."""
    with simulated(tmp_path, rows=1, schema=SCHEMA, request=LONG) as job:
        job.submit_here()
        turned = dict(reversed(SCHEMA["properties"].items()))
        job.edit(schema={**SCHEMA, "properties": turned})
        with pytest.raises(ChangedRowsError):
            job.submit_here()


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"note": "a"}, {"note": "b"}, True),
        ({"note": "a", "answer": "gold"}, {"note": "a", "answer": "other"}, False),
        ({"note": "a", "unused": 1}, {"note": "a", "unused": 2}, False),
    ],
)
def test_a_turn_is_hashed_with_what_it_names(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], changes: bool
) -> None:
    """The columns in its template, not `answer`, which is the answer's own name there."""
    prompt = {
        "messages": [{"role": "user", "content": "{{ id }}"}],
        "turns": [{"content": "{{ note }} {{ answer }}"}],
    }
    with simulated(tmp_path, rows=0, prompt=prompt) as job:
        job.rows.write_text(json.dumps({"id": "a", **before}) + "\n")
        job.submit_here()
        job.rows.write_text(json.dumps({"id": "a", **after}) + "\n")
        if changes:
            with pytest.raises(ChangedRowsError):
                job.submit_here()
        else:
            assert job.submit_here().ok == 1
        assert len(job.calls()) == 2


def test_a_row_with_a_lone_surrogate_is_one_row(tmp_path: Path) -> None:
    """It is counted, asked and published like any other."""
    with simulated(tmp_path, rows=0, prompt={"messages_column": "talk"}) as job:
        talks = ["\\ud83d", "plain"]
        line = '{{"id": "{}", "talk": [{{"role": "user", "content": "{}"}}]}}\n'
        job.rows.write_text("".join(line.format(at, text) for at, text in enumerate(talks)))
        job.edit(output={"messages": True})
        summary = job.submit_here()
        assert summary.ok + summary.failed == 2
        assert len(job.results()) == 2


def test_a_run_whose_types_changed_is_readable_while_it_runs(tmp_path: Path) -> None:
    """Published rows are of the older schema, those since of the newer."""
    with simulated(tmp_path, rows=4, schema=SCHEMA, request=LONG) as job:
        job.submit_here(limit=2)
        job.edit(schema={**SCHEMA, "properties": {**SCHEMA["properties"], "score": {"type": "number"}}})
        run = RunFolder(job.run)
        before = run.results.readlink()
        job.submit_here(keep_changed=True)
        run.results.unlink()
        run.results.symlink_to(before)  # as if killed before its publication
        rows = scan_run(run).collect()
        assert status(run).ok >= 2
    assert rows["parsed"].struct.field("score").dtype == pl.Float64


def test_a_null_that_takes_a_rows_parameter_out_changes_the_request(tmp_path: Path) -> None:
    """Of a batch file: with it the row is another request, and without it the old one."""
    from tests.submits.test_openai_batch import batch, line

    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a"))
        job.submit_here()
        job.edit(request={"temperature": None})
        with pytest.raises(ChangedRowsError):
            job.submit_here()
        assert job.submit_here(rerun_changed=True).ok == 1
        assert len(job.calls()) == 2


def test_tools_of_a_row_that_are_none_are_the_servers_to_refuse(tmp_path: Path) -> None:
    """They do not stop the others."""
    from tests.submits.test_openai_batch import batch, line

    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a", tools=[{}]), line("b", extra_body=[]), line("c"))
        summary = job.submit_here()
    assert (summary.ok, summary.failed) == (1, 2)


def test_a_function_that_prints_leaves_stdout_to_the_data(tmp_path: Path) -> None:
    """--json stays JSON."""
    with simulated(tmp_path, rows=1) as job:
        source = "print('loaded')\n\ndef f() -> int:\n    print('ran')\n    return 1\n"
        (job.folder / "f.py").write_text(source)
        job.edit(request=LONG, run_tools={"module": "f.py", "functions": ["f"]})
        done = job.submit("--json")
        assert json.loads(done.out)["ok"] == 1
    assert "ran" in done.err


def test_the_outcome_of_a_row_that_could_not_be_made_is_no_answer_to_its_request(tmp_path: Path) -> None:
    """A file that was gone when it was to be sent, and is there again, is asked by the next submit."""
    fallback = {"model": "local/big", "request": {"seed": "{{ absent }}"}}
    config = {"faults": [{"model": "small", "first": 1, "status": 503}]}
    with simulated(tmp_path, rows=1, config=config, retry=ONCE, fallbacks=[fallback]) as job:
        first = job.submit_here()
        assert first.errors == {"server": 1}, "the fallback's template does not hide why the row failed"
        assert job.submit_here().ok == 1
