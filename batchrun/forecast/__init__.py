"""What asking for some rows will take: tokens, calls, cost and time, each with a range."""

from batchrun.forecast.canary import canary
from batchrun.forecast.forecast import Forecast, forecast, price_of
from batchrun.forecast.sampling import first_request, first_requests, rendered

__all__ = ["Forecast", "canary", "first_request", "first_requests", "forecast", "price_of", "rendered"]
