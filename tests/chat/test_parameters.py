"""Parameters: each documented value passes as it is spelled, each wrong one is refused with its rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from batchrun.chat.request.parameter_models import Parameters
from batchrun.chat.request.parameters import (
    _DEPENDENT,
    check_combination,
    check_parameter,
    combination_findings,
)
from batchrun.chat.request.wire import Instructions, TokenLimit, translated

FUNCTION = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
GRAMMAR = {"type": "grammar", "grammar": {"definition": "a", "syntax": "lark"}}
RIGHT: dict[str, list[Any]] = {
    "add_generation_prompt": [True],
    "add_special_tokens": [False],
    "allowed_token_ids": [[1, 2]],
    "audio": [{"format": "wav", "voice": "alloy"}, {"format": "pcm16", "voice": {"id": "v"}}],
    "bad_words": [["x"]],
    "cache_salt": ["s"],
    "chat_template": ["x"],
    "chat_template_kwargs": [{"enable_thinking": False}],
    "continue_final_message": [True],
    "documents": [[{"title": "a", "text": "b"}]],
    "echo": [True],
    "fallback_model": ["openai/gpt-4.1"],
    "frequency_penalty": [-2, 0, 1.5, 2],
    "function_call": ["none", "auto", {"name": "f"}],
    "functions": [[{"name": "f", "parameters": {"type": "object"}}]],
    "ignore_eos": [True],
    "include_reasoning": [False],
    "include_stop_str_in_output": [True],
    "kv_transfer_params": [{"a": 1}],
    "length_penalty": [1, 0.5],
    "logit_bias": [{"50256": -100, "7": 0.5}],
    "logits_processors": [["a.b", {"qualname": "c.d", "args": [1], "kwargs": {"x": None}}]],
    "logprobs": [True, False],
    "max_completion_tokens": [1, 100_000],
    "max_tokens": [1],
    "metadata": [{"k" * 64: "v" * 512}, {str(n): "" for n in range(16)}],
    "min_p": [0, 0.05, 1],
    "min_tokens": [0, 5],
    "mm_processor_kwargs": [{"num_crops": 4}],
    "modalities": [["text"], ["text", "audio"]],
    "n": [1, 128],
    "observability": [True],
    "parallel_tool_calls": [False],
    "prediction": [
        {"type": "content", "content": "x"},
        {"type": "content", "content": [{"type": "text", "text": "x"}]},
    ],
    "presence_penalty": [-2, 2],
    "priority": [-1, 0],
    "prompt_cache_key": ["k"],
    "prompt_cache_retention": ["in-memory", "24h"],
    "prompt_logprobs": [-1, 0, 5],
    "reasoning_effort": ["none", "minimal", "low", "medium", "high", "xhigh", "max"],
    "repetition_penalty": [1, 1.05],
    "request_id": ["r"],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}},
        {"type": "grammar", "grammar": "root ::= 'a'"},
        {"type": "python"},
        {"type": "structural_tag", "format": {"type": "any_text"}},
        {
            "type": "structural_tag",
            "structures": [{"begin": "<a>", "end": "</a>", "schema": {}}],
            "triggers": ["<a"],
        },
    ],
    "return_token_ids": [True],
    "return_tokens_as_token_ids": [True],
    "safety_identifier": ["s"],
    "seed": [-(2**63), 0, 2**63 - 1],
    "service_tier": ["auto", "default", "flex", "scale", "priority"],
    "skip_special_tokens": [False],
    "spaces_between_special_tokens": [False],
    "stop": ["x", ["a", "b", "c", "d"]],
    "stop_token_ids": [[1]],
    "store": [True],
    "stream": [True],
    "stream_options": [
        {"include_usage": True, "include_obfuscation": False},
        {"continuous_usage_stats": True},
    ],
    "structured_outputs": [
        {"choice": ["a", "b"]},
        {"json": {"type": "object"}, "disable_any_whitespace": True, "_backend": "xgrammar"},
        {"json": "{}"},
        {"regex": "a|b", "whitespace_pattern": " "},
        {"grammar": "root"},
        {"json_object": True},
        {"structural_tag": "{}"},
    ],
    "temperature": [0, 0.7, 2],
    "tool_choice": [
        "none",
        "auto",
        "required",
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "custom": {"name": "g"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "web_search"}]}},
    ],
    "tools": [
        [FUNCTION, {"type": "custom", "custom": {"name": "g"}}, {"type": "web_search"}],
        [{"type": "custom", "custom": {"name": "g", "description": "d", "format": {"type": "text"}}}],
        [{"type": "custom", "custom": {"name": "g", "format": GRAMMAR}}],
    ],
    "top_k": [-1, 0, 50],
    "top_logprobs": [0, 20],
    "top_p": [0, 1],
    "truncate_prompt_tokens": [-1, 5],
    "use_beam_search": [True],
    "user": ["u"],
    "verbosity": ["low", "medium", "high"],
    "vllm_xargs": [{"a": 1, "b": ["x", 2]}],
    "web_search_options": [
        {"search_context_size": "low"},
        {"user_location": {"type": "approximate", "approximate": {"city": "Rome", "country": "IT"}}},
    ],
}
CASES = [(name, value) for name, values in RIGHT.items() for value in values]
IDS = [f"{name}={json.dumps(value)[:60]}" for name, value in CASES]


def test_every_parameter_has_a_case() -> None:
    """A new one needs its documented values here."""
    assert RIGHT.keys() == Parameters.model_fields.keys() - {"extra_body"}


@pytest.mark.parametrize(("name", "value"), CASES, ids=IDS)
def test_a_documented_value_is_kept_as_it_is_spelled(name: str, value: Any) -> None:
    """In a job and in a row: no default is added, 0 does not become 0.0."""
    spelled = Parameters.model_validate({name: value}).spelled()
    assert json.dumps(spelled) == json.dumps({name: value})
    assert check_parameter(name, value) is None


@pytest.mark.parametrize("name", RIGHT)
def test_any_parameter_may_be_a_template_or_null(name: str) -> None:
    """Until it is rendered: then it is text like any other."""
    for value in ("{{ column }}", "{% if a %}1{% endif %}", None):
        assert Parameters.model_validate({name: value}).spelled() == {name: value}
    assert check_parameter(name, None) is None


TEXTS = {name for name, values in RIGHT.items() if isinstance(values[0], str)}


@pytest.mark.parametrize("name", sorted(RIGHT.keys() - TEXTS - {"function_call", "tool_choice"}))
def test_text_with_markup_is_no_value_once_rendered(name: str) -> None:
    """A row that leaves a template behind is refused where text is not allowed."""
    assert check_parameter(name, "{{ column }}") is not None


def _leaves(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [found for key, item in items for found in _leaves(item, (*way, key))]
    return below or [way]


def _with(value: Any, way: tuple[Any, ...], leaf: Any) -> Any:
    if not way:
        return leaf
    if isinstance(value, dict):
        return {key: _with(item, way[1:], leaf) if key == way[0] else item for key, item in value.items()}
    return [_with(item, way[1:], leaf) if at == way[0] else item for at, item in enumerate(value)]


KINDS = {("type",)}  # tells what the mapping is, so it must be known when the job is loaded


@pytest.mark.parametrize(("name", "value"), CASES, ids=IDS)
def test_any_leaf_may_be_a_template(name: str, value: Any) -> None:
    """A number, a boolean, a word of a list, however deep; only `type` says what the rest may be."""
    for way in _leaves(value):
        if way[-1:] in KINDS and "schema" not in way:
            continue
        spelled = _with(value, way, "{{ column }}")
        assert Parameters.model_validate({name: spelled}).spelled() == {name: spelled}


WRONG: list[tuple[str, Any, str]] = [
    ("temperature", 2.1, "temperature: must be at most 2; found 2.1"),
    ("temperature", -0.1, "temperature: must be at least 0"),
    ("temperature", "0.5", "temperature: must be a number; found '0.5'"),
    ("temperature", True, "temperature: must be a number"),
    ("temperature", float("nan"), "temperature: must be a number"),
    ("top_p", 1.5, "top_p: must be at most 1"),
    ("frequency_penalty", 3, "frequency_penalty: must be at most 2"),
    ("presence_penalty", -3, "presence_penalty: must be at least -2"),
    ("logit_bias", {"5": 101}, "logit_bias.5: must be at most 100"),
    ("logit_bias", {"a": 1}, "logit_bias: needs token ids as keys, and 'a' is no whole number"),
    ("n", 0, "n: must be at least 1"),
    ("n", 129, "n: must be at most 128"),
    ("n", 1.0, "n: must be a whole number"),
    ("top_logprobs", 21, "top_logprobs: must be at most 20"),
    ("seed", 2**63, "seed: must be at most 9223372036854775807"),
    ("stop", [""], "stop[0]: must not be empty"),
    ("stop", 3, "stop: must be text"),
    ("metadata", {str(n): "" for n in range(17)}, "metadata: must have at most 16 items; found 17"),
    ("metadata", {"k" * 65: ""}, f"metadata.{'k' * 65}: the key must have at most 64 characters; found 65"),
    ("metadata", {"k": "v" * 513}, "metadata.k: must have at most 512 characters; found 513"),
    ("metadata", {"k": 3}, "metadata.k: must be text"),
    ("max_tokens", 0, "max_tokens: must be at least 1"),
    ("min_p", 1.1, "min_p: must be at most 1"),
    ("repetition_penalty", 0, "repetition_penalty: must be above 0"),
    ("top_k", -2, "top_k: must be at least -1"),
    ("modalities", ["video"], "modalities[0]: must be one of text, audio"),
    ("modalities", [], "modalities: must have at least one item"),
    ("reasoning_effort", "huge", "reasoning_effort: must be one of none, minimal, low"),
    ("service_tier", "fast", "service_tier: must be one of auto, default, flex, scale, priority"),
    ("audio", {"format": "ogg", "voice": "a"}, "audio.format: must be one of wav, aac"),
    ("audio", {"format": "wav"}, "audio.voice is required and missing"),
    ("tools", [], "tools: must have at least one item"),
    ("tools", [{"type": "function"}], "tools[0].function is required and missing"),
    (
        "tools",
        [{"type": "function", "function": {"name": "a b"}}],
        "tools[0].function.name: must be made of letters",
    ),
    (
        "tools",
        [{"type": "function", "function": {"name": "a" * 65}}],
        "tools[0].function.name: must be made of",
    ),
    ("tools", 3, "tools: must be a list"),
    ("tool_choice", "always", "tool_choice: must be one of none, auto, required"),
    ("tool_choice", {"type": "function"}, "tool_choice.function is required and missing"),
    ("response_format", {"type": "json_schema"}, "response_format.json_schema is required and missing"),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"name": ""}},
        "json_schema.name: must be made of",
    ),
    ("response_format", {"type": "grammar"}, "response_format.grammar is required and missing"),
    ("response_format", {"type": "structural_tag"}, "needs either `format`, or `structures` and `triggers`"),
    ("structured_outputs", {}, "structured_outputs: needs exactly one of choice, grammar, json"),
    ("structured_outputs", {"regex": "a", "choice": ["a"]}, "needs exactly one of"),
    ("logits_processors", [{"args": []}], "logits_processors[0].qualname is required and missing"),
    ("logprobs", "yes", "logprobs: must be true or false"),
    ("stream_options", True, "stream_options: must be a mapping"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG, ids=[f"{n}: {t}" for n, _, t in WRONG])
def test_a_value_outside_its_documented_range_is_refused(name: str, value: Any, text: str) -> None:
    """With the rule named, in a row as in a job."""
    found = check_parameter(name, value)
    assert found is not None
    assert text in found
    with pytest.raises(ValidationError):
        Parameters.model_validate({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("an_endpoints_own", object()),
        ("extra_body", 3),
        ("tools", [{"type": "code_interpreter"}]),
        ("tools", [{"type": "function", "function": {"name": "f", "defer": True}, "cache_control": {}}]),
        ("response_format", {"type": "lark", "lark": "x"}),
        ("stream_options", {"surprise": 1}),
    ],
)
def test_what_a_row_brings_for_its_endpoint_passes(name: str, value: Any) -> None:
    """Unknown names, members and kinds are wrong in a job only."""
    assert check_parameter(name, value) is None


TOOLS = [FUNCTION, {"type": "custom", "custom": {"name": "g"}}]
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"top_logprobs": 1}, "top_logprobs: needs logprobs: true"),
    ({"top_logprobs": 0, "logprobs": False}, "top_logprobs: needs logprobs: true"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens: is the older name of max_completion_tokens"),
    ({"max_tokens": 1, "min_tokens": 2}, "min_tokens: must not be above"),
    (
        {"add_generation_prompt": True, "continue_final_message": True},
        "continue_final_message: excludes add_generation_prompt",
    ),
    ({"audio": {}}, "audio: needs modalities with audio"),
    ({"audio": {}, "modalities": ["text"]}, "audio: needs modalities with audio"),
    ({"modalities": ["text", "audio"]}, "modalities: with audio need `audio`"),
    ({"stream_options": {}}, "stream_options: need stream: true"),
    ({"stream_options": {}, "stream": False}, "stream_options: need stream: true"),
    ({"stream": True, "prompt_logprobs": 1}, "prompt_logprobs: are not given in a stream"),
    ({"tool_choice": "auto"}, "tool_choice: needs tools"),
    ({"parallel_tool_calls": False}, "parallel_tool_calls: needs tools"),
    (
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice: names the function tool 'g', which tools do not hold: name one of f, g",
    ),
    (
        {
            "tools": TOOLS,
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "h"}}]},
            },
        },
        "tool_choice: names the function tool 'h'",
    ),
    ({"function_call": "auto"}, "function_call: needs functions"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call: names 'g'"),
    ({"functions": [{"name": "f"}], "tools": TOOLS}, "functions: is the older form of tools"),
]


@pytest.mark.parametrize(("parameters", "text"), TOGETHER, ids=[text for _, text in TOGETHER])
def test_parameters_that_exclude_or_need_each_other_are_refused(
    parameters: dict[str, Any], text: str
) -> None:
    """With the one to change."""
    found = check_combination(parameters)
    assert found is not None
    assert found.startswith(text)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"top_logprobs": None, "audio": None, "tool_choice": None},
        {"top_logprobs": 5, "logprobs": "{{ wanted }}"},
        {"audio": "{{ audio }}", "modalities": "{{ modalities }}"},
        {"modalities": ["text", "{{ other }}"], "audio": {}},
        {"stream_options": {}, "stream": "{{ live }}"},
        {"min_tokens": 5, "max_tokens": "{{ most }}"},
        {"tools": "{{ tools }}", "tool_choice": {"type": "function", "function": {"name": "x"}}},
        {
            "tools": TOOLS,
            "tool_choice": {"type": "custom", "custom": {"name": "g"}},
            "parallel_tool_calls": True,
        },
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "{{ which }}"}}},
        {"continue_final_message": True, "add_generation_prompt": False},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    ],
)
def test_what_goes_together_or_is_not_known_yet_passes(parameters: dict[str, Any]) -> None:
    """Null counts as left out, a template as given."""
    assert check_combination(parameters) is None


def test_functions_that_are_run_are_tools_too() -> None:
    """A choice may name them."""
    choice = {"tool_choice": {"type": "function", "function": {"name": "look_up"}}}
    assert check_combination(choice) == "tool_choice: needs tools"
    assert check_combination(choice, run_tools=["look_up"]) is None
    assert check_combination({**choice, "tools": TOOLS}, run_tools=["look_up"]) is None


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "function", "name", "tools", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(name=st.sampled_from([*RIGHT, "other"]), value=_ANYTHING)
def test_any_value_of_a_row_gets_an_answer(name: str, value: Any) -> None:
    """A reason or none, never an exception."""
    assert isinstance(check_parameter(name, value), str | None)


COMBINED = sorted({name for parameters, _ in TOGETHER for name in parameters})


@given(st.dictionaries(st.sampled_from(COMBINED), _ANYTHING, max_size=6))
def test_any_values_together_get_an_answer(parameters: dict[str, Any]) -> None:
    """Rows bring whole bodies, whose values may be of any kind."""
    assert isinstance(check_combination(parameters), str | None)


BODY = {
    "model": "m",
    "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
    "n": 1,
}
DEVELOPER = [{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}]


@pytest.mark.parametrize(
    ("changed", "token_limit", "instructions", "expected"),
    [
        ({"max_tokens": 5}, "max_completion_tokens", None, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, "max_tokens", None, {"max_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 6}, "max_tokens", None, {"max_tokens": 6}),
        ({"max_completion_tokens": 5, "max_tokens": None}, "max_tokens", None, {"max_tokens": 5}),
        ({}, None, "developer", {"messages": DEVELOPER}),
        ({"messages": DEVELOPER}, None, "system", {}),
        (
            {"messages": DEVELOPER, "max_tokens": 1},
            "max_completion_tokens",
            "system",
            {"max_completion_tokens": 1},
        ),
    ],
)
def test_an_endpoint_is_spoken_to_in_the_name_it_knows(
    changed: dict[str, Any],
    token_limit: TokenLimit | None,
    instructions: Instructions | None,
    expected: dict[str, Any],
) -> None:
    """The limit and the instructions each have two names; the given document stays as it is."""
    document = BODY | changed
    before = json.dumps(document)
    assert translated(document, token_limit=token_limit, instructions=instructions) == BODY | expected
    assert json.dumps(document) == before


@pytest.mark.parametrize("changed", [{}, {"max_tokens": 5}, {"messages": None}, {"messages": ["x"]}])
def test_nothing_is_copied_where_nothing_changes(changed: dict[str, Any]) -> None:
    """Nearly all requests: the same object comes back."""
    document = BODY | changed
    assert translated(document, token_limit=None, instructions=None) is document
    assert translated(document, token_limit="max_tokens", instructions="system") is document


JSON_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=2))


@given(
    st.dictionaries(st.sampled_from(sorted(Parameters.model_fields.keys() - _DEPENDENT)), JSON_VALUES),
    st.lists(st.just("look_up"), max_size=1),
)
def test_most_parameters_go_with_any_others(parameters: dict[str, Any], run_tools: list[str]) -> None:
    """So that most rows need no look at their combination."""
    assert not list(combination_findings(parameters, run_tools))
