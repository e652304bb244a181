"""What it takes for a message to say what to do."""

from __future__ import annotations

import re

_VERBS = """
    add begin cast change check choose close compare convert count copy correct decompress drop export free
    give import install keep leave look lower make mend move name pass put quote raise read remove rename
    report restore run save scan see set start submit try unpack update use wait write
"""

_INSTRUCTION = re.compile(
    rf"(^|[.,:;(?]|\bor|\bplease|\band|\bfirst,|\bthen|\bto)\s*({'|'.join(_VERBS.split())})\b(?!\()"
    r"|\bmust\b|\bneeds?\b|\bis required\b|\bhas to\b|did you mean|\bis `batchrun"
    r"|`batchrun [a-z]+|--[a-z-]+\b"  # the command or the option that does it
    # what there is to choose from
    r"|\b(columns|functions|known here|members|presets|the types are|there are|one of)\b",
    re.IGNORECASE,
)


def tells_what_to_do(text: str) -> bool:
    """Whether a message holds an instruction: an imperative, what must hold, or what there is to choose."""
    return _INSTRUCTION.search(" ".join(text.split())) is not None
