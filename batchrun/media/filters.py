"""The filters `data_url` and `base64`, which note what a prompt refers to without reading it.

A filter gives a marker, a short text that stands for the content. `replace` puts in its place the
identity for the request hash, the label for people, or the content for the request's body. So an
index pass over a million photos looks at each file's size and time of change and reads none.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from batchrun.media.reference import MAX_BYTES, Form, MediaError, MediaRef, shortened

_COLLECTED: ContextVar[list[MediaRef] | None] = ContextVar("collected", default=None)
"""Per thread and task: two renderings at once never see each other's media."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class collecting:  # noqa: N801 - it is called as a function; a generator takes a row twice as long
    """Within it, rendering adds its media to `refs`, or to a new list. Every rendering is within one."""

    __slots__ = ("_refs", "_token")

    def __init__(self, refs: list[MediaRef] | None = None) -> None:
        self._refs = [] if refs is None else refs

    def __enter__(self) -> list[MediaRef]:
        self._token = _COLLECTED.set(self._refs)
        return self._refs

    def __exit__(self, *_error: object) -> None:
        _COLLECTED.reset(self._token)


class Media:
    """The filters of one job. Local files are read from below `root` only; without one, none are."""

    def __init__(self, root: Path | None) -> None:
        self._root = root.resolve() if root else None

    def data_url(self, value: Any) -> str:
        """A data URL of a file or of bytes; an http(s) or data URL stays as it is. Raises MediaError."""
        return value if _is_url(value) else self._noted("data_url", value)

    def base64(self, value: Any) -> str:
        """The Base64 text of a file or of bytes. Raises MediaError."""
        if _is_url(value):
            raise MediaError(
                f"base64: {shortened(value)} is a URL, and nothing is fetched: save it as a file"
            )
        return self._noted("base64", value)

    def _noted(self, form: Form, value: Any) -> str:
        refs = _COLLECTED.get()
        if refs is None:
            raise RuntimeError("a media filter ran outside `collecting`")
        ref = self._ref(form, value)
        refs.append(ref)
        return ref.marker

    def _ref(self, form: Form, value: Any) -> MediaRef:
        name, data = _name_and_bytes(form, value)
        if data is None:
            path, place, stat = _listed(name, form, self._root)
            ref = MediaRef(form, path, name, stat.st_size, stat.st_mtime_ns, None, place)
        else:
            ref = MediaRef(form, None, name, len(data), None, data)
        if not ref.size:
            raise MediaError(f"{shortened(name or form)}: is empty")
        if ref.size > MAX_BYTES:
            raise MediaError(
                f"{shortened(name or form)}: has {ref.size:,} bytes; at most {MAX_BYTES:,} can be sent"
            )
        return ref


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value[:8].lower().startswith(("https://", "http://", "data:"))


def _name_and_bytes(form: Form, value: Any) -> tuple[str, bytes | None]:
    """What a filter was given; without bytes, the name is a path."""
    if isinstance(value, dict) and value and value.keys() <= {"bytes", "path"}:
        # Hugging Face datasets keep an image or audio column so; either member may be null
        if value.get("bytes") is not None:
            return value.get("path") or "", value["bytes"]
        value = value.get("path")
    if isinstance(value, bytes):
        return "", value
    if value is None or value != value:
        raise MediaError(f"{form}: the value is null or missing; {{% if … %}} around it leaves it out")
    if not isinstance(value, str):
        kind = next(
            (known.__name__ for known in (dict, list) if isinstance(value, known)), type(value).__name__
        )
        raise MediaError(f"{form} takes a path, a URL or bytes, not {kind}: {shortened(value)}")
    if not value:
        raise MediaError(f"{form}: the path is empty")
    return value, None


def _listed(name: str, form: Form, root: Path | None) -> tuple[Path, str, os.stat_result]:
    """The file that a row names: its path and its place below `root`, links resolved, and its facts.

    Raises MediaError when it is no regular file below `root`. Nothing is read.
    """
    shown = shortened(name)
    if _SCHEME.match(name):
        raise MediaError(f"{form}: {shown}: only http(s) URLs and files below input.media_root can be sent")
    if root is None:
        raise MediaError(f"{form}: {shown} is a file: set input.media_root to the folder it lies in")
    try:
        path = (root / name).resolve()
        inside = path.is_relative_to(root)
        stat = path.stat() if inside else None
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file below input.media_root ({root})") from None
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: a loop
        raise MediaError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if stat is None:
        raise MediaError(f"{shown}: lies outside input.media_root ({root})")
    if not S_ISREG(stat.st_mode):
        raise MediaError(f"{shown}: is {'a folder' if S_ISDIR(stat.st_mode) else 'no regular file'}")
    return path, path.relative_to(root).as_posix(), stat
