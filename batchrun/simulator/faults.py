"""Which fault strikes a call, and what it does to the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.codec import canonical
from batchrun.simulator.making.draws import draw
from batchrun.simulator.making.written import Text
from batchrun.simulator.reading.request import ChatRequest
from batchrun.simulator.rules import (
    AnswerFault,
    ErrorInside,
    Fault,
    FinishReasonFault,
    OutputFault,
    StreamFault,
    action,
)

WHITESPACE = 100
"""Line ends that an answer without a limit ends in."""

REFUSAL = "I'm sorry, but I can't help with that request."


@dataclass(frozen=True, slots=True)
class Occasion:
    """One admitted call, as the conditions of a fault see it."""

    request: ChatRequest
    call: int
    """Number of the call, from 1."""
    nth: int
    """How often this request was admitted before, plus 1."""
    turn: int = 1
    """How often its conversation was admitted before, plus 1."""


class Conversations:
    """Remembers every request, and where `follow` is set what conversation it began (200 bytes each).

    A request belongs to the conversation of an earlier one when it begins with that one's messages and
    goes on with an answer: a further turn, a tool's result, or asking again after a bad answer.
    """

    def __init__(self, *, follow: bool) -> None:
        self._follow = follow
        self._requests: dict[int, int] = {}
        self._roots: dict[bytes, bytes] = {}
        self._calls: dict[bytes, int] = {}

    def count(self, request: ChatRequest) -> tuple[int, int]:
        """Count one more; how often this request, and its conversation, were admitted so far."""
        key = int(request.key, 16)
        nth = self._requests[key] = self._requests.get(key, 0) + 1
        if not self._follow:
            return nth, nth
        root = self._root(request)
        turn = self._calls[root] = self._calls.get(root, 0) + 1
        return nth, turn

    def _root(self, request: ChatRequest) -> bytes:
        said = hashlib.blake2b(request.model.encode("utf-8", "surrogatepass"), digest_size=16)
        root: bytes | None = None
        for message in request.messages:
            if message["role"] == "assistant":
                root = self._roots.get(said.digest(), root)
            said.update(b"\n" + canonical(message))
        return self._roots.setdefault(said.digest(), root or said.digest())


def choose(faults: Sequence[Fault], occasion: Occasion, seed: int) -> Fault | None:
    """The first fault all of whose conditions hold; chance is drawn for each rule, request and repetition."""
    return next((f for rule, f in enumerate(faults) if _applies(f, rule, occasion, seed)), None)


def _applies(fault: Fault, rule: int, occasion: Occasion, seed: int) -> bool:
    request = occasion.request
    return (
        (fault.first is None or _count(fault, occasion) <= fault.first)
        and (fault.calls is None or fault.calls[0] <= occasion.call <= fault.calls[1])
        and (fault.match is None or fault.match in request.question)
        and (fault.mentions is None or fault.mentions in request.prompt)
        and (fault.model is None or fault.model == request.model)
        and (request.stream or not isinstance(fault, StreamFault))
        and (fault.rate is None or draw("fault", seed, rule, request.key, occasion.nth) < fault.rate)
    )


def _count(fault: Fault, occasion: Occasion) -> int:
    return occasion.turn if fault.per == "conversation" else occasion.nth


def name_of(fault: Fault | None) -> str | None:
    """A fault's name in the ledger, such as `status 503`, `reset mid_body` or `answer malformed`."""
    if fault is None or (key := action(fault)) is None:
        return None
    return f"{key} {getattr(fault, key)}"


def spoil_text(text: Text, fault: Fault | None, most: int | None) -> tuple[Text, str | None]:
    """A text as the fault leaves it, and the finish_reason where that is another.

    `most` is how many tokens may be written; where there is no limit, whitespace goes on for WHITESPACE.
    """
    half = len(text.tokens) // 2
    match fault:
        case OutputFault(output="fence"):
            return text.wrapped("```json\n", "\n```"), None
        case OutputFault(output="preface"):
            return text.wrapped("Here is what you asked for:\n\n", ""), None
        case OutputFault(output="postscript"):
            return text.wrapped("", "\n\nLet me know if you need anything else."), None
        case OutputFault(output="truncated"):
            return text.first(half), "length"
        case OutputFault(output="whitespace"):
            blank = ("\n",) * max(0, WHITESPACE if most is None else most - half)
            return Text((*text.tokens[:half], "".join(blank)), text.picked), "length"
    return text, None


def spoil(completion: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    """The completion as the fault leaves it; a fault of the connection leaves it as it is."""
    match fault:
        case ErrorInside(error_in_200=code, message=message):
            return {"id": completion["id"], "error": {"code": code, "message": message}}
        case FinishReasonFault(finish_reason=reason):
            return _each_choice(completion, {"finish_reason": reason})
        case AnswerFault(answer="null_choices"):
            return {**completion, "choices": None}
        case AnswerFault(answer="no_choices"):
            return {**completion, "choices": []}
        case AnswerFault(answer="null_message"):
            return _each_choice(completion, {"message": None})
        case AnswerFault(answer="refusal"):
            said: dict[str, Any] = {
                "role": "assistant",
                "content": None,
                "refusal": REFUSAL,
                "annotations": [],
            }
            return _each_choice(completion, {"message": said, "logprobs": None})
        case AnswerFault(answer="content_filter"):
            nothing: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None, "annotations": []}
            end = {"message": nothing, "logprobs": None, "finish_reason": "content_filter"}
            return _each_choice(completion, end)
    return completion


def spoil_stored(completion: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    """The completion as it is stored: as the model left it, whatever broke its answer on the way."""
    match fault:
        case FinishReasonFault() | AnswerFault(answer="refusal" | "content_filter"):
            return spoil(completion, fault)
    return completion


def _each_choice(completion: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    return {**completion, "choices": [{**choice, **members} for choice in completion["choices"]]}


def spoil_body(body: bytes, fault: Fault | None) -> bytes:
    """The encoded answer as the fault leaves it."""
    match fault:
        case AnswerFault(answer="malformed"):
            return body[: len(body) // 2]
        case AnswerFault(answer="empty"):
            return b""
    return body
