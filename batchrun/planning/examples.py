"""Rows of a job as they would be asked: the first one, the longest one, and one from the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.errors import UsageError
from batchrun.forecast import first_request, rendered
from batchrun.outcome import Error
from batchrun.render.request import RowRequest
from batchrun.source import Row
from batchrun.survey.survey import Survey

_MOST = 3
_TRIED = 1_000
"""Rows that are looked at for one that can be rendered."""
_WITHIN = 100_000
"""Rows after the first one in which the others stand: farther ahead only the longest is worth reading for."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row as it would be asked.

    Attributes:
        why: what the row is an example of: `first` to be asked, `longest` prompt of the input, `first and
            longest`, `further`, or `chosen` by its id.
        location: where it stands in the input.
        prompt_tokens: estimate of its first prompt.
        request: the request's body for the first model.
        turns: what is asked once the answers before it are there, as the job spells it.
    """

    row_id: str
    why: str
    location: str
    prompt_tokens: int
    request: dict[str, Any]
    turns: tuple[dict[str, Any], ...] = ()


def examples(survey: Survey, candidates: pl.DataFrame) -> Iterator[Example]:
    """Three of `candidates` (lines of `index.match`), fewer where there are not so many that can be rendered.

    The first that is asked; that with the longest prompt of the whole input, where it is a candidate: it
    shows what may be too long; and others spread over the rest.
    """
    shown: set[int] = set()
    for why, near in _places(survey, candidates):
        if len(shown) == _MOST:
            return
        asked = _first(survey, near, shown) if why != "first" else first_request(survey, near)
        if asked and asked[0].index not in shown:
            shown.add(asked[0].index)
            if why == "first" and asked[0].index == survey.facts.longest:
                why = "first and longest"
            yield _example(survey, *asked, why=why)


def _places(survey: Survey, candidates: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Where to look for an example, the best places first; more of them than are needed."""
    indices = candidates["row_index"]
    if candidates.is_empty():
        return
    yield "first", candidates
    longest = indices.search_sorted(survey.facts.longest) if survey.facts.longest >= 0 else len(indices)
    if longest < len(indices) and indices[longest] == survey.facts.longest:
        yield "longest", candidates.slice(longest, 1)
    near = candidates.head(indices.search_sorted(indices[0] + _WITHIN))
    for at in (len(near) // 3, 2 * len(near) // 3, 0, 0):
        yield "further", near.slice(at, _TRIED)


def _first(survey: Survey, rows: pl.DataFrame, shown: set[int]) -> tuple[Row, RowRequest] | None:
    """The first of `rows` that can be rendered and is not `shown` yet."""
    return next(rendered(survey, (at for at in rows["row_index"].head(_TRIED) if at not in shown)), None)


def example_of(survey: Survey, row_id: str) -> Example:
    """The row with this id. Raises UsageError when there is none, or it cannot be rendered."""
    for batch in survey.source.batches():
        for row in batch.rows:
            if row.error or survey.identifier.row_id(row) != row_id:
                continue
            request = survey.identifier.identify(row).request
            if isinstance(request, Error):
                raise UsageError(
                    f"--example: nothing is asked for the row {row_id!r}: {row.location}: {request.message}",
                    hint="Put the row or the template right, or name another row.",
                )
            return _example(survey, row, request, why="chosen")
    raise UsageError(
        f"--example: no row has the id {row_id!r}",
        hint="Name a row by its value in the column of input.id, else by its number from 0.",
    )


def _example(survey: Survey, row: Row, request: RowRequest, *, why: str) -> Example:
    return Example(
        row_id=survey.identifier.row_id(row),
        why=why,
        location=row.location,
        prompt_tokens=request.prompt_tokens,
        request=request.document(0),
        turns=tuple(survey.renderer.prompt.spelled_turns),
    )
