"""`gc` after a submit or a reparse that was cut off before it could publish: readers see each row once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from batchrun.gc import collect
from batchrun.job import load_job
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run
from batchrun.status.status import status
from batchrun.submitting.finishing import Ending
from tests.reparsing.test_reparse import LABELS, CutShortError, here, says, schema, scripted
from tests.runs import JobFolder

EDITED = {"messages": [{"role": "user", "content": "{{ text }} now"}]}


def reread(job: JobFolder) -> None:
    job.edit(schema=schema([*LABELS, "odd"]))
    here(job)


def ask_anew(job: JobFolder) -> None:
    job.edit(prompt=EDITED)
    job.submit_here(rerun_changed=True)


def retry(job: JobFolder) -> None:
    job.submit_here(retry_failed=frozenset({"invalid_output"}))


@pytest.mark.parametrize("act", [reread, ask_anew, retry])
@pytest.mark.parametrize("input", [{"path": "rows.jsonl", "id": "id"}, {"path": "rows.jsonl"}])
def test_answers_that_are_shown_in_place_of_newer_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[JobFolder], None], input: dict[str, Any]
) -> None:
    """They say which published rows are replaced; once those are published anew, they go."""

    def die(*_: object) -> NoReturn:
        raise CutShortError

    script = {row: [says("bug" if act is ask_anew or row else "odd")] for row in range(3)}
    with scripted(tmp_path, script, schema=schema(), retry={"reask": 0}, input=input) as (job, _seen):
        job.submit_here()
        with monkeypatch.context() as patched:
            patched.setattr(Ending, "_publish", die)  # as a kill in its midst
            with pytest.raises(CutShortError):
                act(job)
        before = scan_run(RunFolder(job.run)).collect()
        collect(load_job(job.job, env=dict(os.environ), cwd=job.folder))
        after = scan_run(RunFolder(job.run)).collect()
        assert after["row_index"].to_list() == [0, 1, 2]
        assert after.equals(before)
        assert job.submit_here().submit["calls"] == 0
        again = collect(load_job(job.job, env=dict(os.environ), cwd=job.folder))
        assert again.kept == 3
        assert status(RunFolder(job.run)).unpublished == 0
