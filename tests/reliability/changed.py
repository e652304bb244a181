"""Edit a finished job in many ways and submit again: what is asked for, by the simulator's ledger.

Each edit is submitted plainly, then by each way on from its own copy of the run folder, and taken back.
Nothing may be paid for again that the user did not choose, and no result may stand for another request.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.errors import ChangedRowsError
from batchrun.job import Job, load_job
from batchrun.outcome import Error
from batchrun.render.renderer import NOT_HASHED
from batchrun.simulator import SimulatorConfig
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Summary
from batchrun.survey.survey import take_survey
from tests.reliability.edits import EDITS, ROWS, Edit, Place
from tests.reliability.table import Line
from tests.runs import JobFolder, Silent, write_rows
from tests.simulators import start_simulator

MESSAGES = [
    {"role": "system", "content": "{% include 'rules.md' %}"},
    {"file": "shots.yaml"},
    {"role": "user", "content": "{{ text }}\n{{ tone }}"},
]


@dataclass(slots=True)
class Seen:
    """What one edit led to that was not due; empty when all held."""

    edit: Edit
    repaid: int = 0
    mixed: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, found: object, due: object) -> None:
        """Note it when `found` is not what is `due`."""
        if found != due:
            self.wrong.append(f"{self.edit.name}: {what}: {found}, not {due}")


class Trial:
    """One edit of one job; `ledger` is that of a simulator which keeps bodies."""

    def __init__(self, folder: Path, base_url: str, ledger: Path, edit: Edit) -> None:
        self.place = Place(JobFolder(folder), {"TONE": "plain"})
        self.seen = Seen(edit)
        self._ledger = ledger
        self._start = ledger.stat().st_size
        self._bodies: dict[str, dict[str, Any]] = {}
        """What the ledger holds for each request hash that a result has named."""
        folder.mkdir(parents=True)
        _write_job(self.place, base_url)
        edit.setup(self.place)

    def run(self) -> Seen:
        """Submit, edit, submit in each way, take the edit back."""
        edit, seen, place = self.seen.edit, self.seen, self.place
        before = self._submit()
        first = self._results()
        with _kept_aside(place) as inputs:
            edit.change(place)
            calls = self._calls()
            said = self._plain()
            seen.expect("rows that the message names", said, edit.changed)
            due = 0 if edit.changed else edit.new
            self._count_paid("submit", calls, due)
            if edit.changed and not edit.keeps:
                seen.expect(
                    "answers that --keep-changed would leave", self._plain(keep_changed=True), edit.changed
                )
            for way in self._ways_on():
                with _copied(place.job.run):
                    self._go_on(way)
                    inputs.swap()
                    self._taken_back(f"taken back after {way}", first, before)
                    inputs.swap()
        self._taken_back("taken back", first, before)
        return seen

    def _ways_on(self) -> tuple[str, ...]:
        if not self.seen.edit.changed:
            return ()
        return ("rerun_changed", "keep_changed") if self.seen.edit.keeps else ("rerun_changed",)

    def _plain(self, **options: Any) -> int:
        """Submit without a way on; how many rows the message says would be paid for again."""
        calls = self._calls()
        try:
            summary = self._submit(**options)
        except ChangedRowsError as error:
            self.seen.expect("exit code", error.exit_code, 6)
            self.seen.expect("calls of a submit that stops", self._calls() - calls, 0)
            return int(error.message.split()[0])
        self.seen.expect("rows", (summary.rows, summary.ok), (self.seen.edit.rows, self.seen.edit.rows))
        self.seen.expect("stale rows", summary.stale, 0)
        self._look_for_mixed(stale=0)
        return 0

    def _go_on(self, way: str) -> None:
        edit = self.seen.edit
        calls = self._calls()
        summary = self._submit(**{way: True})
        reruns, stale = (edit.changed, 0) if way == "rerun_changed" else (0, edit.changed)
        self._count_paid(way, calls, reruns + edit.new)
        self.seen.expect(f"{way}: rows", (summary.rows, summary.ok), (edit.rows, edit.rows))
        self.seen.expect(f"{way}: stale rows", summary.stale, stale)
        self._look_for_mixed(stale=stale)
        calls = self._calls()
        self._submit()
        self._count_paid(f"submit after {way}", calls, 0)

    def _taken_back(self, when: str, first: pl.DataFrame, before: Summary) -> None:
        calls = self._calls()
        summary = self._submit()
        self._count_paid(when, calls, 0)
        self.seen.expect(f"{when}: rows", (summary.ok, summary.stale), (before.ok, 0))
        again = self._results()
        columns = ["row_id", "completion", "response_id", "request_hash"]
        self.seen.lost += len(first.select(columns).join(again.select(columns), on=columns, how="anti"))
        self._look_for_mixed(stale=0)

    def _count_paid(self, when: str, before: int, due: int) -> None:
        """Calls since there were `before`; a conversation of two turns takes two a row."""
        asks = 2 if self.place.document["prompt"].get("turns") else 1
        if self.place.document.get("dedupe") and due:
            due = min(due, len({row["text"] for row in self.place.rows()}))
        found = self._calls() - before
        self.seen.repaid += max(0, found - due * asks)
        self.seen.expect(f"{when}: calls", found, due * asks)

    def _look_for_mixed(self, *, stale: int) -> None:
        """Every result must be the answer to the request that its hash names, by the ledger's bodies."""
        asked = {call["key"][:24]: call["body"] for call in self._received()}
        now = self._requests_now()
        results = self._results()
        self.seen.expect("stale results", int(results["stale"].sum()), stale)
        for row in results.filter(pl.col("duplicate_of").is_null()).iter_rows(named=True):
            body = _hashed(asked[row["response_id"].removeprefix("chatcmpl-")[:24]])
            known = self._bodies.setdefault(row["request_hash"], body)
            request_hash, request = now[row["row_index"]]
            is_todays = row["request_hash"] == request_hash and _begins_with(body, request)
            self.seen.mixed += known != body or row["stale"] == is_todays

    def _requests_now(self) -> Mapping[int, tuple[str, dict[str, Any]]]:
        """The request hash and body of each row, as the job stands."""
        survey = take_survey(self._job(), on_rows=lambda _rows: None, keep_index=False)
        requests = {}
        for batch in survey.source.batches():
            for row in batch.rows:
                identified = survey.identifier.identify(row)
                assert not isinstance(identified.request, Error)
                body = codec.loads(identified.request.body(0, last=not survey.renderer.prompt.has_turns))
                requests[row.index] = identified.request_hash, _hashed(body)
        return requests

    def _job(self) -> Job:
        return load_job(self.place.job.job, env=self.place.env, cwd=self.place.job.folder)

    def _submit(self, **options: Any) -> Summary:
        return submit(self._job(), Options(**options), env=self.place.env, progress=Silent())

    def _results(self) -> pl.DataFrame:
        return pl.read_parquet(self.place.job.run / "results" / "*.parquet", memory_map=False)

    def _calls(self) -> int:
        return len(self._received())

    def _received(self) -> list[dict[str, Any]]:
        """The calls of this trial."""
        with self._ledger.open("rb") as file:
            file.seek(self._start)
            return [event for line in file if (event := codec.loads(line))["event"] == "call"]


