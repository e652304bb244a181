"""Stored answers read by another schema: what becomes of each row, and that nothing is asked or lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import batchrun.reparsing.stored as stored_records
from batchrun.errors import ChangedRowsError, JobError, RunLockedError
from batchrun.job import load_job
from batchrun.reparsing import Reparsed, preview, reparse
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import locked
from batchrun.run_folder.results.read import scan_run
from batchrun.status.status import status
from tests.commands import batchrun
from tests.run_folder.test_older_formats import FOLDERS, unpack
from tests.runs import JobFolder, Silent, row_of, simulated, write_rows
from tests.scripted import answering, completion
from tests.small_files import files_of_at_most

LABELS = ["bug", "billing"]


def schema(labels: Sequence[str] = LABELS, **score: Any) -> dict[str, Any]:
    """One label, and a score that may be bounded."""
    return {
        "type": "object",
        "properties": {"label": {"enum": list(labels)}, "score": {"type": "integer", **score}},
        "required": ["label"],
        "additionalProperties": False,
    }


def says(label: str, **more: Any) -> str:
    return json.dumps({"label": label, **more})


LONG = {"max_completion_tokens": 300}

Requests = list[dict[str, Any]]
Script = Mapping[int, Sequence[str]]
"""What each row is answered, ask by ask; the last text is given again."""


@contextmanager
def scripted(
    folder: Path, script: Script, **sections: Any
) -> Iterator[tuple[JobFolder, list[dict[str, Any]]]]:
    """A job whose rows are answered as the script says, and the requests that came."""

    asked: Counter[int] = Counter()

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        row = row_of(body["messages"][0]["content"])
        asked[row] += 1
        return 200, completion(script[row][min(asked[row], len(script[row])) - 1])

    job = JobFolder(folder)
    write_rows(job.rows, len(script))
    with answering(act) as (base_url, seen):
        job.write(base_url, **sections)
        yield job, seen


def here(job: JobFolder, *, act: Callable[..., Reparsed] = reparse, **options: Any) -> Reparsed:
    """The verb, in this process."""
    env = dict(os.environ)
    return act(load_job(job.job, env=env, cwd=job.folder), env=env, progress=Silent(), **options)


def statuses(job: JobFolder) -> list[str]:
    """Each row's status, or the type of its error."""
    return [row["error_type"] or row["status"] for row in job.results().to_dicts()]


TAKEN = ("row_id", "usage", "cost_usd", "started_at", "finished_at", "latency", "model", "response_id")


def taken(job: JobFolder, columns: Sequence[str] = TAKEN) -> list[dict[str, Any]]:
    """What each row took, and its calls, but for what was thought of their answers."""
    calls = ("model", "started_at", "latency", "request_id", "usage", "sent")
    return [
        {name: row[name] for name in columns}
        | {"calls": [[a[name] for name in calls] for a in row["attempts"]]}
        for row in job.results().to_dicts()
    ]


@pytest.mark.parametrize(
    ("before", "now", "text", "was", "becomes", "parsed"),
    [
        (schema(), schema([*LABELS, "new"]), says("new"), "invalid_output", "ok", {"label": "new"}),
        (schema(), schema([*LABELS, "new"]), says("bug"), "ok", "ok", {"label": "bug"}),
        (schema(), schema(["new"]), says("bug"), "ok", "invalid_output", None),
        (schema(), schema(["new"]), says("odd"), "invalid_output", "invalid_output", None),
        (schema(maximum=5), schema(maximum=9), says("bug", score=7), "invalid_output", "ok", {"score": 7}),
        (schema(maximum=9), schema(maximum=5), says("bug", score=7), "ok", "invalid_output", None),
        (schema(), {**schema(), "required": []}, "{}", "invalid_output", "ok", {"label": None}),
        (schema(), {**schema(), "required": ["score"]}, says("bug"), "ok", "invalid_output", None),
        (None, schema(), says("bug"), "ok", "ok", {"label": "bug"}),
        (None, schema(), "```json\n" + says("bug") + "\n```", "ok", "ok", {"label": "bug"}),
        (None, schema(), "no JSON", "ok", "invalid_output", None),
        (schema(), None, says("odd"), "invalid_output", "ok", None),
        (schema(), {"enum": ["bug"]}, says("bug"), "ok", "invalid_output", None),
        ({"type": "array"}, schema(), says("bug"), "invalid_output", "ok", {"label": "bug"}),
    ],
)
def test_an_answer_is_what_it_is_to_the_new_schema(
    tmp_path: Path, before: Any, now: Any, text: str, was: str, becomes: str, parsed: Any
) -> None:
    """As if it had come under that schema; nothing is asked, then or at the next submit."""
    with scripted(tmp_path, {0: [text]}, schema=before, retry={"reask": 0}) as (job, seen):
        job.submit_here()
        assert statuses(job) == [was]
        took = taken(job)
        job.edit(schema=now)
        found = here(job)
        assert statuses(job) == [becomes]
        row = job.results().to_dicts()[0]
        assert job.submit_here().submit["calls"] == 0
        assert len(seen) == 1
    assert (found.reread, found.ok, found.failed) == (1, becomes == "ok", becomes != "ok")
    assert (found.now_ok, found.now_failed) == (
        becomes == "ok" != was,
        was == "ok" != becomes,
    )
    assert taken(job) == took
    assert row["completion"] == text
    assert row["stale"] is False
    if parsed is None:
        assert row["parsed"] is None
    else:
        assert parsed.items() <= row["parsed"].items()


