"""What known model families refuse, told before a call is made."""

from __future__ import annotations

from typing import Any

import pytest

from batchrun.chat.request.families import no_logprobs, unsupported

SAMPLING: dict[str, Any] = {"temperature": 0, "top_p": 0.5, "logprobs": True, "top_logprobs": 3}

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("o3-mini", {"temperature": 0}, ["o3-mini refuses temperature: remove it (it is a reasoning model)"]),
    (
        "openai/o3",
        {"temperature": "{{ t }}"},
        ["o3 refuses temperature: remove it (it is a reasoning model)"],
    ),
    (
        "o1",
        {"max_tokens": 5},
        ["o1 refuses max_tokens: write max_completion_tokens, which counts its reasoning too"],
    ),
    ("o4-mini-2025-04-16", {"stop": "x"}, ["o4-mini-2025-04-16 refuses stop: remove it (a reasoning model)"]),
    ("o1", {"parallel_tool_calls": False}, ["o1 refuses parallel_tool_calls: remove it (a reasoning model)"]),
    ("o3", {"reasoning_effort": "none"}, ["o3 refuses reasoning_effort none: write low, medium or high"]),
    ("gpt-5", {"top_p": 0.5}, ["gpt-5 refuses top_p: remove it (it is a reasoning model)"]),
    (
        "gpt-5-mini",
        {"presence_penalty": 1},
        ["gpt-5-mini refuses presence_penalty: remove it (it is a reasoning model)"],
    ),
    (
        "gpt-5-nano",
        {"reasoning_effort": "none"},
        ["gpt-5-nano refuses reasoning_effort none: write minimal, low, medium or high"],
    ),
    (
        "openai/gpt-5.1",
        {"temperature": 0, "reasoning_effort": "low"},
        ["gpt-5.1 refuses temperature while it reasons: remove it, or set reasoning_effort: none"],
    ),
    (
        "gpt-5.1",
        {"reasoning_effort": "minimal"},
        ["gpt-5.1 refuses reasoning_effort minimal: write none, low, medium or high"],
    ),
    (
        "gpt-5.2-chat-latest",
        {"temperature": 0},
        ["gpt-5.2-chat-latest refuses temperature: remove it (it is a reasoning model)"],
    ),
    ("gpt-4o-search-preview", {"n": 2}, ["gpt-4o-search-preview refuses n: remove it (it searches the web)"]),
    (
        "gpt-4o-audio-preview",
        {"logprobs": True},
        ["gpt-4o-audio-preview refuses logprobs: remove it (it is an audio model)"],
    ),
    (
        "gpt-4o-audio-preview",
        {"response_format": {"type": "json_schema"}},
        [
            "gpt-4o-audio-preview refuses response_format json_schema: "
            "ask for JSON in the prompt (an audio model)"
        ],
    ),
    (
        "deepseek/deepseek-reasoner",
        {"logprobs": True},
        ["deepseek-reasoner refuses logprobs: remove it (it is a reasoning model)"],
    ),
    ("deepseek-reasoner", {"temperature": 0}, ["deepseek-reasoner ignores temperature: remove it"]),
]


@pytest.mark.parametrize(("model", "parameters", "sentences"), REFUSED, ids=[s[0] for *_, s in REFUSED])
def test_a_refused_parameter_is_named_with_the_way_out(
    model: str, parameters: dict[str, Any], sentences: list[str]
) -> None:
    """One sentence a parameter; a vendor's prefix does not hide the model."""
    assert unsupported(model, parameters) == sentences


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("gpt-4.1-mini", {**SAMPLING, "max_tokens": 5, "stop": "x"}),
        ("gpt-4o", SAMPLING),
        ("gpt-5-chat-latest", SAMPLING),
        ("gpt-5.1", SAMPLING),
        ("gpt-5.2", {**SAMPLING, "reasoning_effort": "none"}),
        ("gpt-5.4-mini", {"temperature": 0, "reasoning_effort": "{{ effort }}"}),
        ("gpt-oss-120b", SAMPLING),
        ("Qwen/Qwen3-32B", {**SAMPLING, "max_tokens": 5}),
        ("o3", {"temperature": 1, "top_p": 1.0, "presence_penalty": 0, "logprobs": None}),
        ("gpt-5", {"reasoning_effort": "minimal", "max_completion_tokens": 5}),
        ("gpt-4o-search-preview", {"web_search_options": {}, "max_tokens": 5, "n": 1}),
        ("gpt-4o-audio-preview", {"temperature": 0, "modalities": ["text", "audio"], "audio": {}}),
        ("deepseek-chat", SAMPLING),
        ("openai-o3-clone", SAMPLING),
        ("*", SAMPLING),
        ("", SAMPLING),
    ],
)
def test_what_a_model_takes_is_not_spoken_of(model: str, parameters: dict[str, Any]) -> None:
    """Defaults are taken everywhere, null is left out, and a model that is not known takes everything."""
    assert unsupported(model, parameters) == []


def test_everything_that_is_refused_is_told_at_once() -> None:
    """In one list, for a plan."""
    found = unsupported("o3", {**SAMPLING, "logit_bias": {"5": 1}, "max_tokens": 5})
    assert [sentence.split(":")[0] for sentence in found] == [
        "o3 refuses temperature",
        "o3 refuses top_p",
        "o3 refuses logprobs",
        "o3 refuses top_logprobs",
        "o3 refuses logit_bias",
        "o3 refuses max_tokens",
    ]


@pytest.mark.parametrize(
    ("model", "never"),
    [
        ("o3-mini", True),
        ("openai/gpt-5", True),
        ("gpt-5.6", True),
        ("gpt-4o-search-preview", True),
        ("gpt-4o-mini-audio-preview", True),
        ("deepseek-reasoner", True),
        ("gpt-5.1", False),
        ("gpt-4.1", False),
        ("gpt-oss-20b", False),
        ("deepseek-chat", False),
        ("Qwen/Qwen3-32B", False),
    ],
)
def test_models_without_logprobs_are_known(model: str, never: bool) -> None:
    """gpt-5.1 to 5.4 give them while they do not reason."""
    assert no_logprobs(model) is never
