"""batchrun from Python: submit, plan and results, of files and of frames, in and out of an event loop."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import batchrun
from batchrun.submitting.frames import Frame
from tests.runs import JobFolder, simulated

SLOW = {"latency": {"kind": "constant", "seconds": 0.2}}
FRAME = pl.DataFrame({"id": ["a", "b", "c"], "text": ["row 000000: x", "row 000001: y", "row 000002: z"]})


def test_a_job_is_planned_submitted_and_read(tmp_path: Path) -> None:
    """As the commands would: what would be asked, what was, and the rows."""
    with simulated(tmp_path, rows=5) as job:
        assert batchrun.plan(job.job).to_do == 5
        summary = batchrun.submit(job.job, show=False)
        assert isinstance(summary, batchrun.Summary)
        assert (summary.ok, summary.exit_code) == (5, 0)
        assert batchrun.scan_results(job.run).select(pl.len()).collect().item() == 5
        assert batchrun.scan_results(job.job).collect().equals(batchrun.scan_results(job.run).collect())
        assert batchrun.submit(job.job, show=False).submit["calls"] == 0


def test_values_of_the_job_are_replaced(tmp_path: Path) -> None:
    """By dotted keys, with their types; `name` gives another run folder; `limit` leaves rows pending."""
    with simulated(tmp_path, rows=5) as job:
        changed = {"request.max_completion_tokens": 3, "input.limit": 4}
        summary = batchrun.submit(job.job, name="other", set=changed, limit=2, show=False)
        assert (summary.rows, summary.ok, summary.pending) == (4, 2, 2)
        assert summary.run_folder.endswith("/other")
        assert summary.usage["completion_tokens"] == 6


def test_text_of_any_characters_is_a_value(tmp_path: Path) -> None:
    """Also in the path of the run folder, to which a frame is written."""
    folder = tmp_path / "😀 ${HOME} é"
    folder.mkdir()
    text = "😀 \x7f \u2028 {{ text }}"
    with simulated(folder, rows=1) as job:
        messages = [{"role": "user", "content": text}]
        assert batchrun.submit(job.job, FRAME, set={"prompt.messages": messages}, show=False).ok == 3
        assert job.calls()[0].prompt.startswith("😀 \x7f \u2028 row 00000")


def test_answers_to_a_frame_are_read_by_another_schema(tmp_path: Path) -> None:
    """The same frame is the input again; a dry run leaves the folder as it is."""
    with simulated(tmp_path, rows=1) as job:
        batchrun.submit(job.job, FRAME, show=False)
        schema = {"schema": {"type": "string"}}
        files = sorted(job.run.rglob("*"))
        looked = batchrun.reparse(job.job, FRAME, set=schema, dry_run=True, show=False)
        assert sorted(job.run.rglob("*")) == files
        found = batchrun.reparse(job.job, FRAME, set=schema, show=False)
        assert isinstance(found, batchrun.Reparsed)
        assert (looked.reread, found.reread, found.now_failed) == (3, 3, 3)
        assert batchrun.scan_results(job.run).collect()["text"].to_list() == FRAME["text"].to_list()
        assert len(job.calls()) == 3


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas"])
def test_a_frame_is_the_input(tmp_path: Path, kind: str) -> None:
    """Its rows are asked, its columns stand in the results, and the same frame finds nothing to do."""
    frame: Frame = FRAME.lazy() if kind == "lazy" else FRAME
    if kind == "pandas":
        pytest.importorskip("pandas", reason="pandas is not installed: `uv run --group frames pytest` has it")
        frame = FRAME.to_pandas()
    with simulated(tmp_path, rows=1) as job:
        assert batchrun.plan(job.job, frame).to_do == 3
        assert not job.run.exists(), "a plan keeps nothing"
        first = batchrun.submit(job.job, frame, show=False)
        again = batchrun.submit(job.job, frame, show=False)
        rows = batchrun.scan_results(first.run_folder).collect()
        assert rows["row_id"].to_list() == ["a", "b", "c"]
        assert rows["text"].to_list() == FRAME["text"].to_list()
        assert (first.submit["calls"], again.submit["calls"]) == (3, 0)


def test_another_frame_goes_on_with_the_run(tmp_path: Path) -> None:
    """Rows that were there are not asked again, and the file of the older frame goes."""
    with simulated(tmp_path, rows=1) as job:
        batchrun.submit(job.job, FRAME, show=False)
        more = pl.concat([FRAME, pl.DataFrame({"id": ["d"], "text": ["row 000003: w"]})])
        summary = batchrun.submit(job.job, more, show=False)
        assert (summary.ok, summary.submit["calls"]) == (4, 1)
        assert len(list(job.run.glob("input-*.parquet"))) == 1


def test_it_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    """As in a notebook: the call returns when the run has ended."""

    async def cell(job: JobFolder) -> batchrun.Summary:
        return batchrun.submit(job.job, show=False)

    with simulated(tmp_path, rows=5) as job:
        assert asyncio.run(cell(job)).ok == 5


TWICE = """
import asyncio, sys, threading, batchrun

def submit(number):
    ok = batchrun.submit(sys.argv[1], name=f"run{number}", show=False).ok
    print(ok, flush=True)

async def cell(number):
    submit(number)

async def notebook():
    for number in range(2):
        await asyncio.create_task(cell(number))

def threads(number, at_once):
    made = [threading.Thread(target=submit, args=[number + k]) for k in range(at_once)]
    [thread.start() for thread in made]
    [thread.join() for thread in made]

