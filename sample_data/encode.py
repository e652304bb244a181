"""Small pictures, sounds and documents as bytes, with no library but the standard one.

Nothing here compresses or rounds, so the bytes are the same on every machine.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]

RATE = 8000
"""Samples of sound per second, one byte each."""


def png(rows: Sequence[Sequence[int]], palette: Sequence[Colour]) -> bytes:
    """An indexed PNG of at most four colours; `rows` holds the index of each pixel's colour."""
    width = len(rows[0])
    header = struct.pack(">IIBBBBB", width, len(rows), 2, 3, 0, 0, 0)  # two bits a pixel, palette
    lines = b"".join(b"\0" + _packed(row) for row in rows)
    parts = [
        (b"IHDR", header),
        (b"PLTE", bytes(value for colour in palette for value in colour)),
        (b"IDAT", zlib.compress(lines, 0)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _packed(row: Sequence[int]) -> bytes:
    """Four pixels a byte, the leftmost in the highest bits."""
    filled = [*row, *[0] * (-len(row) % 4)]
    return bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*[iter(filled)] * 4, strict=True))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def wav(samples: bytes) -> bytes:
    """Sound of one channel and one unsigned byte a sample as a WAV file."""
    padded = samples + b"\x80" * (len(samples) % 2)
    layout = struct.pack("<HHIIHH", 1, 1, RATE, RATE, 1, 8)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(padded))
    return b"RIFF" + struct.pack("<I", len(chunks) + len(padded)) + chunks + padded


def beep(hertz: int, milliseconds: int) -> bytes:
    """A square wave: no sine, whose last digit may differ between machines."""
    half = RATE // hertz // 2
    return bytes(0xB0 if at // half % 2 else 0x50 for at in range(RATE * milliseconds // 1000))


def silence(milliseconds: int) -> bytes:
    return b"\x80" * (RATE * milliseconds // 1000)


def pdf(lines: Iterable[str]) -> bytes:
    """One A5 page of text in Helvetica, the first line as its title. ASCII only."""
    title, *rest = (re.sub(r"[\\()]", r"\\\g<0>", line) for line in lines)
    text = f"BT /F1 16 Tf 40 540 Td ({title}) Tj /F1 11 Tf 0 -16 Td 18 TL\n"
    text += "".join(f"({line}) '\n" for line in rest) + "ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Contents 5 0 R\n"
        "   /Resources << /Font << /F1 4 0 R >> >> >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    ]
    bodies = [f"{number} 0 obj\n{body}\nendobj\n" for number, body in enumerate(objects, 1)]
    head = "%PDF-1.4\n"
    starts = list(accumulate(map(len, bodies), initial=len(head)))
    table = "".join(f"{start:010} 00000 n \n" for start in starts[:-1])
    end = f"xref\n0 {len(starts)}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(starts)} /Root 1 0 R >>\nstartxref\n{starts[-1]}\n%%EOF\n"
    return (head + "".join(bodies) + end).encode("ascii")
