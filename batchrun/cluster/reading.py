"""Ranges of the input to tasks, on the machine of a worker."""

from __future__ import annotations

from collections.abc import Iterator

from batchrun.answer.task import Task
from batchrun.cluster.messages import Shard
from batchrun.codec import hash_prefix
from batchrun.engines.chunks import in_chunks
from batchrun.engines.tasks import task_of
from batchrun.errors import InputError
from batchrun.index import Identifier
from batchrun.job import Job
from batchrun.render.renderer import Renderer
from batchrun.source import Source
from batchrun.survey.previous import open_input


class Rows:
    """The input as this machine sees it."""

    def __init__(self, job: Job, renderer: Renderer) -> None:
        self._job = job
        self._identify = Identifier(renderer, job.input.id).identify
        self._source: Source | None = None
        """Opened with the first range, in its thread: files are listed, and read as far as their columns."""

    def tasks(self, shard: Shard) -> Iterator[Task]:
        """The tasks of a range. Raises InputError, also where the input or the job is another one here."""
        self._source = self._source or open_input(self._job)
        rows = self._source.rows_at(shard.positions, shard.mark)
        for row, wanted, given in zip(rows, shard.hashes, shard.assignments, strict=True):
            found = self._identify(row)
            if hash_prefix(found.request_hash) != wanted:
                raise InputError(
                    f"{row.location}: another request is made of this row here than the driver saw",
                    hint="The input, a file of the job or a variable differs between the nodes: keep the "
                    "input where all see the same, on a shared disk or in object storage.",
                )
            yield task_of(row, found, given)

    def chunks(self, shards: Iterator[Shard]) -> Iterator[list[Task]]:
        """The tasks of each range, some at a time: the end of one does not wait for the next."""
        for shard in shards:
            yield from in_chunks(self.tasks(shard))
