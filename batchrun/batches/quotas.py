"""How many tokens of prompts a provider takes at once of a model: as the job says, or as was found out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from batchrun.run_folder.checkpoint.batches import BatchRecord

_LIMIT = re.compile(r"limit[^0-9]{0,10}([0-9][0-9,_]*(?:\.[0-9]+)?)( ?[kmb](?![a-z]))?", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


class Spoken(NamedTuple):
    """A limit as a provider has named it, and its words."""

    tokens: int
    words: str


class Quotas:
    """The quotas of a run's models; `given` is the job's word for all of them."""

    def __init__(self, given: int | None) -> None:
        self._given = given
        self._spoken: dict[tuple[str, str], Spoken] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._halved: dict[tuple[str, str], int] = {}

    def most_tokens(self, endpoint: str, model: str) -> float:
        """Tokens that one file may have."""
        known = (self._given, self._found(endpoint, model), self._halved.get((endpoint, model)))
        return min((limit for limit in known if limit is not None), default=float("inf"))

    def has_room(self, record: BatchRecord, others: Iterable[BatchRecord]) -> bool:
        """Whether a batch fits beside the `others` of its model; one by itself always may be tried."""
        quota = self._given or self._found(record.endpoint, record.model)
        taken = [other.tokens for other in others]
        return quota is None or not taken or sum(taken) + record.tokens <= quota

    def learn(
        self, record: BatchRecord, errors: Iterable[Mapping[str, Any]], others: Iterable[BatchRecord]
    ) -> None:
        """A batch found no room beside the `others`: `errors` may say what the limit is."""
        for error in errors:
            self.hear(record, str(error.get("message")))
        if taken := sum(other.tokens for other in others):
            self._seen[record.endpoint, record.model] = taken

    def hear(self, record: BatchRecord, words: str) -> None:
        """A provider has said why a batch found no room, and perhaps what the limit is."""
        if tokens := spoken_limit(words):
            self._spoken[record.endpoint, record.model] = Spoken(tokens, words)

    def spoken(self, record: BatchRecord) -> Spoken | None:
        """The limit that the provider has named for the model of a batch."""
        return self._spoken.get((record.endpoint, record.model))

    def _found(self, endpoint: str, model: str) -> int | None:
        spoken = self._spoken.get((endpoint, model))
        return spoken.tokens if spoken else self._seen.get((endpoint, model))

    def halve(self, record: BatchRecord) -> None:
        """A file found no room although nothing of this run is there: smaller ones may."""
        self._halved[record.endpoint, record.model] = max(1, record.tokens // 2)


def spoken_limit(message: str) -> int:
    """The tokens that a refusal names, as in `Limit: 2,000,000` or `limit of 30K`; 0 where it names none."""
    found = _LIMIT.search(message)
    if found is None or "token" not in message.lower():
        return 0
    number = float(re.sub(r"[,_]", "", found[1]))
    return round(number * _TIMES[(found[2] or "").strip().lower()])
