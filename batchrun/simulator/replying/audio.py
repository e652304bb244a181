"""Answers that are heard: sound that lasts as long as its text takes. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from array import array
from collections.abc import Sequence
from typing import Any

RATE = 8000
"""Samples a second."""

PER_TOKEN = 0.01
"""Seconds of sound for a token: so short because nobody listens."""

EXPIRY = 3600
"""Seconds after which OpenAI would forget the sound."""

_MAGIC = {"mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00", "flac": b"fLaC", "opus": b"OggS", "aac": b"\xff\xf1"}


def audio_member(tokens: Sequence[str], form: str, created: int, identity: str) -> dict[str, Any]:
    """`message.audio`: id, data in base64, expires_at and transcript."""
    transcript = "".join(tokens)
    return {
        "id": f"audio_{identity}",
        "data": base64.b64encode(sound(transcript, len(tokens), form)).decode(),
        "expires_at": created + EXPIRY,
        "transcript": transcript,
    }


def sound(transcript: str, tokens: int, form: str) -> bytes:
    """A tone whose pitch is the transcript's own.

    A playable `wav`, or its samples alone for `pcm16`; for any other format bytes that only begin like it.
    """
    seed = hashlib.blake2b(transcript.encode("utf-8", "replace"), digest_size=32).digest()
    if form in _MAGIC:
        return _MAGIC[form] + seed
    pitch = 200 + seed[0]
    count = max(1, int(RATE * PER_TOKEN * tokens))
    samples = array("h", (int(8000 * math.sin(2 * math.pi * pitch * i / RATE)) for i in range(count)))
    data = struct.pack(f"<{count}h", *samples)
    return data if form == "pcm16" else _wav_header(len(data)) + data


def _wav_header(size: int) -> bytes:
    """Header of one channel of 16-bit samples."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
