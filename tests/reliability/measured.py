"""batchrun in a process that writes down what it took: `python -m tests.reliability.measured FILE submit …`.

`wait4` would not do: the peak that it tells of a child begins with what its parent had when it was forked.
"""

from __future__ import annotations

import atexit
import json
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took until its end."""

    cpu: float
    """Seconds."""
    peak_mb: float


def command(report: Path, *arguments: str) -> list[str]:
    """The command that runs batchrun and leaves `report`."""
    return [sys.executable, "-m", "tests.reliability.measured", str(report), *arguments]


def read(report: Path) -> Taken:
    """What a process that has ended by itself took; nothing of one that was killed."""
    if not report.exists():
        return Taken(0.0, 0.0)
    return Taken(**json.loads(report.read_text(encoding="utf-8")))


def own_peak() -> int:
    """The most memory that this process has had, in bytes."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert peak is not None
    return int(peak[1]) * 1024


def _write(report: Path) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    taken = {"cpu": used.ru_utime + used.ru_stime, "peak_mb": own_peak() / 1e6}
    report.write_text(json.dumps(taken), encoding="utf-8")


if __name__ == "__main__":
    atexit.register(_write, Path(sys.argv.pop(1)))
    from batchrun.cli import main

    main()
