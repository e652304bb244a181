"""Runs whose answers follow a schema: what is parsed, repaired, asked for again, and failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.errors import JobError
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import rows_by_part, scan_run, see
from tests.runs import JobFolder, simulated

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["billing", "bug", "other"]},
        "score": {"type": "integer", "minimum": 0, "maximum": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "note": {"type": "string"},
    },
    "required": ["label", "score", "tags"],
    "additionalProperties": False,
}
LONG = {"max_completion_tokens": 300}


def only(job: JobFolder) -> dict[str, Any]:
    """The one row of the results."""
    (row,) = job.results().to_dicts()
    return row


def test_parsed_is_a_struct_with_the_schemas_types(tmp_path: Path) -> None:
    """The same in every part, and it says what the text says."""
    with simulated(tmp_path, rows=20, schema=SCHEMA, request=LONG) as job:
        assert job.submit_here().ok == 20
        results = job.results()
    assert results.schema["parsed"] == pl.Struct(
        {"label": pl.String, "score": pl.Int64, "tags": pl.List(pl.String), "note": pl.String}
    )
    for row in results.to_dicts():
        said = json.loads(row["completion"])
        assert row["parsed"] == {"note": None, **said}
        assert row["repaired"] is False


@pytest.mark.parametrize(
    ("preset", "required"),
    [("openai", ["label", "score", "tags", "note"]), ("vllm", ["label", "score", "tags"])],
)
def test_an_endpoint_is_asked_in_the_form_it_takes(
    tmp_path: Path, preset: str, required: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's strict mode wants every member required; an engine takes the schema as it stands."""
    monkeypatch.setenv("SIMULATED_KEY", "not-a-real-key")
    endpoint = {"preset": preset, "api_key_env": "SIMULATED_KEY" if preset == "openai" else None}
    with simulated(
        tmp_path,
        rows=1,
        config={"bodies": True},
        schema=SCHEMA,
        request=LONG,
        model=f"{preset}/m",
        endpoints={preset: endpoint},
    ) as job:
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    sent = call.body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["required"] == required
    assert sent["json_schema"]["strict"] is (preset == "openai")


@pytest.mark.parametrize("output", ["fence", "preface", "postscript"])
def test_text_around_the_json_is_dropped_and_told(tmp_path: Path, output: str) -> None:
    """The row is ok and marked `repaired`; the text stays as it came."""
    config = {"faults": [{"output": output}]}
    with simulated(tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG) as job:
        assert job.submit_here().ok == 1
        row = only(job)
        assert len(job.calls()) == 1
    assert row["repaired"] is True
    assert row["parsed"]["label"] in ("billing", "bug", "other")
    with pytest.raises(json.JSONDecodeError):
        json.loads(row["completion"])


def test_a_wrong_answer_is_asked_for_again(tmp_path: Path) -> None:
    """The model is shown its answer and what is wrong with it; both calls are paid and counted."""
    config = {"bodies": True, "faults": [{"output": "invalid", "first": 1, "per": "conversation"}]}
    with simulated(tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG) as job:
        assert job.submit_here().ok == 1
        row = only(job)
        first, again = job.calls()
    assert again.body is not None
    assert first.body is not None
    question, answer, correction = again.body["messages"]
    assert [question] == first.body["messages"]
    assert answer["role"] == "assistant"
    assert "does not fit the required schema" in correction["content"]
    assert [attempt["error_type"] for attempt in row["attempts"]] == ["invalid_output", None]
    assert row["usage"]["total_tokens"] == sum(a["usage"]["total_tokens"] for a in row["attempts"])
    assert row["parsed"] is not None


