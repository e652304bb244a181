"""The reliability suite: `uv run python -m tests.reliability [--full] [--out FILE] [SECTION …]`.

Without `--full` each section runs at a short size, a few minutes in all; with it some hours. The table
says what was tried and what was seen, and the exit code is 1 where any promise was broken. What this machine
cannot run, without strace or mounts, is "not run", and the last line counts it. On a busy machine the
sections on pace and capacity measure the machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability import (
    behaviours,
    canary,
    changed,
    deep,
    determinism,
    faults,
    flips,
    inputs,
    kills,
    machines,
    memory,
    money,
    network,
    outputs,
    pacing,
    points,
    power,
    provider,
    rotation,
    serving,
    signals,
    soak,
    storage,
)
from tests.reliability.table import Line, is_broken, written

Section = Callable[[Path, bool], Iterator[Line]]
"""Takes a folder of its own and whether the full size is wanted."""

SECTIONS: dict[str, Section] = {
    "kills": kills.lines,
    "points": points.lines,
    "deep": deep.lines,
    "power": power.lines,
    "flips": flips.lines,
    "storage": storage.lines,
    "rotation": rotation.lines,
    "signals": signals.lines,
    "faults": faults.lines,
    "network": network.lines,
    "behaviours": behaviours.lines,
    "pace": pacing.lines,
    "capacity": serving.lines,
    "inputs": inputs.lines,
    "soak": soak.lines,
    "memory": memory.lines,
    "money": money.lines,
    "canary": canary.lines,
    "determinism": determinism.lines,
    "changed": changed.lines,
    "outputs": outputs.lines,
    "machines": machines.lines,
    "provider": provider.lines,
}
"""In the order of the test plan."""


def main() -> int:
    """Run the sections that the shell names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--full", action="store_true", help="the sizes of the published table")
    parser.add_argument("--out", type=Path, help="write the table to a file too")
    asked = parser.parse_args()
    if unknown := set(asked.sections) - SECTIONS.keys():
        parser.error(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    lines: list[Line] = []
    for name in asked.sections or SECTIONS:
        for line in _timed(SECTIONS[name], asked.full):
            lines.append(line)
            _say(" | ".join([*line.cells(), line.note]))
            if asked.out:
                asked.out.write_text(_headed(written(lines), asked.full), encoding="utf-8")
    _say("\n" + _headed(written(lines), asked.full))
    return int(is_broken(lines))


def _timed(section: Section, full: bool) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="batchrun-reliability-") as folder:
        yield from section(Path(folder), full)


def _headed(table: str, full: bool) -> str:
    command = "uv run python -m tests.reliability" + (" --full" if full else "")
    return f"{time.strftime('%Y-%m-%d')}, `{command}`, {_machine()}\n\n{table}"


def _machine() -> str:
    import os
    import platform

    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