def _begins_with(body: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a call's body is the row's request, or a later turn of its conversation."""
    others = body.keys() - {"messages", "response_format"}
    start = body["messages"][: len(request["messages"])]
    return start == request["messages"] and all(body[name] == request.get(name) for name in others)


def _hashed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in NOT_HASHED}


def _write_job(place: Place, base_url: str) -> None:
    job = place.job
    write_rows(job.rows, ROWS)
    place.write("rules.md", "Be brief.")
    place.write("shots.yaml", "- {role: user, content: hi}\n- {role: assistant, content: hello}\n")
    request = {"max_completion_tokens": 20, "stop": "#${TONE}", "temperature": 0}
    endpoints = {"local": {"base_url": base_url, "limits": {"concurrency": 4}}}
    prompt = {"messages": MESSAGES, "vars": {"tone": "formal"}}
    job.write(base_url, name="job", prompt=prompt, request=request, endpoints=endpoints)


class _Inputs:
    """What a folder held besides its runs, to be put back and taken out again."""

    def __init__(self, place: Place) -> None:
        self._place, self._env = place, dict(place.env)
        self._aside = place.job.folder.with_suffix(".aside")
        shutil.copytree(place.job.folder, self._aside, ignore=shutil.ignore_patterns("runs"))

    def swap(self) -> None:
        """Exchange what is in the folder with what is aside."""
        folder = self._place.job.folder
        between = folder.with_suffix(".between")
        _moved(folder, between)
        _moved(self._aside, folder)
        _moved(between, self._aside)
        self._env, self._place.env = self._place.env, self._env


def _moved(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in list(source.iterdir()):
        if path.name != "runs":
            path.rename(target / path.name)


@contextmanager
def _kept_aside(place: Place) -> Iterator[_Inputs]:
    inputs = _Inputs(place)
    yield inputs
    inputs.swap()


@contextmanager
def _copied(run: Path) -> Iterator[None]:
    """Leave the run folder as it was."""
    copy = run.with_suffix(".copy")
    shutil.copytree(run, copy, symlinks=True)
    yield
    shutil.rmtree(run)
    copy.rename(run)


def tried(folder: Path, edits: Sequence[Edit]) -> list[Seen]:
    """What each of these edits led to."""
    ledger = folder / "ledger.jsonl"
    with start_simulator(SimulatorConfig(bodies=True), ledger=ledger) as base_url:
        return [Trial(folder / f"{n:02d}", base_url, ledger, edit).run() for n, edit in enumerate(edits)]


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """The section: every edit in full, every third of them else."""
    edits = EDITS if full else EDITS[::3]
    seen = tried(folder, edits)
    wrong = [what for one in seen for what in one.wrong]
    yield Line(
        "an edited job, submitted again",
        f"{len(edits)} edits, each by every way on and taken back",
        held=not wrong and not any(one.mixed or one.lost for one in seen),
        lost=sum(one.lost for one in seen),
        repaid=sum(one.repaid for one in seen),
        note="; ".join([f"{sum(one.mixed for one in seen)} results mixed", *wrong]),
    )
