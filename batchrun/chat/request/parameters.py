"""Whether parameters are right, each by itself and all together.

The same rules hold when a job is loaded, where a value may still be a template, and for a row
once it is rendered. Each sentence names the rule; its source is the API reference of OpenAI, or of
vLLM (as Lightcone documents it) where that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from batchrun.chat.request.members import RENDERED
from batchrun.chat.request.parameter_models import Parameters
from batchrun.chat.request.sentences import counted, expected, is_key
from batchrun.template.source import has_markup

Finding: TypeAlias = tuple[str, str]
"""A parameter, and what is wrong with it."""

_CHECKED = Parameters.model_fields.keys() - {"extra_body"}

_DEPENDENT = frozenset(
    {
        "top_logprobs",
        "max_tokens",
        "min_tokens",
        "continue_final_message",
        "audio",
        "modalities",
        "stream_options",
        "prompt_logprobs",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
    }
)
"""Without any of these, nothing can be wrong only together: each rule below needs one."""


def check_parameter(name: str, value: Any) -> str | None:
    """The reason a rendered parameter is wrong, as `temperature: must be at most 2; found 3`; None if right.

    Unknown names, unknown members and unknown types of parts pass. Never raises.
    """
    if name not in _CHECKED:
        return None
    try:
        _adapter(name).validate_python(value, context=RENDERED)
    except ValidationError as error:
        return next(_sentences(name, error), None)
    return None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    field = Parameters.model_fields[name]
    annotation: Any = field.annotation
    return TypeAdapter(Annotated[annotation, *field.metadata] if field.metadata else annotation)


def _sentences(name: str, error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False):
        if _is_lenient(details["type"], details["input"]):
            continue
        loc, value = details["loc"], details["input"]
        subject = "the key " if is_key(loc, value) else ""
        path = "".join(_step(part) for part in (loc[:-1] if subject else loc))
        if details["type"] == "missing":
            yield f"{name}{path} is required and missing"
        elif details["type"] == "unknown_kind":
            yield f"{name}{path}: must be a mapping{_found(value)}"
        else:
            wanted = expected(details["type"], details.get("ctx", {}), details["msg"])
            found = counted(details["type"], value)
            yield f"{name}{path}: {subject}{wanted}{f'; found {found}' if found else _found(value)}"


def _is_lenient(kind: str, value: Any) -> bool:
    """A row's data may hold members and kinds that an endpoint adds: they pass as they are."""
    return kind == "extra_forbidden" or (kind == "unknown_kind" and isinstance(value, dict))


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return "" if part.startswith("<") else f".{part}"


def _found(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return f"; found a {'mapping' if isinstance(value, dict) else 'list'}"
    text = repr(value)
    return f"; found {text if len(text) <= 60 else text[:57] + '…'}"


def check_combination(parameters: Mapping[str, Any], run_tools: Sequence[str] = ()) -> str | None:
    """The reason parameters do not go together, as `top_logprobs: needs logprobs: true`; None when they do.

    A parameter that is null counts as left out; one that is a template counts as given. `run_tools`
    names functions that are offered beside `tools`.
    """
    if _DEPENDENT.isdisjoint(parameters):
        return None
    findings = combination_findings(parameters, run_tools)
    return next((f"{name}: {text}" for name, text in findings), None)


def combination_findings(parameters: Mapping[str, Any], run_tools: Sequence[str] = ()) -> Iterator[Finding]:
    """Everything that is wrong only together, each with the parameter to change."""
    given = {name: value for name, value in parameters.items() if value is not None}
    if run_tools and isinstance(given.get("tools", []), list):
        offered = [{"type": "function", "function": {"name": name}} for name in run_tools]
        given["tools"] = [*given.get("tools", []), *offered]
    yield from _tokens(given)
    yield from _audio(given)
    yield from _stream(given)
    yield from _tools(given)
    yield from _functions(given)


def _tokens(given: Mapping[str, Any]) -> Iterator[Finding]:
    if "top_logprobs" in given and _is_off(given, "logprobs"):
        yield "top_logprobs", "needs logprobs: true"
    if {"max_tokens", "max_completion_tokens"} <= given.keys():
        yield "max_tokens", "is the older name of max_completion_tokens: keep one of the two"
    most = given.get("max_completion_tokens", given.get("max_tokens"))
    least = given.get("min_tokens")
    if isinstance(most, int) and isinstance(least, int) and least > most:
        yield "min_tokens", f"must not be above the most tokens of an answer, {most} (vLLM)"
    if given.get("add_generation_prompt") is True and given.get("continue_final_message") is True:
        yield "continue_final_message", "excludes add_generation_prompt: keep one of the two (vLLM)"


def _audio(given: Mapping[str, Any]) -> Iterator[Finding]:
    modalities = given.get("modalities", ["text"])
    if has_markup(modalities) or not isinstance(modalities, list):
        return  # not known yet, or wrong by itself
    if "audio" in given and "audio" not in modalities:
        yield "audio", "needs modalities with audio: modalities: [text, audio]"
    if "audio" not in given and "audio" in modalities:
        yield "modalities", "with audio need `audio`, its format and voice"


def _stream(given: Mapping[str, Any]) -> Iterator[Finding]:
    if "stream_options" in given and _is_off(given, "stream"):
        yield "stream_options", "need stream: true"
    if given.get("stream") is True and "prompt_logprobs" in given:
        yield "prompt_logprobs", "are not given in a stream (vLLM): leave out stream"


def _is_off(given: Mapping[str, Any], name: str) -> bool:
    return not has_markup(given.get(name)) and given.get(name) is not True


def _tools(given: Mapping[str, Any]) -> Iterator[Finding]:
    tools = given.get("tools")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in given and not tools:
            yield name, "needs tools"
    choice = given.get("tool_choice")
    if isinstance(tools, list) and isinstance(choice, Mapping) and not has_markup([tools, choice]):
        known = [named for tool in tools if (named := _named(tool))]
        for kind, wanted in (named for chosen in _chosen(choice) if (named := _named(chosen))):
            if (kind, wanted) not in known:
                names = ", ".join(name for _, name in known)
                yield (
                    "tool_choice",
                    f"names the {kind} tool {wanted!r}, which tools do not hold: name one of {names}",
                )


def _chosen(choice: Mapping[str, Any]) -> list[Any]:
    inner = choice.get("allowed_tools")
    tools = inner.get("tools") if isinstance(inner, Mapping) else None
    return tools if isinstance(tools, list) else [choice]


def _named(tool: Any) -> tuple[str, str] | None:
    """Kind and name of a tool or of the choice of one."""
    kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
    body = tool.get(kind) if isinstance(kind, str) else None
    name = body.get("name") if isinstance(body, Mapping) else None
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def _functions(given: Mapping[str, Any]) -> Iterator[Finding]:
    functions, call = given.get("functions"), given.get("function_call")
    if call is not None and not functions:
        yield "function_call", "needs functions"
    elif isinstance(call, Mapping) and isinstance(functions, list) and not has_markup([functions, call]):
        known = [function.get("name") for function in functions if isinstance(function, Mapping)]
        if call.get("name") not in known:
            yield (
                "function_call",
                f"names {call.get('name')!r}, which functions do not hold: name one that they do",
            )
    if functions and given.get("tools"):
        yield "functions", "is the older form of tools: keep one of the two"
