"""The simulator's tokens: words, marks and spaces. Pure."""

from __future__ import annotations

import re

from batchrun.codec import hash64

VOCABULARY = 100_000
"""Token ids are below this."""

_TOKEN = re.compile(r" ?\w+| ?[^\w\s]|\s+")


def tokens(text: str) -> list[str]:
    """Cut `text` into words, marks and spaces; joined, they are the text again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """The number of a token; two tokens may share one."""
    return hash64(token.encode("utf-8", "surrogatepass")) % VOCABULARY
