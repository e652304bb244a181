"""Every parameter that the simulator knows: values it takes, and values it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.reading.parameters import CHECKS
from batchrun.simulator.reading.request import receive
from batchrun.simulator.refusal import Refusal
from tests.simulator.asking import refusal, request
from tests.simulator.wire import body

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SOUND = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
PLACE = {"type": "approximate", "approximate": {"city": "Ulm", "country": "DE"}}

TAKEN: list[dict[str, Any]] = [
    {"temperature": 2, "top_p": 0.5, "frequency_penalty": -2, "presence_penalty": 2.0},
    {"logit_bias": {"50256": -100}, "seed": -1, "stop": ["a", "b"], "n": 3},
    {"reasoning_effort": "minimal", "verbosity": "low", "service_tier": "flex"},
    SOUND,
    {"modalities": ["text", "audio"], "audio": {"voice": {"id": "voice_1"}, "format": "opus"}},
    {"prediction": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
    {"web_search_options": {"search_context_size": "high", "user_location": PLACE}},
    {"web_search_options": {}},
    {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    {"store": True, "metadata": {f"k{i}": "v" for i in range(16)}, "user": "u", "safety_identifier": "s"},
    {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
    {"fallback_model": "b", "observability": True},
    {"min_p": 0.1, "top_k": -1, "repetition_penalty": 1.1, "length_penalty": 1, "min_tokens": 0},
    {"prompt_logprobs": 0, "priority": -3, "truncate_prompt_tokens": -1, "stop_token_ids": [1]},
    {"allowed_token_ids": [1, 2], "bad_words": ["x"], "documents": [{"text": "t"}], "cache_salt": "s"},
    {"logits_processors": ["m.P", {"qualname": "m.P", "args": [1]}], "request_id": "r"},
    {"chat_template": "{{ messages }}", "chat_template_kwargs": {}, "mm_processor_kwargs": {}},
    {"kv_transfer_params": {}, "vllm_xargs": {"a": [1]}, "echo": False, "ignore_eos": True},
    {"add_generation_prompt": False, "continue_final_message": True, "skip_special_tokens": False},
    {"something_new": [1, 2], "temperature": None, "tools": None, "stop": None, "audio": None},
    {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    {"tool_choice": "none"},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"top_p": 1.1}, "top_p"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"presence_penalty": "1"}, "presence_penalty"),
    ({"logit_bias": {"a": 1}}, "logit_bias.a"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"logit_bias": []}, "logit_bias"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.0}, "seed"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"verbosity": "none"}, "verbosity"),
    ({"service_tier": 1}, "service_tier"),
    ({"modalities": ["video"]}, "modalities[0]"),
    ({"modalities": ["audio"]}, "audio"),
    ({"audio": SOUND["audio"]}, "modalities"),
    ({**SOUND, "audio": {"voice": "alloy", "format": "ogg"}}, "audio.format"),
    ({**SOUND, "audio": {"format": "wav"}}, "audio.voice"),
    ({**SOUND, "audio": {"voice": "alloy"}}, "audio.format"),
    ({"prediction": {"content": "a"}}, "prediction.type"),
    ({"prediction": {"type": "content"}}, "prediction.content"),
    ({"prediction": {"type": "content", "content": [{"type": "text"}]}}, "prediction.content[0].text"),
    ({"web_search_options": {"search_context_size": "all"}}, "web_search_options.search_context_size"),
    ({"web_search_options": {"user_location": {"city": "Ulm"}}}, "web_search_options.user_location.type"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"store": "yes"}, "store"),
    ({"metadata": {str(i): "v" for i in range(17)}}, "metadata"),
    ({"metadata": {"k" * 65: "v"}}, f"metadata.{'k' * 20}…"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ({"metadata": {"k": 1}}, "metadata.k"),
    ({"user": 1}, "user"),
    ({"safety_identifier": "s" * 65}, "safety_identifier"),
    ({"prompt_cache_retention": "1h"}, "prompt_cache_retention"),
    ({"min_p": 2}, "min_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"prompt_logprobs": 21}, "prompt_logprobs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"stop_token_ids": ["a"]}, "stop_token_ids"),
    ({"bad_words": "x"}, "bad_words"),
    ({"documents": ["text"]}, "documents"),
    ({"vllm_xargs": []}, "vllm_xargs"),
    ({"echo": 1}, "echo"),
    ({"add_generation_prompt": True, "continue_final_message": True}, "continue_final_message"),
]


@pytest.mark.parametrize("members", TAKEN, ids=str)
def test_a_right_value_is_taken(members: dict[str, Any]) -> None:
    """Within the documented ranges, and null for what is not given; unknown members pass."""
    assert request(**members).model == "m-1"


@pytest.mark.parametrize(("members", "param"), REFUSED, ids=str)
def test_a_wrong_value_is_named(members: dict[str, Any], param: str) -> None:
    """Outside of them it is a 400 that names the member."""
    found = refusal(**members)
    assert (found.status, found.type, found.param) == (400, "invalid_request_error", param)


def test_every_parameter_is_taken_above() -> None:
    """The first table leaves out no parameter that is checked, but for plain switches."""
    tried = {name for members in TAKEN for name in members}
    switches = {name for name, check in CHECKS.items() if getattr(check, "__name__", "") == "boolean"}
    assert set(CHECKS) - switches <= tried


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_no_parameter_takes_everything(name: str) -> None:
    """Each is checked: it is neither text, nor a list, an object and a fraction at once."""
    values: tuple[object, ...] = ("\0", [[]], {"a": {}}, -0.5)
    bodies = [body(**{name: value}) for value in values]
    answers = [receive(content, SimulatorConfig()).content for content in bodies]
    assert any(isinstance(answer, Refusal) and answer.param for answer in answers)
