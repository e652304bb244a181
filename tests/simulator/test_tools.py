"""Tools: which are offered, when they are called, and with what."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.simulator.asking import choice, refusal, reply
from tests.simulator.wire import PROMPT

PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}


def function(name: str, parameters: object = PLACE, **more: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def custom(name: str, **more: object) -> dict[str, Any]:
    return {"type": "custom", "custom": {"name": name, **more}}


def grammar(definition: str, syntax: str = "regex") -> dict[str, Any]:
    return {"type": "grammar", "grammar": {"definition": definition, "syntax": syntax}}


WEATHER, TIME, SHELL = function("get_weather"), function("get_time"), custom("shell")
FORCED = {"type": "function", "function": {"name": "get_time"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FORCED]}}


def asks(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def names(found: dict[str, Any]) -> list[str]:
    """The tools that a choice calls."""
    calls = found["message"].get("tool_calls", ())
    return [call[call["type"]]["name"] for call in calls]


def answered(messages: list[Any], found: dict[str, Any]) -> list[Any]:
    """The conversation after its tools have given results."""
    said = found["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"result {number}"}
        for number, call in enumerate(said["tool_calls"])
    ]
    return [*messages, said, *results]


@pytest.mark.parametrize("seed", range(10))
def test_arguments_fit_their_schema(seed: int) -> None:
    """A call has an id, a type, a name and JSON that the function's parameters accept."""
    found = choice(seed=seed, tools=[WEATHER])
    assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", None)
    ids = [call["id"] for call in found["message"]["tool_calls"]]
    assert all(identity.startswith("call_") for identity in ids)
    assert len(set(ids)) == len(ids)
    for call in found["message"]["tool_calls"]:
        assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
        jsonschema.validate(json.loads(call["function"]["arguments"]), PLACE)


def test_tools_that_the_question_names_are_called() -> None:
    """So that a test decides which ones."""
    tools = [WEATHER, TIME, SHELL]
    both = choice(messages=asks("Use get_time and get_weather"), tools=tools)
    assert names(both) == ["get_weather", "get_time"]
    alone = {"tools": tools, "parallel_tool_calls": False}
    assert names(choice(messages=asks("Use get_time and get_weather"), **alone)) == ["get_weather"]
    assert all(len(names(choice(seed=seed, **alone))) == 1 for seed in range(20))
    assert {len(names(choice(seed=seed, tools=tools))) for seed in range(20)} == {1, 2}


@pytest.mark.parametrize(
    ("tool_choice", "expected"),
    [
        ("none", []),
        (FORCED, ["get_time"]),
        (ALLOWED, ["get_time"]),
        ({"type": "custom", "custom": {"name": "shell"}}, ["shell"]),
    ],
    ids=str,
)
def test_the_choice_of_tools_is_obeyed(tool_choice: object, expected: list[str]) -> None:
    """None, one by name, or some of them."""
    found = choice(tools=[WEATHER, TIME, SHELL], tool_choice=tool_choice, parallel_tool_calls=False)
    assert names(found) == expected
    assert bool(found["message"]["content"]) is (not expected)


def test_a_loop_of_calls_ends() -> None:
    """Once a tool has given its result the answer is text that quotes it; who must call goes on calling."""
    messages = asks("get_weather and get_time")
    first = choice(messages=messages, tools=[WEATHER, TIME])
    second = choice(messages=answered(messages, first), tools=[WEATHER, TIME])
    assert second["message"]["content"].startswith("get_weather gave: result 0\nget_time gave: result 1\n")
    assert second["finish_reason"] == "stop"
    later = [*answered(messages, first), second["message"], *asks("And get_time?")]
    assert choice(messages=later, tools=[WEATHER, TIME])["finish_reason"] == "stop"
    assert names(choice(messages=later, tools=[WEATHER, TIME], tool_choice="required")) == ["get_time"]


def test_a_structured_answer_follows_the_calls() -> None:
    """With a schema too, tools come first and the JSON last."""
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": PLACE}}
    first = choice(tools=[WEATHER], response_format=schema)
    second = choice(messages=answered(PROMPT, first), tools=[WEATHER], response_format=schema)
    jsonschema.validate(json.loads(second["message"]["content"]), PLACE)


def test_a_custom_tool_gets_text() -> None:
    """In the form of its grammar, where that is a regular expression that is simple."""
    free, bound = custom("free"), custom("bound", format=grammar("[0-9]{3}"))
    lark = custom("lark", format=grammar('start: "a"', "lark"))
    calls = choice(messages=asks("free bound lark"), tools=[free, bound, lark])["message"]["tool_calls"]
    inputs = [call["custom"]["input"] for call in calls]
    assert all(inputs)
    assert inputs[1].isdigit()
    assert {call["type"] for call in calls} == {"custom"}


