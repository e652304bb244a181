"""Reads which tools a request offers, and which of them may or must be called. Pure.

Sources: OpenAI's ChatCompletionTool and ChatCompletionToolChoiceOption; `functions` and `function_call`
are their deprecated forms, `{type: web_search}` is Lunos's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from batchrun.simulator.reading.checks import (
    array,
    boolean,
    mapping,
    missing,
    needed_text,
    one_of,
    text,
    wrong,
)
from batchrun.simulator.reading.schema_rules import check_schema, check_strict
from batchrun.simulator.refusal import Refusal, RefusedError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that can be called."""

    kind: Literal["function", "custom"]
    name: str
    parameters: Mapping[str, Any]
    """A function's JSON Schema, or a custom tool's format."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a request, and how it wants them used."""

    tools: tuple[Tool, ...] = ()
    """Those that may be called."""
    must: bool = False
    """One of them is called whatever was asked."""
    parallel: bool = True
    """Several may be called at once."""
    legacy: bool = False
    """They came as `functions`."""
    web_search: bool = False
    """The answer cites pages."""


def read_offer(members: Mapping[str, Any]) -> Offer:
    """Check `tools`, `tool_choice`, `parallel_tool_calls`, `functions` and `function_call`."""
    given = array(members.get("tools"), "tools", dict)
    if not given:
        for name in ("tool_choice", "parallel_tool_calls"):
            if members.get(name) not in (None, "none"):
                message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                raise RefusedError(Refusal(400, message, param=name))
        return _legacy(members)
    if len(given) > 128:
        raise wrong("tools", "expected at most 128 tools")
    read = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(given)]
    parallel = members.get("parallel_tool_calls")
    boolean(parallel, "parallel_tool_calls")
    offer = Offer(
        tools=tuple(tool for tool in read if tool is not None),
        parallel=parallel is not False,
        web_search=None in read,
    )
    return _chosen(offer, members.get("tool_choice"))


def _tool(tool: Mapping[str, Any], param: str) -> Tool | None:
    """None for a web search, which the service runs by itself."""
    kind = one_of(tool.get("type"), f"{param}.type", ("function", "custom", "web_search"))
    match kind:
        case "function":
            return _function(mapping(tool.get("function"), f"{param}.function"), f"{param}.function")
        case "custom":
            custom = mapping(tool.get("custom"), f"{param}.custom")
            name = _named(custom, f"{param}.custom")
            return Tool("custom", name, _format(custom, f"{param}.custom.format"))
        case "web_search":
            return None
    raise missing(f"{param}.type")


def _function(function: Mapping[str, Any], param: str) -> Tool:
    name = _named(function, param)
    text(function.get("description"), f"{param}.description")
    parameters = mapping(function.get("parameters"), f"{param}.parameters")
    check_schema(parameters, f"function '{name}'", f"{param}.parameters")
    if boolean(function.get("strict"), f"{param}.strict"):
        check_strict(parameters, f"function '{name}'", f"{param}.parameters")
    return Tool("function", name, parameters)


def _named(definition: Mapping[str, Any], param: str) -> str:
    name = needed_text(definition.get("name"), f"{param}.name")
    if not _NAME.fullmatch(name):
        raise wrong(f"{param}.name", "expected a string that matches the pattern '^[a-zA-Z0-9_-]{1,64}$'")
    return name


def _format(custom: Mapping[str, Any], param: str) -> Mapping[str, Any]:
    form = mapping(custom.get("format"), param)
    if form and one_of(form.get("type"), f"{param}.type", ("text", "grammar")) == "grammar":
        grammar = mapping(form.get("grammar"), f"{param}.grammar")
        needed_text(grammar.get("definition"), f"{param}.grammar.definition")
        if one_of(grammar.get("syntax"), f"{param}.grammar.syntax", ("lark", "regex")) is None:
            raise missing(f"{param}.grammar.syntax")
    return form


def _chosen(offer: Offer, choice: Any) -> Offer:
    """The offer as `tool_choice` narrows it."""
    if choice is None or isinstance(choice, str):
        mode = one_of(choice, "tool_choice", ("none", "auto", "required"))
        return replace(offer, tools=() if mode == "none" else offer.tools, must=mode == "required")
    given = mapping(choice, "tool_choice")
    kind = one_of(given.get("type"), "tool_choice.type", ("function", "custom", "allowed_tools"))
    if kind is None:
        raise missing("tool_choice.type")
    if kind != "allowed_tools":
        return replace(offer, tools=(_find(offer.tools, given, "tool_choice"),), must=True, parallel=False)
    param = "tool_choice.allowed_tools"
    allowed = mapping(given.get("allowed_tools"), param)
    mode = one_of(allowed.get("mode"), f"{param}.mode", ("auto", "required"))
    if mode is None:
        raise missing(f"{param}.mode")
    named = array(allowed.get("tools"), f"{param}.tools", dict)
    tools = [_find(offer.tools, tool, f"{param}.tools[{place}]") for place, tool in enumerate(named)]
    return replace(offer, tools=tuple(tools), must=mode == "required")


def _find(tools: Sequence[Tool], reference: Mapping[str, Any], param: str) -> Tool:
    kind = one_of(reference.get("type"), f"{param}.type", ("function", "custom")) or "function"
    name = needed_text(mapping(reference.get(kind), f"{param}.{kind}").get("name"), f"{param}.{kind}.name")
    for tool in tools:
        if (tool.kind, tool.name) == (kind, name):
            return tool
    message = f"Invalid value for '{param}': Tool choice '{name}' not found in 'tools' parameter."
    raise RefusedError(Refusal(400, message, param=param, code="invalid_value"))


def _legacy(members: Mapping[str, Any]) -> Offer:
    given = array(members.get("functions"), "functions", dict)
    choice = members.get("function_call")
    if not given:
        if choice not in (None, "none"):
            message = "Invalid value for 'function_call': only allowed when 'functions' are specified."
            raise RefusedError(Refusal(400, message, param="function_call"))
        return Offer()
    functions = tuple(_function(function, f"functions[{place}]") for place, function in enumerate(given))
    offer = Offer(functions, parallel=False, legacy=True)
    if choice is None or isinstance(choice, str):
        mode = one_of(choice, "function_call", ("none", "auto"))
        return replace(offer, tools=() if mode == "none" else functions)
    named = {"type": "function", "function": mapping(choice, "function_call")}
    return replace(offer, tools=(_find(functions, named, "function_call"),), must=True)
