"""Rows become requests: what is sent, and what the request hash covers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import JobError
from batchrun.render.evaluate import RenderError
from batchrun.render.renderer import Renderer
from batchrun.render.request import RowRequest
from tests.job.jobs import load

JOB: dict[str, Any] = {
    "name": "job",
    "input": {"path": "rows.jsonl", "id": "id"},
    "prompt": {
        "vars": {"tone": "formal", "unused": 1},
        "messages": [
            {"role": "system", "content": "Be {{ tone }}.{% include 'rules.md' %}"},
            {"file": "shots.yaml"},
            {"role": "user", "content": "{{ text }}", "name": "ann"},
        ],
    },
    "request": {
        "temperature": 0,
        "max_completion_tokens": "{{ size }}",
        "stop": ["{{ text }}", "end"],
        "metadata": {"batch": "{{ text }}"},
        "store": True,
        "extra_body": {"guided_choice": ["a", "b"]},
    },
    "model": "openai/small",
    "fallbacks": [
        {"model": "vllm/other", "request": {"temperature": None, "stop": None, "extra_body": {"top_a": 1}}}
    ],
    "endpoints": {"openai": {"limits": {"rpm": 10}}},
}
ROW: dict[str, Any] = {"id": 1, "text": "hello", "size": 20, "note": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder with an included file and a message file."""
    (tmp_path / "rules.md").write_text("rules\n")
    (tmp_path / "shots.yaml").write_text(
        "- {role: user, content: 'ping {{ tone }}'}\n- {role: assistant, content: pong}\n"
    )
    return tmp_path


def render(folder: Path, job: Mapping[str, Any] = JOB, row: Mapping[str, Any] = ROW) -> RowRequest:
    return Renderer(load(folder, json.dumps(job))).render(row)


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """JOB with one value set; None takes it out."""
    job: dict[str, Any] = json.loads(json.dumps(JOB))
    inner: Any = job
    for key in path[:-1]:
        inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
    inner[path[-1]] = to
    return job


def test_a_request_is_what_the_job_spells(folder: Path) -> None:
    """Message files are spliced in, includes read, extra_body laid beside the parameters."""
    assert json.loads(render(folder).body(0)) == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be formal.rules\n"},
            {"role": "user", "content": "ping formal"},
            {"role": "assistant", "content": "pong"},
            {"role": "user", "name": "ann", "content": "hello"},
        ],
        "temperature": 0,
        "max_completion_tokens": 20,
        "stop": ["hello", "end"],
        "metadata": {"batch": "hello"},
        "store": True,
        "guided_choice": ["a", "b"],
    }


def test_a_fallback_has_parameters_of_its_own(folder: Path) -> None:
    """Its null removes one; its extra_body replaces the job's; the messages are the same."""
    request = render(folder)
    first, second = request.document(0), request.document(1)
    assert second.pop("model") == "other"
    assert second.pop("top_a") == 1
    assert second == {name: value for name, value in first.items() if name in second}
    assert first.keys() - second.keys() == {"model", "temperature", "stop", "guided_choice"}


@pytest.mark.parametrize("cell", [None, float("nan")])
def test_a_parameter_that_is_null_for_a_row_is_left_out(folder: Path, cell: Any) -> None:
    """The server's default holds then; a null would be refused."""
    request = render(folder, row={**ROW, "size": cell})
    assert "max_completion_tokens" not in request.document(0)
    assert (
        request.request_hash
        == render(folder, changed("request", "max_completion_tokens", to=None)).request_hash
    )


def test_a_column_hides_a_var_of_the_same_name(folder: Path) -> None:
    """The row knows better."""
    assert render(folder, row={**ROW, "tone": "warm"}).messages[1]["content"] == "ping warm"


