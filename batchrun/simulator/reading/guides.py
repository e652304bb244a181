"""Reads what form an answer must have: `response_format`, and vLLM's `structured_outputs`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from batchrun.codec import loads
from batchrun.simulator.making import patterns
from batchrun.simulator.making.structured import PLAIN_OBJECT
from batchrun.simulator.reading.checks import array, boolean, mapping, missing, needed_text, one_of, wrong
from batchrun.simulator.reading.schema_rules import check_schema, check_strict
from batchrun.simulator.refusal import Refusal, RefusedError

_FORMATS = ("text", "json_object", "json_schema", "structural_tag")
_CONSTRAINTS = ("choice", "regex", "json", "json_object", "grammar", "structural_tag")


@dataclass(frozen=True, slots=True)
class Guide:
    """The form of the answer."""

    kind: Literal["text", "json", "choice", "regex", "tags"] = "text"
    schema: Mapping[str, Any] = field(default_factory=dict)
    """Of the JSON; for tags, the structural tag."""
    choices: tuple[str, ...] = ()
    pattern: str = ""


def read_guide(members: Mapping[str, Any]) -> Guide:
    """Check and read both members; vLLM's own wins. Raises RefusedError."""
    wanted = _response_format(mapping(members.get("response_format"), "response_format"))
    given = mapping(members.get("structured_outputs"), "structured_outputs")
    named = [name for name in _CONSTRAINTS if given.get(name) not in (None, False)]
    if len(named) > 1:
        message = "You can only use one kind of constraints for structured outputs"
        raise RefusedError(Refusal(400, f"{message} ({', '.join(named)}).", param="structured_outputs"))
    return _constraint(named[0], given[named[0]]) if named else wanted


def _response_format(given: Mapping[str, Any]) -> Guide:
    kind = one_of(given.get("type"), "response_format.type", _FORMATS)
    if given and kind is None:
        raise missing("response_format.type")
    match kind:
        case "json_object":
            return Guide("json", PLAIN_OBJECT)
        case "json_schema":
            return _named_schema(given)
        case "structural_tag":
            if "format" not in given and "structures" not in given:
                raise missing("response_format.format")
            structures = array(given.get("structures"), "response_format.structures", dict)
            for place, structure in enumerate(structures):
                param = f"response_format.structures[{place}].schema"
                check_schema(structure.get("schema") or {}, "response_format", param)
            _check_form(given.get("format"))
            return Guide("tags", given)
    return Guide()


def _check_form(form: Any) -> None:
    """Every schema inside a structural tag's format must be one."""
    members = form.items() if isinstance(form, dict) else ()
    for name, member in members:
        if name == "json_schema":
            check_schema(member, "response_format", "response_format.format")
        for inner in member if isinstance(member, list) else [member] if name == "content" else ():
            _check_form(inner)


def _named_schema(given: Mapping[str, Any]) -> Guide:
    param = "response_format.json_schema"
    if given.get("json_schema") is None:
        raise missing(param)
    named = mapping(given["json_schema"], param)
    name = needed_text(named.get("name"), f"{param}.name")
    schema = mapping(named.get("schema"), f"{param}.schema")
    check_schema(schema, f"response_format '{name}'", f"{param}.schema")
    if boolean(named.get("strict"), f"{param}.strict"):
        check_strict(schema, f"response_format '{name}'", f"{param}.schema")
    return Guide("json", schema or PLAIN_OBJECT)


def _constraint(name: str, given: Any) -> Guide:
    param = f"structured_outputs.{name}"
    match name:
        case "choice":
            if not (choices := array(given, param, str)):
                raise wrong(param, "expected at least one choice")
            return Guide("choice", choices=tuple(choices))
        case "regex":
            return Guide("regex", pattern=_sampled(needed_text(given, param), param))
        case "json":
            return Guide("json", _schema(given, param))
        case "json_object":
            boolean(given, param)
            return Guide("json", PLAIN_OBJECT)
    raise wrong(param, "the simulator follows choice, regex, json and json_object only")


def _sampled(pattern: str, param: str) -> str:
    try:
        patterns.sample(pattern, "probe")
    except ValueError as error:
        raise wrong(param, str(error)) from error
    return pattern


def _schema(given: Any, param: str) -> Mapping[str, Any]:
    """vLLM takes the schema as an object or as its text."""
    if isinstance(given, str):
        try:
            given = loads(given.encode("utf-8", "replace"))
        except ValueError as error:
            raise wrong(param, "expected a JSON Schema") from error
    check_schema(mapping(given, param), "structured_outputs", param)
    return given or PLAIN_OBJECT
