"""Stored completions as Parquet: the same columns as a run's results, read in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from batchrun.chat.stamps import ROW, RUN
from batchrun.errors import EndpointError, UsageError
from batchrun.job import load_job
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.folder import RunFolder
from batchrun.stored import Filters, place_named, place_of_job
from batchrun.stored.export import export
from tests.runs import JobFolder, simulated
from tests.stored.servers import QUICK, Answer, Asked, Document, make, scripted, stamp

ROWS = 12
FAULTS = [
    {"match": "row 000003:", "answer": "refusal"},
    {"match": "row 000004:", "output": "invalid"},
    {"match": "row 000005:", "finish_reason": "length"},
]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
SECTIONS: dict[str, Any] = {
    "schema": SCHEMA,
    "request": {
        "store": True,
        "metadata": {"row": "{{ id }}"},
        "logprobs": True,
        "top_logprobs": 2,
        "n": 2,
        "max_completion_tokens": 60,
    },
    "retry": {"reask": 0},
    "fail_on": ["refusal", "invalid_output", "truncated"],
    "prices": {"local/small": {"input": 1.0, "output": 2.0}},
}

UNKNOWN = {"attempts", "latency", "ttft", "request_hash"}
"""What only the run itself knows."""

OTHERWISE = {*UNKNOWN, "row_index", "started_at", "finished_at"}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobFolder]:
    """A finished run whose completions are stored and stamped, beside two that others have stored."""
    folder = tmp_path_factory.mktemp("stored")
    with simulated(folder, rows=ROWS, config={**QUICK, "faults": FAULTS}, **SECTIONS) as job:
        job.submit_here()
        base_url = job.endpoint()["base_url"]
        stamp(base_url, RunFolder(job.run).run_id)
        make(base_url, 2, color="red")
        yield job


def of_run(job: JobFolder) -> Filters:
    return Filters(metadata={RUN: RunFolder(job.run).run_id})


def exported(job: JobFolder, out: Path, filters: Filters, limit: int | None = None) -> pl.DataFrame:
    """What an export of the job's endpoint holds."""
    place = place_of_job(load_job(job.job, env={}, cwd=job.folder), None)
    rows = export(place, {}, filters, limit, out)
    found = pl.read_parquet(out)
    assert len(found) == rows
    return found


def test_the_rows_of_a_run_come_back_as_its_results(job: JobFolder, tmp_path: Path) -> None:
    """Answers, what was read in them, errors, usage and cost: all that a completion tells."""
    found = exported(job, tmp_path / "out.parquet", of_run(job)).sort("row_id")
    results = job.results().sort("row_id")
    names = [name for name in RESULT_SCHEMA.names if name not in OTHERWISE]
    assert found["row_id"].to_list() == [f"r{number:06d}" for number in range(ROWS)]
    assert set(results["error_type"].drop_nulls()) == {"refusal", "invalid_output", "truncated"}
    assert results["cost_usd"].null_count() + results["choices"].null_count() == 0
    assert results["parsed"].null_count() < ROWS > results["confidence"].null_count()
    assert [name for name in names if not found[name].equals(results[name])] == []


def test_the_columns_have_the_types_of_the_results(job: JobFolder, tmp_path: Path) -> None:
    """All of ours, in their order, and the labels at the end."""
    out = tmp_path / "out.parquet"
    exported(job, out, of_run(job))
    (part,) = (job.run / "results").glob("*.parquet")
    ours = [field for field in pq.read_schema(part) if field.name in RESULT_SCHEMA.names]
    *columns, metadata = pq.read_schema(out)
    assert columns == ours
    assert (metadata.name, str(metadata.type)) == ("metadata", "string")


def test_what_a_completion_does_not_tell_is_null(job: JobFolder, tmp_path: Path) -> None:
    """Its time is when it was made; rows are numbered; labels are JSON."""
    found = exported(job, tmp_path / "out.parquet", of_run(job))
    assert {name for name in UNKNOWN if found[name].null_count() == ROWS} == UNKNOWN
    assert found["row_index"].to_list() == list(range(ROWS))
    assert found["started_at"].equals(found["finished_at"], check_names=False)
    assert found["started_at"].null_count() == 0
    labels = [pl.Series([text]).str.json_decode(pl.Struct({ROW: pl.String}))[0] for text in found["metadata"]]
    assert [label[ROW] for label in labels] == found["row_id"].to_list()


