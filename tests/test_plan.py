"""What a plan warns of before anything is paid for, and what the first refusal adds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import JobError
from batchrun.job import load_job
from batchrun.plan import Plan, plan
from batchrun.submit import Options, submit
from tests.runs import JobFolder, Silent, simulated, write_rows

LABELS = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["a", "b"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def planned(folder: Path, **sections: Any) -> Plan:
    """The plan of a job of three rows, whose endpoint nobody asks."""
    job = JobFolder(folder)
    write_rows(job.rows, 3)
    job.write("http://127.0.0.1:1/v1", **sections)
    return plan(
        load_job(job.job, env=dict(os.environ), cwd=folder), env=dict(os.environ), on_rows=lambda _: None
    )


def test_a_plan_that_needs_no_word_has_no_warning(tmp_path: Path) -> None:
    """Nothing is known to go wrong."""
    assert planned(tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": "local/o3-mini", "request": {"temperature": 0}}, "refuses temperature"),
        ({"model": "local/o3-mini", "request": {"max_tokens": 5}}, "max_completion_tokens"),
        ({"fallbacks": ["local/openai/o1"], "request": {"top_p": 0.5}}, "refuses top_p"),
        ({"schema": LABELS}, "request.logprobs: true"),
        ({"schema": LABELS, "model": "local/o3-mini"}, "gives no logprobs"),
        ({"schema": {"type": "object", "additionalProperties": {"type": "integer"}}}, "JSON string"),
    ],
)
def test_a_plan_warns_of_what_is_likely_not_meant(
    tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    """Parameters that a model family refuses, columns that will be null, schemas without an Arrow type."""
    (warning,) = planned(tmp_path, **sections).warnings
    assert words in warning


def test_a_wrong_simulator_is_found_by_the_plan(tmp_path: Path) -> None:
    """With its place, before a submit would start it."""
    endpoint = {"preset": "simulator", "simulator": {"faults": [{"rate": 0.5, "answer": "bogus"}]}}
    job = JobFolder(tmp_path)
    write_rows(job.rows, 1)
    job.write("", model="mine/small")
    job.job.write_text(json.dumps({**json.loads(job.job.read_text()), "endpoints": {"mine": endpoint}}))
    with pytest.raises(JobError, match=r"endpoints\.mine\.simulator\.faults\.0\.answer"):
        plan(load_job(job.job, env={}, cwd=tmp_path), env={}, on_rows=lambda _: None)


def test_labels_with_logprobs_are_no_reason_to_warn(tmp_path: Path) -> None:
    """What the probabilities are computed from is asked for."""
    request = {"logprobs": True, "top_logprobs": 5}
    assert planned(tmp_path, schema=LABELS, request=request).warnings == ()


def test_the_example_shows_what_is_sent(tmp_path: Path) -> None:
    """The schema as response_format, and the turns as the job spells them."""
    turns = {
        "messages": [{"role": "user", "content": "{{ id }}"}],
        "turns": [{"content": "why {{ answer }}?"}],
    }
    found = planned(tmp_path, prompt=turns, schema=LABELS, request={"logprobs": True, "top_logprobs": 2})
    assert found.example is not None
    assert found.example.request["messages"] == [{"role": "user", "content": "r000000"}]
    assert "response_format" not in found.example.request, "the schema holds for the last answer"
    assert found.example.turns == ({"role": "user", "content": "why {{ answer }}?"},)


def test_the_first_refusal_says_what_the_family_is_known_to_refuse(tmp_path: Path) -> None:
    """Once, not for every row."""
    config = {"faults": [{"status": 400, "message": "Unsupported parameter: 'temperature'"}]}
    request = {"temperature": 0, "max_completion_tokens": 5}
    with simulated(tmp_path, rows=5, config=config, model="local/o3-mini", request=request) as job:
        env, progress = dict(os.environ), Silent()
        submit(load_job(job.job, env=env, cwd=job.folder), Options(), env=env, progress=progress)
    said = [text for text in progress.said if "o3-mini" in text]
    assert len(said) == 1
    assert "refuses temperature" in said[0]
