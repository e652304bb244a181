"""A job's requests as the input file of OpenAI's Batch API, which `vllm run-batch` and a job read, too.

A line for each row: `{"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…}}`
(OpenAI, Batch guide). The body is what the job's model is sent first, media read in. A batch streams
nothing, so `stream` and `stream_options` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.errors import JobError, UsageError
from batchrun.export.left_out import LeftOut
from batchrun.export.lines import Written
from batchrun.export.prompts import UNRENDERED, Prompts, placed
from batchrun.job import Job
from batchrun.outcome import Error
from batchrun.progress.display import Progress
from batchrun.render.evaluate import RenderError
from batchrun.render.request import RowRequest
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run
from batchrun.show.show import Choice, Chosen, choose
from batchrun.survey.survey import Survey, take_survey
from batchrun.wording import counted

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""What one input file may hold (OpenAI, Batch guide)."""

_URL = "/v1/chat/completions"
_NOT_IN_BATCHES = ("stream", "stream_options")


def lines(
    job: Job, run: RunFolder, where: str | None, left_out: LeftOut, progress: Progress
) -> Iterator[dict[str, Any]]:
    """A line for each chosen row of the input, or of the results those for which `where` holds.

    Raises JobError for a job whose rows take several requests, and UsageError for `where` without results.
    """
    _require_single(job)
    if where is None:
        progress.phase(f"reading {job.input.place}")
        return _of_input(take_survey(job, on_rows=progress.read, keep_index=False), left_out)
    if not run.identity_path.exists():
        raise UsageError(
            "--where chooses among the results, and there is no run yet",
            hint='Choose rows of the input: --set "input.where=stars < 3"',
        )
    run.require()
    return _of_results(Prompts.of(job), choose(scan_run(run), Choice(where=where)), left_out)


def note(written: Written) -> str:
    """What one file may hold, where it holds more: other programs take it."""
    if written.rows <= MAX_REQUESTS and written.bytes <= MAX_BYTES:
        return ""
    size = f"{counted(written.rows, 'request')} and {written.bytes / 1e6:,.0f} MB"
    most = f"{MAX_REQUESTS:,} requests and {MAX_BYTES // 10**6} MB"
    return f"{size}: OpenAI takes at most {most} in a file. Split it between lines."


def _require_single(job: Job) -> None:
    """Raises JobError for a job whose rows take several requests, each made of the answers before it."""
    key = "turns" if job.prompt.turns else None
    where = job.where("prompt", key) if key else job.where("run_tools") if job.run_tools else None
    if where is not None:
        raise JobError(
            f"{where}: a batch holds single requests, and these need the answers to earlier ones",
            hint="Submit the job, and export its conversations with --format chat; or take that key out of "
            "a copy of the job.",
        )


def _of_input(survey: Survey, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    for row in survey.source.rows_at(survey.rows["row_index"]):
        known = survey.identifier.identify(row)
        try:
            if isinstance(known.request, Error):
                left_out.add(UNRENDERED, placed(row, known.request))
            else:
                yield _line(known.row_id, known.request)
        except RenderError as failure:
            left_out.add(UNRENDERED, placed(row, failure.error))


def _of_results(prompts: Prompts, chosen: Chosen, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    for result, request in prompts.asked(chosen, [], left_out):
        try:
            yield _line(result["row_id"], request)
        except RenderError as failure:
            left_out.add(UNRENDERED, f"{result['row_id']}: {failure.error.message}")


def _line(row_id: str, request: RowRequest) -> dict[str, Any]:
    body: Mapping[str, Any] = request.renderer.document(request, 0, request.messages, last=True)
    kept = {name: value for name, value in body.items() if name not in _NOT_IN_BATCHES}
    return {"custom_id": row_id, "method": "POST", "url": _URL, "body": request.with_media(kept)}
