"""Stamps on what a provider stores: the `metadata` by which a run finds its completions and batches again.

OpenAI's API reference: at most 16 pairs, keys of up to 64 characters, values of up to 512.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchrun import codec
from batchrun.value import value

JOB = "batchrun_job"
RUN = "batchrun_run"
ROW = "batchrun_row"
REQUEST = "batchrun_request"
BATCH = "batchrun_batch"

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
"""Pairs of `metadata`, and characters of a key and of a value (OpenAI)."""

_ON_COMPLETIONS = 4
_OURS = frozenset({JOB, RUN, ROW, REQUEST, BATCH})


@value(frozen=True, slots=True)
class Stamp:
    """Whose a stored completion is: of which job and run, of which row, and to which step of which model."""

    job: str
    run: str
    """The run's own id, which no other run has."""
    row: str
    request: str
    """A digest that names one step of a row's conversation, and the model that is asked."""

    def pairs(self) -> dict[str, str]:
        """As `metadata`, values cut to what it may hold."""
        named = {JOB: self.job, RUN: self.run, ROW: self.row, REQUEST: self.request}
        return {key: _as_value(text) for key, text in named.items()}


def request_digest(request_hash: str, step_digest: str, model: str) -> str:
    """Names one step at a model: by the hash of the row's request, the digest of what is asked beyond it
    (`Sent.step_digest`), and ENDPOINT/MODEL."""
    return codec.digest_of([request_hash, step_digest, model])


def stamped(document: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """The body of a request with the stamp in its `metadata`, if its answer is to be stored (`store: true`).

    The given one is not changed. Raises ValueError where its own metadata leave no room.
    """
    if not is_stored(document):
        return document
    own = document.get("metadata")
    if reason := leaves_no_room(own):
        raise ValueError(f"metadata: {reason}")
    return {**document, "metadata": {**(own or {}), **stamp.pairs()}}


def is_stored(parameters: Mapping[str, Any]) -> bool:
    """Whether a provider is asked to keep the answer (`store: true`)."""
    return parameters.get("store") is True


def leaves_no_room(metadata: object) -> str | None:
    """Why the stamp of a stored completion cannot stand beside these metadata; None where it can."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        return "must be a mapping beside store: true"
    if taken := sorted(_OURS & metadata.keys()):
        return f"{taken[0]} is set by batchrun on what is stored: use another key"
    most = MOST_PAIRS - _ON_COMPLETIONS
    if len(metadata) > most:
        return (
            f"must have at most {most} pairs beside store: true, for batchrun adds {_ON_COMPLETIONS} "
            f"by which it finds the stored answer, and {MOST_PAIRS} is the most; found {len(metadata)}"
        )
    return None


def _as_value(text: str) -> str:
    """A lone surrogate, which a row's id may hold, would have the whole request refused."""
    return text.encode(errors="replace").decode()[:LONGEST_VALUE]
