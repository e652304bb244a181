"""Counts how often a request, and how often a conversation, was admitted."""

from __future__ import annotations

import hashlib

from batchrun.codec import canonical
from batchrun.simulator.reading.request import ChatRequest


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