ways = {
    "notebook": lambda: asyncio.run(notebook()),
    "in turn": lambda: [threads(number, 1) for number in range(3)],
    "at once": lambda: [threads(number, 2) for number in (0, 2)],
}
ways[sys.argv[2]]()
"""


@pytest.mark.parametrize(("way", "submits"), [("notebook", 2), ("in turn", 3), ("at once", 4)])
def test_one_process_submits_again_and_again(tmp_path: Path, way: str, submits: int) -> None:
    """In cells of a notebook, in threads that end one after the other, and in several at once."""
    with simulated(tmp_path, rows=2) as job:
        words = [sys.executable, "-c", TWICE, str(job.job), way]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stdout.split()) == (0, ["2"] * submits), ended.stderr


INTERRUPTED = """
import asyncio, sys, batchrun
async def cell():
    summary = batchrun.submit(sys.argv[1], show=False)
    print(summary.state, summary.exit_code, summary.pending > 0, flush=True)
asyncio.run(cell())
"""


@pytest.mark.long
def test_an_interrupted_notebook_stops_as_a_command_does(tmp_path: Path) -> None:
    """Calls under way land and are published; the next submit goes on."""
    with simulated(tmp_path, rows=60, config=SLOW) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": {"concurrency": 4}}})
        words = [sys.executable, "-c", INTERRUPTED, str(job.job)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        while not job.ledger.exists() or len(job.calls()) < 8:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert said.split() == ["interrupted", "130", "True"]
        assert batchrun.submit(job.job, show=False).ok == 60
        assert len(job.calls()) == 60


def test_failed_rows_are_asked_again_as_the_command_does(tmp_path: Path) -> None:
    """Those that wait for a decision, and no others; a model is for them alone."""
    faults = [{"rate": 1, "output": "invalid", "match": "row 000001", "model": "small"}]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    with simulated(tmp_path, rows=3, config={"faults": faults}, schema=schema, retry={"reask": 0}) as job:
        with job.rows.open("a") as file:
            file.write("no JSON\n")
        first = batchrun.submit(job.job, show=False)
        assert first.errors == {"invalid_output": 1, "bad_row": 1}
        assert batchrun.plan(job.job, retry_failed=True).to_do == 1
        again = batchrun.submit(job.job, model="local/large", retry_failed=True, show=False)
        assert (again.submit["calls"], again.errors) == (1, {"bad_row": 1})
        rows = batchrun.scan_results(job.run).filter(pl.col("status") == "ok").collect()
        assert rows["model"].to_list() == ["local/small", "local/large", "local/small"]


def test_a_frame_takes_the_place_of_another_run(tmp_path: Path) -> None:
    """As it takes that of a file; a plan is of it, too."""
    with simulated(tmp_path, rows=2) as job:
        batchrun.submit(job.job, show=False)
        job.edit(input={"run": "runs/job"}, name="next")
        assert batchrun.plan(job.job, FRAME).to_do == 3
        assert batchrun.submit(job.job, FRAME, show=False).ok == 3


def test_several_runs_come_together(tmp_path: Path) -> None:
    """Each row says of which run it is."""
    with simulated(tmp_path, rows=2) as job:
        a = batchrun.submit(job.job, name="a", show=False)
        b = batchrun.submit(job.job, name="b", show=False)
        rows = batchrun.scan_results([a.run_folder, b.run_folder]).collect()
        assert rows["run"].to_list() == ["a", "a", "b", "b"]
        assert batchrun.scan_results(a.run_folder, b.run_folder).collect().equals(rows)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    """As the errors of the commands, each with what to do."""
    with simulated(tmp_path, rows=1) as job:
        with pytest.raises(batchrun.BatchrunError, match="list: it must be a polars or a pandas frame"):
            batchrun.submit(job.job, [{"id": 1}], show=False)  # type: ignore[arg-type] # what is tested
        with pytest.raises(batchrun.BatchrunError, match=r"'refusl' is not one .* Did you mean refusal"):
            batchrun.submit(job.job, retry_failed=["refusl"], show=False)
        with pytest.raises(batchrun.BatchrunError, match="'bad_row' is not one"):
            batchrun.plan(job.job, retry_failed="bad_row")
        with pytest.raises(batchrun.BatchrunError, match="limit is -5: it must be at least 1"):
            batchrun.submit(job.job, limit=-5, show=False)
        with pytest.raises(batchrun.BatchrunError, match="drain is nan: it must be 0 seconds or more"):
            batchrun.submit(job.job, drain=math.nan, show=False)
        assert not job.run.exists()
        with pytest.raises(batchrun.BatchrunError, match="exclude each other"):
            batchrun.submit(job.job, rerun_changed=True, keep_changed=True)
        with pytest.raises(batchrun.BatchrunError, match="request"):
            batchrun.submit(job.job, set={"request.temperatur": 1}, show=False)
        with pytest.raises(batchrun.BatchrunError, match="no such file or folder"):
            batchrun.scan_results(tmp_path / "nothing")
        with pytest.raises(batchrun.BatchrunError, match="no run is given"):
            batchrun.scan_results([])


def test_names_are_loaded_when_they_are_asked_for() -> None:
    """`import batchrun` alone loads nothing heavy; each name that it promises is there."""
    code = "import sys, batchrun as b; assert 'polars' not in sys.modules; [getattr(b, n) for n in b.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        batchrun.nothing  # noqa: B018 - what is tested
