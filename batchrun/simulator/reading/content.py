"""Reads the content of a message: text, and the parts of every kind that chat completion APIs take. Pure.

Sources: OpenAI's ChatCompletionContentPart…; Lightcone's list for the parts that vLLM adds.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from batchrun.simulator.reading import media
from batchrun.simulator.reading.checks import mapping, missing, needed_text, one_of, text, wrong
from batchrun.simulator.refusal import Refusal, RefusedError

IMAGE_TOKENS = 85
"""Prompt tokens of an image: what OpenAI's vision guide counts for one at low detail."""

AUDIO_RATE = 10
"""Prompt tokens of a second of sound."""

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w-]+=[^;,]*)*);base64,")


@dataclass(frozen=True, slots=True)
class Part:
    """What one content part comes to."""

    text: str | None = None
    note: str | None = None
    """What is seen of its media."""
    tokens: int = 0
    """Prompt tokens of its media."""
    audio_tokens: int = 0
    """Those of them that are sound."""


def read_content(content: Any, role: str, param: str) -> list[Part]:
    """The parts of a message's content; a string is one part. Raises RefusedError."""
    if isinstance(content, str):
        return [Part(content)]
    if not isinstance(content, list) or not content:
        raise wrong(param, "expected a string or an array of content parts")
    return [_part(part, role, f"{param}[{place}]") for place, part in enumerate(content)]


