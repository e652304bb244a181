"""The formats of `batchrun export` that are rendered from a job: requests and conversations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.export import target
from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import JobArguments
from batchrun.wording import counted

if TYPE_CHECKING:
    from batchrun.export.left_out import LeftOut
    from batchrun.export.lines import Written
    from batchrun.job import Job
    from batchrun.run_folder.folder import RunFolder


def export_lines(
    arguments: JobArguments,
    form: str,
    out: Path | None,
    where: str | None,
    left_out: LeftOut,
    *,
    as_json: bool,
) -> int:
    """Write the lines; how many there were."""
    keep_memory_small()
    from batchrun.export.lines import write_lines
    from batchrun.run_folder.diagnosis import reading
    from batchrun.run_folder.folder import RunFolder

    job = arguments.load_any()
    run = RunFolder(job.output_path)
    if job.output_place is not None:
        from batchrun.remote.reading import find_copy

        find_copy(job.output_place, job.output_path, say=lambda text: click.echo(text, err=True))
    with reading(run) if run.identity.exists() else nullcontext():
        if form == "chat":
            lines = _conversations(job, _required(run), where, left_out)
        elif where is None:
            lines = _all_requests(job, left_out, as_json=as_json)
        else:
            lines = _requests_where(job, run, where, left_out)
        with target(out, form, run, arguments) as sink:
            written = write_lines(lines, sink)
    if form == "openai-batch":
        _say_if_too_large(written)
    return written.rows


def _conversations(
    job: Job, run: RunFolder, where: str | None, left_out: LeftOut
) -> Iterator[dict[str, Any]]:
    from batchrun.export.conversations import answered, conversations
    from batchrun.export.prompts import Prompts
    from batchrun.run_folder.results.read import scan_run

    return conversations(Prompts.of(job), answered(scan_run(run), where), left_out)


def _all_requests(job: Job, left_out: LeftOut, *, as_json: bool) -> Iterator[dict[str, Any]]:
    from batchrun.cli.progress import showing
    from batchrun.export.requests import requests, require_single
    from batchrun.survey.survey import survey

    require_single(job)
    with showing(as_json=as_json) as progress:
        progress.phase(f"reading {job.input.place}")
        found = survey(job, on_rows=progress.read, keep_index=False)
    return requests(found, left_out)


def _requests_where(job: Job, run: RunFolder, where: str, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    from batchrun.errors import UsageError
    from batchrun.export.prompts import Prompts
    from batchrun.export.requests import requests_of, require_single
    from batchrun.run_folder.results.read import scan_run
    from batchrun.show.show import Choice, choose

    require_single(job)
    if not run.identity.exists():
        raise UsageError(
            "--where chooses among the results, and there is no run yet",
            hint='Choose rows of the input: --set "input.where=stars < 3"',
        )
    return requests_of(Prompts.of(job), choose(scan_run(_required(run)), Choice(where=where)), left_out)


def _required(run: RunFolder) -> RunFolder:
    run.require()
    return run


def _say_if_too_large(written: Written) -> None:
    from batchrun.export.requests import MAX_BYTES, MAX_REQUESTS

    if written.rows > MAX_REQUESTS or written.bytes > MAX_BYTES:
        size = f"{counted(written.rows, 'request')} and {written.bytes / 1e6:,.0f} MB"
        click.echo(
            f"{size}: OpenAI takes at most {MAX_REQUESTS:,} requests and {MAX_BYTES // 10**6} MB in a file. "
            "Split it between lines.",
            err=True,
        )
