"""The job's schema: inline, from a file, from a pydantic model; refused with place and reason."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from batchrun import codec
from batchrun.errors import JobError
from batchrun.job.answer_schema import load_answer_schema

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}
WHERE = "jobs/x.yaml:12: schema"


def load(spelled: Any, folder: Path) -> dict[str, Any]:
    """Load a schema of a job in `folder`."""
    return load_answer_schema(spelled, folder=folder, where=WHERE)


def test_a_schema_is_read_from_wherever_it_stands(tmp_path: Path) -> None:
    """The same one, inline, as JSON with a byte order mark, and as YAML beside or above the job."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "jobs").mkdir()
    (tmp_path / "schemas" / "t.json").write_text(
        '\ufeff{"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}', encoding="utf-8"
    )
    (tmp_path / "jobs" / "t.yaml").write_text("type: object\nproperties: {label: {enum: [a, b]}}\n")
    for spelled in (SCHEMA, "../schemas/t.json", "t.yaml", str(tmp_path / "schemas" / "t.json")):
        assert load(spelled, tmp_path / "jobs") == SCHEMA


def test_a_pydantic_model_of_the_jobs_folder_is_a_schema(tmp_path: Path) -> None:
    """Modules beside it can be imported from it, and the import path is as before afterwards."""
    (tmp_path / "shapes.py").write_text(
        "from typing import Literal\nfrom pydantic import BaseModel\n"
        "class Ticket(BaseModel):\n    label: Literal['a', 'b']\n    note: str | None = None\n"
    )
    before = list(sys.path)
    schema = load("shapes:Ticket", tmp_path)
    assert schema["properties"]["label"] == {"enum": ["a", "b"], "title": "Label", "type": "string"}
    assert schema["required"] == ["label"]
    assert sys.path == before


def test_jobs_of_two_folders_can_have_modules_of_the_same_name(tmp_path: Path) -> None:
    """Each gets its own, and what it imports beside it; neither stays loaded."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fields.py").write_text(f"Field = {'int' if name == 'one' else 'str'}\n")
        (tmp_path / name / "shapes.py").write_text(
            "from pydantic import BaseModel\nfrom fields import Field\n"
            "class Ticket(BaseModel):\n    a: Field\n"
        )
    kinds = [load("shapes:Ticket", tmp_path / name)["properties"]["a"]["type"] for name in ("one", "two")]
    assert kinds == ["integer", "string"]
    assert not {"shapes", "fields"} & sys.modules.keys()


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ("missing.json", ": missing.json cannot be read: No such file"),
        ("bad.json", ": bad.json is no JSON: "),
        ("list.json", ": list.json holds no JSON object"),
        ("bad.yaml", ": bad.yaml:2: "),
        ("latin.json", ": latin.json is not UTF-8 text"),
        ("type.json", ": type.json: properties.a.type: 'strin' is no type"),
        ("remote.json", ": remote.json: properties.a.\\$ref: 'http://x/y.json' is in another document"),
        ("text.json", ": text.json: properties.a.description: a lone surrogate, which is no character"),
        ("key.json", ": key.json: properties: a lone surrogate"),
        ("deep.json", ": deep.json: the schema is nested too deeply"),
        ("levels.json", ": levels.json: nested more than 40 levels deep, as no job may be"),
        ({"properties": {"a": {"items": 3}}}, ": properties.a.items: 3 is not of type"),
        ("no.such.module:Ticket", ": there is no module no.such.module: it is looked for in "),
        ("json:JSONDecoder", ": json has something else as pydantic model JSONDecoder"),
        ("json:Missing", ": json has no pydantic model Missing"),
    ],
)
def test_what_is_no_schema_is_refused(tmp_path: Path, spelled: Any, message: str) -> None:
    """The message begins with the job's place and names the place in the schema."""
    (tmp_path / "bad.json").write_text('{"type": ')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bad.yaml").write_text("type: object\nproperties: {a: \n")
    (tmp_path / "latin.json").write_bytes('{"title": "é"}'.encode("latin-1"))
    (tmp_path / "type.json").write_text('{"properties": {"a": {"type": "strin"}}}')
    (tmp_path / "remote.json").write_text('{"properties": {"a": {"$ref": "http://x/y.json"}}}')
    (tmp_path / "text.json").write_text('{"properties": {"a": {"description": "lone \\ud83d"}}}')
    (tmp_path / "key.json").write_text('{"properties": {"\\ud83d": {"type": "string"}}}')
    (tmp_path / "levels.json").write_text('{"not": ' * 40 + "{}" + "}" * 40)
    (tmp_path / "deep.json").write_text('{"not": ' * 400 + "{}" + "}" * 400)
    with pytest.raises(JobError, match=f"^{WHERE}{message}"):
        load(spelled, tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nraise KeyError('k')\n", r"\.py:2: KeyError: 'k'"),
        ("import sys\nsys.exit(3)\n", r"\.py:2: SystemExit: 3"),
        ("import nothing_of_this_name\n", r"\.py:1: ModuleNotFoundError: No module named"),
        ("class Ticket:\n    pass\n", "has something else as pydantic model Ticket"),
        (
            "from typing import Callable\nfrom pydantic import BaseModel\n"
            "class Ticket(BaseModel):\n    call: Callable[[], int]\n",
            "Ticket has no JSON Schema: ",
        ),
    ],
)
def test_a_module_that_cannot_be_used_says_why(tmp_path: Path, code: str, message: str) -> None:
    """With the file and line of the user's own mistake."""
    (tmp_path / "shapes.py").write_text(code)
    before = list(sys.path)
    with pytest.raises(JobError, match=message):
        load("shapes:Ticket", tmp_path)
    assert sys.path == before


@pytest.mark.parametrize(
    ("wrapping", "inside"),
    [
        ({"name": "a", "strict": True, "schema": SCHEMA}, "schema"),
        ({"schema": SCHEMA}, "schema"),
        ({"type": "json_schema", "name": "a", "schema": SCHEMA}, "schema"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}, "json_schema.schema"),
        ({"json_schema": SCHEMA}, "json_schema"),
    ],
)
def test_what_the_api_wraps_a_schema_in_is_refused(
    tmp_path: Path, wrapping: dict[str, Any], inside: str
) -> None:
    """As a schema it would let any answer pass; inline and in a file alike."""
    (tmp_path / "t.json").write_bytes(codec.dumps(wrapping))
    for spelled, named in ((wrapping, WHERE), ("t.json", f"{WHERE}: t.json")):
        with pytest.raises(JobError) as refused:
            load(spelled, tmp_path)
        assert refused.value.message.startswith(f"{named}: this is what the API wraps a schema in")
        assert refused.value.hint == f"Write what stands under `{inside}`, without what is around it."


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"schema": {"type": "string"}}},
        {"type": "object", "schema": {"note": "an annotation of somebody's"}},
        {"name": "a", "schema": "v1", "type": "string"},
        {"title": "a", "json_schema": {}, "type": "string"},
    ],
)
def test_a_schema_with_members_of_such_names_is_one(tmp_path: Path, schema: dict[str, Any]) -> None:
    """JSON Schema allows further members."""
    assert load(schema, tmp_path) == schema


def test_a_models_module_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan writes nothing, no bytecode either."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "shapes.py").write_text(
        "from pydantic import BaseModel\nclass Ticket(BaseModel):\n    a: int\n"
    )
    load("shapes:Ticket", tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["shapes.py"]
