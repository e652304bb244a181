"""From the bytes of a call to the request in it, or to the reason why it is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.codec import digest
from batchrun.simulator import refusal
from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.reading import request
from batchrun.simulator.reading.request import ChatRequest
from batchrun.simulator.refusal import Refusal, RefusedError


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
        members = request.parse(body)
    except RefusedError as error:
        shown = error.refusal if api_key_ok else refusal.wrong_key()
        return Received(digest(body), None, "", api_key_ok, shown, None)
    key = request.key_of(members)
    model = members.get("model")
    try:
        if not api_key_ok:
            raise RefusedError(refusal.wrong_key())
        content: ChatRequest | Refusal = _checked(request.read(members, key, config.tokens_per_byte), config)
    except RefusedError as error:
        content = error.refusal
    question = content.question if isinstance(content, ChatRequest) else request.question_of(members)
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