def test_only_answers_that_do_not_fit_are_asked_for_again_and_only_when_asked_to(tmp_path: Path) -> None:
    """They wait for a decision, as any answer that was paid for and will not do."""
    script = {0: [says("bug", score=3)], 1: [says("bug", score=8)], 2: [says("odd")]}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 1}) as (job, seen):
        job.submit_here()
        assert len(seen) == 4
        job.edit(schema=schema([*LABELS, "odd"], maximum=5))
        found = here(job)
        assert statuses(job) == ["ok", "invalid_output", "ok"]
        assert (found.now_ok, found.now_failed) == (1, 1)
        assert found.summary is not None
        assert (found.summary.ok, found.summary.failed, found.summary.exit_code) == (2, 1, 1)
        job.submit_here(retry_failed=frozenset({"invalid_output"}))
        assert [row_of(body["messages"][0]["content"]) for body in seen[4:]] == [1, 1]
        assert "less" in seen[5]["messages"][-1]["content"] or "greater" in seen[5]["messages"][-1]["content"]
        assert job.results()["attempts"].list.len().to_list() == [1, 3, 2]


def test_of_answers_that_were_asked_for_again_the_one_that_is_shown_counts_first(tmp_path: Path) -> None:
    """Then the latest of the others that fits; a row that was ok keeps its answer where it can."""
    script = {
        0: [says("urgent"), says("bug")],  # mended under the old schema, and still right
        1: [says("urgent"), says("other"), "nothing"],  # the first two fit the new one: the later counts
        2: [says("urgent"), "nothing", "none"],
        3: ["nothing", "none", "never"],
        4: [says("urgent"), says("billing")],  # what was mended is wrong now, what was wrong is right
    }
    with scripted(tmp_path, script, schema=schema()) as (job, _seen):
        job.submit_here()
        assert statuses(job) == ["ok", *["invalid_output"] * 3, "ok"]
        columns = ("usage", "cost_usd", "started_at", "finished_at")
        took = taken(job, columns)
        job.edit(schema=schema(["bug", "urgent", "other"]))
        here(job)
        rows = job.results().to_dicts()
        assert statuses(job) == ["ok", "ok", "ok", "invalid_output", "ok"]
        assert [row["completion"] for row in rows] == [
            says("bug"),
            says("other"),
            says("urgent"),
            "never",
            says("urgent"),
        ]
        assert [[a["error_type"] for a in row["attempts"]] for row in rows] == [
            ["invalid_output", None],
            ["invalid_output", None, "invalid_output"],
            [None, "invalid_output", "invalid_output"],
            ["invalid_output"] * 3,
            [None, "invalid_output"],
        ]
        assert taken(job, columns) == took


def test_a_second_reparse_finds_nothing_to_do(tmp_path: Path) -> None:
    """And writes no answer."""
    with scripted(tmp_path, {0: [says("bug")], 1: ["no"]}, retry={"reask": 0}) as (job, _seen):
        job.submit_here()
        job.edit(schema=schema())
        assert here(job).reread == 2
        parts, results = set(sealed_parts(job.checkpoint)), job.results()
        again = here(job)
        assert (again.reread, again.done, again.left) == (0, 2, {})
        assert set(sealed_parts(job.checkpoint)) == parts
        assert job.results().equals(results)


def test_taking_the_edit_back_costs_nothing(tmp_path: Path) -> None:
    """Each schema's readings are kept, whichever was read last."""
    with scripted(tmp_path, {0: [says("bug")], 1: [says("odd")]}, schema=schema(), retry={"reask": 0}) as (
        job,
        seen,
    ):
        job.submit_here()
        first, original = job.results(), job.job.read_text()
        job.edit(schema=schema(["odd"]))
        here(job)
        assert statuses(job) == ["invalid_output", "ok"]
        job.job.write_text(original)
        job.submit_here()
        assert job.results().equals(first)
        job.edit(schema=schema(["bug", "odd"]))
        assert here(job).ok == 2
        assert job.submit_here().ok == 2
        assert len(seen) == 2


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    """Also of a run that was killed before its journal was sealed."""
    script = {0: [says("bug")], 1: ["no"], 2: [says("odd")]}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}) as (job, _seen):
        job.submit_here(limit=1)
        job.submit_here()
        unseal(job, min(sealed_parts(job.checkpoint)))
        job.edit(schema=schema(["odd"]))
        before = everything(job.run)
        looked = here(job, act=preview)
        assert everything(job.run) == before
        done = here(job)
    assert looked.dry_run
    assert looked.summary is None
    told = {name: value for name, value in done.document().items() if name not in ("dry_run", "summary")}
    assert told.items() <= looked.document().items()
    assert (looked.now_ok, looked.now_failed, looked.failed) == (1, 1, 2)


