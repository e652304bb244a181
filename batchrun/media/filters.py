"""The filters `data_url` and `base64`, which note what a prompt refers to without reading it.

A filter gives a marker, a short text that stands for the content. `replace` puts in its place the
identity for the request hash, the label for people, or the content for the request's body. So an
index pass over a million photos looks at each file's size and time of change and reads none.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from batchrun.media.files import listed
from batchrun.media.reference import MAX_BYTES, Form, MediaError, MediaRef, content, shortened

_COLLECTED: ContextVar[list[MediaRef] | None] = ContextVar("collected", default=None)
"""Per thread and task: two renderings at once never see each other's media."""


class Collecting:
    """Gives the list that media are added to. A class, because a generator takes a row twice as long."""

    __slots__ = ("_refs", "_token")

    def __init__(self, refs: list[MediaRef]) -> None:
        self._refs = refs

    def __enter__(self) -> list[MediaRef]:
        self._token = _COLLECTED.set(self._refs)
        return self._refs

    def __exit__(self, *_error: object) -> None:
        _COLLECTED.reset(self._token)


class Media:
    """The filters of one job. Local files are read from below `root` only; without one, none are."""

    def __init__(self, root: Path | None) -> None:
        self.root = root.resolve() if root else None

    def collecting(self, refs: list[MediaRef] | None = None) -> Collecting:
        """Within it, rendering adds its media to `refs`, or to a new list. Every rendering is within one."""
        return Collecting([] if refs is None else refs)

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

    def content(self, ref: MediaRef) -> str:
        """See `reference.content`. Raises MediaError."""
        return content(ref)

    def _noted(self, form: Form, value: Any) -> str:
        refs = _COLLECTED.get()
        if refs is None:
            raise RuntimeError("a media filter ran outside Media.collecting()")
        ref = self._ref(form, value)
        refs.append(ref)
        return ref.marker

    def _ref(self, form: Form, value: Any) -> MediaRef:
        name, data = _name_and_bytes(form, value)
        if data is None:
            path, place, stat = listed(name, form, self.root)
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
