"""How many tokens of prompts a provider takes at once of a model: as the job says, or as was found out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from batchrun.run_folder.checkpoint.batches import BatchRecord

_LIMIT = re.compile(r"limit[^0-9]{0,10}([0-9][0-9,_]*(?:\.[0-9]+)?)( ?[kmb](?![a-z]))?", re.IGNORECASE)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


class Quotas:
    """The quotas of a run's models; `given` is the job's word for all of them."""

    def __init__(self, given: int | None) -> None:
        self._given = given
        self._said: dict[tuple[str, str], int] = {}
        self._halved: dict[tuple[str, str], int] = {}

    def most_tokens(self, endpoint: str, model: str) -> float:
        """Tokens that one file may have."""
        known = (self._given, self._said.get((endpoint, model)), self._halved.get((endpoint, model)))
        return min((limit for limit in known if limit is not None), default=float("inf"))

    def has_room(self, record: BatchRecord, others: Iterable[BatchRecord]) -> bool:
        """Whether a batch fits beside the `others` of its model; one by itself always may be tried."""
        quota = self._given or self._said.get((record.endpoint, record.model))
        taken = [other.tokens for other in others]
        return quota is None or not taken or sum(taken) + record.tokens <= quota

    def learn(
        self, record: BatchRecord, errors: Iterable[Mapping[str, Any]], others: Iterable[BatchRecord]
    ) -> None:
        """A batch found no room beside the `others`: `errors` may say what the limit is."""
        said = max((spoken_limit(str(error.get("message"))) for error in errors), default=0)
        if limit := said or sum(other.tokens for other in others):
            self._said[record.endpoint, record.model] = limit

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
