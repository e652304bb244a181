"""What must not be kept of an answer: servers have been seen to quote the key that they refuse.

A quoted key may be spelled in other ways than it was sent: with JSON's escapes, percent signs or an HTML
page's references, in other letters' case, or within base64.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from batchrun import codec

HIDDEN = "[API key]"
"""What stands in a secret's place."""

_SHORTEST_SECRET = 8
"""A shorter value, such as the `EMPTY` of servers without keys, is no secret and may stand in any text."""

_WINDOW = 1 << 20
"""Bytes of an answer that are looked through at a time, so that a long one is not copied whole."""

_LONGEST_SPELLING = 12
"""Bytes of one character, as in `\\\\\\\\u0041`, where it is found across the edge of two windows."""

_ESCAPED = r"\\*+"
"""Backslashes before a character, as many as there are."""

_DEEPEST = 4
"""How often codes are read."""

_CODES = re.compile(
    rb"[u%&](?:(?<=u)00([2-7][0-9a-f])|(?<=%)(?:25)*([2-7][0-9a-f])|(?<=&)#x0*([2-7][0-9a-f]);|(?<=&)#0*([0-9]{2,3});)"
)
"""Characters of ASCII by their number. It begins with a set, which is what `re` finds fast."""


def keys_in(headers: Mapping[str, str]) -> Iterable[str]:
    """What authorization carries; where it is Basic the password, too (RFC 7617, 2).

    A key in another header is a secret that whoever sends it has to name.
    """
    scheme, _, key = headers.get("authorization", "").rpartition(" ")
    yield key
    if scheme.strip().lower() == "basic":
        with suppress(ValueError):  # no base64, or no UTF-8: whoever wrote it knows what it means
            yield base64.b64decode(key, validate=True).decode().partition(":")[2]


def password_in(url: str) -> Iterable[str]:
    """The password in a proxy's URL, as it is written there and as it is sent."""
    with suppress(ValueError):  # no URL: it is refused elsewhere
        if password := urlsplit(url if "://" in url else f"http://{url}").password:
            yield from {password, unquote(password)}


