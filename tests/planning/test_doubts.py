"""What a plan warns of: each with what to do about it, and nothing of what may well be meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchrun.job import load_job
from batchrun.planning import plan
from tests.planning.planning import asking, job_of, planned
from tests.runs import simulated

LONG = "A sentence of a text that is worth to be asked about, and that goes on for a while. " * 4


def table() -> Iterator[dict[str, object]]:
    for at in range(3):
        yield {
            "id": f"r{at}",
            "subject": f"Ticket {at}",
            "body": LONG,
            "url": f"https://example.org/{at}",
            "n": at,
        }


def warned(folder: Path, **sections: Any) -> tuple[str, ...]:
    """What the plan of a job of these rows warns of."""
    return planned(
        job_of(folder, table(), **{"request": {}, "prompt": asking("{{ body }}")} | sections)
    ).warnings


OPEN = {
    "type": "object",
    "properties": {"scores": {"type": "object", "additionalProperties": {"type": "integer"}}},
}
LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
FIRM = {**LOOSE, "required": ["a"]}


def formatted(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": strict}}


def tool(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look_up", "parameters": schema, "strict": True}}


WARNED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "reasoning",
        {"model": "local/o3-mini", "request": {"max_completion_tokens": 200}},
        [
            "o3-mini reasons before it answers, and max_completion_tokens 200 holds both",
            "Allow several thousand",
        ],
    ),
    (
        "reasoning of a fallback",
        {"fallbacks": ["local/deepseek-ai/DeepSeek-R1"], "request": {"max_tokens": 200}},
        ["deepseek-ai/DeepSeek-R1 reasons before it answers, and max_tokens 200 holds both"],
    ),
    (
        "reasoning, with a limit of the rows' own",
        {"model": "local/gpt-5-mini", "request": {"max_completion_tokens": "{{ 100 + n }}"}},
        ["max_completion_tokens 100 holds both"],
    ),
    (
        "alike",
        {"request": {"n": 3, "temperature": 0}, "fallbacks": ["local/big"]},
        [
            "n 3 at temperature 0 pays for 3 answers",
            "raise request.temperature, or remove request.n",
        ],
    ),
    (
        "not strict",
        {"schema": OPEN, "model": "openai/gpt-4.1-mini"},
        ["strict mode does not take it (scores: an object with free keys)", "are asked for again"],
    ),
    (
        "not strict, without another try",
        {"schema": OPEN, "retry": {"reask": 0}},
        ["strict mode does not take it", "answers that do not fit fail. Change that place"],
    ),
    (
        "a response_format that is refused",
        {"request": {"response_format": formatted(LOOSE)}},
        ["request.response_format is strict", "(the root: required lacks a)", "set strict: false of reply"],
    ),
    (
        "a tool that is refused",
        {"request": {"tools": [tool({**FIRM, "additionalProperties": True})]}},
        ["request.tools is strict", "(the root: an object with free keys)", "set strict: false of look_up"],
    ),
    (
        "a var",
        {"prompt": {**asking("{{ body }}"), "vars": {"tone": "formal"}}},
        [
            "job.yaml:",
            "prompt.vars.tone is used by no template: write {{ tone }} where it belongs, or remove it.",
        ],
    ),
    (
        "no column",
        {"prompt": asking("Write a poem.")},
        ["no template names a column, so all rows ask the same", "as in {{ body }}."],
    ),
    (
        "no column but in a comment",
        {"prompt": asking("Write a poem.{# {{ body }} #}")},
        ["no template names a column"],
    ),
    (
        "single braces",
        {"prompt": asking("Sort this: {body}")},
        ["prompt: {body} is sent as it stands: write {{ body }} for the value of body."],
    ),
    (
        "single braces beside others",
        {"prompt": asking("{{ subject }}: ${ body }")},
        ["{body} is sent as it stands"],
    ),
    (
        "the longest column",
        {"prompt": asking("Sort this: {{ subject }}")},
        [
            "no template uses the column body, which holds the longest texts (about 336 characters; those ",
            "in the prompt 8): write {{ body }} if it is meant.",
        ],
    ),
]


@pytest.mark.parametrize(
    ("sections", "words"), [case[1:] for case in WARNED], ids=[case[0] for case in WARNED]
)
def test_what_is_likely_not_meant_is_said_once(
    tmp_path: Path, sections: dict[str, Any], words: list[str]
) -> None:
    """With the way out."""
    mine = [one for one in warned(tmp_path, **sections) if "JSON string" not in one]
    (warning,) = mine
    assert [word for word in words if word not in warning] == []


MEANT: list[tuple[str, dict[str, Any]]] = [
    ("the text", {}),
    ("room to reason", {"model": "local/o3-mini", "request": {"max_completion_tokens": 8_000}}),
    ("reasoning without a limit", {"model": "local/o3-mini"}),
    ("no reasoning", {"model": "local/gpt-4.1-mini", "request": {"max_completion_tokens": 5}}),
    ("none asked for", {"model": "local/gpt-5.1", "request": {"max_completion_tokens": 5}}),
    (
        "hardly any",
        {"model": "local/gpt-5", "request": {"max_completion_tokens": 5, "reasoning_effort": "minimal"}},
    ),
    (
        "turned off",
        {
            "model": "local/Qwen3-Thinking",
            "request": {"max_tokens": 5, "chat_template_kwargs": {"enable_thinking": False}},
        },
    ),
    ("several answers", {"request": {"n": 3, "temperature": 0.7}}),
    ("several answers, at the server's temperature", {"request": {"n": 3}}),
    ("one answer", {"request": {"n": 1, "temperature": 0}}),
    ("a strict schema", {"schema": FIRM}),
    ("optional members", {"schema": LOOSE}),
    ("a schema that is not sent", {"schema": FIRM, "request": {"response_format": None}}),
    ("a format that fits", {"request": {"response_format": formatted(FIRM)}}),
    ("a format that is not strict", {"request": {"response_format": formatted(LOOSE, strict=False)}}),
    ("a tool that fits", {"request": {"tools": [tool(FIRM)]}}),
    ("a var that is used", {"prompt": {**asking("{{ body }} {{ tone }}"), "vars": {"tone": "formal"}}}),
    (
        "a var in a parameter",
        {"prompt": {**asking("{{ body }}"), "vars": {"t": 1}}, "request": {"temperature": "{{ t }}"}},
    ),
    ("a var that a column hides", {"prompt": {**asking("{{ body }}"), "vars": {"subject": "none"}}}),
    ("a var of which nobody knows", {"prompt": {**asking("{{ row[body[:1]] }}"), "vars": {"A": "none"}}}),
    ("a column by its quoted name", {"prompt": asking('{{ row["body"] }}')}),
    ("a column in a condition", {"prompt": asking("{% if n > 1 %}{{ body }}{% else %}-{% endif %}")}),
    ("a column in a turn", {"prompt": {**asking("Hello."), "turns": [{"content": "{{ body }}"}]}}),
    ("braces of LaTeX", {"prompt": asking("Put it into \\boxed{body}: {{ body }}, \\textbf{subject}")}),
    ("braces of JSON", {"prompt": asking('Answer as {"subject": "…"}: {{ body }}')}),
    ("braces of words", {"prompt": asking("Answer as {yes} or {no}: {{ body }}")}),
]


@pytest.mark.parametrize("sections", [case[1] for case in MEANT], ids=[case[0] for case in MEANT])
def test_what_may_be_meant_is_no_reason_to_warn(tmp_path: Path, sections: dict[str, Any]) -> None:
    """A warning that is wrong makes all others worthless."""
    assert warned(tmp_path, **sections) == ()


@pytest.mark.parametrize(
    "sections", [{"model": "vllm/small"}, {"request": {"response_format": None}}], ids=["engine", "not sent"]
)
def test_what_is_not_asked_strictly_is_not_refused_so(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Engines constrain an answer to any schema, and one that is not sent is no matter of theirs."""
    (warning,) = warned(tmp_path, schema=OPEN, **sections)
    assert "JSON string" in warning


