"""JSON in a model's text: read as it is, or found among what models write around it.

Repairs never invent a value. Dropped are: a byte order mark, thinking up to the last </think>, markdown
fences, prose before and after the value, a comma before a closing bracket. A raw line break in a string
is taken as it is; a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD. A value that is cut off
is not completed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from batchrun import codec

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_THOUGHT = "</think>"
_THOUGHT_OR_QUOTE = re.compile(rf'\\.|{_THOUGHT}|"(\s*[,:}}\]])?', re.DOTALL)
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_SPACE = re.compile(r"[ \t\r\n]*")
_TRAILING_COMMA = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|(,)(?=\s*[}\]])', re.DOTALL)
_AFTER_VALUE = re.compile(r'["\d\]}el]\s*\Z')
_CLOSING = {"{": "}", "[": "]"}
_MOST_COMMA_REPAIRS = 20
"""Values with trailing commas in one text: each costs a pass over the rest."""


class NotJsonError(ValueError):
    """The text is no JSON; the message says what is wrong, without a full stop."""


def _refuse(constant: str) -> Any:
    raise NotJsonError(f"{constant} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJsonError(f"the number {digits[:40]} is too large")
    return number


_EXACT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, strict=False)


def parse(text: str) -> tuple[Any, bool]:
    """Read a text that is one JSON value, and whether a lone surrogate in it was replaced.

    Integers stay exact, the last of equal keys wins. Raises NotJsonError, also for NaN and infinities.
    """
    if not text.strip():
        raise NotJsonError("the text is empty")
    try:
        exact = "NaN" in text or "Infinity" in text  # which codec reads
        value = _EXACT.decode(text) if exact else codec.loads(text.encode())
    except json.JSONDecodeError as error:
        raise _explained(text, error) from error
    except UnicodeEncodeError as error:
        raise NotJsonError("a lone surrogate is in the text") from error
    except RecursionError as error:
        raise NotJsonError("it is nested too deeply") from error
    except ValueError as error:
        raise NotJsonError(str(error)) from error
    return cleaned(value) if _SURROGATE_ESCAPE.search(text) else (value, False)


def _explained(text: str, error: json.JSONDecodeError) -> NotJsonError:
    if error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip()):
        return NotJsonError(f"the JSON ends in the middle, after {len(text)} characters")
    if error.msg == "Extra data":
        return NotJsonError(f"text follows the JSON, at character {error.pos}")
    return NotJsonError(f"not JSON at character {error.pos}: {error.msg}")


def candidates(text: str) -> Iterator[Any]:
    """Every JSON value that stands in `text`, in order: objects and lists anywhere, scalars in fences.

    A bracket that is followed by nothing of JSON's is prose, and so is all up to its counterpart.
    Raises NotJsonError where a value begins and does not end, or the text holds none at all.
    """
    text = codec.scrubbed(text.lstrip("\ufeff \t\r\n"))
    text = text[_thought_until(text) :]
    found = False
    for value in (*_fenced_scalars(text), *_only_scalar(text)):
        found = True
        yield value
    for value in _bracketed(text):
        found = True
        yield value
    if not found:
        raise NotJsonError("the text holds no JSON" if text.strip() else "the text is empty")


def _thought_until(text: str) -> int:
    """Where thinking ends: after the last </think>, or at 0; chat templates may put <think> in the prompt.

    A </think> ends nothing where the next quote closes a string: it is a part of the answer.
    """
    end, last = 0, 0
    for mark in _THOUGHT_OR_QUOTE.finditer(text):
        if mark[0] == _THOUGHT:
            last = mark.end()
        elif mark[0].startswith('"'):
            end, last = (end if mark[1] else last or end), 0
    return last or end


def _fenced_scalars(text: str) -> Iterator[Any]:
    for fenced in _FENCED.finditer(text):
        yield from _only_scalar(fenced[1])


def _only_scalar(text: str) -> Iterator[Any]:
    text = text.strip()
    if text[:1] not in ("", "{", "["):
        try:
            yield cleaned(_LENIENT.decode(text))[0]
        except ValueError:
            return


def _bracketed(text: str) -> Iterator[Any]:
    counterparts: dict[int, int] | None = None
    at = mended = 0
    while opening := _OPENING.search(text, at):
        start = opening.start()
        try:
            value, at = _decoded(text, start)
        except json.JSONDecodeError as error:
            if _is_prose(text, start, error.pos):
                counterparts = _counterparts(text) if counterparts is None else counterparts
                at = counterparts.get(start, start) + 1
                continue
            mended += 1
            if mended > _MOST_COMMA_REPAIRS:
                raise _explained(text, error) from error
            value, at = _without_trailing_commas(text, start, error)
        yield cleaned(value)[0]


def _decoded(text: str, start: int) -> tuple[Any, int]:
    """The value at `start`, and its end. Raises JSONDecodeError where it is none, else NotJsonError."""
    try:
        return _LENIENT.raw_decode(text, start)
    except (json.JSONDecodeError, NotJsonError):
        raise
    except RecursionError as error:
        raise NotJsonError("it is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise NotJsonError(str(error)) from error


def _is_prose(text: str, start: int, wrong_at: int) -> bool:
    """Whether the first thing after a bracket is none of JSON's."""
    space = _SPACE.match(text, start + 1)
    first = space.end() if space else start + 1
    return wrong_at <= first < len(text)


def _counterparts(text: str) -> dict[int, int]:
    """The closing bracket of each opening one that has any, each kind by itself."""
    found: dict[int, int] = {}
    for opening, closing in _CLOSING.items():
        waiting: list[int] = []
        for mark in re.finditer(f"[{re.escape(opening + closing)}]", text):
            if mark[0] == opening:
                waiting.append(mark.start())
            elif waiting:
                found[waiting.pop()] = mark.start()
    return found


def _without_trailing_commas(text: str, start: int, first: json.JSONDecodeError) -> tuple[Any, int]:
    """Read the value at `start` with the commas left out that a closing bracket follows; and its end."""
    commas = [
        mark.start(1)
        for mark in _TRAILING_COMMA.finditer(text, start)
        if mark[1] and _AFTER_VALUE.search(text, max(start, mark.start(1) - 80), mark.start(1))
    ]
    pieces, last = [], start
    for comma in commas:
        pieces.append(text[last:comma])
        last = comma + 1
    try:
        value, end = _decoded("".join([*pieces, text[last:]]), 0)
    except json.JSONDecodeError:
        raise _explained(text, first) from first
    end += start
    for comma in commas:
        end += comma < end
    return value, end


def cleaned(value: Any) -> tuple[Any, bool]:
    """`value` with U+FFFD for each lone surrogate, and whether there was one."""
    if isinstance(value, str):
        changed = codec.scrubbed(value)
        return changed, changed != value
    if isinstance(value, list):
        pairs = [cleaned(item) for item in value]
        return [item for item, _ in pairs], any(changed for _, changed in pairs)
    if isinstance(value, dict):
        members = [(cleaned(key), cleaned(item)) for key, item in value.items()]
        changed_any = any(a or b for (_, a), (_, b) in members)
        return {key: item for (key, _), (item, _) in members}, changed_any
    return value, False
