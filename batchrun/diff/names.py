"""What the runs of a comparison are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def short_names(runs: Sequence[tuple[str, Path]]) -> list[str]:
    """A name for each run, given its own and its folder: no two are alike.

    The run's own; where runs share one, the last parts of their folders, as many as tell them apart. The
    folders are absolute, and no two the same.
    """
    parts = [0] * len(runs)
    names = [run for run, _ in runs]
    while len(times := Counter(names)) < len(names):
        parts = [count + (times[name] > 1) for name, count in zip(names, parts, strict=True)]
        names = [_name(run, path, count) for (run, path), count in zip(runs, parts, strict=True)]
    return names


def _name(run: str, path: Path, parts: int) -> str:
    if not parts:
        return run
    return "/".join(path.parts[-parts:]) if parts < len(path.parts) else str(path)
