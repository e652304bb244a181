"""What a submit had that fell silent and was not uploaded: its last sign of life against the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from batchrun.budget import Amounts, Spend
from batchrun.remote.lease import BEAT, Lease
from batchrun.remote.manifest import Manifest
from batchrun.wording import counted, duration, usd

_COUNTED = ("rows", "calls", "tokens", "cost_usd")


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known to be gone: rows that are asked again, and what was taken of the budget since the last
    upload, calls without an answer at their most.

    `silent` is how long before that sign of life the last upload was looked together, in seconds.
    """

    host: str
    epoch: int
    rows: int
    calls: int
    spend: Spend
    silent: float

    def document(self) -> dict[str, Any]:
        """It for JSON."""
        return {**asdict(self), "spend": self.spend.document()}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Loss:
        """It again."""
        return cls(**{**document, "spend": Spend.read(document["spend"])})

    @property
    def is_none(self) -> bool:
        """Whether nothing is known to be gone."""
        return not self.rows and not self.calls

    def sentence(self) -> str:
        """It in words."""
        since = (
            f"the {duration(self.silent)} after its last upload" if self.silent >= 1 else "the last moment"
        )
        if self.is_none:
            return (
                f"the submit before, on {self.host}, was cut off. All that it was known to have is here; "
                f"what came within {duration(BEAT)} before its end may be asked again"
            )
        cost = self.spend.total().cost_usd
        paid = f" ({usd(cost)}, kept against the budget)" if cost else ""
        return (
            f"the submit before, on {self.host}, was cut off. Of what it had received, "
            f"{counted(self.rows, 'row')} and {counted(self.calls, 'call')}{paid} of {since} are "
            f"lost with it and are asked again; what came within {duration(BEAT)} before its end is not "
            "counted"
        )


def loss_of(lease: Lease, manifest: Manifest) -> Loss:
    """What the holder of a lease had by its last sign of life, beyond what a manifest holds."""
    known = manifest.told if manifest.told.get("epoch") == lease.epoch else {}
    gone = {name: max(0, (lease.told.get(name) or 0) - (known.get(name) or 0)) for name in _COUNTED}
    amounts = Amounts(float(gone["cost_usd"]), int(gone["tokens"]), int(gone["calls"]))
    return Loss(
        lease.host,
        lease.epoch,
        int(gone["rows"]),
        int(gone["calls"]),
        Spend.on(lease.at, amounts) if gone["calls"] else Spend(),
        max(0.0, lease.at - (known.get("at") or lease.at)),
    )
