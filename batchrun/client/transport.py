"""The seam between a call and what carries it: a request goes out, its answer comes back chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class CallError(Exception):
    """No whole answer came; its text says why.

    `sent` is False only when it is certain that nothing reached the server. `arrived` says what had come of
    a stream, where one had begun.
    """

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent
        self.arrived = ""


class LateError(CallError):
    """No whole answer came in time: a connect, idle or total timeout."""


class Arriving(Protocol):
    """An answer whose head is there. Its body is iterated over, and then closed.

    A body that comes without `content-encoding` among the headers has been decompressed. The iteration
    raises CallError when the body is cut, comes too late, or is not coded as it says.
    """

    @property
    def status(self) -> int:
        """HTTP's status code."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; repeated ones joined with a comma (RFC 9110, 5.3)."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """A file to upload, with fields beside it, as multipart/form-data (RFC 7578); read as it is sent."""

    fields: Mapping[str, str]
    path: Path
    name: str
    """What the file is called there."""
    media_type: str


class Transport(ABC):
    """Carries requests to servers."""

    @abstractmethod
    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Form,
        total: float,
        *,
        at_once: bool,
        method: str = "POST",
    ) -> Arriving:
        """Send `body` once, never again by itself; return when the head of the answer is there.

        `total` (seconds) bounds the call to the last byte of its answer. `at_once` asks for each piece of
        the answer as it comes; else pieces may be kept back until there are more. Raises CallError, and
        OSError where the file of a form cannot be read.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""


def joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names, which are lower case; the values of one name joined."""
    plain = dict(headers)
    if len(plain) < len(headers):
        plain.clear()
        for name, value in headers:
            plain[name] = f"{plain[name]}, {value}" if name in plain else value
    return plain


def without_type(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers for a form, whose type the form itself says: it names the boundary."""
    return {name: value for name, value in headers.items() if name != "content-type"}
