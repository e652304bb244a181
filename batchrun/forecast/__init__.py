"""What asking for some rows will take: tokens, calls, cost and time, each with a range."""

from batchrun.forecast.forecast import Forecast, forecast, price_of
from batchrun.forecast.left import holds, left, over_budget, spent_so_far
from batchrun.forecast.looking import first_request, first_requests, rendered
from batchrun.forecast.outset import canary, doors, first_bound

__all__ = [
    "Forecast",
    "canary",
    "doors",
    "first_bound",
    "first_request",
    "first_requests",
    "forecast",
    "holds",
    "left",
    "over_budget",
    "price_of",
    "rendered",
    "spent_so_far",
]