def unseal(job: JobFolder, number: int) -> None:
    """Leave the rows of a part as a kill does before their journal is sealed: in the journal alone."""
    from batchrun.run_folder.checkpoint.sealed import PartReader, histories
    from batchrun.run_folder.journal.format_version import FORMAT_VERSION
    from batchrun.run_folder.journal.lines import encode
    from batchrun.run_folder.journal.records import Header

    reader = PartReader(job.checkpoint, ["_records"])
    lines = [line for history in histories(reader.take(number, [0])) for line in history.lines]
    journal = job.checkpoint / f"journal-{number:06d}.log"
    journal.write_bytes(b"".join([encode(Header(FORMAT_VERSION)), *lines]))
    sealed_parts(job.checkpoint)[number].unlink()


def everything(folder: Path) -> dict[str, bytes]:
    """Each file of a folder with what it holds; the lock says who held it last."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ({"prompt": {"messages": [{"role": "user", "content": "{{ text }}!"}]}}, "prompt.messages has"),
        ({"request": {"max_completion_tokens": 30}}, "request.max_completion_tokens has"),
        ({"model": "local/large", "request": {"seed": 1}}, "and model and request.seed have"),
    ],
)
def test_another_edit_beside_the_schema_is_refused_by_name(
    tmp_path: Path, edit: dict[str, Any], named: str
) -> None:
    """The answers are answers to another request then; nothing is written."""
    with scripted(tmp_path, {0: [says("bug")]}, schema=schema()) as (job, _seen):
        job.submit_here()
        job.edit(schema=schema(["bug"]), **edit)
        parts, results, submitted = (
            sealed_parts(job.checkpoint),
            job.results(),
            (job.run / "job.yaml").read_text(),
        )
        for act in (preview, reparse):
            with pytest.raises(ChangedRowsError, match=named) as refused:
                here(job, act=act)
            assert "Take that edit back" in (refused.value.hint or "")
        assert sealed_parts(job.checkpoint) == parts
        assert job.results().equals(results)
        assert (job.run / "job.yaml").read_text() == submitted


def test_an_edit_that_no_request_holds_does_not_matter(tmp_path: Path) -> None:
    """A var that nobody uses, limits, whether answers are streamed."""
    with scripted(tmp_path, {0: [says("bug")]}) as (job, seen):
        job.submit_here()
        document = json.loads(job.job.read_text())
        job.edit(
            schema=schema(),
            prompt={**document["prompt"], "vars": {"tone": "kind"}},
            request={**document["request"], "metadata": {"of": "mine"}},
            retry={"reask": 1},
        )
        assert here(job).ok == 1
        assert job.submit_here().submit["calls"] == 0
        assert len(seen) == 1


def test_rows_that_were_edited_or_never_answered_are_left_to_submit(tmp_path: Path) -> None:
    """They are told apart, and asked as ever."""
    script = {0: [says("bug")], 1: [says("bug")], 2: [says("bug")]}
    with scripted(tmp_path, script) as (job, seen):
        job.submit_here(limit=2)
        lines = job.rows.read_text().splitlines(keepends=True)
        job.rows.write_text("".join([lines[0], lines[1].replace("please", "kindly"), lines[2]]))
        job.edit(schema=schema())
        found = here(job)
        assert (found.reread, found.left) == (1, {"pending": 1, "changed": 1})
        assert job.submit_here(rerun_changed=True).ok == 3
        assert len(seen) == 4


def test_a_schema_file_may_speak_of_variables(tmp_path: Path) -> None:
    """In a file `${` is text: the run folder's copy of the job, which has the schema in it, reads so, too."""
    with scripted(tmp_path, {0: [says("new")]}, schema="s.json") as (job, seen):
        spelled = {"description": "an ${AMOUNT} or $${X}"}
        (tmp_path / "s.json").write_text(json.dumps(schema() | spelled))
        job.submit_here()
        before = len(seen)
        (tmp_path / "s.json").write_text(json.dumps(schema([*LABELS, "new"]) | spelled))
        assert here(job).reread == 1
        assert (statuses(job), len(seen)) == (["ok"], before)


