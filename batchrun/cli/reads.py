"""The files that a job is made of and reads: what no command writes over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from batchrun.cli.options import JobArguments
from batchrun.errors import InputError, UsageError
from batchrun.job import Job
from batchrun.job.document.document import read_whole
from batchrun.job.snapshot import read_snapshot, snapshot_folder
from batchrun.run_folder.folder import RunFolder
from batchrun.source.finding import find_files
from batchrun.source.kept import OnDisk
from batchrun.storage import is_remote

_TAG = re.compile(r"\{%.*?%\}", re.DOTALL)
_TEXT = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"")


def require_apart(out: Path, run: RunFolder, arguments: JobArguments) -> None:
    """Raises UsageError where `out` lies in a run folder, or a submit of what `arguments` name reads it."""
    require_outside_runs(out, run)
    reads = _files_of_run(run) if arguments.names_run else _files_of_job(arguments.load())
    for path in (*([arguments.env_file] if arguments.env_file else []), *reads):
        with suppress(OSError):
            if out.samefile(path):
                raise UsageError(f"--out {out} is what the job reads", hint="Name another file.")


def require_outside_runs(out: Path, run: RunFolder | None = None) -> None:
    """Raises UsageError where `out` lies in a run folder: in that of `run`, or in any that holds a run."""
    target = out.resolve()
    if (run and target.is_relative_to(run.path.resolve())) or any(map(_is_run, target.parents)):
        raise UsageError(
            f"--out {out} lies in a run folder, which is batchrun's own", hint="Name a file elsewhere."
        )


def _is_run(folder: Path) -> bool:
    # gives no error for a name that is too long
    return os.path.exists(RunFolder(folder).identity_path)  # noqa: PTH110


def _files_of_job(job: Job) -> Iterator[Path]:
    """The job file, what it names, and what its templates name; also files that are not there."""
    yield job.path
    yield from _input(job.input.path, job.input.run, job.folder, job.input.format)
    spelled = [job.answer_schema] if isinstance(job.answer_schema, str) else []
    yield from (job.folder / path for path in [*spelled, *([job.run_tools.module] if job.run_tools else [])])
    yield from (endpoint.ca_file for endpoint in job.endpoints.values() if endpoint.ca_file)
    messages = [job.folder / name for name in _message_files(job.document)]
    yield from messages
    yield from _included([job.path, *messages], job.folder)


def _files_of_run(run: RunFolder) -> Iterator[Path]:
    """What the job that was submitted last reads, as the run folder has it, and job files beside it."""
    document, folder = read_snapshot(run.job_yaml), snapshot_folder(run.job_yaml)
    if document is None or folder is None:
        return
    for pattern in ("*.yaml", "*.yml"):  # the snapshot does not say which of them it was made of
        yield from folder.glob(pattern)
    given = _mapping(document.get("input"))
    yield from _input(given.get("path"), given.get("run"), folder, given.get("format"))
    endpoints = _mapping(document.get("endpoints")).values()
    named = [_mapping(endpoint).get("ca_file") for endpoint in endpoints]
    for path in [*named, _mapping(document.get("run_tools")).get("module")]:
        if isinstance(path, str):
            with suppress(RuntimeError):  # no home is known
                yield folder / Path(path).expanduser()
    yield from _included([run.job_yaml], folder)


def _input(path: Any, run: Any, folder: Path, form: Any) -> Iterator[Path]:
    if isinstance(run, str) and not is_remote(run):
        yield from RunFolder(folder / run).results.glob("*.parquet")
    with suppress(InputError):
        if isinstance(path, str) and not is_remote(path):
            files = find_files(path, root=folder, format=form)
            yield from (file.kept.path for file in files if isinstance(file.kept, OnDisk))


def _message_files(document: Mapping[str, Any]) -> Iterator[str]:
    messages = _mapping(document.get("prompt")).get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(name := _mapping(message).get("file"), str):
            yield name


def _included(files: list[Path], folder: Path) -> Iterator[Path]:
    """Files that the tags of these name, and those that they name."""
    waiting, seen = list(files), set(files)
    while waiting:
        with suppress(OSError):
            text = read_whole(waiting.pop()).decode(errors="replace")
            names = ["".join(found) for tag in _TAG.findall(text) for found in _TEXT.findall(tag)]
            fresh = {folder / name for name in names if "\0" not in name} - seen
            seen |= fresh
            waiting += fresh
            yield from fresh


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
