"""A look at some rows as they would be asked: what their requests allow, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import fmean

import polars as pl

from batchrun import codec
from batchrun.index import UNBOUNDED, State
from batchrun.index.prefix import PREFIX
from batchrun.outcome import NEVER_SENT, Error
from batchrun.render.evaluate import RenderError
from batchrun.render.request import BYTES_PER_TOKEN, RowRequest
from batchrun.source import Row
from batchrun.spending.bounds import output_bound
from batchrun.spending.caps import Boundless
from batchrun.survey.survey import Survey

MOST = 1_000
"""Rows that are looked at."""
_KEPT = 10
"""Requests that stay in memory meanwhile."""
_NAMED = 100
"""Rows without an upper bound that are looked at for the reasons."""
_AROUND = 110
"""Bytes of a line of a batch's file around its request."""
_WITHIN = 100_000
"""Rows of the input that are read for that, from the first row to do on."""


@dataclass(slots=True)
class RequestSample:
    """What the requests of rows to do to the first model are, by those of some of them."""

    rows: int = 0
    """How many there are, without those that fail before a call."""
    size: float = 0.0
    """The estimate for the tokens of all their first prompts."""
    prompt_tokens: dict[int, int] = field(default_factory=dict)
    """Estimates for the first prompts of those that were looked at, by row_index."""
    limits: list[int | None] = field(default_factory=list)
    """The most tokens that all answers to one request have, for rows to do; None without a limit."""
    choices: int = 1
    """The most answers that one request asks for."""
    names: dict[str, None] = field(default_factory=dict)
    """The models that are named."""
    requests: list[RowRequest] = field(default_factory=list)
    """Of a few rows to do."""
    lines: list[int] = field(default_factory=list)
    """Bytes of requests as lines of a batch's file, of rows to do; none where they do not go by batches."""

    @property
    def limit(self) -> float | None:
        """The limit of one request on average; None where one has none."""
        known = [limit for limit in self.limits if limit is not None]
        return fmean(known) if known and len(known) == len(self.limits) else None


def sample_requests(
    survey: Survey, states: pl.DataFrame, wanted: pl.DataFrame, others: pl.DataFrame
) -> RequestSample:
    """Render rows to do (`wanted`, lines of `states`) and, for comparison, some that are answered (`others`).

    Rows that cannot be rendered are passed over.
    """
    indices = wanted["row_index"]
    first = indices.min() if len(indices) else 0
    end = (first if isinstance(first, int) else 0) + _WITHIN
    chosen = _spread(indices.filter(indices < end))
    compared = _spread(others["row_index"].filter(others["row_index"] < end))
    sample = RequestSample(_sent_rows(survey, states, wanted))
    for row, request in rendered(survey, chosen | compared):
        sample.prompt_tokens[row.index] = request.prompt_tokens
        if row.index in chosen:
            _add(sample, request, by_batch=survey.job.engine.by_batch)
    sample.size = _prompt_size(survey, wanted, sample)
    return sample


def _sent_rows(survey: Survey, states: pl.DataFrame, wanted: pl.DataFrame) -> int:
    """How many of `wanted` lead to a call: rows that cannot be read or rendered do not, each fails once."""
    never = survey.facts.bad_rows + survey.facts.unrendered
    failed = states.filter(pl.col("error_type").cast(pl.String).is_in(list(NEVER_SENT))).height
    new = wanted.filter(pl.col("state") == State.NEW).height
    return len(wanted) - min(new, max(0, never - failed))


def _prompt_size(survey: Survey, wanted: pl.DataFrame, sample: RequestSample) -> float:
    """The estimate for the first prompts of all rows to do.

    Exact where all of them, or all others, were looked at; else their share of what the index pass counted.
    """
    facts, known = survey.facts, pl.Series(list(sample.prompt_tokens), dtype=pl.Int64)
    asked = known.is_in(wanted["row_index"].implode()).to_list()
    tokens = list(zip(asked, sample.prompt_tokens.values(), strict=True))
    if sum(asked) == sample.rows:
        return float(sum(size for is_asked, size in tokens if is_asked))
    sendable = facts.rows - facts.bad_rows - facts.unrendered
    if len(asked) - sum(asked) == sendable - sample.rows:
        return float(facts.prompt_tokens - sum(size for is_asked, size in tokens if not is_asked))
    return facts.prompt_tokens * min(1.0, sample.rows / sendable) if sendable else 0.0


def _spread(indices: pl.Series) -> set[int]:
    return set(indices.gather_every(max(1, -(-len(indices) // MOST))).to_list())


def _add(sample: RequestSample, request: RowRequest, *, by_batch: bool) -> None:
    document = request.document(0)
    if by_batch:
        media = sum(ref.size for ref in request.media) * 4 // 3
        sample.lines.append(len(codec.dumps(document)) + media + _AROUND)
    sample.limits.append(output_bound(document))
    sample.choices = max(sample.choices, document.get("n") or 1)
    sample.names[document["model"]] = None
    if len(sample.requests) < _KEPT:
        sample.requests.append(request)


def rendered(survey: Survey, indices: Iterable[int]) -> Iterator[tuple[Row, RowRequest]]:
    """The rows at these positions of the input that can be rendered for the first model, in input order."""
    wanted = set(indices)
    last = max(wanted, default=-1)
    for batch in survey.source.batches(start=min(wanted)) if wanted else ():
        for row in batch.rows:
            if row.index not in wanted:
                continue
            request = survey.identifier.identify(row).request
            if not isinstance(request, Error) and _has_document(request):
                yield row, request
        if batch.rows[-1].index >= last:
            return


def first_requests(survey: Survey, rows: pl.DataFrame) -> Boundless:
    """Those of `rows` (lines of `index.match`) without an upper bound, for `caps.unbounded` before a submit.

    As the index pass found them; none where nothing needs one.
    """
    if UNBOUNDED not in rows.columns:
        return Boundless(len(rows), 0)
    indices = rows.filter(UNBOUNDED)["row_index"]
    first = rendered(survey, indices.head(_NAMED))
    return Boundless(len(rows), len(indices), tuple((row.location, request) for row, request in first))


def first_request(survey: Survey, rows: pl.DataFrame) -> tuple[Row, RowRequest] | None:
    """The first of `rows` (lines of `index.match`) that is asked for, in the order of a submit.

    None where none of the first can be rendered.
    """
    if PREFIX in rows.columns:
        rows = rows.sort(PREFIX, maintain_order=True).head(1)
    return next(rendered(survey, rows["row_index"].head(_NAMED)), None)


def _has_document(request: RowRequest) -> bool:
    try:
        request.document(0)
    except RenderError:
        return False
    return True


def turn_tokens(request: RowRequest) -> float:
    """Tokens that a further turn adds on average, its answers aside."""
    turns = request.renderer.prompt.turns(request.context, [])
    if not turns:
        return 0.0
    sizes = []
    for at, turn in enumerate(turns):
        try:
            content = turn([""] * (at + 1)).get("content")
        except RenderError:  # a template that wants an answer: taken as it is spelled
            content = request.renderer.prompt.spelled_turns[at].get("content")
        sizes.append(len(str(content or "").encode(errors="surrogatepass")))
    return fmean(sizes) / BYTES_PER_TOKEN
