"""Requests and tokens in any stretch of time: given by the job, or told by the server."""

from batchrun.limits.account import Charge, Size
from batchrun.limits.limits import MOST_CONCURRENCY, Limits
from batchrun.limits.rates import RateLimits

__all__ = ["MOST_CONCURRENCY", "Charge", "Limits", "RateLimits", "Size"]
