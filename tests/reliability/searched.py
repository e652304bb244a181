"""Looks for a key in files and texts, however it is spelled there. Shares no code with what hides keys."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq

PIECE = 12
"""Characters of a key in a row that are too much. Providers show fewer: `sk-...abcd`."""

_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_CODE = re.compile(r"\\+u00([0-7][0-9A-Fa-f])")


def holds(key: str, text: str) -> bool:
    """Whether `text` holds PIECE characters of `key`, after any decoding."""
    plain = _decoded(text)
    pieces = {piece for form in (key.lower(), _decoded(key)) for piece in _pieces(form)}
    if any(piece in text.lower() or piece in plain for piece in pieces):
        return True
    found = " ".join(_from_base64(text + " " + unquote(text).replace("\\", "")))
    plain = found.lower() + _decoded(found)
    return any(piece in plain for piece in pieces)


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE] for at in range(max(1, len(text) - PIECE + 1)))


def _decoded(text: str) -> str:
    for _ in range(4):
        text = _CODE.sub(lambda code: chr(int(code[1], 16)), text)
        text = html.unescape(unquote(text))
    return text.replace("\\", "").lower()


def _from_base64(text: str) -> Iterator[str]:
    for run in _RUN.findall(text):
        for start in range(4):
            digits = run[start:].translate(str.maketrans("-_", "+/"))
            yield base64.b64decode(digits[: len(digits) // 4 * 4]).decode("latin-1")


def files_with(key: str, *folders: Path) -> list[str]:
    """The files below these folders that hold the key: their names, their bytes, what Parquet packs."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if holds(key, str(path.relative_to(folder))) or (path.is_file() and holds(key, _text(path))):
                found.append(str(path))
    return found


def _text(path: Path) -> str:
    raw = path.read_bytes().decode("latin-1")
    if not path.read_bytes().startswith(b"PAR1"):
        return raw
    file = pq.ParquetFile(path)
    rows = json.dumps(file.read().to_pylist(), default=repr, ensure_ascii=False)
    return f"{raw}\n{file.metadata.metadata!r}\n{file.schema_arrow!r}\n{rows}"
