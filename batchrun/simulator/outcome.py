"""What a call came to, before it is delivered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.faults import name_of
from batchrun.simulator.ledger import Answer
from batchrun.simulator.rules import Fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a call, and what is billed for it."""

    answer: HttpAnswer
    fault: Fault | None = None
    billed: bool = False
    usage: Mapping[str, Any] | None = None
    """Of what is billed."""
    cost_usd: float | None = None

    def note(self) -> Answer:
        """What the ledger says of it before any of it has left."""
        usage = self.usage
        return Answer(
            at=time.time(),
            status=None,
            delivered=False,
            billed=self.billed,
            retry_after=self.answer.retry_after,
            fault=name_of(self.fault),
            completion_tokens=usage["completion_tokens"] if usage else 0,
            prompt_tokens=usage["prompt_tokens"] if usage else 0,
            cached_tokens=usage["prompt_tokens_details"]["cached_tokens"] if usage else 0,
            cost_usd=self.cost_usd,
        )
