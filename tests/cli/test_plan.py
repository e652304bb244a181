"""`plan` as people see it: figures, rows, limits, then three requests at a height that can be compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.cli.examples import without_middle
from tests.cli.conftest import NewJob
from tests.cli.pseudo_terminal import here_on_a_terminal, lines_seen
from tests.commands import batchrun
from tests.planning.planning import job_of
from tests.runs import JobFolder, simulated

RULES = "Sort the ticket by what is to be done about it, and by nothing else that it says. " * 2


def prompted(content: str) -> dict[str, object]:
    return {"messages": [{"role": "system", "content": RULES}, {"role": "user", "content": content}]}


def said(job: JobFolder, *options: str) -> str:
    return batchrun("plan", "job.yaml", *options, cwd=job.folder).out


def blocks(text: str) -> list[list[str]]:
    """The lines below each heading of a request."""
    found = re.split(r"^Request for row ", text, flags=re.MULTILINE)[1:]
    return [[line.strip() for line in block.splitlines()] for block in found]


def test_three_requests_are_shown_as_conversations(tmp_path: Path) -> None:
    """With what makes each an example; what a request has in common with the one above is not said again."""
    rows = [{"id": f"r{at}", "text": "broken " * (3 + 20 * (at == 4))} for at in range(9)]
    shown = blocks(said(job_of(tmp_path, rows, prompt=prompted("{{ text }}"))))
    assert [block[0] for block in shown] == [
        "r0 (rows.jsonl:1): first",
        "r4 (rows.jsonl:5): longest, about 82 tokens",
        "r3 (rows.jsonl:4)",
    ]
    assert shown[0][1].startswith("system      Sort the ticket")
    assert shown[0][2:4] == [
        "user        broken broken broken",
        "with        model small, max_completion_tokens 20",
    ]
    assert [block[1] for block in shown[1:]] == ["system      (as above)"] * 2


def test_a_long_text_loses_its_middle(tmp_path: Path) -> None:
    """Its beginning and its end are shown with how much lies between them; `--example` and JSON have all."""
    text = "BEGIN " + "word " * 10_000 + "END"
    job = job_of(tmp_path, [{"id": "a", "text": text}])
    shown = said(job)
    assert len(shown.splitlines()) < 45
    assert "BEGIN word" in shown
    assert "word END" in shown
    (left_out,) = re.findall(r"\[([\d,]+) characters left out\]", shown)
    assert 48_000 < int(left_out.replace(",", "")) < 50_000
    assert " ".join(text.split()) in " ".join(said(job, "--example", "a").split())
    (example,) = batchrun("plan", "job.yaml", "--json", cwd=tmp_path).json["examples"]
    assert example["request"]["messages"][0]["content"] == text


def test_a_long_conversation_loses_its_middle(tmp_path: Path) -> None:
    """So many messages are left out; `--example` has all."""
    shots = [{"role": ["user", "assistant"][at % 2], "content": f"shot {at}"} for at in range(20)]
    prompt = {"messages": [*shots, {"role": "user", "content": "{{ text }}"}]}
    job = job_of(tmp_path, [{"id": "a", "text": "the question"}], prompt=prompt)
    (block,) = blocks(said(job))
    assert block[1:10] == [
        "user        shot 0",
        "assistant   shot 1",
        "user        shot 2",
        "assistant   shot 3",
        "…           14 more messages",
        "user        shot 18",
        "assistant   shot 19",
        "user        the question",
        "with        model small, max_completion_tokens 20",
    ]
    assert "shot 9" in said(job, "--example", "a")


@given(st.text("ab \n", max_size=4_000), st.integers(20, 90))
def test_a_shortened_text_is_short_and_honest(text: str, width: int) -> None:
    """It stays within a height, keeps both ends, and the number that it names is what is missing."""
    short = without_middle(text, width)
    if short == text:
        return
    parts = re.fullmatch(r"(.*) …\n\[([\d,]+) characters left out\]\n… (.*)", short, re.DOTALL)
    assert parts is not None
    head, left_out, tail = parts.groups()
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(left_out.replace(",", "")) + len(tail) == len(text)
    assert sum(max(1, -(-len(line) // width)) for line in (head + "\n" + tail).split("\n")) <= 8


def test_rows_are_told_by_what_happens_to_them(tmp_path: Path) -> None:
    """New, unchanged, changed, and removed, with the command that drops their answers."""
    with simulated(tmp_path, rows=6) as job:
        assert "rows        6 new: asked" in said(job)
        job.submit_here(limit=5)
        lines = job.rows.read_text().replace("row 000001", "row 1000001").splitlines(keepends=True)
        job.rows.write_text("".join(lines[1:]))
        shown = said(job)
    at = next(at for at, line in enumerate(shown.splitlines()) if line.startswith("  rows"))
    assert [line.strip() for line in shown.splitlines()[at : at + 4]] == [
        "rows        1 new: asked",
        "1 changed since they were answered",
        "3 unchanged: answered, and left as they are",
        "1 removed: not among the job's rows any more; batchrun gc job.yaml drops their answers",
    ]


def test_failed_rows_are_told_by_what_they_wait_for(run: JobFolder) -> None:
    """For a decision, or for the submit that is planned."""
    assert "2 failed before: left for a decision (--retry-failed)" in said(run)
    assert "2 failed before: asked again" in said(run, "--retry-failed")


def test_limits_are_told_with_who_says_so(tmp_path: Path) -> None:
    """The job, the endpoint, or nobody."""
    limits = {"rpm": 6_000, "headers": "cerebras"}
    with simulated(tmp_path, rows=40, config={"limits": limits}, endpoints={"local": {}}) as job:
        assert "requests and tokens: none known (answers may tell of some)" in said(job)
        assert "512 calls at once, at most (the default), beginning with 20" in said(job)
        job.submit_here(limit=30)
        job.edit(model={"model": "local/small", "limits": {"rpm": 900, "concurrency": 1}})
        shown = said(job)
    assert re.search(r"900 requests a minute \(job\.yaml:\d+: model\.limits\.rpm\)", shown)
    assert "6,000 requests a minute (told by its answers)" in shown
    assert re.search(r"1 call at once \(job\.yaml:\d+: model\.limits\.concurrency\)\n", shown)


def test_a_simulator_costs_nothing(tmp_path: Path) -> None:
    """No price is missing where nobody is paid."""
    job = job_of(tmp_path, [{"id": "a", "text": "b"}], model="simulator/small")
    assert "cost        nothing: a simulator makes the answers up" in said(job)


@pytest.mark.parametrize("rows", [1, 40])
def test_a_plan_fits_a_terminal(new_job: NewJob, rows: int) -> None:
    """No line is longer than 80 columns, whatever a row holds."""
    job = new_job(rows, prompt=prompted("{{ text }} " + "x" * 3_000 + "\n" * 40 + "日本語 " * 300))
    code, written = here_on_a_terminal(["plan", "job.yaml"], job.folder)
    lines = lines_seen(written)
    assert (code, max(map(len, lines)) <= 80) == (0, True)
    assert len([line for line in lines if line.strip()]) < 70


@pytest.mark.parametrize(
    ("checks", "said_of_them"),
    [
        ({}, "no row may fail"),
        ({"failed": "<= 0"}, "no row may fail"),
        ({"failed": "<= 1%", "parsed": ">= 99%"}, "failed <= 1%; parsed >= 99%"),
    ],
)
def test_the_checks_that_the_run_is_held_to(
    tmp_path: Path, checks: dict[str, str], said_of_them: str
) -> None:
    """On one line, before anything is paid."""
    job = job_of(tmp_path, [{"id": "a", "text": "one"}], **({"checks": checks} if checks else {}))
    assert f"  checks      {said_of_them}\n" in said(job)
    planned = batchrun("plan", "job.yaml", "--json", cwd=job.folder).json
    assert planned["checks"] == (checks or {"failed": "<= 0"})