@pytest.mark.parametrize(("reask", "calls"), [(0, 1), (2, 3)])
def test_what_stays_wrong_fails_with_its_text_kept(tmp_path: Path, reask: int, calls: int) -> None:
    """`invalid_output` after all re-asks: it was paid for, so text and usage are there."""
    config = {"faults": [{"output": "invalid"}]}
    with simulated(
        tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG, retry={"reask": reask}
    ) as job:
        assert job.submit_here().failed == 1
        row = only(job)
        assert len(job.calls()) == calls
    assert row["error_type"] == "invalid_output"
    assert row["error"]["message"].startswith("$")
    assert row["completion"]
    assert row["parsed"] is None
    assert row["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("output", ["truncated", "whitespace"])
def test_a_cut_answer_fails_as_truncated(tmp_path: Path, output: str) -> None:
    """Also one that ends in white space until the tokens are used up."""
    config = {"faults": [{"output": output}]}
    with simulated(tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG) as job:
        assert job.submit_here().failed == 1
        row = only(job)
    assert row["error_type"] == "truncated"
    assert row["finish_reason"] == "length"
    assert row["completion"]


def test_another_model_may_mend_what_one_could_not(tmp_path: Path) -> None:
    """With invalid_output in fallback_on; it sees the question alone."""
    config = {"bodies": True, "faults": [{"output": "invalid", "model": "small"}]}
    with simulated(
        tmp_path,
        rows=1,
        config=config,
        schema=SCHEMA,
        request=LONG,
        retry={"reask": 1},
        fallbacks=["local/large"],
        fallback_on=["invalid_output"],
    ) as job:
        assert job.submit_here().ok == 1
        row = only(job)
        calls = job.calls()
    assert [call.model for call in calls] == ["small", "small", "large"]
    assert calls[2].body is not None
    assert len(calls[2].body["messages"]) == 1
    assert (row["model"], row["model_index"]) == ("local/large", 1)
    assert [a["error_type"] for a in row["attempts"]] == ["invalid_output", "invalid_output", None]


def test_a_wrong_answer_is_kept_as_ok_where_the_job_says_so(tmp_path: Path) -> None:
    """Without invalid_output in fail_on: nothing parsed, the text there."""
    config = {"faults": [{"output": "invalid"}]}
    with simulated(
        tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG, fail_on=[], retry={"reask": 0}
    ) as job:
        assert job.submit_here().ok == 1
        row = only(job)
    assert row["parsed"] is None
    assert row["completion"]


def test_a_failed_row_can_be_asked_again(tmp_path: Path) -> None:
    """`invalid_output` needs a decision: --retry-failed asks anew, without it nothing is paid."""
    config = {"faults": [{"output": "invalid", "first": 1, "per": "conversation"}]}
    with simulated(tmp_path, rows=1, config=config, schema=SCHEMA, request=LONG, retry={"reask": 0}) as job:
        assert job.submit_here().failed == 1
        assert job.submit_here().failed == 1
        assert len(job.calls()) == 1
        assert job.submit_here(retry_failed=frozenset({"invalid_output"})).ok == 1
        assert len(job.calls()) == 2
        assert len(only(job)["attempts"]) == 2


def test_several_choices_are_parsed_each(tmp_path: Path) -> None:
    """n: 3 gives three parsed texts in `choices`; the first one is the row's."""
    with simulated(tmp_path, rows=1, schema=SCHEMA, request={**LONG, "n": 3}) as job:
        assert job.submit_here().ok == 1
        row = only(job)
    parsed = [json.loads(choice["parsed"]) for choice in row["choices"]]
    assert len(parsed) == 3
    assert {"note": None, **parsed[0]} == row["parsed"]


def test_a_schema_without_arrow_form_gives_json_text(tmp_path: Path) -> None:
    """A list of anything is kept as JSON, exactly."""
    schema = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "minItems": 1}
    with simulated(tmp_path, rows=3, schema=schema, request=LONG) as job:
        assert job.submit_here().ok == 3
        results = job.results()
    assert results.schema["parsed"] in (pl.String, pl.List(pl.String))
    for row in results.to_dicts():
        assert row["parsed"] is not None


