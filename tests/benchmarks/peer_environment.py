"""The environment of other people's libraries, outside the project, which needs none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("lm-deluge", "openai")


class MissingPeersError(Exception):
    """The peers cannot be installed; the message says why."""


def default_folder() -> Path:
    """Where the environment is when nobody names a folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchrun-benchmarks"


def ensure(folder: Path) -> Path:
    """The environment's Python; installed, from wherever pip or uv are set up to look, the first time.

    Raises MissingPeersError when that fails.
    """
    python = folder / "bin" / "python"
    if not _version(python, PACKAGES[-1]):
        for command in _installing(folder, python):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise MissingPeersError(f"`{' '.join(command)}` ended with {done.stderr.strip()[-500:]}")
    return python


def versions(python: Path) -> str:
    """The packages with their versions, for the head of a table."""
    return ", ".join(f"{package} {_version(python, package)}" for package in PACKAGES)


def _installing(folder: Path, python: Path) -> list[list[str]]:
    if uv := shutil.which("uv"):
        return [
            [uv, "venv", "--allow-existing", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--compile-bytecode", "--python", str(python), *PACKAGES],
        ]
    return [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *PACKAGES],
    ]


def _version(python: Path, package: str) -> str | None:
    if not python.exists():
        return None
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    told = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None