def test_functions_are_called_the_old_way() -> None:
    """`functions` are answered with one `function_call`, and a function message ends the loop."""
    definition = WEATHER["function"]
    found = choice(functions=[definition])
    assert found["finish_reason"] == "function_call"
    assert "tool_calls" not in found["message"]
    jsonschema.validate(json.loads(found["message"]["function_call"]["arguments"]), PLACE)
    result = {"role": "function", "name": "get_weather", "content": "sunny"}
    ended = choice(messages=[*PROMPT, found["message"], result], functions=[definition])
    assert ended["message"]["content"].startswith("get_weather gave: sunny\n")
    assert choice(functions=[definition], function_call="none")["finish_reason"] == "stop"
    forced = choice(functions=[definition], function_call={"name": "get_weather"})
    assert forced["finish_reason"] == "function_call"


def test_arguments_can_be_cut_off() -> None:
    """The limit on tokens holds for arguments too, and is said."""
    found = reply(tools=[WEATHER], tool_choice="required", max_tokens=5)
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 5


def test_a_web_search_cites() -> None:
    """As an option or as a tool; the citation is a place in the text."""
    offers: list[dict[str, Any]] = [{"web_search_options": {}}, {"tools": [{"type": "web_search"}]}]
    for members in offers:
        said = choice(**members)["message"]
        [found] = said["annotations"]
        cited = found["url_citation"]
        assert found["type"] == "url_citation"
        assert said["content"][cited["start_index"] : cited["end_index"]].endswith(".")
        assert cited["url"].startswith("https://")


STRICT_OPEN = function("f", {"type": "object", "properties": {}}, strict=True)
STRICT_OPTIONAL = function("f", {**PLACE, "required": ["city"]}, strict=True)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": "get_weather"}, "tools"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "magic"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"tools": [function("get weather")]}, "tools[0].function.name"),
        ({"tools": [function("f" * 65)]}, "tools[0].function.name"),
        ({"tools": [function("f", "text")]}, "tools[0].function.parameters"),
        ({"tools": [function("f", {"properties": []})]}, "tools[0].function.parameters"),
        ({"tools": [STRICT_OPEN]}, "tools[0].function.parameters"),
        ({"tools": [STRICT_OPTIONAL]}, "tools[0].function.parameters"),
        ({"tools": [custom("c", format={"type": "xml"})]}, "tools[0].custom.format.type"),
        ({"tools": [custom("c", format=grammar("a", "bnf"))]}, "tools[0].custom.format.grammar.syntax"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {}}, "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": FORCED}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": ALLOWED}, "tool_choice.allowed_tools.tools[0]"),
        ({"tools": [WEATHER], "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"function_call": "auto"}, "function_call"),
        ({"functions": [WEATHER["function"]], "function_call": {"name": "g"}}, "function_call"),
        ({"functions": [{}]}, "functions[0].name"),
    ],
    ids=str,
)
def test_a_wrong_offer_is_refused(members: dict[str, Any], param: str) -> None:
    """Names, choices of what is not there, and strict schemas that are not strict."""
    found = refusal(**members)
    assert (found.status, found.param) == (400, param)


STRICT: list[tuple[dict[str, Any], str]] = [
    ({"type": "array", "items": PLACE}, "got 'array'"),
    ({"type": "object", "anyOf": [PLACE], "additionalProperties": False}, "got 'anyOf'"),
    ({**PLACE, "additionalProperties": True}, "'additionalProperties' is required"),
    ({**PLACE, "required": []}, "Missing 'city'"),
    (PLACE | {"properties": {**PLACE["properties"], "city": {"type": "object"}}}, "('properties', 'city')"),
    (PLACE | {"$defs": {"X": {"type": "object"}}}, "('$defs', 'X')"),
    (PLACE | {"allOf": [{}]}, "'allOf' is not permitted"),
]


@pytest.mark.parametrize(("schema", "message"), STRICT, ids=str)
def test_a_strict_schema_must_be_strict(schema: dict[str, Any], message: str) -> None:
    """What OpenAI's guide demands is demanded here, so that a rewriting shows its faults."""
    named = {"name": "place", "schema": schema}
    loose, strict = ({"type": "json_schema", "json_schema": named | {"strict": s}} for s in (False, True))
    found = refusal(response_format=strict)
    assert found.message.startswith("Invalid schema for response_format 'place': ")
    assert message in found.message
    assert choice(response_format=loose)["message"]["content"]
