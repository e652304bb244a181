"""`export --format openai-batch` and `chat`: requests and conversations, rendered from a job."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from batchrun.export import requests
from batchrun.export.left_out import EXAMPLES, LeftOut
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.commands import Ended, batchrun
from tests.run_folder.answering import Work
from tests.run_folder.recorded import answered, body, done, reply, sent
from tests.runs import JobFolder, simulated
from tests.submits.test_conversations import TURNS, with_functions
from tests.submits.test_media import IMAGE, PHOTO, prompt

BODIES = {"bodies": True}
"""The simulator's ledger keeps whole requests."""


def exported(job: JobFolder, form: str, *words: str, of: Path | None = None) -> Ended:
    ended = batchrun("export", of or job.job, "--format", form, *words, cwd=job.folder)
    assert ended.code == 0, ended.err
    return ended


def sent_bodies(job: JobFolder) -> list[Any]:
    return [call.body for call in job.calls()]


def by_text(bodies: list[Any]) -> list[Any]:
    return sorted(bodies, key=lambda document: json.dumps(document["messages"]))


def test_requests_go_round(tmp_path: Path) -> None:
    """Before any call: what is exported is what a submit sends, and so is what a job sends that reads it."""
    with simulated(tmp_path, rows=3, config=BODIES, request={"temperature": 0.5, "stop": ["x"]}) as job:
        lines = exported(job, "openai-batch").lines
        assert not (tmp_path / "runs").exists()
        exported(job, "openai-batch", "--out", str(tmp_path / "batch.jsonl"))
        assert job.submit_here().ok == 3
        first = by_text(sent_bodies(job))
        document = json.loads(job.job.read_text())
        document = {key: document[key] for key in ("endpoints", "model")}
        again = {"name": "again", "input": {"path": "batch.jsonl", "format": "openai-batch"}}
        (tmp_path / "again.yaml").write_text(json.dumps({**document, **again}))
        assert batchrun("submit", "again.yaml", cwd=tmp_path).code == 0
        second = by_text(sent_bodies(job)[3:])
    assert [line.pop("body") for line in lines] == first == second
    assert lines == [
        {"custom_id": f"r00000{n}", "method": "POST", "url": "/v1/chat/completions"} for n in range(3)
    ]


def test_rows_without_a_request_are_told(tmp_path: Path) -> None:
    """With the line they stand on, and left out; the rest is written."""
    with simulated(tmp_path, rows=2) as job:
        with job.rows.open("a") as file:
            file.write('{"id": "broken"\n{"id": "no-text"}\n')
        ended = exported(job, "openai-batch")
        assert [line["custom_id"] for line in ended.lines] == ["r000000", "r000001"]
        assert "2 rows left out: no request can be made\n  rows.jsonl:3: " in ended.err
        assert "\n  rows.jsonl:4: prompt.messages[0].content: `text` is undefined" in ended.err
        said = exported(job, "openai-batch", "--out", "x.jsonl", "--json").json
    assert (said["rows"], [reason["rows"] for reason in said["left_out"]]) == (2, [2])