SAME_HASH = {
    "name": changed("name", to="other"),
    "limits": changed("endpoints", "openai", "limits", to={"rpm": 1, "tpm": 9, "concurrency": 3}),
    "base_url": changed("endpoints", "openai", to={"base_url": "https://example.org/v1"}),
    "headers": changed("endpoints", "openai", to={"headers": {"X-Team": "a"}}),
    "retry": changed("retry", to={"max_attempts": 2, "timeout": {"total": 30}}),
    "fallbacks": changed("fallbacks", to=[]),
    "fallback_on": changed("fallback_on", to=["timeout"]),
    "fail_on": changed("fail_on", to=["truncated"]),
    "stop_when": changed("stop_when", to={"failed": "10%", "after": 5}),
    "output": changed("output", to={"path": "elsewhere", "columns": "none", "messages": True}),
    "model limits": changed("model", to={"model": "openai/small", "limits": {"rpm": 1}}),
    "where": changed("input", "where", to="size > 1"),
    "id": changed("input", "id", to=None),
    "unused var": changed("prompt", "vars", "unused", to=2),
    "store": changed("request", "store", to=None),
    "metadata": changed("request", "metadata", to={"batch": "other"}),
    "constant for template": changed("request", "max_completion_tokens", to=20),
    "message file inlined": changed(
        "prompt",
        "messages",
        to=[
            {"role": "system", "content": "Be formal.rules\n"},
            {"role": "user", "content": "ping formal"},
            {"role": "assistant", "content": "pong"},
            {"role": "user", "content": "{{ text }}", "name": "ann"},
        ],
    ),
}
OTHER_HASH = {
    "model": changed("model", to="openai/large"),
    "endpoint": changed("model", to="vllm/small"),
    "var": changed("prompt", "vars", "tone", to="warm"),
    "content": changed("prompt", "messages", 2, "content", to="{{ text }}!"),
    "role": changed("prompt", "messages", 2, "role", to="assistant"),
    "name": changed("prompt", "messages", 2, "name", to=None),
    "order": changed("prompt", "messages", to=JOB["prompt"]["messages"][::-1]),
    "parameter": changed("request", "temperature", to=1),
    "parameter as text": changed("request", "user", to="0"),
    "new parameter": changed("request", "seed", to=1),
    "no parameter": changed("request", "temperature", to=None),
    "templated parameter": changed("request", "max_completion_tokens", to="{{ size + 1 }}"),
    "nested parameter": changed("request", "stop", to=["end", "{{ text }}"]),
    "extra_body": changed("request", "extra_body", to={"guided_choice": ["a"]}),
    "model's own parameter": changed("model", to={"model": "openai/small", "request": {"seed": 1}}),
}


@pytest.mark.parametrize("job", [pytest.param(job, id=name) for name, job in SAME_HASH.items()])
def test_what_does_not_change_the_answer_can_change_at_no_cost(folder: Path, job: dict[str, Any]) -> None:
    """Limits, retries, fallbacks, addresses, output, and the parameters that only store an answer."""
    assert render(folder, job).request_hash == render(folder).request_hash


@pytest.mark.parametrize("job", [pytest.param(job, id=name) for name, job in OTHER_HASH.items()])
def test_what_can_change_the_answer_changes_the_hash(folder: Path, job: dict[str, Any]) -> None:
    """Messages as rendered, parameters, model and endpoint."""
    assert render(folder, job).request_hash != render(folder).request_hash


def test_included_files_and_message_files_count_by_their_text(folder: Path) -> None:
    """Where a text stands is of no matter."""
    before = render(folder).request_hash
    (folder / "rules.md").write_text("other rules\n")
    with_other_rules = render(folder).request_hash
    (folder / "shots.yaml").write_text("[]")
    assert len({before, with_other_rules, render(folder).request_hash}) == 3


def test_columns_that_the_prompt_does_not_use_are_not_in_the_hash(folder: Path) -> None:
    """An edited gold label re-pays nothing."""
    assert render(folder, row={**ROW, "id": 2, "note": "x"}).request_hash == render(folder).request_hash


def test_the_hash_never_changes_between_releases(folder: Path) -> None:
    """It is on people's disks: a new value here means that everybody pays again."""
    assert render(folder).request_hash == "1145ae97c8cda09ce49b02cf7758487e"


@pytest.mark.parametrize(
    "cell", [Decimal("1.5"), b"\xff", [Decimal("1.5")], {"a": b"x"}, {1.5: Decimal("1")}], ids=repr
)
@pytest.mark.parametrize(
    "place",
    [("request", "extra_body", "own"), ("request", "metadata"), ("fallbacks", 0, "request", "seed")],
)
def test_a_value_that_json_has_no_form_for_is_the_rows_error(
    folder: Path, place: tuple[str | int, ...], cell: Any
) -> None:
    """In a hashed parameter, in one that is not, and in a fallback's; never a crash of the run."""
    renderer = Renderer(load(folder, json.dumps(changed(*place, to="{{ note }}"))))
    with pytest.raises(RenderError, match=r"^request: .*; write it as text in the template$") as caught:
        renderer.render({**ROW, "note": cell}).body(1 if place[0] == "fallbacks" else 0)
    assert caught.value.error.type == "render"


