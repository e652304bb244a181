"""A file or some bytes that a prompt holds, the marker that stands for them, and the text that is sent."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from batchrun.codec import digest
from batchrun.media.kinds import media_type, type_of_name

Form: TypeAlias = Literal["data_url", "base64"]

MAX_BYTES = 50_000_000
"""The largest file that a prompt may hold: what OpenAI's guide on file inputs allows for each file."""

_NONCE = f"{secrets.randbelow(10**32):032}"
"""Drawn for each process: no row can hold a marker. Digits, which upper and lower case leave alone."""
_START, _END = f"\ufdd0{_NONCE}.", "\ufdd1"
"""Noncharacters, which Unicode sets aside for use within one program, and JSON does not escape."""
_NUMBERS = itertools.count()

_MARKER = re.compile(f"{re.escape(_START)}[0-9]+{_END}")
_REMNANT = re.compile(f"\ufdd0{_NONCE[:4]}|{_NONCE[:12]}|{_NONCE[-4:]}\\.[0-9]+\ufdd1")
"""What is left of a marker that was cut or changed."""


def _new_marker() -> str:
    """A marker that was never given before: one that is mixed up stands for nothing."""
    return f"{_START}{next(_NUMBERS)}{_END}"


class MediaError(ValueError):
    """Media that cannot be sent; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class MediaRef:
    """What a template's filter was given: a file below the media root, or bytes."""

    form: Form
    path: Path | None
    """The file with all links resolved; None for bytes."""
    name: str
    """The file as the row spells it; of bytes the name that came with them, else empty."""
    size: int
    """Bytes."""
    mtime_ns: int | None
    data: bytes | None = field(repr=False)
    place: str = ""
    """The file's path from the media root, links resolved."""
    marker: str = field(default_factory=_new_marker, compare=False, repr=False)
    """The text that stands for the content until it is sent."""

    @property
    def identity(self) -> str:
        """What a request hash covers: a file's place, size and time of change, or the bytes' digest."""
        if self.data is None:
            return f"media:{self.form}:{self.place}:{self.size}:{self.mtime_ns}"
        kind = f":{media_type(self.data, self.name)}" if self.form == "data_url" else ""
        return f"media:{self.form}:blake2b:{digest(self.data)}{kind}"

    @property
    def label(self) -> str:
        """A short form for people: `photos/a.jpg (image/jpeg, 12,345 bytes)`. Reads no file."""
        kind = type_of_name(self.name) if self.data is None else media_type(self.data, self.name)
        return f"{shortened(self.name)} ({kind}, {self.size:,} bytes)".lstrip()


def shortened(value: object) -> str:
    """`value` as a message quotes it: a row may hold a whole file where a name should be."""
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def content(ref: MediaRef) -> str:
    """The content in Base64 (RFC 4648), for `data_url` as a data URL (RFC 2397).

    Reads the file: a blocking call of up to `MAX_BYTES`. Raises MediaError when the file is no longer
    the one that was listed.
    """
    data = _read(ref) if ref.data is None else ref.data
    text = b64encode(data).decode("ascii")
    return text if ref.form == "base64" else f"data:{media_type(data, ref.name)};base64,{text}"


def _read(ref: MediaRef) -> bytes:
    assert ref.path is not None  # a reference has a path or data
    try:
        # What has taken the file's place since could be a link out of the media root, or a pipe.
        if ref.path.resolve() != ref.path or not ref.path.is_file():
            raise _changed(ref)
        with ref.path.open("rb") as file:
            data = file.read(ref.size + 1)
            now = os.fstat(file.fileno())  # after reading, so that a change in the midst of it shows too
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{ref.name}: cannot be read any more: {reason}; submit again") from error
    if (len(data), now.st_size, now.st_mtime_ns) != (ref.size, ref.size, ref.mtime_ns):
        raise _changed(ref)
    return data


def _changed(ref: MediaRef) -> MediaError:
    return MediaError(f"{ref.name}: the file has changed since it was listed; submit again")


def replace(value: Any, refs: Sequence[MediaRef], how: Callable[[MediaRef], str]) -> Any:
    """`value`, of JSON's kinds, with every marker in its texts replaced by `how` of what it stands for.

    `refs` are those that were collected when `value` was rendered; without any it is returned as it is.
    Raises MediaError when a marker was cut or changed after its filter.
    """
    return _replaced(value, {ref.marker: ref for ref in refs}, how) if refs else value


def _replaced(value: Any, refs: Mapping[str, MediaRef], how: Callable[[MediaRef], str]) -> Any:
    if isinstance(value, str):
        return _text(value, refs, how)
    if isinstance(value, Mapping):
        return {key: _replaced(item, refs, how) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, refs, how) for item in value]
    return value


def _text(text: str, refs: Mapping[str, MediaRef], how: Callable[[MediaRef], str]) -> str:
    if ref := refs.get(text):
        return how(ref)
    between = _MARKER.split(text)
    if any(_REMNANT.search(part) for part in between):
        raise MediaError("a filter after data_url or base64 changed the text: let that one be the last")
    return _MARKER.sub(lambda match: how(refs[match[0]]), text) if len(between) > 1 else text
