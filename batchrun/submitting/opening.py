"""The beginning of a submit: its input read, and what earlier ones left brought into order."""

from __future__ import annotations

from batchrun.clock import SystemClock
from batchrun.job import Job
from batchrun.progress.display import Progress
from batchrun.run_folder.checkpoint.checkpoint import write_admitted
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.leftovers import sweep
from batchrun.run_folder.log import Log
from batchrun.survey.previous import not_there
from batchrun.survey.survey import Survey, take_survey


def open_run(job: Job, run: RunFolder, progress: Progress, log: Log) -> Survey:
    """The job's rows beside the answers that are there, all finished ones sealed.

    For the holder of the run folder's lock. Raises InputError, JobError, RunFolderError, StorageError.
    """
    sweep(run, keep=job.input.path or "")
    progress.phase(f"reading {job.input.place}")
    survey = take_survey(job, on_rows=progress.read, keep_index=True)
    if waiting := not_there(survey.job, survey.source):
        progress.say(waiting)
    if not survey.facts.rows:
        progress.say(f"no row of {job.input.place} is chosen: look at input.where and the file")
    _report_damage(survey, progress, log)
    if survey.checkpoint.journals:  # before the files go that hold the last minute's calls
        from batchrun.engines.restore import gates  # not for a submit that finds nothing to do

        write_admitted(run.checkpoint_path, gates(job, survey.checkpoint, SystemClock()).snapshot())
    survey.checkpoint.seal()
    return survey


def _report_damage(survey: Survey, progress: Progress, log: Log) -> None:
    for damage in survey.checkpoint.damage:
        kind = "an unfinished last record" if damage.is_tail else "a damaged record"
        progress.say(
            f"{damage.path}:{damage.line}: {kind} of {damage.bytes} bytes was passed over; "
            "if it was an answer, its row is asked again"
        )
        log("damage", path=damage.path.name, line=damage.line, bytes=damage.bytes)
