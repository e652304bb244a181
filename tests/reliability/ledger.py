"""The simulator's ledger, read piece by piece while it grows."""

from __future__ import annotations

import json
from pathlib import Path

from batchrun.simulator import Call


class LedgerTail:
    """Gives what was added since it was asked last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def calls(self) -> list[Call]:
        """The new calls, without their answers."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        self._read += added.rfind(b"\n") + 1
        events = (json.loads(line) for line in added.splitlines(keepends=True) if line.endswith(b"\n"))
        return [Call(event.pop("call"), **event) for event in events if event.pop("event") == "call"]
