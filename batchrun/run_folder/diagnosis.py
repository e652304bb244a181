"""What is wrong in a run folder that cannot be read: found after the fact, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun import codec
from batchrun.errors import RunFolderError
from batchrun.run_folder.folder import RunFolder

_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, pa.ArrowException),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
"""What reading a file of another make may raise."""

_OBJECTS = ("usage", "budget", "submit", "spent", "latency", "errors")
"""Members of run.json that are objects."""


@contextmanager
def reading(run: RunFolder) -> Iterator[None]:
    """Read a run in the block. Raises RunFolderError, naming the file, for one that is damaged.

    What fails although every file can be read is raised as it is.
    """
    try:
        yield
    except (RunFolderError, BrokenPipeError):
        raise
    except _UNREADABLE as error:
        if (found := first_damage(run)) is None:
            if isinstance(error, FileNotFoundError):
                raise RunFolderError(
                    f"{run.path} changed while it was read", hint="A submit is at work there: try again."
                ) from error
            raise
        path, why = found
        raise RunFolderError(f"{path}: {why}", hint=_hint(run, path)) from error


def first_damage(run: RunFolder) -> tuple[Path, str] | None:
    """The first file of a run that cannot be read, and why."""
    for path, check in _files(run):
        try:
            why = check(path)
        except FileNotFoundError:  # a submit puts others in its place meanwhile
            continue
        except _UNREADABLE as error:
            why = f"cannot be read: {_first_line(error)}"
        if why:
            return path, why
    return None


def _files(run: RunFolder) -> Iterator[tuple[Path, Callable[[Path], str]]]:
    yield run.checkpoint_path, _folder
    yield run.identity_path, _identity
    yield run.run_json, _run_json
    if run.results.exists():
        yield run.results, _results
        yield from ((path, _parquet) for path in sorted(run.results.glob("*.parquet")))
    yield from ((path, _parquet) for path in sorted(run.checkpoint_path.glob("*.parquet")))
    yield from ((path, _bytes) for path in sorted(run.checkpoint_path.glob("journal-*.log")))


def _folder(path: Path) -> str:
    return "" if path.is_dir() else "is no folder"


def _identity(path: Path) -> str:
    document = codec.loads(path.read_bytes())
    named = isinstance(document, dict) and isinstance(document.get("name"), str)
    return "" if named else "does not name a job"


def _run_json(path: Path) -> str:
    document: Any = codec.loads(path.read_bytes())
    if not isinstance(document, dict):
        return "holds no JSON object"
    wrong = [name for name in _OBJECTS if not isinstance(document.get(name, {}), dict)]
    return f"`{wrong[0]}` is no object" if wrong else ""


def _results(path: Path) -> str:
    return "" if any(path.glob("*.parquet")) else "holds no part"


def _parquet(path: Path) -> str:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for number in range(file.num_row_groups):
            file.read_row_group(number)
    return ""


def _bytes(path: Path) -> str:
    with path.open("rb") as file:
        file.read(1)
    return ""


def _hint(run: RunFolder, path: Path) -> str:
    if path.parent.name == run.checkpoint_path.name or path == run.checkpoint_path:
        return "The answers lie there: put this file back from a copy of the folder."
    if path == run.run_json:
        return "The next submit writes it anew; the answers are not in it."
    return (
        "The answers lie in checkpoint/: remove the link `results`, and the next submit publishes them anew."
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