def test_what_is_not_for_a_batch_is_left_out_of_its_bodies(tmp_path: Path) -> None:
    """Nothing is streamed to anybody."""
    request = {"stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 9}
    with simulated(tmp_path, rows=1, request=request) as job:
        (line,) = exported(job, "openai-batch").lines
    assert line["body"].keys() == {"model", "messages", "max_completion_tokens"}


def test_requests_of_some_rows_of_the_results(tmp_path: Path) -> None:
    """--where is about the results, as everywhere: the failed ones, say. Without a run there are none."""
    faults = {"faults": [{"match": "row 000001:", "status": 400}]}
    with simulated(tmp_path, rows=3, config=faults) as job:
        where = ("--where", "status = 'failed'")
        refused = batchrun("export", job.job, "--format", "openai-batch", *where, cwd=tmp_path)
        assert (refused.code, "input.where" in refused.err) == (2, True)
        assert job.submit_here().failed == 1
        (line,) = exported(job, "openai-batch", *where).lines
    assert line["custom_id"] == "r000001"
    assert line["body"]["messages"][0]["content"] == "row 000001: please answer"


@pytest.mark.parametrize("key", ["prompt.turns", "run_tools"])
def test_requests_that_need_answers_are_refused(tmp_path: Path, key: str) -> None:
    """A batch would hold the first of them alone."""
    with simulated(tmp_path, rows=1) as job:
        job.edit(prompt=TURNS) if key == "prompt.turns" else with_functions(job, "look_up")
        ended = batchrun("export", job.job, "--format", "openai-batch", cwd=tmp_path)
    assert (ended.code, f"{key}: a batch holds single requests" in ended.err) == (2, True), ended.err
    assert "--format chat" in ended.err


@pytest.mark.parametrize("form", ["openai-batch", "chat"])
def test_columns_are_refused(tmp_path: Path, form: str) -> None:
    """A line is a whole."""
    with simulated(tmp_path, rows=1) as job:
        ended = batchrun("export", job.job, "--format", form, "--columns", "id", cwd=tmp_path)
    assert (ended.code, "--where chooses rows" in ended.err) == (2, True), ended.err


@pytest.mark.parametrize("form", ["openai-batch", "chat"])
def test_a_run_folder_does_as_well(tmp_path: Path, form: str) -> None:
    """By its copy of the job, although the job file is another by now, and elsewhere the run."""
    with simulated(tmp_path, rows=2, prompt={"messages": [{"role": "user", "content": "{{ text }}"}]}) as job:
        assert job.submit_here().ok == 2
        by_job = exported(job, form).out
        job.edit(prompt={"messages": [{"role": "user", "content": "Another: {{ text }}"}]})
        moved = job.run.rename(tmp_path / "moved")
        assert exported(job, form, of=moved).out == by_job != ""
        (moved / "job.yaml").unlink()
        ended = batchrun("export", moved, "--format", form, cwd=tmp_path)
    assert (ended.code, "Name the job file" in ended.err) == (2, True), ended.err


def test_a_run_folder_whose_job_needs_what_is_gone(tmp_path: Path) -> None:
    """The input, or a variable: each is named with what to do."""
    with simulated(tmp_path, rows=1) as job:
        assert job.submit_here().ok == 1
        kept = job.run / "job.yaml"
        kept.write_text(kept.read_text().replace("local/small", "local/${NOT_SET}"))
        ended = batchrun("export", job.run, "--format", "chat", cwd=tmp_path)
        assert (ended.code, "NOT_SET" in ended.err, "run folder's copy" in ended.err) == (2, True, True)
        kept.write_text(kept.read_text().replace("${NOT_SET}", "small"))
        job.rows.unlink()
        ended = batchrun("export", job.run, "--format", "chat", cwd=tmp_path)
    assert (ended.code, "no file to read there" in ended.err) == (2, True), ended.err


def test_media_are_read_in(tmp_path: Path) -> None:
    """As they are sent, so that the file is whole by itself; one that has changed is told."""
    url = f"data:image/png;base64,{b64encode(PHOTO.read_bytes()).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    source = {"path": "rows.jsonl", "id": "id", "media_root": "media"}
    with simulated(tmp_path, rows=0, prompt=prompt(*IMAGE), input=source) as job:
        (tmp_path / "media").mkdir()
        (tmp_path / "media" / "a.png").write_bytes(PHOTO.read_bytes())
        job.rows.write_text('{"id": "a", "photo": "a.png"}\n')
        (line,) = exported(job, "openai-batch").lines
        assert line["body"]["messages"] == [{"role": "user", "content": parts}]
        assert job.submit_here().ok == 1
        (line,) = exported(job, "chat").lines
        assert line["messages"][0] == {"role": "user", "content": parts}
        (tmp_path / "media" / "a.png").write_bytes(PHOTO.read_bytes() + b"\0")
        ended = exported(job, "chat")
    assert (ended.out, "1 row left out: the request is another one" in ended.err) == ("", True)


def test_chats_are_prompt_and_answer(tmp_path: Path) -> None:
    """Of the ok rows, those that --where chooses; with the tools that were offered."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    request = {"tools": [tool], "parallel_tool_calls": False, "tool_choice": "{{ choice }}"}
    faults = [{"match": "row 000003:", "status": 400}]
    with simulated(tmp_path, rows=0, config={**BODIES, "faults": faults}, request=request) as job:
        rows = [
            {"id": f"r{n}", "text": f"row 00000{n}: please", "choice": choice}
            for n, choice in enumerate(("none", "required", "none", "none"))
        ]
        job.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert job.submit_here().failed == 1
        ended = exported(job, "chat")
        lines = ended.lines
        results = job.results().to_dicts()
        chosen = exported(job, "chat", "--where", "row_id = 'r2'").lines
    assert (len(lines), ended.err) == (3, "")
    assert chosen == [lines[2]]
    assert lines[0] == {
        "messages": [
            {"role": "user", "content": "row 000000: please"},
            {"role": "assistant", "content": results[0]["completion"]},
        ],
        "tools": [tool],
        "parallel_tool_calls": False,
    }
    (call,) = results[1]["tool_calls"]
    function = {"name": "f", "arguments": call["arguments"]}
    spelled = {"id": call["id"], "type": "function", "function": function}
    assert lines[1]["messages"][1]["tool_calls"] == [spelled]


def test_chats_hold_all_turns(tmp_path: Path) -> None:
    """What was sent last, and the last answer; parts of a turn as they are."""
    parts = [{"type": "text", "text": "{{ id }} turn three, after {{ answers | length }}"}]
    turns = {**TURNS, "turns": [TURNS["turns"][0], {"content": parts}]}
    with simulated(tmp_path, rows=2, config=BODIES, prompt=turns) as job:
        assert job.submit_here().ok == 2
        lines = exported(job, "chat").lines
        last = [body for body in by_text(sent_bodies(job)) if len(body["messages"]) == 5]
        completions = job.results()["completion"].to_list()
    assert [line["messages"][:5] for line in lines] == [body["messages"] for body in last]
    assert [line["messages"][5:] for line in lines] == [
        [{"role": "assistant", "content": text}] for text in completions
    ]


@pytest.mark.parametrize("legacy", [False, True])
def test_chats_hold_what_functions_were_asked_and_gave(tmp_path: Path, legacy: bool) -> None:
    """Calls, results and the tools themselves, as they were sent; tools in either form."""
    with simulated(tmp_path, rows=1, config=BODIES) as job:
        if legacy:
            job.edit(request={"functions": [{"name": "f"}], "function_call": {"name": "f"}})
        else:
            with_functions(job, "look_up")
        assert job.submit_here().ok == 1
        (line,) = exported(job, "chat").lines
        last = sent_bodies(job)[-1]
        (row,) = job.results().to_dicts()
    kept = [{key: value for key, value in one.items() if value is not None} for one in last["messages"]]
    assert line["messages"][: len(kept)] == kept
    answer = {"role": "assistant", "content": row["completion"]}
    if legacy:
        (call,) = row["tool_calls"]
        answer = {"role": "assistant", "function_call": {"name": "f", "arguments": call["arguments"]}}
    assert line["messages"][len(kept) :] == [answer]
    name = "functions" if legacy else "tools"
    assert {key: value for key, value in line.items() if key != "messages"} == {name: last[name]}


def test_chats_of_changed_rows_are_told(tmp_path: Path) -> None:
    """An answer never stands below another prompt than its own; a row that is gone has none."""
    with simulated(tmp_path, rows=4) as job:
        assert job.submit_here().ok == 4
        lines = job.rows.read_text().splitlines()
        job.rows.write_text("\n".join([lines[0].replace("please", "do"), lines[1]]) + "\n")
        ended = exported(job, "chat")
    assert [line["messages"][0]["content"] for line in ended.lines] == ["row 000001: please answer"]
    assert "3 rows left out" in ended.err
    assert "\n  r000000\n  r000002\n  r000003\n" in ended.err


def test_a_terminal_breaks_no_line_of_what_is_told(tmp_path: Path) -> None:
    """80 columns wide, and nothing in a row's name that it would obey."""
    with simulated(tmp_path, rows=0) as job:
        set_row = '{"id": "a\\u001b[2J\\nb", "text": "%s"}\n'
        job.rows.write_text(set_row % "please")
        assert job.submit_here().ok == 1
        job.rows.write_text(set_row % "do")
        code, written = here_on_a_terminal(["export", job.job, "--format", "chat"], tmp_path)
    seen = lines_seen(written)
    assert (code, "  a␛[2J␊b" in seen) == (0, True), seen
    assert max(map(len, seen)) < 80


def test_chats_need_a_run(tmp_path: Path) -> None:
    """And say how there is one."""
    with simulated(tmp_path, rows=1) as job:
        ended = batchrun("export", job.job, "--format", "chat", cwd=tmp_path)
        gone = batchrun("export", "gone.yaml", "--format", "chat", cwd=tmp_path)
    assert (ended.code, "batchrun submit" in ended.err) == (2, True), ended.err
    assert (gone.code, "Name a job file (.yaml) or a run folder" in gone.err) == (2, True), gone.err


def test_an_answer_that_says_nothing_is_no_example(tmp_path: Path) -> None:
    """As one whose every token was reasoning. Rows that are not published yet are there, too."""
    work = Work(tmp_path).write([{"text": "a"}, {"text": "b"}])
    for row, text in enumerate(("", "said")):

        def records(task: int, text: str = text) -> list[Any]:
            return [sent(task), answered(task, exchange=reply(body(text))), done(task)]

        work.answer([row], records)
    job = work.job
    ended = batchrun("export", job.path, "--name", "job", "--format", "chat", cwd=tmp_path)
    assert [line["messages"][-1]["content"] for line in ended.lines] == ["said"]
    assert "1 row left out: the answer holds no text, refusal or tool call\n  0\n" in ended.err


def test_a_file_that_is_too_large_for_a_batch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written all the same: other programs take it."""
    monkeypatch.setattr(requests, "MAX_REQUESTS", 2)
    with simulated(tmp_path, rows=3) as job:
        ended = exported(job, "openai-batch")
    assert len(ended.lines) == 3
    assert "3 requests" in ended.err
    assert "Split it" in ended.err


def test_many_rows_are_counted_and_few_are_named() -> None:
    """A million of them make no million lines."""
    left_out = LeftOut()
    for number in range(EXAMPLES + 1_000):
        left_out.add("gone", f"r{number}")
    lines = list(left_out.lines())
    assert (lines[0], lines[-1]) == ("1,005 rows left out: gone", "  and 1,000 more")
    assert len(lines) == EXAMPLES + 2
