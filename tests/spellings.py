"""The ways in which a text is spelled on its way through servers, proxies and pages."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote


def in_base64(before: int, text: str) -> str:
    """Base64 of the text with so many bytes before it."""
    return base64.b64encode(b"user:"[:before] + text.encode() + b".").decode()


def some_codes(text: str) -> str:
    """JSON codes for two characters of three."""
    return "".join(
        f"\\u{ord(letter):04x}" if at % 3 else json.dumps(letter)[1:-1] for at, letter in enumerate(text)
    )


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "capitals": str.upper,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON codes": lambda text: "".join(f"\\u{ord(letter):04X}" for letter in text),
    "some JSON codes": some_codes,
    "an address": lambda text: quote(text, safe=""),
    "an address in an address": lambda text: quote(quote(text, safe=""), safe=""),
    "percent signs": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "a page": html.escape,
    "a page in a page": lambda text: html.escape(html.escape(text)),
    "references": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "hexadecimal references": lambda text: "".join(f"&#x{ord(letter):X};" for letter in text),
    **{f"base64 after {before} bytes": partial(in_base64, before) for before in range(4)},
    "the other base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}
