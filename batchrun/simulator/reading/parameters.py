"""Checks every parameter that the simulator knows but does not act on, or acts on elsewhere. Pure.

Sources: OpenAI's create call; Lightcone's for what vLLM adds; Lunos's for what it adds. Members that
nobody here knows pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from batchrun.simulator.reading.checks import (
    array,
    boolean,
    integer,
    mapping,
    missing,
    needed_text,
    number,
    one_of,
    pairs,
    text,
    wrong,
)
from batchrun.simulator.refusal import Refusal, RefusedError

Check = Callable[[Any, str], object]

AUDIO_FORMATS = ("wav", "aac", "mp3", "flac", "opus", "pcm16")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
SIZES = ("low", "medium", "high")
_INT64 = 2**63


def check_parameters(members: Mapping[str, Any]) -> None:
    """Raises RefusedError, naming the first member whose value or company is wrong."""
    for name, value in members.items():
        if value is not None and name in CHECKS:
            CHECKS[name](value, name)
    _check_combinations(members)


def _check_combinations(members: Mapping[str, Any]) -> None:
    if members.get("stream_options") is not None and members.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RefusedError(Refusal(400, message, param="stream_options"))
    sounds = "audio" in (members.get("modalities") or ())
    if sounds and not members.get("audio"):
        raise missing("audio")
    if members.get("audio") and not sounds:
        raise wrong("modalities", "expected it to name 'audio' where 'audio' is given")
    if members.get("continue_final_message") and members.get("add_generation_prompt"):
        message = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        raise RefusedError(Refusal(400, message, param="continue_final_message"))
    if members.get("prompt_logprobs") is not None and members.get("stream"):
        message = "`prompt_logprobs` are not available when `stream=True`."
        raise RefusedError(Refusal(400, message, param="prompt_logprobs"))


def _logit_bias(value: Any, param: str) -> None:
    for token, bias in mapping(value, param).items():
        if not token.isdecimal():
            raise wrong(f"{param}.{token}", "expected token ids as keys")
        number(bias, f"{param}.{token}", -100, 100)


def _modalities(value: Any, param: str) -> None:
    for place, name in enumerate(array(value, param)):
        one_of(name, f"{param}[{place}]", ("text", "audio"))


def _audio(value: Any, param: str) -> None:
    given = mapping(value, param)
    if one_of(given.get("format"), f"{param}.format", AUDIO_FORMATS) is None:
        raise missing(f"{param}.format")
    voice = given.get("voice")  # a custom voice is an object with its id
    needed_text(voice.get("id") if isinstance(voice, dict) else voice, f"{param}.voice")


def _prediction(value: Any, param: str) -> None:
    given = mapping(value, param)
    if one_of(given.get("type"), f"{param}.type", ("content",)) is None:
        raise missing(f"{param}.type")
    predicted(value)


def predicted(value: Any) -> str | None:
    """The text of `prediction`. Raises RefusedError."""
    if value is None:
        return None
    content = mapping(value, "prediction").get("content")
    if not isinstance(content, list):
        return needed_text(content, "prediction.content")
    parts = array(content, "prediction.content", dict)
    return "".join(
        needed_text(part.get("text"), f"prediction.content[{place}].text") for place, part in enumerate(parts)
    )


def _web_search(value: Any, param: str) -> None:
    given = mapping(value, param)
    one_of(given.get("search_context_size"), f"{param}.search_context_size", SIZES)
    location = mapping(given.get("user_location"), f"{param}.user_location")
    if location:
        place = f"{param}.user_location"
        if one_of(location.get("type"), f"{place}.type", ("approximate",)) is None:
            raise missing(f"{place}.type")
        near = mapping(location.get("approximate"), f"{place}.approximate")
        for name in ("city", "country", "region", "timezone"):
            text(near.get(name), f"{place}.approximate.{name}")


def _stream_options(value: Any, param: str) -> None:
    given = mapping(value, param)
    for name in ("include_usage", "include_obfuscation", "continuous_usage_stats"):
        boolean(given.get(name), f"{param}.{name}")


def _one_of(*allowed: str) -> Check:
    return partial(one_of, allowed=allowed)


def _between(low: float, high: float) -> Check:
    return partial(number, low=low, high=high)


def _from(low: int, high: int | None = None) -> Check:
    return partial(integer, low=low, high=high)


CHECKS: dict[str, Check] = {
    "temperature": _between(0, 2),
    "top_p": _between(0, 1),
    "frequency_penalty": _between(-2, 2),
    "presence_penalty": _between(-2, 2),
    "logit_bias": _logit_bias,
    "seed": _from(-_INT64, _INT64 - 1),
    "reasoning_effort": _one_of(*EFFORTS),
    "verbosity": _one_of(*SIZES),
    "service_tier": _one_of("auto", "default", "flex", "scale", "priority"),
    "modalities": _modalities,
    "audio": _audio,
    "prediction": _prediction,
    "web_search_options": _web_search,
    "stream_options": _stream_options,
    "store": boolean,
    "metadata": pairs,
    "user": text,
    "safety_identifier": partial(text, longest=64),
    "prompt_cache_key": text,
    "prompt_cache_retention": _one_of("in-memory", "in_memory", "24h"),
    # Lunos
    "fallback_model": text,
    "observability": boolean,
    # vLLM, as Lightcone lists them
    "min_p": _between(0, 1),
    "top_k": _from(-1),
    "repetition_penalty": _between(0, 100),
    "length_penalty": _between(-100, 100),
    "min_tokens": _from(0),
    "prompt_logprobs": _from(0, 20),
    "priority": _from(-_INT64, _INT64 - 1),
    "truncate_prompt_tokens": _from(-1, _INT64 - 1),
    "stop_token_ids": partial(array, kind=int),
    "allowed_token_ids": partial(array, kind=int),
    "bad_words": partial(array, kind=str),
    "documents": partial(array, kind=dict),
    "logits_processors": array,
    "cache_salt": needed_text,
    "request_id": text,
    "chat_template": text,
    "chat_template_kwargs": mapping,
    "mm_processor_kwargs": mapping,
    "kv_transfer_params": mapping,
    "vllm_xargs": mapping,
    **dict.fromkeys(
        (
            "add_generation_prompt",
            "add_special_tokens",
            "continue_final_message",
            "echo",
            "ignore_eos",
            "include_reasoning",
            "include_stop_str_in_output",
            "return_token_ids",
            "return_tokens_as_token_ids",
            "skip_special_tokens",
            "spaces_between_special_tokens",
        ),
        boolean,
    ),
}
"""How each parameter is checked; messages, tools and formats are read elsewhere."""
