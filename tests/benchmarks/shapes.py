"""The shapes of work that contenders are timed on, spelled as words: `512-100ms-large-schema-stream-tls`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import orjson

Answer: TypeAlias = Literal["plain", "logprobs", "schema"]

DEFAULT = (
    "64-0ms",
    "512-100ms",
    "2000-1000ms",
    "64-0ms-large",
    "512-100ms-logprobs",
    "64-0ms-schema",
    "512-100ms-stream",
    "512-100ms-tls",
)
"""Each way in which shapes differ, at least once."""

SMALL, LARGE = 500, 50_000
"""Bytes of a prompt."""

_SPELLING = re.compile(
    r"(?P<in_flight>[1-9]\d*)-(?P<milliseconds>\d+)ms(?P<large>-large)?(-(?P<answer>logprobs|schema))?"
    r"(?P<stream>-stream)?(?P<tls>-tls)?"
)
_WORDS = """
    parcel delivery refund invoice order account password please help late again twice damaged never arrived
    charged wrong address since yesterday three days support answer write soon thanks regards customer number
    return label shop store card bank statement phone broken screen warranty update error message page button
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked, and how the responder answers.

    Attributes:
        in_flight: calls at once.
        milliseconds: until the answer's last byte; a streamed one comes in pieces over that time.
        prompt: bytes of the user's message.
        answer: about 30 tokens: text, the same with 5 alternatives a token, or a small JSON object.
    """

    in_flight: int
    milliseconds: int = 0
    prompt: int = SMALL
    answer: Answer = "plain"
    stream: bool = False
    tls: bool = False

    def __str__(self) -> str:
        words = {
            "-large": self.prompt == LARGE,
            f"-{self.answer}": self.answer != "plain",
            "-stream": self.stream,
            "-tls": self.tls,
        }
        return f"{self.in_flight}-{self.milliseconds}ms" + "".join(
            word for word, said in words.items() if said
        )

    @property
    def rows(self) -> int:
        """How many rows are enough, when nobody says."""
        return 2_000 if self.prompt == LARGE else 10_000


def parse(spelled: str) -> Shape:
    """The shape that the words mean. Raises ValueError for others, or in another order."""
    found = _SPELLING.fullmatch(spelled)
    if not found:
        raise ValueError(
            f"no shape {spelled!r}: write IN_FLIGHT-LATENCYms[-large][-logprobs|-schema][-stream][-tls]"
        )
    answer: Answer = "logprobs" if found["answer"] == "logprobs" else "schema" if found["answer"] else "plain"
    return Shape(
        int(found["in_flight"]),
        int(found["milliseconds"]),
        LARGE if found["large"] else SMALL,
        answer,
        bool(found["stream"]),
        bool(found["tls"]),
    )


def write_table(path: Path, rows: int, prompt: int) -> None:
    """A prompt table in JSONL, `id` and `text`: `prompt` bytes of text, every one different."""
    draw, words = random.Random(prompt), _WORDS.split()
    with path.open("wb") as file:
        for number in range(rows):
            text = f"row {number:07d}: " + " ".join(draw.choices(words, k=prompt // 4))
            file.write(orjson.dumps({"id": f"r{number:07d}", "text": text[:prompt]}) + b"\n")
