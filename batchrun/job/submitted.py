"""The job of a run folder as it was submitted last, ready to be used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from batchrun.errors import JobError
from batchrun.job.job import Job
from batchrun.job.load import load_job
from batchrun.job.snapshot import snapshot_folder


def load_submitted(
    kept: Path, *, sets: Sequence[str] = (), model: str | None = None, env: Mapping[str, str], cwd: Path
) -> Job:
    """Load the copy of a job that its run folder keeps, as the options change it. Its results lie there.

    Raises JobError where there is no such copy, or it cannot be loaded: it keeps no value of `${VAR}`.
    """
    folder = snapshot_folder(kept)
    if folder is None:
        raise JobError(f"{kept}: there is no job as submitted", hint="Name the job file (.yaml) itself.")
    try:
        job = load_job(kept, sets=sets, model=model, env=env, cwd=cwd, folder=folder)
    except JobError as error:
        hint = (
            "This is the run folder's copy of the job: put that right, or name the job file (.yaml) itself."
        )
        raise JobError(error.message, hint=hint) from error
    place = job.output_place if job.output_path == kept.parent else None  # else it is a copy of its own
    return replace(job, output_path=kept.parent, output_place=place)
