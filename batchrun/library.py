"""batchrun from Python: what the commands do, as functions.

They work inside a running event loop too, as in a notebook, and then in a thread of their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from batchrun.cli.options import JobArguments, known_types, path_or_address
from batchrun.cli.progress import showing
from batchrun.job import Job
from batchrun.job.document.override import spelled_set
from batchrun.outcome import RETRYABLE
from batchrun.planning import Plan
from batchrun.planning import plan as plan_job
from batchrun.remote.reading import open_copy, published_results
from batchrun.reparsing import Reparsed, preview
from batchrun.reparsing import reparse as reparse_job
from batchrun.run_folder.diagnosis import reading
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.parquet import scan_files
from batchrun.run_folder.results.read import scan_run
from batchrun.run_folder.results.several import together
from batchrun.storage import polars_options
from batchrun.submitting.frames import Frame, rows_of, write_rows
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit as submit_job
from batchrun.summary import Summary

_T = TypeVar("_T")

JobFile = str | os.PathLike[str]


def submit(
    job: JobFile,
    input: Frame | None = None,
    *,
    name: str | None = None,
    model: str | None = None,
    set: Mapping[str, Any] | None = None,
    limit: int | None = None,
    rerun_changed: bool = False,
    keep_changed: bool = False,
    retry_failed: bool | Iterable[str] = False,
    drain: float = 30.0,
    wait: bool = True,
    show: bool = True,
) -> Summary:
    """Bring the output of the job file `job` up to date with its input, as `batchrun submit` does.

    Args:
        input: rows in place of the job's input file: a polars or pandas frame. They are kept in the run
            folder, so that the same frame goes on where it ended.
        name: another name, and so another run folder.
        model: another model, ENDPOINT/MODEL; with `retry_failed`, for the failed rows alone.
        set: values of the job to replace, by dotted keys: {"request.temperature": 0.5}. Paths start at the
            working folder.
        limit: at most so many rows now.
        rerun_changed, keep_changed: what becomes of answers that an edit leaves behind.
        retry_failed: ask failed rows again that wait for a decision: all (True), or those with these error
            types.
        drain: seconds that calls under way may take when it is interrupted.
        wait: wait for batches that are with a provider (engine.kind: provider_batch); else a later submit
            fetches them.
        show: tell how it goes on standard error.

    Gives the Summary, whatever the rows came to: `exit_code` says it as the command would. Raises a
    BatchrunError when the run cannot go on.
    """
    types = _types(retry_failed)
    options = Options(rerun_changed, keep_changed, types, limit=limit, drain=drain, wait=wait)
    arguments = _arguments(job, name, model, set)
    arguments = _with_input(arguments, input, lambda: _frames_of(arguments.load()))
    loaded, retry_model = arguments.load_to_submit(retrying=bool(types))
    return _apart(partial(_submit, loaded, replace(options, retry_model=retry_model), show=show))


def _submit(job: Job, options: Options, interrupts: Callable[[], int], *, show: bool) -> Summary:
    with showing(as_json=False, silent=not show) as progress:
        options = replace(options, interrupts=interrupts)
        return submit_job(job, options, env=dict(os.environ), progress=progress)


def plan(
    job: JobFile,
    input: Frame | None = None,
    *,
    name: str | None = None,
    model: str | None = None,
    set: Mapping[str, Any] | None = None,
    rerun_changed: bool = False,
    retry_failed: bool | Iterable[str] = False,
) -> Plan:
    """Say what a submit of the job file `job` would do, as `batchrun plan` does: no call, and nothing kept.

    The arguments are those of `submit`. Raises a BatchrunError.
    """
    with tempfile.TemporaryDirectory(prefix="batchrun-") as folder:
        arguments = _with_input(_arguments(job, name, model, set), input, lambda: Path(folder))
        return plan_job(
            arguments.load(),
            env=dict(os.environ),
            on_rows=lambda _rows: None,
            rerun_changed=rerun_changed,
            retry_failed=_types(retry_failed),
        )


def reparse(
    job: JobFile,
    input: Frame | None = None,
    *,
    name: str | None = None,
    model: str | None = None,
    set: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    show: bool = True,
) -> Reparsed:
    """Read the stored answers of the job file `job` by its schema as it is now, as `batchrun reparse` does.

    `dry_run` counts and writes nothing; the other arguments are those of `submit`. Gives how the rows stand
    now, with the run's Summary. Raises a BatchrunError, ChangedRowsError where more than the schema changed.
    """
    arguments = _arguments(job, name, model, set)

    def frames() -> Path:
        loaded = arguments.load()
        if loaded.output_address is None:
            RunFolder(loaded.output_path).require()
        return Path(folder) if dry_run else _frames_of(loaded)

    with tempfile.TemporaryDirectory(prefix="batchrun-") as folder:
        loaded = _with_input(arguments, input, frames).load()
        with showing(as_json=False, silent=not show) as progress:
            return (preview if dry_run else reparse_job)(loaded, env=dict(os.environ), progress=progress)


def scan_results(run: JobFile | Iterable[JobFile], *more: JobFile) -> pl.LazyFrame:
    """The rows of a run: of a run folder, or of a job file's. Also what is answered and not published yet.

    Several runs come one after the other, each with its folder's name in the column `run`; an input column
    of that name is `input_run` then. A column that one of them does not have is null there. Raises a
    BatchrunError where there is no run, and UsageError where a column has types in them that no type holds
    exactly.
    """
    runs = [run] if isinstance(run, str | os.PathLike) else list(run)
    scans = [_scan(one) for one in [*runs, *more]]
    return scans[0][1] if len(scans) == 1 else together(scans)


def _scan(given: JobFile) -> tuple[str, pl.LazyFrame]:
    """A run's name, and its rows: where they are in object storage, if they are all published there."""
    place, folder = JobArguments(path_or_address(given)).place()
    if place is not None and (parts := published_results(place, folder)):
        options = polars_options(place)
        return place.name, scan_files([str(part) for part in parts], storage_options=options)
    run = RunFolder(folder) if place is None else open_copy(place, folder, say=_say)
    with reading(run):
        run.require()
        return run.path.name, scan_run(run)


