"""Rows as files, byte for byte the same everywhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` as JSON Lines."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows`, all with the same keys, as CSV."""
    listed = list(rows)
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, list(listed[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(listed)
