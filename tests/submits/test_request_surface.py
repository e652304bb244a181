"""Every parameter, message and content part of the API goes from the job to the server unchanged."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from batchrun.chat.request.parameter_models import Parameters
from tests.runs import simulated

FUNCTION = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
CUSTOM_TEXT = {"type": "custom", "custom": {"name": "note", "description": "d", "format": {"type": "text"}}}
CUSTOM_GRAMMAR = {
    "type": "custom",
    "custom": {
        "name": "sum",
        "format": {"type": "grammar", "grammar": {"definition": "start: /[0-9]+/", "syntax": "lark"}},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}

GROUPS: dict[str, dict[str, Any]] = {
    "sampling": {
        "temperature": 0.3,
        "top_p": 0.9,
        "frequency_penalty": -1.5,
        "presence_penalty": 2,
        "seed": 2**62,
        "n": 2,
        "stop": ["END", "\n\n"],
        "logit_bias": {"50256": -100},
        "max_completion_tokens": 7,
    },
    "logprobs": {"logprobs": True, "top_logprobs": 3, "stop": "END", "max_tokens": 5},
    "provider": {
        "service_tier": "flex",
        "store": True,
        "metadata": {"run": "a", "row": "1"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "verbosity": "low",
        "reasoning_effort": "low",
        "prediction": {"type": "content", "content": [{"type": "text", "text": "expected"}]},
        "web_search_options": {
            "search_context_size": "high",
            "user_location": {
                "type": "approximate",
                "approximate": {"city": "Rome", "country": "IT", "region": "RM", "timezone": "Europe/Rome"},
            },
        },
    },
    "prediction as text": {"prediction": {"type": "content", "content": "expected"}},
    "streaming": {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    "audio": {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}},
    "tools": {
        "tools": [FUNCTION, CUSTOM_TEXT, CUSTOM_GRAMMAR],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    },
    "tool_choice none": {"tools": [FUNCTION], "tool_choice": "none"},
    "tool_choice auto": {"tools": [FUNCTION], "tool_choice": "auto"},
    "tool_choice function": {
        "tools": [FUNCTION],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    },
    "tool_choice custom": {
        "tools": [CUSTOM_TEXT],
        "tool_choice": {"type": "custom", "custom": {"name": "note"}},
    },
    "tool_choice allowed_tools": {
        "tools": [FUNCTION, CUSTOM_TEXT],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "weather"}}],
            },
        },
    },
    "functions": {"functions": [FUNCTION["function"]], "function_call": {"name": "weather"}},
    "function_call auto": {"functions": [FUNCTION["function"]], "function_call": "auto"},
    "text": {"response_format": {"type": "text"}},
    "json_object": {"response_format": {"type": "json_object"}},
    "json_schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "description": "d", "schema": SCHEMA, "strict": True},
        }
    },
    "structural_tag": {
        "response_format": {
            "type": "structural_tag",
            "format": {"type": "json_schema", "json_schema": SCHEMA},
        }
    },
    "structural_tag, older form": {
        "response_format": {
            "type": "structural_tag",
            "structures": [{"begin": "<a>", "end": "</a>", "schema": SCHEMA}],
            "triggers": ["<a"],
        }
    },
    "Lunos": {"fallback_model": "other", "observability": True, "tools": [{"type": "web_search"}]},
    "vLLM sampling": {
        "allowed_token_ids": [1, 2],
        "bad_words": ["x"],
        "ignore_eos": True,
        "include_stop_str_in_output": True,
        "length_penalty": 1.1,
        "logits_processors": ["module.Class", {"qualname": "m.C", "args": [1], "kwargs": {"a": 1}}],
        "min_p": 0.1,
        "min_tokens": 1,
        "prompt_logprobs": 1,
        "repetition_penalty": 1.2,
        "stop_token_ids": [3],
        "top_k": 5,
        "use_beam_search": False,
    },
    "vLLM prompt": {
        "add_generation_prompt": False,
        "add_special_tokens": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "continue_final_message": True,
        "documents": [{"title": "t", "text": "x"}],
        "echo": True,
        "mm_processor_kwargs": {"num_crops": 4},
        "truncate_prompt_tokens": 100,
    },
    "vLLM serving": {
        "cache_salt": "salt",
        "include_reasoning": False,
        "kv_transfer_params": {"a": 1},
        "priority": -1,
        "request_id": "r-1",
        "return_token_ids": True,
        "return_tokens_as_token_ids": False,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "vllm_xargs": {"a": 1, "b": ["c", 2]},
    },
    "structured_outputs": {"structured_outputs": {"choice": ["yes", "no"]}},
    "structured_outputs json": {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}},
    "extra_body": {"extra_body": {"an_endpoint_s_own": {"a": [1, None, True]}}},
}
"""Parameters that go together, by what they are about."""

ELSEWHERE = {
    "chat_template": "its markup is written as a raw block: a test of its own",
}


@pytest.mark.parametrize("group", GROUPS)
def test_parameters_reach_the_server_as_they_are_written(tmp_path: Path, group: str) -> None:
    """The body that the server received holds each parameter with the job's very value."""
    request = GROUPS[group]
    with simulated(tmp_path, rows=1, config={"bodies": True}, request=request) as job:
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    extra = request.get("extra_body", {})
    wanted = {name: value for name, value in request.items() if name != "extra_body"} | extra
    received = dict(call.body)
    if request.get("store"):  # what is stored is stamped beside the user's own metadata
        received["metadata"] = {
            key: text for key, text in call.body["metadata"].items() if not key.startswith("batchrun_")
        }
    assert {name: received.get(name) for name in wanted} == wanted
    assert received.keys() == {"model", "messages", *wanted}


