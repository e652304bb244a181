"""How many calls an endpoint takes at once, found out while the run goes."""

from batchrun.concurrency.adaptive import AdaptiveConcurrency, Result

__all__ = ["AdaptiveConcurrency", "Result"]
