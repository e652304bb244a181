"""The job that a run folder keeps: whole, readable, and without a value of the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.errors import JobError
from batchrun.job import Job, job_snapshot, load_job
from batchrun.job.document.document import MAX_BYTES, MAX_VALUES, read_document
from batchrun.job.snapshot import kept_schema
from batchrun.render.renderer import Renderer
from tests.job.jobs import FULL, MINIMAL, load

ENV = {"SECRET": "s3cr3t", "NAME": "internal", "DATA": "rows.jsonl", "HOME": "/home/ann"}


def snapshot(job: Job) -> str:
    return Renderer(job).snapshot()


def prompts(folder: Path) -> None:
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "rules.md").write_text("Rules {{ tone }}\n{% include 'prompts/more.md' %}")
    (folder / "prompts" / "more.md").write_text("more: yes\n")
    (folder / "prompts" / "shots.yaml").write_text(
        "- {role: user, content: \"{%- include 'prompts/more.md' -%} \"}\n"
    )


def beside(folder: Path) -> None:
    """What a snapshot does not hold: functions, and the folder of media. The schema is for the first load."""
    (folder / "media").mkdir(parents=True)
    (folder / "schemas").mkdir()
    (folder / "schemas" / "ticket.json").write_text('{"type": "object"}')
    (folder / "tools.py").write_text('def look_up(word: str) -> str:\n    """Look up."""\n    return word\n')


def test_it_is_one_file_that_renders_as_the_job_did(tmp_path: Path) -> None:
    """Included files and message files are in it: it needs none of them."""
    prompts(tmp_path)
    beside(tmp_path)
    beside(tmp_path / "kept")
    job = load(tmp_path, FULL, env=ENV)
    text = snapshot(job)
    assert "include '" not in text
    assert "shots.yaml" not in text
    kept = load(tmp_path / "kept", text, env=ENV)
    row = {"subject": "a", "body": "b", "max_tokens": 5, "photo": "p", "sound": "s", "live": True}
    before, after = Renderer(job).render(row), Renderer(kept).render(row)
    assert after.messages == before.messages
    assert after.request_hash == before.request_hash
    assert after.document(1) == before.document(1)


def test_what_was_read_in_takes_the_place_of_what_names_it(tmp_path: Path) -> None:
    """Messages, turns and schema where they are given; else the job's own words stay."""
    job = load(tmp_path, FULL, env=ENV)
    found = read_document(
        job_snapshot(
            job,
            [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
            turns=[{"role": "user", "content": "y"}],
            schema={"type": "object"},
        )
    ).value
    assert found["prompt"]["messages"] == [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    assert found["prompt"]["turns"] == [{"role": "user", "content": "y"}]
    assert found["schema"] == {"type": "object"}
    kept = read_document(job_snapshot(job, [])).value
    assert (kept["prompt"], kept["schema"]) == (job.document["prompt"], "schemas/ticket.json")


def test_whole_requests_have_no_prompt_to_keep(tmp_path: Path) -> None:
    """A job without `prompt` comes back without one."""
    job = load(tmp_path, "input: {path: r.jsonl, format: openai-batch}\nmodel: openai/*\n")
    assert "prompt" not in read_document(job_snapshot(job, [])).value


def test_it_says_where_its_paths_start(tmp_path: Path) -> None:
    """And has a name, also when the job file leaves that to its own."""
    lines = snapshot(load(tmp_path, MINIMAL)).splitlines()
    assert lines[0] == f"# The job as submitted; its paths start at {tmp_path}"
    assert lines[1] == "name: job"


def test_no_value_of_the_environment_is_in_it(tmp_path: Path) -> None:
    """`${VAR}` stays as it is written, and keys are never in a job."""
    text = """\
        input: {path: "${DATA}"}
        prompt: {messages: [{role: user, content: "${SECRET} {{ text }}"}]}
        model: corp/small
        request: {user: "${NAME}"}
        endpoints: {corp: {base_url: "https://${NAME}.example/v1", api_key_env: SECRET}}
        """
    found = snapshot(load(tmp_path, text, env=ENV, sets=["request.seed=3", "request.stop=${NAME}"]))
    assert "s3cr3t" not in found
    assert "internal" not in found
    for line in ("path: ${DATA}", "user: ${NAME}", "seed: 3", "stop: ${NAME}", "api_key_env: SECRET"):
        assert line in found


TEXTS = {"description": "an ${AMOUNT} or $${X}", "enum": ["${", "$", "$$${A}"], "${KEY}": "${A:-b}"}


@pytest.mark.parametrize("spelled", ["s.json", "shapes:Ticket"])
def test_a_schema_that_was_read_in_comes_back_as_it_was(tmp_path: Path, spelled: str) -> None:
    """In a file or a class `${` is text, and names no variable in the copy either."""
    (tmp_path / "s.json").write_text(json.dumps({"properties": {"label": TEXTS}}))
    (tmp_path / "shapes.py").write_text(
        "from pydantic import BaseModel, Field\n"
        f"class Ticket(BaseModel):\n    label: str = Field(json_schema_extra={TEXTS!r})\n"
    )
    renderer = Renderer(load(tmp_path, f"{MINIMAL}schema: {spelled}\n"))
    (tmp_path / "kept").mkdir()
    kept = load(tmp_path / "kept", renderer.snapshot())
    assert renderer.answer_schema is not None
    assert kept.answer_schema == renderer.answer_schema.schema
    assert kept_schema(tmp_path / "kept" / "job.yaml", {}) == renderer.answer_schema.schema


def test_a_schema_of_the_job_itself_keeps_its_variables(tmp_path: Path) -> None:
    """What they stand for is not kept; whoever reads the copy replaces them again."""
    text = MINIMAL + 'schema: {type: object, title: "${SECRET}", description: "$${X}"}\n'
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "job.yaml").write_text(snapshot(load(tmp_path, text, env=ENV)))
    kept = (tmp_path / "kept" / "job.yaml").read_text()
    assert "s3cr3t" not in kept
    again = load(tmp_path / "kept", kept, env=ENV)
    assert again.answer_schema == {"type": "object", "title": "s3cr3t", "description": "${X}"}
    assert kept_schema(tmp_path / "kept" / "job.yaml", ENV) == again.answer_schema


@pytest.mark.parametrize(
    "more",
    [
        f"# {'x' * MAX_BYTES}\n",
        f"  vars: {{a: [{'1,' * MAX_VALUES}]}}\n",
        f"  vars: {{a: {'[' * 50}{']' * 50}}}\n",
    ],
    ids=["bytes", "values", "levels"],
)
def test_what_was_submitted_can_be_loaded(tmp_path: Path, more: str) -> None:
    """The copy holds all files that a job was made of: it may be larger than what one file may hold."""
    path = tmp_path / "job.yaml"
    path.write_text(MINIMAL.replace("model:", f"{more}model:"))
    with pytest.raises(JobError):
        load_job(path, env={}, cwd=tmp_path)
    assert load_job(path, env={}, cwd=tmp_path, folder=tmp_path).name == "job"


def test_text_of_several_lines_can_be_read(tmp_path: Path) -> None:
    """As a block, not in quotes."""
    assert "content: |\n" in snapshot(load(tmp_path, MINIMAL.replace('"{{ text }}"', '"a\\n{{ text }}\\n"')))


TRAPS = [
    "1e-3",
    "1E5",
    "+1e3",
    "12:30",
    "017",
    "0o17",
    "1_000",
    "yes",
    "Off",
    "null",
    "~",
    "",
    "=",
    "<<",
    "-",
]
ODD = [
    "2026-01-31",
    "a\n b\n",
    " a",
    "a ",
    "\n",
    "a: b",
    "# a",
    "*a",
    "é\x85\u2028b",
    "\ufeffx",
    "\t",
    "{{ x }}",
    "${X}",
]


@pytest.mark.parametrize("text", [*TRAPS, *ODD])
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    """Whatever YAML would make of it without quotes."""
    assert kept(tmp_path, {"a": text, text: [text]}) == {"a": text, text: [text]}


def kept(folder: Path, value: Any) -> Any:
    """A value of the job as it comes back from the snapshot."""
    job = load(folder, MINIMAL)
    document = {**job.document, "prompt": {**job.document["prompt"], "vars": value}}
    text = job_snapshot(_with_document(job, document), [])
    found = read_document(text)
    assert found.problems == []
    return found.value["prompt"]["vars"]


def _with_document(job: Job, document: dict[str, Any]) -> Job:
    names = Job.__dataclass_fields__
    return Job(**{**{name: getattr(job, name) for name in names}, "document": document})


PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co"), include_characters="\n\t\x85"),
    max_size=12,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_every_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """Text, numbers, lists and mappings, in type and order."""
    found = kept(FOLDERS.setdefault("one", tmp_path_factory.mktemp("job")), {"v": value})["v"]
    assert repr(found) == repr(value)


FOLDERS: dict[str, Path] = {}
