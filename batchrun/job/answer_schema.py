"""The job's `schema`: written in the job, in a file of its own, or as a pydantic model."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from batchrun import codec
from batchrun.chat.schema.json_schema import SchemaError, compiled, plain
from batchrun.errors import JobError
from batchrun.importing import importing_from
from batchrun.job.document.document import MAX_DEPTH, read_document, read_whole

_YAML = (".yaml", ".yml")
_WRAPPING = frozenset({"type", "name", "description", "strict", "schema"})
"""Members of ResponseFormatJSONSchema.json_schema; the newer API has `type` beside them."""
_HINT = "Give a JSON Schema, the path of one (.json, .yaml), or package.module:PydanticModel."
_PUT_RIGHT = "Put the schema right: it must be a JSON Schema that refers to nothing outside it."


def load_answer_schema(spelled: str | Mapping[str, Any], *, folder: Path, where: str) -> dict[str, Any]:
    """The JSON Schema that `schema` spells, as a plain value; nothing is fetched from anywhere.

    A path starts at `folder`, and so does the import of a model. `where` begins each message. Raises
    JobError when it cannot be read, is no JSON Schema, or refers to another document.
    """
    if isinstance(spelled, Mapping):
        found, named = spelled, where
    elif _names_model(spelled):
        found, named = _model_schema(spelled, folder, where), f"{where}: {spelled}"
    else:
        found, named = _read_file(folder / spelled, spelled, where), f"{where}: {spelled}"
    if inside := _wrapped(found):
        raise JobError(
            f"{named}: this is what the API wraps a schema in, and checks nothing by itself",
            hint=f"Write what stands under `{inside}`, without what is around it.",
        )
    try:
        schema = plain(found)
        compiled(schema)
    except SchemaError as error:
        raise JobError(f"{named}: {error}", hint=_PUT_RIGHT) from error
    if _depth(schema) > MAX_DEPTH:
        raise JobError(
            f"{named}: nested more than {MAX_DEPTH} levels deep, as no job may be",
            hint="Write parts of it under $defs, and refer to them.",
        )
    return schema


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0


def _wrapped(found: Mapping[str, Any]) -> str | None:
    """The way to the schema in `response_format` or a part of it (OpenAI: ResponseFormatJSONSchema)."""
    if isinstance(inner := found.get("json_schema"), Mapping) and found.keys() <= {"type", "json_schema"}:
        return "json_schema.schema" if "schema" in inner else "json_schema"
    alone = found.keys() <= _WRAPPING and found.get("type", "json_schema") == "json_schema"
    return "schema" if alone and isinstance(found.get("schema"), Mapping) else None


def _names_model(spelled: str) -> bool:
    module, colon, name = spelled.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _read_file(path: Path, spelled: str, where: str) -> Mapping[str, Any]:
    if ".py" in spelled and (path.suffix == ".py" or ":" in spelled):
        module = spelled.partition(":")[0].removesuffix(".py")
        raise JobError(
            f"{where}: {spelled} is a Python file, and no schema",
            hint=f"Name the pydantic model in it as `{module.replace('/', '.')}:CLASS`, without .py.",
        )
    try:
        data = read_whole(path)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{where}: {spelled} is not UTF-8 text", hint=_HINT) from error
    except OSError as error:
        raise JobError(f"{where}: {spelled} cannot be read: {error.strerror}", hint=_HINT) from error
    value = _yaml(text, spelled, where) if path.suffix in _YAML else _json(text, spelled, where)
    if not isinstance(value, Mapping):
        raise JobError(f"{where}: {spelled} holds no JSON object", hint=_HINT)
    return value


def _json(text: str, spelled: str, where: str) -> Any:
    try:
        return codec.loads(text.encode())
    except ValueError as error:
        raise JobError(f"{where}: {spelled} is no JSON: {error}", hint=_HINT) from error


def _yaml(text: str, spelled: str, where: str) -> Any:
    document = read_document(text)
    if document.problems:
        problem = document.problems[0]
        line = problem.line or document.lines.get(problem.loc, 1)
        raise JobError(f"{where}: {spelled}:{line}: {problem.text}", hint=_HINT)
    return document.value


def _model_schema(spelled: str, folder: Path, where: str) -> dict[str, Any]:
    module_name, _, name = spelled.partition(":")
    with importing_from(folder, forget=True):
        try:
            found = getattr(importlib.import_module(module_name), name, None)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # whatever the user's module raises, SystemExit too
            message = _failed_import(spelled, module_name, folder, where, error)
            raise JobError(
                message, hint=f"`python -c 'import {module_name}'` must work in {folder}."
            ) from error
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            what = "has no" if found is None else "has something else as"
            raise JobError(f"{where}: {module_name} {what} pydantic model {name}", hint=_HINT)
        try:
            return found.model_json_schema()
        except PydanticUserError as error:
            raise JobError(
                f"{where}: {spelled} has no JSON Schema: {error.message}",
                hint="Give its fields types that JSON has: text, numbers, lists, Literal, Enum, models.",
            ) from error


def _failed_import(spelled: str, module: str, folder: Path, where: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and (error.name or "") in (module, module.partition(".")[0]):
        return f"{where}: there is no module {module}: it is looked for in {folder}, then where Python looks"
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    return f"{where}: {spelled} cannot be imported: {place}{type(error).__name__}: {error}"
