"""Remembers how answered prompts began, as providers' automatic prompt caches do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from batchrun.codec import hash64
from batchrun.simulator.config import Cache
from batchrun.simulator.making.vocabulary import tokens
from batchrun.simulator.reading.request import ChatRequest

STEP = 128
"""Tokens by which longer prefixes grow, OpenAI's guide on prompt caching."""

MOST = 200_000
"""Prefixes that are kept at most, some 30 MB; the one answered longest ago goes first."""


class PromptCache:
    """Which prefixes have been answered lately: one number is kept for each of their lengths."""

    def __init__(self, config: Cache, most: int = MOST) -> None:
        self._config = config
        self._most = most
        self._answered: OrderedDict[int, float] = OrderedDict()

    def prefixes(self, request: ChatRequest) -> list[int]:
        """The prefixes of a prompt that are long enough, shortest first, each as a number.

        A prompt is its text; model, tools and media must be the same as well.
        """
        known = hash64(repr((request.model, request.offer, request.notes)).encode("utf-8", "surrogatepass"))
        found = []
        for block in _blocks(request, self._config.tokens):
            known = hash64(b"%d %b" % (known, block))
            found.append(known)
        return found

    def cached(self, now: float, prefixes: Sequence[int]) -> int:
        """The tokens at the beginning of a prompt that need not be read again."""
        whole = 0
        for prefix in prefixes:
            answered = self._answered.get(prefix)
            if answered is None or answered + self._config.seconds < now:
                break
            whole += 1
        return self._config.tokens + STEP * (whole - 1) if whole else 0

    def keep(self, now: float, prefixes: Sequence[int]) -> None:
        """Remember that a prompt has been answered."""
        for prefix in reversed(prefixes):  # a longer one is of no use without the shorter: it goes first
            self._answered[prefix] = now
            self._answered.move_to_end(prefix)
        while len(self._answered) > self._most:
            self._answered.popitem(last=False)


def _blocks(request: ChatRequest, first: int) -> Iterator[bytes]:
    """The text cut into whole blocks: one of `first` tokens, then of STEP tokens each."""
    text = request.prompt.encode("utf-8", "surrogatepass")
    if request.tokens_per_byte is None:
        ends = _ends(tokens(request.prompt))
    else:
        size = int(len(text) * request.tokens_per_byte)
        ends = [int(count / request.tokens_per_byte) for count in range(size + 1)]
    start = 0
    for count in range(first, len(ends), STEP):
        yield text[start : ends[count]]
        start = ends[count]


def _ends(found: Sequence[str]) -> list[int]:
    """Where in the text each token ends, in bytes; the first number is 0."""
    ends = [0]
    for token in found:
        ends.append(ends[-1] + len(token.encode("utf-8", "surrogatepass")))
    return ends
