"""The job file's JSON Schema, for editors.

The YAML language server understands draft-07 and below, pydantic writes 2020-12: the two differ
here in where definitions stand and in whether a `$ref` may have neighbours.
"""

from __future__ import annotations

from typing import Any

from batchrun.job.sections.file import JobFile

_DEFINITIONS = "#/definitions/"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""What a value may be in the file before its variables are replaced."""


def job_schema() -> dict[str, Any]:
    """The JSON Schema (draft-07) of a job file; every key has a description."""
    schema = JobFile.model_json_schema(ref_template=f"{_DEFINITIONS}{{model}}")
    definitions = schema.pop("$defs")
    about = {f"{_DEFINITIONS}{name}": section["description"] for name, section in definitions.items()}
    others = {key: value for key, value in schema["properties"].items() if key != "prompt"}
    expanded = _named_in(others, definitions)  # in mappings of the prompt alone, variables are not replaced
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_section(schema, about),
        "title": "batchrun job",
        "definitions": {
            name: _section(section, about, variables=name in expanded)
            for name, section in sorted(definitions.items())
        },
    }


def _named_in(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """The definitions that a schema refers to, and those refer to in turn."""
    found: set[str] = set()
    unread = [schema]
    while unread:
        match unread.pop():
            case {"$ref": str(reference)}:
                name = reference.removeprefix(_DEFINITIONS)
                unread += [definitions[name]] * (name not in found)
                found.add(name)
            case dict(members):
                unread += members.values()
            case list(items):
                unread += items
    return found


def _section(section: dict[str, Any], about: dict[str, str], *, variables: bool = True) -> dict[str, Any]:
    """Rewrite a mapping's schema; `about` holds the descriptions of what its keys may refer to."""
    properties = {
        key: _property(value, about, variables=variables)
        for key, value in section.get("properties", {}).items()
    }
    return {key: value for key, value in section.items() if key != "title"} | {"properties": properties}


def _property(schema: dict[str, Any], about: dict[str, str], *, variables: bool) -> dict[str, Any]:
    value = _value({key: item for key, item in schema.items() if key not in ("description", "default")})
    if variables:
        value = _or_variable(value)
    told: dict[str, Any] = {"description": schema.get("description") or about[schema.get("$ref", "")]}
    if not isinstance(schema.get("default"), dict | None):
        told["default"] = schema["default"]
    return told | ({"allOf": [value]} if "$ref" in value else value)  # draft-07 ignores a $ref's neighbours


def _value(schema: Any) -> Any:
    """Drop what is noise in an editor, everywhere below; a value that fits one of several is enough."""
    if isinstance(schema, list):
        return [_value(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "patternProperties" in schema:  # pydantic leaves open what keys outside the pattern may hold
        schema = {"additionalProperties": False, **schema}
    renamed = {"oneOf": "anyOf"}
    return {renamed.get(key, key): _value(item) for key, item in schema.items() if key != "title"}


def _or_variable(value: dict[str, Any]) -> dict[str, Any]:
    """Let `${VAR}` stand where a number, a boolean, a word of a list or a formed text does."""
    inner = {
        key: _or_variable(value[key]) for key in ("items", "additionalProperties") if _is_schema(value, key)
    }
    value = value | inner
    if not any(_is_formed(form) for form in value.get("anyOf", [value])):
        return value
    return (
        value | {"anyOf": [*value["anyOf"], _VARIABLE]} if "anyOf" in value else {"anyOf": [value, _VARIABLE]}
    )


def _is_schema(value: dict[str, Any], key: str) -> bool:
    return isinstance(value.get(key), dict)


def _is_formed(form: dict[str, Any]) -> bool:
    return form.get("type") in ("integer", "number", "boolean") or "enum" in form or "pattern" in form