def test_filters_and_the_limit_choose(job: JobFolder, tmp_path: Path) -> None:
    """Others' completions have their own ids for rows, and what the job's schema does not fit is failed."""
    found = exported(job, tmp_path / "red.parquet", Filters(metadata={"color": "red"}))
    assert found["row_id"].equals(found["response_id"], check_names=False)
    assert found["error_type"].to_list() == ["invalid_output"] * 2
    assert len(exported(job, tmp_path / "some.parquet", Filters(), 5)) == 5
    assert len(exported(job, tmp_path / "none.parquet", Filters(model="none"))) == 0


def test_without_a_job_answers_are_as_they_are(job: JobFolder, tmp_path: Path) -> None:
    """The model is called after the endpoint; nothing is parsed, and nothing but an error fails."""
    base_url = job.endpoint()["base_url"]
    place, out = place_named(base_url, None, {}), tmp_path / "out.parquet"
    assert export(place, {}, Filters(), None, out) == ROWS + 2
    found = pl.read_parquet(out)
    assert set(found["status"]) == {"ok"}
    assert found["parsed"].null_count() == ROWS + 2
    assert set(found["model"]) == {f"{base_url.split('/')[2]}/small"}


def completion(number: int, **members: Any) -> Document:
    message = {"role": "assistant", "content": "yes" * 100}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": f"c{number}", "created": 1_700_000_000, "choices": choices, "model": "small", **members}


NAMES = {
    "small": ("local/small", 0),
    "small-2025-04-14": ("local/small", 0),
    "small-new": ("local/small-new", 1),
    "small-new-2025-04-14": ("local/small-new", 1),
    "other": ("local/other", 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_known_by_the_longer_name_that_answers(tmp_path: Path, name: str) -> None:
    """`small-2025-04-14` answers where `small` is asked; what the job does not have keeps its name."""
    with scripted(lambda asked: (200, {"data": [completion(0, model=name)], "has_more": False})) as server:
        job = JobFolder(tmp_path)
        job.write(server.url, fallbacks=["local/small-new"])
        found = exported(job, tmp_path / "out.parquet", Filters())
    assert found.select("model", "model_index", "response_model").row(0) == (*NAMES[name], name)


ODD: dict[str, tuple[Document, dict[str, Any]]] = {
    "without a time": (completion(0, created=None), {"started_at": None, "status": "ok"}),
    "without an answer": (completion(0, choices=[]), {"status": "failed", "error_type": "invalid_response"}),
    "without labels": (completion(0), {"metadata": None, "row_id": "c0"}),
    "a surrogate": (completion(0, system_fingerprint="\ud800"), {"system_fingerprint": "\ufffd"}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_completions_are_rows_all_the_same(tmp_path: Path, name: str) -> None:
    """What cannot be read is null, or an error."""
    document, wanted = ODD[name]
    with scripted(lambda asked: (200, {"data": [document], "has_more": False})) as server:
        export(place_named(server.url, None, {}), {}, Filters(), None, tmp_path / "out.parquet")
    row = pl.read_parquet(tmp_path / "out.parquet").row(0, named=True)
    assert {column: row[column] for column in wanted} == wanted


def test_an_export_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """However much was written: it takes its place whole or not at all."""

    def answer(asked: Asked) -> Answer:
        if "after" in asked.query:
            return 400, {"error": {"message": "no more for you"}}
        return 200, {"data": [completion(number) for number in range(100)], "has_more": True}

    out = tmp_path / "out.parquet"
    out.write_text("precious")
    with scripted(answer) as server, pytest.raises(EndpointError, match="no more for you"):
        export(place_named(server.url, None, {}), {}, Filters(), None, out)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_many_are_written_in_row_groups(tmp_path: Path) -> None:
    """Of a few megabytes: so much is held at once, however many there are."""
    long = completion(0)
    long["choices"][0]["message"]["content"] = "x" * 10_000

    def answer(asked: Asked) -> Answer:
        first = int(asked.query.get("after", "c-1")[1:]) + 1
        page = [{**long, "id": f"c{number}"} for number in range(first, first + 100)]
        return 200, {"data": page, "has_more": first < 900}

    with scripted(answer) as server:
        assert (
            export(place_named(server.url, None, {}), {}, Filters(), None, tmp_path / "out.parquet") == 1_000
        )
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.metadata.num_row_groups >= 2
    assert pl.read_parquet(tmp_path / "out.parquet")["row_index"].to_list() == list(range(1_000))


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """By its name."""
    with scripted(lambda asked: (200, {"data": []})) as server:
        out = tmp_path / "nowhere" / "out.parquet"
        with pytest.raises(UsageError, match=r"nowhere/out\.parquet: cannot be written"):
            export(place_named(server.url, None, {}), {}, Filters(), None, out)
        assert server.asked == []
