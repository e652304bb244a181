"""What rows of the results were asked, rendered again from the job and its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.export.left_out import LeftOut
from batchrun.index import Identifier
from batchrun.job import Job
from batchrun.outcome import Error
from batchrun.render.renderer import Renderer
from batchrun.render.request import RowRequest
from batchrun.show.show import Chosen
from batchrun.source import Row, Source
from batchrun.survey.previous import open_input

UNRENDERED = "no request can be made"
CHANGED = (
    "the request is another one than was answered: the job or its input has changed. "
    "Submit, or name the run folder to have the job as it was submitted"
)

_NAMES = ["row_index", "row_id", "request_hash"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """A job's input, and what makes requests of its rows."""

    source: Source
    identifier: Identifier

    @classmethod
    def of(cls, job: Job) -> Prompts:
        """Open the job's input. Raises InputError and JobError."""
        return cls(open_input(job), Identifier(Renderer(job), job.input.id))

    def asked(
        self, chosen: Chosen, columns: list[str], left_out: LeftOut
    ) -> Iterator[tuple[Mapping[str, Any], RowRequest]]:
        """Rows of the results by these columns, each with the request that it answers.

        A row whose request is another one by now is left out.
        """
        inputs = self.source.rows_at(chosen.positions)
        row: Row | None = next(inputs, None)
        for piece in chosen.pieces([*_NAMES, *columns]):
            for result in piece.iter_rows(named=True):
                while row is not None and row.index < result["row_index"]:
                    row = next(inputs, None)
                found = self.identifier.identify(row) if row else None
                if row is None or found is None or found.request_hash != result["request_hash"]:
                    left_out.add(CHANGED, result["row_id"])
                elif isinstance(found.request, Error):
                    left_out.add(UNRENDERED, placed(row, found.request))
                else:
                    yield result, found.request


def placed(row: Row, error: Error) -> str:
    """Why there is no request for a row, after where it stands."""
    said = error.message
    return said if said.startswith(row.location) else f"{row.location}: {said}"