@pytest.mark.parametrize(
    ("cell", "sent"),
    [
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
        (2**70, 2**70),
        ([float("nan")], [None]),
        ("\ud800", "\ud800"),
    ],
)
def test_other_values_are_sent_as_json_spells_them(folder: Path, cell: Any, sent: Any) -> None:
    """Dates as ISO 8601 text, integers with all their digits, strict JSON always."""
    body = render(
        folder, changed("request", "extra_body", to={"note": "{{ note }}"}), {**ROW, "note": cell}
    ).body(0)
    assert json.loads(body, parse_constant=pytest.fail)["note"] == sent


@pytest.mark.parametrize(
    ("path", "template", "message"),
    [
        (
            ("prompt", "messages", 2, "content"),
            "a\n{{ absent }}",
            r"prompt.messages\[3\].content: `absent` is undefined \(line 2\)",
        ),
        (
            ("request", "seed"),
            "{{ absent }}",
            "request.seed: `absent` is undefined: the row has no such column",
        ),
        (("request", "stop"), ["{{ absent + 1 }}"], "request.stop: .*undefined"),
    ],
)
def test_a_row_that_cannot_be_rendered_says_where(
    folder: Path, path: tuple[str | int, ...], template: Any, message: str
) -> None:
    """The key and, in a longer template, the line."""
    with pytest.raises(RenderError, match=message):
        render(folder, changed(*path, to=template))


@pytest.mark.parametrize(
    ("path", "template", "message"),
    [
        (
            ("prompt", "messages", 2, "content"),
            "a\n{% if %}",
            r"job.yaml:1: prompt.messages.2.content: unexpected end of block \(line 2 of the template\)",
        ),
        (
            ("prompt", "messages", 0, "content"),
            "{% include '../x' %}",
            "job.yaml:1: prompt.messages.0.content: cannot include '../x'",
        ),
        (("request", "seed"), "{{ a b }}", "job.yaml:1: request.seed: "),
    ],
)
def test_a_template_that_cannot_be_read_is_the_jobs_error(
    folder: Path, path: tuple[str | int, ...], template: Any, message: str
) -> None:
    """Before any row is read, with file, line and key."""
    with pytest.raises(JobError, match=message):
        render(folder, changed(*path, to=template))


def test_a_message_file_is_named_in_errors_about_it(folder: Path) -> None:
    """By its own name: the job file is right."""
    (folder / "shots.yaml").write_text("- {role: user, content: '{% if %}'}")
    with pytest.raises(JobError, match=r"shots.yaml: message 1.content: unexpected end of block"):
        render(folder)


TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def test_rows_of_the_same_tools_share_what_reads_their_answers(folder: Path) -> None:
    """Also where other parameters are the row's own; schemas are not prepared anew for each row."""
    job = changed("request", to={"temperature": "{{ size }}", "tools": [TOOL]})
    renderer = Renderer(load(folder, json.dumps(job)))
    one, other = (renderer.render({**ROW, "size": size}).dialogue().reader for size in (1, 2))
    assert one is other
    assert "look_up" in one.offered


def test_a_row_that_brings_tools_has_its_own_reader(folder: Path) -> None:
    """Its answers may call them; those of another row may not."""
    renderer = Renderer(load(folder, json.dumps(changed("request", to={"tools": "{{ note }}"}))))
    with_tools, without = (renderer.render({**ROW, "note": note}).dialogue() for note in ([TOOL], None))
    assert ("look_up" in with_tools.reader.offered, "look_up" in without.reader.offered) == (True, False)


def test_the_members_of_a_body_have_the_same_order_in_every_process(folder: Path) -> None:
    """First those that are the same for all rows, then the row's own."""
    own = {"top_p": "{{ share }}", "seed": "{{ size }}", "n": "{{ size }}", "user": "{{ text }}"}
    job = changed("request", to={"store": True, "temperature": 0, **own})
    body = json.loads(render(folder, job, {**ROW, "share": 0.5}).body(0))
    assert list(body) == ["model", "messages", "store", "temperature", "n", "seed", "top_p", "user"]