class Hidden:
    """Secrets, and how to find them in a text. Those under 8 characters are none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret.strip().strip("\\") for secret in secrets}  # whatever escapes stand around it
        self.secrets = tuple(sorted((s for s in known if len(s) >= _SHORTEST_SECRET), key=len, reverse=True))
        """The longest first: one may hold another, of which a rest would stay."""
        needles = {form for secret in self.secrets for form in (*_written(secret), *_in_base64(secret))}
        self._needles = sorted(
            {form for needle in needles for form in (_plain(needle), _read(_plain(needle)))}
        )
        if not "".join(self.secrets).isascii():  # a proxy's password: rare, and spelled in too many ways
            self._needles = [b""]
        self._overlap = _LONGEST_SPELLING * max(map(len, self._needles), default=0)
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"Hidden({len(self.secrets)} secrets)"

    def hide(self, body: bytes) -> bytes:
        """`body` without any of the secrets; a JSON document stays one."""
        if not self._may_hold(body):
            return body
        text = body.decode(errors="surrogateescape")
        hidden = self._hidden(text)
        try:
            document = codec.loads(body)
            without = self._without(document)
            # of two members of one name the document has the last, the text both
            return body if (hidden, without) == (text, document) else codec.dumps(without)
        except (ValueError, RecursionError):  # no JSON, or as good as none
            return body if hidden == text else hidden.encode(errors="surrogateescape")

    def hide_text(self, text: str) -> str:
        """`text` without any of the secrets."""
        return self._hidden(text) if self._may_hold(text.encode(errors="replace")) else text

    def _may_hold(self, body: bytes) -> bool:
        """Whether a secret may be in `body`: quick, and never False where one is."""
        if not self._needles:
            return False
        if len(body) <= _WINDOW:
            return self._may_be_in(body)
        return any(
            self._may_be_in(body[start : start + _WINDOW + self._overlap])
            for start in range(0, len(body), _WINDOW)
        )

    def _may_be_in(self, window: bytes) -> bool:
        plain = _plain(window)
        if self._are_in(plain):
            return True
        if b"%" not in plain and plain.rfind(b"u00") < 0 and plain.rfind(b"&#") < 0:
            return False
        return self._are_in(_read(plain))

    def _are_in(self, plain: bytes) -> bool:
        for needle in self._needles:  # noqa: SIM110 # as a generator it takes twice as long
            if plain.rfind(needle) >= 0:  # three times as fast as `in`, and ten for short ones
                return True
        return False

    def _hidden(self, text: str) -> str:
        if self._pattern is None:
            forms = [form for secret in self.secrets for form in (_spelled(secret), *_spelled_base64(secret))]
            self._pattern = re.compile("|".join(forms))
        return self._pattern.sub(HIDDEN, text)

    def _without(self, value: Any) -> Any:
        """A JSON value with every text in it hidden, names of members too; a number may be a key as well."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, dict):
            return {self._hidden(key): self._without(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if isinstance(value, int) and str(value) in self.secrets:
            return HIDDEN
        return value


def _plain(text: bytes) -> bytes:
    """Without what is written in many ways: case, and how often JSON or a page was escaped."""
    plain = text.lower().replace(b"\\", b"")
    return plain if plain.rfind(b"amp;") < 0 else plain.replace(b"amp;", b"")


def _read(plain: bytes) -> bytes:
    """With the characters that codes stand for, which may themselves be parts of codes."""
    for _ in range(_DEEPEST):
        before, plain = plain, _plain(_CODES.sub(_character, plain))
        if plain == before:
            break
    return plain


def _character(code: re.Match[bytes]) -> bytes:
    *hexadecimal, decimal = code.groups()
    digits = next((digits for digits in hexadecimal if digits), None)
    number = int(decimal) if digits is None else int(digits, 16)
    return bytes([number]) if number < 128 else code[0]


def _written(secret: str) -> set[bytes]:
    """The secret, and as it stands in JSON, an address and a page; what differs once ASCII codes are read."""
    forms = {secret, json.dumps(secret)[1:-1], quote(secret), html.escape(secret)}
    return {form.encode(errors="surrogatepass") for form in forms}


def _in_base64(secret: str) -> set[bytes]:
    """What base64 of any text that holds `secret` holds, in both alphabets (RFC 4648, 4 and 5).

    Where the secret begins in a group of three bytes is not known, so three beginnings are tried; the
    characters that it shares with what stands before and after it are left out.
    """
    data = secret.encode(errors="surrogatepass")
    found = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        first = -(-before * 8 // 6)
        core = encoded[first : (before + len(data)) * 8 // 6].strip(b"+/")  # which may be escaped
        found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def _spelled_base64(secret: str) -> Iterator[str]:
    """Regular expressions for it within base64, whose only characters to escape are + and /."""
    for form in sorted(_in_base64(secret)):
        yield "".join(letter if letter.isalnum() else _any_spelling(letter) for letter in form.decode())


def _spelled(secret: str) -> str:
    """A regular expression for a secret, of which every character may be escaped, again and again."""
    first, *others = re.findall(r"\\+|[^\\]", secret, re.DOTALL)
    # not the backslashes before it: each end of a long row of them would be tried
    return "".join([_any_spelling(first).replace(_ESCAPED, "", 1), *(_any_spelling(o[0]) for o in others)])


def _any_spelling(character: str) -> str:
    letters = sorted(
        letter for letter in {character, character.lower(), character.upper()} if len(letter) == 1
    )
    literal = "".join(map(re.escape, letters))
    codes = "|".join(f"{ord(letter):x}" for letter in letters)
    decimals = "|".join(str(ord(letter)) for letter in letters)
    escapes = [
        *(_percent(letter) for letter in letters),
        rf"&(?:amp;)*(?:#0*(?:{decimals})|#[xX]0*(?i:{codes}){_named(letters)});",
    ]
    if character == "\\":  # its own escape: how many there are says nothing
        return rf"(?:\\++(?:u0*5[cC])?|{'|'.join(escapes)})+"
    return rf"(?:{_ESCAPED}(?:[{literal}]|u0*(?i:{codes}))|{'|'.join(escapes)})"


def _percent(letter: str) -> str:
    """Percent signs may themselves be written so."""
    return "".join(rf"%(?:25)*(?i:{byte:02x})" for byte in letter.encode(errors="surrogatepass"))


def _named(letters: Iterable[str]) -> str:
    """The names of references, as further alternatives."""
    return "".join(
        f"|{html.escape(letter)[1:-1]}"
        for letter in letters
        if html.escape(letter).startswith("&") and len(html.escape(letter)) > 1
    )