def test_tool_arguments_are_checked_like_answers(tmp_path: Path) -> None:
    """Wrong ones are asked for again with a result that says so; right ones stand in parsed_arguments."""
    tool = {
        "type": "function",
        "function": {
            "name": "save",
            "parameters": {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    }
    config = {"bodies": True, "faults": [{"output": "invalid", "first": 1, "per": "conversation"}]}
    request = {**LONG, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    with simulated(tmp_path, rows=1, config=config, request=request) as job:
        assert job.submit_here().ok == 1
        row = only(job)
        _, again = job.calls()
    assert again.body is not None
    assert [message["role"] for message in again.body["messages"]] == ["user", "assistant", "tool"]
    (call,) = row["tool_calls"]
    assert isinstance(json.loads(call["parsed_arguments"])["n"], int)


def test_the_schema_is_in_the_request_hash(tmp_path: Path) -> None:
    """An edit of the file that holds it is an edit of the job; taking it back costs nothing."""
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    with simulated(tmp_path, rows=2, schema="schema.json", request=LONG) as job:
        assert job.submit_here().ok == 2
        edited = {**SCHEMA, "properties": {**SCHEMA["properties"], "score": {"type": "number"}}}
        file.write_text(json.dumps(edited))
        summary = job.submit_here(rerun_changed=True)
        assert summary.ok == 2
        assert job.results()["parsed"].struct.field("score").dtype == pl.Float64
        file.write_text(json.dumps(SCHEMA))
        assert job.submit_here().ok == 2
        assert len(job.calls()) == 4
        assert job.results()["parsed"].struct.field("score").dtype == pl.Int64


def test_a_kept_answer_that_does_not_fit_the_new_schema_is_null_where_it_does_not(tmp_path: Path) -> None:
    """A stale row keeps its text; of `parsed` what fits."""
    with simulated(tmp_path, rows=2, schema=SCHEMA, request=LONG) as job:
        job.submit_here()
        edited = {**SCHEMA, "properties": {**SCHEMA["properties"], "score": {"type": "string"}}}
        job.edit(schema=edited)
        assert job.submit_here(keep_changed=True).ok == 2
        rows = job.results().to_dicts()
    for row in rows:
        assert row["stale"]
        assert row["parsed"]["score"] is None
        assert row["parsed"]["label"] == json.loads(row["completion"])["label"]


TEXT: dict[str, Any] = {"type": "string", "enum": ["billing", "bug"]}
UNION: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


@pytest.mark.parametrize("schema", [SCHEMA, TEXT, UNION])
def test_rows_not_yet_published_have_the_same_types(tmp_path: Path, schema: dict[str, Any]) -> None:
    """A run that was killed before its first publication reads like any other."""
    with simulated(tmp_path, rows=5, schema=schema, request=LONG) as job:
        job.submit_here()
        published = job.results()
        run = RunFolder(job.run)
        run.results.unlink()
        unpublished = scan_run(run).collect()
    assert unpublished.schema["parsed"] == published.schema["parsed"]
    assert unpublished["parsed"].to_list() == published["parsed"].to_list()
    assert unpublished.schema["messages"] == published.schema["messages"]


def with_member(schema: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The schema of an object with a member of this schema, in a list and by itself."""
    properties = {"one": schema, "many": {"type": "array", "items": schema}, **others}
    return {"type": "object", "properties": properties, "required": ["one"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (with_member(UNION), with_member(UNION, more={"type": "integer"})),
        (with_member(UNION), with_member({"type": "string"})),
        (with_member({"type": "string"}), with_member(UNION)),
        (TEXT, UNION),
        (UNION, {"type": "string"}),
    ],
)
def test_published_rows_are_read_by_an_edited_schema_as_they_will_be_published(
    tmp_path: Path, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    """What the older schema kept as JSON text is not text to the newer one, and the other way round."""
    with simulated(tmp_path, rows=6, schema=older, request=LONG) as job:
        job.submit_here(limit=4)
        run = RunFolder(job.run)
        before = run.results.readlink()
        job.edit(schema=newer)
        job.submit_here(keep_changed=True)
        published = job.results()
        run.results.unlink()
        run.results.symlink_to(before)  # as if killed before its publication
        parts = pl.concat(part.select("row_index", "parsed").collect() for part in rows_by_part(see(run)))
        rows = scan_run(run).collect()
    assert rows.schema["parsed"] == published.schema["parsed"]
    assert rows["parsed"].to_list() == published["parsed"].to_list()
    assert parts.sort("row_index")["parsed"].to_list() == published["parsed"].to_list()


def test_a_wrong_schema_is_refused_before_the_first_call(tmp_path: Path) -> None:
    """With its place in the job."""
    with simulated(tmp_path, rows=1, schema={"type": "objekt"}) as job:
        with pytest.raises(JobError, match=r"job\.yaml:\d+: schema"):
            job.submit_here()
        assert job.calls() == []


LABELS = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["ship", "shipping", "billing"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def test_confidence_and_probabilities_come_from_the_logprobs(tmp_path: Path) -> None:
    """One member for each label, adding up to 1; the confidence is that of the answer."""
    request = {"logprobs": True, "top_logprobs": 20, **LONG}
    with simulated(tmp_path, rows=20, schema=LABELS, request=request) as job:
        assert job.submit_here().ok == 20
        results = job.results()
    assert results.schema["probabilities"] == pl.Struct(
        {"ship": pl.Float64, "shipping": pl.Float64, "billing": pl.Float64}
    )
    known = [row for row in results.to_dicts() if row["confidence"] is not None]
    assert len(known) >= 5  # where `ship` and `shipping` begin alike, the alternatives cannot always tell
    for row in known:
        assert abs(sum(row["probabilities"].values()) - 1) < 1e-6
        assert row["confidence"] == row["probabilities"][row["parsed"]["label"]]


def test_without_logprobs_there_is_no_confidence(tmp_path: Path) -> None:
    """Null, with the same type."""
    with simulated(tmp_path, rows=2, schema=LABELS, request=LONG) as job:
        job.submit_here()
        results = job.results()
    assert results["confidence"].to_list() == [None, None]
    assert isinstance(results.schema["probabilities"], pl.Struct)


def test_an_answer_of_one_token_has_a_confidence_without_a_schema(tmp_path: Path) -> None:
    """Its alternatives are listed: nobody can know beforehand which there will be."""
    request = {"logprobs": True, "top_logprobs": 5, "max_completion_tokens": 1}
    with simulated(tmp_path, rows=2, request=request) as job:
        job.submit_here()
        row = job.results().to_dicts()[0]
    assert 0 < row["confidence"] <= 1
    assert row["probabilities"][0].keys() == {"label", "probability"}
    given = {item["label"]: item["probability"] for item in row["probabilities"]}
    assert given[row["completion"].strip()] == row["confidence"]


def test_members_left_out_have_the_schemas_defaults(tmp_path: Path) -> None:
    """So that a pydantic model loads its own answers, also where strict mode wrote null for them."""
    (tmp_path / "shapes.py").write_text(
        "from typing import Literal\n"
        "from pydantic import BaseModel\n\n\n"
        "class Mail(BaseModel):\n"
        "    label: Literal['a', 'b']\n"
        "    tags: list[str] = []\n"
        "    tone: Literal['calm', 'angry'] = 'calm'\n"
    )
    with simulated(tmp_path, rows=30, schema="shapes:Mail", request=LONG) as job:
        assert job.submit_here().ok == 30
        rows = job.results()["parsed"].to_list()
    assert all(row["tags"] is not None for row in rows)
    assert {row["tone"] for row in rows} == {"calm", "angry"}


def test_a_schema_need_not_be_sent(tmp_path: Path) -> None:
    """`response_format: null` checks answers of a server that knows no schemas."""
    request = {**LONG, "response_format": None}
    with simulated(
        tmp_path, rows=1, config={"bodies": True}, schema=SCHEMA, request=request, retry={"reask": 0}
    ) as job:
        assert job.submit_here().errors == {"invalid_output": 1}
        job.edit(request=LONG)
        assert job.submit_here().ok == 1, "with the schema sent it is another request"
        first, second = job.calls()
    assert first.body is not None
    assert second.body is not None
    assert "response_format" not in first.body
    assert "response_format" in second.body


def test_labels_that_stand_twice_are_one(tmp_path: Path) -> None:
    """A column cannot have two members of one name."""
    request = {"structured_outputs": {"choice": ["yes", "no", "yes"]}, "logprobs": True, "top_logprobs": 5}
    with simulated(tmp_path, rows=2, request=request) as job:
        job.submit_here()
        assert set(job.results()["probabilities"].struct.fields) == {"yes", "no"}


def test_rows_that_were_cut_are_counted(tmp_path: Path) -> None:
    """They are ok without a schema, and the summary says how many."""
    with simulated(tmp_path, rows=3, request={"max_completion_tokens": 4}) as job:
        assert job.submit_here().cut == 3
