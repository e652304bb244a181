"""What some bytes are: by how they begin, else by the suffix of their file."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "application/octet-stream"
_LOOKED_AT = 64
"""Bytes at the start that tell one kind from another."""


def media_type(data: bytes, name: str) -> str:
    """The media type (RFC 6838) of `data`; `name` decides where the first bytes do not."""
    head = data[:_LOOKED_AT]
    for begins, kind in _STARTS:
        if head.startswith(begins):
            return kind
    for recognised in (_riff, _bmp, _iso_media, _matroska, _mpeg_audio):
        if found := recognised(head):
            return found
    return type_of_name(name)


def type_of_name(name: str) -> str:
    """The media type that the suffix of `name` stands for."""
    return _SUFFIXES.get(name.rpartition(".")[2].lower(), UNKNOWN)


def _riff(head: bytes) -> str | None:
    return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12]) if head[:4] == b"RIFF" else None


def _bmp(head: bytes) -> str | None:
    # Two letters alone could begin a text: the header's reserved bytes are zero.
    return "image/bmp" if head[:2] == b"BM" and len(head) > 10 and head[6:10] == bytes(4) else None


def _iso_media(head: bytes) -> str | None:
    """Files of ISO 14496-12 name their brand after `ftyp`."""
    return _BRANDS.get(head[8:12], "video/mp4") if head[4:8] == b"ftyp" else None


def _matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return "video/webm" if b"webm" in head else "video/x-matroska"


def _mpeg_audio(head: bytes) -> str | None:
    """An MP3 without tags begins with a frame: eleven bits of ones, then layer III (ISO 11172-3)."""
    return "audio/mpeg" if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 else None


_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"%PDF-", "application/pdf"),
)
_BRANDS: Mapping[bytes, str] = {
    b"M4A ": "audio/mp4",
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_SUFFIXES: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "svg": "image/svg+xml",
    "avif": "image/avif",
    "heic": "image/heic",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "xml": "application/xml",
    "json": "application/json",
    "docx": _OFFICE + "wordprocessingml.document",
    "xlsx": _OFFICE + "spreadsheetml.sheet",
    "pptx": _OFFICE + "presentationml.presentation",
}
"""Not the `mimetypes` module: what that knows depends on the machine's own tables."""
