"""What the simulator sees of images, sounds and files, and what it refuses of them."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import Any

import pytest

from tests.simulator.asking import choice, refusal, reply, user


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int) -> bytes:
    """A whole grey picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def wav(seconds: float, rate: int = 8000) -> bytes:
    """Silence, after a chunk that is no sound."""
    sound = b"\0\0" * int(rate * seconds)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    note = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    content = b"WAVE" + form + note + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(content)) + content


JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 30, 40) + b"\x03rest"
GIF = b"GIF89a" + struct.pack("<HH", 7, 9) + b"rest"
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 64, 48)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", (64 - 1) | (48 - 1) << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x3f\0\0\x2f\0\0"
MP3 = b"ID3\x04rest of it"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64(data)}"


def image(url: str, **more: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def audio(data: bytes | str, form: str) -> dict[str, Any]:
    content = data if isinstance(data, str) else b64(data)
    return {"type": "input_audio", "input_audio": {"data": content, "format": form}}


def file(**members: object) -> dict[str, Any]:
    return {"type": "file", "file": members}


def sum_of(data: bytes) -> str:
    return hashlib.blake2b(data).hexdigest()[:8]


@pytest.mark.parametrize(
    ("part", "note"),
    [
        (image(data_url(png(64, 48))), f"PNG image, 64×48 pixels, {sum_of(png(64, 48))}"),
        (image(data_url(JPEG, "image/jpeg"), detail="low"), f"JPEG image, 40×30 pixels, {sum_of(JPEG)}"),
        (image(data_url(GIF)), f"GIF image, 7×9 pixels, {sum_of(GIF)}"),
        (image(data_url(LOSSY)), "WebP image, 64×48 pixels"),
        (image(data_url(LOSSLESS)), "WebP image, 64×48 pixels"),
        (image(data_url(EXTENDED)), "WebP image, 64×48 pixels"),
        (image(data_url(JPEG[:9])), "JPEG image of unknown size"),
        (image("https://example.com/a.png?b=1"), "image at https://example.com/a.png?b=1."),
        ({"image_url": "https://example.com/a.png"}, "image at https://example.com/a.png."),
        (audio(wav(0.25), "wav"), f"wav audio, 0.250 seconds, {sum_of(wav(0.25))}"),
        (audio(MP3, "mp3"), f"mp3 audio, {len(MP3)} bytes, {sum_of(MP3)}"),
        (audio(b"\xff\xfb\x90rest", "mp3"), "mp3 audio, 7 bytes"),
        (
            file(file_data=b64(b"%PDF-1.4"), filename="a b.pdf"),
            f"file a b.pdf, 8 bytes, {sum_of(b'%PDF-1.4')}",
        ),
        (file(file_data=data_url(b"%PDF-1.4", "application/pdf"), filename="a.pdf"), "file a.pdf, 8 bytes"),
        (file(file_id="file-abc"), "file file-abc."),
        ({"type": "audio_url", "audio_url": {"url": "http://example.com/a.mp3"}}, "audio at http://example"),
        ({"type": "audio_url", "audio_url": {"url": data_url(wav(1), "audio/wav")}}, "wav audio, 1.000 sec"),
        ({"type": "video_url", "video_url": {"url": data_url(b"film", "video/mp4")}}, "video, 4 bytes"),
        ({"type": "image_embeds", "image_embeds": b64(b"tensor")}, "image embeds, 6 bytes"),
        ({"type": "audio_embeds", "audio_embeds": {"a": b64(b"x"), "b": b64(b"y")}}, "audio embeds, 2 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_media_is_seen(part: dict[str, Any], note: str) -> None:
    """The answer says what arrived: kind, extent, and a digest of the bytes."""
    said = choice(messages=user({"type": "text", "text": "What is this?"}, part))["message"]["content"]
    assert said.startswith(f"Received {note}")


def test_all_media_of_a_conversation_is_seen() -> None:
    """In the order of the messages, whatever stands between."""
    parts = [image("https://a.example/1"), {"type": "text", "text": "and"}, image("https://a.example/2")]
    said = choice(
        messages=[*user(*parts), {"role": "assistant", "content": "Yes?"}, *user(audio(MP3, "mp3"))]
    )
    heard = f"mp3 audio, {len(MP3)} bytes, {sum_of(MP3)}"
    expected = f"Received image at https://a.example/1; image at https://a.example/2; {heard}. "
    assert said["message"]["content"].startswith(expected)


def test_media_counts_as_prompt_tokens() -> None:
    """An image has 85 tokens, a second of sound 10; those of sound are told apart."""
    text = reply(messages=user({"type": "text", "text": "a"}))["usage"]["prompt_tokens"]
    seen = reply(messages=user({"type": "text", "text": "a"}, image("https://a.example/1")))["usage"]
    assert seen["prompt_tokens"] == text + 85
    heard = reply(messages=user({"type": "text", "text": "a"}, audio(wav(0.5), "wav")))["usage"]
    assert (heard["prompt_tokens"], heard["prompt_tokens_details"]["audio_tokens"]) == (text + 5, 5)


WHOLE = data_url(png(8, 8))


@pytest.mark.parametrize(
    ("part", "code", "member"),
    [
        (image("photos/a.png"), "invalid_image_url", "image_url.url"),
        (image("ftp://example.com/a.png"), "invalid_image_url", "image_url.url"),
        (image("https://"), "invalid_image_url", "image_url.url"),
        (image("data:image/png,abc"), "invalid_image_url", "image_url.url"),
        (image(WHOLE[:-1] + "!"), "invalid_base64", "image_url.url"),
        (image(WHOLE + "\n"), "invalid_base64", "image_url.url"),
        (image("data:image/png;base64,"), "invalid_value", "image_url.url"),
        (image(data_url(b"BM bitmap")), "invalid_image_format", "image_url.url"),
        (image(WHOLE, detail="huge"), "invalid_value", "image_url.detail"),
        ({"type": "image_url", "image_url": "https://a.example/1"}, "invalid_value", "image_url"),
        ({"type": "image_url"}, "missing_required_parameter", "image_url.url"),
        (audio(wav(0.1), "mp3"), "invalid_value", "input_audio.data"),
        (audio(MP3, "wav"), "invalid_value", "input_audio.data"),
        (audio(MP3, "flac"), "invalid_value", "input_audio.format"),
        (audio(data_url(MP3), "mp3"), "invalid_base64", "input_audio.data"),
        (audio("ä", "mp3"), "invalid_base64", "input_audio.data"),
        (file(), "missing_required_parameter", "file.file_id"),
        (file(filename="a.pdf"), "missing_required_parameter", "file.file_id"),
        (file(file_data="not base64", filename="a.pdf"), "invalid_base64", "file.file_data"),
        ({"type": "audio_url", "audio_url": {"url": "a.mp3"}}, "invalid_audio_url", "audio_url.url"),
        ({"type": "image_embeds", "image_embeds": None}, "missing_required_parameter", "image_embeds"),
        ({"type": "refusal", "refusal": "no"}, "invalid_value", "type"),
        ({"type": "picture"}, "invalid_value", "type"),
        ({"type": ["text"]}, "invalid_value", "type"),
        ({"text": "a"}, "missing_required_parameter", "type"),
        ({"type": "text"}, "missing_required_parameter", "text"),
    ],
    ids=str,
)
def test_a_wrong_part_is_named(part: dict[str, Any], code: str, member: str) -> None:
    """Each is a 400 with a code, and the place of the member at fault."""
    found = refusal(messages=user({"type": "text", "text": "a"}, part))
    assert (found.status, found.code) == (400, code)
    assert found.param == f"messages[0].content[1].{member}"


def test_images_belong_to_users() -> None:
    """OpenAI takes images, sounds and files in user messages only."""
    found = refusal(messages=[{"role": "system", "content": [image(WHOLE)]}])
    assert found.param == "messages[0].content[0].type"
    assert "image_url" not in found.message
