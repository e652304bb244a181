"""Server-sent events out of bytes as they arrive (WHATWG HTML, 9.2.6 "Interpreting an event stream")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `data` has the lines of its `data` fields, joined by newlines."""

    type: str
    """`message` where the server names none."""
    data: bytes


class EventReader:
    """Takes a stream in pieces cut anywhere, within lines and characters too, and gives its events.

    Lines end with LF, CR LF or CR. Comments, `id` and `retry` are passed over. Each byte is
    touched a fixed number of times, however small the pieces are.

    More lenient than the specification: `end` gives the last event also without its empty line,
    and a line that begins like a JSON object is taken as data, because servers that fail before
    they stream send their error so.
    """

    def __init__(self) -> None:
        self._cut_line: list[bytes] = []
        self._after_cr = False
        self._begun = False
        self._type = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        first, *lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._cut_line.append(first)
        for line in lines:
            yield from self._line(b"".join(self._cut_line))
            self._cut_line = [line]

    def end(self) -> Iterator[Event]:
        """The stream has ended: what it left open. A part of an event, it may be."""
        yield from self._line(b"".join(self._cut_line))
        self._cut_line = []
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[Event]:
        if not self._begun:
            line = line.removeprefix(_BOM)
            self._begun = True
        if not line:
            if self._data:
                yield Event(self._type or "message", b"\n".join(self._data))
            self._type, self._data = "", []
        elif line.startswith(b"{"):
            self._data.append(line)
        else:
            name, _, value = line.partition(b":")
            self._field(name, value.removeprefix(b" "))

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value.decode(errors="replace")
