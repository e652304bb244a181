"""How values are put for people: counted, timed, spelled; and text made safe to look at.

What a model, a server or a table wrote may hold characters that a terminal obeys, or that make a text
read as another than it is.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from batchrun import codec

_SHORT = 60
"""Characters of JSON that stay on one line."""

_OBEYED = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
"""C0 and C1 controls but tab and newline (ECMA-48), and lone surrogates, which cannot be written at all."""

_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What has no shape of its own: Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, with the
two separators and without the variation selectors of the first plane; it holds all bidirectional controls
(UAX 9)."""

_UNSAFE = re.compile(f"[{_OBEYED}{_UNSEEN}]|(?<![^\\x00-\\u02ff\\u2000-\\u200f])[\u200c\u200d]")
"""Joiners stand where scripts and emoji need them: after a letter of another script, or a symbol."""


def clean(text: str) -> str:
    """Show what a terminal would obey, or what nobody would see, in place of letting it act.

    Controls but tab and newline become their pictures, the rest of what is `_UNSAFE` its escape.
    """
    return _UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    """`clean` for what must stay on one line: a heading, a name, a label."""
    return clean(text).replace("\n", "\u240a").replace("\t", "\u2409")


def json_line(document: Any) -> str:
    """One JSON value, of any column's kind, on one line, with `\\u` escapes for what `clean` replaces."""
    try:
        line = codec.dumps(document)
    except TypeError:
        line = codec.dumps(plain(document))
    return escaped(line.decode(errors="replace"))


def escaped(line: str) -> str:
    """JSON text of the same value with `\\u` escapes for what `clean` replaces."""
    return _UNSAFE.sub(_escape, line)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the Control Pictures block
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"


def moment(iso: str) -> str:
    """A time as JSON has it, in UTC, for people: `2026-11-20 09:30:00 UTC`."""
    return iso.replace("T", " ").replace("+00:00", " UTC")


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,200 rows`, `3 batches`."""
    if number == 1:
        return f"{number:,} {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def tokens_of(usage: Mapping[str, int | None]) -> str:
    """`1,200 prompt + 300 completion`; empty where neither is known."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return "" if prompt is completion is None else f"{prompt or 0:,} prompt + {completion or 0:,} completion"


def usd(amount: float) -> str:
    """An amount of money for people, wherever one is said: cents, and three digits of what is below $1."""
    if amount >= 1 or amount == 0:
        return f"${amount:,.2f}"
    if amount < 1e-12:
        return "less than $0.000000000001"
    places = min(12, 2 - math.floor(math.log10(amount)))
    dollars, _, cents = f"{amount:.{places}f}".partition(".")
    return f"${dollars}.{cents.rstrip('0').ljust(2, '0')}"


def listed(names: Sequence[str], word: str) -> str:
    """`a`, `a and b`, `a, b and c` by the word `and`."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def duration(seconds: float) -> str:
    """Seconds for people: `37 ms`, `0.52 s`, `12.3 s`, `4:05`, `1:02:03`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Whole seconds as a clock has them: `0:07`, `4:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def spelled(value: Any) -> str:
    """A value of any column for people: text as it is, bytes by their number, the rest as `pretty` JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return _leaf(value) if isinstance(value, bytes | date | time | timedelta | Decimal) else pretty(value)


def pretty(value: Any) -> str:
    """JSON on one line where that is short, indented otherwise."""
    line = on_one_line(value)
    return line if len(line) <= _SHORT else _json(value, indent=2)


def on_one_line(value: Any) -> str:
    """JSON for people on one line, however long it is."""
    return _json(value)


def _json(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_leaf, indent=indent)
    except TypeError:  # a map's keys
        return json.dumps(plain(value), ensure_ascii=False, default=_leaf, indent=indent)


def plain(value: Any) -> Any:
    """A value of any column as JSON has it: bytes as base64, decimals and durations as text.

    So are the keys of a map, and dates among them as ISO 8601.
    """
    if isinstance(value, dict):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    known = value is None or isinstance(value, str | int | float | date | time)  # datetime is a date
    return value if known else str(value)


def _key(key: Any) -> Any:
    return key.isoformat() if isinstance(key, date | time) else plain(key)


def _leaf(value: Any) -> str:
    """What JSON has no form for: columns hold bytes, times and decimals."""
    return f"[{counted(len(value), 'byte')}]" if isinstance(value, bytes) else str(value)
