"""The order in which prompts that begin alike follow each other (`order: prefix`).

Providers and servers keep the beginning of a prompt for some minutes and give it cheaper to the next
prompt that begins with the very same tokens: OpenAI from 1,024 tokens on, in steps of 128
(https://platform.openai.com/docs/guides/prompt-caching), vLLM in blocks of 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from batchrun import codec

PREFIX = "prefix"
"""Column of the index, present where prompts that begin alike go out together: the row's `prefix_key`."""

BOUNDARIES = tuple(round(1024 * 1.75**level) for level in range(8))
"""Bytes of a prompt's beginnings that are told apart, 1 kB to 51 kB: some 256 to 13,000 tokens."""


def prefix_key(messages: Sequence[Any]) -> int:
    """A number by which messages that begin alike are neighbours, the longer alike the closer.

    One byte for each boundary, the shortest highest: a hash of all up to there, 0 for a prompt that
    ends before. In a common beginning of 1 to 90 kB a boundary lies in the last 43%: texts that differ
    there are apart. Two of 255 may meet at one boundary by chance: they are then mixed as far as the next.
    """
    prompt = codec.dumps(messages)
    state = hashlib.blake2b(digest_size=1)
    key = start = 0
    for end in BOUNDARIES:
        key <<= 8
        if end <= len(prompt):
            state.update(prompt[start:end])
            key |= max(1, state.digest()[0])
            start = end
    return key