def test_a_reparse_that_reads_nothing_leaves_the_copy_of_the_job(tmp_path: Path) -> None:
    """It says by which schema answers were read, and none was read by another."""
    with scripted(tmp_path, {0: [says("bug")]}, schema=schema()) as (job, _seen):
        job.submit_here()
        kept = (job.run / "job.yaml").read_bytes()
        write_rows(job.rows, 2)
        job.rows.write_text(job.rows.read_text().replace("please", "do"))
        job.edit(schema=schema([*LABELS, "new"]))
        assert here(job).reread == 0
        assert (job.run / "job.yaml").read_bytes() == kept


def test_a_failure_without_an_answer_is_left_to_submit(tmp_path: Path) -> None:
    """It did not fail by the schema; a refusal did not either, but it was an answer: it stays as it was."""
    faults = [
        {"match": "row 000001", "first": 1, "status": 500},
        {"match": "row 000002", "answer": "refusal"},
        {"match": "row 000003", "first": 1, "status": 400},
    ]
    retry = {"max_attempts": 1, "backoff": {"initial": 0.01, "max": 0.01}}
    with simulated(tmp_path, rows=4, config={"faults": faults}, retry=retry, request=LONG) as job:
        job.submit_here()
        assert statuses(job) == ["ok", "server", "refusal", "invalid_request"]
        job.edit(schema={"type": "string"})
        found = here(job)
        assert found.left == {"server": 1, "invalid_request": 1}
        assert found.errors == {"invalid_output": 1, "refusal": 1}
        assert len(job.calls()) == 4
        job.submit_here()
        assert {row_of(call.prompt) for call in job.calls()[4:]} == {1, 3}


TURNS = {
    "messages": [{"role": "user", "content": "{{ text }}"}],
    "turns": [{"content": "{{ text }} And now?"}],
}


def test_of_a_conversation_the_last_answer_is_read_and_the_transcript_stays(tmp_path: Path) -> None:
    """The schema holds for it alone: a row that ended in an earlier turn stays as it is."""
    faults = [{"match": "row 000001: please answer", "first": 1, "answer": "refusal"}]
    with simulated(tmp_path, rows=3, config={"faults": faults}, prompt=TURNS, request=LONG) as job:
        job.submit_here()
        assert statuses(job) == ["ok", "refusal", "ok"]
        before = job.results()
        job.edit(schema={"type": "object"}, fail_on=["invalid_output"])
        found = here(job)
        assert statuses(job) == ["invalid_output", "refusal", "invalid_output"]
        assert job.results()["messages"].equals(before["messages"])
        job.edit(schema=None)
        assert here(job).reread == 0, "they were answered without a schema, and those answers are there"
        assert job.results().equals(before)
        assert found.reread == 3
        assert len(job.calls()) == 5


def test_an_answer_of_an_earlier_turn_never_stands_for_the_last_one(tmp_path: Path) -> None:
    """Although it would fit."""
    script = {0: [says("odd"), "nothing"]}
    with scripted(tmp_path, script, prompt=TURNS, schema=schema(), retry={"reask": 0}) as (job, seen):
        job.submit_here()
        job.edit(schema=schema(["odd"]))
        found = here(job)
        assert (found.ok, statuses(job), len(seen)) == (0, ["invalid_output"], 2)
        assert job.submit_here(retry_failed=frozenset({"invalid_output"})).failed == 1
        assert len(seen) == 3, "the first turn is not asked again"


TOOLS = '''
def look_up(name: str) -> str:
    """Looks a name up."""
    return "found"
'''


def test_an_answer_that_still_calls_functions_stays_a_failure(tmp_path: Path) -> None:
    """There is no text in it to read; the one that answered after its calls is read."""

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        if row_of(body["messages"][0]["content"]) == 1 and body["messages"][-1]["role"] == "tool":
            return 200, completion(says("odd"))
        call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"name": "x"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return 200, completion(choices=[choice])

    job = JobFolder(tmp_path)
    write_rows(job.rows, 2)
    (tmp_path / "tools.py").write_text(TOOLS)
    tools = {"module": "tools.py", "functions": ["look_up"], "max_turns": 1}
    with answering(act) as (base_url, seen):
        job.write(base_url, run_tools=tools, schema=schema(), retry={"reask": 0})
        job.submit_here()
        assert statuses(job) == ["invalid_output", "invalid_output"]
        before, calls = job.results(), len(seen)
        job.edit(schema=schema(["odd"]))
        assert here(job).now_ok == 1
        assert statuses(job) == ["invalid_output", "ok"]
        assert job.results()["messages"].equals(before["messages"])
        assert len(seen) == calls