def test_the_table_holds_every_parameter() -> None:
    """A new one cannot be forgotten."""
    told = {name for group in GROUPS.values() for name in group} | ELSEWHERE.keys()
    assert told == set(Parameters.model_fields)


def test_a_chat_template_is_sent_as_a_template(tmp_path: Path) -> None:
    """A raw block keeps its markup from being evaluated here."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    request = {"chat_template": f"{{% raw %}}{template}{{% endraw %}}"}
    with simulated(tmp_path, rows=1, config={"bodies": True}, request=request) as job:
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["chat_template"] == template


PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360f8cf500f000301010085b1f9a00000000049454e44ae426082"
    )
).decode()
WAV = base64.b64encode(
    b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\0\0\0\0"
).decode()

MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "be brief", "name": "dev"},
    {"role": "system", "content": [{"type": "text", "text": "rules"}]},
    {
        "role": "user",
        "name": "ann",
        "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
            },
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}},
            {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
            {"type": "image_embeds", "image_embeds": "AAAA", "uuid": "u1"},
            {"type": "audio_embeds", "audio_embeds": "AAAA", "uuid": "u2"},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "so"},
            {"type": "refusal", "refusal": "no"},
            {"type": "thinking", "thinking": "hm", "closed": True},
        ],
        "reasoning": "because",
    },
    {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
            },
            {"id": "c2", "type": "custom", "custom": {"name": "note", "input": "x"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noted"}]},
    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
    {"role": "function", "name": "weather", "content": "rain"},
    {"role": "assistant", "content": None, "refusal": "I would rather not"},
    {"role": "user", "content": "and now?"},
]


def test_messages_and_parts_reach_the_server_as_they_are_written(tmp_path: Path) -> None:
    """Every role with its members, and every part."""
    prompt = {"messages": MESSAGES}
    with simulated(tmp_path, rows=1, config={"bodies": True}, prompt=prompt) as job:
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["messages"] == MESSAGES


def test_messages_from_a_column_reach_the_server_as_they_are(tmp_path: Path) -> None:
    """The same list as data of the row, with members that only an endpoint knows."""
    import json

    messages = [*MESSAGES[:-1], {**MESSAGES[-1], "an_endpoint_s_own": {"a": 1}}]
    with simulated(tmp_path, rows=1, config={"bodies": True}, prompt={"messages_column": "talk"}) as job:
        job.rows.write_text(json.dumps({"id": "r1", "talk": messages}) + "\n")
        assert job.submit_here().ok == 1
        (call,) = job.calls()
    assert call.body is not None
    assert call.body["messages"] == messages
