"""Short texts that stand for media in a rendered prompt until it is hashed, shown or sent."""

from __future__ import annotations

import itertools
import re
import secrets

_NONCE = f"{secrets.randbelow(10**32):032}"
"""Drawn for each process: no row can hold a marker. Digits, which upper and lower case leave alone."""
_START, _END = f"\ufdd0{_NONCE}.", "\ufdd1"
"""Noncharacters, which Unicode sets aside for use within one program, and JSON does not escape."""
_NUMBERS = itertools.count()

MARKER = re.compile(f"{re.escape(_START)}[0-9]+{_END}")
REMNANT = re.compile(f"\ufdd0{_NONCE[:4]}|{_NONCE[:12]}|{_NONCE[-4:]}\\.[0-9]+\ufdd1")
"""What is left of a marker that was cut or changed."""


def new_marker() -> str:
    """A marker that was never given before: one that is mixed up stands for nothing."""
    return f"{_START}{next(_NUMBERS)}{_END}"