def _part(part: Any, role: str, param: str) -> Part:
    if isinstance(part, str):  # vLLM takes a bare string
        return Part(part)
    if not isinstance(part, dict):
        raise wrong(param, "expected an object")
    kind = part.get("type") or _simple_kind(part)
    if kind is None:
        raise missing(f"{param}.type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or role not in _ROLES.get(kind, (role,)):
        allowed = [name for name in _READERS if role in _ROLES.get(name, (role,))]
        raise wrong(f"{param}.type", f"expected one of {', '.join(allowed)} in a {role} message")
    return reader(part, param)


def _simple_kind(part: Mapping[str, Any]) -> str | None:
    """The kind of a part without `type`, whose URL stands where others have an object: Lightcone."""
    return next((k for k in ("image_url", "audio_url", "video_url") if isinstance(part.get(k), str)), None)


def _text(part: Mapping[str, Any], param: str) -> Part:
    return Part(needed_text(part.get("text"), f"{param}.text"))


def _refusal(part: Mapping[str, Any], param: str) -> Part:
    return Part(needed_text(part.get("refusal"), f"{param}.refusal"))


def _thinking(part: Mapping[str, Any], param: str) -> Part:
    return Part(needed_text(part.get("thinking"), f"{param}.thinking"))


def _image(part: Mapping[str, Any], param: str) -> Part:
    url, place = _url(part, "image_url", param)
    if "type" in part:
        given = part["image_url"]
        one_of(
            given.get("detail") if isinstance(given, dict) else None,
            f"{param}.image_url.detail",
            _DETAILS,
        )
    data = _fetched(url, place, "image_url")
    note = f"image at {url}" if data is None else media.image_note(data)
    if note is None:
        message = (
            "You uploaded an unsupported image. Please make sure your image has one of the following "
            "formats: ['png', 'jpeg', 'gif', 'webp']."
        )
        raise RefusedError(Refusal(400, message, param=place, code="invalid_image_format"))
    return Part(note=note, tokens=IMAGE_TOKENS)


def _input_audio(part: Mapping[str, Any], param: str) -> Part:
    place = f"{param}.input_audio"
    given = mapping(part.get("input_audio"), place)
    kind = one_of(given.get("format"), f"{place}.format", ("wav", "mp3"))
    if kind is None:
        raise missing(f"{place}.format")
    data = _decoded(needed_text(given.get("data"), f"{place}.data"), f"{place}.data")
    if media.audio_format(data) != kind:
        message = f"The data provided for 'input_audio' is not of valid {kind} format."
        raise RefusedError(Refusal(400, message, param=f"{place}.data", code="invalid_value"))
    return _sound(data)


def _sound(data: bytes) -> Part:
    seconds = media.wav_seconds(data)
    heard = math.ceil(AUDIO_RATE * seconds) if seconds is not None else math.ceil(len(data) / 1000)
    return Part(note=media.audio_note(data), tokens=heard, audio_tokens=heard)


def _file(part: Mapping[str, Any], param: str) -> Part:
    place = f"{param}.file"
    given = mapping(part.get("file"), place)
    name = text(given.get("filename"), f"{place}.filename") or "without a name"
    content = text(given.get("file_data"), f"{place}.file_data")
    if content is not None:
        start = _DATA_URL.match(content)  # both spellings are in use: a data URL, and base64 alone
        data = _decoded(content[start.end() :] if start else content, f"{place}.file_data")
        return Part(note=media.bytes_note(f"file {name}", data))
    identity = text(given.get("file_id"), f"{place}.file_id")
    if not identity:
        raise missing(f"{place}.file_id")
    return Part(note=f"file {identity}")


def _audio_url(part: Mapping[str, Any], param: str) -> Part:
    url, place = _url(part, "audio_url", param)
    data = _fetched(url, place, "audio_url")
    return Part(note=f"audio at {url}") if data is None else _sound(data)


def _video_url(part: Mapping[str, Any], param: str) -> Part:
    url, place = _url(part, "video_url", param)
    data = _fetched(url, place, "video_url")
    return Part(note=f"video at {url}" if data is None else media.bytes_note("video", data))


def _embeds(name: str) -> Callable[[Mapping[str, Any], str], Part]:
    def read(part: Mapping[str, Any], param: str) -> Part:
        place = f"{param}.{name}"
        given = part.get(name)
        tensors = given if isinstance(given, dict) else {"": given}
        if not tensors or (given is None and part.get("uuid") is None):
            raise missing(place)
        data = b"".join(
            _decoded(needed_text(tensor, place), place) for tensor in tensors.values() if tensor is not None
        )
        return Part(note=media.bytes_note(name.replace("_", " "), data))

    return read


def _url(part: Mapping[str, Any], name: str, param: str) -> tuple[str, str]:
    """The URL in a part and what to call it; without `type` it stands there by itself."""
    given = part.get(name)
    if isinstance(given, str) and "type" not in part:
        return given, f"{param}.{name}"
    place = f"{param}.{name}.url"
    return needed_text(mapping(given, f"{param}.{name}").get("url"), place), place


def _fetched(url: str, param: str, name: str) -> bytes | None:
    """The bytes of a data URL; None for http and https, which nobody fetches here."""
    if url.startswith(("http://", "https://")) and len(url.partition("://")[2]) > 0:
        return None
    start = _DATA_URL.match(url)
    if start is None:
        _refuse_url(url, param, name)
    return _decoded(url[start.end() :], param)


def _refuse_url(url: str, param: str, name: str) -> NoReturn:
    shown = url if len(url) <= 60 else f"{url[:60]}…"
    message = (
        f"Invalid '{param}'. Expected a valid URL (http, https, or data with ;base64), but got '{shown}'."
    )
    raise RefusedError(Refusal(400, message, param=param, code=f"invalid_{name}"))


def _decoded(content: str, param: str) -> bytes:
    try:
        data = binascii.a2b_base64(content.encode("ascii"), strict_mode=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are both of its kind
        message = f"Invalid '{param}'. Expected base64-encoded data."
        raise RefusedError(Refusal(400, message, param=param, code="invalid_base64")) from error
    if not data:
        raise wrong(param, "expected data, got none")
    return data


_DETAILS = ("auto", "low", "high", "original")

_READERS: dict[str, Callable[[Mapping[str, Any], str], Part]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _input_audio,
    "file": _file,
    "refusal": _refusal,
    "audio_url": _audio_url,
    "video_url": _video_url,
    "image_embeds": _embeds("image_embeds"),
    "audio_embeds": _embeds("audio_embeds"),
    "thinking": _thinking,
}

_ROLES: dict[str, tuple[str, ...]] = {
    "image_url": ("user",),
    "input_audio": ("user",),
    "file": ("user",),
    "refusal": ("assistant",),
}
"""Parts that OpenAI takes in messages of one role; the others may stand anywhere."""
