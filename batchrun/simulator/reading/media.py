"""What can be seen of an image, a sound or a file without decoding it. Pure.

The notes made here stand in the answer, so that whoever asked can see that the media arrived whole:
each ends in the first 8 hexadecimal digits of the BLAKE2b hash of its bytes.
"""

from __future__ import annotations

import hashlib
import struct

Size = tuple[int, int]
"""Width and height, pixels."""

_SIZED = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""JPEG markers of a frame header, ITU-T T.81 table B.1."""


def image_note(data: bytes) -> str | None:
    """Such as `PNG image, 64×48 pixels, 1c2d3e4f`; None for bytes that are no PNG, JPEG, GIF or WebP."""
    kind = image_format(data)
    if kind is None:
        return None
    try:
        width, height = _SIZES[kind](data)
    except (struct.error, IndexError):
        return f"{kind} image of unknown size, {short_digest(data)}"
    return f"{kind} image, {width}×{height} pixels, {short_digest(data)}"


def image_format(data: bytes) -> str | None:
    """The format that the first bytes tell, of those that the vision guide of OpenAI lists."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def audio_format(data: bytes) -> str | None:
    """`wav` or `mp3`, by the first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    synchronised = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    return "mp3" if data.startswith(b"ID3") or synchronised else None


def audio_note(data: bytes) -> str:
    """Such as `wav audio, 0.250 seconds, 1c2d3e4f`, or `mp3 audio, 3120 bytes, 1c2d3e4f`."""
    seconds = wav_seconds(data)
    extent = f"{len(data)} bytes" if seconds is None else f"{seconds:.3f} seconds"
    return f"{audio_format(data) or 'unknown'} audio, {extent}, {short_digest(data)}"


def wav_seconds(data: bytes) -> float | None:
    """How long a WAV sounds: its data by the bytes per second in its header. None for anything else."""
    if audio_format(data) != "wav":
        return None
    place, rate = 12, 0
    while place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(data[place + 16 : place + 20], "little")
        if name == b"data":
            # A header written before its sound was known holds a size that is too large.
            return min(size, len(data) - place - 8) / rate if rate else None
        place += 8 + size + size % 2
    return None


def bytes_note(what: str, data: bytes) -> str:
    """Such as `file report.pdf, 1234 bytes, 1c2d3e4f`."""
    return f"{what}, {len(data)} bytes, {short_digest(data)}"


def short_digest(data: bytes) -> str:
    """The first 8 hexadecimal digits of the BLAKE2b hash."""
    return hashlib.blake2b(data).hexdigest()[:8]


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _jpeg(data: bytes) -> Size:
    """Walk the segments to the frame header."""
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _SIZED:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise IndexError("no frame header")


def _webp(data: bytes) -> Size:
    """Lossy, lossless and extended form, RFC 9649."""
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            if len(data) < 30:
                raise IndexError("cut off")
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise IndexError("no WebP chunk")


_SIZES = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "WebP": _webp}
