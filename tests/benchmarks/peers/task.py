"""What a peer is told to do, and what it says at its end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """The work, as the file says that a peer is given.

    Attributes:
        table: JSONL with `id` and `text`; a row is one call with `text` as the user's message.
        base_url: without `/chat/completions`.
        ca_file: the authority of its certificate. Peers get it as the variable SSL_CERT_FILE too.
        in_flight: calls at once.
        request: parameters beside model and messages.
        schema: of the answer, where it has one; `request` does not have it.
    """

    table: str
    base_url: str
    ca_file: str | None
    in_flight: int
    request: dict[str, Any]
    schema: dict[str, Any] | None

    def write(self, path: Path) -> None:
        """Write the file for the peer."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def prompts(self) -> Iterator[str]:
        """The user's messages, in order."""
        with Path(self.table).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]

    @property
    def response_format(self) -> dict[str, Any]:
        """The parameter of that name, to be laid over `request`; empty without a schema."""
        if self.schema is None:
            return {}
        described = {"name": "response", "schema": self.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": described}}


def perform(work: Callable[[Task], int]) -> None:
    """Do the task that the command line names; report how many answers were good, and the peak of memory.

    The peak is this process's own: what the system tells a parent begins with what the parent itself had.
    """
    task, report = map(Path, sys.argv[1:])
    ok = work(Task(**json.loads(task.read_text(encoding="utf-8"))))
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert peak is not None
    report.write_text(json.dumps({"ok": ok, "peak_mb": int(peak[1]) * 1024 / 1e6}), encoding="utf-8")
