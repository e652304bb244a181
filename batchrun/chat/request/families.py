"""What known model families refuse, and which reason, so that a plan can say it before a call is paid for.

Sources: OpenAI's reasoning guide (limitations) and latest-model guide (parameter compatibility),
the errors that its API answers for search and audio models, DeepSeek's guide to its reasoning
model, and the model cards of open models that reason. A model that is not known here is taken to accept
everything. A vendor's prefix, as in `openai/o3`, does not count, and neither does what stands behind a colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.template.source import has_markup

_O_SERIES = re.compile(r"o(?P<version>[1-9])(-|$)")
_GPT = re.compile(r"gpt-(?P<major>[0-9]+)(\.(?P<minor>[0-9]+))?(-(?P<variant>.+))?$")

_DEFAULTS: dict[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
}
"""Values that are taken even where the parameter is refused."""

_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_NEVER_WHEN_REASONING = ("presence_penalty", "frequency_penalty", "logit_bias", "prediction")
_SEARCH = (*_SAMPLING, "n", "presence_penalty", "frequency_penalty", "logit_bias", "prediction")
_AUDIO = ("logprobs", "top_logprobs", "prediction")
_IGNORED_BY_DEEPSEEK = ("temperature", "top_p", "presence_penalty", "frequency_penalty")

_SAMPLES_WITHOUT_EFFORT = range(1, 5)
"""Minor versions of gpt-5 that reason only when they are told to: 5.1 to 5.4."""


_THINKS = re.compile(r"deepseek-(r1|reasoner)|qwq|magistral|gpt-oss|(?<!non)[-_]thinking")
"""Names of models that reason, beside OpenAI's own."""
_TOLD_OTHERWISE = ("reasoning", "thinking", "enable_thinking", "chat_template_kwargs")
"""Parameters by which servers let a request say how much it reasons."""
_NO_EFFORT = ("none", "minimal")


def thinks(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether `model` reasons before it answers, in tokens that count against the answer's limit.

    False where that is not known, and where a parameter may turn it off in a way that is not known here.
    """
    name, effort = _bare(model), parameters.get("reasoning_effort")
    told = any(parameters.get(one) is not None for one in _TOLD_OTHERWISE)
    if told or has_markup(effort) or effort in _NO_EFFORT:
        return False
    if _reasons(name):
        return effort is not None or not _can_sample(name)
    return _THINKS.search(name) is not None


def unsupported(model: str, parameters: Mapping[str, Any]) -> list[str]:
    """What `model`, as its endpoint names it, refuses of these parameters: a sentence each, with the way out.

    A parameter that is null counts as left out, one that is a template as given.
    """
    given = {name: value for name, value in parameters.items() if not _is_default(name, value)}
    name = _bare(model)
    return [f"{name} {sentence}" for sentence in _sentences(name, given)]


def no_logprobs(model: str) -> bool:
    """Whether `model` never gives logprobs, whatever the request says."""
    name = _bare(model)
    if _is_search(name) or _is_audio(name) or _is_deepseek_reasoner(name):
        return True
    return _reasons(name) and not _can_sample(name)


def _sentences(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    if _is_search(name):
        yield from _removals(_SEARCH, given, "it searches the web")
    elif _is_audio(name):
        yield from _removals(_AUDIO, given, "it is an audio model")
        if _type(given.get("response_format")) == "json_schema":
            yield "refuses response_format json_schema: ask for JSON in the prompt (an audio model)"
    elif _is_deepseek_reasoner(name):
        yield from _removals(("logprobs", "top_logprobs"), given, "it is a reasoning model")
        yield from (f"ignores {one}: remove it" for one in _IGNORED_BY_DEEPSEEK if one in given)
    elif _reasons(name):
        yield from _reasoning(name, given)


def _reasoning(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    if not _can_sample(name):
        yield from _removals(_SAMPLING, given, "it is a reasoning model")
    elif not has_markup(given.get("reasoning_effort")) and given.get("reasoning_effort", "none") != "none":
        for one in (one for one in _SAMPLING if one in given):
            yield f"refuses {one} while it reasons: remove it, or set reasoning_effort: none"
    yield from _removals(_NEVER_WHEN_REASONING, given, "it is a reasoning model")
    if "max_tokens" in given:
        yield "refuses max_tokens: write max_completion_tokens, which counts its reasoning too"
    if "stop" in given and _takes_no_stop(name):
        yield "refuses stop: remove it (a reasoning model)"
    if "parallel_tool_calls" in given and _O_SERIES.match(name):
        yield "refuses parallel_tool_calls: remove it (a reasoning model)"
    effort = given.get("reasoning_effort")
    if isinstance(effort, str) and (known := _efforts_instead(name, effort)):
        yield f"refuses reasoning_effort {effort}: write {known}"


def _removals(names: tuple[str, ...], given: Mapping[str, Any], why: str) -> Iterator[str]:
    yield from (f"refuses {one}: remove it ({why})" for one in names if one in given)


def _is_default(name: str, value: Any) -> bool:
    return value is None or (name in _DEFAULTS and not isinstance(value, str) and value == _DEFAULTS[name])


def _bare(model: str) -> str:
    return model.rpartition("/")[2].partition(":")[0].lower()


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, Mapping) else None


def _is_search(name: str) -> bool:
    return "-search-preview" in name or "-search-api" in name


def _is_audio(name: str) -> bool:
    return name.startswith("gpt-") and "-audio" in name


def _is_deepseek_reasoner(name: str) -> bool:
    return name == "deepseek-reasoner"


def _reasons(name: str) -> bool:
    gpt = _GPT.match(name)
    if gpt is None:
        return _O_SERIES.match(name) is not None
    talks = gpt["minor"] is None and (gpt["variant"] or "").startswith("chat")  # gpt-5-chat-latest
    return int(gpt["major"]) >= 5 and not talks


def _can_sample(name: str) -> bool:
    """Whether a reasoning model takes temperature, top_p and logprobs at the effort none."""
    gpt = _GPT.match(name)
    if gpt is None or gpt["major"] != "5" or gpt["minor"] is None:
        return False
    variant = gpt["variant"] or ""
    plain = not variant.startswith(("chat", "codex", "pro"))
    return int(gpt["minor"]) in _SAMPLES_WITHOUT_EFFORT and plain


def _takes_no_stop(name: str) -> bool:
    return name.startswith(("o3", "o4")) and not name.startswith("o3-mini")


def _efforts_instead(name: str, effort: str) -> str | None:
    """The efforts that a model knows, where it does not know `effort`, one of those below low."""
    gpt = _GPT.match(name)
    if gpt is None:
        return "low, medium or high" if effort in ("none", "minimal") else None
    if gpt["major"] == "5" and gpt["minor"] is None:
        return "minimal, low, medium or high" if effort == "none" else None
    return "none, low, medium or high" if gpt["major"] == "5" and effort == "minimal" else None
