"""Imports of a user's own Python modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def importing_from(folder: Path, *, forget: bool) -> Iterator[None]:
    """Let modules of `folder` be imported, before those of the same name elsewhere; no bytecode is written.

    With `forget`, modules of the folder that were imported meanwhile are dropped afterwards, so that
    another folder can have a module of the same name. Not for code that runs later: what it imports
    then, and names that its type hints spell as text, are looked up among the modules that are loaded.
    """
    path, before = str(folder), set(sys.modules)
    wrote_none = sys.dont_write_bytecode
    importlib.invalidate_caches()  # which may not know a file that was written just now
    sys.path.insert(0, path)
    sys.dont_write_bytecode = True  # `plan` writes nothing
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote_none
        if path in sys.path:  # a user's module may have taken it out
            sys.path.remove(path)
        if forget:
            _forget(folder, sys.modules.keys() - before)


def _forget(folder: Path, names: set[str]) -> None:
    for name in names:
        file = Path(getattr(sys.modules[name], "__file__", None) or sys.prefix)
        if file.is_relative_to(folder) and not file.is_relative_to(sys.prefix):  # folder/.venv stays
            del sys.modules[name]
