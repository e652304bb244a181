"""What asking for some rows will take: tokens, calls, cost and time, each with a range."""

from batchrun.forecast.forecast import Forecast, forecast, price_of
from batchrun.forecast.left import left, over_budget, spent_so_far
from batchrun.forecast.looking import first_requests

__all__ = ["Forecast", "first_requests", "forecast", "left", "over_budget", "price_of", "spent_so_far"]
