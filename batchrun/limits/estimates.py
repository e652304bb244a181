"""How many tokens a call will take: learned from what earlier ones took. Pure; one for each model."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

from batchrun.limits import Size
from batchrun.outcome import Usage

_ANSWERS = 256
"""Answers that the estimate looks back on; also the weight of the running ratio, in answers."""
_ENOUGH = 30
"""Answers before the learned share is used."""
_UNKNOWN = 256
"""Tokens of an answer without a limit, before enough were seen."""
_SHARE = 0.95
_FORGET = 1 - 1 / _ANSWERS


class TokenEstimates:
    """The estimates for one model: p95 of the output, and reported prompt tokens to bytes / 4.

    Of a prompt nothing is known beforehand but its bytes; scripts other than Latin, images and
    chat templates make the real number differ by a factor, the same one for most rows of a job.
    """

    __slots__ = ("_estimated", "_outputs", "_reported", "_sorted")

    def __init__(self) -> None:
        self._outputs: deque[int] = deque()
        self._sorted: list[int] = []
        self._estimated = self._reported = 0.0

    def size(self, prompt: int, limit: int | None, choices: int) -> Size:
        """Tokens of a call: `prompt` is its estimate (bytes / 4), `limit` the most that each of its
        `choices` may take, None without one.

        What is asked holds the prompt's larger estimate, as servers count it one way or the other.
        """
        likely = self._likely(limit)
        corrected = math.ceil(prompt * self._reported / self._estimated - 1e-6) if self._estimated else prompt
        most = limit if limit is not None else likely
        return Size(max(prompt, corrected) + choices * most, corrected + choices * likely)

    def learn(self, prompt: int, usage: Usage, choices: int) -> None:
        """An answer of `choices`: `prompt` as it was estimated (bytes / 4), and what the server reports."""
        if usage.prompt_tokens is not None and prompt > 0:
            self._estimated = self._estimated * _FORGET + prompt
            self._reported = self._reported * _FORGET + usage.prompt_tokens
        if usage.completion_tokens is not None:
            self._remember(math.ceil(usage.completion_tokens / max(1, choices)))

    def _likely(self, limit: int | None) -> int:
        if len(self._sorted) < _ENOUGH:
            return _UNKNOWN if limit is None else limit
        p95 = self._sorted[math.ceil(_SHARE * len(self._sorted)) - 1]
        return p95 if limit is None else min(limit, p95)

    def _remember(self, output: int) -> None:
        self._outputs.append(output)
        insort(self._sorted, output)
        if len(self._outputs) > _ANSWERS:
            oldest = self._outputs.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
