"""The JSON Schema says to an editor what the loader says to the user."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from batchrun.errors import JobError
from batchrun.job import job_schema
from tests.job.jobs import FULL, MINIMAL, load

SCHEMA = job_schema()
VALIDATOR = Draft7Validator(SCHEMA)
SHIPPED = sorted((Path(__file__).parents[2] / "jobs").glob("*.yaml"))


def _errors(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_it_is_a_draft_7_schema() -> None:
    """The YAML language server reads draft-07 and nothing newer."""
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    words = {key for part in _parts(SCHEMA) for key in part}
    assert words.isdisjoint({"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired"})


def test_every_key_has_a_description() -> None:
    """Hovering over any key in an editor explains it."""
    bare = [
        f"{name}.{key}"
        for name, section in {"": SCHEMA, **SCHEMA["definitions"]}.items()
        for key, value in section["properties"].items()
        if not value.get("description")
    ]
    assert bare == []


def test_a_reference_has_no_neighbours() -> None:
    """Draft-07 ignores what stands beside a $ref, so a description there would be lost."""
    assert [part for part in _parts(SCHEMA) if "$ref" in part and len(part) > 1] == []


@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_it_takes_what_the_loader_takes(tmp_path: Path, text: str) -> None:
    """A job that loads has no line underlined."""
    load(tmp_path, text)
    assert _errors(text) == []


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_it_takes_the_jobs_of_this_project(path: Path) -> None:
    """The jobs that are shipped pass their own schema."""
    assert _errors(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "added",
    [
        "model: {model: vllm/x, limits: {rpm: 5}, request: {seed: null}}",
        "model: ${MODEL}",
        "fallbacks: ['${MODEL}']",
        "fallback_on: []",
        "fail_on: ['${REASON}']",
        "retry: {max_attempts: '${N}', max_wait: 90s}",
        "retry: {max_wait: '${N}', timeout: {row: '${ROW}'}}",
        "output: {raw: '${RAW}', columns: '${COLUMNS}'}",
        "stop_when: {failed: 0.5}",
        "stop_when: {failed: '${SHARE:-50%}', after: '${N}'}",
        "endpoints: {vllm: {api_key_env: null}}",
        "endpoints: {mine: {base_url: ['https://a/v1', '${B}'], api_key_cmd: get-key --team a}}",
        "endpoints: {mine: {base_url: '${B}', api_key_cmd: [get-key, '${TEAM}']}}",
        "request: {temperature: '{{ t }}', logit_bias: {'5': 1}}",
        "budget: {cost_usd: '${USD}', wall_time: '${TIME}', per: day}",
        "budget: {cost_usd: 1000000000, wall_time: 0.5s}",
        "prices: {openai/a/b: {input: 0, output: '${P}'}}",
        "prices: {openai/a/b: {input: 0, output: 1, batch: '${SHARE}'}}",
        "tail: {hedge_after: p99.9}",
        "checks: {failed: '<= ${MOST}%', 'a = b': '>= 99%', ok: '=3'}",
        "checks: {}",
    ],
)
def test_it_takes_variables_and_variants(added: str) -> None:
    """`${VAR}` may stand where a number or one of several words does; unions take each of their forms."""
    key = added.partition(":")[0]
    job = yaml.safe_load(MINIMAL)
    job[key] = yaml.safe_load(added)[key]
    assert [error.message for error in VALIDATOR.iter_errors(job)] == []


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside the schema."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        yield from _parts(inner)


def _mappings(value: Any, loc: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        yield loc
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, inner in items:
        yield from _mappings(inner, (*loc, part))


FREE = {"vars", "types", "headers", "extra_body", "simulator", "faults", "endpoints"}
FREE |= {"metadata", "parameters", "kwargs", "checks"}
STRICT = [
    loc for loc in _mappings(yaml.safe_load(FULL)) if not FREE & {*loc[-1:], *loc[-2:-1]} or len(loc) == 2
]
STRICT = [
    loc
    for loc in STRICT
    if loc[-1:] not in {(name,) for name in FREE} and loc[2:4] != ("allowed_tools", "tools")
]


@pytest.mark.parametrize("loc", STRICT, ids=[".".join(map(str, loc)) or "top" for loc in STRICT])
def test_it_refuses_the_unknown_keys_that_the_loader_refuses(tmp_path: Path, loc: tuple[Any, ...]) -> None:
    """A key that nobody knows is an error to both, in every section of a job."""
    job = yaml.safe_load(FULL)
    section = job
    for part in loc:
        section = section[part]
    section["surprise"] = 1
    assert _errors(yaml.safe_dump(job)) != []
    with pytest.raises(JobError, match="surprise is not a known key"):
        load(tmp_path, yaml.safe_dump(job))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit", {"limit": 0}),
        ("format", {"format": "xml"}),
        ("path", {"path": ""}),
        ("types", {"types": {"a": "integer"}}),
    ],
)
def test_it_refuses_wrong_values(tmp_path: Path, old: str, new: dict[str, Any]) -> None:
    """Ranges and words are in the schema, too."""
    job = copy.deepcopy(yaml.safe_load(MINIMAL))
    job["input"] |= new
    assert _errors(yaml.safe_dump(job)) != []
    with pytest.raises(JobError, match=rf"input\.{old}"):
        load(tmp_path, yaml.safe_dump(job))


@pytest.mark.parametrize(("given", "known"), [("run: ../runs/x", True), ("limit: 3", False)])
def test_it_asks_for_a_file_or_a_run(tmp_path: Path, given: str, known: bool) -> None:
    """As the loader does."""
    text = MINIMAL.replace("path: rows.jsonl", given)
    assert (_errors(text) == []) is known
    with nullcontext() if known else pytest.raises(JobError, match=r"input\.path is required"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "added",
    [
        "budget: {cost_usd: 0}",
        "budget: {cost_usd: 2e9}",
        "budget: {cost_usd: '20'}",
        "budget: {tokens: 1.5}",
        "budget: {wall_time: 0}",
        "budget: {wall_time: 0s}",
        "budget: {wall_time: 6 h}",
        "budget: 20",
        "tail: {hedge_after: p49}",
        "tail: {hedge_after: p100}",
        "tail: {hedge_after: 0.99}",
        "tail: p99",
        "prices: {small: {input: 1, output: 1}}",
        "prices: {simulator/small: {input: 2e9, output: 1}}",
        "prices: {simulator/small: {input: -1, output: 1}}",
        "prices: {simulator/small: {input: 1, output: 1, batch: 0}}",
        "prices: {simulator/small: {input: 1, output: 1, batch: 2}}",
        "endpoints: {simulator: {limits: {window: 0}}}",
    ],
)
def test_it_refuses_the_amounts_that_the_loader_refuses(tmp_path: Path, added: str) -> None:
    """What passes in the editor is no surprise at the start of a run."""
    assert _errors(MINIMAL + added) != []
    with pytest.raises(JobError):
        load(tmp_path, MINIMAL + added + "\n")


def test_defaults_are_values_that_may_be_written() -> None:
    """An editor fills them in."""
    tail = SCHEMA["definitions"]["Tail"]["properties"]["hedge_after"]
    assert Draft7Validator({**tail, "definitions": SCHEMA["definitions"]}).is_valid(tail["default"])
