"""How many calls an endpoint takes at once, found out while the run goes."""

from batchrun.concurrency.adaptive import AdaptiveConcurrency, Result
from batchrun.concurrency.climb import START

__all__ = ["START", "AdaptiveConcurrency", "Result"]
