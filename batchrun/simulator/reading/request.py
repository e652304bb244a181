"""From the bytes of a call to the request in it, or to the reason why OpenAI would refuse it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.codec import digest, digest_of, loads
from batchrun.simulator import refusal
from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.making.vocabulary import tokens
from batchrun.simulator.reading.checks import array, boolean, integer, mapping, wrong
from batchrun.simulator.reading.guides import Guide, read_guide
from batchrun.simulator.reading.messages import read_messages
from batchrun.simulator.reading.parameters import check_parameters, predicted
from batchrun.simulator.reading.tools import Offer, read_offer
from batchrun.simulator.refusal import Refusal, RefusedError

NOT_HASHED = (
    "stream",
    "stream_options",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "observability",
    "priority",
    "request_id",
)
"""Members that do not change the answer."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that is fit to be answered."""

    key: str
    """Digest of the members that decide the answer."""
    model: str
    fallback_model: str | None
    """The model that answers where this one refuses or fails, as Lunos takes it."""
    messages: Sequence[Mapping[str, Any]]
    question: str
    """Text of the last user message."""
    prompt: str
    """Text of all messages."""
    prompt_tokens: int
    prompt_audio_tokens: int
    tokens_per_byte: float | None
    """How many tokens the text takes; None where they are counted."""
    notes: tuple[str, ...]
    """What is seen of images, sounds and files."""
    results: tuple[tuple[str, str], ...]
    """What the tools have just given: name and text."""
    used_tools: bool
    offer: Offer
    guide: Guide
    max_tokens: int | None
    n: int
    stop: tuple[str, ...]
    greedy: bool
    """The temperature is 0: the likeliest tokens are written."""
    top_logprobs: int | None
    """None when no logprobs are asked for."""
    prompt_logprobs: int | None
    token_ids: bool
    """The ids of all tokens are asked for."""
    ids_for_tokens: bool
    """Tokens in logprobs are named by their ids."""
    reasoning_effort: str | None
    include_reasoning: bool
    audio_format: str | None
    """None when the answer is to be read."""
    cites: bool
    """A web search is asked for."""
    prediction: str | None
    service_tier: str
    stream: bool
    include_usage: bool
    stored: Mapping[str, Any] | None
    """The whole body, where its completion is to be stored."""

    @property
    def estimate(self) -> int:
        """Tokens as a rate limit counts them on arrival: bytes / 4, and the most that may be written."""
        rate = 0.25 if self.tokens_per_byte is None else self.tokens_per_byte
        return _by_size(self.prompt, rate) + (self.max_tokens or 0) * self.n


@dataclass(frozen=True, slots=True)
class Received:
    """A call as it came: what the ledger notes of it, and the request to answer or the refusal to send."""

    key: str
    model: str | None
    question: str
    api_key_ok: bool
    content: ChatRequest | Refusal
    members: Mapping[str, Any] | None
    """The body as it was read; None where it is no JSON object."""


def receive(body: bytes, config: SimulatorConfig, *, api_key_ok: bool = True) -> Received:
    """Read a call to /v1/chat/completions under `config`; `api_key_ok`: its bearer token is good."""
    try:
        members = parse(body)
    except RefusedError as error:
        shown = error.refusal if api_key_ok else refusal.wrong_key()
        return Received(digest(body), None, "", api_key_ok, shown, None)
    key = _key_of(members)
    model = members.get("model")
    try:
        if not api_key_ok:
            raise RefusedError(refusal.wrong_key())
        content: ChatRequest | Refusal = _checked(_read(members, key, config.tokens_per_byte), config)
    except RefusedError as error:
        content = error.refusal
    question = content.question if isinstance(content, ChatRequest) else _question_of(members)
    named = model if isinstance(model, str) else None
    return Received(key, named, question, api_key_ok, content, members)


