"""What a command loads before its work: only what this verb uses, on this job."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from batchrun.cli.memory import seldom_collecting
from tests.runs import JobFolder

PROGRAM = """\
import gc, json, sys
from batchrun.cli import main
looks = []
gc.collect()
gc.callbacks.append(lambda phase, _: looks.append(phase))
try:
    main()
except SystemExit as ended:
    code = ended.code
sys.stderr.write("\\n" + json.dumps({"code": code, "looks": len(looks), "loaded": sorted(sys.modules)}))
"""

CALLS = {
    "pyreqwest",
    "httpx",
    "batchrun.client",
    "batchrun.submitting.engine_run",
    "batchrun.answer.answerer",
}
"""What makes calls."""

RARE = {
    "batchrun.functions",
    "batchrun.report",
    "batchrun.simulator",
    "certifi",
    "genai_prices",
    "httptools",
    "jsonschema_rs",
    "vl_convert",
}
"""What jobs must ask for: functions, schemas, prices, the simulator; and what only a report needs."""

JOBS = {"pydantic", "pydantic_core", "yaml", "batchrun.job"}
"""What reads a job file."""

FORECAST = {"batchrun.forecast", "batchrun.survey.survey", "batchrun.render.renderer"}
"""What reads the input, and looks ahead."""


@pytest.mark.parametrize(
    ("verb", "options", "where", "spared"),
    [
        ("submit", [], "job", {*CALLS, *RARE, "batchrun.engines.restore"}),
        ("submit", ["--json"], "job", {*CALLS, *RARE, "batchrun.engines.restore"}),
        ("reparse", [], "job", {*CALLS, *RARE, "batchrun.engines.restore"}),
        ("reparse", ["--dry-run"], "job", {*CALLS, *RARE, "batchrun.engines.restore"}),
        ("plan", [], "job", {*CALLS, *RARE, "pyarrow.compute"}),
        ("status", [], "job", {*CALLS, *RARE, *FORECAST, "batchrun.admission"}),
        ("status", [], "run", {*CALLS, *RARE, *FORECAST, *JOBS, "batchrun.admission"}),
        ("show", [], "run", {*CALLS, *RARE, *FORECAST, *JOBS, "batchrun.admission"}),
        ("schema", [], None, {*CALLS, *RARE, *FORECAST, "polars", "pyarrow", "rich", "anyio"}),
    ],
)
def test_a_verb_loads_what_it_uses(
    run: JobFolder, verb: str, options: list[str], where: str | None, spared: set[str]
) -> None:
    """Of a finished run too; and Python's collector of cycles is not kept busy with it."""
    of = [] if where is None else [str(getattr(run, where))]
    command = [sys.executable, "-c", PROGRAM, verb, *options, *of]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stderr.rpartition("\n")[2])
    assert found["code"] in (0, 1), ended.stderr  # 1: a row of this run failed
    assert spared & set(found["loaded"]) == set()
    assert found["looks"] == 0


@pytest.fixture
def _collector_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_collector_as_before")
def test_the_collector_looks_seldom_in_the_block() -> None:
    """And as often as before after it: who calls `main` with arguments goes on."""
    before = gc.get_threshold()
    with seldom_collecting(last=False):
        assert gc.get_threshold()[0] > before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


@pytest.mark.usefixtures("_collector_as_before")
def test_the_collector_looks_at_nothing_when_the_process_ends() -> None:
    """Also where the command has failed."""
    with pytest.raises(SystemExit), seldom_collecting(last=True):
        sys.exit(1)
    assert gc.get_freeze_count() > 100_000
