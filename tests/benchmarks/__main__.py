"""Run one benchmark, or all: `uv run python -m tests.benchmarks [speed|startup|scale|units] [OPTION …]`.

Options follow the name of the benchmark; `speed --help` lists those of `speed`.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

BENCHMARKS = ("speed", "startup", "scale", "units")


def main(words: Sequence[str]) -> int:
    """Run the benchmark that the first word names; without words each with its defaults."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or servers would stay behind
    if not words:
        return max(_run(name, []) for name in BENCHMARKS)
    name, *arguments = words
    if name not in BENCHMARKS:
        asked_for_help = name in ("-h", "--help")
        (sys.stdout if asked_for_help else sys.stderr).write(__doc__ or "")
        return 0 if asked_for_help else 2
    return _run(name, arguments)


def _run(name: str, arguments: Sequence[str]) -> int:
    code: int = importlib.import_module(f"tests.benchmarks.{name}").main(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