def test_rows_that_share_an_answer_share_its_reading(tmp_path: Path) -> None:
    """It is read once, also where the row that was asked is gone, and counts for each."""
    with scripted(tmp_path, {0: [says("odd")], 1: [says("bug")]}, schema=schema(), dedupe=True) as (
        job,
        seen,
    ):
        lines = [json.loads(line) for line in job.rows.read_text().splitlines()]
        copies = [{**lines[0], "id": f"copy{n}"} for n in range(3)]
        job.rows.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *copies]))
        job.submit_here()
        asked = len(seen)
        job.rows.write_text("".join(json.dumps(line) + "\n" for line in [lines[1], *copies]))
        job.edit(schema=schema(["odd"]))
        found = here(job)
        results = job.results()
        assert (found.reread, found.now_ok, found.now_failed) == (4, 3, 1)
        assert statuses(job) == ["invalid_output", "ok", "ok", "ok"]
        assert job.submit_here().submit["calls"] == 0
        assert job.results().equals(results)
        assert len(seen) == asked


def test_a_fallbacks_answer_stays_the_fallbacks(tmp_path: Path) -> None:
    """Whoever gave the answer that counts now is named."""

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        return 200, completion(says("bug" if body["model"] == "large" else "odd"))

    job = JobFolder(tmp_path)
    write_rows(job.rows, 1)
    with answering(act) as (base_url, seen):
        chain = {"fallbacks": ["local/large"], "fallback_on": ["invalid_output"], "retry": {"reask": 0}}
        job.write(base_url, schema=schema(), **chain)
        job.submit_here()
        for labels, model, index in ((["bug", "new"], "large", 1), (["odd"], "small", 0)):
            job.edit(schema=schema(labels))
            here(job)
            (row,) = job.results().to_dicts()
            assert (row["model"], row["model_index"], row["status"]) == (f"local/{model}", index, "ok")
        assert len(seen) == 2


def test_a_failure_by_a_second_call_becomes_ok_where_the_first_answer_fits(tmp_path: Path) -> None:
    """Else it stays one whose cause may have passed."""
    asks = {0: [says("odd")], 1: ["nothing"]}

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        if len(body["messages"]) > 1:
            return 500, b"{}"
        return 200, completion(asks[row_of(body["messages"][0]["content"])][0])

    job = JobFolder(tmp_path)
    write_rows(job.rows, 2)
    with answering(act) as (base_url, seen):
        job.write(base_url, schema=schema(), retry={"max_attempts": 1})
        job.submit_here()
        assert statuses(job) == ["server", "server"]
        calls = len(seen)
        job.edit(schema=schema(["odd"]))
        found = here(job)
        assert (found.now_ok, found.left) == (1, {"server": 1})
        assert job.results().select("row_id", "status").rows() == [("r000000", "ok")]
        assert len(seen) == calls


def test_what_makes_an_answer_fail_is_no_schema(tmp_path: Path) -> None:
    """An edit of `fail_on` alone leaves every row as it is."""

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        return (200, completion("odd")) if len(body["messages"]) == 1 else (500, b"{}")

    job = JobFolder(tmp_path)
    write_rows(job.rows, 1)
    with answering(act) as (base_url, _seen):
        job.write(base_url, schema=schema(), retry={"max_attempts": 1})
        job.submit_here()
        job.edit(fail_on=["refusal"])
        found = here(job)
    assert (found.reread, found.left, statuses(job)) == (0, {"server": 1}, ["server"])


def test_rows_without_ids_are_known_by_their_requests(tmp_path: Path) -> None:
    """Equal ones too: each has an answer of its own, read by itself."""
    with scripted(tmp_path, {0: [says("bug"), says("odd"), says("bug")]}) as (job, seen):
        job.rows.write_text(job.rows.read_text() * 3)
        job.edit(input={"path": "rows.jsonl"})
        job.submit_here()
        before = sorted(job.results()["completion"])
        job.edit(schema=schema())
        found = here(job)
        assert (found.reread, found.ok, found.failed) == (3, 2, 1)
        assert sorted(job.results()["completion"]) == before
        assert job.submit_here().submit["calls"] == 0
        assert len(seen) == 3


def test_a_job_may_go_from_response_format_to_a_schema(tmp_path: Path) -> None:
    """Both say in which form an answer is wanted, and a job cannot have both."""
    given = {"max_completion_tokens": 20, "response_format": {"type": "json_object"}}
    with scripted(tmp_path, {0: [says("bug")]}, request=given) as (job, seen):
        job.submit_here()
        job.edit(schema=schema(), request={"max_completion_tokens": 20})
        assert here(job).ok == 1
        job.edit(schema=schema(["bug"]), request={"max_completion_tokens": 20, "response_format": None})
        assert here(job).ok == 1
        assert len(seen) == 1