def _checked(asked: ChatRequest, config: SimulatorConfig) -> ChatRequest:
    """The request again, if its model exists and has room for it."""
    if config.models is not None and asked.model not in config.models:
        raise RefusedError(refusal.no_model(asked.model))
    if asked.prompt_tokens + (asked.max_tokens or 0) > config.context_window:
        raise RefusedError(
            refusal.too_long(config.context_window, asked.prompt_tokens, asked.max_tokens or 0)
        )
    return asked


def parse(body: bytes) -> dict[str, Any]:
    """Read the body as a JSON object. Raises RefusedError."""
    try:
        members = loads(body)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        message = "We could not parse the JSON body of your request. It must be a JSON object."
        raise RefusedError(Refusal(400, message))
    return members


def _key_of(members: Mapping[str, Any]) -> str:
    """Digest of the members that decide the answer."""
    return digest_of({name: value for name, value in members.items() if name not in NOT_HASHED})


def _read(members: Mapping[str, Any], key: str, tokens_per_byte: float | None) -> ChatRequest:
    """Check a parsed body; `key` is what `_key_of` gives. Raises RefusedError, naming the member at fault.

    `tokens_per_byte` says how many tokens the text takes; None: they are counted.
    """
    if not isinstance(model := members.get("model"), str) or not model:
        raise RefusedError(Refusal(400, "you must provide a model parameter", param="model"))
    said = read_messages(members.get("messages"))
    stream = boolean(members.get("stream"), "stream")
    check_parameters(members)
    offer = read_offer(members)
    options = mapping(members.get("stream_options"), "stream_options")
    tier = members.get("service_tier")
    size = len(tokens(said.prompt)) if tokens_per_byte is None else _by_size(said.prompt, tokens_per_byte)
    return ChatRequest(
        key=key,
        model=model,
        fallback_model=members.get("fallback_model"),
        messages=said.messages,
        question=said.question,
        prompt=said.prompt,
        prompt_tokens=size + said.media_tokens,
        prompt_audio_tokens=said.audio_tokens,
        tokens_per_byte=tokens_per_byte,
        notes=said.notes,
        results=said.results,
        used_tools=said.used_tools,
        offer=offer,
        guide=read_guide(members),
        max_tokens=_limit(members),
        n=integer(members.get("n"), "n", 1, 128) or 1,
        stop=_stop(members.get("stop")),
        greedy=members.get("temperature") == 0,
        top_logprobs=_logprobs(members),
        prompt_logprobs=members.get("prompt_logprobs"),
        token_ids=members.get("return_token_ids") is True,
        ids_for_tokens=members.get("return_tokens_as_token_ids") is True,
        reasoning_effort=members.get("reasoning_effort"),
        include_reasoning=members.get("include_reasoning") is not False,
        audio_format=(members.get("audio") or {}).get("format"),
        cites=offer.web_search or members.get("web_search_options") is not None,
        prediction=predicted(members.get("prediction")),
        service_tier="default" if tier in (None, "auto") else tier,
        stream=stream,
        include_usage=stream and options.get("include_usage") is True,
        stored=members if members.get("store") is True else None,
    )


def _by_size(text: str, tokens_per_byte: float) -> int:
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) * tokens_per_byte)


def _question_of(members: Mapping[str, Any]) -> str:
    """Text of the last user message, of a body that need not be right; empty where there is none."""
    messages = members.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content"))
    return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _limit(members: Mapping[str, Any]) -> int | None:
    """The most tokens of a choice; the newer name wins."""
    found = [integer(members.get(name), name, 1) for name in ("max_completion_tokens", "max_tokens")]
    return found[0] or found[1]


def _stop(stop: Any) -> tuple[str, ...]:
    found = [stop] if isinstance(stop, str) else array(stop, "stop", str)
    if len(found) > 4 or not all(found):
        raise wrong("stop", "expected a string or an array of at most 4 strings, none empty")
    return tuple(found)


def _logprobs(members: Mapping[str, Any]) -> int | None:
    wanted = boolean(members.get("logprobs"), "logprobs")
    top = integer(members.get("top_logprobs"), "top_logprobs", 0, 20)
    if top is not None and not wanted:
        raise wrong("top_logprobs", "needs logprobs to be true")
    return (top or 0) if wanted else None
