"""Schemas inside parameters: the wrong ones are found where they stand, and nothing is loaded without one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from batchrun.chat.request.parameter_schemas import schema_findings

WRONG = {"properties": {"a": {"type": "objct"}}}
RIGHT = {"type": "object", "properties": {"a": {"type": "string"}}}
SAID = "'objct' is no type; the types are object, array, string, integer, number, boolean, null"


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"tools": [tool(RIGHT), tool(WRONG)]}, ("tools", 1, "function", "parameters")),
        ({"functions": [{"name": "f", "parameters": WRONG}]}, ("functions", 0, "parameters")),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": WRONG}}},
            ("response_format", "json_schema", "schema"),
        ),
        (
            {"response_format": {"type": "structural_tag", "structures": [{"schema": WRONG}]}},
            ("response_format", "structures", 0, "schema"),
        ),
        ({"structured_outputs": {"json": WRONG}}, ("structured_outputs", "json")),
    ],
)
def test_a_wrong_schema_is_found_where_it_stands(
    parameters: dict[str, Any], path: tuple[str | int, ...]
) -> None:
    """Wherever the API takes one, and with the place in it."""
    assert list(schema_findings(parameters)) == [((*path, "properties", "a", "type"), SAID)]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tools": [tool(RIGHT), {"type": "web_search"}, {"type": "function", "function": {"name": "f"}}]},
        {"tools": [tool({"type": "{{ kind }}"}), tool("{{ schema }}"), "{{ tool }}"]},
        {"tools": "{{ tools }}", "functions": None, "response_format": {"type": "text"}},
        {"structured_outputs": {"json": "{}"}},
    ],
)
def test_right_ones_and_those_that_are_not_known_yet_pass(parameters: dict[str, Any]) -> None:
    """A template gives its value with each row."""
    assert list(schema_findings(parameters)) == []


def test_a_schema_that_refers_elsewhere_or_is_nested_too_deeply_is_found() -> None:
    """The reason stands without a place where the whole schema is meant."""
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"items": deep}
    found = list(schema_findings({"tools": [tool({"$ref": "http://x/y"}), tool(deep)]}))
    top = ("tools", 0, "function", "parameters")
    assert found[0] == ((*top, "$ref"), "'http://x/y' is in another document: copy it into $defs")
    assert [path for path, reason in found[1:] if "nested too deeply" not in reason] == []


def test_a_job_without_a_schema_does_not_load_the_validator() -> None:
    """It costs memory and time at the start of each command."""
    program = (
        "import sys; from batchrun.chat.request.parameter_schemas import schema_findings;"
        "assert not list(schema_findings({'temperature': 0, 'tools': [{'type': 'web_search'}]}));"
        "sys.exit('jsonschema_rs' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