def test_answers_that_were_kept_stale_are_no_longer(tmp_path: Path) -> None:
    """Where they were given to the same request but for the schema."""
    with scripted(tmp_path, {0: [says("bug")], 1: [says("bug")]}, schema=schema()) as (job, seen):
        original = job.job.read_text()
        job.submit_here()
        job.edit(schema=schema(["bug"]))
        job.submit_here(keep_changed=True)
        assert job.results()["stale"].to_list() == [True, True]
        assert here(job).left == {"stale": 2}, "the folder holds the new schema's job by now"
        job.job.write_text(original)
        job.submit_here()
        job.edit(schema=schema(["bug"]))
        assert here(job).summary.stale == 0  # type: ignore[union-attr]  # it was no dry run
        assert job.results()["stale"].to_list() == [False, False]
        assert len(seen) == 2


def test_what_was_sent_for_another_schema_is_not_shown_as_sent_for_this_one(tmp_path: Path) -> None:
    """`raw_request` is empty, `raw_response` is what came."""
    with scripted(tmp_path, {0: [says("bug")]}, schema=schema(), output={"raw": True}) as (job, _seen):
        job.submit_here()
        before = job.results().to_dicts()[0]
        job.edit(schema=schema(["bug"]))
        here(job)
        row = job.results().to_dicts()[0]
    assert before["raw_request"] is not None
    assert (row["raw_request"], row["raw_response"]) == (None, before["raw_response"])


def test_nothing_is_spent_and_nothing_counts_twice(tmp_path: Path) -> None:
    """Neither against the budget nor in the run's sums, also when gc has dropped the older readings."""
    from batchrun.gc import collect

    prices = {"local/small": {"input": 1, "output": 2}}
    with scripted(tmp_path, {0: [says("odd")], 1: [says("bug")]}, schema=schema(), prices=prices) as (
        job,
        _seen,
    ):
        before = job.submit_here()
        job.edit(schema=schema(["odd"]))
        after = here(job).summary
        assert after is not None
        same = ("usage", "cost_usd", "spent", "possibly_paid")
        assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
        collect(load_job(job.job, env={}, cwd=job.folder))
        last = job.submit_here()
        assert [getattr(last, name) for name in same] == [getattr(before, name) for name in same]


def test_answers_that_lie_scattered_are_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `order: prefix` leaves them: they are sorted into files first, which are gone afterwards."""
    rows = 40
    script = {row: [says("odd", score=row)] for row in range(rows)}
    never = {"failed": "100%", "after": 1_000}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}, stop_when=never) as (job, _seen):
        job.submit_here(seal_rows=7)
        assert len(sealed_parts(job.checkpoint)) > 1
        job.edit(schema=schema(["odd"]))
        monkeypatch.setattr(
            stored_records, "is_scattered", lambda _parts: True
        )  # takes ten thousands of rows
        assert here(job).now_ok == rows
    assert job.results()["parsed"].struct.field("score").to_list() == list(range(rows))
    assert not list(job.checkpoint.glob("*.tmp"))


class CutShortError(Exception):
    """The moment at which a test kills."""


@pytest.mark.parametrize("steps", range(12))
def test_cut_short_anywhere_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Whatever file is the last to be written: no row is lost or mixed up, and readers see each once."""
    script = {row: [says("odd" if row % 3 else "bug")] for row in range(6)}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}) as (job, seen):
        job.submit_here()
        job.edit(schema=schema(["odd"]))
        left, real = iter(range(steps)), os.replace

        def counting(*places: Any) -> None:
            if next(left, None) is None:
                raise CutShortError
            real(*places)

        monkeypatch.setattr(
            os, "replace", counting
        )  # the moment between two files cannot be met from outside
        monkeypatch.setattr(sys.modules["batchrun.reparsing.reparse"], "SEAL_ROWS", 2)
        cut = False
        try:
            here(job)
        except CutShortError:
            cut = True
        assert cut == (steps < 11), "it takes other steps than this"
        monkeypatch.setattr(os, "replace", real)
        shown = scan_run(RunFolder(job.run)).sort("row_index").collect()
        assert shown["row_index"].to_list() == list(range(6))
        here(job)
        assert statuses(job) == ["invalid_output", "ok", "ok"] * 2
        assert job.submit_here().submit["calls"] == 0
        assert len(seen) == 6


