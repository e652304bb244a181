"""What must not be kept of an answer: servers have been seen to quote the key they refuse."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from contextlib import suppress

_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})
_SHORTEST_SECRET = 8
"""A shorter value, such as the `EMPTY` of servers without keys, is no secret and may stand in any text."""
_HIDDEN = b"[API key]"


def keys_in(headers: Mapping[str, str]) -> Iterable[str]:
    """What the headers for keys carry; of Basic authorization the password, too (RFC 7617, 2)."""
    for name in _SECRET_HEADERS & headers.keys():
        scheme, _, key = headers[name].rpartition(" ")
        yield key
        if scheme.strip().lower() == "basic":
            with suppress(ValueError):  # no base64, or no UTF-8: whoever wrote it knows what it means
                yield base64.b64decode(key, validate=True).decode().partition(":")[2]


def hidden_texts(secrets: Iterable[str]) -> list[bytes]:
    """The longest first: one may hold another, of which a rest would stay."""
    known = {secret.strip().encode() for secret in secrets}
    return sorted((secret for secret in known if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)


def hide(texts: Iterable[bytes], body: bytes) -> bytes:
    """`body` without any of `texts`."""
    for secret in texts:
        if secret in body:
            body = body.replace(secret, _HIDDEN)
    return body
