"""A job over real files whose rows are answered by hand, as an engine would record them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.job import Job
from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from batchrun.run_folder.checkpoint.sealed import seal
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Done, Sent
from batchrun.run_folder.results.publish import Publisher
from batchrun.survey.layout import layout_of
from batchrun.survey.survey import Survey, take_survey
from tests.job.jobs import load
from tests.run_folder.recorded import answered, body, done, reply, sent

Records = Callable[[int], Sequence[Sent | Answered | Done]]
"""The records of one task, by its number."""


def ok(task: int) -> list[Sent | Answered | Done]:
    return [sent(task), answered(task, exchange=reply(body(f"answer {task}"))), done(task)]


def failed(task: int) -> list[Sent | Answered | Done]:
    return [sent(task), answered(task, exchange=reply(b"{}", 400)), done(task, "invalid_request")]


def large(size: int) -> Records:
    """Answers of so many bytes, each another text."""

    def records(task: int) -> list[Sent | Answered | Done]:
        text = f"answer {task} ".ljust(size, "x")
        return [sent(task), answered(task, exchange=reply(body(text))), done(task)]

    return records


class Work:
    """A folder with a job in it, and its run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sections: dict[str, Any] = {}
        self._tasks = count(1)

    def write(self, rows: Iterable[Any]) -> Work:
        """Write the prompt table; a str is a line as it is."""
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (self.folder / "rows.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return self

    @property
    def job(self) -> Job:
        document = {
            "name": "job",
            "input": {"path": "rows.jsonl"},
            "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
            "model": "openai/small",
            **self.sections,
        }
        return load(self.folder, json.dumps(document))

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder / "runs" / "job")

    def survey(self) -> Survey:
        """The rows and what is done of them."""
        self.run.claim("job")
        return take_survey(self.job, on_rows=lambda _rows: None, keep_index=True)

    def answer(self, rows: Sequence[int], records: Records = ok) -> None:
        """Seal a part in which these rows are finished, in the order given."""
        found = self.survey()
        histories = []
        for row in rows:
            task = next(self._tasks)
            identified = found.identifier.identify(
                next(b.rows[row - b.rows[0].index] for b in found.source.batches() if row <= b.rows[-1].index)
            )
            history = History()
            for record in records(task):
                if not isinstance(record, Answered):
                    record = replace(
                        record, row=row, key=identified.key, request_hash=identified.request_hash
                    )
                if isinstance(record, Done):
                    record = replace(record, row_id=identified.row_id)
                history.add(record, encode(record))
            histories.append(history)
        seal(histories, self.run.checkpoint_path, read_checkpoint(self.run.checkpoint_path).next_number)

    def publish(self, *, meanwhile: Callable[[], object] = lambda: None) -> bool:
        """Publish as a submit does at its end; `meanwhile` happens after the rows were looked at."""
        found = self.survey()
        meanwhile()
        layout = layout_of(found.job, found.renderer, found.columns)
        identity = codec.digest(codec.dumps([found.identity, found.job.output.model_dump()]))
        publisher = Publisher(self.run, layout, found.identifier, identity)
        return publisher.publish(found.source.batches(), found.states())

    def results(self) -> pl.DataFrame:
        return pl.read_parquet(self.run.results / "*.parquet", memory_map=False)