@pytest.mark.long
def test_killed_at_any_time_it_goes_on(tmp_path: Path) -> None:
    """The results are then those of one that was not, and no call was made."""
    rows = 800
    with simulated(tmp_path, rows=rows, schema=schema(minimum=0, maximum=9), request=LONG) as job:
        job.submit_here(seal_rows=200)
        calls = len(job.calls())
        job.edit(schema=schema(minimum=0, maximum=6))
        original = job.run.rename(tmp_path / "original")
        shutil.copytree(original, job.run, symlinks=True)
        began = time.monotonic()
        assert batchrun("reparse", str(job.job)).code == 1
        seconds = time.monotonic() - began
        expected = job.results()
        assert set(expected["status"]) == {"ok", "failed"}
        for share in (0.6, 0.75, 0.9):
            shutil.rmtree(job.run)
            shutil.copytree(original, job.run, symlinks=True)
            with subprocess.Popen(
                [sys.executable, "-m", "batchrun", "reparse", str(job.job), "--json"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                time.sleep(share * seconds)
                process.kill()
            assert len(scan_run(RunFolder(job.run)).collect()) == rows
            again = batchrun("reparse", str(job.job), "--json")
            assert (again.code, json.loads(again.out)["left"]) == (1, {})
            assert job.results().equals(expected)
        assert len(job.calls()) == calls


def test_a_run_that_was_killed_goes_on_under_the_new_schema(tmp_path: Path) -> None:
    """What was answered is read, what was not is asked: nothing twice but what was in flight at the kill."""
    config = {"latency": {"kind": "constant", "seconds": 0.05}}
    limits = {"limits": {"concurrency": 4}}
    with simulated(
        tmp_path, rows=30, config=config, schema=schema(), request=LONG, endpoints={"local": limits}
    ) as job:
        with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not job.ledger.exists() or len(job.calls()) < 16:
                time.sleep(0.01)
            process.kill()
        job.edit(schema=schema([*LABELS, "new"]))
        found = here(job)
        assert found.reread >= 8
        assert found.reread + found.left["pending"] == 30
        assert job.submit_here().ok == 30
        assert len(job.calls()) <= 30 + 2 * 4


def test_a_disk_that_refuses_a_part_ends_it_as_a_stop(tmp_path: Path) -> None:
    """With a file that is too large, as where a disk is full: every answer is kept, and it goes on."""
    script = {row: [says("bug", score=row) + " " * 2_000] for row in range(60)}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}) as (job, seen):
        job.submit_here()
        before = job.results()
        job.edit(schema=schema(["bug"]))
        with files_of_at_most(8_192):
            stopped = batchrun("reparse", job.job)
        assert stopped.code == 3
        assert "then reparse again: it goes on" in stopped.err
        assert job.results().equals(before)
        assert here(job).ok == 60
        assert len(seen) == 60


@pytest.mark.parametrize("name", FOLDERS)
def test_answers_of_older_versions_are_read(tmp_path: Path, name: str) -> None:
    """Their formats are brought up to date on the way; a dry run says the same before."""
    with simulated(tmp_path, rows=30, input=FOLDERS[name]) as job:
        held = unpack(name, job)
        (job.run / "job.yaml").write_text(job.job.read_text())  # the folders are without
        job.edit(schema={"type": "array"})
        looked, found = here(job, act=preview), here(job)
        assert found.reread == looked.reread
        assert 10 <= found.reread <= len(held)
        assert set(found.errors) <= {"invalid_output", "truncated", "refusal"}
        assert job.calls() == []


