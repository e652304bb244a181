"""Stamps on what a provider stores: the `metadata` by which a run finds its completions and batches again.

OpenAI's API reference: at most 16 pairs, keys of up to 64 characters, values of up to 512.
"""

from __future__ import annotations

from batchrun.value import value

JOB = "batchrun_job"
RUN = "batchrun_run"
ROW = "batchrun_row"
REQUEST = "batchrun_request"
BATCH = "batchrun_batch"

MOST_PAIRS = 16
_LONGEST = 512


@value(frozen=True, slots=True)
class Stamp:
    """Whose a stored completion is: of which job and run, of which row, and to which ask of which model."""

    job: str
    run: str
    """The run's own id, which no other run has."""
    row: str
    request: str
    """A digest that names one ask of a row's conversation, and the model that is asked."""

    def pairs(self) -> dict[str, str]:
        """As `metadata`, values cut to what it may hold."""
        named = {JOB: self.job, RUN: self.run, ROW: self.row, REQUEST: self.request}
        return {key: text[:_LONGEST] for key, text in named.items()}
