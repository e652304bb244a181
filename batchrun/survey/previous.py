"""The run that a job goes on from (`input.run`), as the job's input."""

from __future__ import annotations

from pathlib import Path

from batchrun.errors import InputError
from batchrun.job import Job
from batchrun.remote.reading import open_copy
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import published_parts
from batchrun.source import Source, open_run, open_source
from batchrun.source.previous_run import finished
from batchrun.storage import Address, copy_path, is_remote
from batchrun.wording import counted


def open_input(job: Job) -> Source:
    """The rows of a job: of its files, or the ok rows of the run it goes on from, as published last.

    Raises InputError, also where there is no such run or nothing is published there yet, and RunFolderError
    where it is damaged.
    """
    if job.input.run is None:
        return open_source(job.input.place, root=job.folder, format=job.input.format)
    return open_run(_parts(job, _run(job, job.input.run)), job.input.run)


def not_there(job: Job, source: Source) -> str | None:
    """What of the run that a job goes on from is not among its rows, as a sentence; None where nothing is."""
    if job.input.run is None:
        return None
    done, ok = finished(source.files)
    rows = _run(job, job.input.run).read_run_json().get("rows")
    pending = max(0, rows - done) if isinstance(rows, int) else 0
    missing = {"failed": done - ok, "not there yet": pending}
    said = " and ".join(f"{number:,} {how}" for how, number in missing.items() if number)
    if not said:
        return None
    then = ". Submit that job again, then this one" if pending else ""
    return f"of the {counted(done + pending, 'row')} of {job.input.run} {ok:,} are taken: {said}{then}."


def _run(job: Job, spelled: str) -> RunFolder:
    if is_remote(spelled):
        return _fetched(job, Address.parse(spelled))
    folder, where = job.folder / spelled, job.where("input", "run")
    if not folder.is_dir():
        wrong = "is a file, no run folder" if folder.exists() else "no such folder"
        raise InputError(
            f"{where}: {spelled}: {wrong}",
            hint="Name the folder that holds the other job's results: its output.path, by default runs/NAME. "
            f"Relative paths start at the job's folder, {job.folder}.",
        )
    run = RunFolder(folder.resolve())
    if run.path == job.output_path.resolve():
        raise InputError(
            f"{where}: {spelled} is this job's own run folder",
            hint="Name the run folder of another job, or give this one another name or output.path.",
        )
    if not run.identity_path.exists():
        raise InputError(
            f"{where}: {spelled} holds no run of batchrun",
            hint="Name the folder itself, in which `results` lies; to read other files, use input.path.",
        )
    run.require()
    return run


def _fetched(job: Job, place: Address) -> RunFolder:
    """The local copy of a run in object storage, as uploaded last."""
    if place == job.output_address:
        raise InputError(
            f"{job.where('input', 'run')}: {place} is this job's own run",
            hint="Name the run of another job, or give this one another name or output.path.",
        )
    return open_copy(place, copy_path(place), say=lambda _text: None)


def _parts(job: Job, run: RunFolder) -> list[Path]:
    """The published results of the generation that is the newest now."""
    if parts := published_parts(run):
        return parts
    raise InputError(
        f"{job.where('input', 'run')}: nothing is published in {job.input.run} yet",
        hint="Submit that job first. What a killed submit has received is published by the next one.",
    )
