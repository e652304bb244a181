"""Whether a value is still the one that its source spells."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any


def is_sent(source: Any, sent: Any) -> bool:
    """Whether a request's body, read with numbers as decimals, holds `source`.

    A number with a point or an exponent is the double nearest to it (RFC 8259, part 6), an integer exact;
    NaN and the infinities, which JSON has no form for, are sent as null.
    """
    if isinstance(source, float) and not math.isfinite(source):
        return sent is None
    if isinstance(source, Decimal | float):
        return type(sent) in (Decimal, float, int) and _is_nearest(source, float(sent))
    if type(source) is not type(sent):
        return False
    if isinstance(source, dict):
        return source.keys() == sent.keys() and all(is_sent(source[key], sent[key]) for key in source)
    if isinstance(source, list):
        return len(source) == len(sent) and all(map(is_sent, source, sent))
    return bool(source == sent)


def is_kept(source: Any, kept: Any) -> bool:
    """Whether a cell of the results holds `source`: as it is, or as JSON text where its column is mixed.

    A struct has null for members that one row has and this one has not; a lone surrogate is U+FFFD.
    """
    if source is None or kept is None:
        return source is kept
    if isinstance(kept, str):
        return (isinstance(source, str) and kept == _scrubbed(source)) or _is_text_of(source, kept)
    if isinstance(source, dict) and isinstance(kept, dict):
        absent = [kept[key] for key in kept.keys() - source.keys()]
        own = all(key in kept and is_kept(source[key], kept[key]) for key in source)
        return own and all(value is None for value in absent)
    if isinstance(source, list) and isinstance(kept, list):
        return len(source) == len(kept) and all(map(is_kept, source, kept))
    if isinstance(source, Decimal | float) or isinstance(kept, float):
        exact = type(source) is not int or int(kept) == source
        return type(kept) in (float, int, Decimal) and exact and _is_nearest(source, float(kept))
    return type(source) is type(kept) and bool(source == kept)


def _is_text_of(source: Any, text: str) -> bool:
    try:
        return is_text(source, json.loads(text, parse_float=Decimal))
    except ValueError:
        return False


def is_text(source: Any, read: Any) -> bool:
    """The same as `is_sent` of JSON text that this program reads again: it may say NaN."""
    if isinstance(source, float) and not math.isfinite(source):
        return isinstance(read, float) and _is_nearest(source, read)
    if isinstance(source, list) and isinstance(read, list):
        return len(source) == len(read) and all(map(is_text, source, read))
    if isinstance(source, dict) and isinstance(read, dict):
        return source.keys() == read.keys() and all(is_text(source[key], read[key]) for key in source)
    return is_sent(source, read)


def _is_nearest(source: Any, double: float) -> bool:
    wanted = float(source)
    both_nan = math.isnan(wanted) and math.isnan(double)
    return both_nan or (wanted == double and math.copysign(1, wanted) == math.copysign(1, double))


def _scrubbed(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