def _frames_of(job: Job) -> Path:
    """Where a frame that is given as a job's input is kept: in its run folder, or beside the local copy of a
    run in object storage."""
    if job.output_address is None:
        RunFolder(job.output_path).claim(job.name)
        return job.output_path
    frames = job.output_path.parent / "frames"
    frames.mkdir(0o700, parents=True, exist_ok=True)
    return frames


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _arguments(
    job: JobFile, name: str | None, model: str | None, values: Mapping[str, Any] | None
) -> JobArguments:
    sets = tuple(spelled_set(key, value) for key, value in (values or {}).items())
    return JobArguments(path_or_address(job), sets, name, model)


def _with_input(arguments: JobArguments, frame: Frame | None, folder: Callable[[], Path]) -> JobArguments:
    """The arguments with the frame, if there is one, as the input; `folder` is asked for once it is known
    that the frame can be kept."""
    if frame is None:
        return arguments
    rows = rows_of(frame)
    path = str(write_rows(rows, folder())).replace("${", "$${")  # no variable
    own = {"input.run": None, "input.path": path, "input.format": "parquet"}
    sets = tuple(spelled_set(key, value) for key, value in own.items())
    return replace(arguments, sets=(*arguments.sets, *sets))


def _types(wanted: bool | Iterable[str] | None) -> frozenset[str]:
    if isinstance(wanted, bool) or wanted is None:
        return RETRYABLE if wanted else frozenset()
    return known_types([wanted] if isinstance(wanted, str) else wanted, "retry_failed", RETRYABLE)


def _apart(work: Callable[[Callable[[], int]], _T]) -> _T:
    """Do it here, or in a thread where an event loop runs here; it is given what tells how often Ctrl-C was
    pressed then."""
    interrupted: list[None] = []
    interrupts = interrupted.__len__
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(interrupts)
    ended: list[_T | BaseException] = []

    def run() -> None:
        try:
            ended.append(work(interrupts))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="batchrun")
    with _on_interrupt(lambda: interrupted.append(None)):  # asyncio would cancel its task, which waits here
        thread.start()
        thread.join()
    (result,) = ended
    if isinstance(result, BaseException):
        raise result
    return result


@contextmanager
def _on_interrupt(interrupt: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