@pytest.mark.parametrize("name", ["gold_answer", "Reference", "raw_html", "summary", "metadata"])
def test_a_long_column_with_another_purpose_is_not_missed(tmp_path: Path, name: str) -> None:
    """What answers are compared with, or data about data."""
    rows = [{"id": "1", "question": "Why?", name: LONG}, {"id": "2", "question": "How?", name: LONG}]
    assert planned(job_of(tmp_path, rows, prompt=asking("{{ question }}"))).warnings == ()


@pytest.mark.parametrize(
    "value", ["x" * 400, "[" + "1, " * 200 + "1]", "<p>" + LONG, "data:image/png;base64, " + "A" * 400]
)
def test_what_is_no_prose_is_not_missed(tmp_path: Path, value: str) -> None:
    """Codes, JSON, markup."""
    rows = [{"id": "1", "question": "Why?", "other": value}, {"id": "2", "question": "How?", "other": value}]
    assert planned(job_of(tmp_path, rows, prompt=asking("{{ question }}"))).warnings == ()


def test_a_prompt_with_enough_to_read_may_leave_out_more(tmp_path: Path) -> None:
    """An abstract instead of the whole text."""
    rows = [{"id": str(n), "abstract": LONG[:120], "full_text": LONG * 50} for n in range(2)]
    assert planned(job_of(tmp_path, rows, prompt=asking("{{ abstract }}"))).warnings == ()