def test_a_copy_of_the_job_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone says by which schema the answers were read."""
    monkeypatch.setenv("WHO", "me")
    with scripted(tmp_path, {0: [says("bug")]}, request={"user": "${WHO}"}) as (job, _seen):
        job.submit_here()
        monkeypatch.delenv("WHO")
        job.edit(schema=schema(), request={"user": "me"})
        with pytest.raises(JobError, match=r"WHO") as refused:
            here(job)
        assert "the run folder's copy of the job" in (refused.value.hint or "")
        monkeypatch.setenv("WHO", "me")
        assert here(job).ok == 1
        (job.run / "job.yaml").unlink()
        with pytest.raises(JobError, match=r"job\.yaml"):
            here(job)


def test_no_reparse_beside_a_submit(tmp_path: Path) -> None:
    """Nor a dry run, whose numbers would change under its hands."""
    with scripted(tmp_path, {0: [says("bug")]}) as (job, _seen):
        job.submit_here()
        with locked(RunFolder(job.run).lock):
            for act in (preview, reparse):
                with pytest.raises(RunLockedError):
                    here(job, act=act)


def test_submit_and_plan_name_reparse_where_the_schema_alone_has_changed(tmp_path: Path) -> None:
    """And not where it cannot help."""
    with scripted(tmp_path, {0: [says("bug")]}, schema=schema()) as (job, _seen):
        job.submit_here()
        for edit, named in (({"schema": schema(["bug"])}, True), ({"request": {"seed": 2}}, False)):
            job.edit(**edit)
            with pytest.raises(ChangedRowsError) as stopped:
                job.submit_here()
            assert ("`batchrun reparse`" in (stopped.value.hint or "")) is named
            assert ("`batchrun reparse`" in batchrun("plan", str(job.job)).out) is named


def test_what_stopped_the_last_submit_still_holds_afterwards(tmp_path: Path) -> None:
    """The rows that it left wait for the same remedy: a plain submit would stop at the same cap."""
    script = {row: [says("bug")] for row in range(5)}
    with scripted(tmp_path, script, schema=schema(), budget={"requests": 3}) as (job, _seen):
        stopped = job.submit_here().stopped_by
        assert stopped is not None
        job.edit(schema=schema([*LABELS, "new"]))
        found = here(job)
        assert found.summary is not None
        assert (found.summary.state, found.summary.stopped_by) == ("stopped", stopped)
        assert (found.summary.pending, found.summary.exit_code) == (2, 0)
        assert status(RunFolder(job.run)).stopped_by == asdict(stopped)
        job.edit(budget={"requests": 5})
        assert job.submit_here().stopped_by is None


def test_after_a_kill_the_run_stays_one_that_was_interrupted(tmp_path: Path) -> None:
    """Nobody asked for a part of the rows alone, and no submit has come to its end."""
    config = {"latency": {"kind": "constant", "seconds": 0.05}}
    with simulated(tmp_path, rows=30, config=config, schema=schema(), request=LONG) as job:
        with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not job.ledger.exists() or not job.calls():
                time.sleep(0.01)
            process.kill()
        job.edit(schema=schema([*LABELS, "new"]))
        found = here(job)
        assert found.summary is not None
        assert (found.summary.state, found.summary.submit) == ("interrupted", {})
        assert status(RunFolder(job.run)).state == "interrupted"


def test_rows_that_failed_by_the_schema_are_not_paid_for_again_unasked(tmp_path: Path) -> None:
    """Also where no row was ok: they are what a schema is edited for, and reading them costs nothing."""
    script = {row: [says("odd")] for row in range(3)}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}) as (job, seen):
        job.submit_here()
        job.edit(schema=schema([*LABELS, "odd"]))
        with pytest.raises(ChangedRowsError, match="3 finished rows would be paid for again") as stopped:
            job.submit_here()
        assert "`batchrun reparse`" in (stopped.value.hint or "")
        assert "--keep-changed" not in (stopped.value.hint or ""), "there is nothing to keep"
        planned = batchrun("plan", str(job.job))
        assert planned.code == 6
        assert "`batchrun reparse`" in planned.out
        here(job)
        assert job.submit_here().ok == 3
        assert len(seen) == 3


@pytest.mark.parametrize(
    ("options", "sections"),
    [
        ({"rerun_changed": True}, {}),
        ({"retry_failed": frozenset({"invalid_output"})}, {}),
        ({}, {"request": {"seed": 2}}),
    ],
)
def test_rows_that_failed_by_the_schema_are_asked_anew_when_the_user_says_so(
    tmp_path: Path, options: dict[str, Any], sections: dict[str, Any]
) -> None:
    """Or when more than the schema was edited: their answers are to another request then."""
    script = {row: [says("odd")] for row in range(3)}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}) as (job, seen):
        job.submit_here()
        job.edit(schema=schema([*LABELS, "odd"]), **sections)
        assert job.submit_here(**options).ok == 3
        assert len(seen) == 6


def test_cut_short_after_the_last_answer_the_copy_of_the_job_follows(tmp_path: Path) -> None:
    """Also where a row has nothing to read: another edit starts from the schema that answers were read by."""

    def act(body: dict[str, Any]) -> tuple[int, bytes]:
        return (200, completion("bug")) if row_of(body["messages"][0]["content"]) == 0 else (500, b"{}")

    job = JobFolder(tmp_path)
    write_rows(job.rows, 2)
    with answering(act) as (base_url, _seen):
        job.write(base_url, schema=schema(), retry={"max_attempts": 1})
        job.submit_here()
        before = (job.run / "job.yaml").read_bytes()
        job.edit(schema=schema([*LABELS, "new"]))
        assert here(job).left == {"server": 1}
        after = (job.run / "job.yaml").read_bytes()
        (job.run / "job.yaml").write_bytes(before)  # it is written after the last answer
        assert here(job).reread == 0
        assert (job.run / "job.yaml").read_bytes() == after


def test_cut_short_at_its_end_it_goes_on_whatever_else_was_edited(tmp_path: Path) -> None:
    """What stands in no request is no reason to refuse, also where every answer has been read already."""
    with scripted(tmp_path, {0: [says("bug")], 1: [says("bug")]}, schema=schema()) as (job, _seen):
        job.submit_here()
        before = (job.run / "job.yaml").read_bytes()
        prompt = json.loads(job.job.read_text())["prompt"]
        job.edit(schema=schema([*LABELS, "new"]), prompt={**prompt, "vars": {"unused": 1}})
        here(job)
        (job.run / "job.yaml").write_bytes(before)  # it is written after the last answer
        assert (here(job).reread, here(job).done) == (0, 2)
        assert statuses(job) == ["ok", "ok"]
