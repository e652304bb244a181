"""The most that a call can take of the budget, by its request; and why that has no bound, where it has none.

A prompt of text has no more tokens than bytes, an answer no more than its limit. Whatever the server adds by
itself (pictures turned into tokens, searches, another model) has no such bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.budget import Amounts
from batchrun.prices import Price

_TEXT_PARTS = frozenset({"text", "refusal"})
_OWN_TOOLS = frozenset({"function", "custom"})
"""Tools that the caller runs; all others are run by the server, for a fee and with prompts of their own."""
_LIMITS = ("max_completion_tokens", "max_tokens")
_CHOICES = ("n", "best_of")
_SEARCHES = ("web_search_options", "search_parameters", "enable_search", "plugins", "data_sources")
"""Web search as OpenAI, xAI, Alibaba, OpenRouter and Azure spell it."""
_OTHER_MODELS = ("fallback_model", "fallback_models", "models", "route", "fallbacks")
"""Another model may answer: Lunos, OpenRouter, LiteLLM."""
_PRICED_KINDS = frozenset({"text", "audio"})
"""Kinds of answers (`modalities`) that price lists know a token's price of."""
_RETENTION = ("prompt_cache_retention", "prompt_cache_options")
_PROMPT_EXTRA = 1_000
"""Tokens that a server's own template may add to a prompt: Anthropic states up to 675 for tools, gpt-oss's
preamble is about 100."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds a call, beside its size."""

    output: int | None
    """The most tokens of its answers; None where the tokens of the call have no bound."""
    price: Price | None
    """What they cost; None where that is not known, or leaves something open."""

    @classmethod
    def of(cls, document: Mapping[str, Any], price: Price | None) -> Bounds:
        """Read them off a request, as it is sent."""
        if no_upper_bound(document):
            return cls(None, None)
        return cls(output_bound(document), price if price and not no_upper_bound(document, price) else None)

    def most(self, size: int) -> Amounts:
        """The most that a call of `size` bytes can take; None for what has no bound, or no known price."""
        if self.output is None:
            return Amounts(None, None, 1)
        prompt = prompt_bound(size)
        cost = self.price.bound(prompt, self.output) if self.price else None
        return Amounts(cost, prompt + self.output, 1)


def no_upper_bound(document: Mapping[str, Any], price: Price | None = None) -> str | None:
    """Say why there is no bound to what a request can cost, or None where there is one.

    `document` is the request as it is sent. With `price` also what the price itself leaves open is
    said; without it, only what makes the number of tokens unbounded. The sentence says what to do.
    """
    return next(_reasons(document, price), None)


def output_bound(document: Mapping[str, Any]) -> int | None:
    """The most tokens that all answers to a request can have; None without a limit.

    The larger one where both names of the limit are given; vLLM's best_of generates more than n.
    """
    limits = [document[name] for name in _LIMITS if document.get(name) is not None]
    if not limits or not all(_is_count(limit) for limit in limits):
        return None
    choices = [document[name] for name in _CHOICES if document.get(name) is not None]
    if not all(_is_count(count) for count in choices):
        return None
    most: int = max(limits) * max([1, *choices])
    return most


def prompt_bound(size: int) -> int:
    """The most tokens of a prompt whose request has `size` bytes: one a byte, and what a template adds."""
    return size + _PROMPT_EXTRA


def _reasons(document: Mapping[str, Any], price: Price | None) -> Iterator[str]:
    if output_bound(document) is None:
        yield "the answer's length has no limit: set request.max_completion_tokens"
    yield from _media(document)
    yield from _server_tools(document)
    model = str(document.get("model") or "")
    if ":online" in model:
        yield f"the model {model} searches the web, and the fee and the text found are not known before"
    if document.get("prediction"):
        yield "prediction is billed beyond the answer's limit where it is rejected"
    if price is not None:
        yield from _price_reasons(document, price)


def _media(document: Mapping[str, Any]) -> Iterator[str]:
    messages = document.get("messages")
    for at, message in enumerate(messages if isinstance(messages, list) else []):
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(part, dict) and kind not in _TEXT_PARTS:
                yield f"messages.{at} has a part of type {kind}, whose tokens are not known before"
        if isinstance(message, dict) and message.get("audio"):
            yield f"messages.{at} repeats a spoken answer, whose tokens are not known before"


def _server_tools(document: Mapping[str, Any]) -> Iterator[str]:
    for name in _SEARCHES:
        if document.get(name) is not None and document[name] not in (False, []):
            yield f"{name} searches the web, and the fee and the text found are not known before"
    tools = document.get("tools")
    for at, tool in enumerate(tools if isinstance(tools, list) else []):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in _OWN_TOOLS:
            yield f"tools.{at} of type {kind} is run by the server, and what it costs is not known before"


def _price_reasons(document: Mapping[str, Any], price: Price) -> Iterator[str]:
    for name in _OTHER_MODELS:
        if document.get(name):
            yield f"{name} lets another model answer, at another price"
    tier = document.get("service_tier")
    if isinstance(tier, str) and not price.knows(tier):
        yield f"no price is known for service_tier {tier}: give the model's in prices"
    yield from _kinds_of_answer(document, price)
    if price.doubt is not None:
        yield f"{price.doubt}: give the dearest in prices"
    for name in _RETENTION:
        if document.get(name) not in (None, "in_memory", "in-memory") and price.source != "job":
            yield f"{name} has a price of its own, which is not known: give the model's in prices"


def _kinds_of_answer(document: Mapping[str, Any], price: Price) -> Iterator[str]:
    """Answers of a kind that costs more a token than text, and nothing says how much."""
    kinds = _kinds(document)
    if is_spoken(document) and not price.knows_speech():
        yield "the price of spoken answers is not known: give the model's in prices, with output_audio"
    for kind in kinds if price.source != "job" else ():
        if kind not in _PRICED_KINDS:
            yield f"the price of answers of the kind {kind} is not known: give the model's in prices"


def is_spoken(document: Mapping[str, Any]) -> bool:
    """Whether a request asks for spoken answers."""
    return "audio" in _kinds(document) or bool(document.get("audio"))


def _kinds(document: Mapping[str, Any]) -> list[str]:
    asked = document.get("modalities")
    return [str(kind).lower() for kind in asked] if isinstance(asked, list) else []


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