def test_a_text_without_spaces_is_prose_in_some_scripts(tmp_path: Path) -> None:
    """And an odd name is spelled as a template must have it."""
    rows = [{"id": str(n), "title": "题", "full text": "这是一个很长的句子。" * 30} for n in range(2)]
    (warning,) = planned(job_of(tmp_path, rows, prompt=asking("{{ title }}"))).warnings
    assert 'write {{ row["full text"] }} if it is meant' in warning


def test_one_row_may_ask_what_it_likes(tmp_path: Path) -> None:
    """With a single row nothing is asked twice."""
    assert planned(job_of(tmp_path, [{"id": "1", "text": "a"}], prompt=asking("Hello."))).warnings == ()


def test_rows_of_messages_use_every_column(tmp_path: Path) -> None:
    """There is no template that could name one."""
    rows = [{"id": str(n), "chat": [{"role": "user", "content": "hi"}], "note": LONG} for n in range(2)]
    assert planned(job_of(tmp_path, rows, prompt={"messages_column": "chat"})).warnings == ()


def test_an_included_file_names_columns_too(tmp_path: Path) -> None:
    """One that is named by the row may name any."""
    (tmp_path / "rules.md").write_text("Be brief. {{ body }}")
    assert warned(tmp_path, prompt=asking("{% include 'rules.md' %}")) == ()
    assert warned(tmp_path, prompt=asking("{% include ['rules.md', id] %}")) == ()
    (tmp_path / "rules.md").write_text("Be brief.")
    assert "no template names a column" in warned(tmp_path, prompt=asking("{% include 'rules.md' %}"))[0]


def test_answers_tell_more_than_a_model_s_name(tmp_path: Path) -> None:
    """Once rows are ok, nobody is warned of what a family of models might do."""
    with simulated(tmp_path, rows=4, model="local/o3-mini", request={"max_completion_tokens": 60}) as job:
        assert len(planned(job).warnings) == 1
        job.submit_here(limit=2)
        assert planned(job).warnings == ()


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "jobs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_jobs_that_come_with_it_are_meant(path: Path, tmp_path: Path) -> None:
    """But for confidence, which they could have and do not ask for."""
    sets = [f"output.path={tmp_path / 'run'}"]  # no object storage is asked
    job = load_job(path, sets=sets, env=dict(os.environ), cwd=path.parent)
    found = plan(job, env=dict(os.environ), on_rows=lambda _: None)
    assert [one for one in found.warnings if "confidence" not in one] == []
